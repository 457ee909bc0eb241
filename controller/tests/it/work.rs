//! A posting from the wish to the receipt.

use anyhow::Result;
use tradepost_proto::v1;
use tradepost_testkit::TestDatabase;
use v1::event_service_client::EventServiceClient;
use v1::listing_service_client::ListingServiceClient;
use v1::open_response::Frame as Out;
use v1::run_ended::Outcome;

use crate::agent::{Agent, confirmed, failed, run, task};
use crate::system::{System, reason};

#[tokio::test]
async fn a_posting_is_dispatched_published_once_and_proven_on_sqlite() -> Result<()> {
    publish_on(TestDatabase::sqlite()?).await
}

#[tokio::test]
async fn a_posting_is_dispatched_published_once_and_proven_on_postgresql() -> Result<()> {
    publish_on(TestDatabase::empty_postgres().await?).await
}

async fn publish_on(database: TestDatabase) -> Result<()> {
    let mut system = System::start_on(database).await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let account = user.account("shop", &agent.id).await?;
    let listing = user.listing("Drill").await?;
    let posting = user.post("p1", &listing.id, &account.id).await?;
    assert!(posting.waiting_for.contains("online"), "{}", posting.waiting_for);
    assert_eq!(
        user.post("p1", &listing.id, &account.id).await?.id,
        posting.id,
        "a repeat makes no second posting"
    );
    let open = user.post("p2", &listing.id, &account.id).await.expect_err("one at a time");
    assert_eq!(reason(&open), "POSTING_OPEN");

    let mut stream = agent.attach(&system, &[]).await?;
    let dispatch = stream.dispatch().await?;
    let run = run(&dispatch);
    assert!(dispatch.recipes.iter().any(|recipe| recipe.name == "publish" && !recipe.yaml.is_empty()));
    let photo = stream.fetch_photo(&run.job_id, &task(&dispatch).photos[0].sha256).await?;
    assert_eq!(i64::try_from(photo.len())?, task(&dispatch).photos[0].size_bytes);
    stream.acknowledge(&run).await?;
    // The acknowledgement and the calls below go different ways.
    user.job_reaches(&run.job_id, v1::JobState::Running).await?;
    stream.step(&run, 1, "title").await?;
    stream.step(&run, 2, "price").await?;
    stream.prepared(&dispatch).await?;
    let permit = stream.permit(&dispatch, "r1").await?;
    assert_eq!(stream.permit(&dispatch, "r1").await?, permit, "a repeat gets the same permit");
    assert!(stream.permit(&dispatch, "r2").await.is_err(), "and no second one is given");
    stream.settle(&dispatch, &permit, confirmed("77")).await?;
    stream.settle(&dispatch, &permit, confirmed("77")).await?;
    stream.end(&run, Outcome::Succeeded(v1::Succeeded {})).await?;
    assert!(matches!(stream.next().await?, Out::RunEndedStored(_)));

    let published = user.reaches(&posting.id, v1::PostingState::Published).await?;
    assert_eq!(published.item.map(|item| item.item_id), Some("77".into()));
    assert_eq!(
        user.post("p1", &listing.id, &account.id).await?.id,
        posting.id,
        "a repeat has the first answer"
    );
    let refused = user.post("p3", &listing.id, &account.id).await.expect_err("it is published already");
    assert_eq!(reason(&refused), "PUBLISHED_ALREADY");
    assert!(refused.message().contains(&posting.id), "{}", refused.message());
    assert!(refused.message().contains("/item/77"), "{}", refused.message());
    let request = user.request(v1::CreatePostingRequest {
        request_id: "p4".into(),
        listing_id: listing.id.clone(),
        account_id: account.id.clone(),
        priority: 0,
        again: true,
    });
    let once_more = user.postings().create_posting(request).await?.into_inner().posting.unwrap_or_default();
    assert_ne!(once_more.id, posting.id, "asked for again");
    let request = user.request(v1::GetReceiptRequest { posting_id: posting.id.clone() });
    let receipt = user.postings().get_receipt(request).await?.into_inner().receipt.unwrap_or_default();
    assert_eq!(receipt.agent_id, agent.id);
    let steps: Vec<String> = user.steps(&run.job_id).await?.into_iter().map(|step| step.name).collect();
    assert_eq!(steps, ["title", "price"]);

    let request =
        user.request(v1::ListEventsRequest { posting_id: posting.id.clone(), ..Default::default() });
    let events =
        EventServiceClient::new(user.channel.clone()).list_events(request).await?.into_inner().events;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    for kind in ["posting.created", "run.step", "intent.changed", "receipt.stored"] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
    assert!(events.is_sorted_by_key(|event| event.seq));
    system.stop().await
}

#[tokio::test]
async fn a_cancelled_run_gets_no_permit_and_a_person_retries_it() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let account = user.account("shop", &agent.id).await?;
    let listing = user.listing("Drill").await?;
    let posting = user.post("p1", &listing.id, &account.id).await?;
    let mut stream = agent.attach(&system, &[]).await?;
    let dispatch = stream.dispatch().await?;
    stream.acknowledge(&run(&dispatch)).await?;
    stream.end(&run(&dispatch), failed("needs_login")).await?;
    assert!(matches!(stream.next().await?, Out::RunEndedStored(_)));
    let waiting = user.reaches(&posting.id, v1::PostingState::NeedsHuman).await?;
    assert!(waiting.waiting_for.starts_with("a person"), "{}", waiting.waiting_for);

    let request = user.request(v1::RetryPostingRequest { id: posting.id.clone() });
    user.postings().retry_posting(request).await?;
    let dispatch = stream.dispatch().await?;
    stream.acknowledge(&run(&dispatch)).await?;
    stream.prepared(&dispatch).await?;
    let request = user.request(v1::CancelPostingRequest { id: posting.id.clone() });
    user.postings().cancel_posting(request).await?;
    assert!(matches!(stream.next().await?, Out::Cancel(_)));
    let refused = stream.permit(&dispatch, "r1").await.expect_err("nobody wishes it any more");
    assert_eq!(reason(&refused), "STALE_RUN");
    stream.end(&run(&dispatch), failed("cancelled")).await?;
    user.reaches(&posting.id, v1::PostingState::Cancelled).await?;

    let request = user.request(v1::DeleteListingRequest { id: listing.id.clone() });
    ListingServiceClient::new(user.channel.clone()).delete_listing(request).await?;
    let request = user.request(v1::RetryPostingRequest { id: posting.id.clone() });
    let refused = user.postings().retry_posting(request).await.expect_err("it was cancelled");
    assert_eq!(reason(&refused), "WRONG_STATE", "the state is told before the listing");
    assert!(refused.message().contains("create a new posting"), "{}", refused.message());
    Ok(())
}
