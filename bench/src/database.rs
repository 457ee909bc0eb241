//! A database for one measurement.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::fleet::complain;
use crate::stats;

/// A fresh database, of either engine.
pub(crate) struct Database {
    /// As the controller takes it.
    pub(crate) url: String,
    name: String,
    server: Option<String>,
    postmaster: Option<u32>,
    /// What the server had spent when the database was made.
    before: f64,
}

impl Database {
    /// Makes one: `server` is `sqlite` or the URL of a PostgreSQL server's own database.
    pub(crate) async fn fresh(server: &str, name: &str, folder: &Path) -> Result<Self> {
        if server == "sqlite" {
            let url = format!("sqlite:{}", folder.join("tradepost.db").display());
            return Ok(Self { url, name: name.to_owned(), server: None, postmaster: None, before: 0.0 });
        }
        let mut conn = connect(server).await?;
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name}"),
            "CHECKPOINT".into(),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await?;
        }
        let postmaster = postmaster(&mut conn).await.ok();
        conn.close().await?;
        let (base, query) = server.split_once('?').unwrap_or((server, ""));
        let (place, _) = base.rsplit_once('/').context("the server's URL names a database")?;
        let url = format!("{place}/{name}?{query}");
        let before = postmaster.map_or(0.0, stats::cpu_seconds);
        Ok(Self { url, name: name.to_owned(), server: Some(server.to_owned()), postmaster, before })
    }

    /// Processor seconds of the server since then.
    pub(crate) fn spent(&self) -> f64 {
        self.postmaster.map_or(0.0, stats::cpu_seconds) - self.before
    }

    /// Deletes it.
    pub(crate) async fn drop(self) {
        let Some(server) = &self.server else { return };
        let dropped = async {
            let mut conn = connect(server).await?;
            let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await?;
            conn.close().await?;
            anyhow::Ok(())
        };
        if let Err(error) = dropped.await {
            complain(&format!("the database {} stays: {error:#}", self.name));
        }
    }
}

/// A connection to a server.
pub(crate) async fn connect(url: &str) -> Result<PgConnection> {
    Ok(PgConnectOptions::from_str(url)?.connect().await?)
}

/// The process id of the server behind a connection, if it runs on this machine.
pub(crate) async fn postmaster(conn: &mut PgConnection) -> Result<u32> {
    let directory: String = sqlx::query_scalar("SHOW data_directory").fetch_one(conn).await?;
    let text = std::fs::read_to_string(Path::new(&directory).join("postmaster.pid"))?;
    Ok(text.lines().next().context("postmaster.pid is empty")?.trim().parse()?)
}
