//! What a link's hash is over.
//!
//! SHA-256 over the fields in the order below, each as its length in bytes (four bytes, big-endian) and its bytes; texts are
//! UTF-8, numbers decimal, ids in lower case with hyphens, what is absent is empty:
//!
//! 1. `tradepost.audit.1`
//! 2. the predecessor's hash, 32 bytes (zeros before the first link)
//! 3. position · chain (a workspace's id, or `system`) · entry's id · time in microseconds since the Unix epoch
//! 4. actor · its id · proof · its id · peer · method · target · its id · outcome · reason
//! 5. call · controller
//! 6. number of details, then name and value of each, in the order of the names' bytes
//!
//! A length before each field keeps two different entries from having the same bytes. Another layout gets another first
//! field, and a reader that knows both.

use std::io::Write;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Chain, Entry, Hash};

/// The first field.
const FORMAT: &[u8] = b"tradepost.audit.1";

/// The hash of a link behind `before`. `buffer` is scratch space, so that a long chain needs one.
pub fn hash(before: Hash, seq: i64, entry: &Entry, buffer: &mut Vec<u8>) -> Hash {
    let Entry {
        id,
        at,
        chain,
        actor,
        actor_id,
        proof,
        proof_id,
        peer,
        method,
        target,
        target_id,
        outcome,
        reason,
        call,
        controller,
        details,
    } = entry;
    buffer.clear();
    bytes(buffer, FORMAT);
    bytes(buffer, &before.0);
    number(buffer, seq);
    put_chain(buffer, *chain);
    uuid(buffer, Some(id.0));
    number(buffer, at.as_micros());
    bytes(buffer, actor.as_bytes());
    uuid(buffer, *actor_id);
    bytes(buffer, proof.as_bytes());
    uuid(buffer, *proof_id);
    bytes(buffer, peer.as_bytes());
    bytes(buffer, method.as_bytes());
    bytes(buffer, target.as_bytes());
    uuid(buffer, *target_id);
    bytes(buffer, outcome.as_bytes());
    bytes(buffer, reason.as_bytes());
    uuid(buffer, Some(call.0));
    uuid(buffer, Some(controller.0));
    number(buffer, i64::try_from(details.len()).unwrap_or(i64::MAX));
    for (name, value) in details {
        bytes(buffer, name.as_bytes());
        bytes(buffer, value.as_bytes());
    }
    Hash(Sha256::digest(&buffer).into())
}

pub(super) fn put_chain(buffer: &mut Vec<u8>, chain: Chain) {
    match chain.0 {
        Some(workspace) => uuid(buffer, Some(workspace.0)),
        None => bytes(buffer, b"system"),
    }
}

pub(super) fn bytes(buffer: &mut Vec<u8>, field: &[u8]) {
    // No field comes near 4 GiB.
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(field);
}

pub(super) fn number(buffer: &mut Vec<u8>, number: i64) {
    let at = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    // Writing to a vector does not fail.
    drop(write!(buffer, "{number}"));
    let length = u32::try_from(buffer.len() - at - 4).unwrap_or(u32::MAX);
    buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

pub(super) fn uuid(buffer: &mut Vec<u8>, id: Option<Uuid>) {
    let mut text = [0_u8; uuid::fmt::Hyphenated::LENGTH];
    match id {
        Some(id) => bytes(buffer, id.as_hyphenated().encode_lower(&mut text).as_bytes()),
        None => bytes(buffer, b""),
    }
}
