//! When and in which order jobs run: limits, quiet hours, pauses, rests, turns, dead letters.

use std::time::Duration;

use anyhow::{Context, Result};
use tonic::Status;
use tonic::transport::Channel;
use tradepost_proto::v1;
use tradepost_runtime::clock::Clock;
use tradepost_testkit::{TestDatabase, wait};
use v1::account_service_client::AccountServiceClient;
use v1::event_service_client::EventServiceClient;
use v1::job_service_client::JobServiceClient;
use v1::open_response::Frame as Out;
use v1::run_ended::Outcome;
use v1::settle_publication_request::Outcome as Settled;

use crate::agent::{Agent, Stream, confirmed, failed, run};
use crate::system::{DEADLINE, System, User, fields, reason};

/// A user with an attached agent and an account.
struct Shop {
    system: System,
    user: User,
    stream: Stream,
    account: v1::Account,
}

impl Shop {
    async fn open() -> Result<Self> {
        Self::open_on(TestDatabase::sqlite()?).await
    }

    async fn open_on(database: TestDatabase) -> Result<Self> {
        let system = System::start_on(database).await?;
        let user = system.user().await?;
        let agent = Agent::enrol(&system, &user).await?;
        let account = user.account("shop", &agent.id).await?;
        let stream = agent.attach(&system, &[]).await?;
        Ok(Self { system, user, stream, account })
    }

    fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.user.channel.clone())
    }

    fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.user.channel.clone())
    }

    async fn pace(&self, set: v1::PacingPolicy) -> Result<v1::Pacing, Status> {
        let account_id = self.account.id.clone();
        let request = self.user.request(v1::UpdatePacingRequest { account_id, set: Some(set), reset: false });
        Ok(self.accounts().update_pacing(request).await?.into_inner().pacing.unwrap_or_default())
    }

    async fn pacing(&self) -> Result<v1::Pacing> {
        let request = self.user.request(v1::GetPacingRequest { account_id: self.account.id.clone() });
        self.accounts().get_pacing(request).await?.into_inner().pacing.context("no pacing")
    }

    async fn post(&self, name: &str) -> Result<v1::Posting> {
        let listing = self.user.listing(name).await?;
        Ok(self.user.post(name, &listing.id, &self.account.id).await?)
    }

    async fn why(&self, posting: &v1::Posting) -> Result<v1::GetWaitResponse> {
        let request = self.user.request(v1::GetWaitRequest { posting_id: posting.id.clone() });
        Ok(self.user.postings().get_wait(request).await?.into_inner())
    }

    /// Waits until the posting waits for that reason.
    async fn waits(&self, posting: &v1::Posting, wanted: &str) -> Result<v1::GetWaitResponse> {
        wait::until(&format!("posting to wait for {wanted}"), DEADLINE, || async {
            let why = self.why(posting).await.map_err(|error| error.to_string())?;
            if why.reason == wanted { Ok(why) } else { Err(format!("{why:?}")) }
        })
        .await
    }

    /// The next dispatch, taken and prepared.
    async fn prepared(&mut self) -> Result<v1::Dispatch> {
        let dispatch = self.stream.dispatch().await?;
        self.stream.acknowledge(&run(&dispatch)).await?;
        self.stream.prepared(&dispatch).await?;
        Ok(dispatch)
    }

    /// The next dispatch, published.
    async fn published(&mut self, item: &str) -> Result<v1::Dispatch> {
        let dispatch = self.prepared().await?;
        let permit = self.stream.permit(&dispatch, item).await?;
        self.stream.settle(&dispatch, &permit, confirmed(item)).await?;
        self.end(&dispatch, Outcome::Succeeded(v1::Succeeded {})).await?;
        Ok(dispatch)
    }

    async fn end(&mut self, dispatch: &v1::Dispatch, outcome: Outcome) -> Result<()> {
        self.stream.end(&run(dispatch), outcome).await?;
        anyhow::ensure!(matches!(self.stream.next().await?, Out::RunEndedStored(_)));
        Ok(())
    }
}

