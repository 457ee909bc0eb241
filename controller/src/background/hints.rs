//! Hints of the store, sent where they help. Losing one costs time, never work.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tradepost_runtime::tasks::Tasks;
use tradepost_store::Hint;

use super::dispatch;
use crate::service::Core;
use crate::session::Sessions;

/// Listens to hints of the store and of the sessions until shutdown; `wake` is notified when dispatch should look.
pub(super) fn start(core: &Core, sessions: &Sessions, tasks: &Tasks, wake: &Arc<Notify>) {
    let shutdown = tasks.shutdown_token();
    let (attached, woken) = (sessions.clone(), Arc::clone(wake));
    tasks.spawn("session-changes", async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = attached.changed() => woken.notify_one(),
            }
        }
    });
    let shutdown = tasks.shutdown_token();
    let (core, sessions, wake) = (core.clone(), sessions.clone(), Arc::clone(wake));
    let mut hints = core.store.hints();
    tasks.spawn("hints", async move {
        loop {
            let hint = tokio::select! {
                () = shutdown.cancelled() => return,
                hint = hints.recv() => hint,
            };
            match hint {
                Ok(hint) => follow(&core, &sessions, &wake, hint).await,
                Err(RecvError::Lagged(_)) => {
                    sessions.wake_all();
                    wake.notify_one();
                }
                Err(RecvError::Closed) => return,
            }
        }
    });
}

/// Does what a hint is for: looks for jobs (by `wake`), tells wishes to cancel, ends a stream that is not the newest.
pub async fn follow(core: &Core, sessions: &Sessions, wake: &Notify, hint: Hint) {
    let followed = match hint {
        Hint::All => {
            sessions.wake_all();
            wake.notify_one();
            dispatch::touch(core, sessions).await
        }
        Hint::Agent(agent) => {
            if sessions.wake(&[agent]) {
                wake.notify_one();
            }
            Ok(())
        }
        Hint::Cancel(agent) if sessions.holds(agent) => dispatch::cancel_wishes(core, sessions, agent).await,
        Hint::Session(agent) if sessions.holds(agent) => dispatch::check_session(core, sessions, agent).await,
        Hint::Cancel(_) | Hint::Session(_) | Hint::Feed(_) => Ok(()),
    };
    if let Err(error) = followed {
        tracing::debug!(%error, "a hint was not followed; the next sweep does");
    }
}
