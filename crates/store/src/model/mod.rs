//! A whole store in memory, simple enough to be seen to be right: what the SQL of the engines is compared with, and what
//! simulations run on.
//!
//! One lock is one transaction. Rows are in ordered maps; unique rules are found by looking at every row. A refused
//! transaction is taken back row by row. Nothing here is fast for more than some thousands of rows, and nothing survives the
//! process.
//!
//! To add a method: in the file of its noun, with [`Model::read`] or [`Model::write`]; a new table is a field of [`Tables`]
//! and its name in `every_table`.

mod agents;
mod catalogue;
mod commit;
mod feed;
mod fleet;
mod identities;
mod pacing;
mod retention;
mod table;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::broadcast;
use tradepost_domain::account::Account;
use tradepost_domain::agent::Agent;
use tradepost_domain::event::{Event, Kind, NewEvent, Subject};
use tradepost_domain::fleet::FleetEpoch;
use tradepost_domain::id::{
    AccountId, AgentId, ContentHash, EnrolmentTokenId, EvidenceId, IntentId, JobId, ListingId, PhotoId,
    PostingId, RunLease, TokenId, UserId, WorkspaceId,
};
use tradepost_domain::job::Job;
use tradepost_domain::listing::Listing;
use tradepost_domain::photo::Photo;
use tradepost_domain::posting::{Posting, Receipt};
use tradepost_domain::publish::Intent;
use tradepost_domain::time::Timestamp;
use uuid::Uuid;

use self::fleet::Life;
use self::pacing::Pace;
use self::table::Table;
use crate::{
    ChangeLook, Conflict, Cursor, Error, EvidenceFile, Gather, Hint, PageRequest, Role, Slice, Store,
    StoredStep, WakeHints,
};

/// Hints that a slow receiver may miss.
const HINTS: usize = 1024;

/// The store; clones are the same one.
#[derive(Debug, Clone)]
pub struct Model {
    tables: Arc<Mutex<Tables>>,
    hints: broadcast::Sender<Hint>,
    time: fn() -> Timestamp,
}

/// The work rows as they are: for those who check them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Every job.
    pub jobs: Vec<Job>,
    /// Every intent, with its baseline.
    pub intents: Vec<Intent>,
    /// Every posting.
    pub postings: Vec<Posting>,
    /// Every agent.
    pub agents: Vec<Agent>,
    /// Every receipt, by its intent.
    pub receipts: BTreeMap<IntentId, Receipt>,
}

/// The work rows while nothing changes: for checks after every write.
#[derive(Debug, Clone, Copy)]
pub struct View<'t>(&'t Tables);

/// A copy of everything, as a backup is.
#[derive(Debug, Clone)]
pub struct Backup(Tables);

#[derive(Debug, Clone)]
struct Workspace {
    id: WorkspaceId,
    name: String,
    event_seq: i64,
}

#[derive(Debug, Clone)]
struct User {
    id: UserId,
    workspace: WorkspaceId,
    email: String,
    role: Role,
}

#[derive(Debug, Clone)]
struct Token {
    hash: [u8; 32],
}

#[derive(Debug, Clone)]
struct Invitation {
    id: EnrolmentTokenId,
    workspace: WorkspaceId,
    hash: [u8; 32],
    expires_at: Timestamp,
    agent: Option<AgentId>,
}

#[derive(Debug, Clone)]
struct StoredListing {
    listing: Listing,
    deleted: bool,
}

#[derive(Debug, Clone)]
struct StoredReceipt {
    workspace: WorkspaceId,
    posting: PostingId,
    receipt: Receipt,
    created_at: Timestamp,
}

