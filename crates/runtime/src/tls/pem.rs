//! Certificates and private keys in PEM, from files or from text.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Error;

/// Every certificate of a file, in its order: a chain (leaf first) or a bundle of roots.
pub fn certificates_from_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    certificates(&read(path)?, &path.display().to_string())
}

/// Every certificate in `pem`; `origin` is named in errors.
pub fn certificates(pem: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem_error(origin, format!("not valid PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(pem_error(
            origin,
            "holds no certificate; expected -----BEGIN CERTIFICATE-----".to_owned(),
        ));
    }
    Ok(certificates)
}

/// The private key of a file (PKCS#8, PKCS#1 or SEC1, without a passphrase).
pub fn private_key_from_file(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    private_key(&read(path)?, &path.display().to_string())
}

/// The private key in `pem`; `origin` is named in errors, the key never is.
pub fn private_key(pem: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let problem = if pem.windows(9).any(|window| window == b"ENCRYPTED") {
            "holds a key with a passphrase; store it without one, readable by its owner only"
        } else {
            "holds no private key; expected -----BEGIN PRIVATE KEY-----"
        };
        pem_error(origin, problem.to_owned())
    })
}

/// A store that trusts exactly the given certificates.
pub fn roots<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate.clone())
            .map_err(|source| Error::Rejected { what: "trusted root certificate", source })?;
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn pem_error(origin: &str, problem: String) -> Error {
    Error::Pem { origin: origin.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_and_the_mend() {
        let missing = certificates_from_file(Path::new("/nonexistent/ca.pem")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nonexistent/ca.pem: "), "{missing}");
        let empty = certificates(b"hello", "ca.pem").unwrap_err().to_string();
        assert_eq!(empty, "ca.pem: holds no certificate; expected -----BEGIN CERTIFICATE-----");
        let locked = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let key = private_key(locked, "key.pem").unwrap_err().to_string();
        assert!(key.starts_with("key.pem: holds a key with a passphrase"), "{key}");
    }
}
