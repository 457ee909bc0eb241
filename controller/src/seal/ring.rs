//! The key-encryption keys: versions `v1`, `v2`, … from a file or a setting, never from the database.
//!
//! One a line, `v<number> <base64 of 32 bytes>`; in a setting they may also be separated by commas. A version that is not
//! known is looked for once more in the file, so a key that was added there is taken up without a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tradepost_runtime::ids::Ids;
use zeroize::Zeroizing;

use super::{Error, Key};

/// The file of keys in the identity folder.
pub const FILE: &str = "secrets.key";
/// The variable that holds the keys themselves.
pub const VARIABLE: &str = "TRADEPOST_CONTROLLER__SECRETS__KEYS";

/// A random key of 32 bytes has about 30 different ones; fewer than 2 in 10^20 have so few.
const DIFFERENT_MIN: usize = 16;

/// Where the keys come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file; the one of the identity folder is made when nothing was sealed yet.
    File {
        /// Where.
        path: PathBuf,
        /// Whether this program makes and changes it.
        own: Own,
    },
    /// The setting `secrets.keys`.
    Setting(SecretString),
}

/// Whose file of keys it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// This program's.
    Ours,
    /// Somebody else's, such as a container's secret: it is read only.
    Given,
}

/// The keys that are known. Cheap to clone.
#[derive(Clone)]
pub struct Ring {
    source: Source,
    keys: Arc<Mutex<BTreeMap<i64, Arc<Key>>>>,
}

/// A version, and what is shown of its key so that files can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The version.
    pub version: i64,
    /// The first eight hexadecimal digits of a hash of the key.
    pub fingerprint: String,
}

impl Ring {
    /// Reads the keys. A file that is not there holds none.
    pub fn load(source: Source) -> Result<Self, Error> {
        let ring = Self { source, keys: Arc::default() };
        ring.read_again()?;
        Ok(ring)
    }

    /// Reads the source anew; keys that are gone from it are forgotten.
    pub fn read_again(&self) -> Result<(), Error> {
        let keys = match &self.source {
            Source::Setting(text) => parse(text.expose_secret(), "the setting secrets.keys")?,
            Source::File { path, own } => match read(path) {
                Ok(text) => parse(&text, &path.display().to_string())?,
                Err(error) if error.kind() == io::ErrorKind::NotFound && *own == Own::Ours => BTreeMap::new(),
                Err(source) => return Err(Error::file("read", path, source)),
            },
        };
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The key of a version; looked for in the source once more when it is not known.
    pub(super) fn find(&self, version: i64) -> Result<Arc<Key>, Error> {
        let known = || self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&version).cloned();
        if let Some(key) = known() {
            return Ok(key);
        }
        self.read_again()?;
        known().ok_or_else(|| Error::NoKey { version, mend: self.mend(version) })
    }

    /// What brings a missing version here.
    fn mend(&self, version: i64) -> String {
        match &self.source {
            Source::File { path, .. } => format!(
                "copy its line \"v{version} …\" from another controller's file, or from a backup, into {}; it is taken up without a \
                 restart",
                path.display()
            ),
            Source::Setting(_) => {
                format!("add \"v{version} …\" to {VARIABLE} and start this controller again")
            }
        }
    }

