//! What a look at the account's own listings says about an uncertain publication.
//!
//! A look is read-only. It is *clean* when the page was whole, the account signed in, and a listing known from the
//! baseline was seen (positive control). Absence is concluded from several clean looks over the visibility horizon only. An
//! account without any earlier listing has no control, so that its looks can find the listing and never prove its absence:
//! then a person is asked.

use std::time::Duration;

use crate::id::ContentHash;
use crate::publish::{Event, Intent, Looks, PublishedItem};
use crate::time::Timestamp;

/// Delays of the looks after the publication became uncertain.
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
/// Time that the clean looks must span: how long a site may hide a new listing.
pub const HORIZON: Duration = Duration::from_secs(24 * 3600);

/// One own listing as a look saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// Decides on one look, which was taken by a run that began at `begun` and is reported at `now`. The event is to be applied
/// to the intent; the delay, if any, is until the next look.
///
/// Reports may come late: an agent may have been away for days with a look in its pocket. When the look was taken is
/// therefore known to lie between `begun` and `now` only, and absence counts the shortest span that this allows.
pub fn judge(intent: &Intent, look: &Look, begun: Timestamp, now: Timestamp) -> (Event, Option<Duration>) {
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
        [] => nothing_new(intent, look, begun, now),
        several => (
            Event::FoundSeveral(format!("{} new listings appeared where one was expected", several.len())),
            None,
        ),
    }
}

fn nothing_new(intent: &Intent, look: &Look, begun: Timestamp, now: Timestamp) -> (Event, Option<Duration>) {
    let control = look.items.iter().any(|item| intent.baseline.contains(&item.item_id));
    let clean = look.whole && control;
    let before = intent.looks;
    let looks = Looks {
        taken: before.taken + 1,
        clean: before.clean + u32::from(clean),
        first_clean_at: before.first_clean_at.or(clean.then_some(now)),
    };
    let spanned = looks.first_clean_at.is_some_and(|first| begun.since(first) >= HORIZON);
    if clean && looks.clean >= CLEAN_LOOKS && spanned {
        return (Event::ProvenAbsent, None);
    }
    let next = usize::try_from(looks.taken).ok().and_then(|taken| SCHEDULE.get(taken));
    match next {
        Some(delay) => (Event::LookedAgain(looks), Some(*delay)),
        // The schedule is over without enough clean looks: go on daily while looks come out clean, else ask.
        None if clean => (Event::LookedAgain(looks), Some(HORIZON)),
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
        let look = Look { items: vec![seen("1", false), seen("2", true)], whole: true };
        assert!(matches!(judge(&intent, &look, Timestamp::EPOCH, Timestamp::EPOCH).0, Event::Found(_)));
        let look = Look { items: vec![seen("2", true), seen("3", true)], whole: true };
        assert!(matches!(
            judge(&intent, &look, Timestamp::EPOCH, Timestamp::EPOCH).0,
            Event::FoundSeveral(_)
        ));
        let look = Look { items: vec![seen("2", false)], whole: true };
        assert!(matches!(judge(&intent, &look, Timestamp::EPOCH, Timestamp::EPOCH).0, Event::AskPerson(_)));
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
                let (event, _) = judge(&intent, &Look { items, whole }, now, now);
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
