//! What a look at the account's own listings says about an uncertain publication.
//!
//! A look is read-only. It is *clean* when the page was whole, the account signed in, and a listing known from the
//! baseline was seen (positive control). Absence is concluded from several clean looks over the visibility horizon only. An
//! account without any earlier listing has no control, so that its looks can find the listing and never prove its absence:
//! then a person is asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ContentHash, JobId};
use crate::posting::{EvidenceRef, FieldCheck};
use crate::publish::{Event, Intent, Looks, PublishedItem};
use crate::time::Timestamp;

/// Delays of the looks by default: each counts from the look before it, the first from the moment the publication became
/// uncertain.
pub const SCHEDULE: [Duration; 6] = [
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(24 * 3600),
];
/// Clean looks needed before a listing counts as absent.
pub const CLEAN_LOOKS: u32 = 3;
/// Time that the clean looks must span by default: how long a site may hide a new listing.
pub const HORIZON: Duration = Duration::from_secs(24 * 3600);

/// When to look for an uncertain publication, and over how long before it counts as absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    delays: Vec<Duration>,
    horizon: Duration,
}

impl Schedule {
    /// One with these delays, see [`SCHEDULE`], and this horizon, see [`HORIZON`]; none when there is no delay or either
    /// is zero: then nothing would ever be looked for, or absence be concluded at once.
    pub fn new(delays: Vec<Duration>, horizon: Duration) -> Option<Self> {
        let sound = !delays.is_empty() && !horizon.is_zero() && delays.iter().all(|delay| !delay.is_zero());
        sound.then_some(Self { delays, horizon })
    }

    /// The delay of the first look, from the moment the publication became uncertain.
    pub fn first(&self) -> Duration {
        self.delays.first().copied().unwrap_or(SCHEDULE[0])
    }

    fn after(&self, taken: u32) -> Option<Duration> {
        usize::try_from(taken).ok().and_then(|taken| self.delays.get(taken)).copied()
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self { delays: SCHEDULE.to_vec(), horizon: HORIZON }
    }
}

/// One own listing as a look saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenItem {
    /// The marketplace's id.
    pub item_id: String,
    /// Its address.
    pub url: String,
    /// Whether title and price are those of the intent's listing.
    pub matches: bool,
}

/// What one look saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// Every own listing seen.
    pub items: Vec<SeenItem>,
    /// Whether the list was read to its end, signed in as the right account.
    pub whole: bool,
    /// How many own listings there are; `items` may leave out known ones.
    pub total: usize,
    /// The page of the one new listing, where it was read back.
    pub page: Option<Box<ReadPage>>,
    /// Pictures of the lists, and of the listing's page.
    pub evidence: Vec<EvidenceRef>,
}

/// A listing's own page, as a look read it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPage {
    /// Which listing.
    pub item_id: String,
    /// Every field, and the photos with their order.
    pub read_back: Vec<FieldCheck>,
    /// Recipe name and version.
    pub recipe: String,
}

/// What is kept of a look, for the person who may have to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookRecord {
    /// Counts the looks for one click from 1.
    pub seq: u32,
    /// The look's job; its evidence shows what was seen.
    pub job: JobId,
    /// The attempt that was looked for.
    pub generation: u32,
    /// When it was taken.
    pub at: Timestamp,
    /// Whether the list was read to its end.
    pub whole: bool,
    /// Own listings seen.
    pub total: usize,
    /// Own listings before the click.
    pub before: usize,
    /// Known ones among those seen: without any, and with some before, the look proves nothing.
    pub known_seen: usize,
    /// New ones.
    pub new: Vec<SeenItem>,
    /// What it led to, in words.
    pub verdict: String,
}

/// Decides on one look, which was taken by a run that began at `begun` and is reported at `now`. The event is to be applied
/// to the intent; the delay, if any, is until the next look.
///
/// Reports may come late: an agent may have been away for days with a look in its pocket. When the look was taken is
/// therefore known to lie between `begun` and `now` only, and absence counts the shortest span that this allows.
pub fn judge(
    intent: &Intent,
    look: &Look,
    schedule: &Schedule,
    begun: Timestamp,
    now: Timestamp,
) -> (Event, Option<Duration>) {
    let fresh: Vec<&SeenItem> =
        look.items.iter().filter(|item| !intent.baseline.contains(&item.item_id)).collect();
    match fresh.as_slice() {
        [only] if only.matches => (
            Event::Found(PublishedItem {
                item_id: only.item_id.clone(),
                url: only.url.clone(),
                strategy: String::from("baseline_difference"),
            }),
            None,
        ),
        [only] => (
            Event::AskPerson(format!(
                "one new listing ({}) appeared, but its title or price is not this posting's",
                only.url
            )),
            None,
        ),
        [] => nothing_new(intent, look, schedule, begun, now),
        several => (
            Event::FoundSeveral(format!("{} new listings appeared where one was expected", several.len())),
            None,
        ),
    }
}

