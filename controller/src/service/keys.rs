//! The keys that secrets are sealed under: which there are, a change of them while everything runs, and whether all opens.
//!
//! A rotation goes by *version*: every scope gets a data key of the newest version, and everything sealed under an older
//! one is sealed anew, in small batches, each value by compare-and-set. Nothing is kept of how far it has come but the
//! versions beside the values, so it may be killed at any point and begun again. Readers open old and new alike meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tradepost_domain::audit::{Actor, Detail, Outcome, Target};
use tradepost_store::{
    Conflict, Database, Error as StoreError, Reseal, Scope, SealedColumn, SealedRow, audit,
};
use uuid::Uuid;

use super::core::Core;
use crate::seal::{self, Place, Sealer, Shown};

/// Values of one transaction, unless told otherwise.
pub const BATCH: u32 = 200;

/// Use cases of keys; cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys {
    core: Core,
    store: Store,
    sealer: Sealer,
}

/// Without a word in `Debug`.
#[derive(Clone)]
struct Store(Arc<dyn Database>);

/// What there is of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The version.
    pub version: i64,
    /// The key's fingerprint; none when the key is not here.
    pub fingerprint: Option<String>,
    /// Data keys in use.
    pub present: usize,
    /// Data keys that are kept for what was sealed under them.
    pub superseded: usize,
    /// Values sealed under this version.
    pub values: u64,
}

/// How far a walk over sealed values has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Values done.
    pub done: u64,
    /// Values that were to be done when it began.
    pub total: u64,
}

/// A value that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unopened {
    /// The column.
    pub column: SealedColumn,
    /// The row.
    pub id: Uuid,
    /// Sealed under this version.
    pub version: i64,
    /// Why.
    pub why: String,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The version that seals now.
    pub version: i64,
    /// Data keys begun.
    pub data_keys: usize,
    /// Values sealed anew.
    pub resealed: u64,
    /// Values that stay as they are, because they do not open.
    pub unopened: Vec<Unopened>,
    /// Whether it was ended early.
    pub cancelled: bool,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Values that open, by version.
    pub opened: BTreeMap<i64, u64>,
    /// Values that do not.
    pub unopened: Vec<Unopened>,
}

