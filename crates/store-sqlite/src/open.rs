//! Opening a file, with a clear word when it cannot be.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::{broadcast, mpsc};
use tradepost_runtime::clock::SharedClock;
use tradepost_runtime::tasks::Tasks;
use tradepost_store::{Database, Error};

use crate::backend::Backend;
use crate::writer;

/// Writes that may wait for the writer before callers are held back.
const QUEUE: usize = 1024;
/// Hints that a slow receiver may be behind before it loses the oldest.
const HINTS: usize = 4096;

/// How to open the embedded database.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite:PATH` or a plain path. The file is made when it does not exist; its directory must.
    pub url: String,
    /// Connections for reading, 1 or more; 4 suits a controller.
    pub readers: u32,
    /// The time that [`Store::server_time`] tells.
    pub clock: SharedClock,
}

/// Opens the file and starts its writer. Nothing is migrated yet: call [`Store::migrate`].
///
/// `Error::Setup` when the directory is missing or cannot be written, when the file is no SQLite database, or when
/// another controller has it open.
pub async fn open(options: Options) -> Result<Arc<dyn Database>, Error> {
    let lock = lock(&path_of(&options.url)?)?;
    open_with(options, Some(lock)).await
}

/// Opens the file for one short command, beside a controller that may have it open: SQLite itself keeps their writes
/// apart. The controller does not hear of this command's writes, so they must be of a kind that nobody waits for.
pub async fn open_beside(options: Options) -> Result<Arc<dyn Database>, Error> {
    open_with(options, None).await
}

async fn open_with(options: Options, lock: Option<File>) -> Result<Arc<dyn Database>, Error> {
    let path = path_of(&options.url)?;
    let base = SqliteConnectOptions::new()
        .filename(&path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .synchronous(SqliteSynchronous::Full);
    let write = base.clone().create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    // SQLite gives its files beside it the same rights.
    if let Err(error) = private_file(&path) {
        tracing::debug!(%error, path = %path.display(), "SQLite will tell what is wrong with the file");
    }
    let conn = write.connect().await.map_err(|error| explain(&path, &error))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .acquire_timeout(Duration::from_secs(30))
        .connect_lazy_with(base.pragma("query_only", "on"));
    let (sender, queue) = mpsc::channel(QUEUE);
    let (hints, _) = broadcast::channel(HINTS);
    // Its own set: the writer outlives every task that may still want to write while the process drains.
    let tasks = Tasks::new();
    tasks.spawn("sqlite_writer", writer::serve(conn, queue, hints.clone()));
    Ok(Arc::new(Backend {
        options: write,
        readers,
        writer: Mutex::new(Some(sender)),
        hints,
        clock: options.clock,
        tasks,
        _lock: lock,
    }))
}

pub(crate) fn path_of(url: &str) -> Result<PathBuf, Error> {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
        return Err(Error::Setup(format!(
            "{url:?} names no database file; write sqlite:PATH, e.g. sqlite:/var/lib/tradepost/tradepost.db"
        )));
    }
    let path = PathBuf::from(path);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Err(Error::Setup(format!(
            "{}, where the database should lie, is no directory; make it, or name another file",
            directory.display()
        )));
    }
    Ok(path)
}

/// Two controllers on one file would each believe that they are the only writer, and neither would hear the other's hints.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = private_file(Path::new(&name)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::Setup(format!(
                "the directory of the database {} cannot be written; give this user the right to, or name another file",
                path.display()
            )),
            _ => Error::Setup(format!("cannot make {}: {error}", Path::new(&name).display())),
        })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Setup(format!(
            "the database {} is in use by another controller; stop it first, or use PostgreSQL for several controllers",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => {
            Err(Error::Setup(format!("cannot lock {}: {error}", Path::new(&name).display())))
        }
    }
}

/// Opens a file for writing; a new one can be read by its owner only, as it holds what sellers keep to themselves.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

pub(crate) fn explain(path: &Path, error: &sqlx::Error) -> Error {
    let code =
        error.as_database_error().and_then(|cause| cause.code().and_then(|code| code.parse::<u32>().ok()));
    let path = path.display();
    Error::Setup(match code.map(|code| code & 0xff) {
        Some(26) => format!("{path} is no SQLite database; name another file"),
        Some(8 | 14) => format!(
            "the database {path} cannot be written; give this user the right to, or name another file"
        ),
        Some(11) => format!("the database {path} is damaged; restore it from a backup"),
        _ => format!("the database {path} cannot be opened: {error}"),
    })
}
