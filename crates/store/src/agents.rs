//! Agents, their enrolment and their streams.

use async_trait::async_trait;
use tradepost_domain::agent::Agent;
use tradepost_domain::id::{
    AgentId, BootId, ControllerId, EnrolmentTokenId, SessionEpoch, UserId, WorkspaceId,
};
use tradepost_domain::time::Timestamp;

use crate::{Error, PageRequest, Slice};

/// A single-use invitation, hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnrolmentToken {
    /// Its id.
    pub id: EnrolmentTokenId,
    /// The tenant the agent will belong to.
    pub workspace: WorkspaceId,
    /// Who made it.
    pub created_by: UserId,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What an agent tells of itself when it enrols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAgent {
    /// Its id, if the token is fresh.
    pub id: AgentId,
    /// See [`Agent::name`].
    pub name: String,
    /// See [`Agent::key_hash`].
    pub key_hash: String,
    /// See [`Agent::platform`].
    pub platform: String,
    /// See [`Agent::program_version`].
    pub program_version: String,
}

/// What became of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed {
    /// The agent; the same one for a repeated call with the same key.
    Agent(Box<Agent>),
    /// The token is unknown or its time has passed.
    UnknownToken,
    /// The token was used with another key.
    OtherKey,
}

/// A stream that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Whose.
    pub agent: AgentId,
    /// The process at the other end.
    pub boot: BootId,
    /// The controller that holds it.
    pub controller: ControllerId,
    /// As the agent reports.
    pub platform: String,
    /// As the agent reports.
    pub program_version: String,
    /// The newest stream number that the agent was ever given: the new one is greater, whatever a backup has forgotten.
    pub known_epoch: SessionEpoch,
}

/// Agents of workspaces.
#[async_trait]
pub trait Agents: Send + Sync {
    /// Stores a hashed enrolment token.
    async fn add_enrolment_token(&self, token: NewEnrolmentToken, now: Timestamp) -> Result<(), Error>;

    /// Redeems a token: marks it used with the agent's key and adds the agent with its event, in one transaction. A used
    /// token with another key changes nothing but is told as an event.
    async fn redeem_enrolment_token(
        &self,
        hash: [u8; 32],
        agent: NewAgent,
        now: Timestamp,
    ) -> Result<Redeemed, Error>;

    /// One agent, whatever the workspace: for the agent's own calls, whose certificate names it.
    async fn find_agent(&self, id: AgentId) -> Result<Option<Agent>, Error>;

    /// By name ([`crate::Cursor::Name`]).
    async fn list_agents(&self, workspace: WorkspaceId, page: PageRequest) -> Result<Slice<Agent>, Error>;

    /// Counts the epoch up, above the known one, records boot and controller, with its event. `Stale` when the agent is
    /// revoked, locked or unknown.
    async fn attach_agent(&self, attachment: Attachment, now: Timestamp) -> Result<Agent, Error>;

    /// Records that these agents were heard of on these epochs; older epochs change nothing. Returns the agents whose
    /// epoch is no longer the present one, or that are revoked or locked: their streams must end.
    async fn touch_agents(
        &self,
        heard: &[(AgentId, SessionEpoch)],
        now: Timestamp,
    ) -> Result<Vec<AgentId>, Error>;

    /// Clears the controller unless a newer stream exists, with its event.
    async fn detach_agent(&self, id: AgentId, epoch: SessionEpoch, now: Timestamp) -> Result<(), Error>;

    /// Revokes it, with its event; repeated calls change nothing. None when the workspace has no such agent.
    async fn revoke_agent(
        &self,
        workspace: WorkspaceId,
        id: AgentId,
        now: Timestamp,
    ) -> Result<Option<Agent>, Error>;
}
