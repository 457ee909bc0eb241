//! The agent's journal: what it must still know after any crash.
//!
//! An append-only file of checksummed lines. [`Journal::append`] returns when the record survives a power cut, so what a
//! record announces may begin after it: above all `WillClick` before the click (invariant I3).
//!
//! A crash in the middle of an append leaves a torn last line. It is cut off at the next start: what it was to announce has
//! not begun. A broken line anywhere else means that the file was damaged later; then the records after it are still read,
//! but the absence of a record proves nothing any more, see [`State::damaged`].
//!
//! [`State`] is what the records add up to, and [`State::recovery`] says what to do about a permit after a restart.
//! To add a record: a variant of [`Record`] and its line in [`State::apply`].

mod history;
mod state;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tradepost_domain::fleet::FleetEpoch;
use tradepost_domain::id::{AccountId, IntentId, JobId, PermitId, RunLease, SessionEpoch};
use tradepost_domain::posting::Receipt;

pub use self::history::{Marks, Past, Told};
use self::state::Age;
pub use self::state::{Open, Recovery, State};
use crate::platform::files;
use crate::platform::processes::ProcessRef;

/// The journal is rewritten when it is longer than this and nothing of it is open.
const COMPACT_ABOVE_BYTES: u64 = 64 * 1024;
/// Letters of a line's checksum.
const CHECKSUM: usize = 16;

/// One run of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// The job.
    pub job: JobId,
    /// The run.
    pub lease: RunLease,
}

/// A request for a permit, complete enough to be repeated after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitRequest {
    /// The agent's own name of the request: a repeat gives the same permit.
    pub request: String,
    /// The asking run.
    pub run: RunKey,
    /// The intent.
    pub intent: IntentId,
    /// Its generation.
    pub generation: u32,
    /// The stream it is asked over.
    pub epoch: SessionEpoch,
    /// Hash of the baseline, hex.
    pub baseline_sha256: String,
    /// Hash of the filled form.
    pub fingerprint: String,
}

/// What became of a permit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The listing is there.
    Confirmed(Box<Receipt>),
    /// No click was sent, or it had no effect for certain.
    NotClicked(String),
    /// The click may have been sent; its effect is not known.
    Uncertain(String),
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A run has begun.
    RunStarted {
        /// The run.
        run: RunKey,
        /// The account it acts for.
        account: AccountId,
    },
    /// A permit is about to be asked for.
    PermitRequested(PermitRequest),
    /// No permit was given for the request.
    PermitDenied {
        /// The request.
        request: String,
    },
    /// A permit was given.
    Permit {
        /// The request.
        request: String,
        /// The permit.
        permit: PermitId,
        /// Its life, counted from the sending of the request.
        ttl: Duration,
    },
    /// The click is about to be sent.
    WillClick {
        /// Under this permit.
        permit: PermitId,
    },
    /// The click was sent.
    Clicked {
        /// Under this permit.
        permit: PermitId,
    },
    /// What became of it; a later one replaces an earlier one.
    Outcome {
        /// Under this permit.
        permit: PermitId,
        /// What.
        outcome: Outcome,
    },
    /// The controller has taken the outcome.
    Settled {
        /// The permit.
        permit: PermitId,
    },
    /// The controller does not take the outcome.
    Refused {
        /// The permit.
        permit: PermitId,
    },
    /// A stream was welcomed.
    Welcomed {
        /// The life of the controller's database.
        fleet_epoch: FleetEpoch,
        /// The stream.
        session_epoch: SessionEpoch,
    },
    /// A settled permit, kept by a compaction.
    Past(Box<Past>),
    /// The newest numbers, kept by a compaction.
    Marks(Marks),
    /// A run has ended.
    RunEnded {
        /// The run.
        run: RunKey,
    },
    /// Processes were started for a run.
    ProcessesStarted {
        /// Which.
        processes: Vec<ProcessRef>,
    },
    /// Processes have ended, provably.
    ProcessesEnded {
        /// Which.
        processes: Vec<ProcessRef>,
    },
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the journal {} cannot be {action}: {source}; the agent does not click without it", path.display())]
pub struct Error {
    path: PathBuf,
    action: &'static str,
    source: io::Error,
}

/// The open journal. Appends are serialised; each returns when it is on the disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    length: u64,
    /// Length after the last compaction: what is kept does not call for another one.
    compacted: u64,
    state: State,
    /// After a failed write it is not known what the file holds: nothing more is promised.
    broken: bool,
}

