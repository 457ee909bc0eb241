//! Consistent copies of the file, while a controller runs; and putting one back.
//!
//! A copy is made by `VACUUM INTO`: one read transaction, which sees one commit and holds nobody up. Both ways a file appears
//! whole or not at all: it is written beside its place and renamed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tradepost_store::Error;

use crate::open::{explain, lock, path_of, private_file};

/// A backup that is checked and copied beside the database it is to replace. Dropped unfinished, nothing has changed.
#[derive(Debug)]
pub struct Restoring {
    place: PathBuf,
    staged: PathBuf,
    /// Keeps controllers off.
    _lock: File,
}

/// Copies the database of `url` to the new file `to`, and checks the copy. Returns its size in bytes.
///
/// `Error::Setup` when there is no such database, when `to` exists, or when it cannot be written.
pub async fn backup(url: &str, to: &Path) -> Result<u64, Error> {
    let from = path_of(url)?;
    if !from.exists() {
        return Err(Error::Setup(format!("there is no database at {}", from.display())));
    }
    if to.exists() {
        return Err(Error::Setup(format!("{} exists already; name a new file", to.display())));
    }
    let partial = beside(to, ".partial");
    let copied = copy(&from, &partial).await;
    let placed = match copied {
        Ok(bytes) => fs::rename(&partial, to).map(|()| bytes).map_err(|error| cannot("write", to, &error)),
        Err(error) => Err(error),
    };
    if placed.is_err() {
        // It may not exist.
        drop(fs::remove_file(&partial));
    }
    let bytes = placed?;
    sync_folder(to);
    Ok(bytes)
}

/// Checks the backup `from` and copies it beside the database of `url`.
///
/// `Error::Setup` when a controller has the database open, or when `from` is no whole backup of this program.
pub async fn restore(url: &str, from: &Path) -> Result<Restoring, Error> {
    let place = path_of(url)?;
    let lock = lock(&place)?;
    if !from.is_file() {
        return Err(Error::Setup(format!("there is no file {}", from.display())));
    }
    if fs::canonicalize(from).ok().is_some_and(|from| fs::canonicalize(&place).ok() == Some(from)) {
        return Err(Error::Setup(format!("{} is the database itself, not a backup of it", from.display())));
    }
    let staged = beside(&place, ".restoring");
    for leftover in [staged.clone(), beside(&staged, "-wal"), beside(&staged, "-shm")] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("replace", &leftover, &error));
            }
            _ => {}
        }
    }
    let restoring = Restoring { place, staged, _lock: lock };
    copy(from, &restoring.staged).await?;
    Ok(restoring)
}

impl Restoring {
    /// The address of the copy: to be brought up to date, and closed, before [`Restoring::finish`].
    pub fn staged_url(&self) -> String {
        format!("sqlite:{}", self.staged.display())
    }

    /// The database that is to be replaced, if there is one.
    pub fn replaces(&self) -> Option<&Path> {
        self.place.exists().then_some(&self.place)
    }

    /// Puts the copy in its place; the file that was there is kept beside it with `suffix` added to its name, and is returned.
    /// At every moment one of the two is in the place.
    pub async fn finish(self, suffix: &str) -> Result<Option<PathBuf>, Error> {
        let names = (1_u32..).map(|n| if n == 1 { suffix.to_owned() } else { format!("{suffix}-{n}") });
        let mut free = names.map(|suffix| beside(&self.place, &suffix)).filter(|kept| !kept.exists());
        let kept = free.next().unwrap_or_else(|| beside(&self.place, suffix));
        let replaced = self.place.exists();
        if replaced {
            fold_log(&self.place).await;
            let linked = fs::hard_link(&self.place, &kept);
            linked
                .or_else(|_| fs::copy(&self.place, &kept).map(drop))
                .map_err(|error| cannot("keep", &kept, &error))?;
            // What a damaged file could not take in of its log belongs to it, and not to the copy.
            for part in ["-wal", "-shm"] {
                let (from, to) = (beside(&self.place, part), beside(&kept, part));
                if from.exists() {
                    fs::rename(&from, &to).map_err(|error| cannot("keep", &to, &error))?;
                }
            }
        }
        fold_log(&self.staged).await;
        fs::rename(&self.staged, &self.place).map_err(|error| cannot("write", &self.place, &error))?;
        sync_folder(&self.place);
        Ok(replaced.then_some(kept))
    }
}

/// Copies a database as one commit has it, flushed to the disk and checked.
async fn copy(from: &Path, to: &Path) -> Result<u64, Error> {
    let file = private_file(to).map_err(|error| cannot("write", to, &error))?;
    let mut conn = reader(from).await?;
    let tables = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('_sqlx_migrations', 'intents')",
    )
    .fetch_one(&mut conn)
    .await
    .map_err(|error| explain(from, &error))?;
    if tables != 2 {
        return Err(Error::Setup(format!("{} is no database of this program", from.display())));
    }
    let target = to.to_str().ok_or_else(|| Error::Setup(format!("{} is no readable name", to.display())))?;
    sqlx::query("VACUUM INTO $1").bind(target).execute(&mut conn).await.map_err(|error| {
        Error::Setup(format!("cannot copy {} to {}: {error}", from.display(), to.display()))
    })?;
    drop(conn.close().await);
    let mut conn = reader(to).await?;
    let verdict = sqlx::query_scalar::<_, String>("PRAGMA integrity_check(1)")
        .fetch_one(&mut conn)
        .await
        .map_err(|error| explain(to, &error))?;
    drop(conn.close().await);
    if verdict != "ok" {
        return Err(Error::Setup(format!("{} is damaged ({verdict}); use another backup", from.display())));
    }
    file.sync_all().map_err(|error| cannot("write", to, &error))?;
    Ok(file.metadata().map_err(|error| cannot("read", to, &error))?.len())
}

async fn reader(path: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(std::time::Duration::from_secs(10));
    options.connect().await.map_err(|error| explain(path, &error))
}

/// Takes the write-ahead log into the file, so that the file alone is the whole database. A damaged one stays as it is.
async fn fold_log(path: &Path) {
    let folded = async {
        let mut conn = reader(path).await?;
        let done = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await;
        drop(conn.close().await);
        done.map(drop).map_err(|error| explain(path, &error))
    };
    if let Err(error) = folded.await {
        tracing::warn!(%error, path = %path.display(), "the write-ahead log was not taken into the file");
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Setup(format!("cannot {what} {}: {error}", path.display()))
}

/// A rename survives a power cut once its folder is flushed; where folders cannot be, the file system keeps them in order.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::debug!(%error, "the folder was not flushed");
    }
}
