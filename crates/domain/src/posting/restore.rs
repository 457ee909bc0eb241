//! What a restored backup makes of a publication: what is known to an agent, though the database has forgotten it.

use super::{Effect, Publication, Rejected, Stepped};
use crate::failure::{Failure, FailureClass};
use crate::job::{self, Job};
use crate::publish::{self, Intent, Permit, PublishedItem, State};
use crate::time::Timestamp;

/// What an agent's journal holds of a permit that the database has no record of.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The permit, as far as it is known.
    pub permit: Permit,
    /// What became of it.
    pub fate: Fate,
    /// The stored baseline is the one that the permit was given for.
    pub baseline: Baseline,
}

/// What became of a permit, as its agent's journal tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The listing is there.
    Confirmed(PublishedItem),
    /// The click may have been sent, for this reason nothing more is known.
    MayBeClicked(String),
    /// No click was sent.
    NotClicked,
}

/// Whether a look can tell the new listing from the older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// The list of own listings from before the click is stored.
    Stored,
    /// It is forgotten, or the account's fate is open already: a person has to look.
    Lost,
}

const STEP: &str = "restore";

/// The database is an older copy: nobody can report on its open permit to it any more but the agent's journal, and looks.
pub(super) fn restored(publication: &Publication, now: Timestamp) -> Result<Stepped, Rejected> {
    let Publication { job, intent, .. } = publication;
    if intent.state != State::Armed {
        return Err(publish::Rejected::State(intent.state).into());
    }
    let reason = "the database was restored from a backup that was made while the click was under way";
    Ok(unknown(job, intent, reason.to_owned(), now))
}

/// Takes in what the agent's journal tells. What is decided already stays.
pub(super) fn told(publication: &Publication, told: Told, now: Timestamp) -> Result<Stepped, Rejected> {
    let Publication { job, intent, .. } = publication;
    let unchanged = Ok((job.clone(), intent.clone(), Vec::new()));
    let with_permit = || Intent { permit: Some(told.permit.clone()), ..intent.clone() };
    match (intent.state, told.fate) {
        (State::Confirmed, _) | (_, Fate::NotClicked) => unchanged,
        (_, Fate::Confirmed(item)) => {
            let intent = Intent {
                item: Some(item),
                reason: None,
                state: State::Confirmed,
                updated_at: now,
                ..with_permit()
            };
            Ok((job::step(job, job::Event::SettlePublished, now)?, intent, Vec::new()))
        }
        (State::Unknown | State::NeedsHuman | State::Duplicate, Fate::MayBeClicked(_)) => unchanged,
        (State::Preparing | State::Prepared, Fate::MayBeClicked(reason))
            if told.baseline == Baseline::Stored =>
        {
            Ok(unknown(job, &with_permit(), reason, now))
        }
        (State::Armed, Fate::MayBeClicked(reason)) => Ok(unknown(job, intent, reason, now)),
        (_, Fate::MayBeClicked(reason)) => {
            let question = format!(
                "{reason}; the database was restored from an older backup meanwhile, so looking cannot tell it from older \
                 listings: look on the site whether it is there"
            );
            Ok(ask(job, &with_permit(), question, now))
        }
    }
}

/// Nobody can vouch that the posting was not published after the backup was made.
pub(super) fn doubted(
    publication: &Publication,
    reason: String,
    now: Timestamp,
) -> Result<Stepped, Rejected> {
    let Publication { job, intent, .. } = publication;
    match intent.state {
        State::Preparing | State::Prepared if !job.state.is_terminal() => Ok(ask(job, intent, reason, now)),
        state => Err(publish::Rejected::State(state).into()),
    }
}

fn unknown(job: &Job, intent: &Intent, reason: String, now: Timestamp) -> Stepped {
    let failure = Failure::new(FailureClass::Uncertain, STEP, reason.clone());
    let job = moved(job, job::State::Uncertain, failure, now);
    let intent = Intent { state: State::Unknown, reason: Some(reason), updated_at: now, ..intent.clone() };
    (job, intent, vec![Effect::Look])
}

fn ask(job: &Job, intent: &Intent, question: String, now: Timestamp) -> Stepped {
    let failure = Failure::new(FailureClass::Uncertain, STEP, question.clone());
    let job = moved(job, job::State::NeedsHuman, failure, now);
    let intent =
        Intent { state: State::NeedsHuman, reason: Some(question), updated_at: now, ..intent.clone() };
    (job, intent, Vec::new())
}