/// What reading a journal gave.
#[derive(Debug, Default, PartialEq)]
pub struct Contents {
    /// The records that are whole.
    pub records: Vec<Record>,
    /// How many bytes of the file are kept.
    pub kept: usize,
    /// A line before the last was broken.
    pub damaged: bool,
}

/// Reads a journal's bytes.
pub fn read(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let mut position = 0;
    let mut broken = false;
    while let Some(length) = bytes[position..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[position..position + length];
        position += length + 1;
        match parse(line) {
            Some(record) => {
                contents.damaged |= broken;
                contents.records.push(record);
                contents.kept = position;
            }
            None => broken = true,
        }
    }
    contents
}

fn parse(line: &[u8]) -> Option<Record> {
    let (sum, rest) = line.split_at_checked(CHECKSUM)?;
    let json = rest.strip_prefix(b" ")?;
    (checksum(json).as_bytes() == sum).then(|| serde_json::from_slice(json).ok())?
}

fn checksum(json: &[u8]) -> String {
    let mut text = hex::encode(Sha256::digest(json));
    text.truncate(CHECKSUM);
    text
}

/// The line of a record, as it is appended.
pub fn encode(record: &Record) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(record)?;
    let mut line = checksum(&json).into_bytes();
    line.push(b' ');
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

impl Journal {
    /// Opens the journal at `path`, or begins it. A torn tail is cut off.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |action| move |source| Error { path: path.to_owned(), action, source };
        let mut file = files::open_private(path).map_err(failed("opened"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let contents = read(&bytes);
        if contents.damaged {
            tracing::error!(path = %path.display(), "the journal is damaged: open publications will be looked up");
        }
        let length = contents.kept as u64;
        file.set_len(length).map_err(failed("repaired"))?;
        file.sync_all().map_err(failed("repaired"))?;
        files::sync_parent(path).map_err(failed("written"))?;
        let age = if contents.records.is_empty() && !contents.damaged { Age::New } else { Age::Older };
        let state = State::of(contents);
        let (marks, marked) = (state.first_marks(age), state.is_marked());
        let inner = Inner { file, length, compacted: 0, state, broken: false };
        let journal = Self { path: path.to_owned(), inner: Mutex::new(inner) };
        if !marked {
            journal.append(Record::Marks(marks))?;
        }
        Ok(journal)
    }

    /// Writes `record` and returns when it survives a power cut. Blocks for the disk's answer, some milliseconds.
    pub fn append(&self, record: Record) -> Result<(), Error> {
        let failed = |source| Error { path: self.path.clone(), action: "written", source };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.broken {
            return Err(failed(io::Error::other("an earlier write failed; start the agent again")));
        }
        let line = encode(&record).map_err(failed)?;
        let written = inner.file.write_all(&line).and_then(|()| inner.file.sync_data());
        if let Err(error) = written {
            inner.broken = true;
            return Err(failed(error));
        }
        inner.length += line.len() as u64;
        inner.state.apply(record);
        let long = inner.length > COMPACT_ABOVE_BYTES + 2 * inner.compacted;
        if (long || inner.state.damaged()) && inner.state.is_settled() {
            inner.state.mend();
            self.compact(&mut inner).map_err(failed)?;
        }
        Ok(())
    }

    /// Writes `record` from asynchronous code, without holding up the other tasks of its thread.
    pub async fn append_async(self: &std::sync::Arc<Self>, record: Record) -> Result<(), Error> {
        let journal = std::sync::Arc::clone(self);
        tokio::task::spawn_blocking(move || journal.append(record)).await.unwrap_or_else(|error| {
            Err(Error { path: self.path.clone(), action: "written", source: io::Error::other(error) })
        })
    }

    /// What the records add up to now.
    pub fn state(&self) -> State {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).state.clone()
    }

    /// Everything is settled: only what is still true is kept.
    fn compact(&self, inner: &mut Inner) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in inner.state.records() {
            bytes.extend(encode(&record)?);
        }
        files::replace_private(&self.path, &bytes)?;
        inner.file = files::open_private(&self.path)?;
        inner.length = bytes.len() as u64;
        inner.compacted = inner.length;
        Ok(())
    }
}

/// Permits by their requests.
type Requests = BTreeMap<String, Open>;

#[cfg(test)]
mod tests;
