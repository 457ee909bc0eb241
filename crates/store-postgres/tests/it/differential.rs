//! The same random operations on the model, on SQLite and on PostgreSQL.

use std::sync::Arc;

use anyhow::Result;
use tradepost_runtime::clock::SystemClock;
use tradepost_store::Store;
use tradepost_store::conformance::differential::compare;
use tradepost_store::model::Model;
use tradepost_testkit::TestDatabase;

use crate::fresh;

const SEEDS: u64 = 6;
const OPERATIONS: usize = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_answer_as_the_model_does() -> Result<()> {
    for seed in 1..=SEEDS {
        let (_server, postgres) = fresh().await?;
        let postgres: Arc<dyn Store> = postgres;
        let file = TestDatabase::sqlite()?;
        let options = tradepost_store_sqlite::Options {
            url: file.url().to_owned(),
            readers: 2,
            clock: SystemClock::shared(),
        };
        let sqlite: Arc<dyn Store> = tradepost_store_sqlite::open(options).await?;
        sqlite.migrate().await?;
        let model: Arc<dyn Store> = Arc::new(Model::default());
        let stores =
            vec![("model", model), ("SQLite", Arc::clone(&sqlite)), ("PostgreSQL", Arc::clone(&postgres))];
        compare(stores, seed, OPERATIONS).await?;
        sqlite.close().await;
        postgres.close().await;
    }
    Ok(())
}
