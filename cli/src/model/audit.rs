//! The audit log.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Time;

/// Who changed what.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    pub(crate) id: String,
    /// Its position; none while it waits for one.
    pub(crate) seq: Option<i64>,
    pub(crate) at: Option<Time>,
    /// A workspace's id, or `system`.
    pub(crate) chain: String,
    pub(crate) actor: String,
    pub(crate) actor_id: String,
    pub(crate) proof: String,
    pub(crate) proof_id: String,
    pub(crate) peer: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) target_id: String,
    pub(crate) outcome: String,
    pub(crate) reason: String,
    pub(crate) call_id: String,
    pub(crate) controller_id: String,
    pub(crate) details: BTreeMap<String, String>,
    /// Hex; none while it waits for its position.
    pub(crate) hash: Option<String>,
}