#[derive(Debug, Clone, Default)]
struct Tables {
    workspaces: Table<WorkspaceId, Workspace>,
    users: Table<UserId, User>,
    tokens: Table<TokenId, Token>,
    invitations: Table<EnrolmentTokenId, Invitation>,
    agents: Table<AgentId, Agent>,
    accounts: Table<AccountId, Account>,
    listings: Table<ListingId, StoredListing>,
    blobs: Table<ContentHash, Vec<u8>>,
    photos: Table<PhotoId, Photo>,
    postings: Table<PostingId, Posting>,
    intents: Table<IntentId, Intent>,
    baselines: Table<IntentId, Vec<String>>,
    jobs: Table<JobId, Job>,
    steps: Table<(JobId, RunLease, u32), StoredStep>,
    receipts: Table<IntentId, StoredReceipt>,
    evidence: Table<EvidenceId, EvidenceFile>,
    events: Table<(WorkspaceId, i64), Event>,
    looks: Table<(IntentId, u32), ChangeLook>,
    /// Accounts without a row have never had another pacing than the site's.
    paces: Table<AccountId, Pace>,
    lives: Table<FleetEpoch, Life>,
    /// The newest life for which an agent has told all; none: the first.
    recounted: Table<AgentId, FleetEpoch>,
    /// The newest run's number; a refused claim does not give it back.
    run_leases: i64,
}

macro_rules! every_table {
    ($tables:ident . $method:ident) => {
        $tables.workspaces.$method();
        $tables.users.$method();
        $tables.tokens.$method();
        $tables.invitations.$method();
        $tables.agents.$method();
        $tables.accounts.$method();
        $tables.listings.$method();
        $tables.blobs.$method();
        $tables.photos.$method();
        $tables.postings.$method();
        $tables.intents.$method();
        $tables.baselines.$method();
        $tables.jobs.$method();
        $tables.steps.$method();
        $tables.receipts.$method();
        $tables.evidence.$method();
        $tables.events.$method();
        $tables.looks.$method();
        $tables.paces.$method();
        $tables.lives.$method();
        $tables.recounted.$method();
    };
}

/// An open transaction: the tables, and the hints to give after its commit.
struct Tx<'t> {
    tables: &'t mut Tables,
    hints: Vec<Hint>,
}

// === impl Model ===

impl Default for Model {
    fn default() -> Self {
        Self::new(|| Timestamp::EPOCH)
    }
}

impl Model {
    /// An empty one, whose [`Store::server_time`] is what `time` says.
    pub fn new(time: fn() -> Timestamp) -> Self {
        Self { tables: Arc::default(), hints: broadcast::Sender::new(HINTS), time }
    }

    /// Looks at the work rows without copying them.
    pub fn look<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        look(View(&self.lock()))
    }

    /// The work rows as they are now.
    pub fn rows(&self) -> Rows {
        let tables = self.lock();
        Rows {
            jobs: tables.jobs.rows().cloned().collect(),
            intents: tables.intents.rows().map(|intent| tables.with_baseline(intent)).collect(),
            postings: tables.postings.rows().cloned().collect(),
            agents: tables.agents.rows().cloned().collect(),
            receipts: tables
                .intents
                .rows()
                .filter_map(|intent| Some((intent.id, tables.receipts.get(intent.id)?.receipt.clone())))
                .collect(),
        }
    }

    /// A copy of everything.
    pub fn back_up(&self) -> Backup {
        Backup(self.lock().clone())
    }

    /// Puts everything back to what it was when `backup` was taken. Run leases go back as well, as they do in a database.
    pub fn restore(&self, backup: Backup) {
        *self.lock() = backup.0;
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        read(&self.lock())
    }

    /// One transaction: everything or nothing, then the hints.
    fn write<T>(&self, write: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut tables = self.lock();
        let mut tx = Tx { tables: &mut tables, hints: Vec::new() };
        let written = write(&mut tx);
        let hints = tx.hints;
        match written {
            Ok(value) => {
                every_table!(tables.settle);
                drop(tables);
                for hint in hints {
                    // Without a receiver nobody waits.
                    drop(self.hints.send(hint));
                }
                Ok(value)
            }
            Err(error) => {
                every_table!(tables.undo);
                Err(error)
            }
        }
    }
}

#[async_trait]
impl Store for Model {
    async fn migrate(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn server_time(&self) -> Result<Timestamp, Error> {
        Ok((self.time)())
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&self) {}
}

impl Gather for Model {}

impl WakeHints for Model {
    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}

// === impl View ===

impl<'t> View<'t> {
    /// Every job.
    pub fn jobs(self) -> impl Iterator<Item = &'t Job> {
        self.0.jobs.rows()
    }

