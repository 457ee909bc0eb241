//! Named background tasks of a process, with one shutdown signal and a drain deadline.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The tasks of one process (or of one test's process). Clones share the same set.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

/// What [`Tasks::drain`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every task ended by itself.
    Clean,
    /// The deadline passed with this many tasks still running.
    TimedOut(usize),
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` as a task called `name`: the name is on its span, and [`Tasks::drain`] waits for it.
    /// It begins outside its spawner's trace; work in it that belongs to one says so (`telemetry::set_parent`).
    #[expect(clippy::disallowed_methods, reason = "this is the one home of spawning")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // A target of its own keeps it out of exported traces: what a task does would else be one endless trace.
        let span = tracing::info_span!(target: "tasks", "task", name);
        tokio::spawn(self.tracker.track_future(future.instrument(span)))
    }

    /// A token that is cancelled when shutdown begins. Tasks select on it and end.
    pub fn shutdown_token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Begins the shutdown without waiting for it.
    pub fn begin_shutdown(&self) {
        self.shutdown.cancel();
        self.tracker.close();
    }

    /// Begins the shutdown and waits until every task has ended or `deadline` has passed.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        self.begin_shutdown();
        match tokio::time::timeout(deadline, self.tracker.wait()).await {
            Ok(()) => Drained::Clean,
            Err(_) => Drained::TimedOut(self.tracker.len()),
        }
    }
}

/// Resolves when the operating system asks the process to end (SIGINT or SIGTERM; Ctrl-C on Windows).
pub async fn termination_requested() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_tasks_and_reports_the_stuck_ones() {
        let tasks = Tasks::new();
        let token = tasks.shutdown_token();
        tasks.spawn("polite", async move { token.cancelled().await });
        tasks.spawn("stuck", std::future::pending::<()>());
        assert_eq!(tasks.drain(Duration::from_secs(5)).await, Drained::TimedOut(1));
    }
}
