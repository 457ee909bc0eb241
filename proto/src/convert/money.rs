//! Amounts of money.

use tradepost_domain::field::Violations;
use tradepost_domain::money::{Currency, Money};

use crate::v1;

impl From<Money> for v1::Money {
    fn from(money: Money) -> Self {
        Self { minor_units: money.minor(), currency_code: money.currency().code().to_owned() }
    }
}

impl TryFrom<v1::Money> for Money {
    type Error = Violations;

    fn try_from(message: v1::Money) -> Result<Self, Violations> {
        let v1::Money { minor_units, currency_code } = message;
        let mut violations = Violations::new();
        let currency = violations.check("currency_code", currency_code.parse::<Currency>());
        let money =
            currency.and_then(|known| violations.check("minor_units", Self::from_minor(minor_units, known)));
        violations.into_result(|| money)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_round_trips_and_a_wrong_currency_is_named() {
        let money = Money::parse("25.50", "EUR".parse().expect("known")).expect("valid");
        assert_eq!(Money::try_from(v1::Money::from(money)), Ok(money));
        let wrong = v1::Money { minor_units: 5, currency_code: "EURO".into() };
        assert_eq!(Money::try_from(wrong).expect_err("unknown currency").0[0].field, "currency_code");
    }
}
