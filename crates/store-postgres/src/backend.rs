//! The connections of one controller to its database.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Postgres};
use tokio::sync::{broadcast, mpsc, oneshot};
use tradepost_domain::id::{AgentId, JobId};
use tradepost_domain::job::Job;
use tradepost_domain::pacing::Pacing;
use tradepost_domain::time::Timestamp;
use tradepost_runtime::tasks::Tasks;
use tradepost_store::audit;
use tradepost_store::{Asked, Change, Claim, Error, FoundRun, Hint, RunSteps, Store, Supplies, WakeHints};

use crate::beats::Beat;
use crate::coalesce::Counter;
use crate::error::translate;
use crate::gather::{Found, Wanted};
use crate::group::{Ask, Write};
use crate::pacing::Paced;
use crate::shared::{Fault, Tx, audit as log};
use crate::time::Time;
use crate::{claims, create};

/// A connection of this engine.
pub(crate) type Conn = PgConnection;

/// The migrations of this engine.
static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Longest wait for the whole of one piece of work. The server ends a statement after 30 s by itself: if it says nothing
/// for longer, the connection leads nowhere any more, and nobody would ever tell.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);
/// The same for what a lane does at once. Its rows are few and its statements end after [`LANE_STATEMENT`] by themselves;
/// everybody who writes waits behind it.
pub(crate) const LANE_ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The server ends a statement of a lane after this time, as it is written in its options.
pub(crate) const LANE_STATEMENT: &str = "10s";
/// And a wait for a row that another transaction holds.
pub(crate) const LANE_LOCK: &str = "8s";
/// How long [`Store::close`] waits for the tasks.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// One database.
pub(crate) struct Backend {
    /// Without the time limits of the pool: a migration may take long.
    pub(crate) migrate: PgConnectOptions,
    pub(crate) pool: PgPool,
    /// Of connections whose plans look rows up by key, whatever the tables hold.
    pub(crate) keyed: PgPool,
    /// For hints only, so that they never wait behind statements.
    pub(crate) hint_pool: PgPool,
    pub(crate) telling: Telling,
    /// To the tasks that write and read for many callers at once; none once closed.
    pub(crate) queues: Mutex<Option<Queues>>,
    pub(crate) tasks: Tasks,
}

/// Gives hints to this process and to other controllers.
#[derive(Clone)]
pub(crate) struct Telling {
    pub(crate) hints: broadcast::Sender<Hint>,
    /// To the task that tells other controllers; none once closed.
    pub(crate) outbox: Arc<Mutex<Option<mpsc::Sender<Hint>>>>,
}

/// Where callers leave what is done for many at once.
#[derive(Clone)]
pub(crate) struct Queues {
    pub(crate) creations: mpsc::Sender<Ask>,
    pub(crate) writes: mpsc::Sender<Ask>,
    pub(crate) grounds: Counter<Asked, Found>,
    pub(crate) supplies: Counter<Wanted, Supplies>,
    pub(crate) runs: Counter<(AgentId, JobId), Option<FoundRun>>,
    pub(crate) agent_runs: Counter<AgentId, Vec<Job>>,
    pub(crate) beats: Counter<Beat, bool>,
    pub(crate) pacing: Counter<Paced, Option<Pacing>>,
}

/// What the server made of `work`; none when it said nothing.
pub(crate) async fn answered<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(ANSWER_WITHIN, work).await.ok()
}

/// [`answered`] for a lane.
pub(crate) async fn answered_soon<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(LANE_ANSWER_WITHIN, work).await.ok()
}

/// The error for a connection that leads nowhere; it is not used again. Whether its transaction was committed is not known.
fn silent(mut conn: PoolConnection<Postgres>) -> Error {
    conn.close_on_drop();
    let seconds = ANSWER_WITHIN.as_secs();
    Error::Unavailable(
        format!("the database said nothing for {seconds} s; the connection is given up").into(),
    )
}

/// The error of those whose question or write was under way on a connection that was given up.
pub(crate) fn unanswered() -> Error {
    Error::Unavailable("the database did not answer; what became of the call is not known".into())
}

impl Backend {
    async fn connection(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.pool.acquire().await.map_err(translate)
    }

