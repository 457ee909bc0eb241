//! How long an account rests after what the site answered.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::quiet::{Zone, instant, ours};
use super::{DAY, HOUR};
use crate::failure::FailureClass;
use crate::time::Timestamp;

/// No cool-down is longer, whatever a page seems to say: a text that was read wrongly must not stop an account for good.
const LONGEST: Duration = Duration::from_secs(60 * 24 * 3600);

/// A rest of the whole account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoolDown {
    /// Its end.
    pub until: Timestamp,
    /// What it follows.
    pub class: FailureClass,
}

/// Until when a site says to wait, in its own terms: no clock of the agent's is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Until {
    /// So long from the answer on.
    After(Duration),
    /// A date, or a date and a time of day, in the account's zone; of year 0 when no year is named: the next such day.
    At(DateTime),
}

impl CoolDown {
    /// How long a class of failures stops an account's publications; none for those that concern one job alone.
    ///
    /// Limits are counted by sites in hours; blocks last a day or more; a locked account is never tried again by itself
    /// within a week (a person may end that).
    pub fn of(class: FailureClass) -> Option<Duration> {
        match class {
            FailureClass::LimitReached => Some(HOUR),
            FailureClass::TemporarilyBlocked => Some(DAY),
            FailureClass::AccountLocked => Some(DAY.saturating_mul(7)),
            _ => None,
        }
    }

    pub(super) fn after(class: FailureClass, said: Option<Until>, zone: &Zone, now: Timestamp) -> Self {
        let least = now + Self::of(class).unwrap_or_default();
        let said = said.and_then(|said| said.resolve(zone, now));
        Self { class, until: said.filter(|at| *at > now).unwrap_or(least).min(now + LONGEST) }
    }
}

impl Until {
    /// The moment that is meant.
    pub fn resolve(&self, zone: &Zone, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::After(delay) => Some(now + *delay),
            Self::At(at) if at.year() == 0 => {
                let this_year = instant(now).to_zoned(zone.rules()).year();
                let in_year = |year| Self::At(at.with().year(year).build().ok()?).resolve(zone, now);
                in_year(this_year).filter(|meant| *meant > now).or_else(|| in_year(this_year + 1))
            }
            Self::At(at) => zone.rules().to_ambiguous_timestamp(*at).later().ok().map(ours),
        }
    }
}

impl FromStr for Until {
    type Err = String;

    /// `+3600` (seconds), `2026-03-05` or `2026-03-05T14:30`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{:?} is neither +SECONDS nor a date", text.chars().take(40).collect::<String>());
        if let Some(seconds) = text.strip_prefix('+') {
            return seconds
                .parse()
                .map(|seconds| Self::After(Duration::from_secs(seconds)))
                .map_err(|_| wrong());
        }
        text.parse().map(Self::At).map_err(|_| wrong())
    }
}

impl TryFrom<String> for Until {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Until> for String {
    fn from(until: Until) -> Self {
        until.to_string()
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(delay) => write!(f, "+{}", delay.as_secs()),
            Self::At(at) => write!(f, "{}", at.strftime("%Y-%m-%dT%H:%M:%S")),
        }
    }
}
