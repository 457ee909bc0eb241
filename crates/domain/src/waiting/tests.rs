use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::account::Site;
use crate::failure::Failure;
use crate::id::{
    AccountId, AgentId, ControllerId, IntentId, JobId, ListingId, PermitId, RunLease, SessionEpoch, Version,
    WorkspaceId,
};
use crate::pacing::{Policy, Window};
use crate::posting::Posting;
use crate::publish::{Intent, Looks, Permit};
use crate::standing::Standing;

/// Tuesday 25 November 2025, 10:00:00 UTC.
const NOW: Timestamp = Timestamp::from_micros(1_764_064_800_000_000);

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// Everything that can stand in the way, by default nothing.
struct Scene {
    publication: Publication,
    agent: Option<Agent>,
    agent_runs: usize,
    pacing: Pacing,
    ahead: u32,
    account_run: Option<Job>,
    unsettled: Option<PostingId>,
    look: Option<Job>,
}

impl Scene {
    fn new() -> Self {
        let (workspace, account) = (WorkspaceId(id(1)), AccountId(id(2)));
        let posting = Posting {
            id: PostingId(id(3)),
            workspace,
            listing: ListingId(id(4)),
            account,
            generation: 1,
            state: State::Queued,
            job: JobId(id(5)),
            intent: IntentId(id(6)),
            item: None,
            failure: None,
            created_at: NOW,
            updated_at: NOW,
            version: Version(1),
        };
        let intent = Intent {
            id: posting.intent,
            workspace,
            posting: posting.id,
            account,
            generation: 1,
            state: publish::State::Preparing,
            baseline: Vec::new(),
            fingerprint: String::new(),
            permit: None,
            item: None,
            reason: None,
            looks: Looks::default(),
            created_at: NOW,
            updated_at: NOW,
            version: Version(1),
        };
        let own = Policy {
            quiet_hours: Some("22:00-07:00".parse().expect("hours")),
            time_zone: Some(pacing::Zone::parse("Europe/Madrid").expect("a zone")),
            per_day: Some(2),
            ..Policy::default()
        };
        let agent = Agent {
            id: AgentId(id(7)),
            workspace,
            name: "shop pc".into(),
            key_hash: String::new(),
            platform: String::new(),
            program_version: String::new(),
            epoch: SessionEpoch(1),
            boot: None,
            controller: Some(ControllerId(id(8))),
            last_seen_at: Some(NOW),
            created_at: NOW,
            revoked_at: None,
            standing: Standing::default(),
        };
        Self {
            publication: Publication { job: job(job::Kind::Publish, posting.job, agent.id), posting, intent },
            agent: Some(agent),
            agent_runs: 0,
            pacing: Pacing {
                account,
                workspace,
                site: Site::parse("sandbox").expect("a site"),
                added_at: Timestamp::EPOCH,
                own,
                paused_at: None,
                cool_down: None,
                window: Window::ALWAYS,
                uses: Vec::new(),
                version: 1,
            },
            ahead: 0,
            account_run: None,
            unsettled: None,
            look: None,
        }
    }

    fn explained(&self) -> Option<Wait> {
        let situation = Situation {
            publication: &self.publication,
            agent: self.agent.as_ref(),
            agent_runs: self.agent_runs,
            pacing: &self.pacing,
            defaults: &Rules::none(),
            ahead: self.ahead,
            account_run: self.account_run.as_ref(),
            unsettled: self.unsettled,
            look: self.look.as_ref(),
        };
        explain(&situation, NOW)
    }

    fn is(state: State, change: impl FnOnce(&mut Self)) -> (&'static str, String, Option<Duration>) {
        let mut scene = Self::new();
        scene.publication.posting.state = state;
        change(&mut scene);
        let wait = scene.explained().expect("it waits");
        (wait.reason, wait.sentence, wait.until.map(|until| until.since(NOW)))
    }
}

fn job(kind: job::Kind, id_: JobId, agent: AgentId) -> Job {
    Job {
        id: id_,
        workspace: WorkspaceId(id(1)),
        kind,
        agent,
        account: AccountId(id(2)),
        posting: Some(PostingId(id(3))),
        intent: Some(IntentId(id(6))),
        state: job::State::Queued,
        priority: 0,
        attempt: 0,
        run_lease: None,
        lease_until: None,
        run_started_at: None,
        run_after: NOW,
        cancel_requested: false,
        failure: None,
        discarded_at: None,
        trace_context: None,
        created_at: NOW,
        updated_at: NOW,
        version: Version(1),
    }
}

