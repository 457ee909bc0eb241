//! The whole publication under arbitrary orders of events.

use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::id::{PermitId, RunLease, SessionEpoch};
use crate::publish::{Looks, baseline_hash};

pub(super) fn publication() -> Publication {
    let id = Uuid::from_u128;
    let now = Timestamp::EPOCH;
    let (workspace, account, posting) = (WorkspaceId(id(1)), AccountId(id(2)), PostingId(id(3)));
    Publication {
        posting: Posting {
            id: posting,
            workspace,
            listing: ListingId(id(4)),
            account,
            generation: 1,
            state: State::Queued,
            job: JobId(id(5)),
            intent: IntentId(id(6)),
            item: None,
            failure: None,
            created_at: now,
            updated_at: now,
            version: Version(1),
        },
        job: job::Job {
            id: JobId(id(5)),
            workspace,
            kind: job::Kind::Publish,
            agent: AgentId(id(7)),
            account,
            posting: Some(posting),
            intent: Some(IntentId(id(6))),
            state: job::State::Queued,
            priority: 0,
            attempt: 0,
            run_lease: None,
            lease_until: None,
            run_started_at: None,
            run_after: now,
            cancel_requested: false,
            failure: None,
            discarded_at: None,
            trace_context: None,
            created_at: now,
            updated_at: now,
            version: Version(1),
        },
        intent: publish::Intent {
            id: IntentId(id(6)),
            workspace,
            posting,
            account,
            generation: 1,
            state: publish::State::Preparing,
            baseline: Vec::new(),
            fingerprint: String::new(),
            permit: None,
            item: None,
            reason: None,
            looks: Looks::default(),
            created_at: now,
            updated_at: now,
            version: Version(1),
        },
    }
}

fn failure(class: FailureClass) -> Failure {
    Failure::new(class, "step", "words")
}

