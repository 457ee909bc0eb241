//! Private databases.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{Connection, Executor, PgConnection};
use tradepost_testkit::TestDatabase;

#[tokio::test]
async fn template_is_migrated_once_and_its_copies_are_separate_and_dropped() {
    let migrations = tempfile::tempdir().unwrap();
    let unique = migrations.path().display().to_string();
    std::fs::write(migrations.path().join("0001_first.sql"), unique).unwrap();
    let migrated = Arc::new(AtomicUsize::new(0));
    let make = || {
        let migrated = Arc::clone(&migrated);
        TestDatabase::postgres_from(migrations.path(), |url| async move {
            migrated.fetch_add(1, Ordering::SeqCst);
            let mut connection = PgConnection::connect(&url).await?;
            connection.execute("create table note (text text not null)").await?;
            Ok(())
        })
    };
    let (first, second) = tokio::join!(make(), make());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(migrated.load(Ordering::SeqCst), 1);

    let mut one = PgConnection::connect(first.url()).await.unwrap();
    one.execute("insert into note values ('here')").await.unwrap();
    let mut two = PgConnection::connect(second.url()).await.unwrap();
    let count: i64 = sqlx::query_scalar("select count(*) from note").fetch_one(&mut two).await.unwrap();
    assert_eq!(count, 0);

    let gone = first.url().to_owned();
    drop(first);
    let error = PgConnection::connect(&gone).await.unwrap_err().to_string();
    assert!(error.contains("does not exist"), "{error}");
}

#[tokio::test]
async fn empty_database_has_no_tables() {
    let database = TestDatabase::empty_postgres().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(tables, 0);
}

#[test]
fn sqlite_file_lies_in_a_directory_of_its_own() {
    let (first, second) = (TestDatabase::sqlite().unwrap(), TestDatabase::sqlite().unwrap());
    assert_ne!(first.url(), second.url());
    let directory = first.path().unwrap().parent().unwrap().to_owned();
    assert!(directory.is_dir());
    drop(first);
    assert!(!directory.exists());
}
