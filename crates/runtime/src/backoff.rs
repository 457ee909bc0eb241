//! Capped exponential delays with full jitter.

use std::time::Duration;

use crate::ids::Ids;

/// Delays that grow as `base * 2^n` up to `cap`, each drawn uniformly from zero to that bound ("full jitter").
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
    ids: Ids,
}

impl Backoff {
    /// A fresh sequence.
    pub fn new(base: Duration, cap: Duration, ids: Ids) -> Self {
        Self { base, cap, attempt: 0, ids }
    }

    /// The next delay; each call counts as one more failed try.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.base.saturating_mul(2_u32.saturating_pow(self.attempt)).min(self.cap);
        self.attempt = self.attempt.saturating_add(1);
        bound.mul_f64(self.ids.unit())
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_under_the_growing_bound_and_the_cap() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(64), Ids::seeded(7));
        for bound in [1, 2, 4, 8, 16, 32, 64, 64, 64] {
            assert!(backoff.next_delay() <= Duration::from_secs(bound));
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_secs(1));
    }
}
