//! Processes by id and start time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::os;

/// One process; the start time (in units of the operating system) tells it from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessRef {
    /// The process id.
    pub pid: u32,
    /// When it started; comparable on this PC only.
    pub started: u64,
}

/// A process as the operating system lists it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    pub(super) process: ProcessRef,
    pub(super) parent: u32,
}

/// Some processes did not end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these processes do not end: {pids:?}; end them by hand, then start the agent again")]
pub struct StillAlive {
    /// Their ids.
    pub pids: Vec<u32>,
}

/// How often a dying process is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl ProcessRef {
    /// The process that has this id now.
    pub fn of(pid: u32) -> Option<Self> {
        os::started(pid).map(|started| Self { pid, started })
    }

    /// Whether it still runs. A process that has ended and was not yet collected by its parent does not.
    pub fn is_alive(self) -> bool {
        os::started(self.pid) == Some(self.started)
    }

    /// It and everything it has started, as far as the chain of parents shows.
    pub fn with_descendants(self) -> Vec<Self> {
        let mut found = vec![self];
        found.extend(descendants(self.pid));
        found
    }
}

/// Everything that `pid` has started, directly or not.
pub(super) fn descendants(pid: u32) -> Vec<ProcessRef> {
    let mut children: BTreeMap<u32, Vec<ProcessRef>> = BTreeMap::new();
    for listed in os::list() {
        children.entry(listed.parent).or_default().push(listed.process);
    }
    let (mut found, mut seen, mut open) = (Vec::new(), BTreeSet::from([pid]), vec![pid]);
    while let Some(parent) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push(*child);
                open.push(child.pid);
            }
        }
    }
    found
}

/// Ends these processes and what they have started, and proves that they are gone. Processes that merely have the same
/// id as one of them are left alone.
pub async fn end_all(processes: &[ProcessRef], within: Duration) -> Result<(), StillAlive> {
    let deadline = tokio::time::Instant::now() + within;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut all: BTreeSet<ProcessRef> = processes.iter().copied().collect();
    loop {
        all.retain(|process| process.is_alive());
        for process in all.clone() {
            all.extend(descendants(process.pid));
        }
        if all.is_empty() {
            return Ok(());
        }
        for process in &all {
            if process.is_alive() {
                os::kill(process.pid);
            }
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(StillAlive { pids: all.iter().map(|process| process.pid).collect() });
        }
        looks.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_reused_id_is_not_mistaken_for_it() {
        let me = ProcessRef::of(std::process::id()).expect("listed");
        assert!(me.is_alive());
        assert!(!ProcessRef { started: me.started + 1, ..me }.is_alive());
    }
}
