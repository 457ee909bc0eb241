use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn job(kind: Kind, priority: i32, created_at: Timestamp) -> Job {
    Job {
        id: JobId(Uuid::from_u128(1)),
        workspace: WorkspaceId(Uuid::from_u128(2)),
        kind,
        agent: AgentId(Uuid::from_u128(3)),
        account: AccountId(Uuid::from_u128(4)),
        posting: None,
        intent: None,
        state: State::Queued,
        priority,
        attempt: 0,
        run_lease: None,
        lease_until: None,
        run_started_at: None,
        run_after: created_at,
        cancel_requested: false,
        failure: None,
        discarded_at: None,
        trace_context: None,
        created_at,
        updated_at: created_at,
        version: Version(1),
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const START: Timestamp = Timestamp::from_micros(1_764_064_800_000_000);

proptest! {
    /// Higher priority goes first among jobs of the same time, and nothing that comes later than the difference is worth
    /// overtakes.
    #[test]
    fn priority_is_a_head_start_and_ends(a in -100_i32..=100, b in -100_i32..=100, later in 0_u64..60 * 86_400) {
        let first = turn(Kind::Publish, a, START);
        let second = turn(Kind::Publish, b, START + Duration::from_secs(later));
        let worth = POINT.saturating_mul(b.saturating_sub(a).max(0).unsigned_abs());
        if Duration::from_secs(later) > worth {
            prop_assert!(first < second, "a job waits {worth:?} at most for {b} after {a}");
        }
        if later == 0 && a > b {
            prop_assert!(first < second);
        }
    }
}

#[test]
fn sign_ins_go_first_then_looks_then_the_best_publication() {
    let oldest = START - DAY * 30;
    let login = job(Kind::Login, 0, START).turn();
    let look = job(Kind::Reconcile, 0, START).turn();
    assert!(login < look && look < job(Kind::Publish, 100, oldest).turn());
    assert!(job(Kind::Publish, HIGH, START).turn() < job(Kind::Publish, 0, START).turn());
    assert!(job(Kind::Publish, 0, START).turn() < job(Kind::Publish, -HIGH, START - DAY / 4).turn());
    assert!(job(Kind::Publish, -HIGH, START - DAY).turn() < job(Kind::Publish, 0, START).turn());
}

#[test]
fn a_run_that_pacing_stopped_is_no_try() {
    let mut waiting = job(Kind::Publish, 0, START);
    for lease in 1..20 {
        let lease = RunLease(lease);
        let claimed = step(&waiting, Event::Claim { run_lease: lease }, START).expect("claims");
        let failure = Failure::new(FailureClass::NotYet, "permit", "quiet hours");
        let failed = Event::Fail { run_lease: lease, failure, jitter: 0.5 };
        waiting = step(&claimed, failed, START).expect("fails");
        assert_eq!((waiting.state, waiting.attempt), (State::Queued, 0));
    }
}

#[test]
fn a_dead_letter_is_put_aside_once_and_comes_back_by_a_retry() {
    let failed = Job { state: State::Failed, attempt: 8, ..job(Kind::Login, 0, START) };
    let aside = step(&failed, Event::Discard, START + DAY).expect("puts aside");
    assert_eq!((aside.state, aside.discarded_at), (State::Failed, Some(START + DAY)));
    assert_eq!(step(&aside, Event::Discard, START + DAY * 2).expect("again"), aside);
    let back = step(&aside, Event::Resume, START + DAY * 3).expect("retries");
    assert_eq!((back.state, back.attempt, back.discarded_at), (State::Queued, 0, None));
    assert_eq!(step(&back, Event::Discard, START), Err(Rejected::State(State::Queued)));
    let ended = Job { state: State::Succeeded, ..back };
    assert_eq!(step(&ended, Event::Prioritize(5), START), Err(Rejected::State(State::Succeeded)));
}
