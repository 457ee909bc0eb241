//! Connecting, migrating, and hints between controllers.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};
use tradepost_store::conformance::World;
use tradepost_store::{Error, Hint};
use tradepost_store_postgres::open;
use tradepost_testkit::TestDatabase;

use crate::{fresh, options};

async fn refusal(url: &str) -> Result<String> {
    match open(options(url)).await {
        Err(Error::Setup(text)) => Ok(text),
        Err(other) => Err(other.into()),
        Ok(_) => anyhow::bail!("{url} was opened"),
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_explained_in_one_line_without_the_password() -> Result<()> {
    let (database, store) = fresh().await?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let silent = refusal(&format!("postgres://ada:secret@127.0.0.1:{port}/shop")).await?;
    assert!(silent.contains("no PostgreSQL answers at 127.0.0.1") && !silent.contains("secret"), "{silent}");
    let nonsense = refusal("mysql://ada:secret@host/shop").await?;
    assert!(nonsense.contains("write postgres://") && !nonsense.contains("secret"), "{nonsense}");
    let url = database.url();
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = base.rsplit_once('/').context("a URL")?;
    let absent = format!("{server}/absent?{query}");
    let absent = refusal(&absent).await?;
    assert!(absent.contains("has no database absent; make it with: createdb"), "{absent}");
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn migrations_can_be_repeated_at_once_and_a_newer_database_is_refused() -> Result<()> {
    let database = TestDatabase::empty_postgres().await?;
    let (one, two) = (open(options(database.url())).await?, open(options(database.url())).await?);
    let (first, second) = tokio::join!(one.migrate(), two.migrate());
    first?;
    second?;
    let now = one.server_time().await?;
    assert!(now > tradepost_store::conformance::world::START, "{now}");
    one.ping().await?;
    let mut conn = PgConnection::connect(database.url()).await?;
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'future', now(), TRUE, '', 0)")
        .execute(&mut conn)
        .await?;
    conn.close().await?;
    let refused = one.migrate().await;
    assert!(matches!(&refused, Err(Error::Setup(text)) if text.contains("newer version")), "{refused:?}");
    one.close().await;
    two.close().await;
    Ok(())
}

/// What one controller commits wakes another, which also learns that it may have missed something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_reach_other_controllers() -> Result<()> {
    let (database, ours) = fresh().await?;
    let theirs = open(options(database.url())).await?;
    let mut hints = theirs.hints();
    let world = World::new(ours.clone());
    let seller = world.seller().await?;
    let mut wanted = vec![Hint::Agent(seller.agent.id), Hint::Feed(seller.tenant.workspace)];
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !wanted.is_empty() {
        // Again and again: nothing is told to those who do not listen yet.
        world.publication(&seller).await?;
        while let Ok(Ok(hint)) = tokio::time::timeout(Duration::from_millis(100), hints.recv()).await {
            wanted.retain(|other| *other != hint);
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "{wanted:?} did not come within 20 s");
    }
    // The listening connection ends: after the next one stands, everything is worth a look.
    let mut conn = PgConnection::connect(database.url()).await?;
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'tradepost-controller hints' AND datname = current_database()",
    )
    .execute(&mut conn)
    .await?;
    let swept = async {
        while hints.recv().await? != Hint::All {}
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(20), swept).await.context("no sweep after a reconnect")??;
    conn.close().await?;
    ours.close().await;
    theirs.close().await;
    Ok(())
}
