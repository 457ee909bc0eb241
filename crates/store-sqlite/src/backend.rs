//! The connections of one open file.

use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::{broadcast, mpsc, oneshot};
use tradepost_domain::id::{AccountId, AgentId, JobId, RunLease, WorkspaceId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::Pacing;
use tradepost_domain::time::Timestamp;
use tradepost_runtime::clock::SharedClock;
use tradepost_runtime::tasks::Tasks;
use tradepost_store::audit;
use tradepost_store::{Change, Claim, Error, Hint, RunSteps, Store, WakeHints};
use uuid::Uuid;

use crate::error::translate;
use crate::shared::{Fault, JobRow, Tx, commit, jobs, steps};
use crate::time::Time;
use crate::writer::{Ask, Turn};
use crate::{claims, dialect, pacing};

/// A connection of this engine.
pub(crate) type Conn = SqliteConnection;

/// The migrations of this engine.
static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// How long [`Store::close`] waits for writes that are under way.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// One open file.
pub(crate) struct Backend {
    pub(crate) options: SqliteConnectOptions,
    pub(crate) readers: SqlitePool,
    /// To the writer task; none once closed.
    pub(crate) writer: Mutex<Option<mpsc::Sender<Box<dyn Turn>>>>,
    pub(crate) hints: broadcast::Sender<Hint>,
    pub(crate) clock: SharedClock,
    pub(crate) tasks: Tasks,
    /// Keeps other controllers off the file as long as this one lives.
    pub(crate) _lock: Option<File>,
}

impl Backend {
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, Error> {
        self.readers.acquire().await.map_err(translate)
    }

    /// Runs `work` on a reading connection; each statement sees the newest commit.
    pub(crate) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut conn = self.reader().await?;
        work(&mut conn).await.map_err(|fault| fault.0)
    }

    /// Runs `work` on a reading connection; all statements see one commit.
    pub(crate) async fn snapshot<T>(
        &self,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut conn = self.reader().await?;
        let mut tx = conn.begin().await.map_err(translate)?;
        let seen = work(&mut tx).await.map_err(|fault| fault.0)?;
        tx.rollback().await.map_err(translate)?;
        Ok(seen)
    }

    /// Runs `work` in a write transaction and returns after its commit. The work is the writer's from the moment it is
    /// queued: a caller that goes away meanwhile leaves it either whole or undone.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Tx<'c>) -> BoxFuture<'c, Result<T, Fault>> + Send + 'static,
    {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let writer = writer.ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        writer.send(Box::new(Ask { work, due: audit::due(), reply })).await.map_err(|_| closed())?;
        drop(writer);
        answer.await.map_err(|_| closed())?
    }
}

impl Backend {
    /// A change of work rows; the writer commits it together with others.
    pub(crate) async fn commit_change(&self, change: Change, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| Box::pin(commit::apply(tx, change, now))).await
    }

    /// See `Work::claim_jobs`.
    pub(crate) async fn commit_claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Job>, Error> {
        self.write(move |tx| Box::pin(claims::claim_jobs(tx, claim, now))).await
    }

    /// See `Work::list_agent_runs`.
    pub(crate) async fn runs_of(&self, agent: AgentId) -> Result<Vec<Job>, Error> {
        self.read(async |conn| {
            jobs!(
                "SELECT",
                "FROM jobs WHERE agent_id = $1 AND state IN ('leased', 'running', 'parked') ORDER BY created_at, id",
                agent.0
            )
            .fetch_all(&mut *conn)
            .await?
            .into_iter()
            .map(JobRow::into_job)
            .collect()
        })
        .await
    }

    /// See `Work::extend_leases`.
    pub(crate) async fn commit_beat(
        &self,
        agent: AgentId,
        runs: &[(JobId, RunLease)],
        now: Timestamp,
    ) -> Result<Vec<(JobId, RunLease)>, Error> {
        let runs = runs.to_vec();
        self.write(move |tx| {
            Box::pin(async move {
                let until = Time(now + job::LEASE);
                let current = dialect::extend_leases(tx.conn, agent, &runs, until).await?;
                Ok(runs.into_iter().filter(|run| !current.contains(run)).collect())
            })
        })
        .await
    }

    /// See `Work::find_pacing`.
    pub(crate) async fn pacing_of(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Option<Pacing>, Error> {
        self.snapshot(async |conn| pacing::find(conn, workspace, account, now).await).await
    }

    /// Step reports of a run; likewise.
    pub(crate) async fn commit_steps(&self, told: RunSteps, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| Box::pin(steps::append(tx, told, now))).await
    }
}

fn closed() -> Error {
    Error::Unavailable("the database is closed".into())
}

impl WakeHints for Backend {
    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}

#[async_trait]
impl Store for Backend {
    async fn migrate(&self) -> Result<(), Error> {
        let mut conn = self.options.connect().await.map_err(translate)?;
        let migrated = MIGRATIONS.run_direct(None, &mut conn, false).await.map_err(explain);
        conn.close().await.map_err(translate)?;
        migrated
    }

    async fn server_time(&self) -> Result<Timestamp, Error> {
        Ok(self.clock.now())
    }

    async fn ping(&self) -> Result<(), Error> {
        self.reader().await?.ping().await.map_err(translate)
    }

    async fn close(&self) {
        drop(self.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.tasks.drain(CLOSE_WITHIN).await;
        self.readers.close().await;
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
