//! Faults that come by themselves: ends of processes, cuts, sleeps, jumps of clocks.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tradepost_domain::audit::Actor;
use tradepost_store::Fleets;

use crate::agent::{End, Machine};
use crate::controller;
use crate::executor::WORLD;
use crate::fleet::Fleet;
use crate::plan::until_next;
use crate::site::Maker;
use crate::world::{World, lock};

const DAY: i64 = 86_400_000_000;

/// Begins every kind of fault that the plan has.
pub fn begin(world: &Arc<World>, fleet: &Fleet) {
    let plan = &world.plan;
    every(world, plan.controller_crash, crash_controller);
    every(world, plan.database_cut, cut_database);
    every(world, plan.agent_crash, |world| crash_agent(world, End::Killed));
    every(world, plan.power_cut, |world| crash_agent(world, End::PowerCut));
    every(world, plan.suspend, suspend);
    every(world, plan.clock_jump, jump);
    every(world, plan.network_cut, cut_network);
    every(world, plan.clone, clone_agent);
    every(world, plan.site_down, site_down);
    lock(&world.backups).push(world.store.back_up());
    every(world, plan.restore.map(|gap| gap / 4), |world| lock(&world.backups).push(world.store.back_up()));
    every(world, plan.restore, restore);
    let accounts: Vec<_> = fleet.accounts.iter().map(|account| account.id).collect();
    let all = accounts.clone();
    every(world, plan.signed_out, move |world| {
        if let Some(account) = world.exec.pick(&all) {
            world.count("a sign-in is lost");
            lock(&world.site).sign(*account, false);
        }
    });
    every(world, plan.by_hand, move |world| {
        if let Some(account) = world.exec.pick(&accounts) {
            world.count("the seller posts by hand");
            let text = (String::from("Something else"), String::from("1.00"));
            lock(&world.site).make(*account, text, Maker::Seller, world.now(), Duration::ZERO);
        }
    });
    // Whatever has ended is started again by somebody after a while.
    let watch = Arc::clone(world);
    world.exec.spawn(WORLD, async move {
        loop {
            watch.exec.sleep(watch.exec.between(Duration::from_secs(1), Duration::from_secs(20))).await;
            revive(&watch);
        }
    });
}

/// Starts what does not run: one in two at a time while things go wrong.
pub fn revive(world: &Arc<World>) {
    for controller in &world.controllers {
        if !world.storm() || world.exec.chance(0.5) {
            controller.start(world);
        }
    }
    for machine in &world.machines {
        if !world.storm() || world.exec.chance(0.5) {
            machine.boot(world);
        }
    }
}

/// Ends every fault.
pub fn end(world: &Arc<World>) {
    world.set_storm(false);
    lock(&world.network).mend();
    lock(&world.site).is_down = false;
    for controller in &world.controllers {
        controller.cut_off(false);
    }
    revive(world);
}

fn every(world: &Arc<World>, gap: Option<Duration>, happens: impl Fn(&Arc<World>) + Send + 'static) {
    let Some(gap) = gap else { return };
    let world = Arc::clone(world);
    world.exec.clone().spawn(WORLD, async move {
        loop {
            world.exec.sleep(until_next(&world.exec, gap)).await;
            if !world.storm() {
                return;
            }
            happens(&world);
        }
    });
}

fn crash_controller(world: &Arc<World>) {
    if let Some(controller) = world.exec.pick(&world.controllers) {
        world.count("a controller is killed");
        controller.crash(world);
    }
}

fn cut_database(world: &Arc<World>) {
    let index = world.exec.below(world.controllers.len());
    world.count("a controller loses its database");
    world.controllers[index].cut_off(true);
    let time = world.exec.between(Duration::from_millis(200), Duration::from_secs(50));
    after(world, time, move |world| world.controllers[index].cut_off(false));
}

fn after(world: &Arc<World>, time: Duration, happens: impl FnOnce(&Arc<World>) + Send + 'static) {
    let world = Arc::clone(world);
    world.exec.clone().spawn(WORLD, async move {
        world.exec.sleep(time).await;
        happens(&world);
    });
}

fn machine(world: &World) -> Option<Arc<Machine>> {
    world.exec.pick(&world.machines).cloned()
}

fn crash_agent(world: &Arc<World>, end: End) {
    let Some(machine) = machine(world) else { return };
    if end == End::Killed && world.exec.chance(0.3) {
        world.count("an agent is ended in good order");
        let world = Arc::clone(world);
        world.exec.clone().spawn(WORLD, async move {
            for _ in 0..60 {
                if machine.drain() {
                    break;
                }
                world.exec.sleep(Duration::from_secs(1)).await;
            }
            while !machine.crash(&world, End::Killed) {
                world.exec.sleep(Duration::from_secs(1)).await;
            }
        });
        return;
    }
    world.count(if end == End::Killed { "an agent is killed" } else { "the power of a machine fails" });
    machine.crash(world, end);
}

