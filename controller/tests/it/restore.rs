//! Restored backups: what the database has forgotten is never clicked again, and no number is given twice.

use std::time::Duration;

use anyhow::{Context, Result};
use tradepost_controller::app::{self, Opener, Surroundings};
use tradepost_controller::maintenance;
use tradepost_domain::fleet::{FleetEpoch, Knowledge, KnownPermit};
use tradepost_domain::id::{PermitId, RunLease, SessionEpoch};
use tradepost_domain::publish::baseline_hash;
use tradepost_proto::v1;
use tradepost_testkit::TestDatabase;
use v1::open_request::Frame as In;
use v1::open_response::Frame as Out;
use v1::settle_publication_request::Outcome;

use crate::agent::{Agent, BASELINE, Stream, confirmed, run, task};
use crate::system::{Memory, System, User, reason};

/// Run leases of the first life after a restore begin here.
const SECOND_LIFE: i64 = 1 << 40;

struct Scene {
    system: System,
    agent: Agent,
    posting: v1::Posting,
}

/// What an agent's journal holds of one permit.
struct Journal {
    dispatch: v1::Dispatch,
    permit: String,
    session_epoch: i64,
    decided: bool,
    outcome: Option<v1::told_permit::Outcome>,
}

impl Journal {
    fn knowledge(&self) -> Result<Knowledge> {
        let lease = RunLease(run(&self.dispatch).run_lease);
        Ok(Knowledge {
            session_epoch: SessionEpoch(self.session_epoch),
            run_lease: lease,
            permits: vec![KnownPermit {
                permit: self.permit.parse::<PermitId>()?,
                run_lease: lease,
                decided: self.decided,
            }],
            ..Knowledge::fresh()
        })
    }

    fn told(&self) -> v1::ToldPermit {
        v1::ToldPermit {
            permit_id: self.permit.clone(),
            permit_request_id: "r1".into(),
            run: self.dispatch.run.clone(),
            intent_id: task(&self.dispatch).intent_id.clone(),
            generation: task(&self.dispatch).generation,
            session_epoch: self.session_epoch,
            baseline_sha256: baseline_hash(&BASELINE.map(str::to_owned)).to_string(),
            outcome: self.outcome.clone(),
        }
    }
}

impl Scene {
    /// A queued posting, and its agent.
    async fn set(database: TestDatabase) -> Result<Self> {
        let system = System::start_on(database).await?;
        let user = system.user().await?;
        let agent = Agent::enrol(&system, &user).await?;
        let account = user.account("shop", &agent.id).await?;
        let listing = user.listing("Drill").await?;
        let posting = user.post("p1", &listing.id, &account.id).await?;
        Ok(Self { system, agent, posting })
    }

    async fn user(&self) -> Result<User> {
        self.system.user().await
    }

    /// The agent prepares the posting, and is given the permit.
    async fn arm(&self) -> Result<(Stream, v1::Dispatch, String)> {
        let mut stream = self.agent.attach(&self.system, &[]).await?;
        let dispatch = stream.dispatch().await?;
        stream.acknowledge(&run(&dispatch)).await?;
        stream.prepared(&dispatch).await?;
        let permit = stream.permit(&dispatch, "r1").await?;
        Ok((stream, dispatch, permit))
    }

    async fn recount(&self, journal: &Journal) -> Result<(Stream, v1::Welcome)> {
        let (stream, welcome) = self.agent.greet(&self.system, &[], journal.knowledge()?).await?;
        anyhow::ensure!(welcome.recount, "the older copy was not recognised: {welcome:?}");
        stream.send(In::Recount(v1::Recount { permits: vec![journal.told()], last: true })).await?;
        Ok((stream, welcome))
    }

    /// Another posting of the same agent, to see what it is given next.
    async fn next_posting(&self) -> Result<v1::Posting> {
        let user = self.user().await?;
        let listing = user.listing("Saw").await?;
        Ok(user.post("p2", &listing.id, &self.posting.account_id).await?)
    }
}

