//! What decisions need, read at once, is what the single reads give.

use anyhow::{Context, Result};
use tradepost_domain::id::{AgentId, JobId, ListingId, PostingId};
use tradepost_domain::job;
use uuid::Uuid;

use super::world::{World, at, update};
use crate::{Asked, Change};

/// Absent things are none, in their places; another workspace's are absent.
pub async fn grounds_are_what_single_reads_give(world: World) -> Result<()> {
    let (seller, other) = (world.seller().await?, world.seller().await?);
    let store = &world.store;
    let made = world.publication(&seller).await?.posting;
    let asked =
        |posting, listing, account| Asked { workspace: seller.tenant.workspace, posting, listing, account };
    let absent = PostingId(Uuid::from_u128(1));
    let all = [
        asked(made.id, made.listing, made.account),
        asked(absent, made.listing, made.account),
        asked(absent, ListingId(Uuid::from_u128(2)), other.account.id),
    ];
    let grounds = store.find_grounds(&all).await?;
    assert_eq!(grounds.len(), 3);
    assert_eq!(grounds[0].made.as_ref(), Some(&made));
    for ground in &grounds[..2] {
        assert_eq!(ground.account, store.find_account(made.workspace, made.account).await?);
        assert_eq!(ground.agent, store.find_agent(seller.agent.id).await?);
        let listing = store.find_listing(made.workspace, made.listing).await?;
        assert!(listing.is_some() && ground.listing == listing);
        assert_eq!((&ground.published, ground.unsettled), (&None, None));
    }
    assert_eq!((&grounds[1].made, &grounds[2]), (&None, &crate::Ground::default()));
    assert!(store.find_grounds(&[]).await?.is_empty());
    Ok(())
}

/// A run comes with its publication, and only for its agent; supplies come for every kind of job.
pub async fn runs_come_with_all_that_is_decided_on(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let store = &world.store;
    let (publication, _) = world.running(&seller, at(1)).await?;
    let found = store.find_run(seller.agent.id, publication.job.id).await?.context("is there")?;
    assert_eq!(found.job, publication.job);
    assert_eq!(found.publication.as_ref(), Some(&publication));
    assert_eq!(store.find_run(AgentId(Uuid::from_u128(3)), publication.job.id).await?, None);
    assert_eq!(store.find_run(seller.agent.id, JobId(Uuid::from_u128(3))).await?, None);
    // A look names the posting, and is not its publish job.
    let look = job::Job {
        kind: job::Kind::Reconcile,
        posting: Some(publication.posting.id),
        intent: Some(publication.intent.id),
        ..world.new_job(&seller.account, seller.agent.id)
    };
    let sign_in = job::Job { kind: job::Kind::Login, ..world.new_job(&seller.account, seller.agent.id) };
    store
        .commit(Change { new_jobs: vec![look.clone(), sign_in.clone()], ..Change::default() }, at(2))
        .await?;
    let found = store.find_run(seller.agent.id, look.id).await?.context("is there")?;
    assert_eq!((found.job.id, found.publication), (look.id, None));
    let supplies = store.find_supplies(&[publication.job.clone(), sign_in, look]).await?;
    assert_eq!(supplies.len(), 3);
    for supplies in &supplies {
        assert_eq!(supplies.account.as_ref().map(|account| account.id), Some(seller.account.id));
    }
    let listing = store.find_listing(publication.posting.workspace, publication.posting.listing).await?;
    for place in [0, 2] {
        assert_eq!(supplies[place].publication.as_ref(), Some(&publication));
        assert_eq!(supplies[place].listing, listing);
        let photos: Vec<_> = supplies[place].photos.iter().map(|photo| photo.id).collect();
        assert_eq!(Some(photos), listing.as_ref().map(|listing| listing.content.photos.clone()));
    }
    assert_eq!((&supplies[1].publication, &supplies[1].listing), (&None, &None));
    Ok(())
}

/// Many writes at once, some of them refused: each gets its own answer, and what is stored is what was answered.
pub async fn many_writes_at_once_each_get_their_own_answer(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let workspace = seller.tenant.workspace;
    let mut publications = Vec::new();
    for _ in 0..40 {
        publications.push(world.publication(&seller).await?);
    }
    let begin = world.store.last_event(workspace).await?;
    let mut writes = tokio::task::JoinSet::new();
    for (place, publication) in publications.iter().enumerate() {
        let mut changed = publication.clone();
        changed.job.priority = i32::try_from(place)?;
        let spoiled = place % 7 == 3;
        if spoiled {
            changed.intent.version.0 += 10;
        }
        let mut change = update(&changed);
        change.events =
            vec![super::world::event(&publication.posting, tradepost_domain::event::Kind::JobChanged)];
        let store = world.store.clone();
        writes.spawn(async move { (place, spoiled, store.commit(change, at(5)).await) });
    }
    while let Some(done) = writes.join_next().await {
        let (place, spoiled, answer) = done?;
        assert_eq!(answer.is_err(), spoiled, "{place}: {answer:?}");
        let stored = world.reload(&publications[place]).await?;
        let priority = if spoiled { publications[place].job.priority } else { i32::try_from(place)? };
        assert_eq!(stored.job.priority, priority, "{place}");
    }
    let refused = publications.iter().enumerate().filter(|(place, _)| place % 7 == 3).count();
    let told = world.store.last_event(workspace).await? - begin;
    assert_eq!(usize::try_from(told)?, publications.len() - refused);
    Ok(())
}
