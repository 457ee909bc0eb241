//! Which agents are attached to this controller.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tradepost_domain::id::{AgentId, SessionEpoch};
use tradepost_proto::v1;

use super::convert;
use crate::service::run::Run;

/// Frames that may wait for an agent; one that reads more slowly is cut.
pub const OUTBOUND: usize = 256;
/// A dispatched run that the agent's beats do not name after this time takes no place any more.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// The attached agents; clones share them.
#[derive(Clone, Default)]
pub struct Sessions {
    live: Arc<Mutex<HashMap<AgentId, Session>>>,
    changed: Arc<Notify>,
}

/// One attached agent.
#[derive(Debug)]
pub struct Session {
    /// The stream's number.
    pub epoch: SessionEpoch,
    /// How many runs the agent takes at once.
    pub slots: u32,
    /// The way to it.
    pub link: Link,
    taken: HashMap<Run, Instant>,
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
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<AgentId, Session>) -> T) -> T {
        act(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a stream in; an older one of the same agent is ended.
    pub fn insert(&self, agent: AgentId, epoch: SessionEpoch, slots: u32, runs: Vec<Run>, link: Link) {
        let now = Instant::now();
        let taken = runs.into_iter().map(|run| (run, now)).collect();
        let older = self.with(|live| {
            if live.get(&agent).is_some_and(|present| present.epoch > epoch) {
                link.end();
                return None;
            }
            live.insert(agent, Session { epoch, slots, link, taken })
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

    /// The attached agents that can take runs, with how many.
    pub fn free(&self) -> Vec<(AgentId, SessionEpoch, u32)> {
        self.with(|live| {
            live.iter()
                .map(|(agent, session)| {
                    let taken = u32::try_from(session.taken.len()).unwrap_or(u32::MAX);
                    (*agent, session.epoch, session.slots.saturating_sub(taken))
                })
                .filter(|(_, _, free)| *free > 0)
                .collect()
        })
    }

    /// Sends a run's dispatch and counts its place as taken.
    pub fn dispatch(&self, agent: AgentId, run: Run, frame: v1::OpenResponse) -> Result<(), NotSent> {
        self.with(|live| {
            let session = live.get_mut(&agent).ok_or(NotSent::Detached)?;
            session.link.send(frame)?;
            session.taken.insert(run, Instant::now());
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
            }
        });
        self.changed.notify_one();
    }

    /// The agent's beat names these runs: the others take no place any more, unless their dispatch is under way.
    pub fn told(&self, agent: AgentId, runs: &[Run]) {
        let now = Instant::now();
        self.with(|live| {
            if let Some(session) = live.get_mut(&agent) {
                session
                    .taken
                    .retain(|run, since| runs.contains(run) || now.duration_since(*since) < UNDER_WAY);
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
        let all: Vec<Session> = self.with(|live| live.drain().map(|(_, session)| session).collect());
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

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("attached", &self.count()).finish_non_exhaustive()
    }
}