fn posting_of(dispatch: &v1::Dispatch) -> String {
    dispatch.publish.as_ref().map(|task| task.posting_id.clone()).unwrap_or_default()
}

fn failure(class: &str, until: &str) -> Outcome {
    let failure =
        v1::Failure { class: class.into(), step: "s".into(), until: until.into(), ..Default::default() };
    Outcome::Failed(failure)
}

#[tokio::test]
async fn a_limit_holds_until_its_time_has_passed_on_sqlite() -> Result<()> {
    a_limit_holds(TestDatabase::sqlite()?).await
}

#[tokio::test]
async fn a_limit_holds_until_its_time_has_passed_on_postgresql() -> Result<()> {
    a_limit_holds(TestDatabase::empty_postgres().await?).await
}

async fn a_limit_holds(database: TestDatabase) -> Result<()> {
    let mut shop = Shop::open_on(database).await?;
    shop.pace(v1::PacingPolicy { per_hour: Some(1), ..Default::default() }).await?;
    let first = shop.post("one").await?;
    shop.published("1").await?;
    shop.user.reaches(&first.id, v1::PostingState::Published).await?;
    let second = shop.post("two").await?;
    let third = shop.post("three").await?;
    let why = shop.waits(&second, "limit_per_hour").await?;
    let told = why.posting.map(|posting| posting.waiting_for).unwrap_or_default();
    assert!(told.starts_with("the account's limit of 1 publication an hour, until "), "{told}");
    let why = shop.waits(&third, "limit_per_hour").await?;
    assert_eq!(why.ahead, 1);
    let pacing = shop.pacing().await?;
    assert_eq!((pacing.used_last_hour, pacing.used_last_day, why.until), (1, 1, pacing.next_at));
    // Looking and signing in do not wait for that; a publication does, until its time.
    shop.system.clock.advance(Duration::from_secs(3_601));
    let dispatch = shop.published("2").await?;
    assert_eq!(posting_of(&dispatch), second.id);
    shop.waits(&third, "limit_per_hour").await?;
    Ok(())
}

#[tokio::test]
async fn what_the_rules_forbid_meanwhile_gets_no_permit_and_costs_no_try() -> Result<()> {
    let mut shop = Shop::open().await?;
    let posting = shop.post("one").await?;
    let dispatch = shop.prepared().await?;
    let hour =
        jiff::Timestamp::from_microsecond(shop.system.clock.now().as_micros())?.strftime("%H").to_string();
    let hour: u32 = hour.parse()?;
    let quiet = format!("{hour:02}:00-{:02}:00", (hour + 2) % 24);
    let set = v1::PacingPolicy { quiet_hours: quiet.clone(), ..Default::default() };
    let pacing = shop.pace(set).await?;
    assert!(pacing.waiting_for.contains(&format!("quiet hours ({quiet})")), "{}", pacing.waiting_for);
    let refused = shop.stream.permit(&dispatch, "r1").await.expect_err("these are quiet hours");
    assert_eq!(reason(&refused), "PACED");
    assert!(refused.message().contains("quiet hours"), "{}", refused.message());
    shop.end(&dispatch, failure("not_yet", "")).await?;
    shop.waits(&posting, "quiet_hours").await?;
    assert_eq!(shop.user.job(&run(&dispatch).job_id).await?.attempt, 0);
    shop.pace(v1::PacingPolicy { quiet_hours: "none".into(), ..Default::default() }).await?;
    let again = shop.published("1").await?;
    assert_eq!(posting_of(&again), posting.id);
    assert_eq!(shop.user.reaches(&posting.id, v1::PostingState::Published).await?.generation, 1);
    Ok(())
}

#[tokio::test]
async fn quiet_hours_that_begin_while_nothing_happens_hold_for_claims() -> Result<()> {
    let mut shop = Shop::open().await?;
    let now = jiff::Timestamp::from_microsecond(shop.system.clock.now().as_micros())?;
    let at = |minutes: i64| (now + jiff::SignedDuration::from_mins(minutes)).strftime("%H:%M").to_string();
    let quiet = format!("{}-{}", at(60), at(180));
    shop.pace(v1::PacingPolicy { quiet_hours: quiet, ..Default::default() }).await?;
    shop.system.clock.advance(Duration::from_secs(61 * 60));
    let posting = shop.post("one").await?;
    shop.waits(&posting, "quiet_hours").await?;
    shop.system.clock.advance(Duration::from_secs(120 * 60));
    assert_eq!(posting_of(&shop.published("1").await?), posting.id);
    Ok(())
}