    /// Every intent, without its baseline.
    pub fn intents(self) -> impl Iterator<Item = &'t Intent> {
        self.0.intents.rows()
    }

    /// Every posting.
    pub fn postings(self) -> impl Iterator<Item = &'t Posting> {
        self.0.postings.rows()
    }

    /// Every agent.
    pub fn agents(self) -> impl Iterator<Item = &'t Agent> {
        self.0.agents.rows()
    }

    /// Every account.
    pub fn accounts(self) -> impl Iterator<Item = &'t Account> {
        self.0.accounts.rows()
    }

    /// Every event.
    pub fn events(self) -> impl Iterator<Item = &'t Event> {
        self.0.events.rows()
    }

    /// One job.
    pub fn job(self, id: JobId) -> Option<&'t Job> {
        self.0.jobs.get(id)
    }

    /// One intent, without its baseline.
    pub fn intent(self, id: IntentId) -> Option<&'t Intent> {
        self.0.intents.get(id)
    }

    /// The receipt of an intent.
    pub fn receipt(self, id: IntentId) -> Option<&'t Receipt> {
        self.0.receipts.get(id).map(|kept| &kept.receipt)
    }
}

// === impl Tables ===

impl Tables {
    fn with_baseline(&self, intent: &Intent) -> Intent {
        let baseline = self.baselines.get(intent.id).cloned().unwrap_or_default();
        Intent { baseline, ..intent.clone() }
    }
}

// === impl Tx ===

impl Tx<'_> {
    fn append_events(&mut self, events: &[NewEvent], now: Timestamp) -> Result<(), Error> {
        let mut feeds: BTreeMap<WorkspaceId, Vec<&NewEvent>> = BTreeMap::new();
        for event in events {
            feeds.entry(event.workspace).or_default().push(event);
        }
        for (id, events) in feeds {
            let mut workspace =
                self.tables.workspaces.get(id).cloned().ok_or_else(|| refused("no such workspace"))?;
            for event in events {
                workspace.event_seq += 1;
                let seq = workspace.event_seq;
                self.tables.events.put((id, seq), Event { seq, at: now, event: event.clone() });
            }
            self.tables.workspaces.put(id, workspace);
            self.hints.push(Hint::Feed(id));
        }
        Ok(())
    }

    fn append_event(
        &mut self,
        workspace: WorkspaceId,
        kind: Kind,
        subject: Subject,
        data: serde_json::Value,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.append_events(&[NewEvent { workspace, kind, subject, data }], now)
    }
}

/// What a database answers to a write that breaks a foreign key or a check.
fn refused(rule: &'static str) -> Error {
    Error::Internal(rule.into())
}

/// Refuses a write that breaks a unique rule.
fn unless(broken: bool, error: impl Into<Error>) -> Result<(), Error> {
    if broken { Err(error.into()) } else { Ok(()) }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

/// A page of a list ordered newest first.
fn newest<T>(
    rows: impl Iterator<Item = T>,
    place: impl Fn(&T) -> (Timestamp, Uuid),
    page: &PageRequest,
) -> Result<Slice<T>, Error> {
    let before = match &page.after {
        None => None,
        Some(Cursor::Newest(at, id)) => Some((*at, *id)),
        Some(Cursor::Name(..)) => return Err(refused("a page cursor of another list")),
    };
    let mut rows: Vec<T> = rows.filter(|row| before.is_none_or(|before| place(row) < before)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(place(row)));
    Ok(slice(rows, page, |row| {
        let (at, id) = place(row);
        Cursor::Newest(at, id)
    }))
}

/// A page of a list ordered by name.
fn by_name<T>(
    rows: impl Iterator<Item = T>,
    place: impl Fn(&T) -> (String, Uuid),
    page: &PageRequest,
) -> Result<Slice<T>, Error> {
    let after = match &page.after {
        None => None,
        Some(Cursor::Name(name, id)) => Some((name.clone(), *id)),
        Some(Cursor::Newest(..)) => return Err(refused("a page cursor of another list")),
    };
    let mut rows: Vec<T> =
        rows.filter(|row| after.as_ref().is_none_or(|after| place(row) > *after)).collect();
    rows.sort_by_key(&place);
    Ok(slice(rows, page, |row| {
        let (name, id) = place(row);
        Cursor::Name(name, id)
    }))
}

fn slice<T>(mut rows: Vec<T>, page: &PageRequest, place: impl Fn(&T) -> Cursor) -> Slice<T> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(place) } else { None };
    Slice { rows, next }
}
