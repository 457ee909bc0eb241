//! A seller's marketplace credential on its way to the seller's own agent.
//!
//! The command line seals it with HPKE (RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305) to a
//! key that the agent has made; `info` is purpose and version, the associated data names workspace, account, agent, key
//! and generation. What is between the two stores ciphertext. The sealed text also holds the site and its address: the
//! agent types the password nowhere else, whatever it is told.
//!
//! The agent signs its sealing key with its bound identity key, so that nobody else can put another key in its place.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand::SeedableRng;
use rand::rngs::StdRng;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tradepost_domain::id::{AccountId, AgentId, WorkspaceId};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::{Zeroize, Zeroizing};

use crate::ids::Ids;

const INFO: &[u8] = b"tradepost marketplace credential v1";
const STATEMENT: &str = "tradepost credential key v1";
/// Length of an encapsulated key.
const ENCAPSULATED: usize = 32;
/// Texts are filled up to multiples of this, so that a length tells little of the password's.
const PAD: usize = 512;

/// What a credential is sealed for; it opens for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The account.
    pub account: AccountId,
    /// The agent.
    pub agent: AgentId,
    /// Grows with every credential of the account.
    pub generation: i64,
}

/// What is typed into a sign-in form, and where.
pub struct Login {
    /// The name or e-mail address.
    pub username: SecretString,
    /// The password.
    pub password: SecretString,
    /// The site's name, as accounts have it.
    pub site: String,
    /// Scheme, host and port of the site.
    pub origin: String,
}

/// An agent's pair of keys; the private one is gone from memory when it is dropped.
pub struct KeyPair {
    private: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: [u8; 32],
}

/// Why a credential cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The agent's key is none.
    #[error("the agent's key cannot be used")]
    Key,
    /// It was changed, or sealed for something else.
    #[error(
        "the credential does not open: it was changed, or sealed for another account, agent, key or generation"
    )]
    Damaged,
}

/// The text inside; the fields are moved on, not copied.
#[derive(Serialize, Deserialize)]
struct Inside {
    username: String,
    password: String,
    site: String,
    origin: String,
}

impl Place {
    fn associated(self, key: &[u8; 32]) -> Vec<u8> {
        let Self { workspace, account, agent, generation } = self;
        format!("{workspace}|{account}|{agent}|{}|{generation}", key_id(key)).into_bytes()
    }
}

impl KeyPair {
    /// Derived from 32 random bytes.
    pub fn of(seed: &Zeroizing<[u8; 32]>) -> Self {
        let (private, public) = X25519HkdfSha256::derive_keypair(seed.as_slice());
        Self { private, public: public.to_bytes().into() }
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Opens a credential.
    pub fn open(&self, place: Place, sealed: &[u8]) -> Result<Login, Error> {
        let (encapsulated, text) = sealed.split_at_checked(ENCAPSULATED).ok_or(Error::Damaged)?;
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated);
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.private,
            &encapsulated.map_err(|_| Error::Damaged)?,
            INFO,
            text,
            &place.associated(&self.public),
        );
        let opened = Zeroizing::new(opened.map_err(|_| Error::Damaged)?);
        let Inside { username, password, site, origin } =
            serde_json::from_slice(&opened).map_err(|_| Error::Damaged)?;
        Ok(Login { username: username.into(), password: password.into(), site, origin })
    }
}

/// Seals a credential to an agent's public key.
pub fn seal(key: &[u8; 32], place: Place, login: &Login, ids: &Ids) -> Result<Vec<u8>, Error> {
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(key).map_err(|_| Error::Key)?;
    let mut inside = Inside {
        username: login.username.expose_secret().to_owned(),
        password: login.password.expose_secret().to_owned(),
        site: login.site.clone(),
        origin: login.origin.clone(),
    };
    // Long enough for every character written as an escape: the text is never moved in memory.
    let longest =
        6 * (inside.username.len() + inside.password.len() + inside.site.len() + inside.origin.len());
    let mut text = Zeroizing::new(Vec::with_capacity(longest + 2 * PAD));
    let written = serde_json::to_writer(&mut *text, &inside);
    inside.username.zeroize();
    inside.password.zeroize();
    written.map_err(|_| Error::Damaged)?;
    let padded = text.len().next_multiple_of(PAD);
    text.resize(padded, b' ');
    let mut seed = Zeroizing::new([0_u8; 32]);
    ids.fill(seed.as_mut_slice());
    let (encapsulated, sealed) =
        hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            INFO,
            &text,
            &place.associated(key),
            &mut StdRng::from_seed(*seed),
        )
        .map_err(|_| Error::Key)?;
    Ok([encapsulated.to_bytes().as_slice(), &sealed].concat())
}

/// Names a public key: the first 16 hexadecimal digits of its hash.
pub fn key_id(public: &[u8; 32]) -> String {
    hex::encode(&Sha256::digest(public)[..8])
}