    /// The greatest version.
    pub fn newest(&self) -> Option<i64> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).keys().next_back().copied()
    }

    /// Every version.
    pub fn shown(&self) -> Vec<Shown> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|(version, key)| Shown { version: *version, fingerprint: fingerprint(key) }).collect()
    }

    /// Where the keys come from, for people.
    pub fn place(&self) -> String {
        match &self.source {
            Source::File { path, .. } => path.display().to_string(),
            Source::Setting(_) => format!("the setting secrets.keys ({VARIABLE})"),
        }
    }

    /// A fresh key as a line of the file; not stored.
    pub fn fresh_line(&self, ids: &Ids) -> (i64, Zeroizing<String>) {
        let version = self.newest().unwrap_or(0) + 1;
        let mut key = Zeroizing::new([0_u8; 32]);
        ids.fill(key.as_mut_slice());
        (version, line(version, &key))
    }

    /// Adds a fresh key of the next version to the file, which is made when it is not there.
    pub fn add(&self, ids: &Ids) -> Result<Shown, Error> {
        let path = self.own_file()?;
        let _alone = hold(path)?;
        self.read_again()?;
        let (version, line) = self.fresh_line(ids);
        let mut text = match read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
            Err(source) => return Err(Error::file("read", path, source)),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&line);
        text.push('\n');
        replace(path, text.as_bytes(), ids).map_err(|source| Error::file("write", path, source))?;
        self.read_again()?;
        let added = self.shown().into_iter().find(|shown| shown.version == version);
        added.ok_or_else(|| Error::NoKey { version, mend: self.mend(version) })
    }

    /// Takes the key of a version out of the file.
    pub fn remove(&self, version: i64, ids: &Ids) -> Result<(), Error> {
        let path = self.own_file()?;
        let _alone = hold(path)?;
        let text = read(path).map_err(|source| Error::file("read", path, source))?;
        let mut kept = Zeroizing::new(String::new());
        for line in text.lines().filter(|line| parse_line(line).is_none_or(|(found, _)| found != version)) {
            kept.push_str(line);
            kept.push('\n');
        }
        replace(path, kept.as_bytes(), ids).map_err(|source| Error::file("write", path, source))?;
        self.read_again()
    }

    /// Whether this program may change the keys.
    pub fn is_ours(&self) -> bool {
        matches!(self.source, Source::File { own: Own::Ours, .. })
    }

    fn own_file(&self) -> Result<&Path, Error> {
        match &self.source {
            Source::File { path, own: Own::Ours } => Ok(path),
            Source::File { path, own: Own::Given } => Err(Error::NotOurs(path.display().to_string())),
            Source::Setting(_) => Err(Error::NotOurs(self.place())),
        }
    }
}

/// Keeps other commands from changing the file at the same time; ends with the value.
fn hold(path: &Path) -> Result<File, Error> {
    let lock = path.with_extension("lock");
    let open = || {
        if let Some(folder) = path.parent() {
            crate::identity::files::create_private(folder)?;
        }
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&lock)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(|source| Error::file("lock", &lock, source))
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    std::fs::read_to_string(path).map(Zeroizing::new)
}

fn line(version: i64, key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    // Writing to a string cannot fail.
    let _ = write!(text, "v{version} ");
    STANDARD.encode_string(key, &mut text);
    text
}

fn parse(text: &str, origin: &str) -> Result<BTreeMap<i64, Arc<Key>>, Error> {
    let mut keys = BTreeMap::new();
    let entries = text.split(['\n', ',']).enumerate();
    for (n, entry) in entries.filter(|(_, entry)| !entry.trim().is_empty() && !entry.trim().starts_with('#'))
    {
        let wrong = |problem| Error::Key { origin: origin.to_owned(), line: n + 1, problem };
        let (version, key) =
            parse_line(entry).ok_or_else(|| wrong("is no key: write \"v1 BASE64\" with 32 bytes"))?;
        if key.iter().collect::<BTreeSet<_>>().len() < DIFFERENT_MIN {
            return Err(wrong("is not random: make a key with `controller keys add --print`"));
        }
        if keys.insert(version, Arc::new(key)).is_some() {
            return Err(wrong("has a version that another line has already"));
        }
    }
    Ok(keys)
}

fn parse_line(line: &str) -> Option<(i64, Key)> {
    let (version, key) = line.trim().strip_prefix('v')?.split_once([' ', ':'])?;
    let version = version.parse().ok().filter(|version: &i64| *version > 0)?;
    let key = Zeroizing::new(STANDARD.decode(key.trim()).ok()?);
    let key: [u8; 32] = key.as_slice().try_into().ok()?;
    Some((version, Zeroizing::new(key)))
}

