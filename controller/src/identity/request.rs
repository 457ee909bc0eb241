//! An agent's request for a certificate.

use rcgen::{CertificateSigningRequestParams, PublicKey, PublicKeyData, SanType};
use tradepost_domain::id::ContentHash;

/// A text that is no request for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no PKCS#10 request in PEM that its own key signed")]
pub struct InvalidRequest;

/// A request whose signature proves that the sender holds the key.
pub struct AgentRequest {
    key: PublicKey,
    uris: Vec<String>,
}

impl AgentRequest {
    pub(super) fn parse(csr_pem: &str) -> Result<Self, InvalidRequest> {
        let parsed = CertificateSigningRequestParams::from_pem(csr_pem).map_err(|_| InvalidRequest)?;
        let uris = parsed.params.subject_alt_names.into_iter().filter_map(|name| match name {
            SanType::URI(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        });
        Ok(Self { uris: uris.collect(), key: parsed.public_key })
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The URIs that the request names; signed by the key as well.
    pub(super) fn uris(&self) -> &[String] {
        &self.uris
    }

    /// SHA-256 of the key's SubjectPublicKeyInfo, hex.
    pub fn key_hash(&self) -> String {
        ContentHash::of(&self.key.subject_public_key_info()).to_string()
    }
}

impl std::fmt::Debug for AgentRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentRequest").field("key_hash", &self.key_hash()).finish()
    }
}
