//! Hints to and from other controllers, by `NOTIFY`.
//!
//! A hint may be lost: whoever listens sweeps when it (re)connects, which [`Hint::All`] asks for, and now and then anyway.
//! Hints are gathered for a moment before they are sent: `NOTIFY` takes a lock that all commits of a database share.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tradepost_domain::id::{AgentId, ControllerId, WorkspaceId};
use tradepost_runtime::backoff::Backoff;
use tradepost_runtime::ids::Ids;
use tradepost_store::Hint;
use uuid::Uuid;

/// The channel of all controllers of one database.
const CHANNEL: &str = "tradepost_hints";
/// How long hints are gathered.
const GATHER: Duration = Duration::from_millis(10);
/// Most hints in one statement.
const BATCH: usize = 500;
/// Silence after which the listening connection is tried.
const PING: Duration = Duration::from_secs(10);

/// Sends the hints of this controller's commits to the others, until `queue` ends.
pub(crate) async fn send(pool: PgPool, own: ControllerId, mut queue: mpsc::Receiver<Hint>) {
    let mut batch = HashSet::new();
    while let Some(first) = queue.recv().await {
        batch.insert(first);
        let end = tokio::time::Instant::now() + GATHER;
        while batch.len() < BATCH
            && let Ok(Some(hint)) = tokio::time::timeout_at(end, queue.recv()).await
        {
            batch.insert(hint);
        }
        let payloads: Vec<String> = batch.drain().filter_map(|hint| encode(own, hint)).collect();
        let sent = sqlx::query!(
            "SELECT pg_notify($1, payload) FROM UNNEST($2::text[]) AS payload",
            CHANNEL,
            &payloads
        )
        .execute(&pool)
        .await;
        if let Err(error) = sent {
            tracing::warn!(error = %error, "hints to other controllers were lost; their sweeps make up for it");
        }
    }
}

/// Passes the hints of other controllers on, until `shutdown`.
pub(crate) async fn listen(
    pool: PgPool,
    own: ControllerId,
    hints: broadcast::Sender<Hint>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10), Ids::from_system());
    loop {
        let heard = tokio::select! {
            () = shutdown.cancelled() => return,
            heard = hear(&pool, own, &hints, &mut backoff) => heard,
        };
        if let Err(error) = heard {
            tracing::warn!(error = %error, "lost the connection that listens for hints of other controllers");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

async fn hear(
    pool: &PgPool,
    own: ControllerId,
    hints: &broadcast::Sender<Hint>,
    backoff: &mut Backoff,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    backoff.reset();
    // What was said before we listened is lost. A failed send: nobody is interested yet.
    drop(hints.send(Hint::All));
    loop {
        match tokio::time::timeout(PING, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                if let Some(hint) = decode(own, notification.payload()) {
                    drop(hints.send(hint));
                }
            }
            // The driver has lost the connection and makes a new one.
            Ok(Ok(None)) => drop(hints.send(Hint::All)),
            Ok(Err(error)) => return Err(error),
            Err(_silence) => {
                let ping = sqlx::query_scalar!("SELECT 1 AS alive").fetch_one(&mut listener);
                tokio::time::timeout(PING, ping).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
            }
        }
    }
}

/// `<controller> <kind> <id>`.
fn encode(own: ControllerId, hint: Hint) -> Option<String> {
    match hint {
        Hint::Agent(agent) => Some(format!("{own} agent {agent}")),
        Hint::Cancel(agent) => Some(format!("{own} cancel {agent}")),
        Hint::Feed(workspace) => Some(format!("{own} feed {workspace}")),
        Hint::Session(agent) => Some(format!("{own} session {agent}")),
        Hint::All => None,
    }
}

/// The hint, unless it is our own or of a version that we do not know.
fn decode(own: ControllerId, payload: &str) -> Option<Hint> {
    let mut words = payload.split(' ');
    let (controller, kind, id) = (words.next()?, words.next()?, Uuid::try_parse(words.next()?).ok()?);
    if controller == own.to_string() {
        return None;
    }
    match kind {
        "agent" => Some(Hint::Agent(AgentId(id))),
        "cancel" => Some(Hint::Cancel(AgentId(id))),
        "feed" => Some(Hint::Feed(WorkspaceId(id))),
        "session" => Some(Hint::Session(AgentId(id))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_of_others_pass_and_our_own_do_not_come_back() {
        let (ours, theirs) = (ControllerId(Uuid::from_u128(1)), ControllerId(Uuid::from_u128(2)));
        for hint in [
            Hint::Agent(AgentId(Uuid::from_u128(3))),
            Hint::Cancel(AgentId(Uuid::from_u128(3))),
            Hint::Feed(WorkspaceId(Uuid::from_u128(4))),
            Hint::Session(AgentId(Uuid::from_u128(5))),
        ] {
            let payload = encode(theirs, hint).expect("travels");
            assert_eq!(decode(ours, &payload), Some(hint));
            assert_eq!(decode(theirs, &payload), None);
        }
        assert_eq!(decode(ours, "nonsense"), None);
    }
}
