//! When accounts may act, the order of jobs, dead letters, and one open job of a kind.

use std::time::Duration;

use anyhow::{Context, Result};
use tradepost_domain::agent::Agent;
use tradepost_domain::failure::FailureClass;
use tradepost_domain::id::{JobId, PermitId, RunLease};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::{CoolDown, Pacing, Policy, Window};
use tradepost_domain::publish::{self, Permit};
use tradepost_domain::time::Timestamp;

use super::world::{START, Seller, World, at, first, update};
use crate::{Change, Claim, Conflict, Error, JobFilter};

fn added(jobs: impl IntoIterator<Item = Job>) -> Change {
    Change { new_jobs: jobs.into_iter().collect(), ..Change::default() }
}

fn paced(pacing: Pacing) -> Change {
    Change { pacing: vec![pacing], ..Change::default() }
}

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

impl World {
    async fn pacing(&self, seller: &Seller, now: Timestamp) -> Result<Pacing> {
        let found = self.store.find_pacing(seller.tenant.workspace, seller.account.id, now).await?;
        found.context("no pacing")
    }
}

/// What is stored of an account's pacing, and who may change it.
pub async fn pacing_is_kept_and_changed_at_its_version(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let before = world.pacing(&seller, START).await?;
    assert_eq!((before.window, before.paused_at, before.cool_down), (Window::ALWAYS, None, None));
    assert_eq!((&before.own, before.added_at), (&Policy::default(), START));
    let own = Policy {
        per_day: Some(20),
        min_gap: Some(Duration::from_secs(120)),
        quiet_hours: Some("22:00-07:00".parse().map_err(anyhow::Error::msg)?),
        ..Policy::default()
    };
    let changed = Pacing {
        own,
        paused_at: Some(at(3)),
        cool_down: Some(CoolDown { until: at(99), class: FailureClass::LimitReached }),
        window: Window { from: at(99), until: Some(at(500)) },
        ..before.clone()
    };
    world.store.commit(paced(changed.clone()), at(3)).await?;
    let stored = world.pacing(&seller, at(4)).await?;
    assert_eq!(stored, Pacing { version: before.version + 1, ..changed.clone() });
    let late = world.store.commit(paced(changed), at(5)).await;
    assert!(matches!(late, Err(Error::Stale)), "{late:?}");
    let stranger = world.tenant().await?;
    assert_eq!(world.store.find_pacing(stranger.workspace, seller.account.id, at(4)).await?, None);
    let theirs = Pacing { workspace: stranger.workspace, ..stored };
    assert!(matches!(world.store.commit(paced(theirs), at(5)).await, Err(Error::Stale)));
    Ok(())
}

/// Armed intents count from when they were armed, unless they were given back unclicked.
pub async fn uses_follow_from_the_intents(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let states = [publish::State::Confirmed, publish::State::NotClicked, publish::State::Absent];
    let day = 24 * 3_600;
    let times = [10_u64, 20, 30];
    for (state, armed_at) in states.into_iter().zip(times) {
        let mut publication = world.publication(&seller).await?;
        publication.intent.state = state;
        publication.intent.permit = Some(Permit {
            id: PermitId(world.id()),
            request: String::from("once"),
            run_lease: RunLease(1),
            epoch: seller.agent.epoch,
            armed_at: at(armed_at),
            report_by: at(armed_at + 60),
        });
        world.store.commit(update(&publication), START).await?;
    }
    assert_eq!(world.pacing(&seller, at(40)).await?.uses, [at(30), at(10)]);
    assert_eq!(world.pacing(&seller, at(10 + day)).await?.uses, [at(30)], "a day is a day");
    Ok(())
}

