//! What is lost comes back, and what may have been clicked is never clicked again.

use std::time::Duration;

use anyhow::Result;
use tradepost_proto::v1;
use tradepost_testkit::wait;
use v1::open_response::Frame as Out;
use v1::run_ended::Outcome;

use crate::agent::{Agent, BASELINE, Stream, confirmed, run, task};
use crate::system::{DEADLINE, System, User, reason};

/// A posting whose run has begun.
async fn begun(system: &System) -> Result<(User, Agent, v1::Posting, Stream, v1::Dispatch)> {
    let user = system.user().await?;
    let agent = Agent::enrol(system, &user).await?;
    let account = user.account("shop", &agent.id).await?;
    let listing = user.listing("Drill").await?;
    let posting = user.post("p1", &listing.id, &account.id).await?;
    let mut stream = agent.attach(system, &[]).await?;
    let dispatch = stream.dispatch().await?;
    stream.acknowledge(&run(&dispatch)).await?;
    stream.prepared(&dispatch).await?;
    Ok((user, agent, posting, stream, dispatch))
}

#[tokio::test]
async fn a_run_outlives_a_restart_of_the_controller() -> Result<()> {
    let mut system = System::start().await?;
    let (_, agent, posting, mut stream, dispatch) = begun(&system).await?;
    system.stop().await?;
    assert!(matches!(stream.next().await?, Out::GoAway(_)));
    system.resume().await?;
    let user = system.user().await?;
    let stream = agent.attach(&system, &[run(&dispatch)]).await?;
    stream.beat(&[run(&dispatch)]).await?;
    let permit = stream.permit(&dispatch, "r1").await?;
    stream.settle(&dispatch, &permit, confirmed("5")).await?;
    let published = user.reaches(&posting.id, v1::PostingState::Published).await?;
    assert_eq!(user.job(&published.job_id).await?.attempt, 1, "no second run was needed");
    Ok(())
}

