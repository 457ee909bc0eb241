//! Times and durations.

use std::time::Duration;

use tradepost_domain::time::Timestamp;

/// A stored time on the wire.
pub fn to_wire(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.as_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// A time from the wire, cut to microseconds; times beyond the representable range become its ends.
pub fn from_wire(at: prost_types::Timestamp) -> Timestamp {
    let prost_types::Timestamp { seconds, nanos } = at;
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(i64::from(nanos) / 1_000))
}

/// A duration on the wire; longer than its range (10,000 years) becomes the longest.
pub fn duration_to_wire(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX).min(315_576_000_000);
    prost_types::Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0) }
}

/// A duration from the wire; none when it is negative or malformed.
pub fn duration_from_wire(duration: prost_types::Duration) -> Option<Duration> {
    let prost_types::Duration { seconds, nanos } = duration;
    let (seconds, nanos) = (u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_round_trip_before_and_after_1970(micros in -1_000_000_000_000_000_i64..10_000_000_000_000_000) {
            let at = Timestamp::from_micros(micros);
            prop_assert_eq!(from_wire(to_wire(at)), at);
            prop_assert!((0..1_000_000_000).contains(&to_wire(at).nanos));
        }

        #[test]
        fn durations_round_trip(nanos in 0_u64..1_000_000_000_000_000_000) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(duration_from_wire(duration_to_wire(duration)), Some(duration));
        }
    }

    #[test]
    fn a_negative_duration_is_refused() {
        assert_eq!(duration_from_wire(prost_types::Duration { seconds: -1, nanos: 0 }), None);
        assert_eq!(duration_from_wire(prost_types::Duration { seconds: 0, nanos: -5 }), None);
    }
}
