//! When two texts count as the same, however the site reformats them.
//!
//! Each function maps the spellings of one meaning to one text; all are idempotent.

use serde::{Deserialize, Serialize};
use tradepost_domain::money::Currency;

/// How a value that was read back is compared with the one that was put in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// One line: white space collapsed, dashes and quotes unified.
    #[default]
    Text,
    /// Several lines: as `text`, line by line; empty lines do not count.
    Lines,
    /// As `text`, and case does not count.
    Label,
    /// An amount of money, in whatever style the site writes it.
    Price,
    /// As `price`, for sites that drop the minor units.
    WholePrice,
    /// Letter for letter.
    Exact,
}

impl Compare {
    /// The normal form of `text`; `currency` decides how prices are read.
    pub fn normal(self, text: &str, currency: Option<Currency>) -> String {
        match self {
            Self::Exact => text.to_owned(),
            Self::Text => line(text),
            Self::Label => label(text),
            Self::Lines => lines(text),
            Self::Price => price(text, currency),
            Self::WholePrice => whole_price(text, currency),
        }
    }

    /// Whether both texts mean the same. An amount with the sign of another currency is not the same amount.
    pub fn same(self, one: &str, other: &str, currency: Option<Currency>) -> bool {
        let priced = matches!(self, Self::Price | Self::WholePrice);
        let fits = |text| !priced || currency.is_none_or(|currency| sign_fits(text, currency));
        self.normal(one, currency) == self.normal(other, currency) && fits(one) && fits(other)
    }
}

/// One line: every run of white space becomes one space, dashes and quotes become their ASCII forms, marks without
/// a shape of their own (zero-width characters, variation selectors, soft hyphens) vanish.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars().filter_map(plain) {
        if c.is_whitespace() {
            gap = true;
        } else {
            if gap && !out.is_empty() {
                out.push(' ');
            }
            gap = false;
            out.push(c);
        }
    }
    out
}

/// [`line`] in lower case.
pub fn label(text: &str) -> String {
    // Lower-casing can give marks that `line` would drop (e.g. of "İ"), so it comes first.
    line(&text.to_lowercase())
}

