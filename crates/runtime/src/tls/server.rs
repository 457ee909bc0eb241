//! A server's side of TLS.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

use super::{Error, provider};

/// Decides about a client certificate that its chain has already vouched for: refuses the revoked ones.
/// It runs during the handshake, so it must not block.
pub type CertificateCheck = dyn Fn(&CertificateDer<'_>) -> Result<(), CertificateError> + Send + Sync;

/// Whether clients must show a certificate.
#[derive(Clone)]
pub enum ClientAuth {
    /// No certificate is asked for (browsers and the CLI).
    None,
    /// A certificate under one of `roots` is required, and `check` must accept it.
    /// Sessions are not resumed: a resumed session would not verify the certificate anew.
    Required {
        /// Who may sign client certificates.
        roots: Arc<RootCertStore>,
        /// The last word on a certificate, such as a look at the list of revoked ones.
        check: Arc<CertificateCheck>,
    },
}

/// The versions of TLS that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// TLS 1.2 and 1.3, for listeners that strangers' software reaches.
    Tls12AndLater,
    /// TLS 1.3 alone, for our own agents.
    Tls13,
}

/// The configuration that a running listener uses for its next connection; clones share it.
#[derive(Debug, Clone)]
pub struct ReloadingServerConfig {
    current: Arc<ArcSwap<ServerConfig>>,
}

struct CheckingVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    check: Arc<CertificateCheck>,
}

/// Which certificate a server shows to whom.
#[derive(Debug, Clone)]
pub struct Certificates {
    usual: Arc<CertifiedKey>,
    named: Option<(String, Arc<CertifiedKey>)>,
}

/// A server's configuration with ALPN `h2` and `http/1.1`. `chain` is leaf first; a server whose clients pin its root
/// (see [`pinned_client_config`](super::pinned_client_config)) puts the root last.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    protocols: Protocols,
    auth: ClientAuth,
) -> Result<ServerConfig, Error> {
    server_config_with(Certificates::new(chain, key)?, protocols, auth)
}

/// The same for a server that shows several certificates.
pub fn server_config_with(
    certificates: Certificates,
    protocols: Protocols,
    auth: ClientAuth,
) -> Result<ServerConfig, Error> {
    let versions: &[&rustls::SupportedProtocolVersion] = match protocols {
        Protocols::Tls12AndLater => &[&rustls::version::TLS13, &rustls::version::TLS12],
        Protocols::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|source| Error::Rejected { what: "TLS versions", source })?;
    let builder = match &auth {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Required { roots, check } => builder.with_client_cert_verifier(verifier(roots, check)?),
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    // Ours: the strongest suite that the client has.
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if matches!(auth, ClientAuth::Required { .. }) {
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}

fn verifier(
    roots: &Arc<RootCertStore>,
    check: &Arc<CertificateCheck>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider()).build().map_err(
        |error| Error::Rejected {
            what: "roots of client certificates",
            source: rustls::Error::General(error.to_string()),
        },
    )?;
    Ok(Arc::new(CheckingVerifier { chain, check: Arc::clone(check) }))
}

// === impl Certificates ===

impl Certificates {
    /// One for everybody; `chain` is leaf first.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, Error> {
        Ok(Self { usual: certified(chain, key)?, named: None })
    }

    /// Another one for clients that ask for `name`.
    pub fn with_named(
        self,
        name: &str,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        Ok(Self { named: Some((name.to_owned(), certified(chain, key)?)), ..self })
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, Error> {
    CertifiedKey::from_der(chain, key, &provider())
        .map(Arc::new)
        .map_err(|source| Error::Rejected { what: "server certificate and key", source })
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = self.named.as_ref().filter(|(name, _)| hello.server_name() == Some(name));
        Some(Arc::clone(named.map_or(&self.usual, |(_, key)| key)))
    }
}

// === impl ClientAuth ===

impl ClientAuth {
    /// Certificates under `roots` are required, and none of them is revoked.
    pub fn required(roots: Arc<RootCertStore>) -> Self {
        Self::Required { roots, check: Arc::new(|_| Ok(())) }
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Required { .. } => "Required",
        })
    }
}

// === impl ReloadingServerConfig ===

impl ReloadingServerConfig {
    /// Starts with `config`.
    pub fn new(config: ServerConfig) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(config)) }
    }

    /// Uses `config` from the next connection on; open connections stay as they are.
    pub fn store(&self, config: ServerConfig) {
        self.current.store(Arc::new(config));
    }

    /// The configuration for the next connection.
    pub fn load(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

// === impl CheckingVerifier ===

impl fmt::Debug for CheckingVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CheckingVerifier").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for CheckingVerifier {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        (self.check)(end_entity).map_err(rustls::Error::InvalidCertificate)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
