//! The file of checkpoints: signed words about the ends of the audit log's chains, a line of JSON each, outside the
//! database. Lines are appended and flushed to the disk; nothing is ever taken away here.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;
use tradepost_domain::audit::{Chain, Head};
use tradepost_domain::time::Timestamp;

use crate::config::Audit;
use crate::service::{AuditLog, Core, Error, Result};

/// Writes checkpoints when it is time to.
#[derive(Debug)]
pub struct Checkpoints {
    log: AuditLog,
    core: Core,
    file: PathBuf,
    config: Audit,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the newest lines say.
    told: HashMap<Chain, Head>,
    /// Entries that this controller sealed since.
    sealed: u64,
    taken_at: Option<Timestamp>,
}

impl Checkpoints {
    /// Into this file. The first line of a process speaks for every chain.
    pub fn new(log: AuditLog, core: Core, config: Audit, file: PathBuf) -> Self {
        Self { log, core, file, config, state: Mutex::default() }
    }

    /// Gives waiting entries their places, and takes a checkpoint if enough have come, or enough time has passed.
    pub async fn round(&self) -> Result<()> {
        let sealed = self.log.seal().await?;
        let mut state = self.state.lock().await;
        state.sealed += sealed;
        let now = self.core.now();
        let is_time = state.taken_at.is_none_or(|at| now.since(at) >= self.config.checkpoint_every);
        if is_time || state.sealed >= self.config.checkpoint_entries {
            self.take(&mut state).await?;
        }
        Ok(())
    }

    /// The same, whatever time it is: at the end of a process.
    pub async fn finish(&self) -> Result<()> {
        self.log.seal().await?;
        let mut state = self.state.lock().await;
        self.take(&mut state).await
    }

    /// Appends a line about those chains that have moved on since the last one.
    async fn take(&self, state: &mut State) -> Result<()> {
        let heads = self.log.heads().await?;
        let moved: Vec<Head> =
            heads.into_iter().filter(|head| state.told.get(&head.chain) != Some(head)).collect();
        if !moved.is_empty() {
            let line = self.log.checkpoint(moved.clone()).to_line();
            let file = self.file.clone();
            let written = tokio::task::spawn_blocking(move || append(&file, &line)).await;
            written.map_err(Error::internal)?.map_err(|error| {
                Error::internal(format!(
                    "the checkpoint of the audit log cannot be written to {}: {error}",
                    self.file.display()
                ))
            })?;
        }
        state.told.extend(moved.into_iter().map(|head| (head.chain, head)));
        state.sealed = 0;
        state.taken_at = Some(self.core.now());
        Ok(())
    }
}

fn append(file: &Path, line: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut open = options.open(file)?;
    // One write: several controllers may append to one file.
    open.write_all(format!("{line}\n").as_bytes())?;
    open.sync_all()
}
