//! Rounds of a task: after a jittered period, or sooner when it is woken.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::Tasks;

use crate::metric;
use crate::service::Result;
use crate::service::error::Kind;

/// Starts tasks.
pub(super) struct Driver {
    pub(super) tasks: Tasks,
    pub(super) ids: Ids,
}

impl Driver {
    /// Runs `round` after `delay`, then every `period` (± 10 %) and whenever `wake` is notified, until shutdown. A round
    /// that fails is logged, and the next one starts from the full state again.
    pub(super) fn spawn<R, F>(
        &self,
        name: &'static str,
        delay: Duration,
        period: Duration,
        wake: Arc<Notify>,
        round: R,
    ) where
        R: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send,
    {
        let ids = self.ids.clone();
        let shutdown = self.tasks.shutdown_token();
        self.tasks.spawn(name, async move {
            let mut pause = delay;
            let mut failing = false;
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = wake.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                pause = period.mul_f64(0.9 + 0.2 * ids.unit());
                match round().await {
                    Ok(()) => {
                        if failing {
                            tracing::info!(task = name, "a background task works again");
                        }
                        failing = false;
                        metric::round(name, "ok");
                    }
                    Err(error) => {
                        // Once per outage: a database that is away for an hour is one fact, not thousands.
                        if !failing || error.kind() == Kind::Internal {
                            tracing::warn!(task = name, %error, cause = ?error.source, "a background task failed; it goes on");
                        }
                        failing = true;
                        metric::round(name, "failed");
                    }
                }
            }
        });
    }
}
