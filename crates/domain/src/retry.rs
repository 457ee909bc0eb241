//! When a failed run is tried again.

use std::time::Duration;

use crate::failure::{FailureClass, Remedy};

/// First delay; doubles with each try.
pub const BASE: Duration = Duration::from_secs(2);
/// Longest delay before jitter.
pub const CAP: Duration = Duration::from_secs(15 * 60);
/// Runs of one job before it is given up as a dead letter.
pub const MAX_ATTEMPTS: u32 = 8;

/// What becomes of a job whose run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Queue again, after this delay.
    RetryAfter(Duration),
    /// Wait for a person.
    AskPerson,
    /// Wait for reconciliation.
    Reconcile,
    /// Dead letter: a visible end that a person may retry or discard.
    GiveUp,
}

/// Decides on a run's failure. `attempt` counts runs so far (1 for the first), `jitter` is uniform in `0.0..1.0`
/// (full jitter: the delay is drawn between zero and the bound, but never below the class's cool-down).
pub fn decide(class: FailureClass, attempt: u32, jitter: f64) -> Verdict {
    match class.remedy() {
        Remedy::Person => Verdict::AskPerson,
        Remedy::Reconcile => Verdict::Reconcile,
        Remedy::GiveUp => Verdict::GiveUp,
        // Pacing stopped it before the click: that is no try, and its account's window says when the next one may begin.
        Remedy::Retry { .. } if class == FailureClass::NotYet => Verdict::RetryAfter(Duration::ZERO),
        Remedy::Retry { .. } if attempt >= MAX_ATTEMPTS => Verdict::GiveUp,
        Remedy::Retry { cool_down } => {
            let exponent = attempt.saturating_sub(1).min(30);
            let bound = BASE.saturating_mul(2_u32.saturating_pow(exponent)).min(CAP);
            Verdict::RetryAfter(bound.mul_f64(jitter.clamp(0.0, 1.0)).max(cool_down))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn delays_are_bounded_and_the_last_try_gives_up(attempt in 1_u32..100, jitter in 0.0_f64..1.0) {
            match decide(FailureClass::Network, attempt, jitter) {
                Verdict::RetryAfter(delay) => {
                    prop_assert!(attempt < MAX_ATTEMPTS);
                    prop_assert!(delay <= CAP);
                }
                verdict => {
                    prop_assert!(attempt >= MAX_ATTEMPTS);
                    prop_assert_eq!(verdict, Verdict::GiveUp);
                }
            }
        }
    }

    /// Every class with its remedy, so that a change of one is a decision.
    #[test]
    fn every_class_has_its_remedy() {
        use FailureClass as Class;
        for class in Class::ALL {
            let expected = match class {
                Class::ListingRejected | Class::Cancelled => Verdict::GiveUp,
                Class::Uncertain => Verdict::Reconcile,
                Class::AccountLocked
                | Class::NeedsLogin
                | Class::NeedsSecondFactor
                | Class::NeedsConsent
                | Class::NeedsCaptcha
                | Class::Checkpoint
                | Class::WrongAccount
                | Class::DriverMismatch => Verdict::AskPerson,
                Class::LimitReached => Verdict::RetryAfter(Duration::from_secs(3_600)),
                Class::TemporarilyBlocked => Verdict::RetryAfter(Duration::from_secs(24 * 3_600)),
                Class::NotYet => Verdict::RetryAfter(Duration::ZERO),
                Class::PageUnknown
                | Class::ElementMissing
                | Class::ValueNotCommitted
                | Class::UploadFailed
                | Class::Network
                | Class::BrowserCrashed
                | Class::TimedOut
                | Class::Internal => Verdict::RetryAfter(Duration::from_secs(1)),
            };
            assert_eq!(decide(class, 1, 0.5), expected, "{class:?}");
            let last = decide(class, MAX_ATTEMPTS, 0.5);
            match (expected, class) {
                (Verdict::RetryAfter(_), Class::NotYet) => {
                    assert_eq!(last, Verdict::RetryAfter(Duration::ZERO))
                }
                (Verdict::RetryAfter(_), _) => assert_eq!(last, Verdict::GiveUp, "{class:?}"),
                (same, _) => assert_eq!(last, same, "{class:?}"),
            }
        }
    }

    #[test]
    fn an_uncertain_click_is_never_retried() {
        for attempt in 0..20 {
            assert_eq!(decide(FailureClass::Uncertain, attempt, 0.5), Verdict::Reconcile);
        }
    }
}
