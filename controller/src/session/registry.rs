//! Which agents are attached to this controller.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tradepost_domain::fair;
use tradepost_domain::id::{AgentId, SessionEpoch, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_proto::v1;
use tradepost_runtime::clock::SharedClock;

use super::convert;
use crate::service::run::Run;

/// Frames that may wait for an agent; one that reads more slowly is cut.
pub const OUTBOUND: usize = 256;
/// A dispatched run that the agent's beats do not name after this time takes no place any more.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// Without a hint, jobs that became ready are looked for this often.
const SWEEP: Duration = Duration::from_millis(800);

/// The attached agents; clones share them.
///
/// Whose turn it is next is remembered here only: it makes the order fair, and decides about nothing else.
#[derive(Clone)]
pub struct Sessions {
    live: Arc<Mutex<BTreeMap<AgentId, Session>>>,
    /// When all were looked at last; none: they are due.
    swept: Arc<Mutex<Option<Timestamp>>>,
    turns: Arc<Mutex<Turns>>,
    changed: Arc<Notify>,
    clock: SharedClock,
}

/// Who was served when, as growing numbers.
#[derive(Debug, Default)]
struct Turns {
    newest: u64,
    workspaces: BTreeMap<WorkspaceId, u64>,
}

/// One attached agent.
#[derive(Debug)]
pub struct Session {
    /// Whose agent it is.
    pub workspace: WorkspaceId,
    /// The stream's number.
    pub epoch: SessionEpoch,
    /// How many runs the agent takes at once.
    pub slots: u32,
    /// The way to it.
    pub link: Link,
    taken: BTreeMap<Run, Timestamp>,
    /// Something happened since its jobs were last claimed.
    due: bool,
    served: u64,
}

/// The way to the other end of a stream.
#[derive(Debug, Clone)]
pub struct Link {
    frames: mpsc::Sender<Result<v1::OpenResponse, tonic::Status>>,
    end: CancellationToken,
}

/// Why a frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// The agent is not attached here, or by another stream.
    Detached,
    /// It reads too slowly, and its stream is being ended.
    Slow,
}

// === impl Link ===

impl Link {
    /// A link whose frames go to `frames`; cancelling `end` ends the stream.
    pub fn new(
        frames: mpsc::Sender<Result<v1::OpenResponse, tonic::Status>>,
        end: CancellationToken,
    ) -> Self {
        Self { frames, end }
    }

    /// Sends a frame without waiting; a full queue ends the stream.
    pub fn send(&self, frame: v1::OpenResponse) -> Result<(), NotSent> {
        self.frames.try_send(Ok(frame)).map_err(|error| {
            self.end.cancel();
            match error {
                mpsc::error::TrySendError::Full(_) => NotSent::Slow,
                mpsc::error::TrySendError::Closed(_) => NotSent::Detached,
            }
        })
    }

    /// Sends a frame whose loss the next beat or greeting mends; a failure has ended the stream already.
    pub fn tell(&self, frame: v1::OpenResponse) {
        if let Err(reason) = self.send(frame) {
            tracing::debug!(?reason, "a frame was not sent");
        }
    }

    /// Ends the stream; frames that wait are still sent.
    pub fn end(&self) {
        self.end.cancel();
    }
}

// === impl Sessions ===

