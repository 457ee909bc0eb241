//! What all parts of a simulated world share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tradepost_domain::time::Timestamp;
use tradepost_runtime::clock::Clock;
use tradepost_store::model::{Backup, Model};

use crate::agent::Machine;
use crate::check::Ledger;
use crate::controller::Controller;
use crate::executor::Handle;
use crate::net::Network;
use crate::plan::{Bug, Plan};
use crate::site::Site;

/// When every simulation begins.
pub const START: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);

/// The world.
pub struct World {
    /// Time, tasks and chance.
    pub exec: Handle,
    /// The seed's faults.
    pub plan: Plan,
    /// The database.
    pub store: Model,
    /// The marketplace.
    pub site: Mutex<Site>,
    /// Who reaches whom.
    pub network: Mutex<Network>,
    /// Places of controllers.
    pub controllers: Vec<Controller>,
    /// The sellers' PCs.
    pub machines: Vec<Arc<Machine>>,
    /// What is checked while it runs.
    pub ledger: Mutex<Ledger>,
    /// Copies of the database, oldest first.
    pub backups: Mutex<Vec<Backup>>,
    storm: AtomicBool,
    leap: Arc<AtomicI64>,
    trace: Option<Mutex<Trace>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    broken: Mutex<Vec<String>>,
}

/// What happened, line by line.
#[derive(Debug, Default)]
struct Trace {
    text: String,
}

/// A finished trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// The lines.
    pub text: String,
    /// SHA-256 of the text, hex.
    pub hash: String,
}

/// Whether lines are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracing {
    /// Kept.
    On,
    /// Not made at all.
    Off,
}

/// One machine's wall clock.
#[derive(Debug, Clone)]
pub struct WallClock {
    exec: Handle,
    leap: Arc<AtomicI64>,
    offset: Arc<AtomicI64>,
}

/// Locks; a simulation has one thread, so that nobody waits.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Without controllers and machines.
    pub fn new(exec: Handle, plan: Plan, tracing: Tracing) -> Self {
        Self {
            exec,
            store: Model::default(),
            site: Mutex::default(),
            network: Mutex::default(),
            controllers: Vec::new(),
            machines: Vec::new(),
            ledger: Mutex::default(),
            backups: Mutex::default(),
            storm: AtomicBool::new(true),
            leap: Arc::default(),
            trace: (tracing == Tracing::On).then(Mutex::default),
            counts: Mutex::default(),
            broken: Mutex::default(),
            plan,
        }
    }

    /// A wall clock that is `offset` microseconds off.
    pub fn wall_clock(&self, offset: i64) -> WallClock {
        let offset = Arc::new(AtomicI64::new(offset));
        WallClock { exec: self.exec.clone(), leap: Arc::clone(&self.leap), offset }
    }

    /// True time.
    pub fn now(&self) -> Timestamp {
        START + self.exec.now() + micros(self.leap.load(Ordering::Relaxed))
    }

    /// Moves every wall clock on, with nothing happening meanwhile: a time in which all machines were idle.
    pub fn leap(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.leap.fetch_add(by, Ordering::Relaxed);
        self.say(|| format!("world: {} s pass without anything", by / 1_000_000));
    }

    /// Ends or begins the time of faults.
    pub fn set_storm(&self, on: bool) {
        self.storm.store(on, Ordering::Relaxed);
    }

    /// Whether things go wrong now.
    pub fn storm(&self) -> bool {
        self.storm.load(Ordering::Relaxed)
    }

    /// Whether the fault `name` happens on this occasion; counted.
    pub fn fault(&self, name: &'static str, probability: f64) -> bool {
        let happens = self.storm() && self.exec.chance(probability);
        if happens {
            self.count(name);
        }
        happens
    }

    /// Whether this bug is in.
    pub fn has(&self, bug: Bug) -> bool {
        self.plan.bug == Some(bug)
    }

    /// Counts that something happened.
    pub fn count(&self, what: &'static str) {
        *lock(&self.counts).entry(what).or_default() += 1;
    }

    /// What happened how often.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }

    /// Adds a line to the trace.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let line = line();
            // Writing into a string never fails.
            let _ = writeln!(lock(trace).text, "{:>13} {line}", self.exec.now().as_micros());
        }
    }

    /// Something that must never be was seen.
    pub fn violation(&self, what: impl FnOnce() -> String) {
        let what = what();
        self.say(|| format!("VIOLATION {what}"));
        lock(&self.broken).push(what);
    }

    /// What was broken so far.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.broken).clone()
    }

    /// Whether something was broken.
    pub fn is_broken(&self) -> bool {
        !lock(&self.broken).is_empty()
    }

    /// The trace so far.
    pub fn traced(&self) -> Traced {
        let text = self.trace.as_ref().map(|trace| lock(trace).text.clone()).unwrap_or_default();
        let hash = hex::encode(Sha256::digest(text.as_bytes()));
        Traced { text, hash }
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl WallClock {
    /// Sets the clock on or back, in microseconds.
    pub fn jump(&self, by: i64) {
        self.offset.fetch_add(by, Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let offset = self.offset.load(Ordering::Relaxed) + self.leap.load(Ordering::Relaxed);
        let plain = START + self.exec.now();
        Timestamp::from_micros(plain.as_micros().saturating_add(offset))
    }
}

fn micros(number: i64) -> Duration {
    Duration::from_micros(u64::try_from(number).unwrap_or(0))
}

/// What was seen already, for checks that something happens once.
pub type Once<T> = BTreeSet<T>;
