//! A database that an earlier version filled is taken over.

use anyhow::{Context, Result};
use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, SqliteConnection};
use tradepost_store::conformance::world::{START, first};
use tradepost_store::{Credential, Role};
use tradepost_store_sqlite::open;
use tradepost_testkit::{TestDatabase, workspace_root};

use crate::options;

/// The newest migration before users could sign in.
const BEFORE: i64 = 8;

/// An operator and a viewer with a token each, one that is revoked, and an enrolment token that refers to a user; two users
/// whose addresses differ in capitals alone.
const FILL: &str = "
    INSERT INTO workspaces (id, name, created_at) VALUES (X'00000000000000000000000000000001', 'shop', 1);
    INSERT INTO users (id, workspace_id, email, role, created_at) VALUES
        (X'00000000000000000000000000000002', X'00000000000000000000000000000001', 'Ada@Example.com', 'operator', 1),
        (X'00000000000000000000000000000003', X'00000000000000000000000000000001', 'bob@example.com', 'viewer', 1),
        (X'00000000000000000000000000000004', X'00000000000000000000000000000001', 'BOB@example.com', 'editor', 1);
    INSERT INTO tokens (id, user_id, name, hash, created_at, expires_at, revoked_at) VALUES
        (X'00000000000000000000000000000005', X'00000000000000000000000000000002', 'laptop', X'0000000000000000000000000000000000000000000000000000000000000001', 1, NULL, NULL),
        (X'00000000000000000000000000000006', X'00000000000000000000000000000003', 'ci', X'0000000000000000000000000000000000000000000000000000000000000002', 1, NULL, NULL),
        (X'00000000000000000000000000000007', X'00000000000000000000000000000003', 'old', X'0000000000000000000000000000000000000000000000000000000000000003', 1, NULL, 1);
    INSERT INTO enrolment_tokens (id, workspace_id, created_by, hash, created_at, expires_at)
        VALUES (X'00000000000000000000000000000008', X'00000000000000000000000000000001', X'00000000000000000000000000000002', X'0000000000000000000000000000000000000000000000000000000000000004', 1, 1);
";

fn hash(last: u8) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[31] = last;
    hash
}

#[tokio::test]
async fn users_and_tokens_of_an_earlier_version_work_on() -> Result<()> {
    let database = TestDatabase::sqlite()?;
    let migrations = Migrator::new(workspace_root().join("migrations/sqlite")).await?;
    std::fs::File::create(database.path().context("a file")?)?;
    let mut conn = SqliteConnection::connect(database.url()).await?;
    migrations.run_to(BEFORE, &mut conn).await?;
    conn.execute(FILL).await?;
    conn.close().await?;

    let store = open(options(database.url())).await?;
    store.migrate().await?;
    let ada = store.find_token_bearer(hash(1), START).await?.context("her token is gone")?;
    assert_eq!((ada.email.as_str(), ada.operator), ("ada@example.com", true));
    let membership = ada.membership.context("no workspace")?;
    assert_eq!((membership.name.as_str(), membership.role), ("shop", Role::Owner));
    assert!(matches!(ada.credential, Credential::Token { scopes, .. } if scopes == "*"));
    let bob = store.find_token_bearer(hash(2), START).await?.context("his token is gone")?;
    assert_eq!(bob.membership.map(|membership| membership.role), Some(Role::Viewer));
    assert_eq!(store.find_token_bearer(hash(3), START).await?, None, "revoked");
    let members = store.list_members(membership.workspace, first(9)).await?.rows;
    let emails: Vec<&str> = members.iter().map(|member| member.email.as_str()).collect();
    assert_eq!(emails, ["BOB@example.com", "ada@example.com", "bob@example.com"]);
    store.close().await;
    Ok(())
}