/// What is kept of `look`, which led to `event`.
pub fn record(intent: &Intent, look: &Look, job: JobId, event: &Event, now: Timestamp) -> LookRecord {
    let (known, new): (Vec<_>, Vec<_>) =
        look.items.iter().partition(|item| intent.baseline.contains(&item.item_id));
    let verdict = match event {
        Event::Found(item) => format!("found: {}", item.url),
        Event::AskPerson(why) | Event::FoundSeveral(why) => why.clone(),
        Event::ProvenAbsent => String::from("nothing new, looked for long enough: it is not on the site"),
        Event::LookedAgain(looks) if looks.clean > intent.looks.clean => String::from("nothing new"),
        Event::LookedAgain(_) if !look.whole => {
            String::from("the list could not be read to its end; this look proves nothing")
        }
        _ => String::from("nothing new, but no older listing was seen either; this look proves nothing"),
    };
    LookRecord {
        seq: intent.looks.taken + 1,
        job,
        generation: intent.generation,
        at: now,
        whole: look.whole,
        total: look.total.max(look.items.len()),
        before: intent.baseline.len(),
        known_seen: known.len(),
        new: new.into_iter().cloned().collect(),
        verdict,
    }
}

fn nothing_new(
    intent: &Intent,
    look: &Look,
    schedule: &Schedule,
    begun: Timestamp,
    now: Timestamp,
) -> (Event, Option<Duration>) {
    let control = look.items.iter().any(|item| intent.baseline.contains(&item.item_id));
    let clean = look.whole && control;
    let before = intent.looks;
    let looks = Looks {
        taken: before.taken + 1,
        clean: before.clean + u32::from(clean),
        first_clean_at: before.first_clean_at.or(clean.then_some(now)),
    };
    let spanned = looks.first_clean_at.is_some_and(|first| begun.since(first) >= schedule.horizon);
    if clean && looks.clean >= CLEAN_LOOKS && spanned {
        return (Event::ProvenAbsent, None);
    }
    match schedule.after(looks.taken) {
        Some(delay) => (Event::LookedAgain(looks), Some(delay)),
        // The schedule is over without enough clean looks: go on (daily) while looks come out clean, else ask.
        None if clean => (Event::LookedAgain(looks), Some(schedule.horizon)),
        None if intent.baseline.is_empty() => (
            Event::AskPerson(String::from(
                "the account had no listing before, so an empty list cannot be told from one that was not shown",
            )),
            None,
        ),
        None => (
            Event::AskPerson(String::from(
                "the account's own listings could not be read well enough to decide",
            )),
            None,
        ),
    }
}

/// The fingerprint of a form: a hash over field names and the values read back, in order.
pub fn fingerprint<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        text.push_str(name);
        text.push('\u{1f}');
        text.push_str(value);
        text.push('\u{1e}');
    }
    ContentHash::of(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::id::{AccountId, IntentId, PostingId, Version, WorkspaceId};
    use crate::publish::{State, step};

    fn unknown(baseline: &[&str]) -> Intent {
        Intent {
            id: IntentId(Uuid::nil()),
            workspace: WorkspaceId(Uuid::nil()),
            posting: PostingId(Uuid::nil()),
            account: AccountId(Uuid::nil()),
            generation: 1,
            state: State::Unknown,
            baseline: baseline.iter().map(ToString::to_string).collect(),
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

    fn seen(id: &str, matches: bool) -> SeenItem {
        SeenItem { item_id: id.into(), url: format!("http://x/{id}"), matches }
    }

    #[test]
    fn one_matching_new_listing_confirms_and_two_are_a_duplicate() {
        let intent = unknown(&["1"]);
        let look = Look { items: vec![seen("1", false), seen("2", true)], whole: true, ..Look::default() };
        assert!(matches!(
            judge(&intent, &look, &Schedule::default(), Timestamp::EPOCH, Timestamp::EPOCH).0,
            Event::Found(_)
        ));
        let look = Look { items: vec![seen("2", true), seen("3", true)], whole: true, ..Look::default() };
        assert!(matches!(
            judge(&intent, &look, &Schedule::default(), Timestamp::EPOCH, Timestamp::EPOCH).0,
            Event::FoundSeveral(_)
        ));
        let look = Look { items: vec![seen("2", false)], whole: true, ..Look::default() };
        assert!(matches!(
            judge(&intent, &look, &Schedule::default(), Timestamp::EPOCH, Timestamp::EPOCH).0,
            Event::AskPerson(_)
        ));
    }

    #[test]
    fn a_schedule_always_looks_and_never_concludes_at_once() {
        let second = Duration::from_secs(1);
        assert!(Schedule::new(vec![second], second).is_some());
        assert!(Schedule::new(Vec::new(), second).is_none());
        assert!(Schedule::new(vec![second, Duration::ZERO], second).is_none());
        assert!(Schedule::new(vec![second], Duration::ZERO).is_none());
        assert_eq!(Schedule::new(SCHEDULE.to_vec(), HORIZON), Some(Schedule::default()));
    }

    proptest! {
        #[test]
        fn absence_needs_clean_looks_over_the_horizon(looks in prop::collection::vec((any::<bool>(), any::<bool>(), 1_u64..100_000), 1..40)) {
            let mut intent = unknown(&["1"]);
            let mut now = Timestamp::EPOCH;
            let mut clean_at = Vec::new();
            for (whole, control, gap) in looks {
                now = now + Duration::from_secs(gap);
                let items = if control { vec![seen("1", false)] } else { Vec::new() };
                if whole && control {
                    clean_at.push(now);
                }
                let (event, _) = judge(&intent, &Look { items, whole, ..Look::default() }, &Schedule::default(), now, now);
                intent = step(&intent, event, now).expect("an unknown intent takes every judgement");
                if intent.state == State::Absent {
                    prop_assert!(clean_at.len() >= 3);
                    prop_assert!(now.since(clean_at[0]) >= HORIZON);
                }
                if intent.state != State::Unknown {
                    break;
                }
            }
        }
    }
}
