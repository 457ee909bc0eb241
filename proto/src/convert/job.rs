//! Jobs, runs, phases and the states of steps.

use tradepost_domain::field::Violations;
use tradepost_domain::id::{JobId, RunLease};
use tradepost_domain::job::{Job, Kind, State};

use super::{UnknownValue, id, paired, text, time};
use crate::v1;

type WireKind = v1::JobKind;
paired!(Kind, WireKind: Login, Publish, Reconcile);

type WireState = v1::JobState;
paired!(
    State,
    WireState: Queued, Leased, Running, Parked, NeedsHuman, Uncertain, Succeeded, Failed, Cancelled
);

impl From<Job> for v1::Job {
    fn from(job: Job) -> Self {
        let Job {
            id,
            workspace: _,
            kind,
            agent,
            account,
            posting,
            intent: _,
            state,
            priority,
            attempt,
            run_lease,
            lease_until: _,
            run_started_at: _,
            run_after,
            cancel_requested,
            failure,
            discarded_at,
            trace_context: _,
            created_at,
            updated_at,
            version: _,
        } = job;
        Self {
            id: id.to_string(),
            kind: v1::JobKind::from(kind).into(),
            agent_id: agent.to_string(),
            account_id: account.to_string(),
            posting_id: text(posting),
            state: v1::JobState::from(state).into(),
            priority,
            attempt,
            run_lease: run_lease.map_or(0, |lease| lease.0),
            run_after: Some(time::to_wire(run_after)),
            cancel_requested,
            failure: failure.map(Into::into),
            created_at: Some(time::to_wire(created_at)),
            updated_at: Some(time::to_wire(updated_at)),
            discarded_at: discarded_at.map(time::to_wire),
        }
    }
}

impl From<(JobId, RunLease)> for v1::RunRef {
    fn from((job, lease): (JobId, RunLease)) -> Self {
        Self { job_id: job.to_string(), run_lease: lease.0 }
    }
}

impl TryFrom<v1::RunRef> for (JobId, RunLease) {
    type Error = Violations;

    fn try_from(message: v1::RunRef) -> Result<Self, Violations> {
        let v1::RunRef { job_id, run_lease } = message;
        let mut violations = Violations::new();
        let job = id::<JobId>(&mut violations, "run.job_id", &job_id);
        if run_lease <= 0 {
            violations.push("run.run_lease", "is missing");
        }
        violations.into_result(|| Some((job?, RunLease(run_lease))))
    }
}

/// The run that a message names; a missing one is a violation.
pub fn run(message: Option<v1::RunRef>) -> Result<(JobId, RunLease), Violations> {
    message.unwrap_or_default().try_into()
}

impl v1::Phase {
    /// The stable name, e.g. `prepare`; empty for none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Start => "start",
            Self::Prepare => "prepare",
            Self::Commit => "commit",
            Self::Confirm => "confirm",
            Self::Reconcile => "reconcile",
        }
    }

    /// The phase of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Start, Self::Prepare, Self::Commit, Self::Confirm, Self::Reconcile]
            .into_iter()
            .find(|phase| phase.name() == name)
    }

    /// The phase of a number on the wire; `Unspecified` is refused.
    pub fn known(raw: i32) -> Result<Self, UnknownValue> {
        match Self::try_from(raw) {
            Ok(Self::Unspecified) | Err(_) => Err(UnknownValue(raw)),
            Ok(phase) => Ok(phase),
        }
    }
}

impl v1::StepStatus {
    /// The stable name, e.g. `succeeded`; empty for none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Started, Self::Succeeded, Self::Failed, Self::Skipped]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::convert::FromWire;

    #[test]
    fn states_kinds_and_phases_round_trip() {
        for state in State::ALL {
            assert_eq!(State::from_wire(v1::JobState::from(state).into()), Ok(Some(state)));
        }
        for kind in [Kind::Login, Kind::Publish, Kind::Reconcile] {
            assert_eq!(Kind::from_wire(v1::JobKind::from(kind).into()), Ok(Some(kind)));
        }
        assert_eq!(State::from_wire(0), Ok(None));
        assert_eq!(State::from_wire(77), Err(UnknownValue(77)));
        assert_eq!(v1::Phase::from_name("commit"), Some(v1::Phase::Commit));
        assert!(v1::Phase::known(0).is_err() && v1::Phase::from_name("").is_none());
        assert_eq!(v1::StepStatus::from_name("skipped"), Some(v1::StepStatus::Skipped));
    }

    #[test]
    fn a_run_round_trips_and_an_empty_one_names_both_fields() {
        let named = (JobId(Uuid::from_u128(9)), RunLease(4));
        assert_eq!(run(Some(named.into())), Ok(named));
        assert_eq!(run(None).expect_err("nothing is given").0.len(), 2);
    }
}
