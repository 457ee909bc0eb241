//! The audit log: who changed what, from where, in chains of hashes.
//!
//! Each workspace has a chain of its own, and the system has one. A [`Link`] is an entry with its position in its chain and
//! a hash over itself and its predecessor's hash ([`encoding`]). [`verify::Verifier`] walks a chain with bounded memory and
//! finds what was edited, removed, moved or cut off; [`checkpoint::Checkpoint`]s are kept outside the database, so that
//! whoever writes a whole chain anew is found, too.
//!
//! What an entry may say is an allow-list ([`Detail`]): never passwords, tokens, seeds, hashes or texts of listings.
//!
//! To add a kind of target or a detail: a variant here; names are stored and hashed, so they never change.

pub mod checkpoint;
pub mod encoding;
pub mod line;
pub mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::id::{AgentId, AuditEntryId, CallId, ControllerId, SessionId, TokenId, UserId, WorkspaceId};
use crate::time::Timestamp;

/// Longest value of a detail, in characters.
pub const DETAIL_MAX: usize = 200;
/// The method of the entry that tells of a restored backup, one in each chain. Its detail [`Detail::Kept`] says how long
/// the chain was.
pub const RESTORED: &str = "controller/restored";

/// A SHA-256, as hex in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// Which chain: a workspace's, or the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain(pub Option<WorkspaceId>);

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A user.
    User(UserId),
    /// An agent.
    Agent(AgentId),
    /// Somebody without a token: registers, signs in, enrols.
    Anyone,
    /// Somebody on the controller's host, with one of its commands.
    Host,
    /// The controller itself.
    Controller,
}

/// What proved who it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A session.
    Session(SessionId),
    /// An API token.
    Token(TokenId),
}

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A marketplace account.
    Account,
    /// An agent.
    Agent,
    /// The database as a whole.
    Database,
    /// An invitation for an agent.
    EnrolmentToken,
    /// An invitation to a workspace.
    Invitation,
    /// A job.
    Job,
    /// A key or secret of the controller.
    Key,
    /// A listing.
    Listing,
    /// A photo.
    Photo,
    /// A posting.
    Posting,
    /// A session.
    Session,
    /// An API token.
    Token,
    /// A user.
    User,
    /// A workspace.
    Workspace,
}

/// What an entry may say beside who, what and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// An agent that has to do with it.
    Agent,
    /// An account that has to do with it.
    Account,
    /// How many things.
    Count,
    /// The life of the database.
    FleetEpoch,
    /// How many entries a chain had.
    Kept,
    /// The version of a key.
    KeyVersion,
    /// The state, role or setting before.
    From,
    /// What a person found.
    Finding,
    /// What was meant to be changed: names of fields.
    Fields,
    /// Where a step-by-step change stands.
    Phase,
    /// A priority.
    Priority,
    /// A role.
    Role,
    /// Scopes of a token.
    Scopes,
    /// The state, role or setting after.
    To,
    /// A user that has to do with it.
    User,
    /// When what was made ends, in microseconds since the Unix epoch.
    ExpiresAt,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done; the entry was stored with it.
    Done,
    /// It was refused.
    Refused,
}

/// One entry. The kinds are texts: a stored entry is shown and verified as it is stored, whatever somebody made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Grows with time, about.
    pub id: AuditEntryId,
    /// When the call began.
    pub at: Timestamp,
    /// Its chain.
    pub chain: Chain,
    /// The name of an [`Actor`].
    pub actor: String,
    /// Which one.
    pub actor_id: Option<Uuid>,
    /// The name of a [`Proof`], or empty.
    pub proof: String,
    /// Which one.
    pub proof_id: Option<Uuid>,
    /// The network address, or empty.
    pub peer: String,
    /// The RPC method's path without the slash before it, or a command of the controller.
    pub method: String,
    /// The name of a [`Target`], or empty.
    pub target: String,
    /// Which one.
    pub target_id: Option<Uuid>,
    /// The name of an [`Outcome`].
    pub outcome: String,
    /// Why it was refused, or empty.
    pub reason: String,
    /// The call.
    pub call: CallId,
    /// The controller that served it.
    pub controller: ControllerId,
    /// Names of [`Detail`]s with their values.
    pub details: BTreeMap<String, String>,
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The position in the chain, from 1.
    pub seq: i64,
    /// What is told.
    pub entry: Entry,
    /// Over the predecessor's hash, the position and the entry; see [`encoding`].
    pub hash: Hash,
}

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The chain.
    pub chain: Chain,
    /// How many links it has; the last one's position.
    pub count: i64,
    /// The last link's hash; zeros of an empty chain.
    pub hash: Hash,
}

