//! Transport security, with ring as the only provider of the process.
//!
//! - [`pem`]: certificates and keys from files, with errors that name the file.
//! - [`server_config`] makes a server's side; [`ReloadingServerConfig`] lets a running listener take a new one.
//! - [`TlsListener`] accepts and handshakes; its connections feed tonic's `serve_with_incoming_shutdown`.
//! - [`trust`]: which new roots may follow the trusted ones; how long a certificate lasts.
//! - [`client_config`], [`pinned_client_config`] and [`Connector`] make a client's side.
//!
//! Every configuration names its provider itself, so nothing here depends on [`install_provider`]; libraries that take
//! rustls' process-wide default do, so each main calls it first.

mod client;
mod clock;
mod listener;
pub mod pem;
mod server;
pub mod trust;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

pub use self::client::{
    ClientIdentity, Connector, ReloadingClientConfig, client_config, pinned_client_config,
};
pub use self::clock::TlsClock;
pub use self::listener::{Connection, Incoming, ListenerOptions, Plaintext, TlsIncoming, TlsListener};
pub use self::server::{
    CertificateCheck, Certificates, ClientAuth, Protocols, ReloadingServerConfig, server_config,
    server_config_with,
};

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file or text is not the PEM that it should be.
    #[error("{origin}: {problem}")]
    Pem {
        /// The file, or what the text was meant to be.
        origin: String,
        /// What is wrong with it, and the mend.
        problem: String,
    },
    /// The parts do not fit together: a key of another certificate, no usable root.
    #[error("{what}: {source}")]
    Rejected {
        /// Which part was being set up.
        what: &'static str,
        /// What rustls said.
        source: rustls::Error,
    },
}

/// Makes ring the provider of this process. Calling it again does nothing.
pub fn install_provider() {
    // The error only says that a provider is there already, and in this tree that can only be ring.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// The SHA-256 of a certificate's DER encoding: what an enrolment string pins.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate.as_ref()).into()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
