//! When an account may act: limits per action, quiet hours, a gap between publications, a careful start of new
//! accounts, cool-downs after what the site answered, and pauses.
//!
//! - A publication counts from the moment its permit is given; one that was given back unclicked does not count. The times
//!   come from the stored intents, never from a counter that could leak.
//! - What is decided is kept as a [`Window`]: publications may begin at or after its start and before its end. Claims read
//!   the window alone; the permit is decided on the rows themselves ([`Event::Use`]).
//! - Limits count over any span of their length (a sliding window), so that no span holds more than its limit.
//! - Nobody starves: every rule ends at a known time, and the earliest time that all rules allow is found by raising one
//!   candidate until no rule raises it further. Only a pause lasts until a person ends it.
//!
//! To add a rule: a field of [`Policy`] and [`Rules`], its variant of [`Rule`] with a sentence, its line in
//! [`earliest`].

mod cool_down;
mod quiet;
mod sentence;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::cool_down::{CoolDown, Until};
pub use self::quiet::{QuietHours, Zone};
pub use self::sentence::{moment, span};
use crate::account::Site;
use crate::failure::{Failure, FailureClass};
use crate::field::Violations;
use crate::id::{AccountId, WorkspaceId};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Highest limit that can be set, per hour or per day.
pub const LIMIT_MAX: u32 = 1_000;
/// Longest gap that can be set.
pub const GAP_MAX: Duration = DAY;
/// Longest careful start of a new account, in days.
pub const RAMP_MAX: u32 = 90;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Publishing a listing.
    Publish,
    /// Signing in.
    Login,
    /// Looking for an uncertain listing.
    Look,
}

/// The rules of an account, complete. A limit of 0 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Most publications in any hour.
    pub per_hour: u32,
    /// Most publications in any 24 hours.
    pub per_day: u32,
    /// Least time between two publications.
    pub min_gap: Duration,
    /// Most sign-ins in any hour.
    pub logins_per_hour: u32,
    /// Most looks in any hour.
    pub looks_per_hour: u32,
    /// No publications in these hours.
    pub quiet_hours: Option<QuietHours>,
    /// The zone of the quiet hours, and of dates that the site names.
    pub time_zone: Zone,
    /// Days after the account was added in which it is new.
    pub new_days: u32,
    /// Most publications in any 24 hours while the account is new.
    pub new_per_day: u32,
}

/// An account's own policy: what is set here replaces the site's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// See [`Rules::per_hour`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
    /// See [`Rules::per_day`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
    /// See [`Rules::min_gap`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_gap: Option<Duration>,
    /// See [`Rules::logins_per_hour`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logins_per_hour: Option<u32>,
    /// See [`Rules::looks_per_hour`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looks_per_hour: Option<u32>,
    /// See [`Rules::quiet_hours`]; hours of no length switch them off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
    /// See [`Rules::time_zone`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Zone>,
    /// See [`Rules::new_days`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_days: Option<u32>,
    /// See [`Rules::new_per_day`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_per_day: Option<u32>,
}

/// When publications may begin: at or after `from`, and before `until`. What comes after `until` is decided anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub from: Timestamp,
    /// The moment after the last one; none when nothing ends it.
    pub until: Option<Timestamp>,
}

/// How an account's pacing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pacing {
    /// The account.
    pub account: AccountId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The site, whose defaults hold where the account has no policy of its own.
    pub site: Site,
    /// When the account was added.
    pub added_at: Timestamp,
    /// Its own policy.
    pub own: Policy,
    /// Since when it is paused, if it is.
    pub paused_at: Option<Timestamp>,
    /// The newest cool-down; may have passed.
    pub cool_down: Option<CoolDown>,
    /// What was decided last.
    pub window: Window,
    /// When publications were armed, newest first; those given back unclicked left out. At least the last 24 hours, or the
    /// newest [`LIMIT_MAX`].
    pub uses: Vec<Timestamp>,
    /// Counts changes; the store compares it.
    pub version: i64,
}

/// What happens to an account's pacing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A publication asks for its permit.
    Use,
    /// The publication that was armed then was not clicked.
    Return(Timestamp),
    /// A run failed in a way that the whole account has to wait for.
    CoolDown {
        /// The class of the failure.
        class: FailureClass,
        /// Until when the site says to wait.
        until: Option<Until>,
    },
    /// A person ends the cool-down.
    EndCoolDown,
    /// A person stops all work of the account.
    Pause,
    /// A person lets it go on.
    Resume,
    /// The account gets another policy of its own.
    Change(Policy),
    /// The window has ended.
    Roll,
}

/// A rule that makes a publication wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// So many an hour.
    PerHour(u32),
    /// So many a day.
    PerDay(u32),
    /// So many a day while the account is new.
    NewAccount {
        /// A day.
        per_day: u32,
        /// Days for which it is new.
        days: u32,
    },
    /// So much time between two.
    Gap(Duration),
    /// Not in these hours.
    QuietHours(QuietHours),
    /// Not so soon after that failure.
    CoolDown(FailureClass),
}

