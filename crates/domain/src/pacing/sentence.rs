//! Waits in words that follow "waits for".

use std::time::Duration;

use super::quiet::{Zone, instant};
use super::{Rule, Wait};
use crate::failure::FailureClass;
use crate::time::Timestamp;

impl Rule {
    /// A stable name, e.g. `quiet_hours`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PerHour(_) => "limit_per_hour",
            Self::PerDay(_) => "limit_per_day",
            Self::NewAccount { .. } => "new_account",
            Self::Gap(_) => "gap",
            Self::QuietHours(_) => "quiet_hours",
            Self::CoolDown(_) => "cool_down",
        }
    }
}

impl Wait {
    /// What is waited for and until when, in the account's zone.
    pub fn sentence(&self, zone: &Zone, now: Timestamp) -> String {
        let when = moment(self.until, zone, now);
        match &self.rule {
            Rule::PerHour(count) => {
                format!("the account's limit of {} an hour, until {when}", publications(*count))
            }
            Rule::PerDay(count) => {
                format!("the account's limit of {} in 24 hours, until {when}", publications(*count))
            }
            Rule::NewAccount { per_day, days } => format!(
                "the careful start of a new account ({} in 24 hours for the first {}), until {when}",
                publications(*per_day),
                if *days == 1 { String::from("day") } else { format!("{days} days") }
            ),
            Rule::Gap(gap) => format!("the gap of {} between two publications, until {when}", span(*gap)),
            Rule::QuietHours(hours) => format!("the end of the quiet hours ({hours}), {when}"),
            Rule::CoolDown(class) => format!("the end of the rest after {}, {when}", told(*class)),
        }
    }
}

fn publications(count: u32) -> String {
    if count == 1 { String::from("1 publication") } else { format!("{count} publications") }
}

/// A class of failures with a cool-down, in words.
fn told(class: FailureClass) -> &'static str {
    match class {
        FailureClass::LimitReached => "the site said that its posting limit is reached",
        FailureClass::TemporarilyBlocked => "the site blocked the account for a while",
        FailureClass::AccountLocked => "the site locked the account",
        _ => "the site refused to go on",
    }
}

/// A moment with its distance, in the zone: `07:00 (Europe/Madrid), in 3h 12m`; another day is named.
pub fn moment(at: Timestamp, zone: &Zone, now: Timestamp) -> String {
    let rules = zone.rules();
    let (local, today) = (instant(at).to_zoned(rules.clone()), instant(now).to_zoned(rules).date());
    let day = if local.date() == today {
        String::new()
    } else if today.tomorrow().is_ok_and(|tomorrow| tomorrow == local.date()) {
        String::from("tomorrow ")
    } else {
        local.strftime("%a %-d %b ").to_string()
    };
    let in_a_while = span(at.since(now));
    format!(
        "{day}{} ({zone}), in {in_a_while}",
        local.strftime(if at.since(now) < Duration::from_secs(120) { "%H:%M:%S" } else { "%H:%M" })
    )
}

/// A span in at most two units: `3d 4h`, `3h 12m`, `2m`, `15s`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs().max(1);
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let (size, name) = units[first];
    let whole = format!("{}{name}", seconds / size);
    match units.get(first + 1).map(|(small, name)| (seconds % size / small, name)) {
        Some((rest, name)) if rest > 0 => format!("{whole} {rest}{name}"),
        _ => whole,
    }
}
