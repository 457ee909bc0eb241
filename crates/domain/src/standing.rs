//! Whether an agent may come in, and whether it is the only holder of its identity.
//!
//! An agent's certificate is short-lived; what binds it to the system is its key. Here is decided what the key's holder gets:
//!
//! - **Join counter.** The agent counts every try to attach, durably and before it is sent, so of one data directory the
//!   counter only grows: a lost answer, a crash between writing and sending, and a controller restored from an older backup
//!   all leave gaps, never repeats. A copy of the directory goes on from the same number, so sooner or later one of the two
//!   shows a number that was shown already. A single such number may be a frame of a process that died meanwhile and is
//!   only marked; when the *same process* comes again, it is alive, and there are two ([`Join::Clone`]).
//! - **Absence.** A key that was not heard of for longer than the installation allows is a person's to approve.

use std::time::Duration;

use crate::agent::Agent;
use crate::id::BootId;
use crate::time::Timestamp;

/// Life of an agent's certificate.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// An agent away for longer needs a person's approval, unless configured otherwise.
pub const MAX_OFFLINE: Duration = Duration::from_secs(90 * 24 * 3600);
/// The name of TLS under which agents reach the enrolment service, at the api listener's address: the server then shows a
/// certificate of the controller's own authority, whatever it shows to others. In no DNS.
pub const ENROLMENT_NAME: &str = "enrolment.tradepost.internal";
/// What the one name of a request for a certificate begins with that answers a challenge.
pub const RETURN_URI: &str = "tradepost:return:";
/// A challenge must be answered within this time.
pub const CHALLENGE_LIFE: Duration = Duration::from_secs(120);
/// Certificates are renewed at this part of their life, plus up to [`RENEW_SPREAD`] of it.
pub const RENEW_FROM: f64 = 0.4;
/// See [`RENEW_FROM`]: half of the life, give or take a tenth.
pub const RENEW_SPREAD: f64 = 0.2;

/// What the controller keeps of an agent's identity beside its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The greatest join counter that was accepted; 0 before the first.
    pub join_counter: i64,
    /// The process that showed it.
    pub join_boot: Option<BootId>,
    /// A process that showed a counter that was shown before.
    pub suspect: Option<BootId>,
    /// Refused until a person approves.
    pub locked: Option<Locked>,
    /// When a person approved it last.
    pub approved_at: Option<Timestamp>,
    /// When the newest challenge that it answered was made.
    pub challenge_at: Option<Timestamp>,
}

/// Why and since when an agent waits for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locked {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub why: LockReason,
}

/// Why an agent waits for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockReason {
    /// Two processes show one identity.
    Cloned,
    /// It was away for too long.
    Away,
}

/// What a join counter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// It is new: keep it.
    Accept,
    /// An old frame of the process that joined last: refuse it, nothing else.
    Late,
    /// It was shown before, by another process: refuse it and remember the process.
    Suspect,
    /// The remembered process lives: there are two holders of the identity.
    Clone,
}

/// Why an agent is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// For good.
    Revoked,
    /// Until a person approves.
    NeedsApproval(LockReason),
}

/// Decides on the `counter` that process `boot` shows.
pub fn join(standing: &Standing, boot: BootId, counter: i64) -> Join {
    if standing.suspect == Some(boot) {
        return Join::Clone;
    }
    // Agents of before join counters send none.
    if counter > standing.join_counter || (counter == 0 && standing.join_counter == 0) {
        return Join::Accept;
    }
    if standing.join_boot == Some(boot) { Join::Late } else { Join::Suspect }
}

/// Whether the agent may do anything.
pub fn refusal(agent: &Agent) -> Option<Refusal> {
    if agent.revoked_at.is_some() {
        return Some(Refusal::Revoked);
    }
    agent.standing.locked.map(|locked| Refusal::NeedsApproval(locked.why))
}

/// How long nothing was heard of the agent at `now`; an approval counts as a sign of life.
pub fn away(agent: &Agent, now: Timestamp) -> Duration {
    let heard = [Some(agent.created_at), agent.last_seen_at, agent.standing.approved_at];
    now.since(heard.into_iter().flatten().max().unwrap_or(agent.created_at))
}

