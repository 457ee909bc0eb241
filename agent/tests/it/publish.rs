//! Whole runs: the real runner and journal, real Chromium, the practice marketplace, and a scripted controller.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tradepost_agent::credentials::Credentials;
use tradepost_agent::credentials::sealed::SealedCredentials;
use tradepost_agent::evidence::Spool;
use tradepost_agent::journal::{Journal, Outcome, RunKey};
use tradepost_agent::photos::Photos;
use tradepost_agent::runner::{Kit, Runner};
use tradepost_agent::session::frame::{
    Dispatch, Ending, Inbound, Outbound, Phase, PublishTask, StepStatus, TaskPhoto,
};
use tradepost_agent::session::live::Live;
use tradepost_agent::session::settler::Settler;
use tradepost_agent::session::state::State;
use tradepost_agent::wake::{Confirmed, Wake};
use tradepost_domain::failure::FailureClass;
use tradepost_domain::id::{AgentId, BootId, ContentHash, IntentId, PhotoId, PostingId};
use tradepost_domain::job::Kind;
use tradepost_domain::listing::{Condition, Content};
use tradepost_domain::money::Money;
use tradepost_domain::photo::MediaType;
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::Tasks;
use tradepost_testkit::process::{Signal, signal};
use tradepost_testkit::wait::until;
use uuid::Uuid;

use crate::clocks::ManualClocks;
use crate::containment::chrome;
use crate::controller::{Scripted, dispatch, run};
use crate::site::Site;

const RECIPES: [(&str, &str); 5] = [
    ("pack", include_str!("../../../recipes/sandbox/pack.yaml")),
    ("login_check", include_str!("../../../recipes/sandbox/login_check.yaml")),
    ("login", include_str!("../../../recipes/sandbox/login.yaml")),
    ("publish", include_str!("../../../recipes/sandbox/publish.yaml")),
    ("scan", include_str!("../../../recipes/sandbox/scan.yaml")),
];
const PHOTOS: u32 = 2;

/// An agent at a practice marketplace, with a scripted controller.
struct Stage {
    folder: TempDir,
    site: Site,
    controller: Arc<Scripted>,
    journal: Arc<Journal>,
    clocks: Arc<ManualClocks>,
    tasks: Tasks,
}

