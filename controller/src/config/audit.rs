//! The audit log.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tradepost_runtime::config;

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// Where checkpoints are appended, best on another disk than the database, or on one that keeps what is written.
    /// Default: `audit-checkpoints.jsonl` in `data_dir`.
    pub checkpoints_file: Option<PathBuf>,
    /// A checkpoint is written this often, if something was told since.
    #[serde(with = "config::duration")]
    pub checkpoint_every: Duration,
    /// And sooner, after so many entries.
    pub checkpoint_entries: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self { checkpoints_file: None, checkpoint_every: Duration::from_secs(60), checkpoint_entries: 1_000 }
    }
}
