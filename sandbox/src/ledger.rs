//! The append-only file of truth: one JSON record a line, on disk before anybody is answered.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::model::Record;

const FILE: &str = "ledger.jsonl";

/// The open ledger of one sandbox.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    path: PathBuf,
    /// Bytes of complete records; what lies beyond is the rest of a failed write.
    end: u64,
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made, read or written.
    #[error("the data folder {} cannot be used ({cause}); choose another with --data", path.display())]
    Folder {
        /// The file or folder that failed.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Another process has the folder open.
    #[error("the data folder {} is in use by another sandbox; stop it or choose another with --data", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A record in the middle is unreadable: the file was changed by somebody else.
    #[error("{}, line {line} is not a ledger record ({cause}); mend the line or start with another --data", path.display())]
    Damaged {
        /// The ledger.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

// === impl Ledger ===

impl Ledger {
    /// Opens or makes the ledger in `folder` and reads its records.
    ///
    /// A last line without its end is the trace of a crash during a write that nobody was answered about: it is
    /// cut off. The folder stays locked until the ledger is dropped.
    pub fn open(folder: &Path) -> Result<(Self, Vec<Record>), Error> {
        let path = folder.join(FILE);
        let failed = |cause| Error::Folder { path: path.clone(), cause };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => Error::InUse { path: folder.to_owned() },
            std::fs::TryLockError::Error(cause) => failed(cause),
        })?;
        let content = std::fs::read(&path).map_err(failed)?;
        let complete = content.iter().rposition(|&byte| byte == b'\n').map_or(0, |position| position + 1);
        let records = content[..complete]
            .split_inclusive(|&byte| byte == b'\n')
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_slice(line).map_err(|cause| Error::Damaged {
                    path: path.clone(),
                    line: index + 1,
                    cause,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if complete < content.len() {
            tracing::warn!(bytes = content.len() - complete, "cut off a record that a crash left unfinished");
            file.set_len(complete as u64).and_then(|()| file.sync_data()).map_err(failed)?;
        }
        // The name of a new file must survive a crash as well as its contents.
        File::open(folder).and_then(|opened| opened.sync_all()).map_err(failed)?;
        Ok((Self { file, path, end: complete as u64 }, records))
    }

    /// Appends `record` and returns when it is on disk.
    ///
    /// A write that fails leaves nothing behind: the next one starts where this one did.
    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let failed = |cause| Error::Folder { path: self.path.clone(), cause };
        let mut line = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.file.seek(SeekFrom::Start(self.end)).map_err(failed)?;
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(cause) = written {
            // The record was refused to its sender, so a part of it must not be read as a record later.
            drop(self.file.set_len(self.end));
            return Err(failed(cause));
        }
        self.end += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(token: &str) -> Record {
        Record::SessionClosed { token: token.to_owned() }
    }

    #[test]
    fn torn_tail_is_cut_and_the_ledger_goes_on() {
        let folder = tempfile::tempdir().expect("folder");
        let (mut ledger, records) = Ledger::open(folder.path()).expect("opens");
        assert!(records.is_empty());
        ledger.append(&closed("a")).expect("appends");
        drop(ledger);
        let path = folder.path().join(FILE);
        let mut content = std::fs::read(&path).expect("reads");
        content.extend_from_slice(br#"{"kind":"session_cl"#);
        std::fs::write(&path, content).expect("writes");

        let (mut ledger, records) = Ledger::open(folder.path()).expect("opens again");
        assert_eq!(records, vec![closed("a")]);
        ledger.append(&closed("b")).expect("appends");
        drop(ledger);
        let (_, records) = Ledger::open(folder.path()).expect("opens a third time");
        assert_eq!(records, vec![closed("a"), closed("b")]);
    }

    #[test]
    fn damage_in_the_middle_names_the_line_and_a_second_process_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join(FILE), "{\"kind\":\"session_closed\",\"token\":\"a\"}\nrubbish\n")
            .expect("writes");
        let error = Ledger::open(folder.path()).expect_err("damaged").to_string();
        assert!(error.contains("line 2"), "{error}");

        std::fs::write(folder.path().join(FILE), "").expect("writes");
        let _held = Ledger::open(folder.path()).expect("opens");
        let error = Ledger::open(folder.path()).expect_err("locked").to_string();
        assert!(error.contains("in use"), "{error}");
    }
}