impl LockReason {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cloned => "cloned",
            Self::Away => "away",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Cloned, Self::Away].into_iter().find(|reason| reason.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn boot(n: u128) -> BootId {
        BootId(Uuid::from_u128(n))
    }

    /// What the controller does with a decision.
    fn apply(standing: &mut Standing, boot: BootId, counter: i64) -> Join {
        let decided = join(standing, boot, counter);
        match decided {
            Join::Accept => {
                standing.join_counter = counter;
                standing.join_boot = Some(boot);
            }
            Join::Suspect => standing.suspect = Some(boot),
            Join::Late | Join::Clone => {}
        }
        decided
    }

    /// A data directory and the process on it.
    #[derive(Clone)]
    struct Directory {
        counter: i64,
        boot: u128,
    }

    impl Directory {
        fn shows(&mut self) -> (BootId, i64) {
            self.counter += 1;
            (boot(self.boot), self.counter)
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Happens {
        /// A try that arrives; the answer may be lost, which changes nothing here.
        Attach,
        /// The counter was written and the process died, or the frame was lost.
        Lost,
        /// A frame of this try arrives only later.
        Delayed,
        Restart,
        /// The controller is restored from an older backup.
        Restore,
    }

    proptest! {
        /// One directory, whatever is lost, delayed, restarted or restored, is never taken for two.
        #[test]
        fn one_directory_is_never_a_clone(history in proptest::collection::vec(
            prop_oneof![Just(Happens::Attach), Just(Happens::Lost), Just(Happens::Delayed), Just(Happens::Restart),
                Just(Happens::Restore)], 1..60))
        {
            let mut standing = Standing::default();
            let mut backup = standing.clone();
            let mut directory = Directory { counter: 0, boot: 1 };
            let mut late = Vec::new();
            for event in history {
                match event {
                    Happens::Attach => {
                        let (boot, counter) = directory.shows();
                        let decided = apply(&mut standing, boot, counter);
                        prop_assert_eq!(decided, Join::Accept);
                        // What was on its way arrives after it: once each, then its connection is gone.
                        for (boot, counter) in late.drain(..) {
                            let decided = apply(&mut standing, boot, counter);
                            prop_assert!(matches!(decided, Join::Late | Join::Suspect), "{:?}", decided);
                        }
                    }
                    Happens::Lost => drop(directory.shows()),
                    // One connection of an agent may be dying while it tries the next.
                    Happens::Delayed if late.is_empty() => late.push(directory.shows()),
                    Happens::Delayed => {}
                    Happens::Restart => directory.boot += 1,
                    Happens::Restore => std::mem::swap(&mut standing, &mut backup),
                }
            }
        }

        /// Two copies that both go on attaching are found, whoever begins and however they take turns.
        #[test]
        fn a_copy_is_found(before in 0_u8..5, turns in proptest::collection::vec(any::<bool>(), 0..20)) {
            let mut standing = Standing::default();
            let mut original = Directory { counter: 0, boot: 1 };
            for _ in 0..before {
                let (boot, counter) = original.shows();
                apply(&mut standing, boot, counter);
            }
            let mut copy = Directory { boot: 1_000, ..original.clone() };
            // However it begins, in the end both try again and again.
            let rest = [true, false].into_iter().cycle().take(40 + 2 * turns.len());
            let found = turns.iter().copied().chain(rest).any(|first| {
                let (boot, counter) = if first { original.shows() } else { copy.shows() };
                apply(&mut standing, boot, counter) == Join::Clone
            });
            prop_assert!(found);
        }
    }

    #[test]
    fn agents_of_before_join_counters_are_let_in_until_they_count() {
        let mut standing = Standing::default();
        assert_eq!(apply(&mut standing, boot(1), 0), Join::Accept);
        assert_eq!(apply(&mut standing, boot(2), 0), Join::Accept);
        assert_eq!(apply(&mut standing, boot(3), 1), Join::Accept);
        assert_eq!(apply(&mut standing, boot(4), 0), Join::Suspect);
    }
}
