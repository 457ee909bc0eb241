//! Canonical form: numbers that are only compared are renamed, and what has no order is sorted.
//!
//! Leases are compared for equality and order, streams, requests and intents for equality. Renaming the present ones to
//! 1, 2, 3 … in their order keeps every comparison and makes states equal that can only behave alike. Parts of a row
//! that no rule reads in its state are cleared.

use tradepost_domain::publish::State;

use crate::world::{Database, Message, Number, Since, Which, World};

/// Which kind of number a renaming is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lease,
    Epoch,
    Request,
    Intent(Which),
}

/// Brings `world` into its canonical form.
pub fn canonical(world: &mut World) {
    clear(&mut world.db);
    if let Some(backup) = &mut world.backup {
        clear(backup);
    }
    rename(world, Kind::Lease);
    rename(world, Kind::Epoch);
    rename(world, Kind::Request);
    for posting in 0..world.db.rows.len() {
        rename(world, Kind::Intent(Which::try_from(posting).unwrap_or(Which::MAX)));
    }
    world.messages.sort_unstable();
    world.agent.owed.sort_unstable();
    world.agent.journal.sort_unstable();
    world.db.looks.sort_unstable_by_key(|look| (look.posting, look.intent, look.lease, look.state as u8));
    world.site.posts.sort_unstable();
}

/// A number of `kind` that is in use nowhere, greater than all in use.
pub fn fresh_request(world: &mut World) -> Number {
    let mut greatest = 0;
    visit(world, Kind::Request, &mut |number| greatest = greatest.max(*number));
    greatest + 1
}

/// The same for an intent of `posting`.
pub fn fresh_intent(world: &mut World, posting: Which) -> Number {
    let mut greatest = 0;
    visit(world, Kind::Intent(posting), &mut |number| greatest = greatest.max(*number));
    greatest + 1
}

fn clear(db: &mut Database) {
    for row in &mut db.rows {
        if row.state != State::Armed {
            row.permit_lease = 0;
        }
        if !matches!(row.state, State::Prepared | State::Armed | State::Unknown) {
            row.baseline = 0;
        }
        if row.state != State::Unknown {
            (row.taken, row.clean, row.first_clean) = (0, 0, Since::Never);
        }
    }
}

fn rename(world: &mut World, kind: Kind) {
    let mut used = [false; 256];
    visit(world, kind, &mut |number| used[usize::from(*number)] = true);
    let mut names = [0; 256];
    let mut last = 0;
    for (number, name) in names.iter_mut().enumerate().skip(1) {
        if used[number] {
            last += 1;
            *name = last;
        }
    }
    visit(world, kind, &mut |number| *number = names[usize::from(*number)]);
}

/// Every number of `kind` in `world`.
fn visit(world: &mut World, kind: Kind, each: &mut impl FnMut(&mut Number)) {
    visit_database(&mut world.db, kind, each);
    if let Some(backup) = &mut world.backup {
        visit_database(backup, kind, each);
    }
    if kind == Kind::Epoch {
        each(&mut world.agent.epoch);
    }
    if let Some(run) = &mut world.agent.run {
        match kind {
            Kind::Lease => each(&mut run.lease),
            Kind::Request => each(&mut run.request),
            Kind::Intent(posting) if posting == run.posting => each(&mut run.intent),
            _ => {}
        }
    }
    for owed in &mut world.agent.owed {
        if kind == Kind::Lease {
            each(&mut owed.lease);
        }
    }
    for entry in &mut world.agent.journal {
        match kind {
            Kind::Lease => each(&mut entry.lease),
            Kind::Epoch => each(&mut entry.epoch),
            Kind::Request => each(&mut entry.request),
            Kind::Intent(posting) if posting == entry.posting => each(&mut entry.intent),
            Kind::Intent(_) => {}
        }
    }
    for (_, lease) in &mut world.site.posts {
        if kind == Kind::Lease {
            each(lease);
        }
    }
    for message in &mut world.messages {
        visit_message(message, kind, each);
    }
}

fn visit_database(db: &mut Database, kind: Kind, each: &mut impl FnMut(&mut Number)) {
    match kind {
        Kind::Lease => each(&mut db.leases),
        Kind::Epoch => each(&mut db.epoch),
        Kind::Request | Kind::Intent(_) => {}
    }
    for (posting, row) in db.rows.iter_mut().enumerate() {
        match kind {
            Kind::Lease => {
                each(&mut row.lease);
                each(&mut row.permit_lease);
            }
            Kind::Request => each(&mut row.permit),
            Kind::Intent(wanted) if usize::from(wanted) == posting => each(&mut row.intent),
            Kind::Epoch | Kind::Intent(_) => {}
        }
    }
    for look in &mut db.looks {
        match kind {
            Kind::Lease => each(&mut look.lease),
            Kind::Intent(posting) if posting == look.posting => each(&mut look.intent),
            _ => {}
        }
    }
}

fn visit_message(message: &mut Message, kind: Kind, each: &mut impl FnMut(&mut Number)) {
    match message {
        Message::Dispatch { posting, look: _, lease, intent } => match kind {
            Kind::Lease => each(lease),
            Kind::Intent(wanted) if wanted == *posting => each(intent),
            _ => {}
        },
        Message::Prepared { posting, intent, lease, epoch, baseline: _ } => match kind {
            Kind::Lease => each(lease),
            Kind::Epoch => each(epoch),
            Kind::Intent(wanted) if wanted == *posting => each(intent),
            _ => {}
        },
        Message::Arm { posting, intent, lease, epoch, request, baseline: _ } => match kind {
            Kind::Lease => each(lease),
            Kind::Epoch => each(epoch),
            Kind::Request => each(request),
            Kind::Intent(wanted) if wanted == *posting => each(intent),
            Kind::Intent(_) => {}
        },
        Message::Settle { posting, intent, request, outcome: _ } => match kind {
            Kind::Request => each(request),
            Kind::Intent(wanted) if wanted == *posting => each(intent),
            _ => {}
        },
        Message::Ended(owed) => {
            if kind == Kind::Lease {
                each(&mut owed.lease);
            }
        }
    }
}