/// What an agent signs with its identity key.
pub fn statement(agent: AgentId, public: &[u8; 32]) -> Vec<u8> {
    format!("{STATEMENT}|{agent}|{}", STANDARD_NO_PAD.encode(public)).into_bytes()
}

/// Whether `signature` is that of the identity key (a SubjectPublicKeyInfo with a key on P-256) over the agent's statement.
pub fn is_signed(identity_key: &[u8], agent: AgentId, public: &[u8; 32], signature: &[u8]) -> bool {
    let Ok((rest, info)) = SubjectPublicKeyInfo::from_der(identity_key) else { return false };
    let point: &[u8] = &info.subject_public_key.data;
    rest.is_empty()
        && UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(&statement(agent, public), signature)
            .is_ok()
}

/// What people compare of an agent's identity key: 80 bits of its hash in groups of four digits.
pub fn fingerprint(identity_key: &[u8]) -> String {
    let digits = hex::encode(&Sha256::digest(identity_key)[..10]);
    let groups: Vec<&str> = (0..digits.len()).step_by(4).filter_map(|at| digits.get(at..at + 4)).collect();
    groups.join("-")
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("id", &key_id(&self.public)).finish_non_exhaustive()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, origin, .. } = self;
        f.debug_struct("Login").field("site", site).field("origin", origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{PublicKeyData, SigningKey};
    use uuid::Uuid;

    use super::*;

    const PLACE: Place = Place {
        workspace: WorkspaceId(Uuid::from_u128(1)),
        account: AccountId(Uuid::from_u128(2)),
        agent: AgentId(Uuid::from_u128(3)),
        generation: 4,
    };

    fn pair(n: u8) -> KeyPair {
        KeyPair::of(&Zeroizing::new([n; 32]))
    }

    fn login(password: &str) -> Login {
        Login {
            username: String::from("seller@example.com").into(),
            password: password.to_owned().into(),
            site: "sandbox".into(),
            origin: "http://127.0.0.1:8800".into(),
        }
    }

    #[test]
    fn a_credential_opens_for_its_account_agent_key_and_generation_alone() {
        let ids = Ids::seeded(1);
        let (agent, other) = (pair(1), pair(2));
        let sealed = seal(&agent.public(), PLACE, &login("open sesame"), &ids).expect("sealed");
        let opened = agent.open(PLACE, &sealed).expect("opens");
        assert_eq!(opened.password.expose_secret(), "open sesame");
        assert_eq!((opened.site.as_str(), opened.origin.as_str()), ("sandbox", "http://127.0.0.1:8800"));
        for place in [
            Place { workspace: WorkspaceId(Uuid::from_u128(9)), ..PLACE },
            Place { account: AccountId(Uuid::from_u128(9)), ..PLACE },
            Place { agent: AgentId(Uuid::from_u128(9)), ..PLACE },
            Place { generation: 5, ..PLACE },
        ] {
            assert_eq!(agent.open(place, &sealed).expect_err("elsewhere"), Error::Damaged);
        }
        assert_eq!(other.open(PLACE, &sealed).expect_err("another key"), Error::Damaged);
        for n in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[n] ^= 1;
            assert!(agent.open(PLACE, &changed).is_err(), "byte {n}");
            assert!(agent.open(PLACE, &sealed[..n]).is_err(), "cut at {n}");
        }
        let again = seal(&agent.public(), PLACE, &login("open sesame"), &ids).expect("sealed");
        assert_ne!(sealed, again);
        let longer = seal(&agent.public(), PLACE, &login(&"x".repeat(64)), &ids).expect("sealed");
        assert_eq!(sealed.len(), longer.len(), "the length tells nothing of the password's");
        let quotes = "\"\\\u{1}ü😀".repeat(40);
        let odd = seal(&agent.public(), PLACE, &login(&quotes), &ids).expect("sealed");
        assert_eq!(agent.open(PLACE, &odd).expect("opens").password.expose_secret(), quotes);
    }

    #[test]
    fn nobody_but_the_agent_signs_its_key() {
        let identity = rcgen::KeyPair::generate().expect("made");
        let info = identity.subject_public_key_info();
        let public = pair(1).public();
        let signature = identity.sign(&statement(PLACE.agent, &public)).expect("signed");
        assert!(is_signed(&info, PLACE.agent, &public, &signature));
        let other = rcgen::KeyPair::generate().expect("made");
        assert!(!is_signed(&other.subject_public_key_info(), PLACE.agent, &public, &signature));
        assert!(!is_signed(&info, AgentId(Uuid::from_u128(9)), &public, &signature));
        assert!(!is_signed(&info, PLACE.agent, &pair(2).public(), &signature));
        assert!(!is_signed(&info[1..], PLACE.agent, &public, &signature));
        assert!(!is_signed(&info, PLACE.agent, &public, &signature[1..]));
        assert_eq!(fingerprint(&info).len(), 24);
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!("{:?} {:?}", pair(7), login("open sesame"));
        assert!(!shown.contains("sesame") && !shown.contains("seller"), "{shown}");
    }
}