    /// Runs `work` on a connection; each statement sees the newest commit.
    pub(crate) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut conn = self.connection().await?;
        match answered(work(&mut conn)).await {
            Some(done) => done.map_err(|fault| fault.0),
            None => Err(silent(conn)),
        }
    }

    /// Runs `work` on a connection; all statements see one commit.
    pub(crate) async fn snapshot<T>(
        &self,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut conn = self.connection().await?;
        let looked = answered(async {
            let mut tx = conn
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await
                .map_err(translate)?;
            let seen = work(&mut tx).await.map_err(|fault| fault.0)?;
            tx.rollback().await.map_err(translate)?;
            Ok(seen)
        });
        match looked.await {
            Some(seen) => seen,
            None => Err(silent(conn)),
        }
    }

    /// Runs `work` in a transaction and returns after its commit. A caller that goes away before leaves it undone.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Tx<'c>) -> BoxFuture<'c, Result<T, Fault>> + Send + 'static,
    {
        self.write_on(&self.pool, work).await
    }

    async fn write_on<T, F>(&self, pool: &PgPool, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Tx<'c>) -> BoxFuture<'c, Result<T, Fault>> + Send + 'static,
    {
        let mut conn = pool.acquire().await.map_err(translate)?;
        let mut hints = Vec::new();
        let mut due = audit::due();
        let written = answered(async {
            let mut tx = conn.begin().await.map_err(translate)?;
            let done = async {
                let value = work(Tx { conn: &mut tx, hints: &mut hints, due: &mut due }).await?;
                log::tell(&mut tx, due.as_ref()).await?;
                Ok::<_, Fault>(value)
            };
            match done.await {
                Ok(value) => {
                    // Whatever fails here: whether the transaction was committed is not known.
                    tx.commit().await.map_err(|error| Error::Unavailable(Box::new(error)))?;
                    Ok(value)
                }
                Err(fault) => {
                    tx.rollback().await.map_err(translate)?;
                    Err(fault.0)
                }
            }
        });
        match written.await {
            Some(Ok(value)) => {
                if let Some(told) = due {
                    told.committed();
                }
                self.telling.tell(hints);
                Ok(value)
            }
            Some(Err(error)) => Err(error),
            None => Err(silent(conn)),
        }
    }

    /// A change of work rows, written together with others; see [`crate::group`].
    pub(crate) async fn commit_change(&self, change: Change, now: Timestamp) -> Result<(), Error> {
        let change = Box::new(change);
        let write = if create::is_creation(&change) { Write::Create(change) } else { Write::Change(change) };
        self.submit(write, now).await
    }

    /// See `Work::claim_jobs`.
    pub(crate) async fn commit_claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Job>, Error> {
        self.write_on(&self.keyed, move |tx| Box::pin(claims::claim_jobs(tx, claim, now))).await
    }

    /// Step reports of a run; likewise.
    pub(crate) async fn commit_steps(&self, told: RunSteps, now: Timestamp) -> Result<(), Error> {
        self.submit(Write::Steps(Box::new(told)), now).await
    }

    async fn submit(&self, write: Write, now: Timestamp) -> Result<(), Error> {
        let closed = || Error::Unavailable("the database is closed".into());
        let queues = self.queues().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        let queue = if matches!(write, Write::Create(_)) { &queues.creations } else { &queues.writes };
        queue.send(Ask { write, now, due: audit::due(), reply }).await.map_err(|_| closed())?;
        drop(queues);
        answer.await.map_err(|_| unanswered())?
    }

    pub(crate) fn queues(&self) -> Option<Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Telling {
    /// After a commit.
    pub(crate) fn tell(&self, hints: Vec<Hint>) {
        let outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for hint in hints {
            // Hints may be lost: when nobody listens, and when the outbox is full.
            drop(self.hints.send(hint));
            if let Some(outbox) = &outbox {
                let _ = outbox.try_send(hint);
            }
        }
    }

    fn close(&self) {
        drop(self.outbox.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl WakeHints for Backend {
    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.telling.hints.subscribe()
    }
}

#[async_trait]
impl Store for Backend {
    async fn migrate(&self) -> Result<(), Error> {
        let mut conn = self.migrate.connect().await.map_err(translate)?;
        let migrated = MIGRATIONS.run_direct(None, &mut conn, false).await.map_err(explain);
        conn.close().await.map_err(translate)?;
        migrated
    }

    async fn server_time(&self) -> Result<Timestamp, Error> {
        self.read(async |conn| {
            let now =
                sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!: Time""#).fetch_one(conn).await?;
            Ok(now.0)
        })
        .await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.connection().await?.ping().await.map_err(translate)
    }

    async fn close(&self) {
        drop(self.queues.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.telling.close();
        self.tasks.drain(CLOSE_WITHIN).await;
        self.pool.close().await;
        self.keyed.close().await;
        self.hint_pool.close().await;
    }
}

fn explain(error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) => Error::Setup(format!(
            "the database was written by a newer version (its migration {version} is not known here); update this program"
        )),
        MigrateError::VersionMismatch(version) => Error::Setup(format!(
            "migration {version} of the database differs from this version's; restore the database from a backup, or use \
             the version that wrote it"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => translate(error),
        other => Error::Internal(Box::new(other)),
    }
}
