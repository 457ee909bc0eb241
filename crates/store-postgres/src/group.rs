//! Group commit: the writes of many callers in one transaction, with one statement per table.
//!
//! What a write of one job costs PostgreSQL is mostly its transaction: round trips, a flush of the log, the lock of the
//! workspace's row. Writes that wait while another transaction is under way are taken together. A group is hopeful: it
//! expects that every compare-and-set matches. A member whose job has changed meanwhile is left out. When another one does not
//! match, or a unique rule is broken, the whole group is undone and its members are written one by one ([`commit::apply`]),
//! each with its own answer. So a member's write is as atomic and as
//! isolated as alone, and what a group adds is only that its members become visible together.
//!
//! Nobody waits for a group to fill: a lane takes what is there.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Mutex, mpsc, oneshot};
use tradepost_domain::audit::Entry;
use tradepost_domain::time::Timestamp;
use tradepost_store::audit::Due;
use tradepost_store::{Change, Error, Hint, RunSteps};
use uuid::Uuid;

use crate::backend::{Telling, answered_soon};
use crate::error::translate;
use crate::feed::{self, Told};
use crate::line::Line;
use crate::shared::{Fault, Tx, audit, commit, steps};
use crate::{bulk, create, entries};

/// Transactions of changes and steps under way at once: while one waits for the disk, another works.
pub(crate) const LANES: usize = 2;
/// The same of creations.
pub(crate) const CREATORS: usize = 1;
/// Writes that may wait before callers are held back.
pub(crate) const QUEUE: usize = 4096;
/// Most rows of one group; bounds how long its locks are held.
const ROWS: usize = 2_000;
/// Most writes of one group.
const WRITES: usize = 256;

/// A write that can be done together with others of its lane.
pub(crate) enum Write {
    /// New postings; see [`create`]. They have a lane of their own.
    Create(Box<Change>),
    /// See `Work::commit`.
    Change(Box<Change>),
    /// See `Work::append_steps`.
    Steps(Box<RunSteps>),
}

/// A write with its time and the one who waits for it.
pub(crate) struct Ask {
    /// What to do.
    pub(crate) write: Write,
    /// The caller's time.
    pub(crate) now: Timestamp,
    /// The audit entry to write with it.
    pub(crate) due: Option<Due>,
    /// Whom to tell.
    pub(crate) reply: oneshot::Sender<Result<(), Error>>,
}

/// Why a group was not committed.
enum Failed {
    /// Nothing is written. Alone, each may still succeed.
    Undone(Error),
    /// The commit was sent; what became of it is not known.
    Unknown(Error),
}

/// Serves the queue until its last sender is gone.
pub(crate) async fn serve(
    options: PgConnectOptions,
    queue: Arc<Mutex<mpsc::Receiver<Ask>>>,
    telling: Telling,
) {
    let mut line = Line::new(options);
    loop {
        let mut receiver = queue.lock().await;
        let Some(first) = receiver.recv().await else { return };
        let mut rows = first.write.rows();
        let mut asks = vec![first];
        while asks.len() < WRITES
            && rows < ROWS
            && let Ok(next) = receiver.try_recv()
        {
            rows += next.write.rows();
            asks.push(next);
        }
        drop(receiver);
        asks.retain(|ask| !ask.reply.is_closed());
        for group in apart(asks) {
            // Neither a panic nor a connection that says nothing may take the lane with it: all later writes would wait for ever.
            let committed = AssertUnwindSafe(commit_group(&mut line, group, &telling)).catch_unwind();
            let why = match answered_soon(committed).await {
                Some(Ok(())) => continue,
                Some(Err(_)) => "a write panicked",
                None => "the database said nothing for too long; the connection for writes is made anew",
            };
            tracing::error!("{why}");
            line.drop_connection();
        }
    }
}

/// Groups in which no row is written twice; the order of writes of one row is kept. What only the single-row statements
/// write is a group of its own.
fn apart(asks: Vec<Ask>) -> Vec<Vec<Ask>> {
    let mut groups: Vec<Vec<Ask>> = Vec::new();
    let mut taken: HashSet<Uuid> = HashSet::new();
    let mut is_closed = true;
    for ask in asks {
        let ids = ask.write.ids();
        let is_rare = ask.write.is_rare();
        if is_closed || is_rare || ids.iter().any(|id| taken.contains(id)) {
            groups.push(Vec::new());
            taken.clear();
        }
        is_closed = is_rare;
        taken.extend(ids);
        if let Some(group) = groups.last_mut() {
            group.push(ask);
        }
    }
    groups
}

