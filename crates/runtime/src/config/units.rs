//! Durations and sizes as people write them: `#[serde(with = "config::duration")]`, `#[serde(with = "config::size")]`.

/// `std::time::Duration` as `1h 30m`, `500ms`.
pub mod duration {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the shortest exact form.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    /// Reads a number with its unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(text.trim()).map_err(|error| {
            D::Error::custom(format!(
                "{text:?} is not a duration ({error}); write for example \"30s\" or \"1h 30m\""
            ))
        })
    }
}

/// Bytes (`u64`) as `64 MiB`, `10 kB`, `512`.
pub mod size {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];

    /// Writes the largest binary unit that is exact.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        for (unit, factor) in UNITS.iter().rev().take(3) {
            if *value > 0 && value.is_multiple_of(*factor) {
                return serializer.collect_str(&format_args!("{} {unit}", value / factor));
            }
        }
        serializer.collect_str(&format_args!("{value} B"))
    }

    /// Reads a whole number with an optional unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format!("{text:?} is not a size; write for example \"64 MiB\" or \"10 kB\""))
        })
    }

    fn parse(text: &str) -> Option<u64> {
        let text = text.trim();
        let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
        number.parse::<u64>().ok()?.checked_mul(*factor)
    }
}
