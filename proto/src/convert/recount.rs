//! What agents' journals hold, as agents tell it.

use tradepost_domain::field::Violations;
use tradepost_domain::fleet::{FleetEpoch, Knowledge, KnownPermit, PERMITS_TOLD};
use tradepost_domain::id::{AgentId, ContentHash, IntentId, JobId, PermitId, RunLease, SessionEpoch};
use tradepost_domain::posting::Receipt;

use super::{id, job, posting};
use crate::v1;

/// One permit in an agent's journal.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldPermit {
    /// The permit.
    pub permit: PermitId,
    /// The agent's name of its request.
    pub request: String,
    /// The run that asked for it.
    pub run: (JobId, RunLease),
    /// The intent it was given for.
    pub intent: IntentId,
    /// The intent's number.
    pub generation: u32,
    /// The stream it was given over.
    pub epoch: SessionEpoch,
    /// Hash of the baseline it was given for.
    pub baseline: ContentHash,
    /// What became of it.
    pub outcome: ToldOutcome,
}

/// What became of a permit, as a journal has it.
#[derive(Debug, Clone, PartialEq)]
pub enum ToldOutcome {
    /// The listing is there.
    Confirmed(Box<Receipt>),
    /// No click was sent.
    NotClicked(String),
    /// The click may have been sent.
    Uncertain(String),
    /// Its run goes on.
    Open,
}

impl From<Knowledge> for v1::Knowledge {
    fn from(known: Knowledge) -> Self {
        let Knowledge { fleet_epoch, session_epoch, run_lease, permits, whole_since } = known;
        Self {
            fleet_epoch: fleet_epoch.0,
            session_epoch: session_epoch.0,
            run_lease: run_lease.0,
            permits: permits
                .into_iter()
                .map(|KnownPermit { permit, run_lease, decided }| v1::KnownPermit {
                    permit_id: permit.to_string(),
                    run_lease: run_lease.0,
                    decided,
                })
                .collect(),
            whole_since: whole_since.0,
        }
    }
}

impl TryFrom<v1::Knowledge> for Knowledge {
    type Error = Violations;

    fn try_from(message: v1::Knowledge) -> Result<Self, Violations> {
        let v1::Knowledge { fleet_epoch, session_epoch, run_lease, permits, whole_since } = message;
        let mut violations = Violations::new();
        let mut known = Vec::with_capacity(permits.len().min(PERMITS_TOLD));
        for v1::KnownPermit { permit_id, run_lease, decided } in permits.into_iter().take(PERMITS_TOLD) {
            if let Some(permit) = id(&mut violations, "knowledge.permits.permit_id", &permit_id) {
                known.push(KnownPermit { permit, run_lease: RunLease(run_lease), decided });
            }
        }
        violations.into_result(|| {
            Some(Self {
                fleet_epoch: FleetEpoch(fleet_epoch),
                session_epoch: SessionEpoch(session_epoch),
                run_lease: RunLease(run_lease),
                permits: known,
                whole_since: RunLease(whole_since),
            })
        })
    }
}

impl From<ToldPermit> for v1::ToldPermit {
    fn from(told: ToldPermit) -> Self {
        use v1::told_permit::Outcome;
        let ToldPermit { permit, request, run, intent, generation, epoch, baseline, outcome } = told;
        Self {
            permit_id: permit.to_string(),
            permit_request_id: request,
            run: Some(run.into()),
            intent_id: intent.to_string(),
            generation,
            session_epoch: epoch.0,
            baseline_sha256: baseline.to_string(),
            outcome: match outcome {
                ToldOutcome::Confirmed(receipt) => Some(Outcome::Confirmed((*receipt).into())),
                ToldOutcome::NotClicked(reason) => Some(Outcome::NotClicked(reason)),
                ToldOutcome::Uncertain(reason) => Some(Outcome::Uncertain(reason)),
                ToldOutcome::Open => None,
            },
        }
    }
}

/// A permit as `agent` tells of it.
pub fn told_by(agent: AgentId, message: v1::ToldPermit) -> Result<ToldPermit, Violations> {
    use v1::told_permit::Outcome;
    let v1::ToldPermit {
        permit_id,
        permit_request_id,
        run,
        intent_id,
        generation,
        session_epoch,
        baseline_sha256,
        outcome,
    } = message;
    let shortened = |reason: String| reason.chars().take(1_000).collect();
    let mut violations = Violations::new();
    let permit = id::<PermitId>(&mut violations, "recount.permit_id", &permit_id);
    let request = violations.text("recount.permit_request_id", &permit_request_id, 1, 64);
    let intent = id::<IntentId>(&mut violations, "recount.intent_id", &intent_id);
    let baseline = id::<ContentHash>(&mut violations, "recount.baseline_sha256", &baseline_sha256);
    let run = job::run(run).map_err(|found| violations.0.extend(found.0)).ok();
    let outcome = match outcome {
        None => Some(ToldOutcome::Open),
        Some(Outcome::NotClicked(reason)) => Some(ToldOutcome::NotClicked(shortened(reason))),
        Some(Outcome::Uncertain(reason)) => Some(ToldOutcome::Uncertain(shortened(reason))),
        Some(Outcome::Confirmed(receipt)) => posting::receipt_of(agent, receipt)
            .map_err(|found| violations.0.extend(found.0))
            .ok()
            .map(|receipt| ToldOutcome::Confirmed(Box::new(receipt))),
    };
    violations.into_result(|| {
        Some(ToldPermit {
            permit: permit?,
            request,
            run: run?,
            intent: intent?,
            generation,
            epoch: SessionEpoch(session_epoch),
            baseline: baseline?,
            outcome: outcome?,
        })
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_a_journal_holds_round_trips() {
        let known = Knowledge {
            fleet_epoch: FleetEpoch(2),
            session_epoch: SessionEpoch(7),
            run_lease: RunLease(9),
            permits: vec![KnownPermit {
                permit: PermitId(Uuid::from_u128(1)),
                run_lease: RunLease(9),
                decided: true,
            }],
            whole_since: RunLease(3),
        };
        assert_eq!(Knowledge::try_from(v1::Knowledge::from(known.clone())), Ok(known));
        for outcome in [
            ToldOutcome::Open,
            ToldOutcome::NotClicked("no".into()),
            ToldOutcome::Uncertain("perhaps".into()),
        ] {
            let told = ToldPermit {
                permit: PermitId(Uuid::from_u128(1)),
                request: "r".into(),
                run: (JobId(Uuid::from_u128(2)), RunLease(9)),
                intent: IntentId(Uuid::from_u128(3)),
                generation: 2,
                epoch: SessionEpoch(7),
                baseline: ContentHash::of(b""),
                outcome,
            };
            assert_eq!(told_by(AgentId(Uuid::nil()), told.clone().into()), Ok(told));
        }
        assert!(told_by(AgentId(Uuid::nil()), v1::ToldPermit::default()).is_err());
    }
}
