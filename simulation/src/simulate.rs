//! One seed from the beginning to the end: a storm, then calm weather until everything has come to rest, then people's answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tradepost_domain::job;
use tradepost_domain::time::Timestamp;

use crate::executor::{Executor, WORLD};
use crate::fleet::{self, Fleet};
use crate::plan::{Bug, Plan};
use crate::world::{Traced, Tracing, World, lock};
use crate::{check, people, storm};

/// How one seed went.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What must never be and was seen; empty when all is well.
    pub violations: Vec<String>,
    /// What happened how often.
    pub counts: BTreeMap<&'static str, u64>,
    /// What happened, if lines were kept.
    pub traced: Traced,
    /// Simulated time.
    pub simulated: Duration,
}

/// Calm weather is watched in rounds of this length; between them, time in which nothing is due is left out.
const ROUND: Duration = Duration::from_secs(45);
/// More rounds than this mean that something does not come to rest.
const ROUNDS_MAX: usize = 150;
/// Left out when nothing at all happens although something is to be done.
const IDLE: Duration = Duration::from_secs(900);
/// Longer than any site of the simulation hides a listing.
const LATE: Duration = Duration::from_secs(30 * 3600);

/// Runs one seed.
pub fn run(seed: u64, bug: Option<Bug>, tracing: Tracing) -> Report {
    let plan = Plan::of(seed, bug);
    let mut executor = Executor::new(seed);
    let mut world = World::new(executor.handle(), plan, tracing);
    world.say(|| format!("{:#?}", world.plan));
    // The model answers at once: nothing here waits.
    let founded = fleet::found(&mut world).now_or_never();
    let world = Arc::new(world);
    match founded {
        Some(Ok(fleet)) => weather(&mut executor, &world, &fleet),
        other => world.violation(|| format!("the world was not made: {other:?}")),
    }
    Report {
        seed,
        violations: world.violations(),
        counts: world.counts(),
        traced: world.traced(),
        simulated: Duration::from_micros(u64::try_from(world.now().as_micros()).unwrap_or(0)).saturating_sub(
            Duration::from_micros(u64::try_from(crate::world::START.as_micros()).unwrap_or(0)),
        ),
    }
}

fn weather(executor: &mut Executor, world: &Arc<World>, fleet: &Fleet) {
    for controller in &world.controllers {
        controller.start(world);
    }
    for machine in &world.machines {
        machine.boot(world);
    }
    storm::begin(world, fleet);
    people::begin(world, fleet);
    for_a_while(executor, world, world.plan.storm);
    world.say(|| String::from("world: the storm is over"));
    storm::end(world);
    // Sleepers wake up, late calls arrive, the site does what it was asked for.
    for_a_while(executor, world, Duration::from_secs(240));
    come_to_rest(executor, world, fleet);
    if world.is_broken() {
        return;
    }
    world.leap(LATE);
    check::final_check(world);
    if world.is_broken() {
        return;
    }
    answer(executor, world, fleet);
}

/// Questions are answered until none is left.
fn answer(executor: &mut Executor, world: &Arc<World>, fleet: &Fleet) {
    for _ in 0..4 {
        let open = world.store.look(|rows| {
            let asks = |posting: &&tradepost_domain::posting::Posting| {
                posting.state == tradepost_domain::posting::State::NeedsHuman
            };
            rows.postings().filter(asks).count()
        });
        if open == 0 {
            return;
        }
        world.exec.spawn(WORLD, people::answer_questions(Arc::clone(world), fleet.clone()));
        for_a_while(executor, world, ROUND);
        come_to_rest(executor, world, fleet);
        if world.is_broken() {
            return;
        }
        world.leap(LATE);
        check::final_check(world);
    }
    let left = world.store.look(|rows| {
        rows.postings()
            .filter(|posting| posting.state == tradepost_domain::posting::State::NeedsHuman)
            .map(|posting| format!("{} ({:?})", posting.id, posting.failure))
            .collect::<Vec<_>>()
    });
    if !left.is_empty() {
        world.violation(|| format!("questions that answers do not settle: {left:?}"));
    }
}

fn for_a_while(executor: &mut Executor, world: &Arc<World>, time: Duration) {
    let until = world.exec.now() + time;
    executor.run_until(|| world.exec.now() >= until || world.is_broken());
}

/// Calm weather until nothing is due any more.
fn come_to_rest(executor: &mut Executor, world: &Arc<World>, fleet: &Fleet) {
    let mut before = 0;
    for round in 0..ROUNDS_MAX {
        storm::revive(world);
        world.exec.spawn(WORLD, people::sign_in_where_asked(Arc::clone(world), fleet.clone(), round));
        for_a_while(executor, world, ROUND);
        if world.is_broken() {
            return;
        }
        let versions = world.store.look(|rows| rows.jobs().map(|job| job.version.0).sum::<i64>());
        let still = std::mem::replace(&mut before, versions) == versions;
        match due(world) {
            Due::Nothing => return,
            // What waits for its account's pacing has no time of its own.
            Due::Now if still => world.leap(IDLE),
            Due::Now => {}
            Due::At(time) => world.leap(time.since(world.now())),
        }
    }
    let open = world.store.look(|rows| {
        let open = rows.jobs().filter(|job| !job.state.is_terminal());
        open.map(|job| format!("{} {:?} {:?} {:?}", job.id, job.kind, job.state, job.failure))
            .collect::<Vec<_>>()
    });
    world.violation(|| format!("it does not come to rest: {open:#?}"));
}

enum Due {
    Nothing,
    Now,
    At(Timestamp),
}

/// When something happens next by itself.
fn due(world: &World) -> Due {
    let busy = lock(&world.site).under_way > 0 || world.machines.iter().any(|machine| !machine.is_done());
    let now = world.now();
    world.store.look(|rows| {
        let mut next: Option<Timestamp> = None;
        let mut at_work = busy;
        for job in rows.jobs() {
            let held =
                rows.intents().any(|intent| intent.account == job.account && intent.state.holds_account());
            match job.state {
                // It waits for another posting's fate.
                job::State::Queued if held && job.kind == job::Kind::Publish => {}
                job::State::Queued if job.run_after > now => {
                    next = Some(next.map_or(job.run_after, |next| next.min(job.run_after)));
                }
                job::State::Queued | job::State::Leased | job::State::Running | job::State::Parked => {
                    at_work = true;
                }
                job::State::NeedsHuman if job.kind == job::Kind::Reconcile => at_work = true,
                _ => {}
            }
        }
        let armed = rows.intents().any(|intent| intent.state == tradepost_domain::publish::State::Armed);
        match next {
            _ if at_work || armed => Due::Now,
            Some(time) => Due::At(time),
            None => Due::Nothing,
        }
    })
}
