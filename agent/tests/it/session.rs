//! The session's logic, with a scripted controller and runs that do nothing by themselves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tradepost_agent::journal::RunKey;
use tradepost_agent::journal::{Journal, Outcome, PermitRequest, Record};
use tradepost_agent::session::frame::{Dispatch, Ending, Inbound, Outbound, Phase, StepReport, StepStatus};
use tradepost_agent::session::live::{Live, Runs};
use tradepost_agent::session::state::{Action, Local, State, on_frame, on_local};
use tradepost_agent::wake::{Confirmed, Wake};
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::fleet::Knowledge;
use tradepost_domain::id::{BootId, ContentHash, IntentId, PermitId, SessionEpoch};
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::{Drained, Tasks};
use uuid::Uuid;

use crate::clocks::ManualClocks;
use crate::controller::{Scripted, dispatch, run};

/// Notes what it is told.
#[derive(Default)]
struct IdleRuns {
    started: Mutex<Vec<RunKey>>,
    stopped: Mutex<Vec<RunKey>>,
}

impl Runs for IdleRuns {
    fn start(&self, dispatch: Dispatch) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).push(dispatch.run);
    }

    fn stop(&self, run: RunKey) {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).push(run);
    }
}

struct Agent {
    controller: Arc<Scripted>,
    journal: Arc<Journal>,
    clocks: Arc<ManualClocks>,
    _folder: TempDir,
    runs: Arc<IdleRuns>,
    events: mpsc::Sender<Local>,
    tasks: Tasks,
}

fn agent() -> Agent {
    let (controller, runs, tasks) = (Scripted::new(), Arc::new(IdleRuns::default()), Tasks::new());
    let (events, from_runs) = mpsc::channel(64);
    let folder = tempfile::tempdir().expect("a folder");
    let journal = Arc::new(Journal::open(&folder.path().join("journal")).expect("opened"));
    let clocks = ManualClocks::new();
    let wake = Wake::new(clocks.clone());
    tasks.spawn("wake", wake.clone().watch(tasks.shutdown_token()));
    let live = Live {
        link: controller.clone(),
        runs: runs.clone(),
        state: state(2),
        events: from_runs,
        epoch: watch::Sender::new(None),
        refusal: watch::Sender::new(None),
        journal: journal.clone(),
        wake,
        confirmed: watch::Sender::new(Confirmed::default()),
        ids: Ids::seeded(1),
        shutdown: tasks.shutdown_token(),
    };
    tasks.spawn("session", live.run());
    Agent { controller, journal, clocks, _folder: folder, runs, events, tasks }
}

fn state(slots: usize) -> State {
    State::new(BootId(Uuid::from_u128(1)), slots)
}

fn begin(run: RunKey, account: u128) -> Inbound {
    Inbound::Dispatch(Box::new(dispatch(run, account)))
}

fn refused(actions: &[Action]) -> bool {
    matches!(actions.first(), Some(Action::Send(Outbound::Refuse(..))))
}

#[tokio::test(start_paused = true)]
async fn runs_outlive_the_stream_and_their_ends_are_repeated_until_stored() {
    let agent = agent();
    let (controller, first) = (&agent.controller, run(1, 7));
    assert_eq!(controller.greet(1).await.runs, []);
    controller.say(begin(first, 1)).await;
    controller
        .wait("acknowledgement", |heard| heard.said.contains(&Outbound::Acknowledge(first)).then_some(()))
        .await;
    assert_eq!(*agent.runs.started.lock().expect("sound"), [first]);

    // The controller goes away for a while; the run ends meanwhile, with a step nobody heard of.
    controller.with(|heard| heard.closed_doors = 3);
    controller.cut();
    let step = StepReport {
        seq: 1,
        phase: Phase::Start,
        name: "Start Chrome".into(),
        status: StepStatus::Succeeded,
        detail: String::new(),
        duration: None,
        index: 0,
        total: 0,
    };
    agent.events.send(Local::Step(first, step.clone())).await.expect("heard");
    agent.events.send(Local::Ended(first, Ending::Succeeded)).await.expect("heard");
    assert_eq!(controller.greet(2).await.runs, [first], "the run is told in the first words");
    assert_eq!(controller.ending(first).await, Ending::Succeeded);
    assert!(controller.with(|heard| heard.said.contains(&Outbound::Step(first, step))));
    assert!(agent.runs.stopped.lock().expect("sound").is_empty(), "a lost stream stops nothing");

    controller.cut();
    assert_eq!(controller.greet(3).await.runs, [first], "its end is not known to be stored");
    controller.say(Inbound::EndStored(first)).await;
    controller.say(begin(run(2, 8), 1)).await;
    controller
        .wait("next run", |heard| heard.said.contains(&Outbound::Acknowledge(run(2, 8))).then_some(()))
        .await;
    controller.cut();
    assert_eq!(controller.greet(4).await.runs, [run(2, 8)]);
}

