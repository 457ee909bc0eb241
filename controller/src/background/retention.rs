//! Letting go of what is older than the configuration keeps, a small batch at a time.

use std::time::Duration;

use tradepost_store::Error as StoreError;

use crate::config::{Keep, Retention};
use crate::metric;
use crate::service::{Core, Result};

/// Rows of one transaction: some ten milliseconds on either engine.
const BATCH: u32 = 1_000;
/// Jobs of one transaction: each has steps and evidence of its own.
const JOBS: u32 = 50;
/// Between two batches, so that those who wait for the writer go first.
const PAUSE: Duration = Duration::from_millis(50);

/// Goes on until nothing old is left.
pub(super) async fn round(core: &Core, kept: Retention) -> Result<()> {
    let Retention { events, steps, evidence, jobs } = kept;
    if let Keep::For(age) = events {
        let mut workspace = core.store.next_workspace(None).await?;
        while let Some(id) = workspace {
            batches("events", BATCH, || core.store.forget_events(id, core.now() - age, BATCH)).await?;
            workspace = core.store.next_workspace(Some(id)).await?;
        }
    }
    if let Keep::For(age) = steps {
        batches("steps", BATCH, || core.store.forget_steps(core.now() - age, BATCH)).await?;
    }
    if let Keep::For(age) = evidence {
        batches("evidence", JOBS, || core.store.forget_evidence(core.now() - age, JOBS)).await?;
    }
    if let Keep::For(age) = jobs {
        batches("jobs", JOBS, || core.store.forget_jobs(core.now() - age, JOBS)).await?;
    }
    Ok(())
}

async fn batches<F>(what: &'static str, size: u32, forget: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<u64, StoreError>>,
{
    let mut all = 0;
    loop {
        let rows = forget().await?;
        metric::forgotten(what, rows);
        all += rows;
        if rows < u64::from(size) {
            if all > 0 {
                tracing::info!(what, rows = all, "old rows were let go");
            }
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
