//! The pacing of accounts.

use tradepost_domain::field::Violations;
use tradepost_domain::pacing::{Policy, Rules, Zone};

use super::time;
use crate::v1;

impl From<Rules> for v1::PacingPolicy {
    fn from(rules: Rules) -> Self {
        let Rules {
            per_hour,
            per_day,
            min_gap,
            logins_per_hour,
            looks_per_hour,
            quiet_hours,
            time_zone,
            new_days,
            new_per_day,
        } = rules;
        Self {
            per_hour: Some(per_hour),
            per_day: Some(per_day),
            min_gap: Some(time::duration_to_wire(min_gap)),
            logins_per_hour: Some(logins_per_hour),
            looks_per_hour: Some(looks_per_hour),
            quiet_hours: quiet_hours.map_or_else(|| String::from("none"), |hours| hours.to_string()),
            time_zone: time_zone.to_string(),
            new_days: Some(new_days),
            new_per_day: Some(new_per_day),
        }
    }
}

impl From<Policy> for v1::PacingPolicy {
    fn from(policy: Policy) -> Self {
        let Policy {
            per_hour,
            per_day,
            min_gap,
            logins_per_hour,
            looks_per_hour,
            quiet_hours,
            time_zone,
            new_days,
            new_per_day,
        } = policy;
        Self {
            per_hour,
            per_day,
            min_gap: min_gap.map(time::duration_to_wire),
            logins_per_hour,
            looks_per_hour,
            quiet_hours: super::text(quiet_hours),
            time_zone: super::text(time_zone),
            new_days,
            new_per_day,
        }
    }
}

impl TryFrom<v1::PacingPolicy> for Policy {
    type Error = Violations;

    fn try_from(message: v1::PacingPolicy) -> Result<Self, Violations> {
        let v1::PacingPolicy {
            per_hour,
            per_day,
            min_gap,
            logins_per_hour,
            looks_per_hour,
            quiet_hours,
            time_zone,
            new_days,
            new_per_day,
        } = message;
        let mut violations = Violations::new();
        let given = |text: &str| !text.trim().is_empty();
        let quiet_hours =
            if given(&quiet_hours) { violations.check("quiet_hours", quiet_hours.parse()) } else { None };
        let time_zone =
            if given(&time_zone) { violations.check("time_zone", Zone::parse(&time_zone)) } else { None };
        let min_gap = min_gap.and_then(|gap| {
            let read = time::duration_from_wire(gap).ok_or("is negative or malformed");
            violations.check("min_gap", read)
        });
        let policy = Self {
            per_hour,
            per_day,
            min_gap,
            logins_per_hour,
            looks_per_hour,
            quiet_hours,
            time_zone,
            new_days,
            new_per_day,
        };
        policy.check(&mut violations);
        violations.into_result(|| Some(policy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_round_trips_and_what_is_not_given_stays_so() {
        let given = v1::PacingPolicy {
            per_day: Some(20),
            min_gap: Some(time::duration_to_wire(std::time::Duration::from_secs(120))),
            quiet_hours: "22:00-07:00".into(),
            time_zone: "Europe/Madrid".into(),
            ..Default::default()
        };
        let policy = Policy::try_from(given.clone()).expect("valid");
        assert_eq!((policy.per_day, policy.per_hour), (Some(20), None));
        assert_eq!(v1::PacingPolicy::from(policy.clone()), given);
        let rules = v1::PacingPolicy::from(policy.over(&Rules::none()));
        assert_eq!((rules.per_hour, rules.quiet_hours.as_str()), (Some(0), "22:00-07:00"));
    }

    #[test]
    fn every_wrong_value_is_named_at_once() {
        let wrong = v1::PacingPolicy {
            per_day: Some(1_001),
            min_gap: Some(time::duration_to_wire(std::time::Duration::from_secs(90_000))),
            quiet_hours: "late".into(),
            time_zone: "Mars/Olympus".into(),
            new_days: Some(91),
            ..Default::default()
        };
        let violations = Policy::try_from(wrong).expect_err("nothing is right");
        let fields: Vec<_> = violations.0.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["quiet_hours", "time_zone", "per_day", "min_gap", "new_days"]);
    }
}
