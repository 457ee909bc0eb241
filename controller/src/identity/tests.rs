//! The authority and its rotation.

use rcgen::CertificateParams;

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
    let (identity, made) = Identity::load_or_create(folder.path(), Timestamp::from_micros(1)).expect("made");
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
