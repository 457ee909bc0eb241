//! Who this agent is: its key, made here and never sent anywhere, and what the controller has signed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PublicKeyData, SanType};
use rustls_pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tradepost_domain::id::AgentId;
use tradepost_domain::standing::{RENEW_FROM, RENEW_SPREAD, RETURN_URI};
use tradepost_domain::time::Timestamp;
use tradepost_runtime::credential::fingerprint;
use tradepost_runtime::tls::trust::{self, Validity};
use tradepost_runtime::tls::{self, ClientIdentity, pem};

use crate::platform::files;

const KEY: &str = "key.pem";
const IDENTITY: &str = "identity.json";
/// A newer identity that no connection has proved yet.
const NEXT: &str = "identity.next.json";
const REFUSAL: &str = "refusal.txt";
const JOINS: &str = "joins.txt";
/// How much of a certificate's life lies before the moment it was made.
const BACKDATED: Duration = Duration::from_secs(3600);

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
    /// The roots that the controller's certificate may lead to, PEM.
    pub root: String,
    /// When the certificate came, by this PC's clock: its age is counted from here, so a clock that is wrong by days does
    /// not matter.
    #[serde(default)]
    pub issued_at: Option<Timestamp>,
    /// Life of the certificate, in seconds.
    #[serde(default)]
    pub life_seconds: u64,
    /// What the controller calls its roots and the CA of the certificate.
    #[serde(default)]
    pub trust_digest: String,
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

    /// What people compare of the agent's key, when they seal passwords to it.
    pub fn fingerprint(&self) -> Result<String, Error> {
        let (_, key) = self.load()?;
        let key =
            KeyPair::from_pem(key.expose_secret()).map_err(|error| self.damaged(KEY, &error.to_string()))?;
        Ok(fingerprint(&key.subject_public_key_info()))
    }

    /// Keeps what the controller has signed; after any crash there is all of it or nothing.
    pub fn store(&self, identity: &Identity) -> Result<(), Error> {
        self.write(IDENTITY, identity)
    }

    fn write(&self, name: &str, identity: &Identity) -> Result<(), Error> {
        let path = self.folder.join(name);
        let text =
            serde_json::to_vec_pretty(identity).map_err(|error| self.damaged(name, &error.to_string()))?;
        files::replace_private(&path, &text).map_err(|source| io_error(&path, source))
    }

    /// Keeps a newer identity beside the present one, until a connection has proved it.
    pub fn store_next(&self, next: &Identity) -> Result<(), Error> {
        self.write(NEXT, next)
    }

    /// The newer identity that no connection has proved; none when there is none, or it is the present one.
    pub fn find_next(&self, present: &Identity) -> Option<Identity> {
        // Damage here costs a renewal, nothing else.
        let next: Identity = serde_json::from_str(&self.read(NEXT).ok()??).ok()?;
        (next != *present).then_some(next)
    }

    /// Makes the newer identity the present one. After any crash there is one of the two, whole.
    pub fn promote(&self, next: &Identity) -> Result<(), Error> {
        self.store(next)?;
        self.drop_next()
    }

    /// Forgets the newer identity.
    pub fn drop_next(&self) -> Result<(), Error> {
        let path = self.folder.join(NEXT);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&path, error)),
            _ => Ok(()),
        }
    }

    /// Counts one more try to attach. The number is durable before it is returned, so no number is ever shown twice by one
    /// data directory.
    pub fn count_join(&self) -> Result<i64, Error> {
        let last = match self.read(JOINS)? {
            None => 0,
            Some(text) => {
                text.trim().parse::<i64>().map_err(|_| self.damaged(JOINS, "it holds no number"))?
            }
        };
        let next = last.max(0) + 1;
        let path = self.folder.join(JOINS);
        files::replace_private(&path, next.to_string().as_bytes())
            .map_err(|source| io_error(&path, source))?;
        Ok(next)
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

/// The same as the answer to a challenge, for the server that was verified with the root of this fingerprint.
pub fn return_request(key: &KeyPair, challenge: &str, root: &[u8; 32]) -> Result<String, rcgen::Error> {
    let name = format!("{RETURN_URI}{challenge}:{}", hex::encode(root));
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(name.as_str().try_into()?)];
    params.serialize_request(key)?.pem()
}

impl Identity {
    /// The agent's side of TLS: trusts the stored roots alone and shows the certificate.
    pub fn tls(&self, key: &SecretString) -> Result<rustls::ClientConfig, tls::Error> {
        let chain = self.chain()?;
        let key = pem::private_key(key.expose_secret().as_bytes(), "the agent's key")?;
        tls::client_config(pem::roots(&self.roots()?)?, Some(ClientIdentity { chain, key }))
    }