/// Why keys cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// By the seal.
    #[error(transparent)]
    Seal(#[from] seal::Error),
    /// By the database.
    #[error("secrets: {0}")]
    Store(#[from] StoreError),
    /// There are no keys.
    #[error("there are no keys in {0}; the first controller to start makes one, or `controller keys add`")]
    None(String),
    /// The database has a newer version than the file.
    #[error("key v{newest} is in use and not in {place}; copy it there first")]
    Behind {
        /// The database's newest version.
        newest: i64,
        /// Where the keys come from.
        place: String,
    },
    /// Something needs the key.
    #[error("key v{version} is still needed: {why}")]
    InUse {
        /// The version.
        version: i64,
        /// By what, and what to do.
        why: String,
    },
}

type Result<T> = std::result::Result<T, Error>;

impl Keys {
    /// On a database.
    pub fn new(core: Core, store: Arc<dyn Database>, sealer: Sealer) -> Self {
        Self { core, store: Store(store), sealer }
    }

    /// The seal.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Every version that is in the file or in use.
    pub async fn list(&self) -> Result<Vec<Standing>> {
        fn at(all: &mut BTreeMap<i64, Standing>, version: i64) -> &mut Standing {
            let fresh = Standing { version, fingerprint: None, present: 0, superseded: 0, values: 0 };
            all.entry(version).or_insert(fresh)
        }
        let mut all = BTreeMap::new();
        for Shown { version, fingerprint } in self.sealer.ring().shown() {
            at(&mut all, version).fingerprint = Some(fingerprint);
        }
        for key in self.store.0.data_keys().await? {
            match key.superseded_at {
                None => at(&mut all, key.version).present += 1,
                Some(_) => at(&mut all, key.version).superseded += 1,
            }
        }
        for column in SealedColumn::ALL {
            for (version, count) in self.store.0.count_sealed(column).await? {
                at(&mut all, version).values += count;
            }
        }
        Ok(all.into_values().collect())
    }

    /// Seals everything under the newest key. `told` hears of each batch; `stop` ends it between two.
    pub async fn rotate(
        &self,
        batch: u32,
        mut told: impl FnMut(Progress),
        stop: &CancellationToken,
    ) -> Result<Rotated> {
        let ring = self.sealer.ring();
        let version = ring.newest().ok_or_else(|| Error::None(ring.place()))?;
        tell_of(version);
        let data_keys = self.begin_data_keys(version).await?;
        let mut rotated = Rotated { version, data_keys, resealed: 0, unopened: Vec::new(), cancelled: false };
        // Once there is one of this version, nobody begins an older one any more: the second look sees all.
        rotated.data_keys += self.begin_data_keys(version).await?;
        let total = self.count_below(version).await?;
        told(Progress { done: 0, total });
        for column in SealedColumn::ALL {
            // Another pass while one has changed something: a value may have been set meanwhile.
            loop {
                let before = rotated.resealed;
                self.pass(column, batch, &mut rotated, &mut |done| told(Progress { done, total }), stop)
                    .await?;
                if rotated.cancelled {
                    return Ok(rotated);
                }
                if rotated.resealed == before {
                    break;
                }
                rotated.unopened.retain(|unopened| unopened.column != column);
            }
        }
        Ok(rotated)
    }

    /// A data key of `version` for the system and for every workspace that has one.
    async fn begin_data_keys(&self, version: i64) -> Result<usize> {
        let keys = self.store.0.data_keys().await?;
        let newest = keys.iter().map(|key| key.version).max().unwrap_or(version);
        if newest > version {
            return Err(Error::Behind { newest, place: self.sealer.ring().place() });
        }
        let done: BTreeSet<Scope> =
            keys.iter().filter(|key| key.version == version).map(|key| key.scope).collect();
        let mut scopes: BTreeSet<Scope> = keys.iter().map(|key| key.scope).collect();
        // Seeds may be older than the first data key.
        scopes.insert(Scope::System);
        let mut begun = 0;
        for scope in scopes.difference(&done) {
            self.sealer.begin(*scope, version, self.core.now()).await?;
            begun += 1;
        }
        Ok(begun)
    }

    async fn count_below(&self, version: i64) -> Result<u64> {
        let mut total = 0;
        for column in SealedColumn::ALL {
            let counts = self.store.0.count_sealed(column).await?;
            total += counts.iter().filter(|(of, _)| *of < version).map(|(_, count)| count).sum::<u64>();
        }
        Ok(total)
    }

    /// Walks once over what is sealed under older versions.
    async fn pass(
        &self,
        column: SealedColumn,
        batch: u32,
        rotated: &mut Rotated,
        told: &mut (impl FnMut(u64) + ?Sized),
        stop: &CancellationToken,
    ) -> Result<()> {
        let mut after = None;
        loop {
            if stop.is_cancelled() {
                rotated.cancelled = true;
                return Ok(());
            }
            let rows = self.store.0.sealed_rows(column, rotated.version, after, batch).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some((last.sealed.key_version, last.id));
            let mut anew = Vec::with_capacity(rows.len());
            for row in rows {
                match self.reseal(column, &row, rotated.version).await {
                    Ok(to) => anew.push(Reseal { id: row.id, from: row.sealed, to }),
                    Err(seal::Error::Store(error)) => return Err(error.into()),
                    Err(error) => rotated.unopened.push(unopened(column, &row, &error)),
                }
            }
            rotated.resealed += self.store.0.reseal(column, anew).await?;
            told(rotated.resealed);
        }
    }

    async fn reseal(
        &self,
        column: SealedColumn,
        row: &SealedRow,
        version: i64,
    ) -> std::result::Result<tradepost_store::Sealed, seal::Error> {
        let place = Place { column, id: row.id, scope: row.scope };
        let plain = self.sealer.open(place, &row.sealed).await?;
        self.sealer.seal_with(version, place, &plain).await
    }

    /// Opens every value.
    pub async fn verify(&self, mut told: impl FnMut(Progress)) -> Result<Verified> {
        let total = self.count_below(i64::MAX).await?;
        let mut verified = Verified { opened: BTreeMap::new(), unopened: Vec::new() };
        let mut done = 0;
        for column in SealedColumn::ALL {
            let mut after = None;
            loop {
                let rows = self.store.0.sealed_rows(column, i64::MAX, after, BATCH).await?;
                let Some(last) = rows.last() else { break };
                after = Some((last.sealed.key_version, last.id));
                for row in &rows {
                    let place = Place { column, id: row.id, scope: row.scope };
                    match self.sealer.open(place, &row.sealed).await {
                        Ok(_) => *verified.opened.entry(row.sealed.key_version).or_default() += 1,
                        Err(seal::Error::Store(error)) => return Err(error.into()),
                        Err(error) => verified.unopened.push(unopened(column, row, &error)),
                    }
                }
                done += u64::try_from(rows.len()).unwrap_or_default();
                told(Progress { done, total });
            }
        }
        Ok(verified)
    }

    /// Makes a key of the next version. The keys are a file, so this cannot be one with what the audit log tells of it; that
    /// comes first.
    pub async fn add(&self) -> Result<Shown> {
        let ring = self.sealer.ring();
        let version = ring.newest().unwrap_or(0) + 1;
        let mut entry = self.core.author(Actor::Host, "controller/keys_add").entry(Outcome::Done);
        entry.set_target(Target::Key, key_uuid(version));
        entry.set_detail(Detail::KeyVersion, version);
        self.store.0.add_audit_entry(entry).await?;
        Ok(ring.add(&self.core.ids)?)
    }

    /// What is done within it is told in the audit log.
    pub fn scope(&self, method: &str) -> audit::Scope {
        self.core.scope(Actor::Host, method)
    }

    /// Lets go of a version: its data keys are deleted. Refused while anything needs it.
    pub async fn retire(&self, version: i64) -> Result<()> {
        tell_of(version);
        if self.sealer.ring().newest() == Some(version) {
            let why = String::from("it is the newest one here; add another and rotate first");
            return Err(Error::InUse { version, why });
        }
        match self.store.0.retire_data_keys(version).await {
            Err(StoreError::Conflict(Conflict::KeyInUse)) => {
                let standing = self.list().await?.into_iter().find(|standing| standing.version == version);
                let (keys, values) = standing.map_or((0, 0), |standing| (standing.present, standing.values));
                let why = format!(
                    "{keys} data keys and {values} secrets; run `controller keys rotate`, and `controller keys verify` if some are left"
                );
                Err(Error::InUse { version, why })
            }
            retired => Ok(retired?),
        }
    }
}

/// The audit log names keys by their version.
fn key_uuid(version: i64) -> Uuid {
    Uuid::from_u128(u128::try_from(version).unwrap_or_default())
}

fn tell_of(version: i64) {
    audit::about(Target::Key, key_uuid(version));
    audit::detail(Detail::KeyVersion, version);
}

fn unopened(column: SealedColumn, row: &SealedRow, error: &seal::Error) -> Unopened {
    Unopened { column, id: row.id, version: row.sealed.key_version, why: error.to_string() }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}
