//! The life of a job: one unit of work for one agent. Leases are in [`crate::lease`].
//!
//! ```text
//! Queued ─claim→ Leased ─acknowledge→ Running ─→ Succeeded | Failed | Cancelled | NeedsHuman | Uncertain
//!   ↑               │ withdraw       ↑   │ lease expired
//!   └───────────────┴──── Parked ────┴───┘        (agent back: Running with its run, Queued without)
//! ```
//!
//! Invariant I1: every event of a run carries the run lease; one that is not the job's present lease is rejected.
//! Invariant I7: each state that is not terminal has exactly one recovery rule, see [`State::recovery`].

use std::time::Duration;

use crate::failure::{Failure, FailureClass};
use crate::id::{AccountId, AgentId, IntentId, JobId, PostingId, RunLease, Version, WorkspaceId};
use crate::lease;
use crate::retry::{self, Verdict};
use crate::time::Timestamp;

pub use crate::lease::{ACKNOWLEDGE_WITHIN, LEASE, RUN_DEADLINE};

/// Priorities that people may give: from the lowest to the highest.
pub const PRIORITIES: std::ops::RangeInclusive<i32> = -100..=100;
/// The priority of `high`; `low` is as far below 0.
pub const HIGH: i32 = 50;
/// What a point of priority is worth: so much longer the job has waited, as it were. `high` is half a day ahead, and what
/// is low is overtaken for half a day and then no more.
pub const POINT: Duration = Duration::from_secs(15 * 60);

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Have the account signed in.
    Login,
    /// Publish one listing.
    Publish,
    /// Find out, without writing, what became of an uncertain publication.
    Reconcile,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its agent, its turn or its time.
    Queued,
    /// Claimed for dispatch; the agent has not acknowledged.
    Leased,
    /// The agent works on it.
    Running,
    /// Its agent went away; resumes when it is back.
    Parked,
    /// A person has to act.
    NeedsHuman,
    /// Its click was sent and its effect is not known; reconciliation decides.
    Uncertain,
    /// Done.
    Succeeded,
    /// Given up; a visible dead letter.
    Failed,
    /// Ended at a person's wish.
    Cancelled,
}

/// Which rule moves a job on when nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Dispatch, when its agent is attached.
    Dispatch,
    /// The lease sweep.
    LeaseSweep,
    /// The return of its agent.
    AgentReturn,
    /// A person.
    Person,
    /// The schedule of reconciliation looks.
    Reconciliation,
}

/// One job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// What it does.
    pub kind: Kind,
    /// The only agent that may do it.
    pub agent: AgentId,
    /// The account it acts for.
    pub account: AccountId,
    /// The posting it serves.
    pub posting: Option<PostingId>,
    /// The intent it serves.
    pub intent: Option<IntentId>,
    /// Where it stands.
    pub state: State,
    /// Higher goes first.
    pub priority: i32,
    /// Runs so far.
    pub attempt: u32,
    /// The newest run's lease; kept after the run's end.
    pub run_lease: Option<RunLease>,
    /// When the lease ends without a heartbeat (Leased: without an acknowledgement).
    pub lease_until: Option<Timestamp>,
    /// When the newest run began.
    pub run_started_at: Option<Timestamp>,
    /// Not before this time.
    pub run_after: Timestamp,
    /// A person wishes its end; the agent is told.
    pub cancel_requested: bool,
    /// Why the last run did not succeed.
    pub failure: Option<Failure>,
    /// When a person put this dead letter aside; it is kept, but no longer listed as one.
    pub discarded_at: Option<Timestamp>,
    /// W3C trace context of the request that caused it.
    pub trace_context: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed its state.
    pub updated_at: Timestamp,
    /// Etag.
    pub version: Version,
}

/// What happens to a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A controller takes it for dispatch.
    Claim {
        /// The new run's number, greater than any before.
        run_lease: RunLease,
    },
    /// The agent accepts it; or it is back from longer than a lease away and works on it still.
    Acknowledge(RunLease),
    /// The agent does not accept it now.
    Refuse(RunLease),
    /// The agent still works on it.
    Heartbeat(RunLease),
    /// Its work is done.
    Succeed(RunLease),
    /// The run failed. `jitter` is uniform in `0.0..1.0`.
    Fail {
        /// The run.
        run_lease: RunLease,
        /// Why.
        failure: Failure,
        /// For the retry delay.
        jitter: f64,
    },
    /// The lease's end has passed without a heartbeat.
    LeaseExpired,
    /// Its agent has a stream again and does not know this run.
    AgentBack,
    /// A person asks to end it.
    RequestCancel,
    /// A person has done what was needed; go on.
    Resume,
    /// The publication's fate is not known.
    BecomeUncertain,
    /// The fate became known: published.
    SettlePublished,
    /// The fate became known: not published; the job ends as a dead letter that says so.
    SettleNotPublished(Failure),
    /// The fate cannot be found out by looking: a person decides.
    AskPerson(Failure),
    /// A person gives it another priority.
    Prioritize(i32),
    /// A person puts a dead letter aside.
    Discard,
}