/// [`line`] for each line that is not empty.
pub fn lines(text: &str) -> String {
    text.split(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}', '\u{b}', '\u{c}'])
        .map(line)
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The amount as a plain decimal number with the currency's digits, or the plain line when there is no number in it.
///
/// The last separator is the decimal mark when one to `digits` digits follow it (for currencies with three digits, a
/// lone `.` or `,` before three digits is the decimal mark as well); every other separator groups thousands.
pub fn price(text: &str, currency: Option<Currency>) -> String {
    let digits = currency.map_or(2, |c| c.digits() as usize);
    let Some(number) = number_in(text) else { return line(text) };
    let (whole, fraction) = split_decimal(&number, digits);
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// [`price`] without its minor units.
pub fn whole_price(text: &str, currency: Option<Currency>) -> String {
    let price = price(text, currency);
    match price.split_once('.') {
        Some((whole, fraction)) if is_digits(whole) && is_digits(fraction) => whole.to_owned(),
        _ => price,
    }
}

/// Whether the currency sign or code in `text`, if there is one, can stand for `currency`.
pub fn sign_fits(text: &str, currency: Currency) -> bool {
    const SIGNS: &[(&str, &[&str])] = &[
        ("€", &["EUR"]),
        ("£", &["GBP"]),
        ("¥", &["JPY", "CNY"]),
        ("₹", &["INR"]),
        ("₩", &["KRW"]),
        ("₪", &["ILS"]),
        ("₺", &["TRY"]),
        ("₫", &["VND"]),
        ("฿", &["THB"]),
        ("₴", &["UAH"]),
        ("zł", &["PLN"]),
        ("kr", &["SEK", "NOK", "DKK", "ISK"]),
        ("$", &["USD", "CAD", "AUD", "NZD", "HKD", "SGD", "TWD", "MXN", "BRL", "CLP", "COP", "UYU"]),
    ];
    let sign = SIGNS.iter().find(|(sign, _)| text.contains(sign));
    sign.is_none_or(|(_, codes)| codes.contains(&currency.code()))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The first run of digits and separators, separators kept as `.` or `,`, spaces and apostrophes dropped.
fn number_in(text: &str) -> Option<String> {
    let mut number = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' | '.' | ',' if !number.is_empty() || c.is_ascii_digit() => number.push(c),
            '\'' | '’' | '_' => {}
            c if c.is_whitespace() => {}
            _ if number.is_empty() => {}
            _ => break,
        }
    }
    let number = number.trim_end_matches(['.', ',']);
    (!number.is_empty()).then(|| number.to_owned())
}

fn split_decimal(number: &str, digits: usize) -> (String, String) {
    let keep = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    if let Some(at) = number.rfind(['.', ',']) {
        let (whole, fraction) = (&number[..at], &number[at + 1..]);
        let mark = &number[at..=at];
        let grouped = whole.contains(mark);
        if digits > 0 && !grouped && (1..=digits).contains(&fraction.len()) {
            return (keep(whole), fraction.to_owned());
        }
    }
    (keep(number), String::new())
}

fn plain(c: char) -> Option<char> {
    Some(match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => '-',
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' => '\'',
        '\u{201c}'..='\u{201f}' | '\u{2033}' => '"',
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' | '\u{fe00}'..='\u{fe0f}' => {
            return None;
        }
        c => c,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tradepost_domain::money::Money;

    use super::*;

    #[test]
    fn sites_spellings_of_one_price_are_equal() {
        let usd = "USD".parse().ok();
        for spelling in ["1250.5", "$1,250.50", "1.250,50 €", "1 250,50 kr", "1'250.50 CHF", "US$ 1250.50"]
        {
            assert_eq!(price(spelling, usd), "1250.5", "{spelling}");
        }
        assert_eq!(price("6\u{a0}500 kr", usd), "6500");
        assert_eq!(price("£10", usd), "10");
        assert_eq!(price("1.234.567", usd), "1234567");
        assert_eq!(price("¥1,250", "JPY".parse().ok()), "1250");
        assert_eq!(price("1.500", "KWD".parse().ok()), "1.5");
        assert_eq!(whole_price("$25.99", usd), "25");
        assert_eq!(price("Free", usd), "Free");
    }

    #[test]
    fn an_amount_in_another_currency_is_another_amount() {
        let eur = "EUR".parse().ok();
        assert!(Compare::Price.same("125.50", "125,50 €", eur));
        assert!(!Compare::Price.same("125.50", "£125.50", eur));
    }

    #[test]
    fn dashes_spaces_and_emoji_marks_do_not_count() {
        assert!(Compare::Text.same("Used – good", "Used - good", None));
        assert!(Compare::Text.same("Oak\u{a0} table ❤\u{fe0f}", "Oak table ❤", None));
        assert!(!Compare::Text.same("Oak table", "Oak Table", None));
        assert!(Compare::Label.same("Used – Good", "used - good", None));
        assert!(Compare::Lines.same("One\r\n\r\nTwo 🪑", "One\nTwo 🪑\n", None));
        assert!(!Compare::Lines.same("One\nTwo", "One Two", None));
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(text in "\\PC*|[ \\n\\r–—’0-9.,$€]*") {
            for compare in [Compare::Text, Compare::Lines, Compare::Label, Compare::Exact] {
                let once = compare.normal(&text, None);
                prop_assert_eq!(compare.normal(&once, None), once.clone());
            }
        }

        #[test]
        fn every_amount_survives_grouping_and_a_currency_sign(minor in 0_i64..100_000_000_000) {
            let eur: Currency = "EUR".parse().expect("known");
            let money = Money::from_minor(minor, eur).expect("in range");
            let (whole, cents) = (minor / 100, minor % 100);
            let mut grouped = String::new();
            for (n, digit) in whole.to_string().chars().rev().enumerate() {
                if n > 0 && n % 3 == 0 { grouped.insert(0, '.'); }
                grouped.insert(0, digit);
            }
            let plain = price(&money.decimal(), Some(eur));
            let german = format!("{grouped},{cents:02} €");
            prop_assert_eq!(price(&german, Some(eur)), plain.clone());
            let american = format!("€{}.{cents:02}", grouped.replace('.', ","));
            prop_assert_eq!(price(&american, Some(eur)), plain);
        }
    }
}
