//! Letting go of what is old.

use std::time::Duration;

use anyhow::{Context, Result};
use tradepost_domain::event::Kind;
use tradepost_domain::id::{ContentHash, EvidenceId};
use tradepost_domain::job::{self, Job};

use super::world::{START, Seller, World, at, event};
use crate::{Change, EvidenceFile, Step, StepStatus};

/// An ended sign-in with a step and a file, all at `seconds`.
async fn sign_in(
    world: &World,
    seller: &Seller,
    seconds: u64,
    content: &[u8],
) -> Result<(Job, EvidenceFile)> {
    let kind = job::Kind::Login;
    let created = Job { kind, created_at: at(seconds), ..world.new_job(&seller.account, seller.agent.id) };
    let asked = Change { new_jobs: vec![created.clone()], ..Change::default() };
    world.store.commit(asked, at(seconds)).await?;
    let claimed = world.claim(&seller.agent, 1, at(seconds)).await?;
    let claimed =
        claimed.into_iter().find(|job| job.id == created.id).context("the sign-in was not claimed")?;
    let run_lease = claimed.run_lease.context("no lease")?;
    let step = Step {
        seq: 1,
        phase: "start".into(),
        name: "open".into(),
        status: StepStatus::Succeeded,
        detail: String::new(),
        duration: Some(Duration::from_millis(3)),
        index: 1,
        total: 1,
    };
    world.store.append_steps(seller.agent.id, created.id, run_lease, vec![step], at(seconds)).await?;
    let file = EvidenceFile {
        id: EvidenceId(world.id()),
        workspace: created.workspace,
        job: created.id,
        run_lease,
        name: "page.png".into(),
        media_type: "image/png".into(),
        bytes: u64::try_from(content.len())?,
        content: ContentHash::of(content),
        created_at: at(seconds),
    };
    let file = world.store.add_evidence(seller.agent.id, file, content.to_vec()).await?;
    let ended = job::step(&claimed, job::Event::Succeed(run_lease), at(seconds))?;
    world.store.commit(Change { jobs: vec![ended.clone()], ..Change::default() }, at(seconds)).await?;
    Ok((ended, file))
}

/// The oldest go first, so many at a time, and readers can learn where the feed begins.
pub async fn old_events_go_in_batches_and_the_feed_says_where_it_begins(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (store, workspace) = (&world.store, seller.tenant.workspace);
    let posting = world.publication(&seller).await?.posting;
    for seconds in 100..110 {
        let told = Change { events: vec![event(&posting, Kind::PostingChanged)], ..Change::default() };
        store.commit(told, at(seconds)).await?;
    }
    let newest = store.last_event(workspace).await?;
    let before = newest - 10;
    assert_eq!(store.first_event(workspace).await?, 1);
    assert_eq!(store.forget_events(workspace, START, 100).await?, 0, "nothing is that old");
    let half = u32::try_from(before)?.div_ceil(2);
    assert_eq!(store.forget_events(workspace, at(105), half).await?, u64::from(half));
    assert_eq!(store.first_event(workspace).await?, i64::from(half) + 1);
    let mut rest = 0;
    loop {
        match store.forget_events(workspace, at(105), 3).await? {
            0 => break,
            some => rest += i64::try_from(some)?,
        }
    }
    assert_eq!(i64::from(half) + rest, before + 5);
    assert_eq!(store.first_event(workspace).await?, before + 6);
    let kept = store.list_events(workspace, 0, None, 100).await?;
    assert_eq!(
        kept.iter().map(|event| event.seq).collect::<Vec<_>>(),
        (before + 6..=newest).collect::<Vec<_>>()
    );
    // Another workspace's feed is its own.
    let other = world.seller().await?;
    assert_eq!(store.first_event(other.tenant.workspace).await?, 1);
    assert!(store.forget_events(workspace, at(10_000), 100).await? > 0);
    assert_eq!(store.first_event(workspace).await?, newest + 1, "none is kept");
    assert_eq!(store.last_event(workspace).await?, newest);
    let mut seen = Vec::new();
    let mut next = store.next_workspace(None).await?;
    while let Some(id) = next {
        seen.push(id);
        next = store.next_workspace(Some(id)).await?;
    }
    assert!(seen.is_sorted() && seen.contains(&workspace) && seen.contains(&other.tenant.workspace));
    Ok(())
}

/// Steps by their age; evidence of ended jobs only, its content when nobody else has the same; sign-ins whole.
pub async fn old_steps_evidence_and_sign_ins_go_and_contents_in_use_stay(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (store, workspace) = (&world.store, seller.tenant.workspace);
    let (old, old_file) = sign_in(&world, &seller, 10, b"the same page").await?;
    let (older_twin, _) = sign_in(&world, &seller, 11, b"another page").await?;
    let (fresh, fresh_file) = sign_in(&world, &seller, 1_000, b"the same page").await?;
    let (publication, run_lease) = world.running(&seller, at(12)).await?;
    let open = EvidenceFile {
        id: EvidenceId(world.id()),
        job: publication.job.id,
        run_lease,
        content: ContentHash::of(b"form"),
        bytes: 4,
        created_at: at(12),
        ..old_file.clone()
    };
    let open = store.add_evidence(seller.agent.id, open, b"form".to_vec()).await?;

    assert_eq!(store.forget_steps(at(500), 1).await?, 1);
    assert_eq!(store.forget_steps(at(500), 10).await?, 1);
    assert!(store.list_steps(workspace, old.id).await?.is_empty());
    assert_eq!(store.list_steps(workspace, fresh.id).await?.len(), 1);

    assert_eq!(store.forget_evidence(at(500), 10).await?, 2, "the open job's file is kept");
    assert!(store.evidence_content(workspace, old_file.id).await?.is_none());
    let (_, content) = store.evidence_content(workspace, fresh_file.id).await?.context("is in use")?;
    assert_eq!(content, b"the same page");
    assert!(store.evidence_content(workspace, open.id).await?.is_some());
    // What is gone can be stored again.
    let again =
        EvidenceFile { id: EvidenceId(world.id()), content: ContentHash::of(b"another page"), ..open };
    let again = EvidenceFile { name: "again.png".into(), bytes: 12, ..again };
    store.add_evidence(seller.agent.id, again, b"another page".to_vec()).await?;

    assert_eq!(store.forget_jobs(at(500), 1).await?, 1);
    assert_eq!(store.forget_jobs(at(500), 10).await?, 1);
    for gone in [old.id, older_twin.id] {
        assert_eq!(store.find_job(workspace, gone).await?, None);
    }
    assert!(store.find_job(workspace, fresh.id).await?.is_some());
    assert_eq!(store.forget_jobs(at(5_000), 10).await?, 1);
    assert!(store.evidence_content(workspace, fresh_file.id).await?.is_none());
    assert!(store.find_job(workspace, publication.job.id).await?.is_some(), "publish jobs are kept");
    Ok(())
}
