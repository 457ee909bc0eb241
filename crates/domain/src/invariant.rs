//! The protocol's invariants by name, and checks that say which one a state or a step breaks.
//!
//! [`check_intent`], [`check_step`], [`check_account`] and [`waits_for`] are what the explored model, the simulation and the
//! property tests assert; the step functions assert the first two themselves in debug builds.

use std::collections::BTreeSet;
use std::fmt;

use crate::job;
use crate::posting::{self, Publication};
use crate::publish::{Event, Intent, State};

/// One invariant of the publication protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invariant {
    /// A write with a stale run lease or stream changes nothing.
    I1StaleWrites,
    /// At most one permit per account is unsettled.
    I2OneUnsettled,
    /// `WILL_CLICK` is on the disk before the click.
    I3JournalFirst,
    /// No path leads from Armed back to Prepared.
    I4NoWayBack,
    /// Unknown is left by evidence or by a person only.
    I5Evidence,
    /// One listing on the marketplace confirms at most one intent.
    I6OneItemOneIntent,
    /// Whatever is not final is moved on by exactly one rule.
    I7OneRule,
    /// No decision compares the clocks of two machines.
    I8OwnClocks,
    /// A database restored from a backup begins a new fleet epoch.
    I9FleetEpoch,
    /// After a sleep nothing is clicked without a fresh look.
    I10LookAfterSleep,
}

/// An invariant that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} is broken: {detail}")]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub detail: String,
}

/// The one rule that moves a publication on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// For its turn: the dispatcher takes it.
    Dispatch,
    /// For its run: the lease sweep ends it when it is silent.
    Lease,
    /// For its agent to come back.
    AgentReturn,
    /// For the report on its click, until the deadline.
    Report,
    /// For a look at the account's listings.
    Look,
    /// For a person.
    Person,
    /// For nothing: it has ended.
    Ended,
}

