//! Roots that follow roots, and how long a certificate lasts.

use rustls::pki_types::CertificateDer;
use tradepost_domain::time::Timestamp;
use x509_parser::certificate::X509Certificate;

/// Some root of an offer that nothing vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a new root certificate is signed by none of the trusted ones")]
pub struct Unvouched;

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// Checks that every root of `offered` is one of `trusted`, or that a chain of `bridges` (roots signed by other roots) leads
/// to it from one of `trusted`. Whoever forges a server's certificate still cannot plant a root.
pub fn vouched(
    trusted: &[CertificateDer<'_>],
    offered: &[CertificateDer<'_>],
    bridges: &[CertificateDer<'_>],
) -> Result<(), Unvouched> {
    let trusted: Vec<_> = trusted.iter().filter_map(parsed).collect();
    let bridges: Vec<_> = bridges.iter().filter_map(parsed).collect();
    for root in offered {
        let root = parsed(root).ok_or(Unvouched)?;
        if !reachable(&trusted, &root, &bridges) {
            return Err(Unvouched);
        }
    }
    Ok(())
}

fn reachable(
    trusted: &[X509Certificate<'_>],
    wanted: &X509Certificate<'_>,
    bridges: &[X509Certificate<'_>],
) -> bool {
    // Keys, not names, are what is trusted.
    let mut known: Vec<&X509Certificate<'_>> = trusted.iter().collect();
    loop {
        if known.iter().any(|root| root.public_key().raw == wanted.public_key().raw) {
            return true;
        }
        let before = known.len();
        for bridge in bridges {
            let is_new = !known.iter().any(|root| root.public_key().raw == bridge.public_key().raw);
            let is_signed = || {
                known.iter().any(|root| {
                    bridge.issuer() == root.subject()
                        && bridge.verify_signature(Some(root.public_key())).is_ok()
                })
            };
            if is_new && bridge.is_ca() && is_signed() {
                known.push(bridge);
            }
        }
        if known.len() == before {
            return false;
        }
    }
}

/// When a certificate is valid; none when it cannot be read.
pub fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let parsed = parsed(certificate)?;
    let at = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_micros(time.timestamp().saturating_mul(1_000_000))
    };
    Some(Validity { from: at(parsed.validity().not_before), until: at(parsed.validity().not_after) })
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(certificate).ok().map(|(_, parsed)| parsed)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    struct Root(CertificateParams, KeyPair);

    impl Root {
        fn new(name: &str) -> Self {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(params, KeyPair::generate().unwrap())
        }

        fn certificate(&self) -> CertificateDer<'static> {
            self.0.self_signed(&self.1).unwrap().der().clone()
        }

        fn signed_by(&self, other: &Self) -> CertificateDer<'static> {
            let issuer = Issuer::from_params(&other.0, &other.1);
            self.0.signed_by(&self.1, &issuer).unwrap().der().clone()
        }
    }

    #[test]
    fn a_new_root_needs_a_chain_from_a_trusted_one() {
        let (one, two, three) = (Root::new("1"), Root::new("2"), Root::new("3"));
        let trusted = [one.certificate()];
        assert_eq!(vouched(&trusted, &trusted, &[]), Ok(()));
        let offered = [three.certificate()];
        let bridges = [three.signed_by(&two), two.signed_by(&one)];
        assert_eq!(vouched(&trusted, &offered, &bridges), Ok(()), "two steps, in any order");
        assert_eq!(vouched(&trusted, &offered, &bridges[..1]), Err(Unvouched));
        let impostor = Root::new("1");
        assert_eq!(
            vouched(&trusted, &[impostor.certificate()], &[]),
            Err(Unvouched),
            "the name is not enough"
        );
        assert_eq!(vouched(&trusted, &offered, &[three.signed_by(&impostor)]), Err(Unvouched));
        let both = [one.certificate(), impostor.certificate()];
        assert_eq!(vouched(&trusted, &both, &bridges), Err(Unvouched), "each of them");
    }
}
