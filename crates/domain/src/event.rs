//! The ordered feed of a workspace, which user interfaces follow.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, AgentId, JobId, ListingId, PostingId, WorkspaceId};
use crate::time::Timestamp;

/// What happened. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// An account was added.
    AccountAdded,
    /// An account was changed.
    AccountChanged,
    /// A listing was created.
    ListingCreated,
    /// A listing was changed.
    ListingChanged,
    /// A listing was deleted.
    ListingDeleted,
    /// A posting was asked for.
    PostingCreated,
    /// A posting's state changed.
    PostingChanged,
    /// A job's state changed.
    JobChanged,
    /// A run reported a step.
    RunStep,
    /// A publication's intent changed its state.
    IntentChanged,
    /// A receipt was stored.
    ReceiptStored,
    /// An agent was enrolled.
    AgentEnrolled,
    /// An agent's stream began.
    AgentAttached,
    /// An agent's stream ended.
    AgentDetached,
    /// An agent was revoked.
    AgentRevoked,
    /// The database was restored from a backup: a new fleet epoch began.
    FleetRestored,
    /// An agent tells of a publication that a restored database has no record of.
    PublicationForgotten,
    /// A look for an uncertain listing was taken.
    LookTaken,
    /// A person said what became of an uncertain posting.
    PostingResolved,
    /// An agent is refused until a person approves it: its data directory was copied, or it was away for too long.
    AgentLocked,
    /// A person let an agent in again.
    AgentApproved,
    /// An agent whose certificate had ended proved its key and has a new one.
    AgentReturned,
    /// An enrolment string was used a second time, with another key.
    EnrolmentRefused,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subject {
    /// The account concerned.
    pub account: Option<AccountId>,
    /// The listing concerned.
    pub listing: Option<ListingId>,
    /// The posting concerned.
    pub posting: Option<PostingId>,
    /// The job concerned.
    pub job: Option<JobId>,
    /// The agent concerned.
    pub agent: Option<AgentId>,
}

/// An event to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// What happened.
    pub kind: Kind,
    /// To what.
    pub subject: Subject,
    /// Details as a JSON object; no titles, names or texts of users.
    pub data: serde_json::Value,
}

/// An event of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place: strictly increasing without gaps in a workspace, visible in order.
    pub seq: i64,
    /// When it was appended.
    pub at: Timestamp,
    /// What happened.
    pub event: NewEvent,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 23] = [
        Self::AccountAdded,
        Self::AccountChanged,
        Self::ListingCreated,
        Self::ListingChanged,
        Self::ListingDeleted,
        Self::PostingCreated,
        Self::PostingChanged,
        Self::JobChanged,
        Self::RunStep,
        Self::IntentChanged,
        Self::ReceiptStored,
        Self::AgentEnrolled,
        Self::AgentAttached,
        Self::AgentDetached,
        Self::AgentRevoked,
        Self::FleetRestored,
        Self::PublicationForgotten,
        Self::LookTaken,
        Self::PostingResolved,
        Self::AgentLocked,
        Self::AgentApproved,
        Self::AgentReturned,
        Self::EnrolmentRefused,
    ];

    /// The stable name, e.g. `posting.changed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccountAdded => "account.added",
            Self::AccountChanged => "account.changed",
            Self::ListingCreated => "listing.created",
            Self::ListingChanged => "listing.changed",
            Self::ListingDeleted => "listing.deleted",
            Self::PostingCreated => "posting.created",
            Self::PostingChanged => "posting.changed",
            Self::JobChanged => "job.changed",
            Self::RunStep => "run.step",
            Self::IntentChanged => "intent.changed",
            Self::ReceiptStored => "receipt.stored",
            Self::AgentEnrolled => "agent.enrolled",
            Self::AgentAttached => "agent.attached",
            Self::AgentDetached => "agent.detached",
            Self::AgentRevoked => "agent.revoked",
            Self::FleetRestored => "fleet.restored",
            Self::PublicationForgotten => "publication.forgotten",
            Self::LookTaken => "look.taken",
            Self::PostingResolved => "posting.resolved",
            Self::AgentLocked => "agent.locked",
            Self::AgentApproved => "agent.approved",
            Self::AgentReturned => "agent.returned",
            Self::EnrolmentRefused => "agent.enrolment_refused",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
