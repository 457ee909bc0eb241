//! A database that is put back from a backup, and the recount that makes it harmless (I9).

use tradepost_domain::publish;

use crate::bug::Bug;
use crate::controller::Refusal;
use crate::model::Model;
use crate::rows::Event;
use crate::situation::Situation;
use crate::world::{Entry, Message, Note, Outcome, Which, World};

impl Model {
    /// The controllers end, the older copy is put in place, and a new fleet epoch begins: its numbers are greater than any
    /// before, open permits are uncertain, and agents get no work before they have told what their journals hold.
    pub fn restore(&mut self, world: &mut World) -> Result<(), String> {
        let Some(copy) = world.backup.take() else { return Ok(()) };
        let (epoch, leases) = (world.db.epoch, world.db.leases);
        world.db = *copy;
        world.agent.epoch = 0;
        world.messages.retain(|message| !matches!(message, Message::Dispatch { .. }));
        if self.bug == Some(Bug::KeepFleetEpoch) {
            return Ok(());
        }
        world.db.epoch = epoch + 1;
        world.db.leases = leases;
        world.db.recount = true;
        for posting in 0..world.db.rows.len() {
            if world.db.rows[posting].state == publish::State::Armed {
                self.seen(Situation::RestoredUnknown);
                self.decide(world, Which::try_from(posting).unwrap_or(Which::MAX), Event::Restored)
                    .map(drop)?;
            }
        }
        Ok(())
    }

    /// The agent tells every permit in its journal; the controller takes in what it has forgotten.
    pub fn recount(&mut self, world: &mut World) -> Result<(), String> {
        if !world.db.recount {
            return Ok(());
        }
        let told = world.agent.history.iter().chain(&world.agent.journal).copied();
        let told: Vec<Entry> = told.filter(|entry| entry.note != Note::Requested).collect();
        for entry in told {
            self.take_in(world, entry)?;
        }
        world.db.recount = false;
        Ok(())
    }

    fn take_in(&mut self, world: &mut World, entry: Entry) -> Result<(), String> {
        let Entry { posting, request, note, baseline, .. } = entry;
        let row = world.db.rows[usize::from(posting)];
        if row.permit == request {
            let event = match note {
                Note::Outcome(Outcome::Confirmed(item)) => Event::Confirm(request, item),
                Note::Outcome(Outcome::NotClicked(_)) => Event::NotClicked(request),
                Note::Outcome(Outcome::Uncertain) => Event::Uncertain(request),
                _ => return Ok(()),
            };
            return self.decide(world, posting, event).map(drop);
        }
        let item = match note {
            Note::Outcome(Outcome::NotClicked(_)) => return Ok(()),
            Note::Outcome(Outcome::Confirmed(item)) => item + 1,
            _ => 0,
        };
        self.seen(Situation::ForgottenClickTold);
        let stored = row.state == publish::State::Prepared && row.baseline == baseline;
        match self.decide(world, posting, Event::Told(request, item, stored))? {
            Err(Refusal::Unsettled) => {
                self.decide(world, posting, Event::Told(request, item, false)).map(drop)
            }
            Err(Refusal::Taken) => self.decide(world, posting, Event::Told(request, 0, false)).map(drop),
            _ => Ok(()),
        }
    }
}
