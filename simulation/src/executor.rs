//! A deterministic executor: one thread, virtual time, every choice drawn from the seed.
//!
//! A task belongs to a *process* (a controller, an agent, a Chrome, the world itself). A process can be killed: its tasks are
//! dropped wherever they wait. It can be frozen: its tasks stand still while time goes on. Among the tasks that are ready the
//! seed chooses, so that several processes interleave at every place where one of them waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// One process of the simulated world; numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId(pub u64);

/// The world outside all machines: sites, people, faults. Never killed, never frozen.
pub const WORLD: ProcessId = ProcessId(0);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Waiting {
    process: ProcessId,
    task: Task,
    waker: Waker,
}

/// The handle that tasks hold.
#[derive(Clone)]
pub struct Handle {
    state: Arc<Mutex<State>>,
    woken: Arc<Mutex<VecDeque<u64>>>,
}

struct State {
    now: Duration,
    rng: StdRng,
    timers: BTreeMap<(Duration, u64), Waker>,
    spawned: Vec<(u64, ProcessId, Task)>,
    killed: Vec<ProcessId>,
    frozen: BTreeSet<ProcessId>,
    next_id: u64,
    next_process: u64,
}

/// Owns the tasks and runs them.
pub struct Executor {
    handle: Handle,
    tasks: BTreeMap<u64, Waiting>,
    ready: Vec<u64>,
    /// Ready tasks of frozen processes.
    held: Vec<u64>,
}

struct TaskWaker {
    id: u64,
    woken: Arc<Mutex<VecDeque<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.woken).push_back(self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Executor {
    /// Without tasks, at time zero.
    pub fn new(seed: u64) -> Self {
        let state = State {
            now: Duration::ZERO,
            rng: StdRng::seed_from_u64(seed),
            timers: BTreeMap::new(),
            spawned: Vec::new(),
            killed: Vec::new(),
            frozen: BTreeSet::new(),
            next_id: 1,
            next_process: 1,
        };
        let handle = Handle { state: Arc::new(Mutex::new(state)), woken: Arc::default() };
        Self { handle, tasks: BTreeMap::new(), ready: Vec::new(), held: Vec::new() }
    }

    /// What tasks hold.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until `done` says so after a step, or nothing can happen any more.
    pub fn run_until(&mut self, done: impl Fn() -> bool) {
        while !done() {
            if !self.step() {
                return;
            }
        }
    }

    /// Polls one task, or lets time pass until the next timer. False when nothing is left to do.
    fn step(&mut self) -> bool {
        self.take_in();
        if self.ready.is_empty() {
            let next = lock(&self.handle.state).timers.pop_first();
            let Some(((at, _), waker)) = next else { return false };
            lock(&self.handle.state).now = at;
            waker.wake();
            return true;
        }
        let place = self.handle.below(self.ready.len());
        let id = self.ready.swap_remove(place);
        let Some(waiting) = self.tasks.get_mut(&id) else { return true };
        if lock(&self.handle.state).frozen.contains(&waiting.process) {
            self.held.push(id);
            return true;
        }
        let waker = waiting.waker.clone();
        if waiting.task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.tasks.remove(&id);
        }
        true
    }

    /// Takes in new tasks, wake-ups and ends of processes.
    fn take_in(&mut self) {
        loop {
            let (spawned, killed) = {
                let mut state = lock(&self.handle.state);
                (std::mem::take(&mut state.spawned), std::mem::take(&mut state.killed))
            };
            if spawned.is_empty() && killed.is_empty() {
                break;
            }
            for (id, process, task) in spawned {
                let waker = Waker::from(Arc::new(TaskWaker { id, woken: Arc::clone(&self.handle.woken) }));
                self.tasks.insert(id, Waiting { process, task, waker });
                self.ready.push(id);
            }
            for process in killed {
                let of_process =
                    |(id, waiting): (&u64, &Waiting)| (waiting.process == process).then_some(*id);
                let ended: Vec<u64> = self.tasks.iter().filter_map(of_process).collect();
                for id in ended {
                    // Dropping may wake or even end others: the state is not locked here.
                    drop(self.tasks.remove(&id));
                }
            }
        }
        let mut woken = lock(&self.handle.woken);
        while let Some(id) = woken.pop_front() {
            if self.tasks.contains_key(&id) && !self.ready.contains(&id) && !self.held.contains(&id) {
                self.ready.push(id);
            }
        }
        drop(woken);
        if !self.held.is_empty() {
            let state = lock(&self.handle.state);
            let tasks = &self.tasks;
            let still =
                |id: &u64| tasks.get(id).is_some_and(|waiting| state.frozen.contains(&waiting.process));
            let (held, thawed): (Vec<u64>, Vec<u64>) = self.held.drain(..).partition(still);
            self.held = held;
            self.ready.extend(thawed);
        }
    }
}

