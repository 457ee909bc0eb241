//! Links as lines of JSON: the form of an export.
//!
//! Every hashed field is there under its own name, as the text that is hashed, so that a program of a few lines can check
//! it; see [`super::encoding`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Chain, Entry, Hash, Link};
use crate::id::{AuditEntryId, CallId, ControllerId};
use crate::time::Timestamp;

/// The `format` of a line.
pub const FORMAT: &str = "tradepost.audit.1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    format: String,
    seq: i64,
    chain: String,
    id: Uuid,
    at_us: i64,
    actor: String,
    actor_id: Option<Uuid>,
    proof: String,
    proof_id: Option<Uuid>,
    peer: String,
    method: String,
    target: String,
    target_id: Option<Uuid>,
    outcome: String,
    reason: String,
    call: Uuid,
    controller: Uuid,
    details: BTreeMap<String, String>,
    hash: String,
}

/// A line that is no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no audit entry: {0}")]
pub struct Unreadable(String);

/// The line, without its end.
pub fn of(link: &Link) -> String {
    let Link { seq, entry, hash } = link;
    let entry = entry.clone();
    let written = Line {
        format: FORMAT.to_owned(),
        seq: *seq,
        chain: entry.chain.to_string(),
        id: entry.id.0,
        at_us: entry.at.as_micros(),
        actor: entry.actor,
        actor_id: entry.actor_id,
        proof: entry.proof,
        proof_id: entry.proof_id,
        peer: entry.peer,
        method: entry.method,
        target: entry.target,
        target_id: entry.target_id,
        outcome: entry.outcome,
        reason: entry.reason,
        call: entry.call.0,
        controller: entry.controller.0,
        details: entry.details,
        hash: hash.to_string(),
    };
    // Texts and numbers always have a JSON form.
    serde_json::to_string(&written).unwrap_or_default()
}

/// The link of a line.
pub fn parse(line: &str) -> Result<Link, Unreadable> {
    let line: Line = serde_json::from_str(line).map_err(|error| Unreadable(error.to_string()))?;
    if line.format != FORMAT {
        return Err(Unreadable(format!("its format is {:?}, not {FORMAT:?}", line.format)));
    }
    let chain: Chain = line.chain.parse().map_err(|_| Unreadable(String::from("its chain is no id")))?;
    let hash: Hash = line.hash.parse().map_err(|_| Unreadable(String::from("its hash is none")))?;
    let entry = Entry {
        id: AuditEntryId(line.id),
        at: Timestamp::from_micros(line.at_us),
        chain,
        actor: line.actor,
        actor_id: line.actor_id,
        proof: line.proof,
        proof_id: line.proof_id,
        peer: line.peer,
        method: line.method,
        target: line.target,
        target_id: line.target_id,
        outcome: line.outcome,
        reason: line.reason,
        call: CallId(line.call),
        controller: ControllerId(line.controller),
        details: line.details,
    };
    Ok(Link { seq: line.seq, entry, hash })
}
