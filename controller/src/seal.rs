//! Secrets that the controller must read (seeds of second factors), sealed before they reach the database.
//!
//! ChaCha20-Poly1305 (RFC 8439) with a random nonce of 24 bytes (XChaCha20). The associated data names the place: table,
//! row, column and the key's version, so that ciphertext moved elsewhere does not open. Keys live in one file of the
//! identity folder, a line `v<number> <base64>` each; the highest version seals, every one opens. Several controllers
//! share the file with the folder.
//!
//! To add a sealed column: a [`Place`] for it; the version stands beside the ciphertext in its row.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use tradepost_runtime::ids::Ids;
use tradepost_store::Sealed;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The file of keys in the identity folder.
pub const FILE: &str = "secrets.key";

const NONCE: usize = 24;

/// Where a sealed value lies.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The table.
    pub table: &'static str,
    /// The row.
    pub id: Uuid,
    /// The column.
    pub column: &'static str,
}

/// Why a value cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of keys cannot be read or written.
    #[error("secrets: cannot {what} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file of keys is damaged.
    #[error("secrets: {path}, line {line} is no key (write \"v1 BASE64\" with 32 bytes); restore the file from a backup", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A value was sealed with a key that is not there.
    #[error("secrets: key v{0} is missing; restore {FILE} in the identity folder")]
    NoKey(i64),
    /// A value does not open: it was changed, moved, or sealed with another key of that version.
    #[error("secrets: {table}.{column} of {id} does not open; was {FILE} replaced?")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        id: Uuid,
    },
}

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<BTreeMap<i64, XChaCha20Poly1305>>,
    ids: Ids,
}

impl Sealer {
    /// Loads the keys of `folder`, or makes the first one there.
    pub fn load_or_create(folder: &Path, ids: &Ids) -> Result<Self, Error> {
        let path = folder.join(FILE);
        if !path.exists() {
            let mut key = Zeroizing::new([0_u8; 32]);
            ids.fill(key.as_mut_slice());
            let line = Zeroizing::new(format!("v1 {}\n", STANDARD.encode(key.as_slice())));
            create(&path, line.as_bytes(), ids).map_err(|source| Error::File {
                what: "create",
                path: path.clone(),
                source,
            })?;
        }
        Self::load(folder, ids)
    }

    /// Loads the keys of `folder`. Where there is no file yet, nothing can be sealed or opened, and nothing is made: a
    /// command may run before the first controller makes the folder.
    pub fn load(folder: &Path, ids: &Ids) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let mut keys = BTreeMap::new();
        if path.exists() {
            let text = std::fs::read_to_string(&path).map(Zeroizing::new).map_err(|source| Error::File {
                what: "read",
                path: path.clone(),
                source,
            })?;
            for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let (version, key) = parse(line).ok_or(Error::Key { path: path.clone(), line: n + 1 })?;
                keys.insert(version, key);
            }
            if keys.is_empty() {
                return Err(Error::Key { path, line: 1 });
            }
        }
        Ok(Self { keys: Arc::new(keys), ids: ids.clone() })
    }

    /// Seals under the newest key.
    pub fn seal(&self, place: Place, secret: &[u8]) -> Result<Sealed, Error> {
        let (&key_version, key) = self.keys.last_key_value().ok_or(Error::NoKey(1))?;
        let mut nonce = [0_u8; NONCE];
        self.ids.fill(&mut nonce);
        let aad = place.associated(key_version);
        let sealed = key
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: &aad })
            .map_err(|_| place.damaged())?;
        let mut content = nonce.to_vec();
        content.extend(sealed);
        Ok(Sealed { key_version, content })
    }

    /// Opens what was sealed at the same place.
    pub fn open(&self, place: Place, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Error> {
        let key = self.keys.get(&sealed.key_version).ok_or(Error::NoKey(sealed.key_version))?;
        let (nonce, msg) = sealed.content.split_first_chunk::<NONCE>().ok_or_else(|| place.damaged())?;
        let aad = place.associated(sealed.key_version);
        let opened = key.decrypt(&XNonce::from(*nonce), Payload { msg, aad: &aad });
        opened.map(Zeroizing::new).map_err(|_| place.damaged())
    }
}

