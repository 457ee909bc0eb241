//! A connection that one task keeps for itself: no pool stands between, which would test it on each use.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::Instant;
use tradepost_store::Error;

use crate::error::translate;

/// A database that is away for less time costs callers only this wait: nothing of theirs was sent yet.
const WAIT: Duration = Duration::from_secs(5);
/// A connection that was used within this time is not tested.
const TRUSTED: Duration = Duration::from_secs(1);
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// The connection, made when it is needed.
pub(crate) struct Line {
    options: PgConnectOptions,
    conn: Option<PgConnection>,
    used: Instant,
    is_away: bool,
}

impl Line {
    /// Not connected yet.
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self { options, conn: None, used: Instant::now(), is_away: false }
    }

    /// The connection; waits for a database that is being restarted.
    pub(crate) async fn get(&mut self) -> Result<&mut PgConnection, Error> {
        let conn = if let Some(conn) = self.conn.take() {
            conn
        } else {
            let tried = self.connect().await;
            self.is_away = tried.is_err();
            tried?
        };
        self.used = Instant::now();
        Ok(self.conn.insert(conn))
    }

    /// The connection for a statement whose loss would leave its effect unknown: one that was not used for a while is tested
    /// first, and made anew when the server was restarted meanwhile.
    pub(crate) async fn tested(&mut self) -> Result<&mut PgConnection, Error> {
        if self.used.elapsed() > TRUSTED
            && let Some(conn) = &mut self.conn
            && let Err(error) = conn.ping().await
        {
            tracing::info!(%error, "a connection for writes is made anew");
            self.conn = None;
        }
        self.get().await
    }

    async fn connect(&self) -> Result<PgConnection, Error> {
        let end = Instant::now() + WAIT;
        loop {
            let tried = tokio::time::timeout(WAIT, self.options.connect()).await;
            let error = match tried {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(error)) => translate(error),
                Err(_) => translate(sqlx::Error::PoolTimedOut),
            };
            if Instant::now() + PAUSE >= end {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether the last try to connect failed.
    pub(crate) fn is_away(&self) -> bool {
        self.is_away
    }

    /// The connection is not used again: after an error of which it may be the cause.
    pub(crate) fn drop_connection(&mut self) {
        self.conn = None;
    }
}
