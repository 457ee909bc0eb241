//! The controller's own certificate authority, made on first start.
//!
//! A root signs the servers' certificates and the agents CA; the agents CA signs agents. The agents listener trusts agents
//! CAs alone, so no server certificate can pass for an agent. Servers' certificates live in memory only: each start makes
//! its own, and [`Identity::server`] is asked again while the process lives.
//!
//! - [`files`]: what is on disk; controllers on one database share the folder.
//! - [`rotation`]: a person's changes of it; [`Identity::reload`] follows them.
//! - `authority`: making certificates. `challenge`: how an agent whose certificate has ended proves its key.
//!
//! An agent's certificate lives for a day, and its key is bound to its row; revocation never waits for a certificate's end.

mod authority;
mod challenge;
pub mod files;
mod request;
pub mod rotation;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rcgen::{Issuer, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tradepost_domain::id::AgentId;
use tradepost_domain::standing::{CERTIFICATE_LIFE, MAX_OFFLINE, RETURN_URI};
use tradepost_domain::time::Timestamp;
use tradepost_domain::trust::{Number, Phase, Rejected};
use tradepost_runtime::tls::{self, pem};

use self::authority::Signer;
use self::challenge::ChallengeKey;
pub use self::request::{AgentRequest, InvalidRequest};

/// What an agent's certificate says of it, before its id.
pub const AGENT_URI: &str = "spiffe://tradepost/agent/";
/// Why the certificate authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("identity: cannot {what} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A certificate could not be made or read.
    #[error(
        "identity: {0}; restore the identity folder from a backup, or delete it and enrol every agent anew"
    )]
    Certificate(#[from] rcgen::Error),
    /// A file is not what it should be.
    #[error("identity: {0}")]
    Pem(#[from] tls::Error),
    /// `trust.json` does not fit the files.
    #[error("identity: trust.json: {problem}; restore the identity folder from a backup")]
    State {
        /// What is wrong.
        problem: String,
    },
    /// Somebody else is changing it.
    #[error("identity: another command is changing the authority; try again")]
    Locked,
    /// There is nothing to rotate.
    #[error("there is no authority in {folder}; start the controller once, or name its folder with --identity-dir", folder = folder.display())]
    NoAuthority {
        /// Where.
        folder: PathBuf,
    },
    /// The phase does not allow it.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// A server's certificate chain (leaf first, then everything that leads to roots, and the roots) and key.
pub type ServerIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The certificate authority, as it stands now.
pub struct Identity {
    folder: PathBuf,
    max_offline: Duration,
    current: ArcSwap<Current>,
}

/// One reading of the folder.
struct Current {
    stamp: String,
    phase: Phase,
    generations: Vec<Generation>,
    bridges: Vec<CertificateDer<'static>>,
    bridges_pem: String,
    /// Fingerprints of every root that there ever was.
    pins: Vec<String>,
}

struct Generation {
    number: Number,
    root_pem: String,
    root: CertificateDer<'static>,
    root_issuer: Signer,
    agents_ca_pem: String,
    agents_ca: CertificateDer<'static>,
    agents_issuer: Signer,
    challenges: ChallengeKey,
}

/// A certificate for an agent, and everything else that changes with it.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Its certificate and the CA's that signed it, PEM, leaf first.
    pub chain_pem: String,
    /// The roots that it is to trust, PEM.
    pub roots_pem: String,
    /// Roots signed by other roots, PEM.
    pub bridges_pem: String,
    /// The certificate's life from now.
    pub life: Duration,
    /// See [`Identity::digest`].
    pub digest: String,
}

impl Identity {
    /// Loads the authority from `folder`, or makes it there. Says whether it was made.
    pub fn load_or_create(folder: &Path, now: Timestamp) -> Result<(Self, bool), Error> {
        let made = match files::load(folder)? {
            Some(_) => false,
            // If another controller is quicker, its files count.
            None => files::store(folder, &authority::generation(1, now)?)?,
        };
        let current = ArcSwap::from_pointee(Current::load(folder)?);
        Ok((Self { folder: folder.to_owned(), max_offline: MAX_OFFLINE, current }, made))
    }

    /// The same, asking for approval after another time of absence.
    #[must_use]
    pub fn with_max_offline(self, max_offline: Duration) -> Self {
        Self { max_offline, ..self }
    }

    /// An agent away for longer needs a person's approval.
    pub fn max_offline(&self) -> Duration {
        self.max_offline
    }

    /// Looks at the folder again. Says whether anything has changed; after an error, all is as before.
    pub fn reload(&self) -> Result<bool, Error> {
        if files::stamp(&self.folder)? == self.current.load().stamp {
            return Ok(false);
        }
        self.current.store(Arc::new(Current::load(&self.folder)?));
        Ok(true)
    }

    /// Where a rotation stands.
    pub fn phase(&self) -> Phase {
        self.current.load().phase
    }

    /// The certificates of the roots that clients are to trust, PEM, the signing one first.
    pub fn root_pem(&self) -> String {
        self.current.load().roots_pem()
    }

    /// What enrolment strings pin: the signing root.
    pub fn pin(&self) -> [u8; 32] {
        self.current.load().signing().map_or([0; 32], |generation| tls::fingerprint(&generation.root))
    }

    /// Names the roots to trust and the CA that agents' certificates come from: an agent with another digest renews.
    pub fn digest(&self) -> String {
        self.current.load().digest()
    }

    /// Who may sign agents' certificates.
    pub fn agent_roots(&self) -> Result<Arc<RootCertStore>, Error> {
        let current = self.current.load();
        let accepted = current.trusted().map(|generation| &generation.agents_ca);
        Ok(Arc::new(pem::roots(accepted)?))
    }

    /// A fresh server certificate for `names` (host names and addresses) and the name of enrolment.
    pub fn server(&self, names: &[String], now: Timestamp) -> Result<ServerIdentity, Error> {
        let current = self.current.load();
        let leaf = authority::server(names, &current.signing()?.root_issuer, now)?;
        // Roots last: clients that pin one look for it here.
        let mut rest = current.bridges.clone();
        for generation in current.trusted() {
            if !rest.contains(&generation.root) {
                rest.push(generation.root.clone());
            }
        }
        Ok(authority::server_identity(leaf, rest))
    }

    /// Reads an agent's request and checks that it holds the key.
    pub fn read_request(&self, csr_pem: &str) -> Result<AgentRequest, InvalidRequest> {
        AgentRequest::parse(csr_pem)
    }

    /// The certificate of `agent` and the agents CA's, PEM. Nothing but the key is taken from the request.
    pub fn sign_agent(
        &self,
        request: &AgentRequest,
        agent: AgentId,
        now: Timestamp,
    ) -> Result<String, Error> {
        self.issue(request, agent, now).map(|issued| issued.chain_pem)
    }

    /// A certificate for `agent`, with all that goes with it.
    pub fn issue(&self, request: &AgentRequest, agent: AgentId, now: Timestamp) -> Result<Issued, Error> {
        let current = self.current.load();
        let signing = current.signing()?;
        let leaf = authority::agent(request, agent, &signing.agents_issuer, now)?;
        Ok(Issued {
            chain_pem: format!("{leaf}{}", signing.agents_ca_pem),
            roots_pem: current.roots_pem(),
            bridges_pem: current.bridges_pem.clone(),
            life: CERTIFICATE_LIFE,
            digest: current.digest(),
        })
    }

    /// Something for `agent` to sign.
    pub fn challenge(&self, agent: AgentId, now: Timestamp, random: [u8; 16]) -> Result<String, Error> {
        Ok(self.current.load().signing()?.challenges.make(agent, now, random))
    }

    /// When the challenge was made that this request of `agent` answers; none when it answers none of ours, or was made
    /// for another server.
    pub fn answered(&self, agent: AgentId, request: &AgentRequest, now: Timestamp) -> Option<Timestamp> {
        let [uri] = request.uris() else { return None };
        let (challenge, pin) = uri.strip_prefix(RETURN_URI)?.split_once(':')?;
        let current = self.current.load();
        if !current.pins.iter().any(|known| known == pin) {
            return None;
        }
        current.generations.iter().find_map(|generation| generation.challenges.check(agent, challenge, now))
    }
}

impl Current {
    fn load(folder: &Path) -> Result<Self, Error> {
        let no_authority = || Error::NoAuthority { folder: folder.to_owned() };
        // The stamp first: a change while reading is seen at the next look.
        let stamp = files::stamp(folder)?;
        let files::Files { phase, generations, bridges, roots } =
            files::load(folder)?.ok_or_else(no_authority)?;
        let generations: Result<Vec<_>, _> =
            generations.into_iter().map(|(number, files)| Generation::read(number, files)).collect();
        let bridges_pem = bridges.concat();
        let bridges = bridges.iter().map(|text| first(text, "bridges.pem")).collect::<Result<_, _>>()?;
        let pins = roots.iter().map(|text| Ok(hex::encode(tls::fingerprint(&first(text, files::ROOT)?))));
        let pins = pins.collect::<Result<_, Error>>()?;
        Ok(Self { stamp, phase, generations: generations?, bridges, bridges_pem, pins })
    }

    fn find(&self, number: Number) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.number == number)
    }

    fn signing(&self) -> Result<&Generation, Error> {
        let number = self.phase.signer();
        let missing = || Error::State { problem: format!("generation {number} is missing") };
        self.find(number).ok_or_else(missing)
    }

    fn trusted(&self) -> impl Iterator<Item = &Generation> {
        self.phase.trusted().into_iter().filter_map(|number| self.find(number))
    }

    fn roots_pem(&self) -> String {
        let mut roots: Vec<&str> = Vec::new();
        for generation in self.trusted() {
            if !roots.contains(&generation.root_pem.as_str()) {
                roots.push(&generation.root_pem);
            }
        }
        roots.concat()
    }

    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for generation in self.trusted() {
            hash.update(&generation.root);
        }
        if let Ok(signing) = self.signing() {
            hash.update(&signing.agents_ca);
        }
        hex::encode(&hash.finalize()[..16])
    }
}