async fn a_click_after_the_backup_is_confirmed(database: TestDatabase, memory: Memory) -> Result<()> {
    let mut scene = Scene::set(database).await?;
    let backup = scene.system.back_up().await?;
    let (stream, dispatch, permit) = scene.arm().await?;
    stream.settle(&dispatch, &permit, confirmed("5")).await?;
    let session_epoch = stream.epoch;
    drop(stream);
    scene.system.put_back(backup, memory).await?;
    let user = scene.user().await?;
    assert_eq!(user.posting(&scene.posting.id).await?.state(), v1::PostingState::Queued, "forgotten");

    let Outcome::Confirmed(v1::Confirmed { receipt: Some(receipt) }) = confirmed("5") else { panic!("?") };
    let outcome = Some(v1::told_permit::Outcome::Confirmed(receipt));
    let journal = Journal { dispatch, permit, session_epoch, decided: true, outcome };
    let next = scene.next_posting().await?;
    let (mut stream, welcome) = scene.recount(&journal).await?;
    assert!(welcome.fleet_epoch >= 1 && stream.epoch > session_epoch, "{welcome:?}");
    let published = user.reaches(&scene.posting.id, v1::PostingState::Published).await?;
    assert_eq!(published.item.map(|item| item.item_id), Some("5".into()));
    // What is given next is another posting, under a lease that no run ever had.
    let again = stream.dispatch().await?;
    assert_eq!(task(&again).posting_id, next.id);
    assert!(run(&again).run_lease > SECOND_LIFE, "{}", run(&again).run_lease);
    stream.acknowledge(&run(&again)).await?;
    stream.prepared(&again).await?;
    let permit = stream.permit(&again, "r2").await?;
    stream.settle(&again, &permit, confirmed("6")).await?;
    user.reaches(&next.id, v1::PostingState::Published).await?;
    let request = user.request(v1::GetReceiptRequest { posting_id: scene.posting.id.clone() });
    let receipt = user.postings().get_receipt(request).await?.into_inner().receipt.context("a receipt")?;
    assert_eq!(receipt.recipe, "r", "the journal's own");

    // Nothing is left to be told.
    let (_, welcome) = scene.agent.greet(&scene.system, &[], journal.knowledge()?).await?;
    assert!(!welcome.recount, "{welcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_click_after_the_backup_is_confirmed_by_the_agents_journal() -> Result<()> {
    a_click_after_the_backup_is_confirmed(TestDatabase::sqlite()?, Memory::Kept).await
}

#[tokio::test]
async fn a_click_after_the_backup_is_confirmed_on_postgresql() -> Result<()> {
    a_click_after_the_backup_is_confirmed(TestDatabase::empty_postgres().await?, Memory::Kept).await
}

#[tokio::test]
async fn an_older_copy_is_recognised_by_agents_alone() -> Result<()> {
    a_click_after_the_backup_is_confirmed(TestDatabase::sqlite()?, Memory::Lost).await
}

#[tokio::test]
async fn an_older_copy_is_recognised_by_agents_alone_on_postgresql() -> Result<()> {
    a_click_after_the_backup_is_confirmed(TestDatabase::empty_postgres().await?, Memory::Lost).await
}

async fn a_click_of_unknown_effect_is_looked_for(database: TestDatabase) -> Result<()> {
    let mut scene = Scene::set(database).await?;
    // The form is prepared when the backup is made: the list of own listings is in it.
    let mut stream = scene.agent.attach(&scene.system, &[]).await?;
    let dispatch = stream.dispatch().await?;
    stream.acknowledge(&run(&dispatch)).await?;
    stream.prepared(&dispatch).await?;
    drop(stream);
    let backup = scene.system.back_up().await?;
    let stream = scene.agent.attach(&scene.system, &[run(&dispatch)]).await?;
    let permit = stream.permit(&dispatch, "r1").await?;
    let session_epoch = stream.epoch;
    drop(stream);
    scene.system.put_back(backup, Memory::Lost).await?;
    let outcome = Some(v1::told_permit::Outcome::Uncertain("the reply was lost".into()));
    let journal = Journal { dispatch, permit, session_epoch, decided: false, outcome };
    let (mut stream, _) = scene.recount(&journal).await?;
    let user = scene.user().await?;
    user.reaches(&scene.posting.id, v1::PostingState::Uncertain).await?;
    scene.system.clock.advance(Duration::from_secs(31));
    let look = stream.dispatch().await?;
    assert_eq!((look.kind(), &task(&look).posting_id), (v1::JobKind::Reconcile, &scene.posting.id));
    assert_eq!(task(&look).baseline_item_ids, BASELINE);
    Ok(())
}

#[tokio::test]
async fn a_click_of_unknown_effect_after_the_backup_is_looked_for_and_not_repeated() -> Result<()> {
    a_click_of_unknown_effect_is_looked_for(TestDatabase::sqlite()?).await
}

#[tokio::test]
async fn a_click_of_unknown_effect_after_the_backup_is_looked_for_on_postgresql() -> Result<()> {
    a_click_of_unknown_effect_is_looked_for(TestDatabase::empty_postgres().await?).await
}

#[tokio::test]
async fn a_click_whose_list_of_listings_is_forgotten_waits_for_a_person() -> Result<()> {
    let mut scene = Scene::set(TestDatabase::sqlite()?).await?;
    let backup = scene.system.back_up().await?;
    let (stream, dispatch, permit) = scene.arm().await?;
    let session_epoch = stream.epoch;
    drop(stream);
    scene.system.put_back(backup, Memory::Kept).await?;
    let outcome = Some(v1::told_permit::Outcome::Uncertain("the reply was lost".into()));
    let journal = Journal { dispatch, permit, session_epoch, decided: false, outcome };
    scene.recount(&journal).await?;
    let user = scene.user().await?;
    let asked = user.reaches(&scene.posting.id, v1::PostingState::NeedsHuman).await?;
    let why = asked.failure.unwrap_or_default().message;
    assert!(why.contains("the reply was lost") && why.contains("look on the site"), "{why}");
    Ok(())
}

#[tokio::test]
async fn an_agent_whose_journal_was_silent_goes_on_and_one_that_cannot_vouch_waits_for_a_person() -> Result<()>
{
    for (whole_since, state) in [(0, v1::PostingState::Running), (i64::MAX, v1::PostingState::NeedsHuman)] {
        let mut scene = Scene::set(TestDatabase::sqlite()?).await?;
        let backup = scene.system.back_up().await?;
        scene.next_posting().await?;
        scene.system.put_back(backup, Memory::Kept).await?;
        let known = Knowledge { whole_since: RunLease(whole_since), ..Knowledge::fresh() };
        let (stream, welcome) = scene.agent.greet(&scene.system, &[], known).await?;
        assert!(welcome.recount, "the controller remembers more");
        stream.send(In::Recount(v1::Recount { permits: Vec::new(), last: true })).await?;
        scene.user().await?.reaches(&scene.posting.id, state).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_account_that_moves_before_its_agent_is_back_waits_for_a_person() -> Result<()> {
    let mut scene = Scene::set(TestDatabase::sqlite()?).await?;
    let backup = scene.system.back_up().await?;
    let (stream, dispatch, permit) = scene.arm().await?;
    let session_epoch = stream.epoch;
    drop(stream);
    scene.system.put_back(backup, Memory::Kept).await?;
    let user = scene.user().await?;
    // The new agent has nothing to tell, and so cannot vouch for the old one.
    let other = Agent::enrol(&scene.system, &user).await?;
    let (_other, welcome) = other.greet(&scene.system, &[], Knowledge::fresh()).await?;
    assert!(!welcome.recount);
    user.bind(&scene.posting.account_id, &other.id).await?;
    let asked = user.posting(&scene.posting.id).await?;
    assert_eq!(asked.state(), v1::PostingState::NeedsHuman);
    // When the old one is back, it settles the question.
    let Outcome::Confirmed(v1::Confirmed { receipt: Some(receipt) }) = confirmed("5") else { panic!("?") };
    let outcome = Some(v1::told_permit::Outcome::Confirmed(receipt));
    let journal = Journal { dispatch, permit, session_epoch, decided: true, outcome };
    scene.recount(&journal).await?;
    user.reaches(&scene.posting.id, v1::PostingState::Published).await.map(drop)
}

#[tokio::test]
async fn a_settlement_of_a_forgotten_permit_is_taken() -> Result<()> {
    let mut scene = Scene::set(TestDatabase::sqlite()?).await?;
    let mut stream = scene.agent.attach(&scene.system, &[]).await?;
    let dispatch = stream.dispatch().await?;
    stream.acknowledge(&run(&dispatch)).await?;
    stream.prepared(&dispatch).await?;
    drop(stream);
    let backup = scene.system.back_up().await?;
    let stream = scene.agent.attach(&scene.system, &[run(&dispatch)]).await?;
    let permit = stream.permit(&dispatch, "r1").await?;
    drop(stream);
    scene.system.put_back(backup, Memory::Lost).await?;
    // The run lives, and tells its outcome before the agent has a stream again.
    let channel = scene.system.channel(&scene.system.agents, Some(scene.agent.identity()?)).await?;
    let request = v1::SettlePublicationRequest {
        intent_id: task(&dispatch).intent_id.clone(),
        permit_id: permit,
        run: dispatch.run.clone(),
        outcome: Some(confirmed("5")),
    };
    let mut permits = v1::publish_permit_service_client::PublishPermitServiceClient::new(channel);
    permits.settle_publication(request.clone()).await?;
    permits.settle_publication(request).await?;
    let user = scene.user().await?;
    let published = user.reaches(&scene.posting.id, v1::PostingState::Published).await?;
    assert_eq!(published.item.map(|item| item.item_id), Some("5".into()));
    Ok(())
}

#[tokio::test]
async fn a_publication_that_the_copy_has_no_posting_for_is_told_in_the_feed() -> Result<()> {
    let mut scene = Scene::set(TestDatabase::sqlite()?).await?;
    let (stream, dispatch, permit) = scene.arm().await?;
    stream.settle(&dispatch, &permit, confirmed("5")).await?;
    drop(stream);
    let backup = scene.system.back_up().await?;
    let later = scene.next_posting().await?;
    let mut stream = scene.agent.attach(&scene.system, &[]).await?;
    let dispatch = stream.dispatch().await?;
    assert_eq!(task(&dispatch).posting_id, later.id);
    stream.acknowledge(&run(&dispatch)).await?;
    stream.prepared(&dispatch).await?;
    let permit = stream.permit(&dispatch, "r2").await?;
    let session_epoch = stream.epoch;
    drop(stream);
    scene.system.put_back(backup, Memory::Kept).await?;
    let Outcome::Confirmed(v1::Confirmed { receipt: Some(receipt) }) = confirmed("6") else { panic!("?") };
    let outcome = Some(v1::told_permit::Outcome::Confirmed(receipt));
    let journal = Journal { dispatch, permit, session_epoch, decided: true, outcome };
    scene.recount(&journal).await?;
    let user = scene.user().await?;
    let event = user.event("publication.forgotten").await?;
    let data = event.data.context("data")?;
    assert!(format!("{data:?}").contains("/item/6"), "{data:?}");
    user.event("fleet.restored").await.map(drop)
}

#[tokio::test]
async fn an_agent_of_another_installation_is_refused() -> Result<()> {
    let scene = Scene::set(TestDatabase::sqlite()?).await?;
    let known = Knowledge { fleet_epoch: FleetEpoch(5_000), ..Knowledge::fresh() };
    let refused = scene.agent.greet(&scene.system, &[], known).await.err().context("it was taken")?;
    let status = refused.downcast_ref::<tonic::Status>().context("a status")?;
    assert_eq!(reason(status), "AGENT_AHEAD");
    Ok(())
}

#[tokio::test]
async fn a_backup_is_made_beside_a_controller_and_put_back_with_open_clicks_uncertain() -> Result<()> {
    let mut scene = Scene::set(TestDatabase::sqlite()?).await?;
    let (stream, dispatch, permit) = scene.arm().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("backup.db");
    let config = scene.system.config();
    assert!(app::backup(&config, &file).await? > 0);
    assert!(app::backup(&config, &file).await.is_err(), "a file is never overwritten");
    stream.settle(&dispatch, &permit, confirmed("5")).await?;
    drop(stream);
    let surroundings = Surroundings { clock: scene.system.clock.clone(), ..Surroundings::of_system() };
    let running =
        maintenance::restore(&config, &surroundings, &file).await.err().context("a controller runs")?;
    assert!(running.to_string().contains("in use by another controller"), "{running}");
    scene.system.stop().await?;
    let none = folder.path().join("no.db");
    std::fs::write(&none, "no database, but long enough to look into it".repeat(100))?;
    assert!(maintenance::restore(&config, &surroundings, &none).await.is_err());
    let maintenance::Restored { fleet, kept } = maintenance::restore(&config, &surroundings, &file).await?;
    assert_eq!(fleet.epoch, FleetEpoch(1));
    let kept = kept.context("the replaced file is kept")?;
    assert!(kept.exists() && file.exists(), "{}", kept.display());
    // A second restore begins a later life still.
    assert_eq!(
        maintenance::restore(&config, &surroundings, &file).await.err().map(|error| error.to_string()),
        None
    );
    scene.system.resume().await?;
    let user = scene.user().await?;
    let posting = user.posting(&scene.posting.id).await?;
    assert_eq!(posting.state(), v1::PostingState::Uncertain, "the click was under way");

    let core = app::open_core(&config, &surroundings, Opener::Command).await?;
    assert_eq!(core.store.fleet().await?.epoch, FleetEpoch(2));
    core.store.close().await;
    // The journal settles it at once.
    let Outcome::Confirmed(v1::Confirmed { receipt: Some(receipt) }) = confirmed("5") else { panic!("?") };
    let outcome = Some(v1::told_permit::Outcome::Confirmed(receipt));
    let session_epoch = 1;
    let journal = Journal { dispatch, permit, session_epoch, decided: true, outcome };
    let (mut stream, _) = scene.recount(&journal).await?;
    user.reaches(&scene.posting.id, v1::PostingState::Published).await?;
    let next = scene.next_posting().await?;
    let again = stream.dispatch().await?;
    assert_eq!(task(&again).posting_id, next.id);
    assert!(run(&again).run_lease > 2 * SECOND_LIFE, "{}", run(&again).run_lease);
    Ok(())
}

#[tokio::test]
async fn the_command_for_other_means_begins_a_new_life_on_postgresql() -> Result<()> {
    let mut scene = Scene::set(TestDatabase::empty_postgres().await?).await?;
    let (stream, ..) = scene.arm().await?;
    drop(stream);
    let config = scene.system.config();
    assert!(
        app::backup(&config, std::path::Path::new("/nowhere"))
            .await
            .is_err_and(|error| error.to_string().contains("pg_dump"))
    );
    scene.system.stop().await?;
    let surroundings = Surroundings { clock: scene.system.clock.clone(), ..Surroundings::of_system() };
    let fleet = maintenance::bump_fleet_epoch(&config, &surroundings, FleetEpoch(6), "a test").await?;
    assert_eq!(fleet.epoch, FleetEpoch(7));
    scene.system.resume().await?;
    let posting = scene.user().await?.posting(&scene.posting.id).await?;
    assert_eq!(posting.state(), v1::PostingState::Uncertain);
    let (mut stream, welcome) = scene.agent.greet(&scene.system, &[], Knowledge::fresh()).await?;
    assert!(welcome.recount && welcome.fleet_epoch == 7 && stream.epoch > FleetEpoch(7).first_number());
    // Nothing is dispatched before the recount is over.
    let next = scene.next_posting().await?;
    stream.beat(&[]).await?;
    stream.send(In::Recount(v1::Recount { permits: Vec::new(), last: false })).await?;
    scene.system.clock.advance(Duration::from_secs(31));
    let waits = scene.user().await?.posting(&next.id).await?;
    assert_eq!(waits.state(), v1::PostingState::Queued);
    stream.send(In::Recount(v1::Recount { permits: Vec::new(), last: true })).await?;
    let look = stream.dispatch().await?;
    assert_eq!(look.kind(), v1::JobKind::Reconcile, "the open click first");
    stream.end(&run(&look), v1::run_ended::Outcome::Look(v1::LookReport::default())).await?;
    assert!(matches!(stream.next().await?, Out::RunEndedStored(_)));
    Ok(())
}
