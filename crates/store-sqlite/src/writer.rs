//! The one writer: takes queued writes, runs each in a savepoint, and commits them together.
//!
//! A commit costs a flush to the disk, whatever is in it; while one is flushed the next batch gathers. A write that fails
//! is rolled back to its savepoint and takes nothing with it. Replies are sent after the commit.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::Connection;
use tokio::sync::{broadcast, mpsc, oneshot};
use tradepost_store::audit::Due;
use tradepost_store::{Error, Hint};

use crate::backend::Conn;
use crate::shared::{Fault, Tx, audit};

/// Most writes in one commit: bounds how long the first of them waits.
const BATCH: usize = 128;

/// A queued write.
#[async_trait]
pub(crate) trait Turn: Send {
    /// Whether its caller has gone away.
    fn is_abandoned(&self) -> bool;

    /// Does it, inside an open transaction.
    async fn run(self: Box<Self>, conn: &mut Conn) -> Ran;

    /// Answers without doing it.
    fn refuse(self: Box<Self>, error: Error);
}

/// A write that was done, or failed, but is not committed.
pub(crate) struct Ran {
    /// Whether it is to be kept.
    keep: bool,
    /// To be given after the commit.
    hints: Vec<Hint>,
    /// The audit entry that was written with it.
    told: Option<Due>,
    /// Answers the caller, with what became of the commit.
    reply: Box<dyn FnOnce(Result<(), Error>) + Send>,
}

/// The one kind of [`Turn`].
pub(crate) struct Ask<T, F> {
    /// What to do.
    pub(crate) work: F,
    /// The audit entry to write with it.
    pub(crate) due: Option<Due>,
    /// Whom to tell.
    pub(crate) reply: oneshot::Sender<Result<T, Error>>,
}

#[async_trait]
impl<T, F> Turn for Ask<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(Tx<'c>) -> BoxFuture<'c, Result<T, Fault>> + Send + 'static,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    async fn run(self: Box<Self>, conn: &mut Conn) -> Ran {
        let Self { work, mut due, reply } = *self;
        let mut hints = Vec::new();
        let done = async {
            let value = work(Tx { conn: &mut *conn, hints: &mut hints, due: &mut due }).await?;
            audit::tell(conn, due.as_ref()).await?;
            Ok(value)
        };
        // A panic must not take the writer with it: all later writes would fail.
        let result = AssertUnwindSafe(done)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Fault::internal("a write panicked")))
            .map_err(|fault| fault.0);
        let keep = result.is_ok();
        let reply = Box::new(move |committed: Result<(), Error>| {
            // A failed send: the caller has gone away, and nobody waits for the answer.
            drop(reply.send(result.and_then(|value| committed.map(|()| value))));
        });
        Ran { keep, hints, told: due, reply }
    }

    fn refuse(self: Box<Self>, error: Error) {
        drop(self.reply.send(Err(error)));
    }
}

/// Serves the queue until its last sender is gone.
pub(crate) async fn serve(
    mut conn: Conn,
    mut queue: mpsc::Receiver<Box<dyn Turn>>,
    hints: broadcast::Sender<Hint>,
) {
    while let Some(first) = queue.recv().await {
        if let Err(error) = execute(&mut conn, "BEGIN IMMEDIATE").await {
            first.refuse(Error::Unavailable(Box::new(error)));
            continue;
        }
        let mut batch = Vec::new();
        let mut next = Some(first);
        let mut broken = None;
        while let Some(turn) = next.take() {
            if !turn.is_abandoned() {
                match run(&mut conn, turn).await {
                    Ok(ran) => batch.push(ran),
                    Err((ran, error)) => {
                        batch.push(ran);
                        broken = Some(error);
                        break;
                    }
                }
            }
            if batch.len() < BATCH {
                next = queue.try_recv().ok();
            }
        }
        finish(&mut conn, batch, broken, &hints).await;
    }
    if let Err(error) = conn.close().await {
        tracing::warn!(error = %error, "the database was not closed cleanly; it recovers when it is opened next");
    }
}

/// Runs one write in its savepoint. An error of the savepoint itself spoils the whole transaction.
async fn run(conn: &mut Conn, turn: Box<dyn Turn>) -> Result<Ran, (Ran, sqlx::Error)> {
    if let Err(error) = execute(conn, "SAVEPOINT turn").await {
        let reply = Box::new(move |done: Result<(), Error>| turn.refuse(done.err().unwrap_or(Error::Stale)));
        return Err((Ran { keep: false, hints: Vec::new(), told: None, reply }, error));
    }
    let ran = turn.run(conn).await;
    let end = if ran.keep { "RELEASE turn" } else { "ROLLBACK TO turn; RELEASE turn" };
    match execute(conn, end).await {
        Ok(()) => Ok(ran),
        Err(error) => Err((ran, error)),
    }
}

/// Commits and answers everybody.
async fn finish(
    conn: &mut Conn,
    batch: Vec<Ran>,
    broken: Option<sqlx::Error>,
    hints: &broadcast::Sender<Hint>,
) {
    let committed = match broken {
        None => execute(conn, "COMMIT").await,
        Some(error) => Err(error),
    };
    metrics::histogram!("tradepost_store_commit_writes")
        .record(f64::from(u32::try_from(batch.len()).unwrap_or(0)));
    match committed {
        Ok(()) => {
            for ran in batch {
                if ran.keep {
                    for hint in ran.hints {
                        // Nobody may be listening.
                        drop(hints.send(hint));
                    }
                    if let Some(told) = ran.told {
                        told.committed();
                    }
                }
                (ran.reply)(Ok(()));
            }
        }
        Err(error) => {
            tracing::error!(error = %error, "a commit failed");
            // It may be rolled back already; then there is nothing to end.
            drop(execute(conn, "ROLLBACK").await);
            let text = error.to_string();
            for ran in batch {
                (ran.reply)(Err(Error::Unavailable(text.clone().into())));
            }
        }
    }
}

async fn execute(conn: &mut Conn, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(conn).await.map(drop)
}
