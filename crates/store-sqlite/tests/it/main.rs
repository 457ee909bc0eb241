//! The conformance suite on SQLite, and what is SQLite's own.

mod engine;
mod model;
mod plans;
mod upgrade;

use std::sync::Arc;

use anyhow::Result;
use tradepost_runtime::clock::SystemClock;
use tradepost_store::Database;
use tradepost_store_sqlite::{Options, open};
use tradepost_testkit::TestDatabase;

fn options(url: &str) -> Options {
    Options { url: url.to_owned(), readers: 4, clock: SystemClock::shared() }
}

async fn fresh() -> Result<(TestDatabase, Arc<dyn Database>)> {
    let database = TestDatabase::sqlite()?;
    let store = open(options(database.url())).await?;
    store.migrate().await?;
    Ok((database, store))
}

tradepost_store::conformance_suite!(fresh);
tradepost_store::people_suite!(fresh);
