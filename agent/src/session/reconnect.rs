//! When to try for the next stream.

use std::time::Duration;

use tokio::time::Instant;
use tradepost_runtime::backoff::Backoff;
use tradepost_runtime::ids::Ids;

use super::link::LinkFault;

/// The first try after a loss comes within this time.
pub(super) const FIRST: Duration = Duration::from_millis(200);
/// First and longest delay after that, before jitter: a controller that starts anew is found again soon.
const SOON: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// The delay after [`LONG_LOSS`], and for an agent that the controller refuses, before jitter.
const RARELY: Duration = Duration::from_secs(64);
/// A loss this long is no restart of the controller.
const LONG_LOSS: Duration = Duration::from_secs(5 * 60);

/// The delays since the last stream that was welcomed.
pub(super) struct Reconnect {
    soon: Backoff,
    rarely: Backoff,
    lost: Option<Instant>,
}

impl Reconnect {
    pub(super) fn new(ids: &Ids) -> Self {
        Self {
            soon: Backoff::new(SOON.0, SOON.1, ids.clone()),
            rarely: Backoff::new(RARELY, RARELY, ids.clone()),
            lost: None,
        }
    }

    /// The delay after one more try that failed with `fault`; `unit` is a random number from 0 to 1.
    pub(super) fn delay(&mut self, fault: LinkFault, unit: f64) -> Duration {
        let first = self.lost.is_none();
        let lost = *self.lost.get_or_insert_with(Instant::now);
        if fault == LinkFault::Identity || lost.elapsed() >= LONG_LOSS {
            self.rarely.next_delay()
        } else if first {
            FIRST.mul_f64(unit)
        } else {
            self.soon.next_delay()
        }
    }

    /// The controller has welcomed a stream.
    pub(super) fn reset(&mut self) {
        self.soon.reset();
        self.lost = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_come_soon_for_minutes_and_then_rarely() {
        let mut reconnect = Reconnect::new(&Ids::seeded(3));
        let mut delay = |fault| reconnect.delay(fault, 1.0);
        for bound in [0.2, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0] {
            let next = delay(LinkFault::Unavailable);
            assert!(next <= Duration::from_secs_f64(bound), "{next:?} > {bound} s");
        }
        let most = |delays: &mut dyn FnMut() -> Duration| (0..50).map(|_| delays()).max().unwrap_or_default();
        assert!(most(&mut || delay(LinkFault::Identity)) > SOON.1, "a refused agent asks rarely");
        assert!(most(&mut || delay(LinkFault::Unavailable)) <= SOON.1);
        tokio::time::advance(LONG_LOSS).await;
        let rarely = most(&mut || delay(LinkFault::Unavailable));
        assert!(rarely > SOON.1 && rarely <= RARELY, "{rarely:?}");
    }
}
