//! Waiting for something to become true, with a deadline.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};

/// Between two looks. A look may cost a process or a query, so not shorter.
const INTERVAL: Duration = Duration::from_millis(25);

/// Looks until `probe` gives a value, for `deadline` at most; then fails with `what` and the last state seen. Only for what
/// cannot notify: other processes, and sites that are not ours. `probe` answers `Err(state)` for "not yet".
pub async fn until<T, F>(what: &str, deadline: Duration, mut probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, String>>,
{
    let end = tokio::time::Instant::now() + deadline;
    loop {
        let state = match probe().await {
            Ok(value) => return Ok(value),
            Err(state) => state,
        };
        if tokio::time::Instant::now() >= end {
            bail!("waited {deadline:?} for {what}; the last state was: {state}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
