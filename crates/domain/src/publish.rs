//! The publication protocol around the one click that cannot be undone.
//!
//! ```text
//! Preparing ⇄ Prepared ─arm→ Armed ─→ Confirmed
//!                              ├────→ NotClicked        (the agent's journal proves that no click was sent)
//!                              └────→ Unknown ─→ Confirmed | Absent | Duplicate | NeedsHuman | NotClicked
//! ```
//!
//! - I2: at most one intent per account is Armed or Unknown (also a partial unique index in the store).
//! - I4: no path leads from Armed back to Prepared.
//! - I5: Unknown is left only by evidence: a look, the agent's own journal for that very permit, or a person.
//! - I6: one external listing confirms at most one intent (also a unique index).
//! - I8: no decision compares clocks of two machines: the permit's life is sent as a duration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{
    AccountId, ContentHash, IntentId, PermitId, PostingId, RunLease, SessionEpoch, Version, WorkspaceId,
};
use crate::invariant;
use crate::time::Timestamp;

/// Life of a permit: the click must be sent within it.
pub const PERMIT_TTL: Duration = Duration::from_secs(15);
/// After the permit's life, this much longer is waited for the agent's report.
pub const REPORT_GRACE: Duration = Duration::from_secs(45);

/// Where an intent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The form is being filled, or will be.
    Preparing,
    /// The form is filled; the baseline is saved.
    Prepared,
    /// A permit is out; the click may have been sent.
    Armed,
    /// The listing is there.
    Confirmed,
    /// The click may have been sent; the effect is not known.
    Unknown,
    /// No click was sent.
    NotClicked,
    /// Looked for long enough: the click had no effect.
    Absent,
    /// More than one new listing appeared.
    Duplicate,
    /// A person decides.
    NeedsHuman,
}

/// The single-use licence for one click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// Its id.
    pub id: PermitId,
    /// The agent's own name of its request: asking again gives the same permit.
    pub request: String,
    /// The run it was given to.
    pub run_lease: RunLease,
    /// The stream it was given over.
    pub epoch: SessionEpoch,
    /// When it was given.
    pub armed_at: Timestamp,
    /// Without a report until then, the intent becomes Unknown.
    pub report_by: Timestamp,
}

/// The listing on the marketplace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedItem {
    /// The marketplace's id.
    pub item_id: String,
    /// Its public address.
    pub url: String,
    /// How it was recognised, e.g. `id_in_url`.
    pub strategy: String,
}

/// How the search for an uncertain publication goes; see [`crate::reconcile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looks {
    /// Looks taken.
    pub taken: u32,
    /// Clean looks: page whole, signed in, a known listing seen.
    pub clean: u32,
    /// When the first clean look was.
    pub first_clean_at: Option<Timestamp>,
}

/// One intent: one listing, one account, one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its id.
    pub id: IntentId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The posting it serves.
    pub posting: PostingId,
    /// The account it acts for.
    pub account: AccountId,
    /// Counts up with each fresh attempt of a posting after one that ended without a listing.
    pub generation: u32,
    /// Where it stands.
    pub state: State,
    /// The account's own listing ids before the click.
    pub baseline: Vec<String>,
    /// Hash of what was read back from the filled form.
    pub fingerprint: String,
    /// The permit, once Armed.
    pub permit: Option<Permit>,
    /// The listing, once Confirmed.
    pub item: Option<PublishedItem>,
    /// Why it is Unknown, NotClicked, Absent, Duplicate or NeedsHuman.
    pub reason: Option<String>,
    /// Looks taken while Unknown.
    pub looks: Looks,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Etag.
    pub version: Version,
}

