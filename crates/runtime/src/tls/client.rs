//! A client's side of TLS.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Error, fingerprint, listener, pem, provider};

/// Longer than a slow line needs, shorter than a person waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The certificate (leaf first) and key that a client shows.
#[derive(Debug)]
pub struct ClientIdentity {
    /// The client's certificate and what leads to its root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first certificate.
    pub key: PrivateKeyDer<'static>,
}

/// The configuration that a client uses for its next connection; clones share it.
#[derive(Debug, Clone)]
pub struct ReloadingClientConfig {
    current: Arc<ArcSwap<ClientConfig>>,
}

/// Opens TCP and TLS to the host and port of an `https` URI: what tonic's `Endpoint::connect_with_connector` and
/// `connect_with_connector_lazy` take. The endpoint's own TLS settings stay unset.
#[derive(Clone)]
pub struct Connector {
    tls: ReloadingClientConfig,
    server_name: Option<ServerName<'static>>,
}

#[derive(Debug)]
struct PinnedRoot {
    pin: [u8; 32],
}

/// Trusts `roots` alone (not the system's), with ALPN `h2`, and shows `identity` when there is one.
pub fn client_config(roots: RootCertStore, identity: Option<ClientIdentity>) -> Result<ClientConfig, Error> {
    let builder = builder()?.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { chain, key }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|source| Error::Rejected { what: "client certificate and key", source })?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Trusts a server whose chain ends in the certificate with this [`fingerprint`], and checks name and validity as usual
/// with that certificate as the only root. The server must send its root along. For enrolment, before a root is stored.
pub fn pinned_client_config(pin: [u8; 32]) -> Result<ClientConfig, Error> {
    let mut config = builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedRoot { pin }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Rejected { what: "TLS versions", source })
}

// === impl ReloadingClientConfig ===

impl ReloadingClientConfig {
    /// Starts with `config`.
    pub fn new(config: ClientConfig) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(config)) }
    }

    /// Uses `config` from the next connection on; open connections stay as they are.
    pub fn store(&self, config: ClientConfig) {
        self.current.store(Arc::new(config));
    }

    /// The configuration for the next connection.
    pub fn load(&self) -> ClientConfig {
        self.current.load().as_ref().clone()
    }
}

// === impl Connector ===

impl Connector {
    /// Connects with `config`, whose ALPN must hold `h2` for gRPC.
    pub fn new(config: ClientConfig) -> Self {
        Self::reloading(ReloadingClientConfig::new(config))
    }

    /// Connects with whatever `config` holds at the time.
    pub fn reloading(config: ReloadingClientConfig) -> Self {
        Self { tls: config, server_name: None }
    }

    /// Expects `name` in the server's certificate in place of the URI's host.
    #[must_use]
    pub fn with_server_name(mut self, name: ServerName<'static>) -> Self {
        self.server_name = Some(name);
        self
    }

    /// One connection to the host and port of `uri` (port 443 when it names none).
    pub async fn connect(&self, uri: &Uri) -> std::io::Result<TlsStream<TcpStream>> {
        let invalid = |message: String| std::io::Error::new(std::io::ErrorKind::InvalidInput, message);
        let host = uri.host().ok_or_else(|| invalid(format!("{uri} names no host")))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|_| invalid(format!("{host} is neither a host name nor an address")))?,
        };
        let open = async {
            let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
            listener::tune(&tcp)?;
            TlsConnector::from(self.tls.current.load_full()).connect(name, tcp).await
        };
        tokio::time::timeout(CONNECT_TIMEOUT, open).await.unwrap_or_else(|_| {
            Err(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no connection to {host} within {} s", CONNECT_TIMEOUT.as_secs()),
            ))
        })
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await.map(TokioIo::new) })
    }
}

// === impl PinnedRoot ===

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let root = intermediates
            .iter()
            .find(|certificate| fingerprint(certificate) == self.pin)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let roots = pem::roots([&root.clone().into_owned()])
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
