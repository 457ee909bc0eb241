//! Secrets that the controller must read (seeds of second factors, marketplace credentials in their outer seal), sealed
//! before they reach the database.
//!
//! - [`ring`]: key-encryption keys, from a file or a setting. They wrap data keys and nothing else.
//! - A *data key* per workspace, and one for the system, lies in the database, wrapped. It has the version of the key that
//!   wraps it, and that version stands beside each value that it seals.
//! - Values and data keys are sealed with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under random nonces of 24 bytes, too
//!   long to repeat by chance. The associated data names the place (table, row, column, version), so that ciphertext that
//!   was moved does not open.
//!
//! Which version seals is decided by the database, not by the file: a key that was added to the file opens at once and
//! seals from the moment that `controller keys rotate` begins a data key with it.
//!
//! To add a sealed column: a [`SealedColumn`] with its statements in the store, and a place for it here.

pub mod ring;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use tradepost_domain::id::{AccountId, UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_runtime::ids::Ids;
use tradepost_store::{DataKey, Database, Error as StoreError, Scope, Sealed, SealedColumn, audit};
use uuid::Uuid;
use zeroize::Zeroizing;

pub use self::ring::{Own, Ring, Shown, Source};

const NONCE: usize = 24;

/// A key; gone from memory when it is dropped.
type Key = Zeroizing<[u8; 32]>;

/// Where a sealed value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The column.
    pub column: SealedColumn,
    /// The row.
    pub id: Uuid,
    /// Whose data key seals it.
    pub scope: Scope,
}

/// Why a value cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of keys cannot be used.
    #[error("secrets: cannot {what} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A key is damaged or weak.
    #[error("secrets: {origin}, entry {line} {problem}")]
    Key {
        /// The file or setting.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and the mend.
        problem: &'static str,
    },
    /// A key is not there.
    #[error("secrets: key v{version} is missing; {mend}")]
    NoKey {
        /// Its version.
        version: i64,
        /// What to do.
        mend: String,
    },
    /// The keys are somebody else's to change.
    #[error(
        "secrets: {0} is not ours to write; make a key with `controller keys add --print` and put it there"
    )]
    NotOurs(String),
    /// There are secrets in the database and no keys here.
    #[error(
        "secrets: the database holds sealed secrets, and there are no keys in {0}; put the file back from a backup, or copy it from another \
         controller"
    )]
    Lost(String),
    /// A data key does not open under the key that wrapped it.
    #[error(
        "secrets: the data key v{version} does not open; key v{version} in {place} is not the one it was wrapped with"
    )]
    Wrapped {
        /// The version.
        version: i64,
        /// Where the keys come from.
        place: String,
    },
    /// A data key that something is sealed under is gone.
    #[error("secrets: the data key v{version} is not in the database")]
    NoDataKey {
        /// The version.
        version: i64,
    },
    /// A value does not open: it was changed, moved, or sealed with another key of that version.
    #[error("secrets: {table}.{column} of {id} does not open with key v{version}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        id: Uuid,
        /// The version.
        version: i64,
    },
    /// The database.
    #[error("secrets: {0}")]
    Store(#[from] StoreError),
}

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    ring: Ring,
    store: Arc<dyn Database>,
    ids: Ids,
    known: Arc<Mutex<Known>>,
}

/// Data keys that were unwrapped.
#[derive(Default)]
struct Known {
    keys: BTreeMap<(Scope, i64), Arc<Key>>,
    /// Which version seals; may be behind, the store refuses what is sealed with an older one.
    present: BTreeMap<Scope, i64>,
}

impl Sealer {
    /// With the keys of `ring` and the data keys of `store`.
    pub fn new(ring: Ring, store: Arc<dyn Database>, ids: Ids) -> Self {
        Self { ring, store, ids, known: Arc::default() }
    }

