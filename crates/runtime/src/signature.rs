//! Ed25519 signatures (RFC 8032) of things that leave this process and must be recognised later.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file cannot be read or written.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Its file holds something else.
    #[error("{path} holds no Ed25519 key (PKCS#8); restore the file from a backup", path = .0.display())]
    Key(PathBuf),
    /// No key can be made.
    #[error("no Ed25519 key can be made: the system gives no random numbers")]
    Random,
}

/// A private key.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// Loads the key of a file (PKCS#8), or makes one there; its public key is kept beside it, as hex in `.pub`. Several
    /// processes that begin at once get the same key.
    pub fn load_or_create(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Error::Random)?;
            create(path, document.as_ref(), 0o600)?;
        }
        let key = Self::load(path)?;
        let public = path.with_extension("pub");
        if !public.exists() {
            create(&public, format!("{}\n", hex::encode(key.public_key())).as_bytes(), 0o644)?;
        }
        Ok(key)
    }

    /// Loads the key of a file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let file = |source| Error::File { what: "read", path: path.to_owned(), source };
        let document = std::fs::read(path).map_err(file)?;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document);
        key.map(Self).map_err(|_| Error::Key(path.to_owned()))
    }

    /// 32 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

/// Whether the holder of the key signed this.
pub fn is_signed_by(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

/// Whole or not at all; a file that is there already is left as it is.
fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let making = path.with_extension(format!("making-{}", std::process::id()));
    let file = |source| Error::File { what: "create", path: path.to_owned(), source };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut open = options.open(&making).map_err(file)?;
    let linked =
        open.write_all(content).and_then(|()| open.sync_all()).and_then(|()| {
            match std::fs::hard_link(&making, path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        });
    std::fs::remove_file(&making).map_err(file)?;
    linked.map_err(file)
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&hex::encode(self.public_key())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_its_signatures_are_recognised() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.key");
        let (first, again) =
            (Signer::load_or_create(&path).expect("made"), Signer::load_or_create(&path).expect("loaded"));
        assert_eq!(first.public_key(), again.public_key());
        let signature = first.sign(b"ten entries");
        assert!(is_signed_by(again.public_key(), b"ten entries", &signature));
        assert!(!is_signed_by(again.public_key(), b"nine entries", &signature));
        assert!(!is_signed_by(&[7; 32], b"ten entries", &signature));
        assert!(!is_signed_by(&[], b"ten entries", &[]));
        let public = std::fs::read_to_string(path.with_extension("pub")).expect("written beside it");
        assert_eq!(public.trim(), hex::encode(first.public_key()));
        std::fs::write(&path, b"no key").expect("written");
        assert!(matches!(Signer::load(&path), Err(Error::Key(_))));
    }
}
