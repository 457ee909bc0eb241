//! Commands for whoever runs a controller: putting a backup back, and beginning a new life of the database.

use std::path::{Path, PathBuf};

use tradepost_domain::audit::{Actor, Detail, Outcome};
use tradepost_domain::fleet::{Fleet, FleetEpoch};
use tradepost_domain::time::Timestamp;

use crate::app::{self, Error, Opener, Surroundings, open_core};
use crate::args::Trust;
use crate::config::Config;
use crate::identity::rotation;
use crate::memory::Memory;

/// A backup that was put back.
#[derive(Debug)]
pub struct Restored {
    /// The new life of the database.
    pub fleet: Fleet,
    /// The file that was in its place before.
    pub kept: Option<PathBuf>,
}

/// Puts a backup of the embedded database in its place, as a new life of it. Refuses while a controller runs.
pub async fn restore(config: &Config, surroundings: &Surroundings, from: &Path) -> Result<Restored, Error> {
    let restoring = app::stage_restore(config, from).await?;
    let memory = Memory::new(&config.identity_folder());
    let mut staged = config.clone();
    staged.database.url = Some(restoring.staged_url().into());
    // The life that is being left may be a later one than the backup's and than the one remembered.
    let left = match restoring.replaces() {
        Some(_) => match newest_epoch(config, surroundings).await {
            Ok(epoch) => epoch,
            Err(error) => {
                tracing::warn!(%error, "the database that is being replaced cannot be read");
                FleetEpoch(0)
            }
        },
        None => FleetEpoch(0),
    };
    let core = open_core(&staged, surroundings, Opener::Command).await?;
    let database = core.store.fleet().await?.database;
    let after = left.max(memory.newest_epoch(database));
    let fleet = core.restored(Actor::Host, after, "a backup was put back with `controller restore`").await;
    core.store.close().await;
    let fleet = fleet?;
    let now = surroundings.clock.now().since(Timestamp::EPOCH);
    let at = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + now).to_string();
    let kept = restoring.finish(&format!(".before-restore-{}", at.replace(':', ""))).await?;
    if let Err(error) = memory.note(&fleet) {
        tracing::debug!(%error, "there is no identity yet to remember it beside");
    }
    Ok(Restored { fleet, kept })
}

async fn newest_epoch(config: &Config, surroundings: &Surroundings) -> Result<FleetEpoch, Error> {
    let core = open_core(config, surroundings, Opener::Command).await?;
    let fleet = core.store.fleet().await;
    core.store.close().await;
    Ok(fleet?.epoch)
}

/// Tells in the audit log that the certificate authority is about to be changed. The authority is files, so this cannot be
/// one with the change: it comes before it. A database that cannot be reached keeps nobody from the change, who may be in
/// a hurry.
pub async fn tell_trust(config: &Config, surroundings: &Surroundings, command: Trust) {
    let method = match command {
        Trust::Status => return,
        Trust::Begin { .. } => "controller/trust_begin",
        Trust::Advance => "controller/trust_advance",
        Trust::Rollback => "controller/trust_rollback",
    };
    if config.database_file().is_some_and(|file| !file.exists()) {
        return;
    }
    let told = async {
        let log = app::open_audit_log(config, surroundings, Opener::Command).await?;
        let mut entry = log.author(Actor::Host, method).entry(Outcome::Done);
        if let Ok(phase) = rotation::phase(&config.identity_folder()) {
            entry.set_detail(Detail::From, phase.name());
        }
        let told = log.add(entry).await;
        log.close().await;
        told.map_err(Error::from)
    };
    if let Err(error) = told.await {
        tracing::warn!(%error, "the change of the certificate authority could not be told in the audit log");
    }
}

/// Begins a new life of the database, after one that was restored by other means.
pub async fn bump_fleet_epoch(
    config: &Config,
    surroundings: &Surroundings,
    after: FleetEpoch,
    reason: &str,
) -> Result<Fleet, Error> {
    // Of an embedded database a controller that runs would not hear of it.
    let opener = if config.database_file().is_some() { Opener::Controller } else { Opener::Command };
    let core = open_core(config, surroundings, opener).await?;
    let memory = Memory::new(&config.identity_folder());
    let database = core.store.fleet().await?.database;
    let fleet = core.restored(Actor::Host, after.max(memory.newest_epoch(database)), reason).await;
    core.store.close().await;
    let fleet = fleet?;
    if let Err(error) = memory.note(&fleet) {
        tracing::debug!(%error, "there is no identity yet to remember it beside");
    }
    Ok(fleet)
}
