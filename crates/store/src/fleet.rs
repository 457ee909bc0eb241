//! The lives of the database; see [`tradepost_domain::fleet`].

use std::collections::HashMap;

use async_trait::async_trait;
use tradepost_domain::fleet::{Fleet, FleetEpoch};
use tradepost_domain::id::{AccountId, AgentId, IntentId, PermitId, PostingId, RunLease, WorkspaceId};
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::time::Timestamp;

use crate::Error;

/// A life that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFleetEpoch {
    /// It comes after this one too, which another copy of the database had reached.
    pub after: FleetEpoch,
    /// The agent that knew of more than the database and is alone concerned; none when all agents are.
    pub agent: Option<AgentId>,
    /// Why, in words.
    pub reason: String,
}

/// What an agent has still to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// The life it is to be told for; its account is then settled.
    pub epoch: FleetEpoch,
    /// The newest run that the oldest of the restored copies knew of: later ones may have clicked.
    pub known_lease: RunLease,
    /// When the newest of those lives began: publications that were made later are not in doubt.
    pub begun_at: Timestamp,
}

/// The lives of the database, and what agents tell when one begins.
#[async_trait]
pub trait Fleets: Send + Sync {
    /// How far the database has come.
    async fn fleet(&self) -> Result<Fleet, Error>;

    /// Begins a new life: raises the run leases above every earlier one and has the agents concerned recount. When all are
    /// concerned, their stream numbers are raised too, and each workspace's feed tells of it; else that agent's one.
    async fn begin_fleet_epoch(&self, new: NewFleetEpoch, now: Timestamp) -> Result<Fleet, Error>;

    /// What the agent has still to tell; none when it has told all.
    async fn find_owed(&self, agent: AgentId) -> Result<Option<Owed>, Error>;

    /// How the intents of these permits stand; permits that no intent has are left out.
    async fn permit_states(&self, permits: &[PermitId]) -> Result<HashMap<PermitId, publish::State>, Error>;

    /// The agent has told what its journal holds, for lives up to `epoch`.
    async fn record_recount(&self, agent: AgentId, epoch: FleetEpoch) -> Result<(), Error>;

    /// Intents of accounts bound to the agent, or of the one account, that were made before `before` and wait for their
    /// permit, after the intent `after` in the order of ids, at most `limit`.
    async fn list_unarmed_intents(
        &self,
        agent: AgentId,
        account: Option<AccountId>,
        before: Timestamp,
        after: Option<IntentId>,
        limit: u32,
    ) -> Result<Vec<(IntentId, WorkspaceId, PostingId)>, Error>;

    /// Armed intents whose permit was given in an earlier life than `epoch`, at most `limit`; of the agent's jobs if given.
    async fn list_armed_before(
        &self,
        epoch: FleetEpoch,
        agent: Option<AgentId>,
        limit: u32,
    ) -> Result<Vec<Intent>, Error>;
}
