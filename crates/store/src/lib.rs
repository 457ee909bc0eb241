//! The seam to the database: what services may ask of it, in traits per noun.
//!
//! - One method is one atomic effect (one transaction). A decision is never made here: services load, let
//!   `tradepost_domain` decide, and store the outcome with [`Work::commit`], a compare-and-set on row versions.
//! - Every query carries the workspace, but where the caller is the system itself (sweeps, dispatch).
//! - `find_*` returns `Option`; lists are keyset pages; `now` is always a parameter.
//! - Events are appended in the transaction of the write that they tell of.
//!
//! To add a noun: a trait here, its body in `shared/`, migrations for both engines with the same name, and its cases in
//! [`conformance`].

mod accounts;
mod agents;
pub mod audit;
mod auth;
#[cfg(feature = "conformance")]
pub mod conformance;
mod credentials;
mod error;
mod events;
mod evidence;
mod factors;
mod fleet;
mod gather;
mod identities;
mod listings;
mod looks;
#[cfg(feature = "model")]
pub mod model;
mod page;
mod photos;
mod retention;
mod secrets;
mod sessions;
mod throttles;
mod users;
mod wake;
mod work;

use std::time::Duration;

use async_trait::async_trait;
use tradepost_domain::time::Timestamp;

pub use self::accounts::Accounts;
pub use self::agents::{Agents, Attachment, NewAgent, NewEnrolmentToken, Redeemed};
pub use self::audit::{Audit, AuditFilter, Listed, Waiting};
pub use self::auth::{Auth, NewToken, NewUser, Principal, Role};
pub use self::credentials::{AccountCredential, AccountCredentials, CredentialKey, NewAccountCredential};
pub use self::error::{Conflict, Error};
pub use self::events::Events;
pub use self::evidence::{Evidence, EvidenceFile};
pub use self::factors::{Factor, Factors, Sealed};
pub use self::fleet::{Fleets, NewFleetEpoch, Owed};
pub use self::gather::{Asked, FoundRun, Gather, Ground, Supplies};
pub use self::identities::{AgentIdentities, Joining};
pub use self::listings::Listings;
pub use self::looks::Looks;
pub use self::page::{Cursor, PageRequest, Slice};
pub use self::photos::Photos;
pub use self::retention::Retention;
pub use self::secrets::{DataKey, Reseal, Scope, SealedColumn, SealedRow, Secrets};
pub use self::sessions::{
    ApiToken, Bearer, Credential, NewApiToken, NewSecrets, NewSession, RefreshToken, Session, Sessions,
};
pub use self::throttles::Throttles;
pub use self::users::{
    Credentials, Guest, Invitation, Member, Membership, NewInvitation, NewReset, NewWorkspace, Registration,
    User, Users, WorkspaceChoice,
};
pub use self::wake::{Hint, WakeHints};
pub use self::work::{
    Change, ChangeLook, ChangeReceipt, Claim, EpochGuard, JobFilter, PostingFilter, RunSteps, Step,
    StepStatus, StoredStep, Work,
};

/// Who repeats a request within this time means the first one.
pub const REPEATED: Duration = Duration::from_secs(24 * 3600);

/// A whole store.
#[async_trait]
pub trait Store:
    Auth
    + Accounts
    + Listings
    + Photos
    + Agents
    + AgentIdentities
    + Work
    + Gather
    + Looks
    + Fleets
    + Evidence
    + Events
    + Retention
    + WakeHints
{
    /// Applies the migrations that are missing; refuses a database written by a newer version.
    async fn migrate(&self) -> Result<(), Error>;

    /// The authority's time: the database's clock on PostgreSQL, this machine's on SQLite.
    async fn server_time(&self) -> Result<Timestamp, Error>;

    /// Answers when the database does.
    async fn ping(&self) -> Result<(), Error>;

    /// Ends pools and writers; what was acknowledged is durable.
    async fn close(&self);
}

/// All that a controller asks of a database: the work, and who may do it.
pub trait Database:
    Store + Users + Sessions + Factors + Throttles + Audit + Secrets + AccountCredentials
{
}

impl<T: Store + Users + Sessions + Factors + Throttles + Audit + Secrets + AccountCredentials> Database
    for T
{
}