/// Why an event changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The event is of an older run.
    #[error("the run is no longer the job's current one")]
    StaleLease,
    /// The state does not allow it.
    #[error("a job in state {0:?} does not allow this")]
    State(State),
    /// The lease has not ended.
    #[error("the lease has not ended yet")]
    NotYet,
}

impl Kind {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Publish => "publish",
            Self::Reconcile => "reconcile",
        }
    }

    /// How far jobs of this kind go ahead of publications on the same account: a person sits in front of a sign-in, and
    /// finding out what became of a click goes before new clicks.
    fn head_start(self) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        match self {
            Self::Login => DAY.saturating_mul(120),
            Self::Reconcile => DAY.saturating_mul(60),
            Self::Publish => Duration::ZERO,
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Login, Self::Publish, Self::Reconcile].into_iter().find(|kind| kind.name() == name)
    }
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Leased,
        Self::Running,
        Self::Parked,
        Self::NeedsHuman,
        Self::Uncertain,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The stable name, e.g. `needs_human`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::NeedsHuman => "needs_human",
            Self::Uncertain => "uncertain",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The one rule that moves a job in this state on; none for terminal states (I7).
    pub fn recovery(self) -> Option<Recovery> {
        match self {
            Self::Queued => Some(Recovery::Dispatch),
            Self::Leased | Self::Running => Some(Recovery::LeaseSweep),
            Self::Parked => Some(Recovery::AgentReturn),
            Self::NeedsHuman => Some(Recovery::Person),
            Self::Uncertain => Some(Recovery::Reconciliation),
            Self::Succeeded | Self::Failed | Self::Cancelled => None,
        }
    }

    /// Whether nothing can change any more.
    pub fn is_terminal(self) -> bool {
        self.recovery().is_none()
    }
}

/// The place of a job among those of its account: the earliest goes first.
///
/// The rule of ageing: a point of priority counts as [`POINT`] of waiting. A job of lower priority is overtaken by those of
/// higher priority that come within the difference, and by none that come later; so nothing waits for ever.
pub fn turn(kind: Kind, priority: i32, created_at: Timestamp) -> Timestamp {
    let ahead = created_at - kind.head_start();
    let worth = POINT.saturating_mul(priority.unsigned_abs());
    if priority < 0 { ahead + worth } else { ahead - worth }
}

impl Job {
    /// Its place among the jobs of its account; see [`turn`].
    pub fn turn(&self) -> Timestamp {
        turn(self.kind, self.priority, self.created_at)
    }

    fn holds(&self, lease: RunLease) -> Result<(), Rejected> {
        if self.run_lease == Some(lease) { Ok(()) } else { Err(Rejected::StaleLease) }
    }

    fn becomes(&self, state: State, now: Timestamp) -> Self {
        let lease_until =
            if matches!(state, State::Leased | State::Running) { self.lease_until } else { None };
        Self { state, lease_until, updated_at: now, ..self.clone() }
    }

    fn queued_again(&self, after: Duration, now: Timestamp) -> Self {
        if self.cancel_requested {
            return self.becomes(State::Cancelled, now);
        }
        Self { run_after: now + after, ..self.becomes(State::Queued, now) }
    }
}

