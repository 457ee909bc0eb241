//! The audit log.

use tradepost_proto::v1;

use super::time;
use crate::model;

pub(in crate::client) fn audit_entry(entry: v1::AuditEntry) -> model::AuditEntry {
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
    } = entry;
    model::AuditEntry {
        id,
        seq: (seq > 0).then_some(seq),
        at: time(at),
        chain: if workspace_id.is_empty() { String::from("system") } else { workspace_id },
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
        details: details.into_iter().collect(),
        hash: (!hash.is_empty()).then(|| hex::encode(hash)),
    }
}
