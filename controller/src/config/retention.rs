//! How long things are kept.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// How long things are kept. Postings and their receipts are kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Entries of the feeds that clients follow.
    pub events: Keep,
    /// Step reports of runs.
    pub steps: Keep,
    /// Screenshots and page snapshots of runs whose job has ended.
    pub evidence: Keep,
    /// Ended sign-ins and looks, with their steps and evidence.
    pub jobs: Keep,
}

/// A time, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Written `forever` or `0`.
    Forever,
    /// Written as `90d`.
    For(Duration),
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for Retention {
    fn default() -> Self {
        let days = |days| Keep::For(DAY * days);
        Self { events: days(90), steps: days(90), evidence: days(365), jobs: days(90) }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

struct Words;

impl Visitor<'_> for Words {
    type Value = Keep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"90d\", or \"forever\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Keep, E> {
        match text.trim() {
            "forever" | "0" => Ok(Keep::Forever),
            text => match humantime::parse_duration(text) {
                Ok(Duration::ZERO) => Ok(Keep::Forever),
                Ok(kept) if kept < DAY => {
                    Err(E::custom(format!("{text:?} is less than a day; keep things for 1d or longer")))
                }
                Ok(kept) => Ok(Keep::For(kept)),
                Err(error) => {
                    Err(E::custom(format!("{text:?}: {error}; write for example \"90d\" or \"forever\"")))
                }
            },
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Keep, E> {
        if number == 0 {
            Ok(Keep::Forever)
        } else {
            Err(E::custom("needs a unit; write for example \"90d\""))
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Keep, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_forever() {
        let read = |text: &str| toml::from_str::<Retention>(text);
        let given = read("events = \"30d\"\nsteps = \"forever\"\nevidence = 0").expect("is right");
        assert_eq!((given.events, given.steps), (Keep::For(DAY * 30), Keep::Forever));
        assert_eq!((given.evidence, given.jobs), (Keep::Forever, Keep::For(DAY * 90)));
        for wrong in ["events = 90", "events = \"10m\"", "events = \"soon\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