// === impl Head ===

impl Head {
    /// Of a chain without links.
    pub fn empty(chain: Chain) -> Self {
        Self { chain, count: 0, hash: Hash::ZERO }
    }

    /// Puts an entry behind the head, which moves on to it.
    pub fn append(&mut self, entry: Entry, buffer: &mut Vec<u8>) -> Link {
        self.count += 1;
        self.hash = encoding::hash(self.hash, self.count, &entry, buffer);
        Link { seq: self.count, entry, hash: self.hash }
    }
}

// === impl Entry ===

impl Entry {
    /// Says what was changed.
    pub fn set_target(&mut self, target: Target, id: Uuid) {
        target.name().clone_into(&mut self.target);
        self.target_id = Some(id);
    }

    /// Adds a detail; longer values are cut.
    pub fn set_detail(&mut self, detail: Detail, value: impl fmt::Display) {
        let value: String = value.to_string().chars().take(DETAIL_MAX).collect();
        self.details.insert(detail.name().to_owned(), value);
    }

    /// The details as JSON, as they are stored.
    pub fn details_text(&self) -> String {
        // A map of texts always has a JSON form.
        serde_json::to_string(&self.details).unwrap_or_default()
    }

    /// Details as they were stored. What is no such text is kept as it is, so that the hash tells.
    pub fn details_of(text: &str) -> BTreeMap<String, String> {
        serde_json::from_str(text).unwrap_or_else(|_| BTreeMap::from([(String::new(), text.to_owned())]))
    }
}

// === impl Actor, Proof, Target, Detail, Outcome ===

impl Actor {
    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Agent(_) => "agent",
            Self::Anyone => "anyone",
            Self::Host => "host",
            Self::Controller => "controller",
        }
    }

    /// Which one, where there are several.
    pub fn id(self) -> Option<Uuid> {
        match self {
            Self::User(id) => Some(id.0),
            Self::Agent(id) => Some(id.0),
            Self::Anyone | Self::Host | Self::Controller => None,
        }
    }
}

impl Proof {
    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Token(_) => "token",
        }
    }

    /// Which one.
    pub fn id(self) -> Uuid {
        match self {
            Self::Session(id) => id.0,
            Self::Token(id) => id.0,
        }
    }
}

impl Target {
    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Agent => "agent",
            Self::Database => "database",
            Self::EnrolmentToken => "enrolment_token",
            Self::Invitation => "invitation",
            Self::Job => "job",
            Self::Key => "key",
            Self::Listing => "listing",
            Self::Photo => "photo",
            Self::Posting => "posting",
            Self::Session => "session",
            Self::Token => "token",
            Self::User => "user",
            Self::Workspace => "workspace",
        }
    }
}

impl Detail {
    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Account => "account",
            Self::Count => "count",
            Self::FleetEpoch => "fleet_epoch",
            Self::Kept => "kept",
            Self::KeyVersion => "key_version",
            Self::From => "from",
            Self::Finding => "finding",
            Self::Fields => "fields",
            Self::Phase => "phase",
            Self::Priority => "priority",
            Self::Role => "role",
            Self::Scopes => "scopes",
            Self::To => "to",
            Self::User => "user",
            Self::ExpiresAt => "expires_at",
        }
    }
}

impl Outcome {
    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

// === impl Chain ===

impl Chain {
    /// The system's own.
    pub const SYSTEM: Self = Self(None);

    /// As it is stored: nil for the system.
    pub fn key(self) -> Uuid {
        self.0.map_or(Uuid::nil(), |workspace| workspace.0)
    }

    /// From a stored key.
    pub fn of_key(key: Uuid) -> Self {
        Self((!key.is_nil()).then_some(WorkspaceId(key)))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(workspace) => workspace.fmt(f),
            None => f.write_str("system"),
        }
    }
}

impl FromStr for Chain {
    type Err = crate::id::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "system" { Ok(Self::SYSTEM) } else { text.parse().map(|workspace| Self(Some(workspace))) }
    }
}

// === impl Hash ===

impl Hash {
    /// The predecessor of the first link.
    pub const ZERO: Self = Self([0; 32]);

    /// From stored bytes; zeros where they are not 32, which no link has.
    pub fn of_stored(bytes: &[u8]) -> Self {
        bytes.try_into().map_or(Self::ZERO, Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(text, &mut bytes).map(|()| Self(bytes))
    }
}

#[cfg(test)]
mod tests;
