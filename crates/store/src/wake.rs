//! Hints that something may be due. A hint may be lost or doubled: sweeps find everything without them.

use tokio::sync::broadcast;
use tradepost_domain::id::{AgentId, WorkspaceId};

/// Something that may be worth looking at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hint {
    /// A job of this agent became ready, or its account became free.
    Agent(AgentId),
    /// The wish to end a run of this agent was stored.
    Cancel(AgentId),
    /// The feed of this workspace grew.
    Feed(WorkspaceId),
    /// The agent attached elsewhere, or was revoked: its older stream must end.
    Session(AgentId),
    /// Hints of other controllers may have been lost: look at everything.
    All,
}

/// Where hints come from: commits in this process and, on PostgreSQL, in others (`NOTIFY`).
pub trait WakeHints: Send + Sync {
    /// Hints from now on. A slow receiver loses the oldest and sees [`broadcast::error::RecvError::Lagged`]: it then sweeps.
    fn hints(&self) -> broadcast::Receiver<Hint>;
}