    /// The key-encryption keys.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// At the start of a controller: sees that every data key in use opens, and makes the first key-encryption key of an
    /// installation that has sealed nothing yet.
    pub async fn check(&self) -> Result<(), Error> {
        let keys = self.store.data_keys().await?;
        if self.ring.newest().is_none() {
            let mut sealed = !keys.is_empty();
            for column in SealedColumn::ALL {
                sealed |= !self.store.count_sealed(column).await?.is_empty();
            }
            if sealed {
                return Err(Error::Lost(self.ring.place()));
            }
            if self.ring.is_ours() {
                self.ring.add(&self.ids)?;
            }
            return Ok(());
        }
        for key in keys.iter().filter(|key| key.superseded_at.is_none()) {
            self.unwrap(key)?;
        }
        Ok(())
    }

    /// Seals under the data key in use, which is made when there is none yet.
    pub async fn seal(&self, place: Place, secret: &[u8], now: Timestamp) -> Result<Sealed, Error> {
        let known = self.with(|known| {
            let version = known.present.get(&place.scope)?;
            Some((*version, known.keys.get(&(place.scope, *version))?.clone()))
        });
        let (version, key) = match known {
            Some(known) => known,
            None => self.present(place.scope, now).await?,
        };
        self.seal_under(&key, version, place, secret)
    }

    /// Seals under the data key of one version.
    pub async fn seal_with(&self, version: i64, place: Place, secret: &[u8]) -> Result<Sealed, Error> {
        let key = self.data_key(place.scope, version).await?;
        self.seal_under(&key, version, place, secret)
    }

    fn seal_under(&self, key: &Key, version: i64, place: Place, secret: &[u8]) -> Result<Sealed, Error> {
        let content = self.encrypt(key, &place.associated(version), secret);
        Ok(Sealed { key_version: version, content: content.ok_or_else(|| place.damaged(version))? })
    }

    /// Forgets which data key is in use: another controller has begun a newer one.
    pub fn look_again(&self, scope: Scope) {
        self.with(|known| known.present.remove(&scope));
    }

