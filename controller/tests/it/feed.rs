//! The feed of events, when what comes next in it is kept no longer.

use std::time::Duration;

use anyhow::{Context, Result};
use tradepost_controller::app::{Opener, open_core};
use tradepost_proto::v1;
use tradepost_runtime::clock::Clock;
use tradepost_testkit::database::TestDatabase;
use v1::event_service_client::EventServiceClient;

use crate::system::{System, reason};

#[tokio::test]
async fn a_reader_that_would_miss_events_is_told_on_sqlite() -> Result<()> {
    tells_on(TestDatabase::sqlite()?).await
}

#[tokio::test]
async fn a_reader_that_would_miss_events_is_told_on_postgresql() -> Result<()> {
    tells_on(TestDatabase::empty_postgres().await?).await
}

async fn tells_on(database: TestDatabase) -> Result<()> {
    let system = System::start_on(database).await?;
    let user = system.user().await?;
    user.listing("Drill").await?;
    user.listing("Saw").await?;
    let newest = user.event("listing.created").await?.seq;
    // What retention does in a round of its own, some months later.
    let core = open_core(&system.config(), &system.surroundings(), Opener::Command).await?;
    let workspace = core.store.next_workspace(None).await?.context("a workspace")?;
    let kept = system.clock.now() + Duration::from_secs(1);
    anyhow::ensure!(core.store.forget_events(workspace, kept, 1_000).await? >= 2);
    core.store.close().await;
    user.listing("Plane").await?;

    let mut feed = EventServiceClient::new(user.channel.clone());
    let from = |after| user.request(v1::ListEventsRequest { after, ..v1::ListEventsRequest::default() });
    let refused = feed.list_events(from(1)).await.expect_err("events after it are gone");
    assert_eq!(reason(&refused), "EVENTS_GONE");
    let follow = user.request(v1::StreamEventsRequest { after: 1, posting_id: String::new() });
    let refused = feed.stream_events(follow).await.expect_err("events after it are gone");
    assert_eq!(reason(&refused), "EVENTS_GONE");
    assert!(refused.message().contains("follow from now on with -1"), "{refused:?}");

    // Whoever begins anew gets what is kept.
    let kept = feed.list_events(from(0)).await?.into_inner().events;
    assert!(!kept.is_empty() && kept.iter().all(|event| event.seq > newest), "{kept:?}");
    Ok(())
}
