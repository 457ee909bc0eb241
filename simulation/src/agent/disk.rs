//! A machine's disk with the agent's journal on it: what was written is lost at a power cut unless it was synced.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tradepost_agent::journal::{self, Contents, Marks, Record, State};
use tradepost_domain::id::PermitId;

use super::Machine;
use crate::plan::Bug;
use crate::world::{World, lock};

/// The journal's file.
#[derive(Debug, Clone)]
pub struct Disk {
    bytes: Vec<u8>,
    /// So many of them survive a power cut.
    durable: usize,
}

impl Default for Disk {
    /// A new journal, as the real one begins it.
    fn default() -> Self {
        let bytes = journal::encode(&Record::Marks(Marks::default())).unwrap_or_default();
        Self { durable: bytes.len(), bytes }
    }
}

impl Disk {
    /// The power fails: of what was not synced, some beginning may have reached the disk.
    pub fn power_cut(&mut self, world: &World) {
        let loose = self.bytes.len() - self.durable;
        let kept = self.durable + world.exec.below(loose + 1);
        if kept < self.bytes.len() {
            world.count("a power cut loses records of a journal");
        }
        self.bytes.truncate(kept);
        self.durable = kept;
    }

    /// Whether the announcement of a click under this permit would survive a power cut now.
    pub fn has_announced(&self, permit: PermitId) -> bool {
        let announced =
            |record: &Record| matches!(record, Record::WillClick { permit: known } if *known == permit);
        journal::read(&self.bytes[..self.durable]).records.iter().any(announced)
    }

    fn open(&mut self) -> Contents {
        let contents = journal::read(&self.bytes);
        self.bytes.truncate(contents.kept);
        self.durable = contents.kept;
        contents
    }
}

/// The open journal of one agent process; as the real one, but for the disk.
#[derive(Debug)]
pub(super) struct Journal {
    world: Arc<World>,
    machine: Arc<Machine>,
    state: Mutex<State>,
}

impl Journal {
    /// Reads what is there; a torn tail is cut off.
    pub(super) fn open(world: &Arc<World>, machine: &Arc<Machine>) -> Self {
        let contents = lock(&machine.disk).open();
        let state = Mutex::new(State::of(contents));
        Self { world: Arc::clone(world), machine: Arc::clone(machine), state }
    }

    /// What the records add up to.
    pub(super) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// Writes a record and returns when it survives a power cut.
    pub(super) async fn append(&self, record: Record) {
        self.machine.perhaps_die(&self.world, "before a record").await;
        let Ok(line) = journal::encode(&record) else {
            self.world.violation(|| format!("a record cannot be written: {record:?}"));
            return;
        };
        self.world.say(|| format!("machine {}: journal {}", self.machine.index, name(&record)));
        let end = {
            let mut disk = lock(&self.machine.disk);
            disk.bytes.extend_from_slice(&line);
            disk.bytes.len()
        };
        if self.world.has(Bug::AcknowledgeBeforeFsync) {
            lock(&self.state).apply(record);
            let (world, machine) = (Arc::clone(&self.world), Arc::clone(&self.machine));
            self.world.exec.spawn(crate::executor::WORLD, async move {
                world.exec.sleep(Duration::from_secs(30)).await;
                let mut disk = lock(&machine.disk);
                disk.durable = disk.durable.max(end.min(disk.bytes.len()));
            });
            return;
        }
        let exec = &self.world.exec;
        exec.sleep(exec.between(Duration::from_micros(100), Duration::from_millis(8))).await;
        self.machine.perhaps_die(&self.world, "before a record is synced").await;
        {
            let mut disk = lock(&self.machine.disk);
            disk.durable = disk.durable.max(end.min(disk.bytes.len()));
        }
        self.machine.perhaps_die(&self.world, "after a record").await;
        lock(&self.state).apply(record);
    }
}

fn name(record: &Record) -> String {
    match record {
        Record::Outcome { permit, outcome: journal::Outcome::Confirmed(receipt) } => {
            format!("confirmed {} under {permit:?}", receipt.item.item_id)
        }
        Record::PermitRequested(request) => format!("permit requested {} {:?}", request.request, request.run),
        other => format!("{other:?}"),
    }
}
