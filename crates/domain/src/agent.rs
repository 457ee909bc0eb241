//! An agent: a program on a seller's PC.

use std::time::Duration;

use crate::id::{AgentId, BootId, ControllerId, SessionEpoch, WorkspaceId};
use crate::standing::Standing;
use crate::time::Timestamp;

/// How often an agent reports that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// Silence after which an agent is shown as offline.
pub const OFFLINE_AFTER: Duration = Duration::from_secs(15);
/// Longest agent name, in characters.
pub const NAME_MAX: usize = 80;

/// One enrolled agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id, also in its certificate.
    pub id: AgentId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// What people call it; the PC's host name unless renamed.
    pub name: String,
    /// SHA-256 of its public key's DER (SubjectPublicKeyInfo), hex.
    pub key_hash: String,
    /// Operating system and architecture, as the agent reports.
    pub platform: String,
    /// Version of the agent program.
    pub program_version: String,
    /// The number of its newest stream.
    pub epoch: SessionEpoch,
    /// The start of the process that holds that stream.
    pub boot: Option<BootId>,
    /// The controller it is attached to; none when its stream has ended.
    pub controller: Option<ControllerId>,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// When it was revoked; its certificate is refused from then on.
    pub revoked_at: Option<Timestamp>,
    /// What is known of its identity beside the key.
    pub standing: Standing,
}

/// What to show of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Attached and heard of lately.
    Online,
    /// Not attached, or silent.
    Offline,
    /// Refused for good.
    Revoked,
    /// Refused until a person approves it.
    NeedsApproval,
}

impl Agent {
    /// Its presence at `now`.
    pub fn presence(&self, now: Timestamp) -> Presence {
        if self.revoked_at.is_some() {
            return Presence::Revoked;
        }
        if self.standing.locked.is_some() {
            return Presence::NeedsApproval;
        }
        let heard = self.last_seen_at.is_some_and(|at| now.since(at) < OFFLINE_AFTER);
        if self.controller.is_some() && heard { Presence::Online } else { Presence::Offline }
    }
}
