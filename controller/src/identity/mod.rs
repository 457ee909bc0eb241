//! The controller's own certificate authority, made on first start.
//!
//! A root signs the servers' certificates and the agents CA; the agents CA signs agents. The agents listener trusts the
//! agents CA alone, so no server certificate can pass for an agent. Servers' certificates live in memory only: each start
//! makes its own, and [`Identity::server`] is asked again while the process lives.
//!
//! Controllers on one database share one folder of these files ([`files`]).

pub mod files;
mod request;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tradepost_domain::id::AgentId;
use tradepost_domain::time::Timestamp;
use tradepost_runtime::tls::{self, pem};

pub use self::request::{AgentRequest, InvalidRequest};

/// What an agent's certificate says of it, before its id.
pub const AGENT_URI: &str = "spiffe://tradepost/agent/";

/// Life of both CAs.
const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Life of a server's certificate; made anew daily.
const SERVER_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Life of an agent's certificate. Revocation does not wait for it: each call looks at the agent's row.
const AGENT_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Clocks of other machines may be late by this much.
const SKEW: Duration = Duration::from_secs(3600);

/// Why the certificate authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("identity: cannot {what} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: std::path::PathBuf,
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
}

/// The certificate authority.
pub struct Identity {
    root_pem: String,
    root: CertificateDer<'static>,
    root_issuer: Issuer<'static, KeyPair>,
    agents_ca_pem: String,
    agents_ca: CertificateDer<'static>,
    agents_issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate chain (root last, for clients that pin it) and key.
pub type ServerIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Identity {
    /// Loads the authority from `folder`, or makes it there. Says whether it was made.
    pub fn load_or_create(folder: &Path, now: Timestamp) -> Result<(Self, bool), Error> {
        if let Some(files) = files::load(folder)? {
            return Ok((Self::from_files(files)?, false));
        }
        let made = Self::create(now)?;
        if files::store(folder, &made)? {
            return Ok((Self::from_files(made)?, true));
        }
        // Another controller was quicker: its files count.
        let files = files::load(folder)?.ok_or(Error::Certificate(rcgen::Error::CouldNotParseCertificate))?;
        Ok((Self::from_files(files)?, false))
    }

    fn create(now: Timestamp) -> Result<files::Files, Error> {
        let root_key = KeyPair::generate()?;
        let root_params = ca_params("Tradepost root", now, BasicConstraints::Constrained(1));
        let root = root_params.self_signed(&root_key)?;
        let agents_key = KeyPair::generate()?;
        let agents_params = ca_params("Tradepost agents", now, BasicConstraints::Constrained(0));
        let issuer = Issuer::from_params(&root_params, &root_key);
        let agents_ca = agents_params.signed_by(&agents_key, &issuer)?;
        Ok(files::Files {
            root: root.pem(),
            root_key: root_key.serialize_pem(),
            agents_ca: agents_ca.pem(),
            agents_key: agents_key.serialize_pem(),
        })
    }

    fn from_files(files: files::Files) -> Result<Self, Error> {
        let files::Files { root: root_pem, root_key, agents_ca: agents_ca_pem, agents_key } = files;
        let root = first(&root_pem, files::ROOT)?;
        let agents_ca = first(&agents_ca_pem, files::AGENTS_CA)?;
        Ok(Self {
            root_issuer: Issuer::from_ca_cert_der(&root, KeyPair::from_pem(&root_key)?)?,
            agents_issuer: Issuer::from_ca_cert_der(&agents_ca, KeyPair::from_pem(&agents_key)?)?,
            root_pem,
            root,
            agents_ca_pem,
            agents_ca,
        })
    }

    /// The root's certificate, PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root's certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// What enrolment strings pin.
    pub fn pin(&self) -> [u8; 32] {
        tls::fingerprint(&self.root)
    }

    /// Who may sign agents' certificates.
    pub fn agent_roots(&self) -> Result<Arc<RootCertStore>, Error> {
        Ok(Arc::new(pem::roots([&self.agents_ca])?))
    }

    /// A fresh server certificate for `names` (host names and addresses).
    pub fn server(&self, names: &[String], now: Timestamp) -> Result<ServerIdentity, Error> {
        let key = KeyPair::generate()?;
        let mut params = leaf_params("Tradepost controller", now, SERVER_LIFE);
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.root_issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((vec![leaf.der().clone(), self.root.clone()], key))
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
        let mut params = leaf_params("Tradepost agent", now, AGENT_LIFE);
        params.subject_alt_names = vec![SanType::URI(format!("{AGENT_URI}{agent}").as_str().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(request.key(), &self.agents_issuer)?;
        Ok(format!("{}{}", leaf.pem(), self.agents_ca_pem))
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

fn first(pem_text: &str, origin: &str) -> Result<CertificateDer<'static>, Error> {
    pem::certificates(pem_text.as_bytes(), origin)?
        .into_iter()
        .next()
        .ok_or(Error::Certificate(rcgen::Error::CouldNotParseCertificate))
}

fn ca_params(name: &str, now: Timestamp, constraints: BasicConstraints) -> CertificateParams {
    let mut params = dated(name, now, CA_LIFE);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str, now: Timestamp, life: Duration) -> CertificateParams {
    let mut params = dated(name, now, life);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn dated(name: &str, now: Timestamp, life: Duration) -> CertificateParams {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    let mut params = CertificateParams::default();
    params.not_before = at(now - SKEW);
    params.not_after = at(now + life);
    params.distinguished_name = distinguished_name;
    params.use_authority_key_identifier_extension = true;
    params
}

fn at(time: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(time.as_micros() / 1_000_000)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("pin", &hex::encode(self.pin())).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csr(name: &str) -> (KeyPair, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("valid");
        let pem = params.serialize_request(&key).expect("signs").pem().expect("encodes");
        (key, pem)
    }

    #[test]
    fn an_agent_is_who_the_controller_says_whatever_its_request_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let (identity, made) =
            Identity::load_or_create(folder.path(), Timestamp::from_micros(1)).expect("made");
        assert!(made);
        let (_, pem_text) = csr("spiffe://tradepost/agent/00000000-0000-0000-0000-000000000009");
        let request = identity.read_request(&pem_text).expect("valid");
        let agent = AgentId(uuid::Uuid::from_u128(5));
        let chain = identity.sign_agent(&request, agent, Timestamp::from_micros(1)).expect("signs");
        let certificates = pem::certificates(chain.as_bytes(), "chain").expect("PEM");
        assert_eq!((certificates.len(), agent_of(&certificates[0])), (2, Some(agent)));
        assert_eq!(agent_of(&certificates[1]), None);
    }

    #[test]
    fn a_second_start_finds_the_same_root() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("identity");
        let (first, made) = Identity::load_or_create(&path, Timestamp::EPOCH).expect("made");
        let (second, remade) = Identity::load_or_create(&path, Timestamp::EPOCH).expect("loaded");
        assert!(made && !remade);
        assert_eq!(first.pin(), second.pin());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (identity, _) = Identity::load_or_create(folder.path(), Timestamp::EPOCH).expect("made");
        assert!(identity.read_request("hello").is_err());
        let (_, good) = csr("x");
        // One character of the signature, or of what it is about.
        for at in [good.len() / 3, good.len() / 2] {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert!(identity.read_request(&changed).is_err(), "changed at {at}");
        }
    }
}
