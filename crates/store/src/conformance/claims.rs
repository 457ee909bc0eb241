//! Claims, heartbeats and sweeps.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tradepost_domain::id::{JobId, PermitId, RunLease, SessionEpoch};
use tradepost_domain::job::{self, Job};
use tradepost_domain::publish::{self, Permit};

use super::world::{START, World, at, update};
use crate::{Change, Claim, Error};

fn added(jobs: impl IntoIterator<Item = Job>) -> Change {
    Change { new_jobs: jobs.into_iter().collect(), ..Change::default() }
}

/// Priority, age, time, one per account, slots, limit, stream; and the lease numbers grow.
pub async fn claims_follow_the_rules(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (agent, ours) = (seller.agent.id, &seller.account);
    let other = world.account(seller.tenant, agent).await?;
    let third = world.account(seller.tenant, agent).await?;
    let oldest = Job { created_at: START, ..world.new_job(ours, agent) };
    let newer = Job { created_at: at(1), ..world.new_job(ours, agent) };
    let urgent = Job { created_at: at(2), priority: 5, ..world.new_job(ours, agent) };
    let later = Job { run_after: at(100), priority: 9, ..world.new_job(ours, agent) };
    let theirs = Job { created_at: at(3), priority: -1, ..world.new_job(&other, agent) };
    let last = Job { created_at: at(3), priority: -2, ..world.new_job(&third, agent) };
    let jobs = [&oldest, &newer, &urgent, &later, &theirs, &last].map(Clone::clone);
    world.store.commit(added(jobs), START).await?;
    let older_stream = Claim { agents: vec![(agent, SessionEpoch(0), 9)], limit: 9 };
    assert_eq!(world.store.claim_jobs(older_stream, at(10)).await?, []);
    let claimed = world.claim(&seller.agent, 2, at(10)).await?;
    let ids = |jobs: &[Job]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(&claimed), [urgent.id, theirs.id], "best of each account, at most the free slots");
    let leases: Vec<_> = claimed.iter().filter_map(|job| job.run_lease).collect();
    for job in &claimed {
        assert_eq!((job.state, job.attempt), (job::State::Leased, 1));
        assert_eq!(job.lease_until, Some(at(10) + job::ACKNOWLEDGE_WITHIN));
        assert_eq!(world.store.find_job(job.workspace, job.id).await?.as_ref(), Some(job));
    }
    let limited = Claim { agents: vec![(agent, seller.agent.epoch, 9)], limit: 0 };
    assert_eq!(world.store.claim_jobs(limited, at(10)).await?, []);
    let rest = world.claim(&seller.agent, 9, at(10)).await?;
    assert_eq!(ids(&rest), [last.id], "the other accounts are busy");
    finish(&world, &claimed).await?;
    let next = world.claim(&seller.agent, 9, at(10)).await?;
    assert_eq!(ids(&next), [oldest.id]);
    finish(&world, &next).await?;
    let due = world.claim(&seller.agent, 9, at(100)).await?;
    assert_eq!(ids(&due), [later.id], "its time has come, and it goes before the older one");
    for job in rest.iter().chain(&next).chain(&due) {
        assert!(job.run_lease > leases.iter().copied().max(), "{job:?}");
    }
    Ok(())
}

async fn finish(world: &World, jobs: &[Job]) -> Result<()> {
    for job in jobs {
        let lease = job.run_lease.context("no lease")?;
        let done = job::step(job, job::Event::Succeed(lease), at(20))?;
        world.store.commit(Change { jobs: vec![done], ..Change::default() }, at(20)).await?;
    }
    Ok(())
}

/// While the fate of a click is unknown, looks go on and publications wait.
pub async fn an_uncertain_account_takes_no_other_publication(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let mut uncertain = world.publication(&seller).await?;
    uncertain.intent.state = publish::State::Unknown;
    uncertain.job.state = job::State::Uncertain;
    world.store.commit(update(&uncertain), START).await?;
    world.publication(&seller).await?;
    assert_eq!(world.claim(&seller.agent, 9, at(1)).await?, []);
    let look = Job {
        kind: job::Kind::Reconcile,
        posting: Some(uncertain.posting.id),
        intent: Some(uncertain.intent.id),
        priority: -5,
        ..world.new_job(&seller.account, seller.agent.id)
    };
    world.store.commit(added([look.clone()]), START).await?;
    let claimed = world.claim(&seller.agent, 9, at(1)).await?;
    assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [look.id]);
    Ok(())
}

/// Many claimers at once: every job goes to one of them, and no account has two runs.
pub async fn concurrent_claimers_never_claim_twice(world: World) -> Result<()> {
    const ACCOUNTS: usize = 8;
    const ROUNDS: usize = 4;
    let seller = world.seller().await?;
    let mut accounts = vec![seller.account.clone()];
    while accounts.len() < ACCOUNTS {
        accounts.push(world.account(seller.tenant, seller.agent.id).await?);
    }
    for account in &accounts {
        let jobs = (0..ROUNDS).map(|_| world.new_job(account, seller.agent.id));
        world.store.commit(added(jobs), START).await?;
    }
    let mut leases = HashSet::new();
    let mut done: HashSet<JobId> = HashSet::new();
    for round in 1..=ROUNDS {
        let mut claimers = JoinSet::new();
        for _ in 0..32 {
            let (world, agent) = (world.clone(), seller.agent.clone());
            claimers.spawn(async move { world.claim(&agent, 3, at(1)).await });
        }
        let mut claimed = Vec::new();
        while let Some(result) = claimers.join_next().await {
            claimed.extend(result??);
        }
        let by_account: BTreeMap<_, _> = claimed.iter().map(|job| (job.account, job.id)).collect();
        assert_eq!(claimed.len(), ACCOUNTS, "round {round}: one run per account");
        assert_eq!(by_account.len(), ACCOUNTS);
        for job in &claimed {
            assert!(done.insert(job.id), "claimed twice");
            assert!(leases.insert(job.run_lease), "a lease given twice");
        }
        finish(&world, &claimed).await?;
    }
    assert_eq!(done.len(), ACCOUNTS * ROUNDS);
    Ok(())
}