impl Handle {
    /// Time since the beginning.
    pub fn now(&self) -> Duration {
        lock(&self.state).now
    }

    /// A new process.
    pub fn process(&self) -> ProcessId {
        let mut state = lock(&self.state);
        state.next_process += 1;
        ProcessId(state.next_process)
    }

    /// Begins a task.
    pub fn spawn(&self, process: ProcessId, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = lock(&self.state);
        let id = state.next_id;
        state.next_id += 1;
        state.spawned.push((id, process, Box::pin(task)));
    }

    /// Ends a process: its tasks are dropped before anything else happens.
    pub fn kill(&self, process: ProcessId) {
        lock(&self.state).killed.push(process);
    }

    /// Lets a process stand still, or go on.
    pub fn freeze(&self, process: ProcessId, frozen: bool) {
        let mut state = lock(&self.state);
        if frozen {
            state.frozen.insert(process);
        } else {
            state.frozen.remove(&process);
        }
    }

    /// Waits.
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep { handle: self.clone(), until: self.now() + time, timer: None }
    }

    /// A number below `bound`, or zero.
    pub fn below(&self, bound: usize) -> usize {
        if bound < 2 {
            return 0;
        }
        let draw = lock(&self.state).rng.next_u64();
        usize::try_from(draw % u64::try_from(bound).unwrap_or(u64::MAX)).unwrap_or(0)
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&self) -> f64 {
        let draw = lock(&self.state).rng.next_u32();
        f64::from(draw) / (f64::from(u32::MAX) + 1.0)
    }

    /// Whether something that happens with this probability happens now.
    pub fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// A duration between the two, in microseconds.
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.unit())
    }

    /// One of `all`.
    pub fn pick<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// See [`Handle::sleep`].
#[derive(Debug)]
pub struct Sleep {
    handle: Handle,
    until: Duration,
    timer: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let handle = self.handle.clone();
        let mut state = lock(&handle.state);
        if state.now >= self.until {
            return Poll::Ready(());
        }
        // Polled again before its time: the older entry is replaced.
        if let Some(timer) = self.timer {
            state.timers.remove(&timer);
        }
        let id = state.next_id;
        state.next_id += 1;
        let timer = (self.until, id);
        state.timers.insert(timer, context.waker().clone());
        drop(state);
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            lock(&self.handle.state).timers.remove(&timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_process_does_nothing_more_and_a_frozen_one_goes_on_later() {
        let mut executor = Executor::new(1);
        let handle = executor.handle();
        let seen: Arc<Mutex<Vec<(&str, u64)>>> = Arc::default();
        let ticks = |name: &'static str| {
            let (handle, seen) = (handle.clone(), Arc::clone(&seen));
            async move {
                for _ in 0..3 {
                    handle.sleep(Duration::from_secs(1)).await;
                    lock(&seen).push((name, handle.now().as_secs()));
                }
            }
        };
        let (killed, frozen) = (handle.process(), handle.process());
        handle.spawn(killed, ticks("killed"));
        handle.spawn(frozen, ticks("frozen"));
        let faults = {
            let handle = handle.clone();
            async move {
                handle.sleep(Duration::from_millis(1500)).await;
                handle.kill(killed);
                handle.freeze(frozen, true);
                handle.sleep(Duration::from_secs(10)).await;
                handle.freeze(frozen, false);
            }
        };
        handle.spawn(WORLD, faults);
        executor.run_until(|| false);
        let mut seen = lock(&seen).clone();
        seen.sort_unstable();
        assert_eq!(seen, [("frozen", 1), ("frozen", 11), ("frozen", 12), ("killed", 1)]);
    }
}
