//! The lives of the database, and how a restored backup is recognised.
//!
//! A backup forgets: permits that were given, clicks that were sent, numbers that were given out. Invariant I9: what was
//! forgotten must not lead to a second click, and no number is given twice. Each restored backup therefore begins a new
//! **fleet epoch**, and run leases and stream numbers of an epoch begin at `epoch * 2^40`.
//!
//! A restore is told by the command that does it, or is recognised: a controller remembers beside its identity how far the
//! database had come ([`Fleet::is_older_than`]), and each agent tells in its greeting what it knows ([`Knowledge::exceeds`]).
//! No decision compares clocks (I8): only numbers that one database gave out are compared.

use serde::{Deserialize, Serialize};

use crate::id::{DatabaseId, PermitId, RunLease, SessionEpoch};
use crate::publish;

/// Bits of a run lease or stream number below the fleet epoch: a trillion claims in each life.
const NUMBER_BITS: u32 = 40;
/// An agent cannot be ahead by more lives than this. Bounds what a hostile agent can use up.
pub const AHEAD_MAX: i64 = 1_000;
/// Permits that a greeting names: the newest ones.
pub const PERMITS_TOLD: usize = 32;

/// The number of a life of the database, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FleetEpoch(pub i64);

/// How far a database has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Which database, in every copy of it.
    pub database: DatabaseId,
    /// Its present life.
    pub epoch: FleetEpoch,
    /// The newest run lease given out.
    pub run_lease: RunLease,
    /// Events appended to all feeds so far: grows with every change that people see.
    pub events: i64,
}

/// What an agent knows from its own journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knowledge {
    /// The newest life it was told of.
    pub fleet_epoch: FleetEpoch,
    /// The newest stream number it was given.
    pub session_epoch: SessionEpoch,
    /// The newest run lease it was given.
    pub run_lease: RunLease,
    /// Its newest permits, at most [`PERMITS_TOLD`].
    pub permits: Vec<KnownPermit>,
    /// Every permit of runs from this lease on is in its journal; what is not there was never given to it.
    pub whole_since: RunLease,
}

/// A permit in an agent's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPermit {
    /// Which.
    pub permit: PermitId,
    /// The run it was given to.
    pub run_lease: RunLease,
    /// The controller has taken the word that the click was confirmed, or not sent.
    pub decided: bool,
}

impl FleetEpoch {
    /// Where the numbers of this life begin.
    pub fn first_number(self) -> i64 {
        self.0 << NUMBER_BITS
    }

    /// The life that gave out a number.
    pub fn of(number: i64) -> Self {
        Self(number >> NUMBER_BITS)
    }

    /// The life that follows this one and `other`.
    #[must_use]
    pub fn after(self, other: Self) -> Self {
        Self(self.max(other).0 + 1)
    }
}

impl Fleet {
    /// Whether the database has come less far than was seen of it before. Only the same life can be compared by its
    /// counters: a later one has begun anew.
    pub fn is_older_than(&self, seen: &Self) -> bool {
        let behind = self.run_lease < seen.run_lease || self.events < seen.events;
        self.database == seen.database && (self.epoch < seen.epoch || self.epoch == seen.epoch && behind)
    }
}

impl Knowledge {
    /// Of an agent whose version does not tell: it vouches for nothing.
    pub fn none() -> Self {
        Self { whole_since: RunLease(i64::MAX), ..Self::fresh() }
    }

    /// Of an agent that has done nothing yet.
    pub fn fresh() -> Self {
        Self {
            fleet_epoch: FleetEpoch(0),
            session_epoch: SessionEpoch(0),
            run_lease: RunLease(0),
            permits: Vec::new(),
            whole_since: RunLease(0),
        }
    }

    /// The newest life that any of its numbers is of.
    pub fn newest_epoch(&self) -> FleetEpoch {
        let numbers = [self.run_lease.0, self.session_epoch.0].map(FleetEpoch::of);
        numbers.into_iter().fold(self.fleet_epoch, FleetEpoch::max)
    }

    /// Whether its numbers can come from the same installation as a database in `epoch`.
    pub fn is_plausible(&self, epoch: FleetEpoch) -> bool {
        let negative = self.fleet_epoch.0 < 0 || self.session_epoch.0 < 0 || self.run_lease.0 < 0;
        !negative && self.newest_epoch().0 - epoch.0 <= AHEAD_MAX
    }

    /// Whether it holds something that a database has forgotten which is in `epoch`, gave out `run_lease` as its newest and
    /// `given` as this agent's newest stream. Permits of lives before `since` were recounted, see [`Self::unvouched_since`].
    /// `stored` says how the intent of a permit stands; none when no intent has it.
    pub fn exceeds(
        &self,
        epoch: FleetEpoch,
        run_lease: RunLease,
        given: SessionEpoch,
        since: FleetEpoch,
        stored: impl Fn(PermitId) -> Option<publish::State>,
    ) -> bool {
        let mut present = self.permits.iter().filter(|permit| FleetEpoch::of(permit.run_lease.0) >= since);
        self.fleet_epoch > epoch
            || self.run_lease > run_lease
            || self.session_epoch > given
            || present.any(|permit| match stored(permit.permit) {
                None => true,
                Some(state) => permit.decided && state.holds_account(),
            })
    }

