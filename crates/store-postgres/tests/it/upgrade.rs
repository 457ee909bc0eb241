//! A database that an earlier version filled is taken over.

use anyhow::{Context, Result};
use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, PgConnection};
use tradepost_store::conformance::world::{START, first};
use tradepost_store::{Credential, Role};
use tradepost_store_postgres::open;
use tradepost_testkit::{TestDatabase, workspace_root};

use crate::options;

/// The newest migration before users could sign in.
const BEFORE: i64 = 8;

/// An operator and a viewer with a token each, one that is revoked, and an enrolment token that refers to a user; two users
/// whose addresses differ in capitals alone.
const FILL: &str = "
    INSERT INTO workspaces (id, name, created_at) VALUES ('00000000-0000-0000-0000-000000000001', 'shop', now());
    INSERT INTO users (id, workspace_id, email, role, created_at) VALUES
        ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001', 'Ada@Example.com', 'operator', now()),
        ('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000001', 'bob@example.com', 'viewer', now()),
        ('00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-000000000001', 'BOB@example.com', 'editor', now());
    INSERT INTO tokens (id, user_id, name, hash, created_at, expires_at, revoked_at) VALUES
        ('00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000002', 'laptop', '\\x0000000000000000000000000000000000000000000000000000000000000001', now(), NULL, NULL),
        ('00000000-0000-0000-0000-000000000006', '00000000-0000-0000-0000-000000000003', 'ci', '\\x0000000000000000000000000000000000000000000000000000000000000002', now(), NULL, NULL),
        ('00000000-0000-0000-0000-000000000007', '00000000-0000-0000-0000-000000000003', 'old', '\\x0000000000000000000000000000000000000000000000000000000000000003', now(), NULL, now());
    INSERT INTO enrolment_tokens (id, workspace_id, created_by, hash, created_at, expires_at)
        VALUES ('00000000-0000-0000-0000-000000000008', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', '\\x0000000000000000000000000000000000000000000000000000000000000004', now(), now());
";

fn hash(last: u8) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[31] = last;
    hash
}

#[tokio::test]
async fn users_and_tokens_of_an_earlier_version_work_on() -> Result<()> {
    let database = TestDatabase::empty_postgres().await?;
    let migrations = Migrator::new(workspace_root().join("migrations/postgres")).await?;

    let mut conn = PgConnection::connect(database.url()).await?;
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
