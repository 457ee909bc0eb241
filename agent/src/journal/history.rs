//! What the journal still knows of permits that are settled: a controller whose database was restored from a backup asks
//! for it, see [`Recount`](crate::session::frame::Outbound::Recount).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tradepost_domain::fleet::{FleetEpoch, KnownPermit};
use tradepost_domain::id::{PermitId, RunLease, SessionEpoch};

use super::{Outcome, PermitRequest};

/// Settled permits that are kept: the newest ones. At fifty postings a day they reach back twenty days.
const KEPT: usize = 1_000;

/// A settled permit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// The request it was given for.
    pub request: PermitRequest,
    /// The permit.
    pub permit: PermitId,
    /// What became of it.
    pub outcome: Outcome,
    /// The controller took this outcome, and it decides.
    pub decided: bool,
}

/// One permit, open or settled, as it is recounted.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The request it was given for.
    pub request: PermitRequest,
    /// The permit.
    pub permit: PermitId,
    /// What became of it; none while its run goes on.
    pub outcome: Option<Outcome>,
}

/// The newest numbers that controllers gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The newest life of the controller's database.
    pub fleet_epoch: FleetEpoch,
    /// The newest stream.
    pub session_epoch: SessionEpoch,
    /// The newest run.
    pub run_lease: RunLease,
    /// Every permit of runs from this one on is in the journal.
    pub whole_since: RunLease,
}

/// Settled permits, and the newest numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct History {
    pub(super) past: VecDeque<Past>,
    pub(super) marks: Marks,
    /// The journal says since when it is whole.
    pub(super) marked: bool,
}

impl Default for Marks {
    fn default() -> Self {
        let (fleet_epoch, session_epoch) = (FleetEpoch(0), SessionEpoch(0));
        Self { fleet_epoch, session_epoch, run_lease: RunLease(0), whole_since: RunLease(0) }
    }
}

impl History {
    /// A settled permit; the oldest ones are forgotten, and the journal says so.
    pub(super) fn add(&mut self, past: Past) {
        self.saw(past.request.run.lease);
        self.past.push_back(past);
        while self.past.len() > KEPT {
            if let Some(forgotten) = self.past.pop_front() {
                let after = RunLease(forgotten.request.run.lease.0.saturating_add(1));
                self.marks.whole_since = self.marks.whole_since.max(after);
            }
        }
    }

    /// A run was given.
    pub(super) fn saw(&mut self, lease: RunLease) {
        self.marks.run_lease = self.marks.run_lease.max(lease);
    }

    /// A stream was welcomed.
    pub(super) fn welcomed(&mut self, fleet: FleetEpoch, session: SessionEpoch) {
        self.marks.fleet_epoch = self.marks.fleet_epoch.max(fleet);
        self.marks.session_epoch = self.marks.session_epoch.max(session);
    }

    /// What a compacted journal says.
    pub(super) fn mark(&mut self, marks: Marks) {
        self.marked = true;
        self.saw(marks.run_lease);
        self.welcomed(marks.fleet_epoch, marks.session_epoch);
        self.marks.whole_since = self.marks.whole_since.max(marks.whole_since);
    }

    /// Records before this moment may be missing.
    pub(super) fn lost(&mut self) {
        let after = RunLease(self.marks.run_lease.0.saturating_add(1));
        self.marks.whole_since = self.marks.whole_since.max(after);
    }

    pub(super) fn known(&self) -> impl Iterator<Item = KnownPermit> {
        self.past.iter().map(|past| KnownPermit {
            permit: past.permit,
            run_lease: past.request.run.lease,
            decided: past.decided,
        })
    }
}
