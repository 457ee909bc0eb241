//! A connection that one task keeps for itself: no pool stands between, which would test it on each use.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::Instant;
use tradepost_store::Error;

use crate::error::translate;

/// A database that is away for less time costs callers only this wait: nothing of theirs was sent yet.
const WAIT: Duration = Duration::from_secs(5);
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// The connection, made when it is needed.
pub(crate) struct Line {
    options: PgConnectOptions,
    conn: Option<PgConnection>,
}

impl Line {
    /// Not connected yet.
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self { options, conn: None }
    }

    /// The connection; waits for a database that is being restarted.
    pub(crate) async fn get(&mut self) -> Result<&mut PgConnection, Error> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect().await?,
        };
        Ok(self.conn.insert(conn))
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

    /// The connection is not used again: after an error of which it may be the cause.
    pub(crate) fn drop_connection(&mut self) {
        self.conn = None;
    }
}
