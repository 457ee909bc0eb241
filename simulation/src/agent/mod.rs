//! A seller's PC with its agent: the real session state, frames and journal records; the steps of the real runner, on a
//! simulated disk, Chrome and clock.

mod chrome;
mod click;
mod disk;
mod link;
mod run;
mod session;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{Either, select};
use tradepost_domain::id::AgentId;
use tradepost_runtime::clock::Clock;

pub use self::chrome::Chrome;
pub use self::disk::Disk;
use self::session::Agent;
use crate::executor::ProcessId;
use crate::world::{WallClock, World, lock};

/// A PC.
pub struct Machine {
    /// Its place.
    pub index: usize,
    /// The agent that is installed on it.
    pub agent: AgentId,
    /// Runs at once.
    pub slots: usize,
    /// Its wall clock.
    pub clock: WallClock,
    /// The journal's file.
    pub disk: Mutex<Disk>,
    /// Every Chrome that was started.
    pub chromes: Mutex<Vec<Arc<Chrome>>>,
    running: Mutex<Option<Arc<Agent>>>,
    /// How long it has slept: the plain clock of processes does not count this.
    slept: Mutex<Duration>,
    asleep: Mutex<bool>,
}

/// How an agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Killed; its Chrome goes with it, at once or soon.
    Killed,
    /// The power fails.
    PowerCut,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("index", &self.index)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// Switched on, without a running agent.
    pub fn new(index: usize, agent: AgentId, slots: usize, clock: WallClock) -> Self {
        Self {
            index,
            agent,
            slots,
            clock,
            disk: Mutex::default(),
            chromes: Mutex::default(),
            running: Mutex::default(),
            slept: Mutex::default(),
            asleep: Mutex::new(false),
        }
    }

    /// Starts the agent, unless it runs.
    pub fn boot(self: &Arc<Self>, world: &Arc<World>) {
        if lock(&self.running).is_some() || *lock(&self.asleep) {
            return;
        }
        let agent = Agent::new(world, self);
        world.say(|| format!("machine {}: agent starts as {}", self.index, agent.boot));
        *lock(&self.running) = Some(Arc::clone(&agent));
        world.exec.spawn(agent.process, agent.main());
    }

    /// Whether the agent runs.
    pub fn is_up(&self) -> bool {
        lock(&self.running).is_some()
    }

    /// Asks the agent to end in good order; true when it has no run any more, or does not run.
    pub fn drain(&self) -> bool {
        let running = lock(&self.running).clone();
        running.is_none_or(|agent| agent.drain())
    }

    /// Ends the agent wherever it stands; false while the machine sleeps, which then does nothing.
    pub fn crash(&self, world: &World, end: End) -> bool {
        if *lock(&self.asleep) {
            return false;
        }
        let Some(agent) = lock(&self.running).take() else { return true };
        world.exec.kill(agent.process);
        world.say(|| format!("machine {}: agent ends: {end:?}", self.index));
        // Chrome dies with its agent by the operating system's means; now and then they take a while.
        let outlives = end == End::Killed && world.fault("a Chrome outlives its agent", 0.4);
        if !outlives {
            for chrome in lock(&self.chromes).drain(..) {
                chrome.kill(world);
            }
        }
        if end == End::PowerCut {
            lock(&self.disk).power_cut(world);
        }
        true
    }

    /// The process of the agent, if it runs.
    pub fn process(&self) -> Option<ProcessId> {
        lock(&self.running).as_ref().map(|agent| agent.process)
    }

    /// Puts the machine to sleep; false when it sleeps already.
    pub fn fall_asleep(&self, world: &World) -> bool {
        let was_asleep = std::mem::replace(&mut *lock(&self.asleep), true);
        if !was_asleep {
            self.freeze(world, true);
        }
        !was_asleep
    }

    /// Wakes it, after so long a sleep.
    pub fn wake(&self, world: &World, slept: Duration) {
        *lock(&self.asleep) = false;
        *lock(&self.slept) += slept;
        self.freeze(world, false);
    }

    fn freeze(&self, world: &World, frozen: bool) {
        if let Some(process) = self.process() {
            world.exec.freeze(process, frozen);
        }
        for chrome in lock(&self.chromes).iter() {
            world.exec.freeze(chrome.tasks, frozen);
        }
    }

    /// Whether it has no run, and nothing to report.
    pub fn is_done(&self) -> bool {
        let running = lock(&self.running).clone();
        running.is_some_and(|agent| agent.is_done())
    }

    /// The clock that counts sleep.
    pub fn boottime(&self, world: &World) -> Duration {
        world.exec.now()
    }

    /// The wall clock.
    pub fn wall(&self) -> tradepost_domain::time::Timestamp {
        self.clock.now()
    }

    /// Waits by the plain clock, which stands still while the machine sleeps.
    pub async fn sleep(&self, world: &World, time: Duration) {
        let plain = || world.exec.now().saturating_sub(*lock(&self.slept));
        let until = plain() + time;
        loop {
            let now = plain();
            if now >= until {
                return;
            }
            world.exec.sleep(until - now).await;
        }
    }

    /// Gives up on `work` after `limit` by the plain clock.
    pub async fn within<T>(
        &self,
        world: &World,
        limit: Duration,
        work: impl Future<Output = T> + Send,
    ) -> Option<T> {
        match select(Box::pin(work), Box::pin(self.sleep(world, limit))).await {
            Either::Left((value, _)) => Some(value),
            Either::Right(_) => None,
        }
    }

    /// Dies here, if the seed says so.
    pub async fn perhaps_die(&self, world: &World, place: &'static str) {
        if world.fault("an agent dies at its journal", world.plan.dies_at_journal) {
            world.say(|| format!("machine {}: dies {place}", self.index));
            let end = if world.exec.chance(0.4) { End::PowerCut } else { End::Killed };
            self.crash(world, end);
            std::future::pending::<()>().await;
        }
    }
}