impl Place {
    fn associated(self, version: i64) -> Vec<u8> {
        format!("{}|{}|{}|{version}", self.table, self.id, self.column).into_bytes()
    }

    fn damaged(self) -> Error {
        let Self { table, id, column } = self;
        Error::Damaged { table, column, id }
    }
}

fn parse(line: &str) -> Option<(i64, XChaCha20Poly1305)> {
    let (version, key) = line.trim().strip_prefix('v')?.split_once(' ')?;
    let version = version.parse().ok().filter(|version: &i64| *version > 0)?;
    let key = Zeroizing::new(STANDARD.decode(key.trim()).ok()?);
    let key: &[u8; 32] = key.as_slice().try_into().ok()?;
    Some((version, XChaCha20Poly1305::new(&Key::from(*key))))
}

/// Writes the file whole or not at all; another controller's file stays.
fn create(path: &Path, content: &[u8], ids: &Ids) -> io::Result<()> {
    let mut random = [0_u8; 8];
    ids.fill(&mut random);
    let making = path.with_extension(format!("making-{}", hex::encode(random)));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&making)?;
    let linked =
        file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| {
            match std::fs::hard_link(&making, path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        });
    std::fs::remove_file(&making)?;
    linked
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("versions", &self.keys.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { table: "second_factors", id: Uuid::from_u128(7), column: "sealed_seed" };

    #[test]
    fn what_is_sealed_opens_at_its_place_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let sealer = Sealer::load_or_create(folder.path(), &Ids::seeded(1)).expect("a key");
        let kept = sealer.seal(PLACE, b"seed").expect("sealed");
        assert!(!kept.content.windows(4).any(|part| part == b"seed"));
        // Another controller on the same folder, after a restart.
        let other = Sealer::load_or_create(folder.path(), &Ids::seeded(2)).expect("the same key");
        assert_eq!(other.open(PLACE, &kept).expect("opened").as_slice(), b"seed");
        for moved in [
            Place { table: "webhooks", ..PLACE },
            Place { id: Uuid::from_u128(8), ..PLACE },
            Place { column: "other", ..PLACE },
        ] {
            assert!(matches!(sealer.open(moved, &kept), Err(Error::Damaged { .. })));
        }
        for n in 0..kept.content.len() {
            let mut changed = kept.clone();
            changed.content[n] ^= 1;
            assert!(sealer.open(PLACE, &changed).is_err(), "byte {n}");
            changed.content.truncate(n);
            assert!(sealer.open(PLACE, &changed).is_err(), "cut at {n}");
        }
        let unknown = Sealed { key_version: 2, ..kept };
        assert!(matches!(sealer.open(PLACE, &unknown), Err(Error::NoKey(2))));
    }

    #[test]
    fn the_newest_key_seals_and_every_one_opens() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let old = Sealer::load_or_create(folder.path(), &Ids::seeded(1)).expect("a key");
        let sealed = old.seal(PLACE, b"seed").expect("sealed");
        let first = std::fs::read_to_string(&path).expect("readable");
        std::fs::write(&path, format!("{first}v2 {}\n", STANDARD.encode([9; 32]))).expect("written");
        let new = Sealer::load_or_create(folder.path(), &Ids::seeded(2)).expect("two keys");
        assert_eq!(new.open(PLACE, &sealed).expect("opened").as_slice(), b"seed");
        assert_eq!(new.seal(PLACE, b"seed").expect("sealed").key_version, 2);
        std::fs::write(&path, "v1 short\n").expect("written");
        assert!(matches!(
            Sealer::load_or_create(folder.path(), &Ids::seeded(3)),
            Err(Error::Key { line: 1, .. })
        ));
    }

    #[test]
    fn a_command_before_the_first_controller_makes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let sealer = Sealer::load(&folder.path().join("identity"), &Ids::seeded(1)).expect("no keys");
        assert!(matches!(sealer.seal(PLACE, b"seed"), Err(Error::NoKey(1))));
        assert!(!folder.path().join("identity").exists());
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        Sealer::load_or_create(folder.path(), &Ids::seeded(1)).expect("a key");
        let mode = std::fs::metadata(folder.path().join(FILE)).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1);
    }
}