#[tokio::test]
async fn a_publication_that_was_not_clicked_does_not_count() -> Result<()> {
    let mut shop = Shop::open().await?;
    shop.pace(v1::PacingPolicy { per_day: Some(1), ..Default::default() }).await?;
    let posting = shop.post("one").await?;
    let dispatch = shop.prepared().await?;
    let permit = shop.stream.permit(&dispatch, "r1").await?;
    assert_eq!(shop.pacing().await?.used_last_day, 1);
    let proof = Settled::NotClicked(v1::NotClicked { reason: "the button went away".into() });
    shop.stream.settle(&dispatch, &permit, proof).await?;
    assert_eq!(shop.pacing().await?.used_last_day, 0);
    shop.end(&dispatch, failed("network")).await?;
    shop.system.clock.advance(Duration::from_secs(3));
    let again = shop.published("1").await?;
    assert_eq!(posting_of(&again), posting.id);
    assert_eq!(shop.pacing().await?.used_last_day, 1);
    Ok(())
}

#[tokio::test]
async fn a_paused_account_begins_nothing_and_gets_no_permit() -> Result<()> {
    let mut shop = Shop::open().await?;
    let first = shop.post("one").await?;
    let dispatch = shop.prepared().await?;
    let request = shop.user.request(v1::PauseAccountRequest { id: shop.account.id.clone() });
    let paused = shop.accounts().pause_account(request).await?.into_inner().pacing.unwrap_or_default();
    assert!(paused.paused_at.is_some());
    let refused = shop.stream.permit(&dispatch, "r1").await.expect_err("the account is paused");
    assert_eq!(reason(&refused), "PACED");
    shop.end(&dispatch, failure("not_yet", "")).await?;
    let why = shop.waits(&first, "paused").await?.posting.unwrap_or_default();
    assert!(why.waiting_for.contains(&format!("tradepost accounts resume {}", shop.account.id)));
    let request =
        shop.user.request(v1::ResumeAccountRequest { id: shop.account.id.clone(), end_cool_down: false });
    shop.accounts().resume_account(request).await?;
    shop.published("1").await?;
    // Who did it stands in the feed.
    let events = EventServiceClient::new(shop.user.channel.clone())
        .list_events(shop.user.request(v1::ListEventsRequest::default()))
        .await?
        .into_inner()
        .events;
    let told: Vec<_> = events.iter().filter(|event| event.kind == "account.changed").collect();
    assert_eq!(told.len(), 2, "{told:?}");
    Ok(())
}

#[tokio::test]
async fn a_limit_that_the_site_names_stops_the_whole_account_until_then() -> Result<()> {
    let mut shop = Shop::open().await?;
    let first = shop.post("one").await?;
    let dispatch = shop.prepared().await?;
    shop.end(&dispatch, failure("limit_reached", "+7200")).await?;
    let second = shop.post("two").await?;
    let why = shop.waits(&second, "cool_down").await?;
    let told = why.posting.map(|posting| posting.waiting_for).unwrap_or_default();
    assert!(told.contains("the site said that its posting limit is reached"), "{told}");
    shop.waits(&first, "cool_down").await?;
    let pacing = shop.pacing().await?;
    assert_eq!((pacing.cool_down_class.as_str(), pacing.cool_down_until), ("limit_reached", pacing.next_at));
    // Its own time comes after an hour already; the account's rest holds.
    shop.system.clock.advance(Duration::from_secs(3_700));
    shop.waits(&first, "cool_down").await?;
    let request =
        shop.user.request(v1::ResumeAccountRequest { id: shop.account.id.clone(), end_cool_down: true });
    let resumed = shop.accounts().resume_account(request).await?.into_inner().pacing.unwrap_or_default();
    assert_eq!((resumed.cool_down_until, resumed.next_at), (None, None));
    assert_eq!(posting_of(&shop.published("1").await?), first.id);
    Ok(())
}

