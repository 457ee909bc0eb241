//! "Come back on or after …": the date or the delay in a site's refusal.
//!
//! Only what follows a word that points ahead (until, after, again, for, in …) counts; anything that is not understood is
//! left out, and the class's own cool-down holds. English, Spanish, French and German.

use std::sync::LazyLock;
use std::time::Duration;

use regex::{Captures, Regex};
use tradepost_domain::pacing::Until;

use crate::normal;

/// Words that point ahead. `in` and `for` go with delays only: "in 2024" and "for 2 items" say no date.
const AHEAD: &str = r"(?:until|till|on or after|after|again|from|by|hasta|después|despues|partir|nuevo|jusqu|après|apres|nouveau|bis|nach|ab|wieder)";
const DELAY: &str = r"(?:in|for|after|within|again in|en|dentro de|durante|dans|pendant|für|fur|nach)";
const TIME: &str =
    r"(?:(?:,|\sat|\sa las|\sà|\sum)?\s*(?<hour>\d{1,2})[:h.](?<minute>\d{2})\s*(?<half>[ap]\.?m\.?)?)?";

static ISO: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(r"(?i)\b{AHEAD}\b[^!?]{{0,40}}?\b(?<year>\d{{4}})-(?<month>\d{{2}})-(?<day>\d{{2}})(?:T|{TIME}|)(?:{TIME})"))
        .ok()
});
static DAY_FIRST: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        r"(?i)\b{AHEAD}\b[^!?]{{0,40}}?\b(?<day>\d{{1,2}})(?:st|nd|rd|th|er|\.)?\s+(?:of\s+|de\s+)?(?<name>\p{{L}}{{3,}})\.?,?(?:\s+(?:de\s+)?(?<year>\d{{4}}))?{TIME}"
    ))
    .ok()
});
static MONTH_FIRST: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        r"(?i)\b{AHEAD}\b[^!?]{{0,40}}?\b(?<name>\p{{L}}{{3,}})\.?\s+(?<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(?<year>\d{{4}}))?{TIME}"
    ))
    .ok()
});
static IN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        r"(?i)\b{DELAY}\s+(?:(?:the next|about|approximately|etwa|environ|unos)\s+)?(?<count>\d{{1,4}}|an?|one|una?|une?|einer?|einem)\s+(?<unit>\p{{L}}+)"
    ))
    .ok()
});

/// Month names by their first letters, in the four languages.
const MONTHS: [&[&str]; 12] = [
    &["jan", "ene"],
    &["feb", "fév", "fev"],
    &["mar", "mär"],
    &["apr", "abr", "avr"],
    &["may", "mai"],
    &["jun", "juin"],
    &["jul", "juil"],
    &["aug", "ago", "aoû", "aou"],
    &["sep"],
    &["oct", "okt"],
    &["nov"],
    &["dec", "dic", "déc", "dez"],
];

/// When the text says to come back.
pub fn until(text: &str) -> Option<Until> {
    let text = normal::line(text);
    // Numbers of hours and days first: "again in 3 hours" has no date in it.
    delay(&text)
        .or_else(|| dated(&text, &ISO))
        .or_else(|| dated(&text, &DAY_FIRST))
        .or_else(|| dated(&text, &MONTH_FIRST))
}

fn delay(text: &str) -> Option<Until> {
    let found = IN.as_ref()?.captures(text)?;
    let count: u64 = found["count"].parse().unwrap_or(1);
    let unit = found["unit"].to_lowercase();
    let starts = |names: &[&str]| names.iter().any(|name| unit.starts_with(name));
    let seconds = if starts(&["min"]) {
        60
    } else if starts(&["hour", "hora", "heure", "stunde"]) {
        3_600
    } else if starts(&["day", "día", "dia", "jour", "tag"]) {
        86_400
    } else if starts(&["week", "semana", "semaine", "woche"]) {
        7 * 86_400
    } else {
        return None;
    };
    Some(Until::After(Duration::from_secs(count * seconds)))
}

fn dated(text: &str, form: &LazyLock<Option<Regex>>) -> Option<Until> {
    // The word before a date may itself be taken for a month ("again May 5"): the first that makes sense counts.
    (**form).as_ref()?.captures_iter(text).find_map(|found| date(&found))
}

fn date(found: &Captures<'_>) -> Option<Until> {
    let number = |name: &str| found.name(name)?.as_str().parse::<u32>().ok();
    let month = match found.name("name") {
        Some(name) => {
            let name = name.as_str().to_lowercase();
            let fits = |prefixes: &&[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
            u32::try_from(MONTHS.iter().position(|prefixes| fits(prefixes))?).ok()? + 1
        }
        None => number("month")?,
    };
    // Year 0 stands for "the next such day".
    let year = number("year").unwrap_or(0);
    let (mut hour, minute) = (number("hour").unwrap_or(0), number("minute").unwrap_or(0));
    if let Some(half) = found.name("half") {
        hour = hour % 12 + if half.as_str().to_lowercase().starts_with('p') { 12 } else { 0 };
    }
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:00", number("day")?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_delays_of_four_languages_are_read() {
        let read = [
            ("You can list again on or after 5 March 2027.", "2027-03-05T00:00:00"),
            ("You can post again on or after March 5, 2027 at 2:30 PM.", "2027-03-05T14:30:00"),
            ("Limit reached. Try again after Mar 5.", "0000-03-05T00:00:00"),
            ("Your account is blocked until 2027-03-05 14:30.", "2027-03-05T14:30:00"),
            ("Blocked until 2027-03-05", "2027-03-05T00:00:00"),
            ("You may sell again from the 1st of June 2027", "2027-06-01T00:00:00"),
            ("Try again in 3 hours.", "+10800"),
            ("You can't post for the next 24 hours", "+86400"),
            ("Come back in an hour.", "+3600"),
            ("We limit how often you can post. Please wait for 7 days.", "+604800"),
            ("Podrás publicar a partir del 5 de marzo de 2027", "2027-03-05T00:00:00"),
            ("Vuelve a intentarlo dentro de 2 días", "+172800"),
            ("Vous pourrez publier à partir du 5 mars 2027", "2027-03-05T00:00:00"),
            ("Réessayez dans 30 minutes", "+1800"),
            ("Du kannst ab 5. März 2027 wieder einstellen", "2027-03-05T00:00:00"),
            ("Bitte versuche es in 2 Stunden erneut", "+7200"),
        ];
        for (text, expected) in read {
            assert_eq!(until(text).map(String::from).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_says_no_date_ahead_is_left_alone() {
        let silent = [
            "You are not able to create new listings at the moment. We limit how often sellers can post in an effort to \
             build a better community for everyone.",
            "Member since 5 March 2020",
            "You have reached the limit of 3 items",
            "Only for 2 accounts",
            "Blocked until 2027-13-45",
            "Try again later",
            "",
        ];
        for text in silent {
            assert_eq!(until(text), None, "{text}");
        }
    }
}