    /// The roots' certificates.
    pub fn roots(&self) -> Result<Vec<CertificateDer<'static>>, tls::Error> {
        pem::certificates(self.root.as_bytes(), "the controller's root certificate")
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, tls::Error> {
        pem::certificates(self.certificate_chain.as_bytes(), "the agent's certificate")
    }

    /// From when until when the agent's certificate is valid; none when it cannot be read.
    pub fn validity(&self) -> Option<Validity> {
        trust::validity(self.chain().ok()?.first()?)
    }

    /// When the certificate came and how long it lives, by this PC's clock.
    fn age(&self) -> Option<(Timestamp, Duration)> {
        if let Some(at) = self.issued_at.filter(|_| self.life_seconds > 0) {
            return Some((at, Duration::from_secs(self.life_seconds)));
        }
        let Validity { from, until } = self.validity()?;
        let made = from + BACKDATED;
        Some((made, until.since(made)))
    }

    /// How much longer the certificate lives at `now`; none when it has ended.
    pub fn lasts(&self, now: Timestamp) -> Option<Duration> {
        let (at, life) = self.age()?;
        let left = (at + life).since(now);
        (!left.is_zero()).then_some(left)
    }

    /// When to renew the certificate; `unit` is a number from 0 to 1 that spreads agents. A clock that stands before the
    /// certificate's beginning was set back, and says nothing about its age: then now.
    pub fn renew_at(&self, now: Timestamp, unit: f64) -> Timestamp {
        match self.age() {
            Some((at, life)) if now + BACKDATED >= at => at + life.mul_f64(RENEW_FROM + RENEW_SPREAD * unit),
            _ => now,
        }
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
            issued_at: Some(Timestamp::from_micros(0)),
            life_seconds: 100,
            trust_digest: String::new(),
        };
        store.store(&identity).expect("stored");
        assert_eq!(store.load().expect("loads").0, identity);
        store.note_refusal(Some("revoked")).expect("noted");
        assert_eq!(store.refusal().expect("read").as_deref(), Some("revoked"));
        store.note_refusal(None).and_then(|()| store.note_refusal(None)).expect("removed");
        assert_eq!(store.refusal().expect("read"), None);
        assert_eq!((store.count_join().expect("counted"), store.count_join().expect("counted")), (1, 2));
        let message = store.require_none().expect_err("enrolled").to_string();
        assert!(message.contains("enrolled already, as \"pc\" with 127.0.0.1:1"), "{message}");
    }

    #[test]
    fn a_newer_identity_waits_beside_the_present_one_until_it_is_proved() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = IdentityStore::new(dir.path());
        store.key_for_enrolment().expect("made");
        let present = Identity {
            agent: AgentId(uuid::Uuid::nil()),
            name: "pc".into(),
            agents_address: "127.0.0.1:1".into(),
            enrolled_at: "127.0.0.1:2".into(),
            certificate_chain: "one".into(),
            root: String::new(),
            issued_at: Some(Timestamp::from_micros(1_000_000)),
            life_seconds: 100,
            trust_digest: String::new(),
        };
        let next = Identity { certificate_chain: "two".into(), ..present.clone() };
        store.store(&present).expect("stored");
        store.store_next(&next).expect("stored");
        assert_eq!(store.load().expect("loads").0, present, "killed here, the present one is still used");
        assert_eq!(store.find_next(&present), Some(next.clone()));
        store.promote(&next).expect("promoted");
        assert_eq!(store.load().expect("loads").0, next);
        assert_eq!(store.find_next(&next), None);
        // Killed between the two writes of a promotion, or with a torn file.
        store.store_next(&next).expect("stored");
        assert_eq!(store.find_next(&next), None);
        std::fs::write(dir.path().join("identity").join(NEXT), b"{\"agent\":").expect("torn");
        assert_eq!(store.find_next(&next), None);
    }

    #[test]
    fn a_certificate_ages_by_this_pcs_clock_alone() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let identity = Identity {
            agent: AgentId(uuid::Uuid::nil()),
            name: String::new(),
            agents_address: String::new(),
            enrolled_at: String::new(),
            certificate_chain: String::new(),
            root: String::new(),
            issued_at: Some(at(1_000_000)),
            life_seconds: 100_000,
            trust_digest: String::new(),
        };
        assert_eq!(identity.lasts(at(1_099_999)), Some(Duration::from_secs(1)));
        assert_eq!(identity.lasts(at(1_100_000)), None);
        assert_eq!(identity.renew_at(at(1_000_000), 0.0), at(1_040_000));
        assert_eq!(identity.renew_at(at(1_000_000), 1.0), at(1_060_000));
        assert_eq!(identity.renew_at(at(900_000), 0.5), at(900_000), "the clock was set back");
    }
}
