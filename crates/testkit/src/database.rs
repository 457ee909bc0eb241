//! A private database per test.
//!
//! PostgreSQL databases are copies of a template that is migrated once for each state of `migrations/postgres`; they live
//! on the server named by `TRADEPOST_TEST_POSTGRES`, or on one that `deploy/postgres.sh` starts for this checkout and stops
//! when it is idle. Without PostgreSQL a test fails and says how to install it; it is never skipped.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tradepost_runtime::config;

/// The variable that names a server to use; its role must be allowed to create databases.
pub const SERVER_VARIABLE: &str = "TRADEPOST_TEST_POSTGRES";

/// Key of the advisory lock under which templates are made; any number that nothing else uses.
const TEMPLATE_LOCK: i64 = 0x7472_6164_6570_6f73;

/// A database of one test, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    home: Home,
}

/// Whether a power cut may lose what was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It may: several times faster, and right for tests.
    Relaxed,
    /// It may not: for measurements.
    Full,
}

#[derive(Debug)]
enum Home {
    Sqlite(TempDir),
    Postgres(Server),
}

/// A server and the name of our database on it.
#[derive(Debug, Clone)]
struct Server {
    admin_url: String,
    database: String,
}

// === impl TestDatabase ===

impl TestDatabase {
    /// An empty SQLite file, at `sqlite:<path>`, in a directory of its own. The caller migrates it.
    pub fn sqlite() -> Result<Self> {
        let directory =
            TempDir::with_prefix("tradepost-test-").context("cannot make a directory for SQLite")?;
        let url = format!("sqlite:{}", directory.path().join("test.db").display());
        Ok(Self { url, home: Home::Sqlite(directory) })
    }

    /// A PostgreSQL database that `migrate` has migrated. It is called with the URL of an empty database, once for each
    /// content of `migrations/postgres`, whichever test comes first; the others get copies.
    pub async fn postgres<F>(migrate: impl FnOnce(String) -> F + Send) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send,
    {
        Self::postgres_from(&crate::workspace_root().join("migrations/postgres"), migrate).await
    }

    /// [`TestDatabase::postgres`] with another folder of migrations.
    pub async fn postgres_from<F>(migrations: &Path, migrate: impl FnOnce(String) -> F + Send) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let server = Server::find(Durability::Relaxed).await?;
        let template = template_name(migrations)?;
        server.ensure_template(&template, migrate).await?;
        Self::create(server, &format!("template {template}")).await
    }

    /// An empty PostgreSQL database, for programs that migrate by themselves.
    pub async fn empty_postgres() -> Result<Self> {
        Self::empty_postgres_with(Durability::Relaxed).await
    }

    /// [`TestDatabase::empty_postgres`] on a server with the given durability. A server named by the environment is
    /// taken as it is.
    pub async fn empty_postgres_with(durability: Durability) -> Result<Self> {
        Self::create(Server::find(durability).await?, "template template0").await
    }

    async fn create(server: Server, like: &str) -> Result<Self> {
        let url = server.url_of(&server.database)?;
        server.execute(&format!("create database {} {like}", server.database)).await?;
        Ok(Self { url, home: Home::Postgres(server) })
    }

    /// A copy of the database as it is now, as a backup would hold it. Nobody may have it open.
    pub async fn copy(&self) -> Result<Self> {
        match (&self.home, self.path()) {
            (Home::Postgres(server), _) => {
                let fresh = Server::find(Durability::Relaxed).await?;
                let like = format!("template {}", server.database);
                let copy = Server { admin_url: server.admin_url.clone(), database: fresh.database };
                Self::create(copy, &like).await
            }
            (Home::Sqlite(_), from) => {
                let copy = Self::sqlite()?;
                let (from, to) = (from.context("a file")?, copy.path().context("a file")?);
                std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
                Ok(copy)
            }
        }
    }

    /// Runs statements behind the programs' backs, with the rights of the database's owner.
    pub async fn execute(&self, statements: &str) -> Result<()> {
        execute_at(&self.url, statements).await
    }

    /// What `--database` takes: `sqlite:/…/test.db` or `postgres://…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The SQLite file; `None` for PostgreSQL.
    pub fn path(&self) -> Option<PathBuf> {
        match &self.home {
            Home::Sqlite(directory) => Some(directory.path().join("test.db")),
            Home::Postgres(_) => None,
        }
    }
}

