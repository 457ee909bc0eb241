//! Sealed credentials.

use serde::Serialize;

use super::Time;

/// A credential, as far as anybody but its agent can know it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Credential {
    pub(crate) account_id: String,
    pub(crate) agent_id: String,
    pub(crate) generation: i64,
    pub(crate) state: &'static str,
    pub(crate) set_at: Option<Time>,
    pub(crate) changed_at: Option<Time>,
    pub(crate) used_at: Option<Time>,
}

/// The key to seal to.
#[derive(Debug, Clone)]
pub(crate) struct SealingKey {
    pub(crate) agent_id: String,
    pub(crate) public_key: [u8; 32],
    pub(crate) identity_key: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// What the controller knows.
#[derive(Debug, Clone)]
pub(crate) struct StoredCredential {
    pub(crate) credential: Option<Credential>,
    pub(crate) key: Option<SealingKey>,
    pub(crate) workspace_id: String,
}