#[tokio::test]
async fn wrong_rules_are_refused_all_at_once_and_strangers_see_nothing() -> Result<()> {
    let shop = Shop::open().await?;
    let set = v1::PacingPolicy {
        per_day: Some(2_000),
        quiet_hours: "late".into(),
        time_zone: "Mars/Olympus".into(),
        ..Default::default()
    };
    let refused = shop.pace(set).await.expect_err("nothing is right");
    assert_eq!(fields(&refused), ["quiet_hours", "time_zone", "per_day"]);
    let stranger = shop.system.stranger().await?;
    let request = stranger.request(v1::GetPacingRequest { account_id: shop.account.id.clone() });
    let refused = shop.accounts().get_pacing(request).await.expect_err("not theirs");
    assert_eq!(reason(&refused), "ACCOUNT_NOT_FOUND");
    let request = stranger.request(v1::PauseAccountRequest { id: shop.account.id.clone() });
    assert_eq!(
        reason(&shop.accounts().pause_account(request).await.expect_err("not theirs")),
        "ACCOUNT_NOT_FOUND"
    );
    Ok(())
}

#[tokio::test]
async fn priorities_move_a_posting_within_its_account() -> Result<()> {
    let mut shop = Shop::open().await?;
    let first = shop.post("one").await?;
    let dispatch = shop.prepared().await?;
    let second = shop.post("two").await?;
    let third = shop.post("three").await?;
    let why = shop.waits(&third, "turn").await?;
    assert_eq!((why.ahead, why.priority), (1, 0));
    let told = why.posting.map(|posting| posting.waiting_for).unwrap_or_default();
    assert_eq!(told, "its turn: the account's posting runs now; then 1 job goes first");
    let request = shop.user.request(v1::PrioritizePostingRequest { id: third.id.clone(), priority: 50 });
    shop.user.postings().prioritize_posting(request).await?;
    assert_eq!((shop.why(&third).await?.ahead, shop.why(&second).await?.ahead), (0, 1));
    let permit = shop.stream.permit(&dispatch, "r1").await?;
    shop.stream.settle(&dispatch, &permit, confirmed("1")).await?;
    shop.end(&dispatch, Outcome::Succeeded(v1::Succeeded {})).await?;
    assert_eq!(posting_of(&shop.published("2").await?), third.id);
    assert_eq!(posting_of(&shop.published("3").await?), second.id);
    let request = shop.user.request(v1::PrioritizePostingRequest { id: first.id.clone(), priority: 50 });
    let refused = shop.user.postings().prioritize_posting(request).await.expect_err("it has ended");
    assert_eq!(reason(&refused), "WRONG_STATE");
    let request = shop.user.request(v1::PrioritizePostingRequest { id: first.id, priority: 101 });
    let refused = shop.user.postings().prioritize_posting(request).await.expect_err("too high");
    assert_eq!(fields(&refused), ["priority"]);
    Ok(())
}

#[tokio::test]
async fn an_account_has_one_open_sign_in_and_asking_again_lets_it_go_on() -> Result<()> {
    let mut shop = Shop::open().await?;
    let ask = async |shop: &Shop, name: &str| {
        let request = v1::LoginAccountRequest { request_id: name.into(), id: shop.account.id.clone() };
        let answer = shop.accounts().login_account(shop.user.request(request)).await?;
        anyhow::Ok(answer.into_inner().job_id)
    };
    let job = ask(&shop, "a").await?;
    assert_eq!(ask(&shop, "b").await?, job, "one is open");
    let dispatch = shop.stream.dispatch().await?;
    shop.stream.acknowledge(&run(&dispatch)).await?;
    shop.end(&dispatch, failed("needs_second_factor")).await?;
    shop.user.job_reaches(&job, v1::JobState::NeedsHuman).await?;
    assert_eq!(ask(&shop, "c").await?, job);
    let dispatch = shop.stream.dispatch().await?;
    assert_eq!(run(&dispatch).job_id, job);
    shop.stream.acknowledge(&run(&dispatch)).await?;
    shop.end(&dispatch, Outcome::Succeeded(v1::Succeeded {})).await?;
    shop.user.job_reaches(&job, v1::JobState::Succeeded).await?;
    assert_eq!(ask(&shop, "a").await?, job, "a repeat has the first answer");
    let next = ask(&shop, "d").await?;
    assert_ne!(next, job);
    // Sign-ins have a limit of their own; the second one of the hour waits.
    shop.stream.dispatch().await?;
    Ok(())
}