#[tokio::test(start_paused = true)]
async fn the_controller_is_left_and_found_again_when_it_says_so() {
    let agent = agent();
    agent.controller.greet(1).await;
    let before = tokio::time::Instant::now();
    let reason = String::from("drain");
    agent.controller.say(Inbound::GoAway { retry_after: Duration::from_secs(20), reason }).await;
    agent.controller.greet(2).await;
    let away = before.elapsed();
    assert!(away >= Duration::from_secs(20) && away < Duration::from_secs(25), "{away:?}");

    // A lost stream is tried again at once, then with growing delays.
    let before = tokio::time::Instant::now();
    agent.controller.cut();
    agent.controller.greet(3).await;
    assert!(before.elapsed() <= Duration::from_millis(200), "{:?}", before.elapsed());
    let beats = |heard: &crate::controller::Heard| {
        heard.said.iter().filter(|frame| matches!(frame, Outbound::Heartbeat(_))).count()
    };
    let so_far = agent.controller.with(|heard| beats(heard));
    let before = tokio::time::Instant::now();
    agent.controller.wait("heartbeats", |heard| (beats(heard) >= so_far + 3).then_some(())).await;
    assert_eq!(before.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_takes_nothing_new_and_waits_for_its_runs() {
    let agent = agent();
    agent.controller.greet(1).await;
    agent.controller.say(begin(run(1, 1), 1)).await;
    agent
        .controller
        .wait("run", |heard| heard.said.contains(&Outbound::Acknowledge(run(1, 1))).then_some(()))
        .await;
    agent.tasks.begin_shutdown();
    agent.controller.say(begin(run(2, 2), 2)).await;
    agent
        .controller
        .wait("refusal", |heard| {
            heard.said.iter().any(|frame| matches!(frame, Outbound::Refuse(..))).then_some(())
        })
        .await;
    agent.events.send(Local::Ended(run(1, 1), Ending::Succeeded)).await.expect("heard");
    agent.controller.ending(run(1, 1)).await;
    agent.controller.say(Inbound::EndStored(run(1, 1))).await;
    assert_eq!(agent.tasks.drain(Duration::from_secs(2)).await, Drained::Clean);
}

#[test]
fn a_run_is_refused_without_a_free_slot_or_profile() {
    let mut state = state(2);
    assert!(!refused(&on_frame(&mut state, begin(run(1, 1), 1))));
    assert!(refused(&on_frame(&mut state, begin(run(2, 2), 1))), "the account's profile is in use");
    assert!(!refused(&on_frame(&mut state, begin(run(3, 3), 3))));
    assert!(refused(&on_frame(&mut state, begin(run(4, 4), 4))), "both slots are in use");
    let repeated = on_frame(&mut state, begin(run(1, 1), 1));
    assert_eq!(repeated, [Action::Send(Outbound::Acknowledge(run(1, 1)))], "a repeat starts nothing");
    on_local(&mut state, Local::Ended(run(1, 1), Ending::Succeeded));
    assert!(!refused(&on_frame(&mut state, begin(run(4, 4), 1))), "an ended run frees both");
}

#[test]
fn a_refused_agent_stops_its_runs_and_speaks_of_them_no_more() {
    let mut state = state(2);
    on_frame(&mut state, begin(run(1, 1), 1));
    on_frame(&mut state, begin(run(2, 2), 2));
    on_local(&mut state, Local::Ended(run(2, 2), Ending::Succeeded));
    assert_eq!(on_local(&mut state, Local::Refused), [Action::Stop(run(1, 1))]);
    assert_eq!(state.hello(Knowledge::fresh()).runs, [run(2, 2)]);
    assert!(!state.is_idle(), "its Chrome is not closed yet");
    on_local(&mut state, Local::Abandoned(run(1, 1)));
    assert!(state.is_idle());
}

#[test]
fn a_newer_run_of_a_job_waits_for_the_older_ones_end_and_an_older_one_never_starts() {
    let mut state = state(2);
    on_frame(&mut state, begin(run(1, 5), 1));
    let newer = on_frame(&mut state, begin(run(1, 6), 1));
    assert!(refused(&newer) && newer.contains(&Action::Stop(run(1, 5))));
    assert_eq!(
        on_local(&mut state, Local::Ended(run(1, 5), Ending::Succeeded)),
        [],
        "nobody asks for its end"
    );
    assert!(!refused(&on_frame(&mut state, begin(run(1, 6), 1))));
    assert!(refused(&on_frame(&mut state, begin(run(1, 5), 1))));
    assert_eq!(on_frame(&mut state, Inbound::Cancel(run(1, 5))), [], "a stale cancel hits nobody");
    assert_eq!(on_frame(&mut state, Inbound::Cancel(run(1, 6))), [Action::Stop(run(1, 6))]);
    assert_eq!(on_frame(&mut state, Inbound::Forget(run(1, 6))), [Action::Stop(run(1, 6))]);
    assert_eq!(on_local(&mut state, Local::Ended(run(1, 6), Ending::Succeeded)), []);
    assert!(state.is_idle() && state.hello(Knowledge::fresh()).runs.is_empty());
}

#[test]
fn what_this_version_does_not_understand_fails_visibly() {
    let mut state = state(1);
    let actions = on_frame(&mut state, Inbound::Undecodable(run(1, 1), "kind: 9 is no known value".into()));
    let Some(Action::Send(Outbound::Ended(_, Ending::Failed(Failure { class, .. })))) = actions.last() else {
        panic!("{actions:?}")
    };
    assert_eq!(*class, FailureClass::Internal);
    assert!(state.owes_reports());
    on_frame(&mut state, Inbound::EndStored(run(1, 1)));
    assert!(!state.owes_reports());
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_before_a_sleep_is_given_up_and_runs_are_confirmed_on_the_next() {
    let agent = agent();
    agent.controller.greet(1).await;
    agent.controller.say(begin(run(1, 7), 1)).await;
    agent
        .controller
        .wait("acknowledgement", |heard| heard.said.contains(&Outbound::Acknowledge(run(1, 7))).then_some(()))
        .await;
    agent.clocks.sleep(Duration::from_secs(3_600));
    let hello = agent.controller.greet(2).await;
    assert_eq!(hello.runs, [run(1, 7)], "the run goes on");
    assert_eq!(hello.knowledge.session_epoch, SessionEpoch(1), "the journal has the stream's number");
    agent.tasks.drain(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn every_permit_is_recounted_before_anything_else_when_the_controller_asks() {
    let agent = agent();
    let request = |name: &str, lease| PermitRequest {
        request: name.into(),
        run: run(1, lease),
        intent: IntentId(Uuid::from_u128(4)),
        generation: 1,
        epoch: SessionEpoch(1),
        baseline_sha256: ContentHash::of(b"").to_string(),
        fingerprint: "f".into(),
    };
    let permit = |n| PermitId(Uuid::from_u128(n));
    for (n, taken) in [(1_u128, true), (2, false)] {
        let name = n.to_string();
        let ttl = Duration::from_secs(15);
        let outcome = Outcome::NotClicked("no".into());
        let settled =
            if taken { Record::Settled { permit: permit(n) } } else { Record::Refused { permit: permit(n) } };
        for record in [
            Record::PermitRequested(request(&name, 7)),
            Record::Permit { request: name, permit: permit(n), ttl },
            Record::Outcome { permit: permit(n), outcome },
            settled,
        ] {
            agent.journal.append_async(record).await.expect("written");
        }
    }
    agent.controller.with(|heard| heard.recount = true);
    let hello = agent.controller.greet(1).await;
    let known: Vec<_> = hello.knowledge.permits.iter().map(|known| (known.permit, known.decided)).collect();
    assert_eq!(known, [(permit(1), true), (permit(2), false)]);
    let frames = agent
        .controller
        .wait("recount", |heard| {
            let last = |frame: &Outbound| matches!(frame, Outbound::Recount(_, true));
            heard.said.iter().any(last).then(|| heard.said.clone())
        })
        .await;
    let told: Vec<_> = frames
        .iter()
        .flat_map(|frame| match frame {
            Outbound::Recount(permits, _) => permits.iter().map(|told| told.permit).collect(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(told, [permit(1), permit(2)]);
    assert!(matches!(frames.first(), Some(Outbound::Recount(..))), "{frames:?}");
    agent.tasks.drain(Duration::from_secs(60)).await;
}