impl Stage {
    async fn set() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("agent");
        std::fs::create_dir_all(&data)?;
        let site = Site::open(&folder.path().join("site")).await?;
        let (controller, tasks, ids) = (Scripted::new(), Tasks::new(), Ids::from_system());
        let journal = Arc::new(Journal::open(&data.join("journal"))?);
        let (events, from_runs) = mpsc::channel(1024);
        let (epoch, epochs) = watch::channel(None);
        let (refusal, refusals) = watch::channel(None);
        let (confirmed, confirmations) = watch::channel(Confirmed::default());
        let clocks = ManualClocks::new();
        let wake = Wake::new(clocks.clone());
        tasks.spawn("wake", wake.clone().watch(tasks.shutdown_token()));
        let spool = Spool::open(data.join("evidence"))?;
        let kit = Kit {
            agent: AgentId(Uuid::from_u128(1)),
            data: data.clone(),
            link: controller.clone(),
            journal: journal.clone(),
            settler: Settler { link: controller.clone(), journal: journal.clone(), ids: ids.clone() },
            spool: spool.clone(),
            photos: Photos::open(&data)?,
            credentials: Credentials::new(&data),
            sealed: Arc::new(SealedCredentials::open(&data, AgentId(Uuid::from_u128(1)), &ids)?),
            chrome: Arc::new(chrome().await?),
            epoch: epochs,
            refusal: refusals,
            events,
            clocks: clocks.clone(),
            wake: wake.clone(),
            confirmed: confirmations,
            ids: ids.clone(),
            tasks: tasks.clone(),
        };
        let shutdown = tasks.shutdown_token();
        tasks.spawn("evidence", spool.upload_all(controller.clone(), ids.clone(), shutdown.clone()));
        let live = Live {
            link: controller.clone(),
            runs: Arc::new(Runner::new(Arc::new(kit))),
            state: State::new(BootId(Uuid::from_u128(2)), 2),
            events: from_runs,
            epoch,
            refusal,
            journal: journal.clone(),
            wake,
            confirmed,
            ids,
            shutdown,
        };
        tasks.spawn("session", live.run());
        controller.greet(1).await;
        Ok(Self { folder, site, controller, journal, clocks, tasks })
    }

    /// With a password for the account.
    async fn with_password() -> Result<Self> {
        let stage = Self::set().await?;
        let credentials = Credentials::new(&stage.folder.path().join("agent"));
        let account = dispatch(run(1, 1), 1).account.id;
        credentials.set(account, "seller1@example.com", &"correct horse 1".to_owned().into())?;
        Ok(stage)
    }

    fn dispatch(&self, run: RunKey, kind: Kind) -> Result<Dispatch> {
        let mut dispatch = dispatch(run, 1);
        dispatch.kind = kind;
        dispatch.account.site_url = self.site.url.parse()?;
        dispatch.account.sign_in_name = Some("seller1@example.com".into());
        dispatch.recipes = RECIPES.map(|(name, yaml)| (name.to_owned(), yaml.to_owned())).to_vec();
        dispatch.publish = Some(self.task()?);
        Ok(dispatch)
    }

    fn task(&self) -> Result<PublishTask> {
        let photos = (1..=PHOTOS).map(|n| {
            let content = tradepost_testkit::photos::jpeg(n);
            let hash = ContentHash::of(&content);
            let bytes = content.len() as u64;
            self.controller.with(|heard| heard.photos.insert(hash, content));
            TaskPhoto { hash, file_name: format!("photo {n}.jpg"), media_type: MediaType::Jpeg, bytes }
        });
        let photos: Vec<_> = photos.collect();
        Ok(PublishTask {
            posting: PostingId(Uuid::from_u128(3)),
            intent: IntentId(Uuid::from_u128(4)),
            generation: 1,
            content: Content {
                title: "Oak table – 1950s".into(),
                description: "Solid oak.".into(),
                price: Money::parse("1250.50", "GBP".parse()?)?,
                category: "Home > Furniture".into(),
                condition: Condition::Good,
                location: "Berlin".into(),
                sku: "TP-0001".into(),
                attributes: BTreeMap::new(),
                photos: (1..=PHOTOS).map(|n| PhotoId(Uuid::from_u128(n.into()))).collect(),
            },
            photos,
            baseline: Vec::new(),
        })
    }

    /// Gives the agent something to do.
    async fn begin(&self, run: RunKey, kind: Kind) -> Result<()> {
        self.controller.say(Inbound::Dispatch(Box::new(self.dispatch(run, kind)?))).await;
        Ok(())
    }

    async fn reaches(&self, phase: Phase) {
        self.controller
            .wait("that phase", |heard| {
                let there =
                    |frame: &Outbound| matches!(frame, Outbound::Step(_, step) if step.phase == phase);
                heard.said.iter().any(there).then_some(())
            })
            .await;
    }

    /// The only outcome told.
    fn outcome(&self) -> Result<Outcome> {
        self.controller.with(|heard| match heard.settled.as_slice() {
            [(_, outcome)] => Ok(outcome.clone()),
            other => anyhow::bail!("{} outcomes were told: {other:?}", other.len()),
        })
    }

    /// Nothing is left behind: no process, no open permit, no run's folder.
    fn is_tidy(&self) -> Result<()> {
        let state = self.journal.state();
        ensure!(
            state.processes().is_empty() && state.open().next().is_none() && state.runs().is_empty(),
            "{state:?}"
        );
        let left: Vec<_> = entries(&self.folder.path().join("agent/runs"))?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    }

    async fn strike(self) {
        self.tasks.drain(Duration::from_secs(10)).await;
    }
}

fn entries(folder: &Path) -> Result<Vec<String>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn failure(ending: Ending) -> Result<FailureClass> {
    match ending {
        Ending::Failed(failure) => Ok(failure.class),
        other => anyhow::bail!("the run ended with {other:?}"),
    }
}