/// Claims keep to the account's window, and pass over paused accounts.
pub async fn claims_keep_to_windows_and_pauses(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let publication = world.publication(&seller).await?;
    let look = Job { kind: job::Kind::Login, ..world.new_job(&seller.account, seller.agent.id) };
    let before = world.pacing(&seller, START).await?;
    let window = Window { from: at(100), until: Some(at(200)) };
    world.store.commit(paced(Pacing { window, ..before }), START).await?;
    assert_eq!(world.claim(&seller.agent, 9, at(99)).await?, []);
    assert_eq!(world.store.list_ended_windows(at(199), 9).await?, []);
    assert_eq!(world.claim(&seller.agent, 9, at(200)).await?, [], "the window has ended");
    let ended = world.store.list_ended_windows(at(200), 9).await?;
    assert_eq!(ended, [(seller.tenant.workspace, seller.account.id)]);
    world.store.commit(added([look.clone()]), START).await?;
    let paused = Pacing { paused_at: Some(START), ..world.pacing(&seller, START).await? };
    world.store.commit(paced(paused), START).await?;
    assert_eq!(world.claim(&seller.agent, 9, at(150)).await?, [], "a pause stops everything");
    let resumed = Pacing { paused_at: None, ..world.pacing(&seller, START).await? };
    world.store.commit(paced(resumed), START).await?;
    let claimed = world.claim(&seller.agent, 9, at(200)).await?;
    assert_eq!(ids(&claimed), [look.id], "other jobs do not wait for the window");
    finish(&world, &claimed).await?;
    assert_eq!(ids(&world.claim(&seller.agent, 9, at(100)).await?), [publication.job.id]);
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

/// More ready than the limit allows: one for each agent before a second for any, in the order that is asked for.
pub async fn a_limit_is_shared_in_the_order_that_is_asked_for(world: World) -> Result<()> {
    let mut agents: Vec<Agent> = Vec::new();
    for _ in 0..3 {
        let seller = world.seller().await?;
        for _ in 0..4 {
            let account = world.account(seller.tenant, seller.agent.id).await?;
            // The first workspace has the most urgent jobs, and more of them.
            let priority = if agents.is_empty() { 100 } else { 0 };
            let jobs = (0..3).map(|_| Job { priority, ..world.new_job(&account, seller.agent.id) });
            world.store.commit(added(jobs), START).await?;
        }
        agents.push(seller.agent);
    }
    let claim = |order: [usize; 3], limit| {
        let agents = order.map(|n| (agents[n].id, agents[n].epoch, 9)).to_vec();
        world.store.claim_jobs(Claim { agents, limit }, at(1))
    };
    let counts =
        |jobs: &[Job]| [0, 1, 2].map(|n: usize| jobs.iter().filter(|job| job.agent == agents[n].id).count());
    assert_eq!(counts(&claim([0, 1, 2], 2).await?), [1, 1, 0], "the first two of the order");
    assert_eq!(counts(&claim([2, 1, 0], 1).await?), [0, 0, 1]);
    assert_eq!(counts(&claim([2, 1, 0], 5).await?), [1, 2, 2], "one each, and then again from the front");
    Ok(())
}

/// A point of priority is a quarter of an hour of waiting.
pub async fn low_priority_is_overtaken_for_a_while_only(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let of = |priority, created_at| {
        let job = Job { priority, created_at, ..world.new_job(&seller.account, seller.agent.id) };
        Job { run_after: START, ..job }
    };
    let quarter = |n: u64| at(n * 15 * 60);
    let low = of(-50, START);
    let early = of(0, quarter(49));
    let late = of(0, quarter(51));
    let high = of(50, quarter(99));
    let look = Job { kind: job::Kind::Reconcile, ..of(0, quarter(99)) };
    let jobs = [&high, &late, &low, &early, &look].map(Clone::clone);
    world.store.commit(added(jobs), START).await?;
    let now = quarter(100);
    assert_eq!(world.store.count_ahead(&late, now).await?, 4);
    assert_eq!(world.store.count_ahead(&late, START - Duration::from_secs(1)).await?, 0, "none is ready");
    assert_eq!(world.store.count_ahead(&look, now).await?, 0);
    let mut order = Vec::new();
    for _ in 0..5 {
        let claimed = world.claim(&seller.agent, 1, now).await?;
        let running = world.store.find_account_run(seller.account.id).await?;
        assert_eq!(running.as_ref(), claimed.first());
        finish(&world, &claimed).await?;
        order.extend(ids(&claimed));
    }
    assert_eq!(order, [look.id, early.id, high.id, low.id, late.id]);
    assert_eq!(world.store.find_account_run(seller.account.id).await?, None);
    // What waits can be put before others.
    let (one, other) = (of(0, START), of(0, at(1)));
    world.store.commit(added([one.clone(), other.clone()]), START).await?;
    let urgent = Job { priority: 1, ..other };
    world.store.commit(Change { jobs: vec![urgent.clone()], ..Change::default() }, START).await?;
    assert_eq!(ids(&world.claim(&seller.agent, 1, now).await?), [urgent.id]);
    Ok(())
}

/// A person puts a dead letter aside, and it is kept.
pub async fn dead_letters_are_listed_until_they_are_put_aside(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (workspace, account) = (seller.tenant.workspace, seller.account.id);
    let of = |state, created_at| Job { state, created_at, ..world.new_job(&seller.account, seller.agent.id) };
    let dead: Vec<_> = (1..4).map(|n| of(job::State::Failed, at(n))).collect();
    let other = of(job::State::Cancelled, at(9));
    world.store.commit(added(dead.iter().cloned().chain([other])), START).await?;
    let listed = async |account| {
        let filter = JobFilter { state: None, account, dead_letters: true };
        anyhow::Ok(ids(&world.store.list_jobs(workspace, filter, first(9)).await?.rows))
    };
    assert_eq!(listed(None).await?, [dead[2].id, dead[1].id, dead[0].id]);
    let aside = Job { discarded_at: Some(at(20)), ..dead[1].clone() };
    world.store.commit(Change { jobs: vec![aside.clone()], ..Change::default() }, at(20)).await?;
    assert_eq!(listed(Some(account)).await?, [dead[2].id, dead[0].id]);
    let kept = world.store.find_job(workspace, aside.id).await?.context("gone")?;
    assert_eq!(kept.discarded_at, Some(at(20)));
    let other_account = world.account(seller.tenant, seller.agent.id).await?;
    assert_eq!(listed(Some(other_account.id)).await?, []);
    Ok(())
}

/// One open sign-in per account, one open look per intent.
pub async fn one_job_of_a_kind_is_open(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let login = || Job { kind: job::Kind::Login, ..world.new_job(&seller.account, seller.agent.id) };
    let one = login();
    world.store.commit(added([one.clone()]), START).await?;
    let second = world.store.commit(added([login()]), START).await;
    assert!(matches!(second, Err(Error::Conflict(Conflict::LoginOpen))), "{second:?}");
    assert_eq!(world.store.find_open_login(seller.account.id).await?.map(|job| job.id), Some(one.id));
    let claimed = world.claim(&seller.agent, 1, at(1)).await?;
    assert!(world.store.commit(added([login()]), START).await.is_err(), "it runs");
    assert_eq!(world.store.list_run_starts(seller.account.id, job::Kind::Login, START).await?, [at(1)]);
    assert_eq!(world.store.list_run_starts(seller.account.id, job::Kind::Login, at(1)).await?, []);
    assert_eq!(world.store.list_run_starts(seller.account.id, job::Kind::Reconcile, START).await?, []);
    finish(&world, &claimed).await?;
    assert_eq!(world.store.find_open_login(seller.account.id).await?, None);
    world.store.commit(added([login()]), START).await?;

    let publication = world.publication(&seller).await?;
    let look = || Job {
        kind: job::Kind::Reconcile,
        posting: Some(publication.posting.id),
        intent: Some(publication.intent.id),
        ..world.new_job(&seller.account, seller.agent.id)
    };
    let one = look();
    world.store.commit(added([one.clone()]), START).await?;
    let second = world.store.commit(added([look()]), START).await;
    assert!(matches!(second, Err(Error::Conflict(Conflict::LookOpen))), "{second:?}");
    assert_eq!(world.store.find_open_look(publication.intent.id).await?.map(|job| job.id), Some(one.id));
    // The end of one look and the next one are one change.
    let ended = Job { state: job::State::Succeeded, ..one };
    let next = Change { jobs: vec![ended], ..added([look()]) };
    world.store.commit(next, at(2)).await?;
    Ok(())
}