fn suspend(world: &Arc<World>) {
    let Some(machine) = machine(world) else { return };
    if !machine.fall_asleep(world) {
        return;
    }
    let most = if world.exec.chance(0.5) { 25 } else { 200 };
    let time = world.exec.between(Duration::from_secs(1), Duration::from_secs(most));
    // A stopped process is not asleep: its plain clock goes on.
    let stopped = world.exec.chance(0.3);
    world.count(if stopped { "a machine is stopped" } else { "a machine sleeps" });
    world.say(|| format!("machine {}: sleeps for {time:?}", machine.index));
    after(world, time, move |world| {
        machine.wake(world, if stopped { Duration::ZERO } else { time });
        world.say(|| format!("machine {}: is awake", machine.index));
    });
}

fn jump(world: &Arc<World>) {
    let Some(machine) = machine(world) else { return };
    let most = if world.exec.chance(0.5) { DAY } else { 30_000_000 };
    let by = i64::try_from(
        world.exec.between(Duration::ZERO, Duration::from_micros(most.unsigned_abs())).as_micros(),
    );
    let by = by.unwrap_or(0) * if world.exec.chance(0.5) { 1 } else { -1 };
    world.count("a machine's wall clock jumps");
    world.say(|| format!("machine {}: wall clock jumps by {} s", machine.index, by / 1_000_000));
    machine.clock.jump(by);
}

fn cut_network(world: &Arc<World>) {
    let Some(machine) = machine(world) else { return };
    let everywhere = world.exec.chance(0.6);
    let one = world.exec.below(world.controllers.len());
    let cut: Vec<(usize, usize)> = (0..world.controllers.len())
        .filter(|controller| everywhere || *controller == one)
        .map(|controller| (machine.index, controller))
        .collect();
    world.count("the network of a machine is cut");
    world.say(|| format!("network: {cut:?} are cut"));
    for route in &cut {
        lock(&world.network).set(*route, true);
    }
    let time = world.exec.between(Duration::from_millis(300), Duration::from_secs(90));
    after(world, time, move |world| {
        for route in cut {
            lock(&world.network).set(route, false);
        }
    });
}

fn site_down(world: &Arc<World>) {
    world.count("the site cannot be used");
    lock(&world.site).is_down = true;
    let time = world.exec.between(Duration::from_secs(5), Duration::from_secs(300));
    after(world, time, |world| lock(&world.site).is_down = false);
}

/// A second machine with the same identity and an empty journal: an image that was copied before the agent ever worked.
fn clone_agent(world: &Arc<World>) {
    let Some(original) = machine(world) else { return };
    world.count("an agent is cloned");
    let clone = Arc::new(Machine::new(original.index, original.agent, original.slots, world.wall_clock(0)));
    clone.boot(world);
    let time = world.exec.between(Duration::from_secs(5), Duration::from_secs(90));
    let world = Arc::clone(world);
    world.exec.clone().spawn(WORLD, async move {
        world.exec.sleep(time).await;
        // It tries to end in good order, and then is gone for ever, with whatever its journal has.
        for _ in 0..30 {
            if clone.is_done() {
                break;
            }
            clone.drain();
            world.exec.sleep(Duration::from_secs(1)).await;
        }
        clone.crash(&world, End::PowerCut);
    });
}

/// An older copy of the database is put back, by the command or behind everybody's back.
fn restore(world: &Arc<World>) {
    let Some(backup) = world.exec.pick(&lock(&world.backups)).cloned() else { return };
    world.count("an older copy of the database is put back");
    for controller in &world.controllers {
        controller.crash(world);
    }
    let epoch = world.store.newest_numbers().now_or_never();
    lock(&world.ledger).forget(world);
    world.store.restore(backup);
    if !world.exec.chance(0.5) {
        // Behind everybody's back: agents' journals show it.
        world.say(|| String::from("world: an older copy of the database is put back"));
        return;
    }
    world.say(|| String::from("world: an older copy of the database is put back by the command"));
    // The model answers at once: nothing here waits.
    let said = epoch.and_then(Result::ok).map(|(epoch, _)| {
        let core = controller::core(world, Arc::new(world.store.clone()), Arc::new(world.wall_clock(0)));
        async move { core.restored(Actor::Host, epoch, "a backup was restored").await }.now_or_never()
    });
    if !matches!(said, Some(Some(Ok(_)))) {
        world.violation(|| format!("a restored copy does not begin a new life: {said:?}"));
    }
}