    /// Opens what was sealed at the same place.
    pub async fn open(&self, place: Place, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Error> {
        let version = sealed.key_version;
        let aad = place.associated(version);
        let missing = match self.data_key(place.scope, version).await {
            Ok(key) => match decrypt(&key, &aad, &sealed.content) {
                Some(opened) => return Ok(opened),
                None => place.damaged(version),
            },
            Err(error @ Error::NoDataKey { .. }) => error,
            Err(error) => return Err(error),
        };
        // Before there were data keys, seeds were sealed by the key-encryption key itself. The seal tells them apart.
        let earlier = match place.column {
            SealedColumn::SecondFactorSeed => self.ring.find(version).ok(),
            SealedColumn::AccountCredential => None,
        };
        earlier.and_then(|key| decrypt(&key, &aad, &sealed.content)).ok_or(missing)
    }

    /// Puts a data key of `version` to use.
    pub async fn begin(&self, scope: Scope, version: i64, now: Timestamp) -> Result<(), Error> {
        let fresh = self.fresh_wrapped(scope, version)?;
        let stored = self.store.begin_data_key(scope, version, fresh, now).await?;
        self.keep(&stored)?;
        Ok(())
    }

    async fn present(&self, scope: Scope, now: Timestamp) -> Result<(i64, Arc<Key>), Error> {
        if let Some(stored) = self.store.present_data_key(scope).await? {
            return self.keep(&stored);
        }
        let newest = self.ring.newest().ok_or_else(|| Error::Lost(self.ring.place()))?;
        let fresh = self.fresh_wrapped(scope, newest)?;
        // No effect of the call that happens to be the first to seal something.
        let stored = match audit::aside(self.store.begin_data_key(scope, newest, fresh, now)).await {
            // A rotation has begun with a key that this controller has not read yet.
            Err(StoreError::Stale) => {
                self.ring.read_again()?;
                let newest = self.ring.newest().unwrap_or(newest);
                let fresh = self.fresh_wrapped(scope, newest)?;
                audit::aside(self.store.begin_data_key(scope, newest, fresh, now)).await?
            }
            stored => stored?,
        };
        self.keep(&stored)
    }

    fn keep(&self, stored: &DataKey) -> Result<(i64, Arc<Key>), Error> {
        let key = Arc::new(self.unwrap(stored)?);
        self.with(|known| {
            known.keys.insert((stored.scope, stored.version), Arc::clone(&key));
            if stored.superseded_at.is_none() {
                known.present.insert(stored.scope, stored.version);
            }
        });
        Ok((stored.version, key))
    }

    async fn data_key(&self, scope: Scope, version: i64) -> Result<Arc<Key>, Error> {
        if let Some(key) = self.with(|known| known.keys.get(&(scope, version)).cloned()) {
            return Ok(key);
        }
        let stored = self.store.find_data_key(scope, version).await?;
        let stored = stored.ok_or(Error::NoDataKey { version })?;
        let key = Arc::new(self.unwrap(&stored)?);
        self.with(|known| known.keys.insert((scope, version), Arc::clone(&key)));
        Ok(key)
    }

    fn fresh_wrapped(&self, scope: Scope, version: i64) -> Result<Vec<u8>, Error> {
        let mut key = Zeroizing::new([0_u8; 32]);
        self.ids.fill(key.as_mut_slice());
        let wrapping = self.ring.find(version)?;
        let wrapped = self.encrypt(&wrapping, &wrapping_data(scope, version), key.as_slice());
        wrapped.ok_or_else(|| self.not_wrapped(version))
    }

    fn unwrap(&self, key: &DataKey) -> Result<Key, Error> {
        let wrapping = self.ring.find(key.version)?;
        let opened = decrypt(&wrapping, &wrapping_data(key.scope, key.version), &key.wrapped);
        let opened = opened.ok_or_else(|| self.not_wrapped(key.version))?;
        let mut plain = Zeroizing::new([0_u8; 32]);
        if opened.len() != plain.len() {
            return Err(self.not_wrapped(key.version));
        }
        plain.copy_from_slice(&opened);
        Ok(plain)
    }

    fn not_wrapped(&self, version: i64) -> Error {
        Error::Wrapped { version, place: self.ring.place() }
    }

    fn encrypt(&self, key: &Key, aad: &[u8], msg: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0_u8; NONCE];
        self.ids.fill(&mut nonce);
        let sealed = cipher(key).encrypt(&XNonce::from(nonce), Payload { msg, aad }).ok()?;
        let mut content = nonce.to_vec();
        content.extend(sealed);
        Some(content)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    let bytes: &[u8; 32] = key;
    XChaCha20Poly1305::new(bytes.into())
}

fn decrypt(key: &Key, aad: &[u8], content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, msg) = content.split_first_chunk::<NONCE>()?;
    cipher(key).decrypt(&XNonce::from(*nonce), Payload { msg, aad }).ok().map(Zeroizing::new)
}

fn wrapping_data(scope: Scope, version: i64) -> Vec<u8> {
    format!("data_keys|{}|wrapped|{version}", scope.id()).into_bytes()
}

impl Place {
    /// Of a user's seed.
    pub fn seed(user: UserId) -> Self {
        Self { column: SealedColumn::SecondFactorSeed, id: user.0, scope: Scope::System }
    }

    /// Of an account's credential.
    pub fn credential(workspace: WorkspaceId, account: AccountId) -> Self {
        Self { column: SealedColumn::AccountCredential, id: account.0, scope: Scope::Workspace(workspace) }
    }

    fn associated(self, version: i64) -> Vec<u8> {
        let (table, column) = self.column.place();
        format!("{table}|{}|{column}|{version}", self.id).into_bytes()
    }

    fn damaged(self, version: i64) -> Error {
        let (table, column) = self.column.place();
        Error::Damaged { table, column, id: self.id, version }
    }
}

impl Error {
    fn file(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { what, path: path.to_owned(), source }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("ring", &self.ring).finish_non_exhaustive()
    }
}