/// What happens to an intent.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The form is filled and the baseline taken; overwrites an older preparation.
    Prepared {
        /// The run that filled it.
        run_lease: RunLease,
        /// Own listing ids before the click.
        baseline: Vec<String>,
        /// Hash over the values read back from the form.
        fingerprint: String,
    },
    /// The agent asks for the permit.
    Arm {
        /// The id of a fresh permit; unused when the same request was answered before.
        permit: PermitId,
        /// The agent's name of the request.
        request: String,
        /// The asking run.
        run_lease: RunLease,
        /// The asking stream.
        epoch: SessionEpoch,
        /// Hash of the baseline the agent holds; must be the saved one's.
        baseline_hash: ContentHash,
        /// The form's fingerprint the agent holds; must be the saved one.
        fingerprint: String,
    },
    /// The listing was found by the run that clicked.
    Confirm {
        /// The permit of the click.
        permit: PermitId,
        /// The listing.
        item: PublishedItem,
    },
    /// The agent's journal proves that no click was sent under this permit, and its Chrome is dead.
    NotClicked {
        /// The permit.
        permit: PermitId,
        /// Why.
        reason: String,
    },
    /// The agent cannot tell what the click did.
    Uncertain {
        /// The permit.
        permit: PermitId,
        /// Why.
        reason: String,
    },
    /// The time for the report has passed.
    ReportOverdue,
    /// A look found the listing.
    Found(PublishedItem),
    /// A look did not settle it; the counters after it.
    LookedAgain(Looks),
    /// Looked long enough: the listing does not exist.
    ProvenAbsent,
    /// Several new listings appeared.
    FoundSeveral(String),
    /// Looking cannot settle it.
    AskPerson(String),
    /// A person says that it is published.
    ResolvedPublished(PublishedItem),
    /// A person says that it is not published.
    ResolvedNotPublished,
}

/// Why an event changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The state does not allow it.
    #[error("an intent in state {0:?} does not allow this")]
    State(State),
    /// Another permit than the intent's.
    #[error("the permit is not this intent's")]
    OtherPermit,
    /// What the agent prepared is not what was saved.
    #[error("the prepared form or the list of own listings differs from what was saved; prepare again")]
    Changed,
    /// The report may still come.
    #[error("the time for the report has not passed yet")]
    NotYet,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Preparing,
        Self::Prepared,
        Self::Armed,
        Self::Confirmed,
        Self::Unknown,
        Self::NotClicked,
        Self::Absent,
        Self::Duplicate,
        Self::NeedsHuman,
    ];

    /// The stable name, e.g. `not_clicked`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Armed => "armed",
            Self::Confirmed => "confirmed",
            Self::Unknown => "unknown",
            Self::NotClicked => "not_clicked",
            Self::Absent => "absent",
            Self::Duplicate => "duplicate",
            Self::NeedsHuman => "needs_human",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the click may have been sent without its effect being known: the account takes no other click (I2).
    pub fn holds_account(self) -> bool {
        matches!(self, Self::Armed | Self::Unknown)
    }
}

/// The hash that binds a permit to the baseline the agent holds: order does not matter.
pub fn baseline_hash(item_ids: &[String]) -> ContentHash {
    let mut sorted: Vec<&str> = item_ids.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    ContentHash::of(sorted.join("\n").as_bytes())
}

impl Intent {
    fn becomes(&self, state: State, now: Timestamp) -> Self {
        Self { state, updated_at: now, ..self.clone() }
    }

    fn because(&self, state: State, reason: String, now: Timestamp) -> Self {
        Self { reason: Some(reason), ..self.becomes(state, now) }
    }

    /// Whether the open permit is the answer to this very request of this run.
    pub fn was_given_for(&self, request: &str, run_lease: RunLease) -> bool {
        let same = |given: &Permit| given.request == request && given.run_lease == run_lease;
        self.state.holds_account() && self.permit.as_ref().is_some_and(same)
    }

    fn owns(&self, permit: PermitId) -> Result<(), Rejected> {
        let owned = self.permit.as_ref().is_some_and(|held| held.id == permit);
        if owned { Ok(()) } else { Err(Rejected::OtherPermit) }
    }
}

/// Decides what `event` makes of `intent`. The version is left as it is: the store counts it.
pub fn step(intent: &Intent, event: Event, now: Timestamp) -> Result<Intent, Rejected> {
    if !cfg!(debug_assertions) {
        return decide(intent, event, now);
    }
    let after = decide(intent, event.clone(), now)?;
    // I4, I5, I6 at the place that must keep them.
    debug_assert_eq!(invariant::check_step(intent, &event, &after), Ok(()));
    Ok(after)
}