/// Until when, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The first moment at which nothing stands against it, as far as is known now.
    pub until: Timestamp,
    /// What holds longest.
    pub rule: Rule,
}

/// Why an event changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// A rule stands against it.
    #[error("a rule of the account's pacing does not allow it yet")]
    Wait(Wait),
    /// The account is paused.
    #[error("the account is paused")]
    Paused,
}

/// Decides what `event` makes of `pacing`. The version is left as it is: the store counts it.
pub fn step(pacing: &Pacing, defaults: &Rules, event: Event, now: Timestamp) -> Result<Pacing, Rejected> {
    let mut next = pacing.clone();
    match event {
        Event::Use => {
            permission(pacing, defaults, now)?;
            next.uses.insert(0, now);
        }
        Event::Return(armed_at) => {
            if let Some(at) = next.uses.iter().position(|used| *used == armed_at) {
                next.uses.remove(at);
            }
        }
        Event::CoolDown { class, until } => {
            let zone = rules(pacing, defaults).time_zone;
            let cool_down = CoolDown::after(class, until, &zone, now);
            // A longer one that is under way stays.
            if next.cool_down.as_ref().is_none_or(|present| present.until < cool_down.until) {
                next.cool_down = Some(cool_down);
            }
        }
        Event::EndCoolDown => next.cool_down = None,
        Event::Pause => next.paused_at = next.paused_at.or(Some(now)),
        Event::Resume => next.paused_at = None,
        Event::Change(own) => next.own = own,
        Event::Roll => {}
    }
    next.window = window(&next, defaults, now);
    Ok(next)
}

/// Whether a publication may begin now.
pub fn permission(pacing: &Pacing, defaults: &Rules, now: Timestamp) -> Result<(), Rejected> {
    if pacing.paused_at.is_some() {
        return Err(Rejected::Paused);
    }
    match wait(pacing, defaults, now) {
        Some(wait) => Err(Rejected::Wait(wait)),
        None => Ok(()),
    }
}

/// What a publication waits for, apart from a pause.
pub fn wait(pacing: &Pacing, defaults: &Rules, now: Timestamp) -> Option<Wait> {
    earliest(pacing, &rules(pacing, defaults), now).1
}

/// The rules that hold for the account.
pub fn rules(pacing: &Pacing, defaults: &Rules) -> Rules {
    pacing.own.over(defaults)
}

/// What an event of the account's work means for its pacing: a permit given, one given back, a failure with a cool-down.
pub fn cooling(failure: &Failure) -> Option<Event> {
    CoolDown::of(failure.class)?;
    Some(Event::CoolDown { class: failure.class, until: failure.until.clone() })
}

/// When a sign-in or a look may run that is ready at `ready`: at most `per_hour` runs in any hour. `runs` are when runs of
/// that kind began.
pub fn next_run(per_hour: u32, runs: &[Timestamp], ready: Timestamp) -> Timestamp {
    let mut newest_first = runs.to_vec();
    newest_first.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
    limited(per_hour, HOUR, &newest_first, ready)
}

fn window(pacing: &Pacing, defaults: &Rules, now: Timestamp) -> Window {
    let rules = rules(pacing, defaults);
    let (from, _) = earliest(pacing, &rules, now);
    let until = rules.quiet_hours.and_then(|quiet| quiet.next_start(&rules.time_zone, from));
    // "At any time" is told as such, so that an account without rules is never written.
    let from = if from == now { Timestamp::EPOCH } else { from };
    Window { from, until }
}

/// The first moment from `now` on that every rule allows, and the rule that raised it last.
fn earliest(pacing: &Pacing, rules: &Rules, now: Timestamp) -> (Timestamp, Option<Wait>) {
    let mut at = now;
    let mut last = None;
    // Each pass either leaves the candidate, or raises it to the end of a rule. Only quiet hours can begin again while
    // others are waited for, and every other rule ends once: a few passes do. The bound guards against a fault here.
    for _ in 0..16 {
        let before = at;
        for (until, rule) in standing(pacing, rules, at) {
            if until > at {
                at = until;
                last = Some(rule);
            }
        }
        if at == before {
            break;
        }
    }
    (at, last.map(|rule| Wait { until: at, rule }))
}