async fn commit_group(line: &mut Line, mut group: Vec<Ask>, telling: &Telling) {
    metrics::histogram!("tradepost_store_commit_writes")
        .record(f64::from(u32::try_from(group.len()).unwrap_or(u32::MAX)));
    // Also a single one: there are fewer statements in it than row by row.
    if !group.iter().any(|ask| ask.write.is_rare()) {
        match together(line, &mut group, telling).await {
            Ok(()) => return,
            Err(Failed::Undone(error)) => {
                tracing::debug!(%error, writes = group.len(), "a group is written one by one");
            }
            Err(Failed::Unknown(error)) => {
                let text = error.to_string();
                for ask in group {
                    // A failed send: nobody waits any more.
                    drop(ask.reply.send(Err(Error::Unavailable(text.clone().into()))));
                }
                return;
            }
        }
    }
    let mut away = None;
    for Ask { write, now, due, reply } in group {
        // A database that is away is waited for once, not by each.
        let written = match &away {
            Some(text) => Err(Error::Unavailable(String::clone(text).into())),
            None => alone(line, write, now, due, telling).await,
        };
        if let Err(error) = &written
            && line.is_away()
        {
            away = Some(error.to_string());
        }
        drop(reply.send(written));
    }
}

/// Begins a transaction. A connection that was lost since its last use is made anew: nothing was sent yet.
async fn begin(line: &mut Line) -> Result<&mut PgConnection, Error> {
    if let Err(error) = execute(line.get().await?, "BEGIN").await {
        tracing::info!(%error, "the connection for writes is made anew");
        line.drop_connection();
        execute(line.get().await?, "BEGIN").await.map_err(translate)?;
    }
    line.get().await
}

/// Ends a transaction; whether it was committed is not known when this fails.
async fn commit(line: &mut Line) -> Result<(), Error> {
    let committed = execute(line.get().await?, "COMMIT").await;
    if committed.is_err() {
        line.drop_connection();
    }
    committed.map_err(|error| Error::Unavailable(Box::new(error)))
}

async fn undo(line: &mut Line, fault: Fault) -> Error {
    let undone = match &fault.0 {
        Error::Unavailable(_) => false,
        _ => match line.get().await {
            Ok(conn) => execute(conn, "ROLLBACK").await.is_ok(),
            Err(_) => false,
        },
    };
    if !undone {
        // The server undoes what a lost connection has begun.
        line.drop_connection();
    }
    fault.0
}

async fn execute(conn: &mut PgConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(conn).await.map(drop)
}

/// One write in its own transaction.
async fn alone(
    line: &mut Line,
    write: Write,
    now: Timestamp,
    mut due: Option<Due>,
    telling: &Telling,
) -> Result<(), Error> {
    let conn = begin(line).await?;
    let mut hints = Vec::new();
    let done = async {
        let tx = Tx { conn: &mut *conn, hints: &mut hints, due: &mut due };
        match write {
            Write::Create(change) | Write::Change(change) => commit::apply(tx, *change, now).await?,
            Write::Steps(told) => steps::append(tx, *told, now).await?,
        }
        audit::tell(conn, due.as_ref()).await
    };
    match done.await {
        Ok(()) => {
            commit(line).await?;
            if let Some(told) = due {
                told.committed();
            }
            telling.tell(hints);
            Ok(())
        }
        Err(fault) => Err(undo(line, fault).await),
    }
}

/// All writes in one transaction. Leaves the group as it was when it is undone.
async fn together(line: &mut Line, group: &mut Vec<Ask>, telling: &Telling) -> Result<(), Failed> {
    if group.iter().all(|ask| matches!(ask.write, Write::Create(_))) {
        return create(line, group, telling).await;
    }
    let conn = begin(line).await.map_err(Failed::Undone)?;
    match write_all(conn, group).await {
        Ok((hints, stale)) => {
            commit(line).await.map_err(Failed::Unknown)?;
            telling.tell(hints);
            for (place, Ask { due, reply, .. }) in group.drain(..).enumerate() {
                let answer = if stale.contains(&place) { Err(Error::Stale) } else { Ok(()) };
                if let (Ok(()), Some(told)) = (&answer, due) {
                    told.committed();
                }
                drop(reply.send(answer));
            }
            Ok(())
        }
        Err(fault) => Err(Failed::Undone(undo(line, fault).await)),
    }
}

/// All creations in one statement, which is its own transaction. Leaves the group as it was when it is undone.
async fn create(line: &mut Line, group: &mut Vec<Ask>, telling: &Telling) -> Result<(), Failed> {
    let conn = line.tested().await.map_err(Failed::Undone)?;
    let changes: Vec<(Timestamp, &Change)> = group
        .iter()
        .filter_map(|ask| match &ask.write {
            Write::Create(change) => Some((ask.now, change.as_ref())),
            Write::Change(_) | Write::Steps(_) => None,
        })
        .collect();
    let mut hints: Vec<Hint> = changes.iter().flat_map(|(_, change)| commit::hints(change)).collect();
    let entries: Vec<&Entry> = group.iter().filter_map(entry_of).collect();
    match create::at_once(conn, &changes, &entries, &mut hints).await {
        Ok(true) => {
            telling.tell(hints);
            for Ask { due, reply, .. } in group.drain(..) {
                if let Some(told) = due {
                    told.committed();
                }
                drop(reply.send(Ok(())));
            }
            Ok(())
        }
        Ok(false) => Err(Failed::Undone(Error::Stale)),
        Err(Fault(error @ Error::Unavailable(_))) => {
            line.drop_connection();
            Err(Failed::Unknown(error))
        }
        Err(Fault(error)) => Err(Failed::Undone(error)),
    }
}