#[tokio::test]
async fn a_listing_is_posted_once_with_receipt_and_evidence_though_answers_are_lost() -> Result<()> {
    let stage = Stage::with_password().await?;
    stage.controller.with(|heard| (heard.lose_permits, heard.lose_settlements) = (1, 1));
    stage.begin(run(1, 1), Kind::Publish).await?;
    let ending = stage.controller.ending(run(1, 1)).await;
    ensure!(ending == Ending::Succeeded, "{ending:?}");
    assert_eq!(stage.site.items().await?, 1);

    let Outcome::Confirmed(receipt) = stage.outcome()? else { panic!("not confirmed") };
    assert!(
        receipt.read_back.len() >= 4 && receipt.read_back.iter().all(|check| check.matches),
        "{receipt:?}"
    );
    assert!(receipt.recipe.starts_with("sandbox/publish@") && receipt.prepare_ms > 0);
    stage.controller.with(|heard| {
        let names: Vec<_> = heard.asked.iter().map(|request| request.request.clone()).collect();
        assert_eq!(names.len(), 2, "asked again");
        assert_eq!(names[0], names[1], "under the same name");
        assert_eq!(heard.prepared.len(), 1);
        let uploaded: Vec<_> = heard.evidence.iter().map(|file| file.name.as_str()).collect();
        for wanted in ["before_fence.html", "after_fence.html"] {
            assert!(uploaded.contains(&wanted), "{uploaded:?}");
        }
        assert!(receipt.evidence.iter().all(|kept| uploaded.contains(&kept.name.as_str())), "{uploaded:?}");
        let phases: Vec<_> = heard
            .said
            .iter()
            .filter_map(|frame| match frame {
                Outbound::Step(_, step) => Some(step.phase),
                _ => None,
            })
            .collect();
        for phase in [Phase::Start, Phase::Prepare, Phase::Commit, Phase::Confirm] {
            assert!(phases.contains(&phase), "{phase:?} was not told");
        }
    });
    stage.is_tidy()?;

    let published = std::slice::from_ref(&receipt.item.item_id);
    assert_eq!(receipt.trail.new_items, published, "the difference is one listing");
    assert_eq!((receipt.baseline_count, receipt.trail.count_after), (0, Some(1)));

    // A look finds it again, by title and price, and reads its page back.
    stage.begin(run(2, 2), Kind::Reconcile).await?;
    let Ending::Looked(look) = stage.controller.ending(run(2, 2)).await else { panic!("no look") };
    assert!(
        look.whole
            && matches!(look.items.as_slice(), [item] if item.matches && item.item_id == receipt.item.item_id),
        "{look:?}"
    );
    let page = look.page.as_ref().context("the page was not read back")?;
    assert_eq!(page.item_id, receipt.item.item_id);
    assert_eq!(page.read_back.len(), receipt.read_back.len(), "as whole as the run's own");
    assert!(page.read_back.iter().all(|check| check.matches), "{page:?}");
    assert!(page.read_back.iter().any(|check| check.field == "photos"), "{page:?}");
    assert!(look.evidence.iter().any(|file| file.name == "found.png"), "{:?}", look.evidence);
    stage.is_tidy()?;
    stage.strike().await;
    Ok(())
}

#[tokio::test]
async fn a_sleeping_pc_fills_the_form_anew_and_clicks_once() -> Result<()> {
    let stage = Stage::with_password().await?;
    stage.begin(run(1, 1), Kind::Publish).await?;
    stage.reaches(Phase::Prepare).await;
    stage.clocks.sleep(Duration::from_secs(3_600));
    // The run goes on only when the controller has confirmed it over a new stream.
    stage.controller.greet(2).await;
    let ending = stage.controller.ending(run(1, 1)).await;
    ensure!(ending == Ending::Succeeded, "{ending:?}");
    assert_eq!(stage.site.items().await?, 1);
    stage.controller.with(|heard| {
        let steps = heard.said.iter().filter_map(|frame| match frame {
            Outbound::Step(_, step) if step.status == StepStatus::Started => Some(step.name.as_str()),
            _ => None,
        });
        let steps: Vec<_> = steps.collect();
        let of = |name: &str| steps.iter().filter(|step| **step == name).count();
        assert_eq!(of("Go on after the PC has slept"), 1, "{steps:?}");
        assert_eq!(of("See who is signed in"), 3, "before, by the sign-in, and after the sleep: {steps:?}");
        assert_eq!(of("Publish"), 1, "{steps:?}");
    });
    stage.is_tidy()?;
    stage.strike().await;
    Ok(())
}

#[tokio::test]
async fn a_run_that_was_given_up_while_the_pc_slept_never_clicks() -> Result<()> {
    let stage = Stage::with_password().await?;
    stage.controller.with(|heard| heard.given_up = vec![run(1, 1)]);
    stage.begin(run(1, 1), Kind::Publish).await?;
    stage.reaches(Phase::Prepare).await;
    stage.clocks.sleep(Duration::from_secs(40));
    stage.controller.greet(2).await;
    let Ending::Failed(failure) = stage.controller.ending(run(1, 1)).await else { panic!("published?") };
    assert!(failure.message.contains("has given the work up"), "{failure}");
    assert!(stage.controller.with(|heard| heard.asked.is_empty()), "no permit was asked for");
    assert_eq!(stage.site.items().await?, 0);
    stage.is_tidy()?;
    stage.strike().await;
    Ok(())
}

