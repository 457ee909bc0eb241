//! Money as minor units with an ISO 4217 code.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 4217 currency code that Tradepost knows, with the number of its minor digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: [u8; 3],
}

/// Known codes and their minor digits (ISO 4217 list one).
const CURRENCIES: &[(&str, u32)] = &[
    ("AUD", 2),
    ("BGN", 2),
    ("BRL", 2),
    ("CAD", 2),
    ("CHF", 2),
    ("CLP", 0),
    ("CNY", 2),
    ("COP", 2),
    ("CZK", 2),
    ("DKK", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HKD", 2),
    ("HUF", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("INR", 2),
    ("ISK", 0),
    ("JPY", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("MXN", 2),
    ("MYR", 2),
    ("NOK", 2),
    ("NZD", 2),
    ("PEN", 2),
    ("PHP", 2),
    ("PLN", 2),
    ("RON", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("THB", 2),
    ("TND", 3),
    ("TRY", 2),
    ("TWD", 2),
    ("UAH", 2),
    ("USD", 2),
    ("UYU", 2),
    ("VND", 0),
    ("ZAR", 2),
];

/// Why a text is no amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// Not a known currency.
    #[error("{0:?} is not a currency code; use an ISO 4217 code such as EUR or USD")]
    Currency(String),
    /// Not a number.
    #[error("{0:?} is not a price; write a number such as 25 or 25.50, with a point and no currency sign")]
    Number(String),
    /// More digits than the currency has.
    #[error("{given} has more than the {digits} decimal places of {currency}")]
    Digits {
        /// The text given.
        given: String,
        /// Decimal places of the currency.
        digits: u32,
        /// The currency.
        currency: Currency,
    },
    /// Outside 0 to 1,000,000,000 (major units).
    #[error("{0} is outside 0 to 1,000,000,000")]
    Range(String),
}

/// An amount in minor units (cents for EUR).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units, 0 or more.
    minor: i64,
    currency: Currency,
}

impl Currency {
    /// The three letters.
    pub fn code(&self) -> &str {
        // The constructor admits ASCII only.
        std::str::from_utf8(&self.code).unwrap_or("XXX")
    }

    /// How many decimal places the currency has.
    pub fn digits(self) -> u32 {
        CURRENCIES.iter().find(|(code, _)| *code == self.code()).map_or(2, |(_, digits)| *digits)
    }
}

impl FromStr for Currency {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        let upper = text.trim().to_ascii_uppercase();
        CURRENCIES
            .iter()
            .find(|(code, _)| *code == upper)
            .and_then(|(code, _)| code.as_bytes().try_into().ok())
            .map(|code| Self { code })
            .ok_or_else(|| InvalidMoney::Currency(text.chars().take(20).collect()))
    }
}

impl TryFrom<String> for Currency {
    type Error = InvalidMoney;

    fn try_from(text: String) -> Result<Self, InvalidMoney> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Money {
    /// From minor units; refused outside 0 to 10^9 major units.
    pub fn from_minor(minor: i64, currency: Currency) -> Result<Self, InvalidMoney> {
        let limit = 1_000_000_000 * 10_i64.pow(currency.digits());
        if (0..=limit).contains(&minor) {
            Ok(Self { minor, currency })
        } else {
            Err(InvalidMoney::Range(minor.to_string()))
        }
    }

    /// Parses a plain decimal number such as `25` or `25.50`.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, InvalidMoney> {
        let text = text.trim();
        let shown = || text.chars().take(40).collect::<String>();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits_only = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits_only(whole) || !digits_only(fraction) || text.ends_with('.') {
            if text.strip_prefix('-').is_some_and(|rest| rest.parse::<f64>().is_ok()) {
                return Err(InvalidMoney::Range(shown()));
            }
            return Err(InvalidMoney::Number(shown()));
        }
        let digits = currency.digits();
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > digits as usize {
            return Err(InvalidMoney::Digits { given: shown(), digits, currency });
        }
        let padded = format!("{whole}{fraction:0<width$}", width = digits as usize);
        let minor = padded.parse::<i64>().map_err(|_| InvalidMoney::Range(shown()))?;
        Self::from_minor(minor, currency)
    }

    /// Minor units.
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The plain decimal number, without the currency: `25`, `25.50`.
    pub fn decimal(self) -> String {
        let digits = self.currency.digits();
        let unit = 10_i64.pow(digits);
        let (whole, fraction) = (self.minor / unit, self.minor % unit);
        if fraction == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{fraction:0width$}", width = digits as usize)
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_prices_are_refused_with_the_mend() {
        let eur: Currency = "eur".parse().expect("known");
        for bad in ["abc", "", "1,5", "€5", "5.", "1e3", "12.345", "-1", "9999999999"] {
            assert!(Money::parse(bad, eur).is_err(), "{bad} was accepted");
        }
        assert_eq!(Money::parse("25.5", eur).expect("valid").minor(), 2550);
        let jpy: Currency = "JPY".parse().expect("known");
        assert!(Money::parse("5.5", jpy).is_err());
        assert_eq!(Money::parse("5.0", jpy).expect("valid").minor(), 5);
    }

    proptest! {
        #[test]
        fn decimal_text_round_trips(minor in 0_i64..=100_000_000_000, which in 0..CURRENCIES.len()) {
            let currency: Currency = CURRENCIES[which].0.parse().expect("known");
            prop_assume!(minor <= 1_000_000_000 * 10_i64.pow(currency.digits()));
            let money = Money::from_minor(minor, currency).expect("in range");
            prop_assert_eq!(Money::parse(&money.decimal(), currency), Ok(money));
        }
    }
}