/// The audit entry that a write takes with it.
fn entry_of(ask: &Ask) -> Option<&Entry> {
    ask.due.as_ref().map(|due| &due.entry)
}

/// Returns the hints to give, and the places of those writes that are refused as stale.
async fn write_all(conn: &mut PgConnection, group: &[Ask]) -> Result<(Vec<Hint>, HashSet<usize>), Fault> {
    let changes: Vec<(usize, Timestamp, &Change)> = group
        .iter()
        .enumerate()
        .filter_map(|(place, ask)| match &ask.write {
            Write::Change(change) => Some((place, ask.now, change.as_ref())),
            Write::Create(_) | Write::Steps(_) => None,
        })
        .collect();
    let mut stale = refused(conn, &changes).await?;
    let kept: Vec<(usize, Timestamp, &Change)> =
        changes.into_iter().filter(|(place, ..)| !stale.contains(place)).collect();
    let mut hints = Vec::new();
    stale.extend(bulk::write_changes(conn, &kept, &mut hints).await?);
    let told: Vec<(usize, Timestamp, &RunSteps)> = group
        .iter()
        .enumerate()
        .filter_map(|(place, ask)| match &ask.write {
            Write::Steps(told) => Some((place, ask.now, told.as_ref())),
            Write::Create(_) | Write::Change(_) => None,
        })
        .collect();
    let (mut events, late) = bulk::write_steps(conn, &told).await?;
    stale.extend(late);
    for (place, now, change) in kept.into_iter().filter(|(place, ..)| !stale.contains(place)) {
        events.extend(change.events.iter().map(|event| (place, now, event.clone())));
        hints.extend(commit::hints(change));
    }
    // In the order in which they were asked for, so that a feed tells a run's steps before its end.
    events.sort_by_key(|told: &Told| told.0);
    feed::append(conn, &events, &mut hints).await?;
    let told = group.iter().enumerate().filter(|(place, _)| !stale.contains(place));
    let told: Vec<_> = told.filter_map(|(_, ask)| entry_of(ask)).collect();
    entries::insert(conn, &told).await?;
    Ok((hints, stale))
}

/// The places of changes whose stream is not the newest. The agents' rows are held.
async fn refused(
    conn: &mut PgConnection,
    changes: &[(usize, Timestamp, &Change)],
) -> Result<HashSet<usize>, Fault> {
    let guards: Vec<_> = changes.iter().filter_map(|(.., change)| change.guard).collect();
    let streams = bulk::hold_streams(conn, &guards).await?;
    let is_refused = |change: &Change| change.guard.is_some_and(|guard| !streams.contains(&guard));
    Ok(changes.iter().filter(|(.., change)| is_refused(change)).map(|(place, ..)| *place).collect())
}

// === impl Write ===

impl Write {
    /// About how many rows it writes.
    fn rows(&self) -> usize {
        match self {
            Self::Create(change) | Self::Change(change) => {
                let Change { jobs, intents, postings, new_jobs, new_intents, new_postings, events, .. } =
                    change.as_ref();
                jobs.len()
                    + intents.len()
                    + postings.len()
                    + new_jobs.len()
                    + new_intents.len()
                    + new_postings.len()
                    + events.len()
            }
            Self::Steps(told) => told.steps.len() * 2,
        }
    }

    /// Whether it writes rows that no statement writes for many: no caller of ours does.
    fn is_rare(&self) -> bool {
        match self {
            Self::Change(change) => !change.new_postings.is_empty(),
            Self::Create(_) | Self::Steps(_) => false,
        }
    }

    /// The rows that only one write of a group may touch.
    fn ids(&self) -> Vec<Uuid> {
        match self {
            Self::Create(change) | Self::Change(change) => {
                let Change { pacing, jobs, intents, postings, new_jobs, new_intents, new_postings, .. } =
                    change.as_ref();
                let accounts = pacing.iter().map(|pacing| pacing.account.0);
                let jobs = jobs.iter().chain(new_jobs).map(|job| job.id.0);
                let intents = intents.iter().chain(new_intents).map(|intent| intent.id.0);
                let postings = postings.iter().chain(new_postings).map(|posting| posting.id.0);
                accounts.chain(jobs).chain(intents).chain(postings).collect()
            }
            // Reports of one run that come twice at once: the second finds the first.
            Self::Steps(told) => vec![told.job.0],
        }
    }
}
