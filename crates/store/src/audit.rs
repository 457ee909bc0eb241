//! The audit log: how an entry comes into the transaction of what it tells of, and what may be asked of the log.
//!
//! A call that changes things runs within [`scope`]. Whatever transaction it commits first, about what it names by
//! [`about`], takes the entry with it: both are stored or neither. No store method has to be told, so none can forget. A
//! write that is not the call's effect (counting a try, noting a token's use) goes [`aside`].
//!
//! A call that changes several things, each in a transaction of its own, names each by [`about`] before its write: each
//! gets an entry.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tradepost_domain::audit::{Actor, Chain, Detail, Entry, Hash, Head, Link, Outcome, Proof, Target};
use tradepost_domain::id::{AuditEntryId, CallId, ControllerId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use uuid::Uuid;

use crate::{Error, PageRequest, Slice};

tokio::task_local! {
    static SCOPE: Option<Scope>;
}

/// Who calls what, for the entries of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The chain that the call belongs to.
    pub chain: Chain,
    /// Who.
    pub actor: Actor,
    /// By what they proved it.
    pub proof: Option<Proof>,
    /// From where; empty where there is no network.
    pub peer: String,
    /// The RPC method's path without the slash before it, or a command.
    pub method: String,
    /// The call.
    pub call: CallId,
    /// Who serves it.
    pub controller: ControllerId,
    /// When it began.
    pub at: Timestamp,
    /// The first entry's id; further ones count up from it.
    pub first_entry: AuditEntryId,
}

/// The entries of one call; clones are the same.
#[derive(Debug, Clone)]
pub struct Scope(Arc<Mutex<Writing>>);

#[derive(Debug)]
struct Writing {
    entry: Entry,
    /// Counts the things that the call is about.
    thing: u32,
    /// The newest thing whose entry is committed.
    written: Option<u32>,
    /// Entries that were offered: their ids differ, also of those that were undone.
    offered: u128,
}

/// An entry to be written in the transaction that is under way.
#[derive(Debug, Clone)]
pub struct Due {
    /// What to write.
    pub entry: Entry,
    scope: Scope,
    thing: u32,
}

/// Waiting for their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// How many.
    pub count: u64,
    /// The time of the oldest.
    pub oldest: Option<Timestamp>,
}

/// Which entries to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Only of this chain.
    pub chain: Option<Chain>,
    /// Only by this user or agent.
    pub actor: Option<Uuid>,
    /// Only of methods whose path ends in this; letters, digits, `.`, `/` and `-`.
    pub method: Option<String>,
    /// Only about this.
    pub target: Option<Uuid>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
}

/// A listed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its position; none while it waits for one.
    pub seq: Option<i64>,
    /// Its hash; likewise.
    pub hash: Option<Hash>,
    /// The entry.
    pub entry: Entry,
}

/// The log.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Stores an entry by itself: of what changed nothing here.
    async fn add_audit_entry(&self, entry: Entry) -> Result<(), Error>;

    /// Gives at most `limit` waiting entries their places, in the order of their ids. Returns how many; none also while
    /// somebody else does.
    async fn seal_audit(&self, limit: u32) -> Result<u64, Error>;

    /// What waits, of one chain or of all.
    async fn audit_waiting(&self, chain: Option<Chain>) -> Result<Waiting, Error>;

    /// Where a chain ends.
    async fn audit_head(&self, chain: Chain) -> Result<Head, Error>;

    /// Where chains end, in the order of their keys, after the given one; at most `limit`.
    async fn list_audit_heads(&self, after: Option<Chain>, limit: u32) -> Result<Vec<Head>, Error>;

    /// Links of a chain after a position, in their order; at most `limit`.
    async fn list_audit_links(&self, chain: Chain, after: i64, limit: u32) -> Result<Vec<Link>, Error>;

    /// Newest first.
    async fn list_audit_entries(
        &self,
        filter: AuditFilter,
        page: PageRequest,
    ) -> Result<Slice<Listed>, Error>;
}

/// Runs a call whose effects are to be told.
pub async fn scope<F: Future>(scope: Scope, call: F) -> F::Output {
    SCOPE.scope(Some(scope), call).await
}

/// Runs something that is no effect of the call that it belongs to.
pub async fn aside<F: Future>(work: F) -> F::Output {
    SCOPE.scope(None, work).await
}

/// Says what the next write changes. Something else than before gets an entry of its own.
pub fn about(target: Target, id: Uuid) {
    with(|writing| {
        if writing.entry.target_id.is_some_and(|before| before != id) {
            writing.thing += 1;
            writing.entry.details.clear();
        }
        writing.entry.set_target(target, id);
    });
}

/// Adds a detail to the entry of the next write.
pub fn detail(detail: Detail, value: impl std::fmt::Display) {
    with(|writing| writing.entry.set_detail(detail, value));
}

/// The next write belongs to this workspace's chain.
pub fn in_workspace(workspace: WorkspaceId) {
    with(|writing| writing.entry.chain = Chain(Some(workspace)));
}

/// Who calls is known by now.
pub fn acted_by(actor: Actor) {
    with(|writing| {
        actor.name().clone_into(&mut writing.entry.actor);
        writing.entry.actor_id = actor.id();
    });
}

/// The entry that the transaction which is about to begin shall take with it.
pub fn due() -> Option<Due> {
    let scope = SCOPE.try_with(Clone::clone).ok().flatten()?;
    scope.due()
}

fn with(change: impl FnOnce(&mut Writing)) {
    let Ok(Some(scope)) = SCOPE.try_with(Clone::clone) else { return };
    change(&mut scope.writing());
}

// === impl Author, Scope, Due ===

impl Author {
    /// An entry of what it did, with nothing said yet of what was changed.
    pub fn entry(self, outcome: Outcome) -> Entry {
        let Self { chain, actor, proof, peer, method, call, controller, at, first_entry } = self;
        Entry {
            id: first_entry,
            at,
            chain,
            actor: actor.name().to_owned(),
            actor_id: actor.id(),
            proof: proof.map_or("", Proof::name).to_owned(),
            proof_id: proof.map(Proof::id),
            peer,
            method,
            target: String::new(),
            target_id: None,
            outcome: outcome.name().to_owned(),
            reason: String::new(),
            call,
            controller,
            details: std::collections::BTreeMap::new(),
        }
    }
}

impl Scope {
    /// For the effects of a call.
    pub fn new(author: Author) -> Self {
        let entry = author.entry(Outcome::Done);
        Self(Arc::new(Mutex::new(Writing { entry, thing: 0, written: None, offered: 0 })))
    }

    /// Whether something was told.
    pub fn has_written(&self) -> bool {
        self.writing().written.is_some()
    }

    fn writing(&self) -> std::sync::MutexGuard<'_, Writing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> Option<Due> {
        let mut writing = self.writing();
        let thing = writing.thing;
        if writing.written == Some(thing) {
            return None;
        }
        let mut entry = writing.entry.clone();
        entry.id.0 = Uuid::from_u128(entry.id.0.as_u128().wrapping_add(writing.offered));
        writing.offered += 1;
        drop(writing);
        Some(Due { entry, scope: self.clone(), thing })
    }
}

impl Due {
    /// Its transaction is committed.
    pub fn committed(self) {
        self.scope.writing().written = Some(self.thing);
    }
}