impl Invariant {
    /// Its number and its short text.
    pub fn text(self) -> &'static str {
        match self {
            Self::I1StaleWrites => "I1 (a write of an older run or stream changes nothing)",
            Self::I2OneUnsettled => "I2 (at most one unsettled permit per account)",
            Self::I3JournalFirst => "I3 (WILL_CLICK on the disk before the click)",
            Self::I4NoWayBack => "I4 (no path from Armed back to Prepared)",
            Self::I5Evidence => "I5 (Unknown is left by evidence or a person only)",
            Self::I6OneItemOneIntent => "I6 (a listing confirms at most one intent)",
            Self::I7OneRule => "I7 (exactly one rule moves on what is not final)",
            Self::I8OwnClocks => "I8 (no decision compares two machines' clocks)",
            Self::I9FleetEpoch => "I9 (a restored backup begins a new fleet epoch)",
            Self::I10LookAfterSleep => "I10 (no click after a sleep without a fresh look)",
        }
    }

    /// This invariant, broken.
    pub fn broken(self, detail: impl Into<String>) -> Violation {
        Violation { invariant: self, detail: detail.into() }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Whether the intent's parts fit its state.
pub fn check_intent(intent: &Intent) -> Result<(), Violation> {
    let before = matches!(intent.state, State::Preparing | State::Prepared);
    if before && intent.permit.is_some() {
        return Err(Invariant::I4NoWayBack.broken(format!("{:?} with a permit", intent.state)));
    }
    if matches!(intent.state, State::Armed | State::NotClicked) && intent.permit.is_none() {
        return Err(Invariant::I4NoWayBack.broken(format!("{:?} without a permit", intent.state)));
    }
    if (intent.state == State::Confirmed) != intent.item.is_some() {
        return Err(
            Invariant::I6OneItemOneIntent.broken(format!("{:?} with {:?}", intent.state, intent.item))
        );
    }
    Ok(())
}

/// Whether `after` may follow `before` by `event`.
pub fn check_step(before: &Intent, event: &Event, after: &Intent) -> Result<(), Violation> {
    check_intent(after)?;
    let early = |state| matches!(state, State::Preparing | State::Prepared);
    if !early(before.state) && early(after.state) {
        return Err(Invariant::I4NoWayBack.broken(format!("{:?} became {:?}", before.state, after.state)));
    }
    let known =
        |intent: &Intent| intent.permit.as_ref().map(|permit| (permit.id, permit.armed_at, permit.report_by));
    if before.permit.is_some() && known(before) != known(after) {
        return Err(Invariant::I4NoWayBack.broken("a permit was exchanged or prolonged"));
    }
    if before.state == State::Unknown && after.state != State::Unknown {
        let evidence = matches!(
            event,
            Event::Confirm { .. }
                | Event::NotClicked { .. }
                | Event::Found(_)
                | Event::ProvenAbsent
                | Event::FoundSeveral(_)
                | Event::AskPerson(_)
                | Event::ResolvedPublished(_)
                | Event::ResolvedNotPublished
        );
        if !evidence {
            return Err(Invariant::I5Evidence.broken(format!("left by {event:?}")));
        }
    }
    if before.state == State::Confirmed && (after.state != State::Confirmed || after.item != before.item) {
        return Err(Invariant::I6OneItemOneIntent.broken("a confirmation was taken back"));
    }
    Ok(())
}

/// Whether the intents of one account fit each other: at most one unsettled (I2), no listing twice (I6).
pub fn check_account<'a>(intents: impl IntoIterator<Item = &'a Intent>) -> Result<(), Violation> {
    let mut unsettled = None;
    let mut items = BTreeSet::new();
    for intent in intents {
        if intent.state.holds_account()
            && let Some(other) = unsettled.replace(intent.id)
        {
            return Err(Invariant::I2OneUnsettled.broken(format!("{other} and {} are unsettled", intent.id)));
        }
        if let Some(item) = &intent.item
            && !items.insert(item.item_id.as_str())
        {
            return Err(
                Invariant::I6OneItemOneIntent.broken(format!("{} confirms a second intent", item.item_id))
            );
        }
    }
    Ok(())
}

/// The one rule that moves the publication on (I7). `looks` counts the look jobs of its newest intent that have not ended.
pub fn waits_for(publication: &Publication, looks: usize) -> Result<Waiting, Violation> {
    let Publication { posting, job, intent } = publication;
    let lost = |why: &str| {
        Err(Invariant::I7OneRule.broken(format!("{why}: job {:?}, intent {:?}", job.state, intent.state)))
    };
    if posting.state != posting::state_of(job.state, intent.state) {
        return lost("people are shown another state than the true one");
    }
    if job.kind == job::Kind::Publish && posting.intent != intent.id {
        return lost("the posting has another intent");
    }
    match (job.state, intent.state) {
        (job::State::Uncertain, State::Armed) => Ok(Waiting::Report),
        (job::State::Uncertain, State::Unknown) if looks > 0 => Ok(Waiting::Look),
        (job::State::Uncertain, _) => lost("nobody finds out what became of the click"),
        (_, State::Unknown) => lost("an uncertain publication without an uncertain job"),
        // The run is the witness; when it falls silent its lease ends, and the report's deadline follows.
        (job::State::Leased | job::State::Running, State::Preparing | State::Prepared | State::Armed) => {
            Ok(Waiting::Lease)
        }
        (_, State::Armed) => lost("nobody waits for the report"),
        (job::State::Queued, State::Preparing | State::Prepared) => Ok(Waiting::Dispatch),
        (job::State::Parked, State::Preparing | State::Prepared) => Ok(Waiting::AgentReturn),
        (job::State::NeedsHuman, _) => Ok(Waiting::Person),
        (job::State::Succeeded, State::Confirmed) => Ok(Waiting::Ended),
        (job::State::Failed | job::State::Cancelled, _) if posting.state.is_settled() => Ok(Waiting::Ended),
        _ => lost("no rule moves it on"),
    }
}
