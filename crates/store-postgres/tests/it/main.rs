//! The conformance suite on PostgreSQL, and what is PostgreSQL's own.

mod differential;
mod engine;
mod parity;
mod plans;
mod upgrade;

use std::sync::Arc;

use anyhow::Result;
use tradepost_domain::id::ControllerId;
use tradepost_runtime::ids::Ids;
use tradepost_store::Database;
use tradepost_store_postgres::{Options, open};
use tradepost_testkit::TestDatabase;

fn options(url: &str) -> Options {
    let controller = ControllerId(Ids::from_system().uuid(tradepost_store::conformance::world::START));
    Options { url: url.to_owned(), max_connections: 8, controller }
}

async fn migrated() -> Result<TestDatabase> {
    TestDatabase::postgres(|url| async move {
        let store = open(options(&url)).await?;
        store.migrate().await?;
        store.close().await;
        Ok(())
    })
    .await
}

async fn fresh() -> Result<(TestDatabase, Arc<dyn Database>)> {
    let database = migrated().await?;
    let store = open(options(database.url())).await?;
    Ok((database, store))
}

tradepost_store::conformance_suite!(fresh);
tradepost_store::people_suite!(fresh);