/// Decides what `event` makes of `job`. The version is left as it is: the store counts it.
pub fn step(job: &Job, event: Event, now: Timestamp) -> Result<Job, Rejected> {
    let refused = Err(Rejected::State(job.state));
    match event {
        Event::Claim { run_lease } => match job.state {
            State::Queued if job.run_lease.is_some_and(|older| older >= run_lease) => {
                Err(Rejected::StaleLease)
            }
            State::Queued => Ok(Job {
                run_lease: Some(run_lease),
                lease_until: Some(lease::claimed(now)),
                run_started_at: Some(now),
                attempt: job.attempt + 1,
                ..job.becomes(State::Leased, now)
            }),
            _ => refused,
        },
        Event::Acknowledge(lease) => {
            job.holds(lease)?;
            match job.state {
                State::Parked if job.cancel_requested => refused,
                State::Leased | State::Parked => {
                    Ok(Job { lease_until: Some(lease::heard(now)), ..job.becomes(State::Running, now) })
                }
                State::Running => Ok(job.clone()),
                _ => refused,
            }
        }
        Event::Refuse(lease) => {
            job.holds(lease)?;
            match job.state {
                State::Leased => Ok(Job {
                    attempt: job.attempt.saturating_sub(1),
                    ..job.queued_again(ACKNOWLEDGE_WITHIN, now)
                }),
                _ => refused,
            }
        }
        Event::Heartbeat(lease) => {
            job.holds(lease)?;
            match job.state {
                State::Running => Ok(Job { lease_until: Some(lease::heard(now)), ..job.clone() }),
                _ => refused,
            }
        }
        Event::LeaseExpired => match job.state {
            State::Leased | State::Running if !lease::is_over(job.lease_until, now) => Err(Rejected::NotYet),
            State::Leased | State::Running if job.cancel_requested => Ok(job.becomes(State::Cancelled, now)),
            State::Leased | State::Running => Ok(job.becomes(State::Parked, now)),
            _ => refused,
        },
        Event::AgentBack => match job.state {
            // A run that its own agent does not know is over, whatever its lease says.
            State::Leased | State::Running | State::Parked => Ok(job.queued_again(Duration::ZERO, now)),
            _ => refused,
        },
        other => finish(job, other, now),
    }
}

/// Puts an uncertain job back into the queue, once it is proven that its click was never sent.
pub fn requeue_after_proof(job: &Job, now: Timestamp) -> Job {
    Job { failure: None, ..job.queued_again(Duration::ZERO, now) }
}

/// The events that end a run, or that people and reconciliation bring.
fn finish(job: &Job, event: Event, now: Timestamp) -> Result<Job, Rejected> {
    let refused = Err(Rejected::State(job.state));
    match event {
        Event::Succeed(lease) => {
            job.holds(lease)?;
            match job.state {
                State::Leased | State::Running | State::Parked => {
                    Ok(Job { failure: None, ..job.becomes(State::Succeeded, now) })
                }
                _ => refused,
            }
        }
        Event::Fail { run_lease, failure, jitter } => {
            job.holds(run_lease)?;
            if !matches!(job.state, State::Leased | State::Running | State::Parked) {
                return refused;
            }
            let verdict = retry::decide(failure.class, job.attempt, jitter);
            let cancelled = failure.class == FailureClass::Cancelled || job.cancel_requested;
            // A run that pacing stopped is no try: nothing was wrong.
            let stopped = u32::from(failure.class == FailureClass::NotYet);
            let attempt = job.attempt.saturating_sub(stopped);
            let failed = Job { failure: Some(failure), attempt, ..job.clone() };
            Ok(match verdict {
                Verdict::Reconcile => failed.becomes(State::Uncertain, now),
                _ if cancelled => failed.becomes(State::Cancelled, now),
                Verdict::RetryAfter(delay) => failed.queued_again(delay, now),
                Verdict::AskPerson => failed.becomes(State::NeedsHuman, now),
                Verdict::GiveUp => failed.becomes(State::Failed, now),
            })
        }
        Event::RequestCancel => match job.state {
            State::Queued | State::Parked | State::NeedsHuman => {
                Ok(Job { cancel_requested: true, ..job.becomes(State::Cancelled, now) })
            }
            State::Leased | State::Running => Ok(Job { cancel_requested: true, ..job.clone() }),
            _ => refused,
        },
        Event::Resume => match job.state {
            // A fresh start for the retries as well: a person has removed the cause.
            State::NeedsHuman | State::Failed => Ok(Job {
                attempt: 0,
                failure: None,
                discarded_at: None,
                ..job.queued_again(Duration::ZERO, now)
            }),
            _ => refused,
        },
        Event::BecomeUncertain if !job.state.is_terminal() => Ok(job.becomes(State::Uncertain, now)),
        Event::SettlePublished if !matches!(job.state, State::Succeeded) => {
            Ok(Job { failure: None, ..job.becomes(State::Succeeded, now) })
        }
        Event::SettleNotPublished(failure) if !matches!(job.state, State::Succeeded) => {
            Ok(Job { failure: Some(failure), ..job.becomes(State::Failed, now) })
        }
        Event::AskPerson(failure) if !job.state.is_terminal() => {
            Ok(Job { failure: Some(failure), ..job.becomes(State::NeedsHuman, now) })
        }
        Event::Prioritize(priority) if !job.state.is_terminal() => Ok(Job { priority, ..job.clone() }),
        Event::Discard if job.state == State::Failed => {
            Ok(Job { discarded_at: job.discarded_at.or(Some(now)), ..job.clone() })
        }
        _ => refused,
    }
}

#[cfg(test)]
mod tests;
