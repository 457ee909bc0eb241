//! Making certificates.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tradepost_domain::id::AgentId;
use tradepost_domain::standing::{CERTIFICATE_LIFE, ENROLMENT_NAME};
use tradepost_domain::time::Timestamp;
use tradepost_domain::trust::Number;

use super::files::{GenerationFiles, Pair};
use super::{AGENT_URI, AgentRequest, Error, ServerIdentity};

/// Life of both CAs.
const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Life of a server's certificate; made anew daily.
const SERVER_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// A server's certificate is valid for agents whose clocks are late by up to this much.
const SERVER_SKEW: Duration = Duration::from_secs(30 * 24 * 3600);
/// An agent's certificate is valid for controllers whose clocks are late by up to this much.
const AGENT_SKEW: Duration = Duration::from_secs(3600);

/// A CA that can sign.
pub(super) type Signer = Issuer<'static, KeyPair>;

/// A new root with a new agents CA.
pub(super) fn generation(number: Number, now: Timestamp) -> Result<GenerationFiles, Error> {
    let key = KeyPair::generate()?;
    let params = ca_params(&numbered("Tradepost root", number), now, BasicConstraints::Constrained(1));
    let root = params.self_signed(&key)?;
    let issuer = Issuer::from_params(&params, &key);
    let agents = agents_ca(number, &issuer, now)?;
    Ok(GenerationFiles { root: Pair { certificate: root.pem(), key: key.serialize_pem() }, agents })
}

/// A new agents CA under `root`.
pub(super) fn agents_ca(
    number: Number,
    root: &Issuer<'_, impl rcgen::SigningKey>,
    now: Timestamp,
) -> Result<Pair, Error> {
    let key = KeyPair::generate()?;
    let params = ca_params(&numbered("Tradepost agents", number), now, BasicConstraints::Constrained(0));
    let certificate = params.signed_by(&key, root)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// The first generation has the plain name.
fn numbered(name: &str, number: Number) -> String {
    if number == 1 { name.to_owned() } else { format!("{name} {number}") }
}

/// `root`, signed by another root: a way from that one to this one. PEM.
pub(super) fn bridge(
    root: &CertificateDer<'_>,
    root_key: &KeyPair,
    by: &Signer,
    now: Timestamp,
) -> Result<String, Error> {
    let mut params = ca_params("", now, BasicConstraints::Constrained(1));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = subject(root)?;
    params.serial_number = Some(serial(root_key, now));
    Ok(params.signed_by(root_key, by)?.pem())
}

/// A certificate's subject, so that what is issued by it finds its other certificates by name.
fn subject(certificate: &CertificateDer<'_>) -> Result<DistinguishedName, Error> {
    let unreadable = || Error::Certificate(rcgen::Error::CouldNotParseCertificate);
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| unreadable())?;
    let mut name = DistinguishedName::new();
    for attribute in parsed.subject().iter_attributes() {
        let oid = attribute.attr_type().iter().ok_or_else(unreadable)?.collect();
        let text = attribute.as_str().map_err(|_| unreadable())?;
        let value = if attribute.attr_value().tag() == x509_parser::der_parser::asn1_rs::Tag::PrintableString
        {
            DnValue::PrintableString(text.try_into()?)
        } else {
            DnValue::Utf8String(text.to_owned())
        };
        name.push(DnType::CustomDnType(oid), value);
    }
    Ok(name)
}

/// A fresh certificate of a server, without what leads to roots.
pub(super) fn server(
    names: &[String],
    by: &Signer,
    now: Timestamp,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Error> {
    let key = KeyPair::generate()?;
    let mut params = leaf_params("Tradepost controller", now - SERVER_SKEW, now + SERVER_LIFE);
    for name in names.iter().map(String::as_str).chain([ENROLMENT_NAME]) {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into()?),
        });
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = params.signed_by(&key, by)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((leaf.der().clone(), key))
}

/// An agent's certificate, PEM. Nothing but the key is taken from the request.
pub(super) fn agent(
    request: &AgentRequest,
    agent: AgentId,
    by: &Signer,
    now: Timestamp,
) -> Result<String, Error> {
    let mut params = leaf_params("Tradepost agent", now - AGENT_SKEW, now + CERTIFICATE_LIFE);
    params.subject_alt_names = vec![SanType::URI(format!("{AGENT_URI}{agent}").as_str().try_into()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(serial(request.key(), now));
    Ok(params.signed_by(request.key(), by)?.pem())
}

/// A number that no other certificate of this key has: the library's default is one for each key.
fn serial(key: &impl PublicKeyData, now: Timestamp) -> SerialNumber {
    let mut hash = Sha256::new();
    hash.update(key.subject_public_key_info());
    hash.update(now.as_micros().to_be_bytes());
    let mut bytes = hash.finalize();
    // A positive number of exactly this length.
    bytes[0] = (bytes[0] & 0x3f) | 0x40;
    SerialNumber::from_slice(&bytes[..16])
}

fn ca_params(name: &str, now: Timestamp, constraints: BasicConstraints) -> CertificateParams {
    let mut params = dated(name, now - SERVER_SKEW, now + CA_LIFE);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str, from: Timestamp, until: Timestamp) -> CertificateParams {
    let mut params = dated(name, from, until);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn dated(name: &str, from: Timestamp, until: Timestamp) -> CertificateParams {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    let mut params = CertificateParams::default();
    params.not_before = at(from);
    params.not_after = at(until);
    params.distinguished_name = distinguished_name;
    params.use_authority_key_identifier_extension = true;
    params
}

fn at(time: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(time.as_micros() / 1_000_000)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

/// A certificate and its key, ready to chain.
pub(super) fn server_identity(
    leaf: (CertificateDer<'static>, PrivateKeyDer<'static>),
    rest: impl IntoIterator<Item = CertificateDer<'static>>,
) -> ServerIdentity {
    let (leaf, key) = leaf;
    (std::iter::once(leaf).chain(rest).collect(), key)
}
