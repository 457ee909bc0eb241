//! Agents.

use tradepost_domain::agent::{Agent, Presence};
use tradepost_domain::time::Timestamp;

use super::{paired, text, time};
use crate::v1;

type WirePresence = v1::Presence;
paired!(Presence, WirePresence: Online, Offline, Revoked, NeedsApproval);

impl v1::Agent {
    /// The agent as it shows at `now`.
    pub fn at(agent: Agent, now: Timestamp) -> Self {
        let presence = agent.presence(now);
        let Agent {
            id,
            workspace: _,
            name,
            key_hash: _,
            platform,
            program_version,
            epoch: _,
            boot: _,
            controller,
            last_seen_at,
            created_at,
            revoked_at: _,
            standing,
        } = agent;
        Self {
            id: id.to_string(),
            name,
            platform,
            version: program_version,
            presence: v1::Presence::from(presence).into(),
            last_seen_at: last_seen_at.map(time::to_wire),
            created_at: Some(time::to_wire(created_at)),
            locked_because: standing.locked.map(|locked| locked.why.name().to_owned()).unwrap_or_default(),
            controller_id: text(controller.filter(|_| presence == Presence::Online)),
        }
    }
}