/// I1 for heartbeats.
pub async fn heartbeats_extend_current_runs_only(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (publication, lease) = world.running(&seller, START).await?;
    let (agent, workspace, job) = (seller.agent.id, seller.tenant.workspace, publication.job.id);
    let older = (job, RunLease(lease.0 - 1));
    let unknown = (JobId(world.id()), lease);
    let over = world.store.extend_leases(agent, &[(job, lease), older, unknown], at(7)).await?;
    assert_eq!(over.into_iter().collect::<HashSet<_>>(), HashSet::from([older, unknown]));
    let extended = world.store.find_job(workspace, job).await?.context("gone")?;
    assert_eq!(extended.lease_until, Some(at(7) + job::LEASE));
    let stranger = world.agent(seller.tenant).await?;
    let over = world.store.extend_leases(stranger.id, &[(job, lease)], at(9)).await?;
    assert_eq!(over, [(job, lease)]);
    // A sweep that decided on the row before the heartbeat must not park it.
    let parked = Job { state: job::State::Parked, lease_until: None, ..publication.job.clone() };
    let late = world.store.commit(Change { jobs: vec![parked], ..Change::default() }, at(9)).await;
    assert!(matches!(late, Err(Error::Stale)));
    finish(&world, &[extended]).await?;
    assert_eq!(world.store.extend_leases(agent, &[(job, lease)], at(9)).await?, [(job, lease)]);
    Ok(())
}

/// Agents who beat at the same moment: each is answered for its own runs, also where two tell of the same one.
pub async fn beats_at_once_do_not_mix(world: World) -> Result<()> {
    const AGENTS: usize = 12;
    let mut runs = Vec::new();
    for _ in 0..AGENTS {
        let seller = world.seller().await?;
        let (publication, lease) = world.running(&seller, START).await?;
        runs.push((seller.agent.id, publication.job, lease));
    }
    let mut beating = JoinSet::new();
    for (place, (agent, job, lease)) in runs.iter().enumerate() {
        let (_, next, next_lease) = &runs[(place + 1) % AGENTS];
        let (own, foreign) = ((job.id, *lease), (next.id, *next_lease));
        let (world, agent, workspace) = (world.clone(), *agent, job.workspace);
        beating.spawn(async move {
            let over = world.store.extend_leases(agent, &[own, foreign], at(7)).await?;
            let listed = world.store.list_agent_runs(agent).await?;
            let found = world.store.find_job(workspace, own.0).await?.context("gone")?;
            anyhow::Ok((over == [foreign], listed == [found.clone()], found.lease_until))
        });
    }
    while let Some(beat) = beating.join_next().await {
        assert_eq!(beat??, (true, true, Some(at(7) + job::LEASE)));
    }
    Ok(())
}

/// Expired leases, overdue reports, runs of an agent, and the next time something becomes ready.
pub async fn sweeps_find_what_is_due(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let agent = seller.agent.id;
    let waiting = Job { run_after: at(500), ..world.new_job(&seller.account, agent) };
    world.store.commit(added([waiting]), START).await?;
    assert_eq!(world.store.next_run_after(&[agent], at(499)).await?, Some(at(500)));
    assert_eq!(world.store.next_run_after(&[agent], at(500)).await?, None);
    assert_eq!(world.store.next_run_after(&[], START).await?, None);
    let (mut publication, lease) = world.running(&seller, START).await?;
    let end = START + job::LEASE;
    assert_eq!(world.store.list_expired_leases(end - Duration::from_micros(1), 9).await?, []);
    assert_eq!(world.store.list_expired_leases(end, 9).await?, [publication.job.clone()]);
    assert_eq!(world.store.list_expired_leases(end, 0).await?, []);
    assert_eq!(world.store.list_agent_runs(agent).await?, [publication.job.clone()]);
    assert_eq!(world.store.find_agent_job(agent, publication.job.id).await?, Some(publication.job.clone()));
    publication.intent.state = publish::State::Armed;
    publication.intent.permit = Some(Permit {
        id: PermitId(world.id()),
        request: String::from("once"),
        run_lease: lease,
        epoch: seller.agent.epoch,
        armed_at: START,
        report_by: at(60),
    });
    world.store.commit(update(&publication), START).await?;
    let publication = world.reload(&publication).await?;
    assert_eq!(world.store.list_overdue_intents(at(59), 9).await?, []);
    assert_eq!(world.store.list_overdue_intents(at(60), 9).await?, [publication.intent]);
    Ok(())
}
