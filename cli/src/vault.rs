//! Where the secrets of contexts are kept: in the operating system's keyring where there is one, else in files that only
//! their owner can read.
//!
//! ```text
//! <config>/tradepost/contexts/NAME.token    an API token                0600
//! <config>/tradepost/contexts/NAME.session  the secrets of a session    0600
//! <config>/tradepost/contexts/NAME.lock     held while a session is refreshed: programs at once must not both use its token
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::{plain, write_private};
use crate::error::{Error, Exit, Result};

/// What the keyring shows the entries as.
const SERVICE: &str = "tradepost";
/// A keyring that asks somebody to unlock it, or hangs, is done without after this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The secrets of a session, as they are kept.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SessionSecrets {
    pub(crate) access_token: String,
    /// In microseconds since the Unix epoch.
    pub(crate) access_expires_us: i64,
    pub(crate) refresh_token: String,
}

impl std::fmt::Debug for SessionSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let expires = self.access_expires_us;
        f.debug_struct("SessionSecrets").field("access_expires_us", &expires).finish_non_exhaustive()
    }
}

/// What a context holds.
#[derive(Debug, Clone)]
pub(crate) enum Secret {
    Token(SecretString),
    Session(SessionSecrets),
}

/// The place of one context's secrets.
#[derive(Debug, Clone)]
pub(crate) struct Vault {
    folder: PathBuf,
    name: String,
    keyring: bool,
}

/// Keeps other programs from refreshing the same session.
pub(crate) struct Held {
    _file: File,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kept {
    Token(String),
    Session(SessionSecrets),
}

impl Vault {
    /// The vault of the context `name` in the folder of contexts; `keyring` says whether to try one.
    pub(crate) fn new(folder: &Path, name: &str, keyring: bool) -> Self {
        Self { folder: folder.to_owned(), name: name.to_owned(), keyring }
    }

    /// Keeps the secret, in place of an earlier one.
    pub(crate) fn save(&self, secret: &Secret) -> Result<()> {
        if self.keyring && self.save_in_keyring(secret) {
            return self.remove_files();
        }
        let (keep, other) = match secret {
            Secret::Token(token) => {
                write_private(&self.path("token"), token.expose_secret().as_bytes())?;
                ("token", "session")
            }
            Secret::Session(session) => {
                let text = serde_json::to_string(session)
                    .map_err(|error| Error::failed(format!("cannot keep the session: {error}")))?;
                write_private(&self.path("session"), text.as_bytes())?;
                ("session", "token")
            }
        };
        tracing::debug!(keep, "kept in a file");
        self.remove_file(other)
    }

    /// The secret.
    pub(crate) fn load(&self) -> Result<Secret> {
        match fs::read_to_string(self.path("session")) {
            Ok(text) => {
                return serde_json::from_str(&text)
                    .map(Secret::Session)
                    .map_err(|_| self.missing("the session is damaged"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.missing(&format!("cannot read the session: {}", plain(&error)))),
        }
        if !self.path("token").exists()
            && self.keyring
            && let Some(secret) = self.load_from_keyring()
        {
            return Ok(secret);
        }
        if !self.path("token").exists() {
            return Err(self.missing(&format!("you are logged out of the context {:?}", self.name)));
        }
        crate::config::read_token(&self.path("token")).map(Secret::Token).map_err(|error| self.again(error))
    }

    /// Forgets the secret.
    pub(crate) fn remove(&self) -> Result<()> {
        if self.keyring {
            self.with_keyring(|entry| entry.delete_credential().ok());
        }
        self.remove_files()
    }

    /// Waits for other programs that refresh the same session.
    pub(crate) fn hold(&self) -> Result<Held> {
        let path = self.path("lock");
        let held = || {
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(false);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(&path)?;
            file.lock()?;
            Ok(Held { _file: file })
        };
        held().map_err(|error: io::Error| {
            Error::failed(format!("cannot lock {}: {}", path.display(), plain(&error)))
        })
    }

    fn save_in_keyring(&self, secret: &Secret) -> bool {
        let kept = match secret {
            Secret::Token(token) => Kept::Token(token.expose_secret().to_owned()),
            Secret::Session(session) => Kept::Session(session.clone()),
        };
        let Ok(text) = serde_json::to_string(&kept) else { return false };
        self.with_keyring(move |entry| entry.set_password(&text).ok()).is_some()
    }

    fn load_from_keyring(&self) -> Option<Secret> {
        let text = self.with_keyring(|entry| entry.get_password().ok())?;
        Some(match serde_json::from_str(&text).ok()? {
            Kept::Token(token) => Secret::Token(SecretString::from(token)),
            Kept::Session(session) => Secret::Session(session),
        })
    }

    /// Asks the keyring in a thread of its own: its library blocks, and must not within the runtime.
    fn with_keyring<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&keyring::Entry) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let user = format!("{} in {}", self.name, self.folder.display());
        let (answer, answered) = mpsc::channel();
        std::thread::spawn(move || {
            let asked = match keyring::Entry::new(SERVICE, &user) {
                Ok(entry) => ask(&entry),
                Err(error) => {
                    tracing::debug!(%error, "there is no keyring");
                    None
                }
            };
            drop(answer.send(asked));
        });
        answered.recv_timeout(PATIENCE).ok().flatten()
    }

    fn remove_files(&self) -> Result<()> {
        self.remove_file("token")?;
        self.remove_file("session")
    }

    fn remove_file(&self, kind: &str) -> Result<()> {
        let path = self.path(kind);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::failed(format!("cannot remove {}: {error}", path.display())))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join("contexts").join(format!("{}.{kind}", self.name))
    }

    fn missing(&self, what: &str) -> Error {
        self.again(Error::new(Exit::Denied, what))
    }

    fn again(&self, error: Error) -> Error {
        error.hint(format!("log in again: tradepost login --context {}", self.name))
    }
}
