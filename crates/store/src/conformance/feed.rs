//! Events, steps and hints.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tradepost_domain::event::Kind;
use tradepost_domain::id::{AgentId, RunLease};
use tradepost_domain::job;

use super::world::{START, World, at, creation, event, update};
use crate::{Change, Error, Hint, Step, StepStatus};

/// A reader that follows the feed while many write sees 1, 2, 3, … and misses nothing.
pub async fn places_have_no_gaps_and_appear_in_order(world: World) -> Result<()> {
    const WRITERS: i64 = 8;
    const COMMITS: i64 = 25;
    let seller = world.seller().await?;
    let workspace = seller.tenant.workspace;
    let publication = world.publication(&seller).await?;
    let begin = world.store.last_event(workspace).await?;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (world, posting) = (world.clone(), publication.posting.clone());
        writers.spawn(async move {
            for _ in 0..COMMITS {
                let events = vec![event(&posting, Kind::PostingChanged); 2];
                // Some fail: what they would have told leaves no gap.
                let fails = writer == 0;
                let postings = if fails { vec![posting.clone()] } else { Vec::new() };
                let guarded = Change { postings, events, ..Change::default() };
                let guarded = if fails { spoil(guarded) } else { guarded };
                let done = world.store.commit(guarded, at(1)).await;
                anyhow::ensure!(done.is_err() == fails, "{done:?}");
            }
            Ok(())
        });
    }
    let end = begin + (WRITERS - 1) * COMMITS * 2;
    let mut seen = 0;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while seen < end {
        for event in world.store.list_events(workspace, seen, None, 10).await? {
            assert_eq!(event.seq, seen + 1);
            seen = event.seq;
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "the feed stands at {seen} of {end}");
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    assert_eq!(world.store.last_event(workspace).await?, end);
    let of_posting = world.store.list_events(workspace, begin, Some(publication.posting.id), 1000).await?;
    assert_eq!(i64::try_from(of_posting.len())?, end - begin);
    Ok(())
}

fn spoil(mut change: Change) -> Change {
    for posting in &mut change.postings {
        posting.version.0 += 1000;
    }
    change
}

/// Reports come again when their answer was lost.
pub async fn repeated_steps_are_told_once(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (workspace, agent) = (seller.tenant.workspace, seller.agent.id);
    let (publication, lease) = world.running(&seller, START).await?;
    let job = publication.job.id;
    let begin = world.store.last_event(workspace).await?;
    let step = |seq: u32, status: StepStatus| Step {
        seq,
        phase: String::from("prepare"),
        name: String::from("fill_title"),
        status,
        detail: String::from("17 characters"),
        duration: (status != StepStatus::Started).then(|| Duration::from_micros(1_234_567)),
        index: 2,
        total: 9,
    };
    let append = |steps: Vec<Step>| world.store.append_steps(agent, job, lease, steps, at(1));
    let (one, two, three) =
        (step(1, StepStatus::Started), step(2, StepStatus::Succeeded), step(3, StepStatus::Skipped));
    append(vec![one.clone(), two.clone()]).await?;
    append(vec![one.clone(), two.clone(), two.clone(), three.clone(), three.clone()]).await?;
    let stored = world.store.list_steps(workspace, job).await?;
    assert_eq!(stored.iter().map(|stored| stored.step.clone()).collect::<Vec<_>>(), [one, two, three]);
    assert!(stored.iter().all(|stored| stored.run_lease == lease && stored.at == at(1)));
    let told = world.store.list_events(workspace, begin, None, 100).await?;
    assert_eq!(told.iter().map(|told| told.event.kind).collect::<Vec<_>>(), [Kind::RunStep; 3]);
    let second = told.get(1).context("no second event")?;
    assert_eq!(second.event.subject.posting, Some(publication.posting.id));
    assert_eq!(second.event.data["duration_ms"], 1234);
    let older = RunLease(lease.0 - 1);
    let four = || vec![step(4, StepStatus::Failed)];
    assert!(matches!(world.store.append_steps(agent, job, older, four(), at(2)).await, Err(Error::Stale)));
    let stranger = AgentId(world.id());
    assert!(matches!(world.store.append_steps(stranger, job, lease, four(), at(2)).await, Err(Error::Stale)));
    Ok(())
}

/// Hints come after the commit, to those whose rows changed; failed writes give none.
pub async fn commits_wake_who_waits(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let listing = world.listing(seller.tenant).await?;
    let publication = world.new_publication(&seller.account, seller.agent.id, listing.id);
    let mut hints = world.store.hints();
    world.store.commit(creation(&publication), START).await?;
    let (agent, workspace) = (seller.agent.id, seller.tenant.workspace);
    expect(&mut hints, &[Hint::Agent(agent), Hint::Feed(workspace)]).await?;
    let mut stale = publication.clone();
    stale.job.version.0 += 9;
    assert!(world.store.commit(update(&stale), START).await.is_err());
    while let Ok(hint) = hints.try_recv() {
        assert_eq!(hint, Hint::All, "a failed write gave a hint");
    }
    world.claim(&seller.agent, 1, START).await?;
    let leased = world.reload(&publication).await?.job;
    let cancelled = job::step(&leased, job::Event::RequestCancel, at(1))?;
    world.store.commit(Change { jobs: vec![cancelled], ..Change::default() }, at(1)).await?;
    expect(&mut hints, &[Hint::Cancel(agent)]).await?;
    world.attach(agent).await?;
    expect(&mut hints, &[Hint::Session(agent)]).await
}

/// Waits until each of `wanted` has come, whatever else comes.
async fn expect(hints: &mut tokio::sync::broadcast::Receiver<Hint>, wanted: &[Hint]) -> Result<()> {
    let mut wanted = wanted.to_vec();
    while !wanted.is_empty() {
        let hint = tokio::time::timeout(Duration::from_secs(10), hints.recv())
            .await
            .with_context(|| format!("no hint {wanted:?} within 10 s"))??;
        wanted.retain(|other| *other != hint);
    }
    Ok(())
}