#[tokio::test]
async fn a_run_goes_on_when_its_agent_is_back_after_the_lease_has_ended() -> Result<()> {
    let system = System::start().await?;
    let (user, agent, posting, stream, dispatch) = begun(&system).await?;
    drop(stream);
    system.clock.advance(Duration::from_secs(31));
    user.job_reaches(&run(&dispatch).job_id, v1::JobState::Parked).await?;
    let stream = agent.attach(&system, &[run(&dispatch)]).await?;
    stream.prepared(&dispatch).await?;
    let job = user.job(&run(&dispatch).job_id).await?;
    assert_eq!((job.state(), job.attempt), (v1::JobState::Running, 1));
    // The same over a stream that outlived the lease.
    system.clock.advance(Duration::from_secs(31));
    user.job_reaches(&run(&dispatch).job_id, v1::JobState::Parked).await?;
    stream.beat(&[run(&dispatch)]).await?;
    user.job_reaches(&run(&dispatch).job_id, v1::JobState::Running).await?;
    let permit = stream.permit(&dispatch, "r1").await?;
    stream.settle(&dispatch, &permit, confirmed("8")).await?;
    let published = user.reaches(&posting.id, v1::PostingState::Published).await?;
    assert_eq!(user.job(&published.job_id).await?.attempt, 1, "no second run was needed");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_lost_its_run_before_the_click_gets_a_new_one_and_the_old_one_is_fenced_off()
-> Result<()> {
    let system = System::start().await?;
    let (user, agent, posting, older, dispatch) = begun(&system).await?;
    let mut stream = agent.attach(&system, &[]).await?;
    assert!(stream.epoch > older.epoch);
    let again = stream.dispatch().await?;
    assert!(run(&again).run_lease > run(&dispatch).run_lease);
    assert_eq!(again.attempt, 2);
    let refused = older.permit(&dispatch, "r1").await.expect_err("the lease is stale");
    assert_eq!(reason(&refused), "STALE_RUN");
    let refused = older.prepared(&dispatch).await.expect_err("the lease is stale");
    assert_eq!(reason(&refused), "STALE_RUN");
    stream.acknowledge(&run(&again)).await?;
    stream.prepared(&again).await?;
    let permit = stream.permit(&again, "r2").await?;
    stream.settle(&again, &permit, confirmed("6")).await?;
    user.reaches(&posting.id, v1::PostingState::Published).await.map(drop)
}

#[tokio::test]
async fn a_click_that_nobody_reports_is_found_by_looking_and_never_repeated() -> Result<()> {
    let system = System::start().await?;
    let (user, agent, posting, stream, dispatch) = begun(&system).await?;
    stream.permit(&dispatch, "r1").await?;
    drop(stream);
    // The agent is back without its run: the fence was passed, so nothing is begun anew.
    let mut stream = agent.attach(&system, &[]).await?;
    system.clock.advance(Duration::from_secs(61));
    wait::until("a look to be planned", DEADLINE, || async {
        let posting = user.posting(&posting.id).await.map_err(|error| error.to_string())?;
        if posting.waiting_for.contains("the next look, at") { Ok(()) } else { Err(posting.waiting_for) }
    })
    .await?;
    assert_eq!(user.posting(&posting.id).await?.state(), v1::PostingState::Uncertain);
    let other = user.listing("Saw").await?;
    let behind = user.post("p2", &other.id, &posting.account_id).await?;
    assert!(behind.waiting_for.contains(&posting.id), "{}", behind.waiting_for);
    let request = user.request(v1::RetryPostingRequest { id: posting.id.clone() });
    let refused = user.postings().retry_posting(request).await.expect_err("it may be published");
    assert_eq!(reason(&refused), "PAST_THE_FENCE");

    system.clock.advance(Duration::from_secs(31));
    let look = stream.dispatch().await?;
    assert_eq!(look.kind(), v1::JobKind::Reconcile);
    assert_eq!(task(&look).baseline_item_ids, BASELINE);
    stream.acknowledge(&run(&look)).await?;
    let seen =
        |id: &str, matches| v1::SeenItem { item_id: id.into(), url: format!("http://x/{id}"), matches };
    let items = vec![seen("11", false), seen("12", false), seen("13", true)];
    stream
        .end(&run(&look), Outcome::Look(v1::LookReport { items, whole: true, ..v1::LookReport::default() }))
        .await?;
    let published = user.reaches(&posting.id, v1::PostingState::Published).await?;
    assert_eq!(published.item.map(|item| item.item_id), Some("13".into()));
    assert_eq!(user.job(&published.job_id).await?.attempt, 1);
    Ok(())
}

#[tokio::test]
async fn a_journal_that_proves_no_click_lets_the_job_go_on_with_a_new_intent() -> Result<()> {
    let system = System::start().await?;
    let (user, agent, posting, stream, dispatch) = begun(&system).await?;
    let permit = stream.permit(&dispatch, "r1").await?;
    drop(stream);
    let mut stream = agent.attach(&system, &[]).await?;
    let proof =
        v1::settle_publication_request::Outcome::NotClicked(v1::NotClicked { reason: "the journal".into() });
    stream.settle(&dispatch, &permit, proof).await?;
    let again = stream.dispatch().await?;
    assert_eq!(task(&again).generation, 2);
    assert_ne!(task(&again).intent_id, task(&dispatch).intent_id);
    // A late word about the old generation is taken and changes nothing.
    stream.settle(&dispatch, &permit, confirmed("9")).await?;
    assert_eq!(user.posting(&posting.id).await?.item, None);
    Ok(())
}

#[tokio::test]
async fn a_permit_whose_answer_was_lost_with_the_agent_is_given_back_unused_however_late() -> Result<()> {
    let system = System::start().await?;
    let (user, agent, posting, stream, dispatch) = begun(&system).await?;
    let permit = stream.permit(&dispatch, "r1").await?;
    drop(stream);
    // Longer than the lease: the job does not run any more. Then longer than the report may take.
    for (seconds, state) in [(31, v1::JobState::Uncertain), (60, v1::JobState::Uncertain)] {
        system.clock.advance(Duration::from_secs(seconds));
        user.job_reaches(&run(&dispatch).job_id, state).await?;
    }
    user.reaches(&posting.id, v1::PostingState::Uncertain).await?;
    let mut stream = agent.attach(&system, &[]).await?;
    assert_eq!(stream.permit(&dispatch, "r1").await?, permit, "the same request has the same answer");
    let refused = stream.permit(&dispatch, "r2").await.expect_err("another request");
    assert_eq!(reason(&refused), "WRONG_STATE");
    let reason = "the answer was lost; the permit was not used".into();
    let proof = v1::settle_publication_request::Outcome::NotClicked(v1::NotClicked { reason });
    stream.settle(&dispatch, &permit, proof).await?;
    let again = stream.dispatch().await?;
    assert_eq!(task(&again).generation, 2);
    Ok(())
}

#[tokio::test]
async fn a_dispatch_without_an_answer_is_offered_again() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let account = user.account("shop", &agent.id).await?;
    let listing = user.listing("Drill").await?;
    user.post("p1", &listing.id, &account.id).await?;
    let mut stream = agent.attach(&system, &[]).await?;
    let dispatch = stream.dispatch().await?;
    system.clock.advance(Duration::from_secs(6));
    user.job_reaches(&run(&dispatch).job_id, v1::JobState::Parked).await?;
    stream.beat(&[]).await?;
    let again = stream.dispatch().await?;
    assert!(run(&again).run_lease > run(&dispatch).run_lease);
    stream.acknowledge(&run(&dispatch)).await?;
    match stream.next().await? {
        Out::Forget(v1::Forget { run: Some(forgotten) }) => assert_eq!(forgotten, run(&dispatch)),
        other => anyhow::bail!("expected Forget, got {other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn the_jobs_of_a_revoked_agent_follow_their_account() -> Result<()> {
    let system = System::start().await?;
    let (user, agent, posting, stream, dispatch) = begun(&system).await?;
    drop(stream);
    system.clock.advance(Duration::from_secs(31));
    user.job_reaches(&run(&dispatch).job_id, v1::JobState::Parked).await?;
    user.revoke(&agent.id).await?;
    let waits = user.posting(&posting.id).await?;
    assert!(waits.waiting_for.contains("bound to another agent"), "{}", waits.waiting_for);
    let other = Agent::enrol(&system, &user).await?;
    let mut stream = other.attach(&system, &[]).await?;
    user.bind(&posting.account_id, &other.id).await?;
    // It is attached already: the next beat finds the job.
    stream.beat(&[]).await?;
    let again = stream.dispatch().await?;
    assert_eq!(task(&again).posting_id, posting.id);
    assert!(run(&again).run_lease > run(&dispatch).run_lease);
    Ok(())
}

#[tokio::test]
async fn the_click_of_a_revoked_agent_is_looked_for_by_the_next_one() -> Result<()> {
    let system = System::start().await?;
    let (user, agent, posting, stream, dispatch) = begun(&system).await?;
    stream.permit(&dispatch, "r1").await?;
    user.revoke(&agent.id).await?;
    drop(stream);
    system.clock.advance(Duration::from_secs(61));
    let waits = user.reaches(&posting.id, v1::PostingState::Uncertain).await?;
    assert!(waits.waiting_for.contains("do not post it by hand"), "{}", waits.waiting_for);
    let other = Agent::enrol(&system, &user).await?;
    let mut stream = other.attach(&system, &[]).await?;
    user.bind(&posting.account_id, &other.id).await?;
    system.clock.advance(Duration::from_secs(31));
    let look = stream.dispatch().await?;
    assert_eq!((look.kind(), &task(&look).posting_id), (v1::JobKind::Reconcile, &posting.id));
    assert_eq!(task(&look).baseline_item_ids, BASELINE);
    Ok(())
}

#[tokio::test]
async fn of_two_agents_with_one_data_directory_the_newest_stream_counts_and_one_click_is_allowed()
-> Result<()> {
    let system = System::start().await?;
    let (user, agent, posting, mut original, dispatch) = begun(&system).await?;
    // The clone greets without the original's run: it is over for the controller, whatever the original does.
    let mut clone = agent.attach(&system, &[]).await?;
    let again = clone.dispatch().await?;
    clone.acknowledge(&run(&again)).await?;
    let refused = original.permit(&dispatch, "r1").await.expect_err("an older stream, and an older run");
    assert_eq!(reason(&refused), "STALE_RUN");
    while original.next().await.is_ok() {}
    clone.prepared(&again).await?;
    let permit = clone.permit(&again, "r2").await?;
    // The original comes back in the middle of the click, and takes the stream over.
    let mut original = agent.attach(&system, &[run(&dispatch)]).await?;
    match original.next().await? {
        Out::Forget(v1::Forget { run: Some(forgotten) }) => assert_eq!(forgotten, run(&dispatch)),
        other => anyhow::bail!("expected Forget, got {other:?}"),
    }
    let refused = original.permit(&dispatch, "r1").await.expect_err("a permit is out");
    assert_eq!(reason(&refused), "STALE_RUN");
    clone.settle(&again, &permit, confirmed("5")).await?;
    let published = user.reaches(&posting.id, v1::PostingState::Published).await?;
    assert_eq!(published.generation, 1);
    Ok(())
}