fn fingerprint(key: &Key) -> String {
    let mut hash = Sha256::new();
    hash.update(b"tradepost key-encryption key");
    hash.update(key.as_slice());
    hex::encode(&hash.finalize()[..4])
}

/// Writes the file whole or not at all.
fn replace(path: &Path, content: &[u8], ids: &Ids) -> io::Result<()> {
    let mut random = [0_u8; 8];
    ids.fill(&mut random);
    let making = path.with_extension(format!("making-{}", hex::encode(random)));
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&making)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&making, path))
        .and_then(|()| sync_folder(path));
    if written.is_err() {
        // The cause is told; what is left over holds no more than the file itself.
        let _ = std::fs::remove_file(&making);
    }
    written
}

/// Makes a rename durable where the system can.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("place", &self.place()).field("versions", &self.shown()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(folder: &Path) -> Source {
        Source::File { path: folder.join(FILE), own: Own::Ours }
    }

    #[test]
    fn keys_are_added_and_taken_out_and_found_by_others_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = Ring::load(ours(folder.path())).expect("empty");
        let other = Ring::load(ours(folder.path())).expect("empty");
        assert_eq!(ring.newest(), None);
        assert_eq!(ring.add(&Ids::seeded(1)).expect("made").version, 1);
        assert_eq!(ring.add(&Ids::seeded(2)).expect("added").version, 2);
        // Another controller takes it up without a restart.
        assert_eq!(*other.find(2).expect("read again"), *ring.find(2).expect("known"));
        assert_eq!(other.shown(), ring.shown());
        ring.remove(1, &Ids::seeded(3)).expect("removed");
        let error = ring.find(1).expect_err("gone").to_string();
        assert!(error.contains("v1") && error.contains("copy its line"), "{error}");
        assert_eq!(ring.newest(), Some(2));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join(FILE)).expect("exists").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn commands_at_once_add_one_key_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let adding: Vec<_> = (0..4)
            .map(|seed| {
                let source = ours(folder.path());
                std::thread::spawn(move || {
                    Ring::load(source).expect("loads").add(&Ids::seeded(seed)).expect("added")
                })
            })
            .collect();
        let mut versions: Vec<i64> =
            adding.into_iter().map(|thread| thread.join().expect("no panic").version).collect();
        versions.sort_unstable();
        assert_eq!(versions, [1, 2, 3, 4]);
        assert_eq!(Ring::load(ours(folder.path())).expect("loads").shown().len(), 4);
    }

    #[test]
    fn weak_damaged_and_doubled_keys_are_refused_by_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, good) = Ring::load(ours(folder.path())).expect("empty").fresh_line(&Ids::seeded(1));
        let weak = format!("v2 {}", STANDARD.encode([7_u8; 32]));
        for (text, line, part) in [
            (format!("{}\n{weak}", *good), 2, "not random"),
            (format!("{}\n{}", *good, *good), 2, "already"),
            ("v1 short".into(), 1, "no key"),
            (format!("# a note\n\nv0 {}", STANDARD.encode([7_u8; 32])), 3, "no key"),
        ] {
            let error = Ring::load(Source::Setting(text.clone().into())).expect_err(&text).to_string();
            assert!(error.contains(part) && error.contains(&format!("entry {line}")), "{error}");
            assert!(!error.contains(&STANDARD.encode([7_u8; 32])), "{error}");
        }
        let (_, second) =
            Ring::load(Source::Setting(good.as_str().into())).expect("loads").fresh_line(&Ids::seeded(2));
        let ring = Ring::load(Source::Setting(format!("{},{}", *good, *second).into())).expect("two keys");
        assert_eq!(ring.newest(), Some(2));
        let error = ring.add(&Ids::seeded(3)).expect_err("not ours").to_string();
        assert!(error.contains("--print"), "{error}");
        let shown = format!("{ring:?}");
        assert!(!shown.contains(good.trim_start_matches("v1 ")), "{shown}");
    }
}