#[test]
fn a_queued_posting_names_its_agent_its_account_and_its_turn() {
    let told = |change: fn(&mut Scene)| Scene::is(State::Queued, change);
    let at_once = told(|_| {});
    assert_eq!(
        at_once,
        ("turn", "its turn on the agent \"shop pc\"; it is handed over in a moment".into(), None)
    );
    assert_eq!(
        told(|scene| scene.agent = None),
        ("agent_missing", "the account to be bound to an agent: tradepost accounts bind".into(), None)
    );
    let gone = |scene: &mut Scene| scene.agent.as_mut().expect("one").controller = None;
    assert_eq!(told(gone), ("agent_offline", "the agent \"shop pc\" to come online".into(), None));
    let revoked = told(|scene| scene.agent.as_mut().expect("one").revoked_at = Some(NOW));
    let words =
        "the account to be bound to another agent, as \"shop pc\" is revoked: tradepost accounts bind";
    assert_eq!(revoked, ("agent_revoked", words.into(), None));
    let parked = told(|scene| scene.publication.job.state = job::State::Parked);
    assert_eq!(
        parked,
        ("parked", "the agent \"shop pc\" to be back and take the work up again".into(), None)
    );
    let paused = told(|scene| {
        scene.pacing.paused_at = Some(NOW);
        scene.pacing.uses = vec![NOW, NOW];
    });
    let words = format!("the account to be resumed, as it is paused: tradepost accounts resume {}", id(2));
    assert_eq!(paused, ("paused", words, None), "before the limit: a person can end it");
    let unsettled = told(|scene| scene.unsettled = Some(PostingId(id(9))));
    assert_eq!(unsettled.0, "unsettled");
    assert!(unsettled.1.starts_with(&format!("the posting {} of this account to be settled", id(9))));
    let ahead = told(|scene| scene.ahead = 3);
    assert_eq!(ahead, ("turn", "its turn on the agent \"shop pc\": 3 jobs go first".into(), None));
    let many = told(|scene| scene.ahead = 1_000);
    assert!(many.1.ends_with(": 1000 jobs or more go first"), "{}", many.1);
    let full = told(|scene| scene.agent_runs = 1);
    let words = "a free place on the agent \"shop pc\", which works on 1 job";
    assert_eq!(full, ("slots", words.into(), None));
    let busy = told(|scene| {
        (scene.agent_runs, scene.ahead) = (1, 2);
        scene.account_run = Some(job(job::Kind::Login, JobId(id(10)), AgentId(id(7))));
    });
    let words = "its turn: the account's sign-in runs now; then 2 jobs go first";
    assert_eq!(busy, ("turn", words.into(), None));
}

#[test]
fn a_queued_posting_names_the_time_it_waits_for() {
    let told = |change: fn(&mut Scene)| Scene::is(State::Queued, change);
    let scheduled = told(|scene| scene.publication.job.run_after = NOW + Duration::from_secs(86_400));
    let words = "its time, tomorrow 11:00 (Europe/Madrid), in 1d";
    assert_eq!(scheduled, ("scheduled", words.into(), Some(Duration::from_secs(86_400))));
    let retry = told(|scene| {
        scene.publication.job.run_after = NOW + Duration::from_secs(30);
        scene.publication.job.attempt = 2;
        scene.publication.job.failure = Some(Failure::new(FailureClass::Network, "open", "no answer."));
    });
    let words = "the next try (3 of 8) at 11:00:30 (Europe/Madrid), in 30s, after: no answer";
    assert_eq!(retry, ("retry", words.into(), Some(Duration::from_secs(30))));
    let limited = told(|scene| {
        scene.pacing.uses = vec![NOW, NOW];
        scene.ahead = 1;
    });
    let words = "the account's limit of 2 publications in 24 hours, until tomorrow 11:00 (Europe/Madrid), in 1d; then \
                 1 job goes first";
    assert_eq!(limited, ("limit_per_day", words.into(), Some(Duration::from_secs(86_400))));
    let quiet = told(|scene| scene.pacing.own.quiet_hours = Some("10:30-12:15".parse().expect("hours")));
    let words = "the end of the quiet hours (10:30-12:15), 12:15 (Europe/Madrid), in 1h 15m";
    assert_eq!(quiet, ("quiet_hours", words.into(), Some(Duration::from_secs(4_500))));
    let cooled = told(|scene| {
        scene.publication.job.run_after = NOW + Duration::from_secs(3_600);
        let until = NOW + Duration::from_secs(7_200);
        scene.pacing.cool_down = Some(pacing::CoolDown { until, class: FailureClass::LimitReached });
    });
    assert_eq!((cooled.0, cooled.2), ("cool_down", Some(Duration::from_secs(7_200))), "the later of both");
}