/// Runs statements on the database of that URL, behind the programs' backs.
pub async fn execute_at(url: &str, statements: &str) -> Result<()> {
    let sql = AssertSqlSafe(statements.to_owned());
    if url.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(url).await?;
        sqlx::raw_sql(sql).execute(&mut connection).await.with_context(|| statements.to_owned())?;
        connection.close().await?;
    } else {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(sql).execute(&mut connection).await.with_context(|| statements.to_owned())?;
        connection.close().await?;
    }
    Ok(())
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Home::Postgres(server) = &self.home else { return };
        let server = server.clone();
        // In a thread with a runtime of its own: this may run inside a test's runtime, or after it.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(
                server.execute(&format!("drop database if exists {} with (force)", server.database)),
            )
        })
        .join();
        if let Ok(Err(error)) = dropped {
            report(&format!("cannot drop a test database: {error:#}"));
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test's output is where its reader looks")]
fn report(message: &str) {
    eprintln!("testkit: {message}");
}

// === impl Server ===

impl Server {
    async fn find(durability: Durability) -> Result<Self> {
        let configured =
            config::process_env().find(|(name, value)| name == SERVER_VARIABLE && !value.is_empty());
        let admin_url = match configured {
            Some((_, url)) => url,
            None => tokio::task::spawn_blocking(move || start_server(durability)).await??,
        };
        let mut random = [0_u8; 6];
        tradepost_runtime::ids::Ids::from_system().fill(&mut random);
        Ok(Self { admin_url, database: format!("test_{}_{}", std::process::id(), hex::encode(random)) })
    }

    /// The URL of another database on this server.
    fn url_of(&self, database: &str) -> Result<String> {
        // By text: a URL type would reorder and escape what the person wrote.
        let (base, query) = match self.admin_url.split_once('?') {
            Some((base, query)) => (base, format!("?{query}")),
            None => (self.admin_url.as_str(), String::new()),
        };
        let (scheme, rest) = base.split_once("://").with_context(|| {
            format!("{SERVER_VARIABLE} is not a URL such as postgres://user@host/postgres")
        })?;
        let authority = rest.split('/').next().unwrap_or(rest);
        Ok(format!("{scheme}://{authority}/{database}{query}"))
    }

    async fn connect(&self) -> Result<PgConnection> {
        let options: PgConnectOptions = self.admin_url.parse().context("the URL of the test server")?;
        PgConnection::connect_with(&options).await.with_context(|| {
            format!(
                "cannot connect to the PostgreSQL of the tests; is {SERVER_VARIABLE} right, is the server up?"
            )
        })
    }

    async fn execute(&self, statement: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        connection
            .execute(AssertSqlSafe(statement.to_owned()))
            .await
            .with_context(|| statement.to_owned())?;
        connection.close().await?;
        Ok(())
    }

    /// Makes the template unless it is there. Others wait meanwhile.
    async fn ensure_template<F>(&self, name: &str, migrate: impl FnOnce(String) -> F + Send) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let mut admin = self.connect().await?;
        if template_exists(&mut admin, name).await? {
            return Ok(());
        }
        sqlx::query("select pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut admin).await?;
        if template_exists(&mut admin, name).await? {
            return Ok(());
        }
        // Migrated under another name: a template under its final one is always complete.
        let draft = format!("{name}_draft");
        self.execute(&format!("drop database if exists {draft} with (force)")).await?;
        self.execute(&format!("create database {draft} template template0")).await?;
        migrate(self.url_of(&draft)?).await.context("migrating the template database")?;
        sqlx::query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1")
            .bind(&draft)
            .execute(&mut admin)
            .await?;
        admin.execute(AssertSqlSafe(format!("alter database {draft} rename to {name}"))).await?;
        admin.close().await?;
        Ok(())
    }
}

async fn template_exists(admin: &mut PgConnection, name: &str) -> Result<bool> {
    let found = sqlx::query_scalar::<_, i32>("select 1 from pg_database where datname = $1")
        .bind(name)
        .fetch_optional(admin)
        .await?;
    Ok(found.is_some())
}

/// A name that changes with the name or content of any migration.
fn template_name(migrations: &Path) -> Result<String> {
    let mut files = std::fs::read_dir(migrations)
        .with_context(|| format!("cannot list {}", migrations.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    ensure!(!files.is_empty(), "{} holds no migration", migrations.display());
    let mut digest = Sha256::new();
    for file in files {
        digest.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update(Sha256::digest(std::fs::read(&file)?));
    }
    Ok(format!("template_{}", hex::encode(&digest.finalize()[..8])))
}

/// Starts the private server of this checkout, or finds it running.
fn start_server(durability: Durability) -> Result<String> {
    let script = crate::workspace_root().join("deploy/postgres.sh");
    let mut command = Command::new(&script);
    command.arg("start");
    if durability == Durability::Full {
        command.arg("--durable");
    }
    let output = command.output().with_context(|| format!("cannot run {}", script.display()))?;
    if !output.status.success() {
        bail!(
            "tests on PostgreSQL need a server: {}; or name one in {SERVER_VARIABLE}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_databases_keep_the_rest_of_the_url() {
        let server = |url: &str| Server { admin_url: url.to_owned(), database: String::new() };
        for (url, expected) in [
            ("postgres://u@localhost/postgres?host=/tmp/x", "postgres://u@localhost/t1?host=/tmp/x"),
            ("postgres://u:p@10.0.0.1:5433/postgres", "postgres://u:p@10.0.0.1:5433/t1"),
            ("postgresql://u@h", "postgresql://u@h/t1"),
        ] {
            assert_eq!(server(url).url_of("t1").unwrap(), expected);
        }
        assert!(server("localhost").url_of("t1").is_err());
    }
}
