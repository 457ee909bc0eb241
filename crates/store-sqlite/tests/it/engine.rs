//! Opening and closing a file.

use anyhow::{Context, Result};
use sqlx::{Connection, SqliteConnection};
use tradepost_store::Error;
use tradepost_store::conformance::World;
use tradepost_store::conformance::world::START;
use tradepost_store_sqlite::{open, open_beside};

use crate::{fresh, options};

async fn refusal(url: &str) -> Result<String> {
    match open(options(url)).await {
        Err(Error::Setup(text)) => Ok(text),
        Err(other) => Err(other.into()),
        Ok(_) => anyhow::bail!("{url} was opened"),
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_explained_in_one_line() -> Result<()> {
    let home = tempfile::tempdir()?;
    let missing = refusal(&format!("sqlite:{}/no/such/x.db", home.path().display())).await?;
    assert!(missing.contains("no/such, where the database should lie, is no directory"), "{missing}");
    assert!(refusal("sqlite::memory:").await?.contains("write sqlite:PATH"));
    let other = home.path().join("notes.txt");
    std::fs::write(
        &other,
        "not a database, but long enough to look like a file with a header of some kind".repeat(9),
    )?;
    let other = refusal(&other.display().to_string()).await?;
    assert!(other.contains("is no SQLite database; name another file"), "{other}");
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_can_be_read_by_their_owner_only() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir()?;
    let store = open(options(&home.path().join("x.db").display().to_string())).await?;
    store.migrate().await?;
    World::new(store.clone()).tenant().await?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(home.path())? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        assert_eq!(entry.metadata()?.permissions().mode() & 0o777, 0o600, "{name}");
        names.push(name);
    }
    names.sort_unstable();
    assert_eq!(names, ["x.db", "x.db-shm", "x.db-wal", "x.db.lock"]);
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn two_controllers_cannot_share_a_file_and_the_next_one_may_follow() -> Result<()> {
    let (database, store) = fresh().await?;
    let refused = refusal(database.url()).await?;
    assert!(refused.contains("is in use by another controller; stop it first"), "{refused}");
    let tenant = World::new(store.clone()).tenant().await?;
    store.close().await;
    let late = World::new(store.clone()).tenant().await;
    assert!(late.is_err_and(|error| error.to_string().contains("the database is closed")));
    drop(store);
    let store = open(options(database.url())).await?;
    store.migrate().await?;
    assert_eq!(store.last_event(tenant.workspace).await?, 0);
    store.ping().await?;
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn a_command_writes_beside_the_controller() -> Result<()> {
    let (database, store) = fresh().await?;
    let beside = open_beside(options(database.url())).await?;
    beside.migrate().await?;
    let tenant = World::new(beside.clone()).tenant().await?;
    beside.close().await;
    assert_eq!(store.last_event(tenant.workspace).await?, 0);
    assert_eq!(
        store.list_agents(tenant.workspace, tradepost_store::conformance::world::first(1)).await?.rows,
        []
    );
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() -> Result<()> {
    let (database, store) = fresh().await?;
    store.close().await;
    let path = database.path().context("no path")?;
    let mut conn = SqliteConnection::connect(&path.display().to_string()).await?;
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'future', '', TRUE, x'00', 0)")
        .execute(&mut conn)
        .await?;
    conn.close().await?;
    drop(store);
    let store = open(options(database.url())).await?;
    let refused = store.migrate().await;
    assert!(matches!(&refused, Err(Error::Setup(text)) if text.contains("newer version")), "{refused:?}");
    store.close().await;
    Ok(())
}

/// Calls that end before their answer leave the writer whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_writes_do_no_harm() -> Result<()> {
    let (_database, store) = fresh().await?;
    let world = World::new(store.clone());
    let tenant = world.tenant().await?;
    let mut given_up = 0_u32;
    for n in 0..200_u64 {
        let account = world.new_account(tenant, None)?;
        let limit = std::time::Duration::from_micros(n * 3);
        if tokio::time::timeout(limit, store.add_account(account)).await.is_err() {
            given_up += 1;
        }
    }
    let kept = store.add_account(world.new_account(tenant, None)?).await?;
    assert_eq!(store.find_account(tenant.workspace, kept.id).await?, Some(kept));
    let events = store.list_events(tenant.workspace, 0, None, 1000).await?;
    let accounts = store
        .list_accounts(tenant.workspace, tradepost_store::PageRequest { limit: 1000, after: None })
        .await?;
    assert_eq!(events.len(), accounts.rows.len(), "each account with its event, {given_up} calls given up");
    assert!(events.iter().all(|event| event.at == START));
    store.close().await;
    Ok(())
}

/// The driver's pragmas are what durability rests on.
#[tokio::test]
async fn the_file_is_in_wal_mode() -> Result<()> {
    let (database, store) = fresh().await?;
    let path = database.path().context("no path")?;
    let mut conn = SqliteConnection::connect(&path.display().to_string()).await?;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut conn).await?;
    assert_eq!(mode, "wal");
    conn.close().await?;
    store.close().await;
    Ok(())
}

/// Callers queue up for the one writer; a command that writes beside the controller waits for the file's lock, and so does
/// the writer: nobody is told that the database is locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_callers_beside_a_command_never_meet_a_locked_database() -> Result<()> {
    const CALLERS: usize = 64;
    const WRITES: usize = 8;
    let (database, store) = fresh().await?;
    let world = World::new(store.clone());
    let seller = std::sync::Arc::new(world.seller().await?);
    let beside = open_beside(options(database.url())).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        // One in eight is the command: a writer of its own on the same file.
        let world = if caller % 8 == 0 { World::new(beside.clone()) } else { world.clone() };
        let (seller, command) = (seller.clone(), caller % 8 == 0);
        tasks.spawn(async move {
            for _ in 0..WRITES {
                if command {
                    world.store.touch_agents(&[(seller.agent.id, seller.agent.epoch)], START).await?;
                } else {
                    let publication = world.publication(&seller).await?;
                    world.reload(&publication).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let postings = (CALLERS - CALLERS / 8) * WRITES;
    let counted: usize =
        store.count_jobs().await?.into_iter().map(|(_, jobs)| usize::try_from(jobs).unwrap_or(0)).sum();
    assert_eq!(counted, postings);
    beside.close().await;
    store.close().await;
    Ok(())
}