fn decide(intent: &Intent, event: Event, now: Timestamp) -> Result<Intent, Rejected> {
    let refused = Err(Rejected::State(intent.state));
    match event {
        Event::Prepared { run_lease: _, baseline, fingerprint } => match intent.state {
            State::Preparing | State::Prepared => {
                Ok(Intent { baseline, fingerprint, ..intent.becomes(State::Prepared, now) })
            }
            _ => refused,
        },
        Event::Arm { .. } => arm(intent, event, now),
        Event::Confirm { permit, item } => {
            intent.owns(permit)?;
            match intent.state {
                State::Armed | State::Unknown | State::NeedsHuman => Ok(confirmed(intent, item, now)),
                State::Confirmed if intent.item.as_ref() == Some(&item) => Ok(intent.clone()),
                _ => refused,
            }
        }
        Event::NotClicked { permit, reason } => {
            intent.owns(permit)?;
            match intent.state {
                State::Armed | State::Unknown => Ok(intent.because(State::NotClicked, reason, now)),
                State::NotClicked => Ok(intent.clone()),
                _ => refused,
            }
        }
        Event::Uncertain { permit, reason } => {
            intent.owns(permit)?;
            match intent.state {
                State::Armed => Ok(intent.because(State::Unknown, reason, now)),
                State::Unknown => Ok(intent.clone()),
                _ => refused,
            }
        }
        Event::ReportOverdue => match (intent.state, &intent.permit) {
            (State::Armed, Some(permit)) if permit.report_by > now => Err(Rejected::NotYet),
            (State::Armed, _) => Ok(intent.because(
                State::Unknown,
                String::from("the agent did not report what became of the click"),
                now,
            )),
            _ => refused,
        },
        other => settle(intent, other, now),
    }
}

fn arm(intent: &Intent, event: Event, now: Timestamp) -> Result<Intent, Rejected> {
    let Event::Arm { permit, request, run_lease, epoch, baseline_hash: held, fingerprint } = event else {
        return Err(Rejected::State(intent.state));
    };
    match (intent.state, &intent.permit) {
        (State::Prepared, _)
            if held != baseline_hash(&intent.baseline) || fingerprint != intent.fingerprint =>
        {
            Err(Rejected::Changed)
        }
        (State::Prepared, _) => {
            let report_by = now + PERMIT_TTL + REPORT_GRACE;
            let permit = Permit { id: permit, request, run_lease, epoch, armed_at: now, report_by };
            Ok(Intent { permit: Some(permit), ..intent.becomes(State::Armed, now) })
        }
        // A repeated request whose answer was lost: the same permit, and its life is not prolonged. Where the report is
        // overdue meanwhile, the agent learns which permit it can prove unused.
        _ if intent.was_given_for(&request, run_lease) => Ok(intent.clone()),
        _ => Err(Rejected::State(intent.state)),
    }
}

/// What looks and people bring.
fn settle(intent: &Intent, event: Event, now: Timestamp) -> Result<Intent, Rejected> {
    let undecided = matches!(intent.state, State::Unknown | State::Duplicate | State::NeedsHuman);
    match (intent.state, event) {
        (State::Unknown, Event::Found(item)) => Ok(confirmed(intent, item, now)),
        (State::Unknown, Event::LookedAgain(looks)) => {
            Ok(Intent { looks, ..intent.becomes(State::Unknown, now) })
        }
        (State::Unknown, Event::ProvenAbsent) => {
            let reason = String::from("looked for long enough: the site does not have the listing");
            Ok(intent.because(State::Absent, reason, now))
        }
        (State::Unknown, Event::FoundSeveral(reason)) => Ok(intent.because(State::Duplicate, reason, now)),
        (State::Unknown, Event::AskPerson(reason)) => Ok(intent.because(State::NeedsHuman, reason, now)),
        (_, Event::ResolvedPublished(item)) if undecided => Ok(confirmed(intent, item, now)),
        (_, Event::ResolvedNotPublished) if undecided => {
            Ok(intent.because(State::Absent, String::from("a person found that it is not published"), now))
        }
        _ => Err(Rejected::State(intent.state)),
    }
}

