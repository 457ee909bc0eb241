//! What a controller remembers of its database, beside its identity: how far it had come. An older copy, however it came into
//! its place, is recognised by it at the next start (see [`tradepost_domain::fleet`]).
//!
//! One small file per database, replaced every few seconds while something happens. Losing it loses no more than this
//! recognition; agents recognise an older copy, too.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tradepost_domain::audit::Actor;
use tradepost_domain::fleet::{Fleet, FleetEpoch};
use tradepost_domain::id::DatabaseId;

use crate::service::{Core, Result};

/// How often it is written down how far the database has come.
const EVERY: Duration = Duration::from_secs(5);

/// The files of one folder.
#[derive(Debug, Clone)]
pub struct Memory {
    folder: PathBuf,
}

impl Memory {
    /// In the folder of the identity.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn file(&self, database: DatabaseId) -> PathBuf {
        self.folder.join(format!("fleet-{database}.json"))
    }

    /// What was last seen of a database. An unreadable file is as good as none.
    pub fn recall(&self, database: DatabaseId) -> Option<Fleet> {
        let file = self.file(database);
        let text = fs::read(&file).ok()?;
        let seen = serde_json::from_slice(&text);
        seen.inspect_err(|error| tracing::warn!(%error, file = %file.display(), "how far the database had come is not readable")).ok()
    }

    /// Writes down how far a database has come.
    pub fn note(&self, fleet: &Fleet) -> io::Result<()> {
        let file = self.file(fleet.database);
        let making = file.with_extension(format!("making-{}", std::process::id()));
        let text = serde_json::to_vec(fleet)?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut open = options.open(&making)?;
        open.write_all(&text)?;
        open.sync_all()?;
        fs::rename(&making, &file)
    }

    /// At a start: an older copy than remembered begins a new life.
    pub async fn check(&self, core: &Core) -> Result<()> {
        // What was noted first, then the database: another controller may be at work and noting meanwhile.
        let seen = self.recall(core.store.fleet().await?.database);
        let mut fleet = core.store.fleet().await?;
        if let Some(seen) = seen.filter(|seen| fleet.is_older_than(seen)) {
            tracing::error!(
                database = format!(
                    "fleet epoch {}, run lease {}, {} events",
                    fleet.epoch.0, fleet.run_lease.0, fleet.events
                ),
                seen = format!(
                    "fleet epoch {}, run lease {}, {} events",
                    seen.epoch.0, seen.run_lease.0, seen.events
                ),
                "the database is an older copy of the one that was here before: it was restored from a backup"
            );
            fleet = core
                .restored(
                    Actor::Controller,
                    seen.epoch,
                    "the database is older than this controller remembers it",
                )
                .await?;
        }
        self.keep(&fleet);
        Ok(())
    }

    /// The newest life that is remembered of a database.
    pub fn newest_epoch(&self, database: DatabaseId) -> FleetEpoch {
        self.recall(database).map_or(FleetEpoch(0), |seen| seen.epoch)
    }

    /// Keeps up to date until the end, and once more then.
    pub async fn follow(self, core: Core, end: CancellationToken) {
        let mut last = None;
        loop {
            let over = tokio::select! {
                () = end.cancelled() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            match core.store.fleet().await {
                Ok(fleet) if last != Some(fleet) => {
                    self.keep(&fleet);
                    last = Some(fleet);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "how far the database has come is not known now"),
            }
            if over {
                return;
            }
        }
    }

    fn keep(&self, fleet: &Fleet) {
        // Another controller of the same folder may have seen more.
        if self.recall(fleet.database).is_some_and(|seen| fleet.is_older_than(&seen)) {
            return;
        }
        if let Err(error) = self.note(fleet) {
            tracing::warn!(%error, folder = %self.folder.display(), "how far the database has come cannot be written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use tradepost_domain::id::RunLease;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_noted_is_recalled_for_each_database_by_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = Memory::new(folder.path());
        let fleet = |n: u128| Fleet {
            database: DatabaseId(Uuid::from_u128(n)),
            epoch: FleetEpoch(3),
            run_lease: RunLease(7),
            events: 12,
        };
        memory.note(&fleet(1)).expect("written");
        assert_eq!(memory.recall(fleet(1).database), Some(fleet(1)));
        assert_eq!(memory.recall(fleet(2).database), None);
        assert_eq!(memory.newest_epoch(fleet(1).database), FleetEpoch(3));
        memory.keep(&Fleet { events: 11, ..fleet(1) });
        assert_eq!(memory.recall(fleet(1).database), Some(fleet(1)), "what is older is not noted over it");
        fs::write(folder.path().join(format!("fleet-{}.json", fleet(1).database)), "{").expect("written");
        assert_eq!(memory.recall(fleet(1).database), None, "an unreadable file is as good as none");
    }
}
