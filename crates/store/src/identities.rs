//! Agents' identities: join counters, locks, approvals, answered challenges.

use async_trait::async_trait;
use tradepost_domain::agent::Agent;
use tradepost_domain::id::{AgentId, BootId, WorkspaceId};
use tradepost_domain::standing::LockReason;
use tradepost_domain::time::Timestamp;

use crate::Error;

/// A join counter that an agent's process shows, decided on by [`tradepost_domain::standing::join`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joining {
    /// Whose.
    pub agent: AgentId,
    /// The process.
    pub boot: BootId,
    /// What it shows.
    pub counter: i64,
    /// The stored counter that the decision was made on.
    pub seen: i64,
}

/// What agents' identities need.
#[async_trait]
pub trait AgentIdentities: Send + Sync {
    /// Keeps an accepted counter and its process. `Stale` when the counter was changed meanwhile, or the agent is
    /// revoked, locked or unknown.
    async fn accept_join(&self, joining: Joining) -> Result<(), Error>;

    /// Remembers the process that shows an old counter. `Stale` like [`AgentIdentities::accept_join`].
    async fn suspect_join(&self, joining: Joining) -> Result<(), Error>;

    /// Locks the agent, with its event; a locked or revoked one stays as it is. None when there is no such agent.
    async fn lock_agent(&self, id: AgentId, why: LockReason, now: Timestamp) -> Result<Option<Agent>, Error>;

    /// Lets a locked agent in again, with its event: its absence counts from now, and its join counter begins anew. One
    /// that is not locked stays as it is. None when the workspace has no such agent.
    async fn approve_agent(
        &self,
        workspace: WorkspaceId,
        id: AgentId,
        now: Timestamp,
    ) -> Result<Option<Agent>, Error>;

    /// Records that the agent answered a challenge made at `made_at`, with its event. `Stale` when it answered that one or
    /// a newer one before, or is revoked, locked or unknown.
    async fn answer_challenge(&self, id: AgentId, made_at: Timestamp, now: Timestamp) -> Result<(), Error>;
}