impl Generation {
    fn read(number: Number, files: files::GenerationFiles) -> Result<Self, Error> {
        let files::GenerationFiles { root, agents } = files;
        let root_pem = root.certificate;
        let root_certificate = first(&root_pem, files::ROOT)?;
        let agents_ca = first(&agents.certificate, files::AGENTS_CA)?;
        let agents_key = KeyPair::from_pem(&agents.key)?;
        Ok(Self {
            number,
            challenges: ChallengeKey::derive(agents_key.serialized_der()),
            root_issuer: Issuer::from_ca_cert_der(&root_certificate, KeyPair::from_pem(&root.key)?)?,
            agents_issuer: Issuer::from_ca_cert_der(&agents_ca, agents_key)?,
            root_pem,
            root: root_certificate,
            agents_ca_pem: agents.certificate,
            agents_ca,
        })
    }
}

/// The agent whose certificate this is: the only URI among its names.
pub fn agent_of(certificate: &CertificateDer<'_>) -> Option<AgentId> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let uri = uris.next()?;
    if uris.next().is_some() {
        return None;
    }
    uri.strip_prefix(AGENT_URI)?.parse().ok()
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo, hex: as an agent's row has it.
pub fn key_hash_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(hex::encode(Sha256::digest(parsed.public_key().raw)))
}

/// The first certificate of a text.
fn first(pem_text: &str, origin: &str) -> Result<CertificateDer<'static>, Error> {
    pem::certificates(pem_text.as_bytes(), origin)?
        .into_iter()
        .next()
        .ok_or(Error::Certificate(rcgen::Error::CouldNotParseCertificate))
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("pin", &hex::encode(self.pin())).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
