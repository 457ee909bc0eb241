//! Entries of the audit log.

use tradepost_domain::audit::{Chain, Entry, Hash, Link};
use tradepost_domain::id::{AuditEntryId, CallId, ControllerId};
use uuid::Uuid;

use super::{text, time};
use crate::v1;

impl From<Link> for v1::AuditEntry {
    fn from(link: Link) -> Self {
        let Link { seq, entry, hash } = link;
        Self { seq, hash: hash.0.to_vec(), ..Self::from(entry) }
    }
}

impl From<Entry> for v1::AuditEntry {
    fn from(entry: Entry) -> Self {
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
        Self {
            id: id.to_string(),
            at: Some(time::to_wire(at)),
            workspace_id: text(chain.0),
            actor,
            actor_id: text(actor_id),
            proof,
            proof_id: text(proof_id),
            peer,
            method,
            target,
            target_id: text(target_id),
            outcome,
            reason,
            call_id: call.to_string(),
            controller_id: controller.to_string(),
            details: details.into_iter().collect(),
            seq: 0,
            hash: Vec::new(),
        }
    }
}

/// An entry that is none: the other side is newer, or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an audit entry has no valid {0}")]
pub struct InvalidEntry(&'static str);

impl TryFrom<v1::AuditEntry> for Link {
    type Error = InvalidEntry;

    fn try_from(message: v1::AuditEntry) -> Result<Self, InvalidEntry> {
        let v1::AuditEntry {
            id,
            at,
            workspace_id,
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
            call_id,
            controller_id,
            details,
            seq,
            hash,
        } = message;
        let chain = if workspace_id.is_empty() {
            Chain::SYSTEM
        } else {
            workspace_id.parse().map_err(|_| InvalidEntry("workspace_id"))?
        };
        Ok(Self {
            seq,
            hash: Hash::of_stored(&hash),
            entry: Entry {
                id: AuditEntryId(needed(&id, "id")?),
                at: time::from_wire(at.ok_or(InvalidEntry("at"))?),
                chain,
                actor,
                actor_id: optional(&actor_id, "actor_id")?,
                proof,
                proof_id: optional(&proof_id, "proof_id")?,
                peer,
                method,
                target,
                target_id: optional(&target_id, "target_id")?,
                outcome,
                reason,
                call: CallId(needed(&call_id, "call_id")?),
                controller: ControllerId(needed(&controller_id, "controller_id")?),
                details: details.into_iter().collect(),
            },
        })
    }
}

fn needed(text: &str, field: &'static str) -> Result<Uuid, InvalidEntry> {
    Uuid::try_parse(text).map_err(|_| InvalidEntry(field))
}

fn optional(text: &str, field: &'static str) -> Result<Option<Uuid>, InvalidEntry> {
    if text.is_empty() { Ok(None) } else { needed(text, field).map(Some) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tradepost_domain::audit::Head;
    use tradepost_domain::id::WorkspaceId;
    use tradepost_domain::time::Timestamp;

    use super::*;

    #[test]
    fn a_link_comes_back_as_it_was_so_that_its_hash_does() {
        let entry = Entry {
            id: AuditEntryId(Uuid::from_u128(1)),
            at: Timestamp::from_micros(1_764_064_800_123_457),
            chain: Chain(Some(WorkspaceId(Uuid::from_u128(2)))),
            actor: "user".into(),
            actor_id: Some(Uuid::from_u128(3)),
            proof: String::new(),
            proof_id: None,
            peer: "2001:db8::1".into(),
            method: "tradepost.v1.TokenService/CreateToken".into(),
            target: "token".into(),
            target_id: Some(Uuid::from_u128(4)),
            outcome: "done".into(),
            reason: String::new(),
            call: CallId(Uuid::from_u128(5)),
            controller: ControllerId(Uuid::from_u128(6)),
            details: BTreeMap::from([("scopes".into(), "*".into()), (String::new(), "{".into())]),
        };
        for chain in [entry.chain, Chain::SYSTEM] {
            let link = Head::empty(chain).append(Entry { chain, ..entry.clone() }, &mut Vec::new());
            assert_eq!(Link::try_from(v1::AuditEntry::from(link.clone())), Ok(link));
        }
        let broken = v1::AuditEntry { call_id: "x".into(), ..entry.into() };
        assert_eq!(Link::try_from(broken), Err(InvalidEntry("call_id")));
    }
}
