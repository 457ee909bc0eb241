//! Sign-in names and passwords that a person has stored on this PC, for practice sites. They never leave the PC but into the
//! site's own form. [`sealed`] has those that a seller has sealed to this agent, for every site.

pub mod sealed;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tradepost_domain::id::AccountId;
use tradepost_recipe::values::Credential;

use crate::platform::files;

/// The file of credentials, readable by its owner only.
#[derive(Debug, Clone)]
pub struct Credentials {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    username: String,
    password: String,
    /// The site did not take it: it is not tried again until it is stored anew.
    #[serde(default)]
    refused: bool,
}

/// What is stored for an account.
#[derive(Debug)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// A credential.
    Ready(Credential),
    /// One that the site did not take.
    Refused,
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What is stored is damaged.
    #[error("{} is damaged; remove it and set the credentials again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Credentials {
    /// In the agent's data directory.
    pub fn new(data: &Path) -> Self {
        Self { path: data.join("credentials.json") }
    }

    /// The account's, if a person has stored one.
    pub fn find(&self, account: AccountId) -> Result<Kept, Error> {
        Ok(match self.read()?.remove(&account.to_string()) {
            None => Kept::Nothing,
            Some(Stored { refused: true, .. }) => Kept::Refused,
            Some(Stored { username, password, refused: false }) => {
                Kept::Ready(Credential { username: username.into(), password: password.into() })
            }
        })
    }

    /// Notes that the site did not take the account's.
    pub fn refuse(&self, account: AccountId) -> Result<(), Error> {
        let mut all = self.read()?;
        match all.get_mut(&account.to_string()) {
            Some(stored) => stored.refused = true,
            None => return Ok(()),
        }
        self.write(&all)
    }

    /// Stores the account's, in place of an earlier one.
    pub fn set(&self, account: AccountId, username: &str, password: &SecretString) -> Result<(), Error> {
        let mut all = self.read()?;
        let password = password.expose_secret().to_owned();
        let stored = Stored { username: username.to_owned(), password, refused: false };
        all.insert(account.to_string(), stored);
        self.write(&all)
    }

    /// Removes the account's; whether there was one.
    pub fn remove(&self, account: AccountId) -> Result<bool, Error> {
        let mut all = self.read()?;
        let removed = all.remove(&account.to_string()).is_some();
        if removed {
            self.write(&all)?;
        }
        Ok(removed)
    }

    /// Accounts and names, without passwords.
    pub fn list(&self) -> Result<Vec<(String, String)>, Error> {
        Ok(self.read()?.into_iter().map(|(account, stored)| (account, stored.username)).collect())
    }

    fn read(&self) -> Result<BTreeMap<String, Stored>, Error> {
        match std::fs::read(&self.path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| Error::Damaged { path: self.path.clone() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(source) => Err(Error::Io { path: self.path.clone(), source }),
        }
    }

    fn write(&self, all: &BTreeMap<String, Stored>) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let bytes = serde_json::to_vec_pretty(all).map_err(|_| Error::Damaged { path: self.path.clone() })?;
        if let Some(folder) = self.path.parent() {
            files::private_dir(folder).map_err(io)?;
        }
        files::replace_private(&self.path, &bytes).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_kept_per_account() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let credentials = Credentials::new(dir.path());
        let account = AccountId(uuid::Uuid::from_u128(1));
        let password = |credentials: &Credentials| match credentials.find(account).expect("readable") {
            Kept::Ready(credential) => credential.password.expose_secret().to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(password(&credentials), "Nothing");
        credentials.set(account, "seller1", &"secret".to_owned().into()).expect("stored");
        assert_eq!(password(&credentials), "secret");
        credentials.refuse(account).expect("noted");
        assert_eq!(password(&credentials), "Refused");
        credentials.set(account, "seller1", &"right".to_owned().into()).expect("stored");
        assert_eq!(password(&credentials), "right");
        assert_eq!(credentials.list().expect("readable"), [(account.to_string(), "seller1".to_owned())]);
        assert!(credentials.remove(account).expect("removed") && !credentials.remove(account).expect("gone"));
    }
}
