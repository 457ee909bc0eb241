//! Quiet hours: civil times of a zone, kept through changes of the clock.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A time zone by its IANA name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zone(String);

/// From a time of day to another one, over midnight when the second is the earlier; of no length when both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QuietHours {
    from: Time,
    to: Time,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(String::from("UTC"))
    }

    /// A zone that is known, e.g. `Europe/Madrid`.
    pub fn parse(name: &str) -> Result<Self, String> {
        let zone = TimeZone::get(name.trim())
            .map_err(|_| format!("{:?} is no time zone; write e.g. Europe/Madrid", short(name)))?;
        // The name as the zone's list writes it: lookups do not look at case.
        Ok(Self(zone.iana_name().unwrap_or("UTC").to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The rules of the zone. A stored name that is no longer known is taken as UTC.
    pub(super) fn rules(&self) -> TimeZone {
        TimeZone::get(&self.0).unwrap_or(TimeZone::UTC)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl QuietHours {
    /// Whether they have no length, which switches them off.
    pub fn is_empty(self) -> bool {
        self.from == self.to
    }

    /// The end of the quiet hours that hold at `at`; `at` itself when none do.
    pub(super) fn end_of(self, zone: &Zone, at: Timestamp) -> Timestamp {
        let rules = zone.rules();
        let today = instant(at).to_zoned(rules.clone()).date();
        let around = [today.yesterday(), Ok(today), today.tomorrow()];
        let holding = around.into_iter().flatten().filter_map(|day| self.on(&rules, day));
        holding.filter(|(start, end)| *start <= at && at < *end).map(|(_, end)| end).max().unwrap_or(at)
    }

    /// When they begin next, after `at`.
    pub(super) fn next_start(self, zone: &Zone, at: Timestamp) -> Option<Timestamp> {
        let rules = zone.rules();
        let today = instant(at).to_zoned(rules.clone()).date();
        let days = (0..4).filter_map(|ahead| today.checked_add(ahead.days()).ok());
        days.filter_map(|day| self.on(&rules, day)).map(|(start, _)| start).find(|start| *start > at)
    }

    /// The hours that begin on `day`. A time that the clock skips or repeats is taken so that the hours are longer.
    fn on(self, rules: &TimeZone, day: Date) -> Option<(Timestamp, Timestamp)> {
        let end_day = if self.to <= self.from { day.tomorrow().ok()? } else { day };
        let start = rules.to_ambiguous_timestamp(day.to_datetime(self.from)).earlier().ok()?;
        let end = rules.to_ambiguous_timestamp(end_day.to_datetime(self.to)).later().ok()?;
        (!self.is_empty()).then(|| (ours(start), ours(end)))
    }
}

impl FromStr for QuietHours {
    type Err = String;

    /// `22:00-07:00`; `none` for hours of no length.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self { from: Time::midnight(), to: Time::midnight() });
        }
        let wrong = || format!("{:?} are no hours; write e.g. 22:00-07:00, or none", short(text));
        let (from, to) = text.split_once(['-', '–']).ok_or_else(wrong)?;
        let time = |part: &str| {
            let (hour, minute) = part.trim().split_once(':')?;
            let plain = [hour, minute].iter().all(|digits| {
                (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
            });
            // "24:00" is the end of the day.
            let hour = hour.parse::<i8>().ok().map(|hour| if hour == 24 { 0 } else { hour })?;
            Time::new(hour, minute.parse().ok()?, 0, 0).ok().filter(|_| plain)
        };
        Ok(Self { from: time(from).ok_or_else(wrong)?, to: time(to).ok_or_else(wrong)? })
    }
}

impl TryFrom<String> for QuietHours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<QuietHours> for String {
    fn from(hours: QuietHours) -> Self {
        hours.to_string()
    }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        write!(f, "{}-{}", self.from.strftime("%H:%M"), self.to.strftime("%H:%M"))
    }
}

/// As the calendar's library has it; times beyond its range are its ends.
pub(super) fn instant(at: Timestamp) -> jiff::Timestamp {
    let ends = [jiff::Timestamp::MIN, jiff::Timestamp::MAX];
    jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(ends[usize::from(at > Timestamp::EPOCH)])
}

pub(super) fn ours(at: jiff::Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_microsecond())
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}