fn confirmed(intent: &Intent, item: PublishedItem, now: Timestamp) -> Intent {
    Intent { item: Some(item), reason: None, ..intent.becomes(State::Confirmed, now) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn intent() -> Intent {
        Intent {
            id: IntentId(Uuid::from_u128(1)),
            workspace: WorkspaceId(Uuid::from_u128(2)),
            posting: PostingId(Uuid::from_u128(3)),
            account: AccountId(Uuid::from_u128(4)),
            generation: 1,
            state: State::Preparing,
            baseline: Vec::new(),
            fingerprint: String::new(),
            permit: None,
            item: None,
            reason: None,
            looks: Looks::default(),
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            version: Version(1),
        }
    }

    fn item() -> PublishedItem {
        PublishedItem { item_id: "7".into(), url: "http://x/7".into(), strategy: "id_in_url".into() }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let permit = (1_u128..4).prop_map(|n| PermitId(Uuid::from_u128(n)));
        prop_oneof![
            prop::collection::vec("[a-c]", 0..3).prop_map(|baseline| Event::Prepared {
                run_lease: RunLease(5),
                baseline,
                fingerprint: "f".into()
            }),
            (permit.clone(), "[rs]", 1_i64..3, prop::collection::vec("[a-c]", 0..3)).prop_map(
                |(permit, request, lease, held)| Event::Arm {
                    permit,
                    request,
                    run_lease: RunLease(lease),
                    epoch: SessionEpoch(1),
                    baseline_hash: baseline_hash(&held),
                    fingerprint: "f".into(),
                }
            ),
            permit.clone().prop_map(|permit| Event::Confirm { permit, item: item() }),
            permit.clone().prop_map(|permit| Event::NotClicked { permit, reason: "r".into() }),
            permit.prop_map(|permit| Event::Uncertain { permit, reason: "r".into() }),
            Just(Event::ReportOverdue),
            Just(Event::Found(item())),
            Just(Event::LookedAgain(Looks::default())),
            Just(Event::ProvenAbsent),
            Just(Event::FoundSeveral("two".into())),
            Just(Event::AskPerson("why".into())),
            Just(Event::ResolvedPublished(item())),
            Just(Event::ResolvedNotPublished),
        ]
    }

    proptest! {
        #[test]
        fn the_protocol_keeps_its_invariants(events in prop::collection::vec((any_event(), 0_u64..40), 1..30)) {
            let mut now = Timestamp::EPOCH;
            let mut current = intent();
            for (event, seconds) in events {
                now = now + Duration::from_secs(seconds);
                let Ok(next) = step(&current, event.clone(), now) else { continue };
                let armed_before = !matches!(current.state, State::Preparing | State::Prepared);
                // I4: once armed, never prepared again, and the permit is never exchanged.
                prop_assert!(!(armed_before && matches!(next.state, State::Preparing | State::Prepared)));
                prop_assert!(!armed_before || next.permit == current.permit);
                // Only an armed intent with a saved baseline is ever clicked for.
                prop_assert!(next.state != State::Armed || next.permit.is_some());
                // I5: Unknown is left by evidence only.
                if current.state == State::Unknown && next.state != State::Unknown {
                    let forgetful = matches!(event, Event::ReportOverdue | Event::Arm { .. } | Event::Prepared { .. });
                    prop_assert!(!forgetful);
                }
                // Settled stays settled.
                if matches!(current.state, State::Confirmed | State::NotClicked | State::Absent) {
                    prop_assert_eq!(next.state, current.state);
                }
                prop_assert_eq!(next.state == State::Confirmed, next.item.is_some());
                current = next;
            }
        }
    }

    #[test]
    fn a_lost_answer_gives_the_same_permit_and_no_longer_life() {
        let now = Timestamp::from_micros(1_000_000);
        let prepared = step(
            &intent(),
            Event::Prepared { run_lease: RunLease(5), baseline: vec!["a".into()], fingerprint: "f".into() },
            now,
        )
        .expect("allowed");
        let ask = |permit: u128| Event::Arm {
            permit: PermitId(Uuid::from_u128(permit)),
            request: "r1".into(),
            run_lease: RunLease(5),
            epoch: SessionEpoch(2),
            baseline_hash: baseline_hash(&["a".into()]),
            fingerprint: "f".into(),
        };
        let armed = step(&prepared, ask(10), now).expect("allowed");
        let again = step(&armed, ask(11), now + Duration::from_secs(3)).expect("idempotent");
        assert_eq!(armed.permit, again.permit);
        let overdue = step(&again, Event::ReportOverdue, now + Duration::from_secs(60)).expect("overdue");
        assert_eq!(overdue.state, State::Unknown);
        // The agent was away for longer than that, and asks again: it must learn which permit it never used.
        let late = step(&overdue, ask(12), now + Duration::from_secs(90)).expect("still the same answer");
        assert_eq!((late.state, &late.permit), (State::Unknown, &armed.permit));
        let other = Event::Arm {
            permit: PermitId(Uuid::from_u128(13)),
            request: "r2".into(),
            run_lease: RunLease(5),
            epoch: SessionEpoch(3),
            baseline_hash: baseline_hash(&["a".into()]),
            fingerprint: "f".into(),
        };
        assert_eq!(step(&overdue, other, now), Err(Rejected::State(State::Unknown)));
    }
}