#[tokio::test]
async fn a_permit_of_before_a_sleep_is_given_back_unused() -> Result<()> {
    let stage = Stage::with_password().await?;
    // The answer to the request comes after a sleep that is shorter than a permit's life.
    stage.controller.with(|heard| heard.lose_permits = 1);
    stage.begin(run(1, 1), Kind::Publish).await?;
    stage.controller.wait("request", |heard| (!heard.asked.is_empty()).then_some(())).await;
    stage.clocks.sleep(Duration::from_secs(12));
    stage.controller.greet(2).await;
    assert_eq!(failure(stage.controller.ending(run(1, 1)).await)?, FailureClass::TimedOut);
    assert!(matches!(stage.outcome()?, Outcome::NotClicked(_)));
    assert_eq!(stage.site.items().await?, 0);
    stage.is_tidy()?;
    stage.strike().await;
    Ok(())
}

#[tokio::test]
async fn a_permit_that_ran_out_is_given_back_without_a_click() -> Result<()> {
    let stage = Stage::with_password().await?;
    stage.controller.with(|heard| heard.ttl = Some(Duration::from_millis(1)));
    stage.begin(run(1, 1), Kind::Publish).await?;
    assert_eq!(failure(stage.controller.ending(run(1, 1)).await)?, FailureClass::TimedOut);
    assert!(matches!(stage.outcome()?, Outcome::NotClicked(_)));
    assert_eq!(stage.site.items().await?, 0);
    stage.is_tidy()?;

    // Neither does a denied one click.
    stage.controller.with(|heard| heard.deny = Some("ACCOUNT_BUSY".into()));
    stage.begin(run(2, 2), Kind::Publish).await?;
    let Ending::Failed(busy) = stage.controller.ending(run(2, 2)).await else { panic!("published?") };
    assert_eq!(busy.class, FailureClass::Network, "it is tried again soon");
    assert!(busy.message.contains("another publication of this account is being settled"), "{busy}");
    stage.controller.with(|heard| heard.deny = Some("WRONG_STATE".into()));
    stage.begin(run(3, 3), Kind::Publish).await?;
    assert_eq!(failure(stage.controller.ending(run(3, 3)).await)?, FailureClass::Network);
    assert_eq!(stage.site.items().await?, 0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let profiles = std::fs::metadata(stage.folder.path().join("agent/profiles"))?;
        assert_eq!(profiles.permissions().mode() & 0o777, 0o700);
    }
    stage.is_tidy()?;
    stage.strike().await;
    Ok(())
}

#[tokio::test]
async fn a_cancel_and_a_dead_chrome_end_a_run_before_its_click() -> Result<()> {
    let stage = Stage::with_password().await?;
    stage.begin(run(1, 1), Kind::Publish).await?;
    stage.reaches(Phase::Prepare).await;
    stage.controller.say(Inbound::Cancel(run(1, 1))).await;
    assert_eq!(failure(stage.controller.ending(run(1, 1)).await)?, FailureClass::Cancelled);

    stage.controller.with(|heard| heard.said.clear());
    stage.begin(run(2, 2), Kind::Publish).await?;
    stage.reaches(Phase::Prepare).await;
    let chrome = stage.journal.state().processes().last().copied().context("Chrome is noted down")?;
    let killed = tokio::time::Instant::now();
    for process in stage.journal.state().processes() {
        if process.pid >= chrome.pid.min(process.pid) && process.is_alive() {
            signal(process.pid, Signal::Kill)?;
        }
    }
    assert_eq!(failure(stage.controller.ending(run(2, 2)).await)?, FailureClass::BrowserCrashed);
    ensure!(killed.elapsed() < Duration::from_secs(10), "it took {:?}", killed.elapsed());
    assert_eq!(stage.site.items().await?, 0);
    assert!(stage.controller.with(|heard| heard.asked.is_empty()));
    stage.is_tidy()?;
    stage.strike().await;
    Ok(())
}

