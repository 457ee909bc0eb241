//! How long a run may go on without a word: leases, acknowledgements, and which runs are still wanted.
//!
//! A lease is a span on the clock of the database alone; the agent counts its own silence on its own clock (I8: no
//! decision compares the clocks of two machines). Invariant I1: a run that is not its job's present one is not wanted and
//! changes nothing.

use std::time::Duration;

use crate::id::RunLease;
use crate::job::{Job, State};
use crate::time::Timestamp;

/// How long a lease lasts without a heartbeat: six heartbeats of 5 s.
pub const LEASE: Duration = Duration::from_secs(30);
/// Within this time an agent must acknowledge a dispatch.
pub const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(5);
/// Longest duration of one run.
pub const RUN_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// What an agent should do about a run that it tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Keep,
    /// End it without a click and without a report.
    Forget,
}

/// Until when a dispatch that was claimed at `now` may stay without an acknowledgement.
pub fn claimed(now: Timestamp) -> Timestamp {
    now + ACKNOWLEDGE_WITHIN
}

/// Until when a run that was heard of at `now` is believed to live.
pub fn heard(now: Timestamp) -> Timestamp {
    now + LEASE
}

/// Whether a lease has ended. A run without an end is over: the sweep must never pass it by (I7).
pub fn is_over(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_none_or(|until| until <= now)
}

/// Whether the run with this lease is to go on. A run whose click may have been sent is kept: it is the best witness of
/// what became of it.
pub fn verdict(job: &Job, lease: RunLease) -> Verdict {
    let present = job.run_lease == Some(lease);
    if present && matches!(job.state, State::Leased | State::Running | State::Uncertain) {
        Verdict::Keep
    } else {
        Verdict::Forget
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_lease_ends_at_its_time_and_not_before(at in 0_i64..1_000_000, later in 0_u64..60_000_000) {
            let begun = Timestamp::from_micros(at);
            let now = begun + Duration::from_micros(later);
            prop_assert_eq!(is_over(Some(heard(begun)), now), Duration::from_micros(later) >= LEASE);
            prop_assert_eq!(is_over(Some(claimed(begun)), now), Duration::from_micros(later) >= ACKNOWLEDGE_WITHIN);
            prop_assert!(is_over(None, now));
        }
    }
}
