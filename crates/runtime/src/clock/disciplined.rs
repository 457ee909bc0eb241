//! A clock that follows an authority's: several controllers on one database agree on the time by the database's clock.
//!
//! Between samples it runs on this machine's monotonic clock, so that a wall clock that is set changes nothing. It never
//! runs backwards by less than [`HELD`]: there it stands until the authority has caught up. A larger step back is
//! followed, as standing still for longer would stop all that waits for its time.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tradepost_domain::time::Timestamp;

use super::Clock;

/// How often the authority should be asked. A quartz drifts by about 50 µs a second at worst, so the clock is off by
/// less than a millisecond more than the sample was.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Samples that took longer than this say too little: half of it is their error.
pub const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);
/// Steps back of less than this are waited out.
pub const HELD: Duration = Duration::from_secs(10);

/// What one question to the authority came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// This machine's monotonic time when the question was sent.
    pub asked: Duration,
    /// This machine's monotonic time when the answer came.
    pub answered: Duration,
    /// What the authority said in between.
    pub told: Timestamp,
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// The clock was set to it; by how many microseconds it went forward (negative: back).
    Set(i64),
    /// The answer took too long to be of use; the clock runs on as it was.
    TooSlow,
}

/// The clock. Its zero of monotonic time is its own making.
pub struct DisciplinedClock {
    monotonic: Box<dyn Fn() -> Duration + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The authority's time at the monotonic zero, in microseconds since the Unix epoch.
    zero: i64,
    /// The latest time that was told.
    latest: i64,
}

impl DisciplinedClock {
    /// A clock that shows `start` now and runs on this machine's monotonic clock.
    #[expect(clippy::disallowed_methods, reason = "this is the home of clocks")]
    pub fn new(start: Timestamp) -> Self {
        let zero = std::time::Instant::now();
        Self::on(start, Box::new(move || zero.elapsed()))
    }

    /// A clock that shows `start` now and runs on `monotonic`.
    pub fn on(start: Timestamp, monotonic: Box<dyn Fn() -> Duration + Send + Sync>) -> Self {
        let zero = start.as_micros().saturating_sub(micros(monotonic()));
        Self { monotonic, state: Mutex::new(State { zero, latest: i64::MIN }) }
    }

    /// This machine's monotonic time, for a [`Sample`].
    pub fn monotonic(&self) -> Duration {
        (self.monotonic)()
    }

    /// Sets the clock to what the authority said: its answer is taken as of half way between question and answer.
    pub fn follow(&self, sample: Sample) -> Followed {
        let round_trip = sample.answered.saturating_sub(sample.asked);
        if round_trip > ROUND_TRIP_MAX {
            return Followed::TooSlow;
        }
        let zero = sample.told.as_micros().saturating_sub(micros(sample.asked + round_trip / 2));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let step = zero.saturating_sub(state.zero);
        state.zero = zero;
        if step <= -micros(HELD) {
            state.latest = i64::MIN;
        }
        Followed::Set(step)
    }
}

impl Clock for DisciplinedClock {
    fn now(&self) -> Timestamp {
        let elapsed = micros(self.monotonic());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.latest = state.latest.max(state.zero.saturating_add(elapsed));
        Timestamp::from_micros(state.latest)
    }
}

impl fmt::Debug for DisciplinedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DisciplinedClock").field("state", &self.state).finish_non_exhaustive()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);

    fn clock() -> (DisciplinedClock, Arc<AtomicU64>) {
        let ticks = Arc::new(AtomicU64::new(7_000_000));
        let read = Arc::clone(&ticks);
        let monotonic = move || Duration::from_micros(read.load(Ordering::SeqCst));
        (DisciplinedClock::on(START, Box::new(monotonic)), ticks)
    }

    fn sample(clock: &DisciplinedClock, round_trip: Duration, told: Timestamp) -> Sample {
        let answered = clock.monotonic();
        Sample { asked: answered.saturating_sub(round_trip), answered, told }
    }

    #[test]
    fn it_follows_the_authority_and_runs_on_between_samples() {
        let (clock, ticks) = clock();
        assert_eq!(clock.now(), START);
        ticks.fetch_add(3_000_000, Ordering::SeqCst);
        assert_eq!(clock.now(), START + Duration::from_secs(3));
        let authority = START + Duration::from_secs(63);
        let followed = clock.follow(sample(&clock, Duration::from_millis(200), authority));
        assert_eq!(followed, Followed::Set(60_100_000));
        assert_eq!(clock.now(), authority + Duration::from_millis(100));
        ticks.fetch_add(1_000, Ordering::SeqCst);
        assert_eq!(clock.now(), authority + Duration::from_millis(101));
    }

    #[test]
    fn small_steps_back_are_waited_out_and_large_ones_followed() {
        let (clock, ticks) = clock();
        let shown = clock.now();
        clock.follow(sample(&clock, Duration::ZERO, START - Duration::from_secs(2)));
        assert_eq!(clock.now(), shown, "it stands");
        ticks.fetch_add(2_500_000, Ordering::SeqCst);
        assert_eq!(clock.now(), START + Duration::from_millis(500));
        clock.follow(sample(&clock, Duration::ZERO, START - Duration::from_secs(3600)));
        assert_eq!(clock.now(), START - Duration::from_secs(3600));
    }

    #[test]
    fn a_slow_answer_changes_nothing() {
        let (clock, _) = clock();
        let slow = sample(&clock, ROUND_TRIP_MAX + Duration::from_micros(1), START + Duration::from_secs(9));
        assert_eq!(clock.follow(slow), Followed::TooSlow);
        assert_eq!(clock.now(), START);
    }
}
