//! Words for people: times, sizes, durations, states, records.

use std::time::Duration;

use tradepost_domain::pacing::span;
use tradepost_domain::{agent, job, posting};

use super::{Output, Tone};
use crate::model::{Failure, Time};

/// How long ago, or in how long: `3m ago`, `in 2h`.
pub(crate) fn relative(time: Option<Time>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| relative_to(Output::now(), time))
}

fn relative_to(now: jiff::Timestamp, time: Time) -> String {
    let seconds = now.as_second() - time.0.as_second();
    let words = |seconds: i64| match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    };
    match seconds {
        -1..=1 => "now".to_owned(),
        2.. => format!("{} ago", words(seconds)),
        _ => format!("in {}", words(-seconds)),
    }
}

/// A point in time with its distance: `2026-11-22 13:52:10Z (3m ago)`.
pub(crate) fn absolute(time: Option<Time>) -> String {
    let Some(at) = time else { return "-".to_owned() };
    format!("{} ({})", at.0.strftime("%Y-%m-%d %H:%M:%SZ"), relative(time))
}

/// The time of day, in UTC.
pub(crate) fn clock(time: Option<Time>) -> String {
    time.map_or_else(Output::now, |time| time.0).strftime("%H:%M:%SZ").to_string()
}

/// A duration of a step or phase: `0.3s`, `1m12s`.
pub(crate) fn millis(millis: u64) -> String {
    match millis {
        0..100 => format!("{millis}ms"),
        100..60_000 => format!("{}.{}s", millis / 1000, millis % 1000 / 100),
        _ => humantime::format_duration(Duration::from_secs(millis / 1000)).to_string().replace(' ', ""),
    }
}

/// A size: `812 B`, `3.4 KiB`, `1.2 MiB`.
pub(crate) fn size(bytes: i64) -> String {
    indicatif::BinaryBytes(u64::try_from(bytes).unwrap_or(0)).to_string()
}

/// A number of things: `1 look`, `3 looks`.
pub(crate) fn count(number: u32, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// A text shortened to one line of `most` characters.
pub(crate) fn short(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let kept: String = line.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// A state in words: `needs human`.
pub(crate) fn words(name: &str) -> String {
    name.replace('_', " ")
}

pub(crate) fn posting_tone(state: posting::State) -> Tone {
    match state {
        posting::State::Published => Tone::Good,
        posting::State::Running => Tone::Active,
        posting::State::Failed => Tone::Bad,
        posting::State::Uncertain | posting::State::NeedsHuman => Tone::Warning,
        posting::State::Queued => Tone::Plain,
        posting::State::Cancelled => Tone::Faint,
    }
}

pub(crate) fn job_tone(state: job::State) -> Tone {
    match state {
        job::State::Succeeded => Tone::Good,
        job::State::Leased | job::State::Running => Tone::Active,
        job::State::Failed => Tone::Bad,
        job::State::Uncertain | job::State::NeedsHuman => Tone::Warning,
        job::State::Queued | job::State::Parked => Tone::Plain,
        job::State::Cancelled => Tone::Faint,
    }
}

pub(crate) fn presence_tone(presence: agent::Presence) -> Tone {
    match presence {
        agent::Presence::Online => Tone::Good,
        agent::Presence::Offline => Tone::Warning,
        agent::Presence::Revoked => Tone::Faint,
        agent::Presence::NeedsApproval => Tone::Bad,
    }
}

/// A failure in one line: `price: the site wants whole euros (listing_rejected, step prepare.price)`.
pub(crate) fn failure(failure: &Failure) -> String {
    let Failure { class, step, field, message, until } = failure;
    let until = match until.strip_prefix('+').and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => format!(", the site says: not for {}", span(Duration::from_secs(seconds))),
        None if until.is_empty() => String::new(),
        None => format!(", the site says: not before {}", until.trim_start_matches("0000-")),
    };
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let step = if step.is_empty() { String::new() } else { format!(", step {step}") };
    format!("{field}{message} ({class}{step}{until})")
}

/// Names and values of one thing, aligned; rows without a value are left out.
pub(crate) fn record(output: &Output, rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let label = output.tone(&format!("{name:<width$}"), Tone::Faint);
        let mut lines = value.lines();
        text.extend([&label, lines.next().unwrap_or_default(), "\n"]);
        let indent = " ".repeat(width);
        for line in lines {
            text.extend([&indent, line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_the_present() {
        let now = jiff::Timestamp::new(1_000_000, 0).expect("valid");
        let at = |seconds: i64| Time(jiff::Timestamp::new(1_000_000 + seconds, 0).expect("valid"));
        let told: Vec<_> = [0, -59, -60, -7_199, -200_000, 90].map(|s| relative_to(now, at(s))).into();
        assert_eq!(told, ["now", "59s ago", "1m ago", "1h ago", "2d ago", "in 1m"]);
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(short("a  b\nc", 10), "a b c");
        assert_eq!(short("Größenangabe", 5), "Größ…");
        assert_eq!(millis(950), "0.9s");
        assert_eq!(millis(72_000), "1m12s");
    }
}