    /// From which life on its permits are compared with a database in `epoch`. Who owes a recount tells of all earlier ones
    /// anyway. Everybody else was told of a life and recounted for it if it concerned them; a newer one may have begun for
    /// another agent alone, and says nothing about this one's permits.
    pub fn unvouched_since(&self, epoch: FleetEpoch, owes_recount: bool) -> FleetEpoch {
        if owes_recount { epoch } else { self.fleet_epoch.min(epoch) }
    }

    /// Whether silence about a publication proves that this agent did not click: every permit that may have been given
    /// after a backup, whose newest run was `known_lease`, would be in its journal.
    pub fn vouches_since(&self, known_lease: RunLease) -> bool {
        self.whole_since.0 <= known_lease.0.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn fleet(epoch: i64, lease: i64, events: i64) -> Fleet {
        let database = DatabaseId(Uuid::from_u128(1));
        Fleet { database, epoch: FleetEpoch(epoch), run_lease: RunLease(lease), events }
    }

    #[test]
    fn an_older_copy_is_recognised_and_another_database_or_a_later_life_is_not() {
        let seen = fleet(1, 50, 900);
        assert!(fleet(0, 9_999, 9_999).is_older_than(&seen));
        assert!(fleet(1, 49, 901).is_older_than(&seen) && fleet(1, 50, 899).is_older_than(&seen));
        assert!(!seen.is_older_than(&seen) && !fleet(1, 51, 901).is_older_than(&seen));
        assert!(!fleet(2, 3, 3).is_older_than(&seen), "restored, and a new life has begun");
        let other = Fleet { database: DatabaseId(Uuid::from_u128(2)), ..fleet(0, 0, 0) };
        assert!(!other.is_older_than(&seen));
    }

    #[test]
    fn what_an_agent_knows_shows_that_the_database_is_older() {
        let permit = PermitId(Uuid::from_u128(7));
        let known = |decided| Knowledge {
            run_lease: RunLease(5),
            session_epoch: SessionEpoch(3),
            permits: vec![KnownPermit { permit, run_lease: RunLease(5), decided }],
            ..Knowledge::fresh()
        };
        let exceeds = |decided, given, stored| {
            known(decided).exceeds(FleetEpoch(0), RunLease(5), SessionEpoch(given), FleetEpoch(0), |_| stored)
        };
        assert!(exceeds(false, 3, None), "the permit is forgotten");
        assert!(!exceeds(false, 3, Some(publish::State::Unknown)));
        assert!(exceeds(true, 3, Some(publish::State::Armed)), "its outcome is forgotten");
        assert!(!exceeds(true, 3, Some(publish::State::Confirmed)));
        assert!(exceeds(true, 2, Some(publish::State::Confirmed)), "its stream is");
        let later = RunLease(FleetEpoch(1).first_number());
        let one = FleetEpoch(1);
        // A life that concerns it has begun: it recounts. One of another agent's hides nothing.
        let owing = known(false).unvouched_since(one, true);
        assert!(!known(false).exceeds(one, later, SessionEpoch(3), owing, |_| None), "it is to recount");
        let other = known(false).unvouched_since(one, false);
        assert!(known(false).exceeds(one, later, SessionEpoch(3), other, |_| None), "another agent's life");
    }

    #[test]
    fn numbers_of_another_installation_are_not_believed() {
        let lease = |number| Knowledge { run_lease: RunLease(number), ..Knowledge::fresh() };
        assert!(
            lease(5).is_plausible(FleetEpoch(0))
                && lease(FleetEpoch(3).first_number()).is_plausible(FleetEpoch(0))
        );
        assert!(!lease(i64::MAX).is_plausible(FleetEpoch(0)) && !lease(-1).is_plausible(FleetEpoch(0)));
    }

    #[test]
    fn silence_proves_something_only_where_the_journal_is_whole() {
        let since = |lease| Knowledge { whole_since: RunLease(lease), ..Knowledge::fresh() };
        assert!(since(0).vouches_since(RunLease(0)) && since(8).vouches_since(RunLease(7)));
        assert!(!since(9).vouches_since(RunLease(7)) && !Knowledge::none().vouches_since(RunLease(7)));
    }

    proptest! {
        #[test]
        fn every_life_gives_greater_numbers_than_any_before(epoch in 0_i64..1_000_000, other in 0_i64..1_000_000, count in 0_i64..(1 << 40)) {
            let next = FleetEpoch(epoch).after(FleetEpoch(other));
            prop_assert!(next.0 > epoch && next.0 > other);
            prop_assert_eq!(FleetEpoch::of(FleetEpoch(epoch).first_number() + count), FleetEpoch(epoch));
            prop_assert!(next.first_number() > FleetEpoch(epoch).first_number() + count);
        }
    }
}