/// A job that had ended in the backup's time may be open again: what the agent saw counts, not what the backup says.
fn moved(job: &Job, state: job::State, failure: Failure, now: Timestamp) -> Job {
    Job { state, lease_until: None, failure: Some(failure), updated_at: now, ..job.clone() }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::tests::publication;
    use super::super::{Event, state_of, step};
    use super::*;
    use crate::id::{IntentId, PermitId, RunLease, SessionEpoch};

    const NOW: Timestamp = Timestamp::EPOCH;

    fn item() -> PublishedItem {
        PublishedItem { item_id: "7".into(), url: "http://x/7".into(), strategy: "id_in_url".into() }
    }

    fn told_of(fate: Fate, baseline: Baseline) -> Event {
        let permit = Permit {
            id: PermitId(Uuid::from_u128(70)),
            request: "r".into(),
            run_lease: RunLease(9),
            epoch: SessionEpoch(1),
            armed_at: NOW,
            report_by: NOW,
        };
        Event::Told(Box::new(Told { permit, fate, baseline }))
    }

    fn after(publication: &Publication, event: Event) -> (Publication, Vec<Effect>) {
        let (next, effects) = step(publication, event, IntentId(Uuid::from_u128(99)), NOW).expect("allowed");
        assert_eq!(next.posting.state, state_of(next.job.state, next.intent.state));
        (next, effects)
    }

    fn with(intent: State, job: job::State) -> Publication {
        let mut publication = publication();
        publication.intent.state = intent;
        publication.job.state = job;
        publication
    }

    #[test]
    fn a_forgotten_confirmation_confirms_whatever_the_backup_says() {
        for (intent, job) in [
            (State::Preparing, job::State::Queued),
            (State::Prepared, job::State::Running),
            (State::Armed, job::State::Parked),
            (State::Unknown, job::State::Uncertain),
            (State::NeedsHuman, job::State::NeedsHuman),
            (State::Absent, job::State::Failed),
            (State::Preparing, job::State::Cancelled),
        ] {
            let event = told_of(Fate::Confirmed(item()), Baseline::Lost);
            let (next, _) = after(&with(intent, job), event.clone());
            assert_eq!((next.intent.state, next.job.state), (State::Confirmed, job::State::Succeeded));
            assert_eq!(next.posting.item, Some(item()));
            assert_eq!(after(&next, event).0, next, "a repeat changes nothing");
        }
    }

    #[test]
    fn a_forgotten_click_is_looked_for_or_asked_about_and_never_repeated() {
        let clicked = || Fate::MayBeClicked("the agent ended".into());
        for job in [job::State::Queued, job::State::Running, job::State::Parked, job::State::Failed] {
            let (next, effects) = after(&with(State::Preparing, job), told_of(clicked(), Baseline::Stored));
            assert_eq!((next.intent.state, next.job.state), (State::Unknown, job::State::Uncertain));
            assert!(matches!(effects[..], [Effect::Look]) && next.intent.permit.is_some());
            let (next, effects) = after(&with(State::Prepared, job), told_of(clicked(), Baseline::Lost));
            assert_eq!((next.intent.state, next.job.state), (State::NeedsHuman, job::State::NeedsHuman));
            assert!(effects.is_empty());
        }
    }

    #[test]
    fn a_permit_that_was_not_used_changes_nothing() {
        let before = with(State::Preparing, job::State::Queued);
        assert_eq!(after(&before, told_of(Fate::NotClicked, Baseline::Lost)).0, before);
    }

    #[test]
    fn an_open_permit_of_an_older_copy_is_uncertain_at_once() {
        let mut armed = with(State::Armed, job::State::Running);
        armed.intent.permit = match told_of(Fate::NotClicked, Baseline::Lost) {
            Event::Told(told) => Some(told.permit),
            _ => None,
        };
        let (next, effects) = after(&armed, Event::Restored);
        assert_eq!((next.intent.state, next.job.state), (State::Unknown, job::State::Uncertain));
        assert!(matches!(effects[..], [Effect::Look]));
        let before = with(State::Prepared, job::State::Running);
        assert!(step(&before, Event::Restored, IntentId(Uuid::nil()), NOW).is_err());
    }

    #[test]
    fn what_nobody_vouches_for_waits_for_a_person() {
        let (next, _) = after(&with(State::Preparing, job::State::Parked), Event::Doubted("why".into()));
        assert_eq!((next.intent.state, next.job.state), (State::NeedsHuman, job::State::NeedsHuman));
        let unknown = with(State::Unknown, job::State::Uncertain);
        assert!(step(&unknown, Event::Doubted("why".into()), IntentId(Uuid::nil()), NOW).is_err());
        let ended = with(State::Preparing, job::State::Failed);
        assert!(step(&ended, Event::Doubted("why".into()), IntentId(Uuid::nil()), NOW).is_err());
    }

    #[test]
    fn an_absent_listing_is_posted_again_by_itself_a_few_times_only() {
        let mut unknown = with(State::Unknown, job::State::Uncertain);
        for generation in 1..=super::super::REPUBLISHED_MAX {
            unknown.intent.generation = generation;
            let (next, effects) = after(&unknown, Event::ProvenAbsentOnceMore);
            assert_eq!((next.intent.state, next.job.state), (State::Preparing, job::State::Queued));
            assert_eq!((next.intent.generation, effects.len()), (generation + 1, 1));
        }
        unknown.intent.generation += 1;
        let (next, _) = after(&unknown, Event::ProvenAbsentOnceMore);
        assert_eq!((next.intent.state, next.job.state), (State::Absent, job::State::Failed));
    }
}
