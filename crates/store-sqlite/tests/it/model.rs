//! The conformance suite on the store in memory, so that what holds for the engines holds for simulations.

use std::sync::Arc;

use anyhow::Result;
use tradepost_store::Store;
use tradepost_store::model::Model;

#[expect(clippy::unused_async, reason = "the suite opens engines that need it")]
async fn fresh() -> Result<((), Arc<dyn Store>)> {
    Ok(((), Arc::new(Model::default())))
}

tradepost_store::conformance_suite!(fresh);
