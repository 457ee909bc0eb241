//! Who this agent is: its key, made here and never sent anywhere, and what the controller has signed.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tradepost_domain::id::AgentId;
use tradepost_domain::time::Timestamp;
use tradepost_runtime::tls::{self, ClientIdentity, pem};

use crate::platform::files;

const KEY: &str = "key.pem";
const IDENTITY: &str = "identity.json";
const REFUSAL: &str = "refusal.txt";

/// What the controller gave at enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The agent's id, also in its certificate.
    pub agent: AgentId,
    /// What it is called.
    pub name: String,
    /// host:port of the listener for agents.
    pub agents_address: String,
    /// host:port where it was enrolled.
    pub enrolled_at: String,
    /// Leaf first, then intermediates, PEM.
    pub certificate_chain: String,
    /// The root that the controller's certificate must lead to, PEM.
    pub root: String,
}

/// Why the identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error(
        "this PC is not enrolled yet; make a string with `tradepost agents enrol-token create`, then run `tradepost-agent enrol <string>`"
    )]
    NotEnrolled,
    /// There is one already.
    #[error("this PC is enrolled already, as {name:?} with {address}; to enrol it anew, end the agent and remove {}", folder.display())]
    Enrolled {
        /// The agent's name.
        name: String,
        /// The controller.
        address: String,
        /// Where the identity is kept.
        folder: PathBuf,
    },
    /// The disk.
    #[error("cannot use {}: {source}; see that the agent may write to its data directory", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What is stored is not an identity.
    #[error("{} is damaged ({problem}); end the agent, remove the folder around it and enrol again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Where the identity is kept.
#[derive(Debug, Clone)]
pub struct IdentityStore {
    folder: PathBuf,
}

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

impl IdentityStore {
    /// In the agent's data directory.
    pub fn new(data: &Path) -> Self {
        Self { folder: data.join("identity") }
    }

    /// The identity and its key.
    pub fn load(&self) -> Result<(Identity, SecretString), Error> {
        let identity = self.find()?.ok_or(Error::NotEnrolled)?;
        let key = self.read(KEY)?.ok_or_else(|| self.damaged(KEY, "it is missing"))?;
        Ok((identity, SecretString::from(key)))
    }

    /// The identity, if there is one.
    pub fn find(&self) -> Result<Option<Identity>, Error> {
        let Some(text) = self.read(IDENTITY)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| self.damaged(IDENTITY, &error.to_string()))
    }

    /// Fails when there is an identity.
    pub fn require_none(&self) -> Result<(), Error> {
        match self.find()? {
            None => Ok(()),
            Some(Identity { name, agents_address: address, .. }) => {
                Err(Error::Enrolled { name, address, folder: self.folder.clone() })
            }
        }
    }

    /// The key of the enrolment under way: the saved one, so that a repeated enrolment is the same, or a new one.
    pub fn key_for_enrolment(&self) -> Result<KeyPair, Error> {
        if let Some(saved) = self.read(KEY)? {
            return KeyPair::from_pem(&saved).map_err(|error| self.damaged(KEY, &error.to_string()));
        }
        files::private_dir(&self.folder).map_err(|source| io_error(&self.folder, source))?;
        let key = KeyPair::generate().map_err(|error| self.damaged(KEY, &error.to_string()))?;
        let path = self.folder.join(KEY);
        files::replace_private(&path, key.serialize_pem().as_bytes())
            .map_err(|source| io_error(&path, source))?;
        Ok(key)
    }

    /// Keeps what the controller has signed; after any crash there is all of it or nothing.
    pub fn store(&self, identity: &Identity) -> Result<(), Error> {
        let path = self.folder.join(IDENTITY);
        let text = serde_json::to_vec_pretty(identity)
            .map_err(|error| self.damaged(IDENTITY, &error.to_string()))?;
        files::replace_private(&path, &text).map_err(|source| io_error(&path, source))
    }

    /// Why the controller did not accept this agent when it was asked last; none when it did.
    pub fn refusal(&self) -> Result<Option<String>, Error> {
        self.read(REFUSAL)
    }

    /// Keeps why the controller does not accept this agent, or that it does.
    pub fn note_refusal(&self, refusal: Option<&str>) -> Result<(), Error> {
        let path = self.folder.join(REFUSAL);
        let noted = match refusal {
            Some(why) => files::replace_private(&path, why.as_bytes()),
            None => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        noted.map_err(|source| io_error(&path, source))
    }

    fn read(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error(&path, source)),
        }
    }

    fn damaged(&self, name: &str, problem: &str) -> Error {
        Error::Damaged { path: self.folder.join(name), problem: problem.to_owned() }
    }
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

/// The request to sign `key`, PEM. Only the key counts: the controller decides about the name.
pub fn signing_request(key: &KeyPair) -> Result<String, rcgen::Error> {
    CertificateParams::default().serialize_request(key)?.pem()
}

impl Identity {
    /// The agent's side of TLS: trusts the stored root alone and shows the certificate.
    pub fn tls(&self, key: &SecretString) -> Result<rustls::ClientConfig, tls::Error> {
        let chain = self.chain()?;
        let key = pem::private_key(key.expose_secret().as_bytes(), "the agent's key")?;
        let roots =
            pem::roots(&pem::certificates(self.root.as_bytes(), "the controller's root certificate")?)?;
        tls::client_config(roots, Some(ClientIdentity { chain, key }))
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, tls::Error> {
        pem::certificates(self.certificate_chain.as_bytes(), "the agent's certificate")
    }

    /// From when until when the agent's certificate is valid; none when it cannot be read.
    pub fn validity(&self) -> Option<Validity> {
        let chain = self.chain().ok()?;
        let (_, leaf) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
        let at = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_micros(time.timestamp().saturating_mul(1_000_000))
        };
        Some(Validity { from: at(leaf.validity().not_before), until: at(leaf.validity().not_after) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_enrolment_uses_the_same_key_and_an_enrolled_pc_says_so() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = IdentityStore::new(dir.path());
        assert!(matches!(store.load(), Err(Error::NotEnrolled)));
        let first = store.key_for_enrolment().expect("made");
        let again = store.key_for_enrolment().expect("read");
        assert_eq!(first.serialize_pem(), again.serialize_pem());
        assert!(signing_request(&first).expect("signed").starts_with("-----BEGIN CERTIFICATE REQUEST"));
        let identity = Identity {
            agent: AgentId(uuid::Uuid::nil()),
            name: "pc".into(),
            agents_address: "127.0.0.1:1".into(),
            enrolled_at: "127.0.0.1:2".into(),
            certificate_chain: String::new(),
            root: String::new(),
        };
        store.store(&identity).expect("stored");
        assert_eq!(store.load().expect("loads").0, identity);
        store.note_refusal(Some("revoked")).expect("noted");
        assert_eq!(store.refusal().expect("read").as_deref(), Some("revoked"));
        store.note_refusal(None).and_then(|()| store.note_refusal(None)).expect("removed");
        assert_eq!(store.refusal().expect("read"), None);
        let message = store.require_none().expect_err("enrolled").to_string();
        assert!(message.contains("enrolled already, as \"pc\" with 127.0.0.1:1"), "{message}");
    }
}