fn arm(permit: u128, lease: i64) -> Event {
    Event::Intent(publish::Event::Arm {
        permit: PermitId(Uuid::from_u128(permit)),
        request: format!("request-{permit}"),
        run_lease: RunLease(lease),
        epoch: SessionEpoch(1),
        baseline_hash: baseline_hash(&["a".into()]),
        fingerprint: "f".into(),
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let lease = || (1_i64..4).prop_map(RunLease);
    let permit = || (1_u128..4).prop_map(|n| PermitId(Uuid::from_u128(n)));
    let class = || (0..FailureClass::ALL.len()).prop_map(|n| FailureClass::ALL[n]);
    let item = PublishedItem { item_id: "7".into(), url: "http://x/7".into(), strategy: "id_in_url".into() };
    prop_oneof![
        lease().prop_map(|run_lease| Event::Job(job::Event::Claim { run_lease })),
        lease().prop_map(|lease| Event::Job(job::Event::Acknowledge(lease))),
        lease().prop_map(|lease| Event::Job(job::Event::Refuse(lease))),
        lease().prop_map(|lease| Event::Job(job::Event::Succeed(lease))),
        (lease(), class(), 0.0_f64..1.0).prop_map(|(run_lease, class, jitter)| Event::Job(
            job::Event::Fail { run_lease, failure: failure(class), jitter }
        )),
        Just(Event::Job(job::Event::LeaseExpired)),
        Just(Event::Job(job::Event::AgentBack)),
        Just(Event::Job(job::Event::RequestCancel)),
        Just(Event::Retry),
        Just(Event::Job(job::Event::Resume)),
        Just(Event::Intent(publish::Event::FoundSeveral("two".into()))),
        lease().prop_map(|run_lease| Event::Intent(publish::Event::Prepared {
            run_lease,
            baseline: vec!["a".into()],
            fingerprint: "f".into()
        })),
        (1_u128..4, 1_i64..4).prop_map(|(permit, lease)| arm(permit, lease)),
        (permit(), Just(item.clone()))
            .prop_map(|(permit, item)| Event::Intent(publish::Event::Confirm { permit, item })),
        permit().prop_map(|permit| Event::Intent(publish::Event::NotClicked { permit, reason: "r".into() })),
        permit().prop_map(|permit| Event::Intent(publish::Event::Uncertain { permit, reason: "r".into() })),
        Just(Event::Intent(publish::Event::ReportOverdue)),
        Just(Event::Intent(publish::Event::Found(item))),
        Just(Event::Intent(publish::Event::ProvenAbsent)),
        Just(Event::Intent(publish::Event::AskPerson("why".into()))),
        Just(Event::Intent(publish::Event::ResolvedNotPublished)),
    ]
}

fn after(publication: &Publication, event: job::Event, seconds: u64) -> Result<Publication, Rejected> {
    let now = Timestamp::EPOCH + Duration::from_secs(seconds);
    step(publication, Event::Job(event), IntentId(Uuid::from_u128(99)), now).map(|(next, _)| next)
}

#[test]
fn a_parked_run_goes_on_when_its_agent_is_back_with_it() {
    let lease = RunLease(1);
    let claimed = after(&publication(), job::Event::Claim { run_lease: lease }, 0).expect("queued");
    let running = after(&claimed, job::Event::Acknowledge(lease), 1).expect("leased");
    let parked = after(&running, job::Event::LeaseExpired, 60).expect("its lease has ended");
    assert_eq!((parked.job.state, parked.posting.state), (job::State::Parked, State::Queued));

    let back = after(&parked, job::Event::Acknowledge(lease), 70).expect("the same run");
    assert_eq!((back.job.state, back.posting.state), (job::State::Running, State::Running));
    assert_eq!(back.job.lease_until, Some(Timestamp::EPOCH + Duration::from_secs(70) + job::LEASE));
    assert_eq!((back.job.attempt, back.job.run_lease), (1, Some(lease)), "the attempt is not burnt");

    let other = after(&parked, job::Event::Acknowledge(RunLease(2)), 70);
    assert_eq!(other, Err(job::Rejected::StaleLease.into()));
    let requeued = after(&parked, job::Event::AgentBack, 70).expect("back without the run");
    let late = after(&requeued, job::Event::Acknowledge(lease), 71);
    assert_eq!(late, Err(job::Rejected::State(job::State::Queued).into()));
    let wished = Publication { job: job::Job { cancel_requested: true, ..parked.job.clone() }, ..parked };
    assert!(after(&wished, job::Event::Acknowledge(lease), 70).is_err(), "nobody wishes it any more");
}

#[test]
fn an_open_question_is_answered_and_not_cancelled_away() {
    for state in [publish::State::Duplicate, publish::State::NeedsHuman] {
        let start = publication();
        let asked = Publication {
            intent: publish::Intent { state, ..start.intent.clone() },
            job: job::Job { state: job::State::NeedsHuman, ..start.job.clone() },
            posting: Posting { state: State::NeedsHuman, ..start.posting.clone() },
        };
        let cancelled = after(&asked, job::Event::RequestCancel, 1);
        assert_eq!(cancelled, Err(Rejected::Unresolved), "the listing may be on the site");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_order_of_events_lets_an_unsettled_click_be_followed_by_another(
        events in prop::collection::vec((any_event(), 0_u64..40), 1..40),
    ) {
        let mut now = Timestamp::EPOCH;
        let mut current = publication();
        let mut fresh = 100_u128;
        for (event, seconds) in events {
            now = now + Duration::from_secs(seconds);
            fresh += 1;
            let Ok((next, effects)) = step(&current, event, IntentId(Uuid::from_u128(fresh)), now) else { continue };
            let renewed = effects.iter().any(|effect| matches!(effect, Effect::NewGeneration { .. }));
            if current.intent.state.holds_account() {
                // A fresh generation follows only what was proven not to have posted.
                prop_assert!(!renewed || current.intent.id != next.intent.id);
                if next.intent.state.holds_account() {
                    prop_assert_eq!(current.intent.id, next.intent.id);
                    // The job neither ends as failed or cancelled nor runs again meanwhile.
                    prop_assert!(!matches!(next.job.state, job::State::Failed | job::State::Cancelled));
                }
            }
            if current.intent.state == publish::State::Unknown {
                prop_assert!(!matches!(next.job.state, job::State::Leased | job::State::Running)
                    || next.intent.state != publish::State::Unknown);
            }
            let undecided = |state| matches!(state, publish::State::Duplicate | publish::State::NeedsHuman);
            if undecided(current.intent.state) && undecided(next.intent.state) {
                prop_assert_eq!(next.job.state, job::State::NeedsHuman);
            }
            if current.intent.state == publish::State::Confirmed {
                prop_assert_eq!(next.posting.state, State::Published);
                prop_assert_eq!(next.intent.id, current.intent.id);
            }
            // I7: the publication is terminal for people, or one rule moves it on.
            prop_assert!(next.job.state.is_terminal() || next.job.state.recovery().is_some());
            prop_assert!(next.intent.state != publish::State::Unknown || next.job.state == job::State::Uncertain);
            prop_assert!(next.posting.state != State::Published || next.intent.item.is_some());
            current = next;
        }
    }
}

#[test]
fn an_agent_that_was_away_too_long_still_learns_which_permit_it_never_used() {
    let fresh = IntentId(Uuid::from_u128(99));
    let mut current = publication();
    let mut now = Timestamp::EPOCH;
    let mut next = |event: Event, seconds: u64| {
        now = now + Duration::from_secs(seconds);
        let stepped = step(&current, event, fresh, now).expect("allowed");
        current = stepped.0;
        current.clone()
    };
    let lease = RunLease(1);
    next(Event::Job(job::Event::Claim { run_lease: lease }), 1);
    next(Event::Job(job::Event::Acknowledge(lease)), 1);
    let prepared =
        publish::Event::Prepared { run_lease: lease, baseline: vec!["a".into()], fingerprint: "f".into() };
    next(Event::Intent(prepared), 1);
    // The permit is given, and the answer is lost together with the agent.
    let armed = next(arm(1, 1), 1);
    let away = next(Event::Job(job::Event::LeaseExpired), 40);
    assert_eq!((away.job.state, away.intent.state), (job::State::Uncertain, publish::State::Armed));
    let told = next(arm(1, 1), 1);
    assert_eq!(told.intent.permit, armed.intent.permit);
    next(Event::Intent(publish::Event::ReportOverdue), 60);
    let told = next(arm(1, 1), 1);
    assert_eq!((told.intent.state, &told.intent.permit), (publish::State::Unknown, &armed.intent.permit));
    // Its journal proves that no click was sent: the job goes on with a fresh intent.
    let permit = told.intent.permit.as_ref().expect("held").id;
    let proven = publish::Event::NotClicked { permit, reason: "never used".into() };
    let after = next(Event::Intent(proven), 1);
    assert_eq!((after.job.state, after.posting.generation), (job::State::Queued, 2));
}