#[tokio::test]
async fn a_revoked_agent_closes_chrome_before_the_click_and_keeps_the_outcome_after_it() -> Result<()> {
    let stage = Stage::with_password().await?;
    stage.begin(run(1, 1), Kind::Publish).await?;
    stage.reaches(Phase::Prepare).await;
    let revoked = tokio::time::Instant::now();
    stage.controller.with(|heard| heard.revoked = true);
    stage.controller.cut();
    let tidy = || async { stage.is_tidy().map_err(|left| left.to_string()) };
    until("Chrome is closed", Duration::from_secs(15), tidy).await?;
    ensure!(revoked.elapsed() < Duration::from_secs(10), "it took {:?}", revoked.elapsed());
    assert_eq!(stage.site.items().await?, 0);
    stage.strike().await;

    let stage = Stage::with_password().await?;
    stage.begin(run(1, 1), Kind::Publish).await?;
    stage.reaches(Phase::Confirm).await;
    stage.controller.with(|heard| heard.revoked = true);
    stage.controller.cut();
    let ended = || async {
        let journal = stage.journal.state();
        if journal.runs().is_empty() && journal.processes().is_empty() {
            Ok(())
        } else {
            Err(format!("{journal:?}"))
        }
    };
    until("the run ends", Duration::from_secs(60), ended).await?;
    assert_eq!(stage.site.items().await?, 1);
    let journal = stage.journal.state();
    assert_eq!(journal.open().count(), 1, "the outcome waits to be told: {journal:?}");
    assert!(stage.controller.with(|heard| heard.settled.is_empty()));
    stage.strike().await;
    Ok(())
}

#[tokio::test]
async fn a_refused_listing_is_definite_and_a_headless_agent_without_password_asks_for_a_person() -> Result<()>
{
    let stage = Stage::set().await?;
    stage.begin(run(1, 1), Kind::Login).await?;
    let Ending::Failed(needs_login) = stage.controller.ending(run(1, 1)).await else { panic!("signed in?") };
    assert_eq!(needs_login.class, FailureClass::NeedsLogin);
    assert!(needs_login.message.contains("tradepost accounts credentials set"), "{needs_login}");
    assert!(needs_login.message.contains("without --headless"), "{needs_login}");
    stage.strike().await;

    let stage = Stage::with_password().await?;
    stage.site.control(json!({ "next": { "reject": "This item can't be sold here." } })).await?;
    stage.begin(run(1, 1), Kind::Publish).await?;
    let Ending::Failed(rejected) = stage.controller.ending(run(1, 1)).await else { panic!("published?") };
    assert_eq!(rejected.class, FailureClass::ListingRejected);
    assert!(rejected.message.contains("can't be sold here"), "{rejected}");
    assert!(matches!(stage.outcome()?, Outcome::NotClicked(_)));
    assert_eq!(stage.site.items().await?, 0);
    stage.is_tidy()?;
    stage.strike().await;
    Ok(())
}

#[tokio::test]
async fn a_limit_is_definite_and_an_error_is_uncertain_or_found() -> Result<()> {
    let stage = Stage::with_password().await?;
    let cases: [(serde_json::Value, usize, &str); 4] = [
        (json!({ "limit_reached": true }), 0, "not clicked: limit_reached"),
        (json!({ "error_before_commit": true }), 0, "uncertain"),
        (json!({ "error_after_commit": true }), 1, "confirmed"),
        (json!({ "accept_then_drop": true, "delayed_visibility_ms": 60_000 }), 2, "uncertain"),
    ];
    for (n, (fault, items, expected)) in (1_i64..).zip(cases) {
        let key = run(u128::try_from(n)?, n);
        stage.controller.with(|heard| heard.settled.clear());
        stage.site.control(json!({ "reset": true })).await?;
        stage.site.control(json!({ "next": fault })).await?;
        stage.begin(key, Kind::Publish).await?;
        let ending = stage.controller.ending(key).await;
        let told = match (stage.outcome()?, ending) {
            (Outcome::Confirmed(_), Ending::Succeeded) => "confirmed".to_owned(),
            (Outcome::NotClicked(_), Ending::Failed(failure)) => {
                format!("not clicked: {}", failure.class.name())
            }
            (Outcome::Uncertain(_), Ending::Failed(_)) => "uncertain".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!((told.as_str(), stage.site.items().await?), (expected, items), "{fault}");
    }
    stage.is_tidy()?;
    stage.strike().await;
    Ok(())
}