/// Each rule with the first moment from `at` on that it allows.
fn standing(pacing: &Pacing, rules: &Rules, at: Timestamp) -> Vec<(Timestamp, Rule)> {
    let uses = &pacing.uses;
    let mut standing = vec![
        (limited(rules.per_hour, HOUR, uses, at), Rule::PerHour(rules.per_hour)),
        (limited(rules.per_day, DAY, uses, at), Rule::PerDay(rules.per_day)),
    ];
    if let Some(newest) = uses.first() {
        standing.push((*newest + rules.min_gap, Rule::Gap(rules.min_gap)));
    }
    let grown = pacing.added_at + DAY.saturating_mul(rules.new_days);
    if at < grown {
        let (per_day, days) = (rules.new_per_day, rules.new_days);
        let until = limited(per_day, DAY, uses, at).min(grown);
        standing.push((until, Rule::NewAccount { per_day, days }));
    }
    if let Some(cool_down) = &pacing.cool_down {
        standing.push((cool_down.until, Rule::CoolDown(cool_down.class)));
    }
    if let Some(quiet) = rules.quiet_hours {
        standing.push((quiet.end_of(&rules.time_zone, at), Rule::QuietHours(quiet)));
    }
    standing
}

/// The first moment from `at` on with fewer than `count` uses in the span before it; 0 limits nothing. `uses` is newest
/// first.
fn limited(count: u32, span: Duration, uses: &[Timestamp], at: Timestamp) -> Timestamp {
    let Some(oldest) = usize::try_from(count).ok().and_then(|count| uses.get(count.checked_sub(1)?)) else {
        return at;
    };
    at.max(*oldest + span)
}

impl Action {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Login => "login",
            Self::Look => "look",
        }
    }
}

impl Rules {
    /// No rules at all.
    pub fn none() -> Self {
        Self {
            per_hour: 0,
            per_day: 0,
            min_gap: Duration::ZERO,
            logins_per_hour: 0,
            looks_per_hour: 0,
            quiet_hours: None,
            time_zone: Zone::utc(),
            new_days: 0,
            new_per_day: 0,
        }
    }

    /// For a site whose pack says nothing: what sellers of the field report as safe, rounded down.
    pub fn careful() -> Self {
        Self {
            per_hour: 6,
            per_day: 20,
            min_gap: Duration::from_secs(120),
            logins_per_hour: 6,
            looks_per_hour: 30,
            quiet_hours: None,
            time_zone: Zone::utc(),
            new_days: 7,
            new_per_day: 5,
        }
    }

    /// Whether a publication's permission depends on the ones before it.
    pub fn counts_publications(&self) -> bool {
        self.per_hour > 0 || self.per_day > 0 || self.min_gap > Duration::ZERO || self.new_days > 0
    }

    /// Most runs of an action in any hour; 0 limits nothing. Publications have more rules than this one.
    pub fn per_hour_of(&self, action: Action) -> u32 {
        match action {
            Action::Publish => self.per_hour,
            Action::Login => self.logins_per_hour,
            Action::Look => self.looks_per_hour,
        }
    }
}

impl Policy {
    /// These values where there are any, else the defaults.
    pub fn over(&self, defaults: &Rules) -> Rules {
        let Self {
            per_hour,
            per_day,
            min_gap,
            logins_per_hour,
            looks_per_hour,
            quiet_hours,
            time_zone,
            new_days,
            new_per_day,
        } = self;
        Rules {
            per_hour: per_hour.unwrap_or(defaults.per_hour),
            per_day: per_day.unwrap_or(defaults.per_day),
            min_gap: min_gap.unwrap_or(defaults.min_gap),
            logins_per_hour: logins_per_hour.unwrap_or(defaults.logins_per_hour),
            looks_per_hour: looks_per_hour.unwrap_or(defaults.looks_per_hour),
            quiet_hours: quiet_hours.or(defaults.quiet_hours).filter(|quiet| !quiet.is_empty()),
            time_zone: time_zone.clone().unwrap_or_else(|| defaults.time_zone.clone()),
            new_days: new_days.unwrap_or(defaults.new_days),
            new_per_day: new_per_day.unwrap_or(defaults.new_per_day),
        }
    }

    /// Every value that is out of bounds.
    pub fn check(&self, violations: &mut Violations) {
        let counts = [
            ("per_hour", self.per_hour),
            ("per_day", self.per_day),
            ("logins_per_hour", self.logins_per_hour),
            ("looks_per_hour", self.looks_per_hour),
            ("new_per_day", self.new_per_day),
        ];
        for (field, count) in counts {
            if count.is_some_and(|count| count > LIMIT_MAX) {
                violations.push(field, format!("is more than {LIMIT_MAX}; use 0 for no limit"));
            }
        }
        if self.min_gap.is_some_and(|gap| gap > GAP_MAX) {
            violations.push("min_gap", "is longer than a day");
        }
        if self.new_days.is_some_and(|days| days > RAMP_MAX) {
            violations.push("new_days", format!("is more than {RAMP_MAX}"));
        }
    }
}

impl Window {
    /// Nothing limits it.
    pub const ALWAYS: Self = Self { from: Timestamp::EPOCH, until: None };

    /// Whether a publication may begin at that moment.
    pub fn allows(&self, at: Timestamp) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}
