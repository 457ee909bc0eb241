//! Time, injected: every component takes a [`SharedClock`], so that a test can replay hours in a millisecond.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tradepost_domain::time::Timestamp;

/// A source of wall-clock time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present, in microseconds since the Unix epoch.
    fn now(&self) -> Timestamp;

    /// Whether it is this machine's own clock, which other machines' clocks may differ from.
    fn is_machines(&self) -> bool {
        false
    }
}

/// A clock shared by the components of one process.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's wall clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

/// A clock that moves only when told; starts at a fixed instant so that traces are equal between runs.
#[derive(Debug)]
pub struct ManualClock {
    micros: AtomicI64,
}

/// A clock that follows an authority's, such as the database's: another clock, corrected by the difference that was measured
/// last. So all who follow one authority agree, however wrong their own clocks are.
#[derive(Debug)]
pub struct FollowingClock {
    own: SharedClock,
    /// Of the authority's clock to the own one, in microseconds.
    ahead: AtomicI64,
}

/// A measurement whose question took longer says too little.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);

// === impl FollowingClock ===

impl FollowingClock {
    /// Not corrected yet.
    pub fn new(own: SharedClock) -> Arc<Self> {
        Arc::new(Self { own, ahead: AtomicI64::new(0) })
    }

    /// The own clock, to time a question to the authority with.
    pub fn own(&self) -> &SharedClock {
        &self.own
    }

    /// The authority said `theirs` to a question that was asked and answered at these times of the own clock. Its answer is of
    /// their middle, give or take half of the time between them.
    pub fn correct(&self, asked: Timestamp, theirs: Timestamp, answered: Timestamp) {
        if answered.since(asked) > ROUND_TRIP_MAX {
            return;
        }
        let middle = asked.as_micros().midpoint(answered.as_micros());
        self.ahead.store(theirs.as_micros().saturating_sub(middle), Ordering::Relaxed);
    }
}

impl Clock for FollowingClock {
    fn now(&self) -> Timestamp {
        let own = self.own.now().as_micros();
        Timestamp::from_micros(own.saturating_add(self.ahead.load(Ordering::Relaxed)))
    }
}

// === impl SystemClock ===

impl SystemClock {
    /// The system clock behind the shared handle.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one home of the system clock")]
    fn now(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    fn is_machines(&self) -> bool {
        true
    }
}

// === impl ManualClock ===

impl ManualClock {
    /// A clock standing at `start`.
    pub fn new(start: Timestamp) -> Arc<Self> {
        Arc::new(Self { micros: AtomicI64::new(start.as_micros()) })
    }

    /// Moves the clock forward by `by`.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { micros: AtomicI64::new(1_760_000_000_000_000) }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_follows_one_authority_agrees_with_it_however_wrong_the_own_clock_is() {
        let at = |seconds: u64| Timestamp::EPOCH + Duration::from_secs(seconds);
        for wrong in [1_000, 90_000] {
            let own = ManualClock::new(at(wrong));
            let clock = FollowingClock::new(own.clone());
            assert_eq!(clock.now(), at(wrong), "nothing is known yet");
            own.advance(Duration::from_millis(200));
            clock.correct(at(wrong), at(50_000), clock.own().now());
            let error = clock.now().since(at(50_000)).max(at(50_000).since(clock.now()));
            assert!(error <= Duration::from_millis(100), "half of the question's time: {error:?}");
            own.advance(Duration::from_secs(10));
            clock.correct(at(wrong), at(1), clock.own().now());
            assert!(clock.now() > at(50_009), "an answer that took long changes nothing");
        }
    }
}
