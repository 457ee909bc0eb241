//! Failures.

use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::field::Violations;

use crate::v1;

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        let Failure { class, step, field, message, until } = failure;
        let until = until.map(String::from).unwrap_or_default();
        Self { class: class.name().to_owned(), step, field: field.unwrap_or_default(), message, until }
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = Violations;

    /// Texts are cut to what a person reads: 200 characters of step, 100 of field, 2,000 of message.
    fn try_from(message: v1::Failure) -> Result<Self, Violations> {
        let v1::Failure { class, step, field, message, until } = message;
        let mut violations = Violations::new();
        let known = FailureClass::from_name(&class);
        if known.is_none() {
            violations.push("class", format!("{:?} is no class of failures", cut(&class, 40)));
        }
        violations.into_result(|| {
            Some(Self {
                class: known?,
                step: cut(&step, 200),
                field: Some(cut(&field, 100)).filter(|name| !name.is_empty()),
                message: cut(&message, 2_000),
                // Read from a page: what is no date is left out.
                until: until.parse().ok(),
            })
        })
    }
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_round_trip_and_unknown_classes_are_refused() {
        for class in FailureClass::ALL {
            let failure = Failure::new(class, "prepare.price", "words").in_field("price");
            assert_eq!(Failure::try_from(v1::Failure::from(failure.clone())), Ok(failure.clone()));
            let dated = failure.until("2026-03-05T14:30".parse().ok());
            assert_eq!(Failure::try_from(v1::Failure::from(dated.clone())), Ok(dated));
        }
        assert!(Failure::try_from(v1::Failure { class: "odd".into(), ..Default::default() }).is_err());
    }
}