impl Sessions {
    /// Nobody is attached yet.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            live: Arc::default(),
            swept: Arc::default(),
            turns: Arc::default(),
            changed: Arc::default(),
            clock,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<AgentId, Session>) -> T) -> T {
        act(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a stream in; an older one of the same agent is ended.
    pub fn insert(
        &self,
        agent: AgentId,
        workspace: WorkspaceId,
        epoch: SessionEpoch,
        slots: u32,
        runs: Vec<Run>,
        link: Link,
    ) {
        let now = self.clock.now();
        let taken = runs.into_iter().map(|run| (run, now)).collect();
        let older = self.with(|live| {
            if live.get(&agent).is_some_and(|present| present.epoch > epoch) {
                link.end();
                return None;
            }
            live.insert(agent, Session { workspace, epoch, slots, link, taken, due: true, served: 0 })
        });
        if let Some(older) = older {
            older.link.tell(convert::go_away(Duration::from_secs(1), "a newer stream of this agent began"));
            older.link.end();
        }
        self.changed.notify_one();
    }

    /// Takes a stream out, unless a newer one is there.
    pub fn remove(&self, agent: AgentId, epoch: SessionEpoch) {
        self.with(|live| {
            if live.get(&agent).is_some_and(|present| present.epoch == epoch) {
                live.remove(&agent);
            }
        });
    }

    /// How many agents are attached here.
    pub fn count(&self) -> usize {
        self.with(|live| live.len())
    }

    /// Whether the agent is attached here.
    pub fn holds(&self, agent: AgentId) -> bool {
        self.with(|live| live.contains_key(&agent))
    }

    /// The attached agents with their streams.
    pub fn attached(&self) -> Vec<(AgentId, SessionEpoch)> {
        self.with(|live| live.iter().map(|(agent, session)| (*agent, session.epoch)).collect())
    }

    /// Something happened to these agents' jobs. Whether one of them is attached here.
    pub fn wake(&self, agents: &[AgentId]) -> bool {
        self.with(|live| {
            let mut any = false;
            for agent in agents {
                if let Some(session) = live.get_mut(agent) {
                    session.due = true;
                    any = true;
                }
            }
            any
        })
    }

    /// Hints may have been lost: every agent is due.
    pub fn wake_all(&self) {
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The attached agents that can take runs, with how many: those to whom something happened since they were last
    /// returned, and once in [`SWEEP`] all of them. Workspaces take turns, the one that was served least recently first.
    pub fn due(&self) -> Vec<(AgentId, SessionEpoch, u32)> {
        let all = self.is_sweep_due();
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting: Vec<_> = self.with(|live| {
            live.iter_mut()
                .filter_map(|(agent, session)| {
                    let due = std::mem::take(&mut session.due) || all;
                    let taken = u32::try_from(session.taken.len()).unwrap_or(u32::MAX);
                    let free = session.slots.saturating_sub(taken);
                    (due && free > 0).then_some(fair::Waiting {
                        group: session.workspace,
                        group_served: turns.workspaces.get(&session.workspace).copied().unwrap_or(0),
                        served: session.served,
                        who: (*agent, session.epoch, free),
                    })
                })
                .collect()
        });
        drop(turns);
        fair::order(waiting)
    }

    fn is_sweep_due(&self) -> bool {
        let now = self.clock.now();
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let due = swept.is_none_or(|at| !is_within(SWEEP, at, now));
        if due {
            *swept = Some(now);
        }
        due
    }

    /// Sends a run's dispatch and counts its place as taken.
    pub fn dispatch(&self, agent: AgentId, run: Run, frame: v1::OpenResponse) -> Result<(), NotSent> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(|live| {
            let session = live.get_mut(&agent).ok_or(NotSent::Detached)?;
            session.link.send(frame)?;
            session.taken.insert(run, self.clock.now());
            turns.newest += 1;
            session.served = turns.newest;
            let newest = turns.newest;
            turns.workspaces.insert(session.workspace, newest);
            Ok(())
        })
    }

    /// Sends a frame.
    pub fn send(&self, agent: AgentId, frame: v1::OpenResponse) -> Result<(), NotSent> {
        self.with(|live| live.get(&agent).ok_or(NotSent::Detached)?.link.send(frame))
    }

    /// The run takes no place any more.
    pub fn release(&self, agent: AgentId, run: Run) {
        self.with(|live| {
            if let Some(session) = live.get_mut(&agent) {
                session.taken.remove(&run);
                session.due = true;
            }
        });
        self.changed.notify_one();
    }

    /// The agent's beat names these runs: the others take no place any more, unless their dispatch is under way.
    pub fn told(&self, agent: AgentId, runs: &[Run]) {
        let now = self.clock.now();
        self.with(|live| {
            if let Some(session) = live.get_mut(&agent) {
                session.taken.retain(|run, since| runs.contains(run) || is_within(UNDER_WAY, *since, now));
                for run in runs {
                    session.taken.entry(*run).or_insert(now);
                }
            }
        });
    }

    /// Ends the stream of an agent, telling it why.
    pub fn cut(&self, agent: AgentId, reason: &str) {
        let session = self.with(|live| live.remove(&agent));
        if let Some(session) = session {
            session.link.tell(convert::go_away(Duration::from_secs(1), reason));
            session.link.end();
        }
    }

    /// Tells every agent that the authority has changed; who does not hear it learns it from its next Welcome.
    pub fn tell_trust(&self, digest: &str, spread: Duration) {
        self.with(|live| {
            for session in live.values() {
                session.link.tell(convert::trust(digest, spread));
            }
        });
    }

    /// Sends every agent away; `delay` draws the time after which each comes back.
    pub fn drain(&self, delay: impl Fn() -> Duration) {
        let all = self.with(std::mem::take);
        let all: Vec<Session> = all.into_values().collect();
        for session in all {
            session.link.tell(convert::go_away(delay(), "the controller is shutting down"));
            session.link.end();
        }
    }

    /// Waits until an agent attached or a place became free.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// A clock that was set back by more than the span ends it as well: a place is free rather too early than too late.
fn is_within(span: Duration, since: Timestamp, now: Timestamp) -> bool {
    now.since(since).max(since.since(now)) < span
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("attached", &self.count()).finish_non_exhaustive()
    }
}
