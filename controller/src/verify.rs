//! `controller audit verify`: the chains as they stand in the database, and what checkpoints outside it say of them.

use std::fs;
use std::path::{Path, PathBuf};

use tradepost_domain::audit::checkpoint::Book;
use tradepost_domain::audit::verify::Verdict;
use tradepost_runtime::signature::{Signer, is_signed_by};
use tradepost_store::Waiting;

use crate::app::{self, AUDIT_KEY, Opener, Surroundings};
use crate::config::Config;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be read.
    #[error(transparent)]
    App(#[from] app::Error),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file holds no public key.
    #[error("{path} holds no public key: an Ed25519 key as hex, 64 characters", path = .0.display())]
    Key(PathBuf),
    /// Checkpoints cannot be relied on.
    #[error("the checkpoints in {path} cannot be relied on: {why}", path = path.display())]
    Checkpoints {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: tradepost_domain::audit::checkpoint::Doubtful,
    },
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// Of each chain.
    pub verdicts: Vec<Verdict>,
    /// Checkpoints that it was checked against.
    pub checkpoints: u64,
    /// What has no place yet.
    pub waiting: Waiting,
}

/// Reads all chains. Without files, the configured file of checkpoints counts, if it is there.
pub async fn verify(
    config: &Config,
    surroundings: &Surroundings,
    files: &[PathBuf],
    public_key: Option<&Path>,
) -> Result<Report, Error> {
    let key = public_key.map_or_else(|| own_key(config), |file| read_key(file).map(Some))?;
    let usual = config.checkpoints_file();
    let files = if files.is_empty() && usual.exists() { vec![usual] } else { files.to_vec() };
    let mut book = Book::default();
    for path in files {
        let text = fs::read_to_string(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        book.read(&text, key.as_deref(), is_signed_by)
            .map_err(|why| Error::Checkpoints { path: path.clone(), why })?;
    }
    let log = app::open_audit_log(config, surroundings, Opener::Command).await?;
    let read = read(&log, &book).await;
    log.close().await;
    let (verdicts, waiting) = read.map_err(app::Error::from)?;
    Ok(Report { verdicts, checkpoints: book.checkpoints, waiting })
}

async fn read(
    log: &crate::service::AuditLog,
    book: &Book,
) -> crate::service::Result<(Vec<Verdict>, Waiting)> {
    let mut chains: std::collections::BTreeSet<_> = book.marks.keys().copied().collect();
    chains.extend(log.heads().await?.into_iter().map(|head| head.chain));
    let mut verdicts = Vec::with_capacity(chains.len());
    for chain in chains {
        verdicts.push(log.verify(chain, book.marks.get(&chain).cloned().unwrap_or_default()).await?);
    }
    Ok((verdicts, log.waiting(None).await?))
}

/// The key of this installation; none before its first start.
fn own_key(config: &Config) -> Result<Option<Vec<u8>>, Error> {
    let file = config.identity_folder().join(AUDIT_KEY);
    if !file.exists() {
        return Ok(None);
    }
    let key = Signer::load(&file).map_err(app::Error::from)?;
    Ok(Some(key.public_key().to_vec()))
}

fn read_key(path: &Path) -> Result<Vec<u8>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let key = hex::decode(text.trim()).ok().filter(|key| key.len() == 32);
    key.ok_or_else(|| Error::Key(path.to_owned()))
}