#[tokio::test]
async fn sign_ins_keep_their_distance() -> Result<()> {
    let mut shop = Shop::open().await?;
    shop.pace(v1::PacingPolicy { logins_per_hour: Some(1), ..Default::default() }).await?;
    let request = v1::LoginAccountRequest { request_id: "a".into(), id: shop.account.id.clone() };
    shop.accounts().login_account(shop.user.request(request)).await?;
    let dispatch = shop.stream.dispatch().await?;
    shop.stream.acknowledge(&run(&dispatch)).await?;
    shop.end(&dispatch, failed("network")).await?;
    let job = shop.user.job_reaches(&run(&dispatch).job_id, v1::JobState::Queued).await?;
    let seconds = |at: Option<prost_types::Timestamp>| at.map_or(0, |at| at.seconds);
    assert!(seconds(job.run_after) - seconds(job.updated_at) >= 3_590, "{job:?}");
    Ok(())
}

#[tokio::test]
async fn dead_letters_are_tried_again_or_put_aside_one_or_many() -> Result<()> {
    let mut shop = Shop::open().await?;
    for name in ["one", "two", "three"] {
        shop.post(name).await?;
        let dispatch = shop.prepared().await?;
        shop.end(&dispatch, failed("listing_rejected")).await?;
    }
    let dead = async |shop: &Shop| {
        let request = shop.user.request(v1::ListJobsRequest { dead_letters: true, ..Default::default() });
        anyhow::Ok(shop.jobs().list_jobs(request).await?.into_inner().jobs)
    };
    let letters = dead(&shop).await?;
    assert_eq!(letters.len(), 3);
    let aside = letters[0].id.clone();
    for _ in 0..2 {
        let request = shop.user.request(v1::DiscardJobRequest { id: aside.clone() });
        let job = shop.jobs().discard_job(request).await?.into_inner().job.unwrap_or_default();
        assert!(job.discarded_at.is_some() && job.state() == v1::JobState::Failed);
    }
    assert_eq!(dead(&shop).await?.len(), 2);
    let treat = async |shop: &Shop, remedy: v1::DeadLetterRemedy, class: &str| {
        let request = v1::TreatDeadLettersRequest {
            remedy: remedy.into(),
            failure_class: class.into(),
            ..Default::default()
        };
        let answer = shop.jobs().treat_dead_letters(shop.user.request(request)).await?.into_inner();
        anyhow::Ok((answer.matched, answer.done))
    };
    assert_eq!(treat(&shop, v1::DeadLetterRemedy::Retry, "network").await?, (0, 0));
    assert_eq!(treat(&shop, v1::DeadLetterRemedy::Count, "listing_rejected").await?, (2, 0));
    assert_eq!(treat(&shop, v1::DeadLetterRemedy::Discard, "listing_rejected").await?, (2, 2));
    assert_eq!(dead(&shop).await?.len(), 0);
    // What was put aside can still be tried again.
    let request = shop.user.request(v1::RetryJobRequest { id: aside.clone() });
    let job = shop.jobs().retry_job(request).await?.into_inner().job.unwrap_or_default();
    assert!(job.discarded_at.is_none(), "{job:?}");
    let dispatch = shop.published("1").await?;
    assert_eq!(run(&dispatch).job_id, aside);
    let request = shop.user.request(v1::DiscardJobRequest { id: aside });
    let refused = shop.jobs().discard_job(request).await.expect_err("it succeeded");
    assert_eq!(reason(&refused), "WRONG_STATE");
    assert!(refused.message().contains("succeeded"), "{}", refused.message());
    Ok(())
}