#[test]
fn an_uncertain_posting_names_the_report_or_the_look() {
    let told = |change: fn(&mut Scene)| Scene::is(State::Uncertain, change);
    let look = |scene: &mut Scene, state, after| {
        let look = job(job::Kind::Reconcile, JobId(id(11)), AgentId(id(7)));
        scene.look = Some(Job { state, run_after: NOW + Duration::from_secs(after), ..look });
        scene.publication.intent.state = publish::State::Unknown;
    };
    let report = told(|scene| {
        scene.publication.intent.state = publish::State::Armed;
        scene.publication.intent.permit = Some(Permit {
            id: PermitId(id(12)),
            request: String::new(),
            run_lease: RunLease(1),
            epoch: SessionEpoch(1),
            armed_at: NOW,
            report_by: NOW + Duration::from_secs(60),
        });
    });
    let words = "the agent's report of what became of the click, or else for a look that starts at 11:01:00 \
                 (Europe/Madrid), in 1m; do not post it by hand";
    assert_eq!(report, ("report", words.into(), Some(Duration::from_secs(60))));
    let next = Scene::is(State::Uncertain, |scene| look(scene, job::State::Queued, 600));
    let words = "the next look, at 11:10 (Europe/Madrid), in 10m: it tells whether the listing is on the site; do not \
                 post it by hand";
    assert_eq!(next, ("look", words.into(), Some(Duration::from_secs(600))));
    let running = Scene::is(State::Uncertain, |scene| look(scene, job::State::Running, 0));
    assert!(running.1.starts_with("the look that runs now: it tells"), "{}", running.1);
    let due = Scene::is(State::Uncertain, |scene| look(scene, job::State::Queued, 0));
    assert!(due.1.starts_with("the next look, now: it tells"), "{}", due.1);
    let stuck = Scene::is(State::Uncertain, |scene| {
        look(scene, job::State::NeedsHuman, 0);
        let failure = Failure::new(FailureClass::NeedsLogin, "open", "nobody is signed in");
        scene.look.as_mut().expect("one").failure = Some(failure);
    });
    assert_eq!(stuck.0, "person");
    assert!(stuck.1.starts_with("a person: nobody is signed in; then retry the posting"), "{}", stuck.1);
    let offline = Scene::is(State::Uncertain, |scene| {
        look(scene, job::State::Queued, 600);
        scene.agent.as_mut().expect("one").controller = None;
    });
    assert_eq!(offline.0, "agent_offline");
    assert!(
        offline.1.starts_with("the agent \"shop pc\" to come online, then the next look: it"),
        "{}",
        offline.1
    );
    let paused = Scene::is(State::Uncertain, |scene| {
        look(scene, job::State::Queued, 600);
        scene.pacing.paused_at = Some(NOW);
    });
    assert_eq!(paused.0, "paused");
}

#[test]
fn a_posting_that_needs_a_person_says_what_to_do() {
    let told = |class, intent| {
        Scene::is(State::NeedsHuman, |scene| {
            scene.publication.posting.failure = Some(Failure::new(class, "x", "it stopped."));
            scene.publication.intent.state = intent;
        })
        .1
    };
    let login = told(FailureClass::NeedsLogin, publish::State::Preparing);
    let words = format!(
        "a person: it stopped; sign in with tradepost accounts login {}, and it goes on by itself",
        id(2)
    );
    assert_eq!(login, words);
    let locked = told(FailureClass::AccountLocked, publish::State::Prepared);
    assert_eq!(
        locked,
        format!("a person: it stopped; when that is done: tradepost postings retry {}", id(3))
    );
    let odd = told(FailureClass::Uncertain, publish::State::Duplicate);
    let words = format!(
        "a person: it stopped; look at the site and say what is there: tradepost postings resolve {}",
        id(3)
    );
    assert_eq!(odd, words);
}

#[test]
fn what_runs_or_has_ended_waits_for_nothing_but_a_wish_to_end_it() {
    for state in [State::Running, State::Published, State::Failed, State::Cancelled] {
        let mut scene = Scene::new();
        scene.publication.posting.state = state;
        assert_eq!(scene.explained(), None, "{state:?}");
    }
    let ending = Scene::is(State::Running, |scene| scene.publication.job.cancel_requested = true);
    assert_eq!(
        ending,
        ("cancelling", "the agent to end the run; nothing is published any more".into(), None)
    );
}
