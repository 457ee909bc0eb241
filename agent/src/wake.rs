//! Noticing that the PC has slept (or that this process was stopped), before anything is done.
//!
//! A task ticks each second. A gap between ticks on the clock that counts sleep ([`Clocks::boottime`]) means that nothing
//! ran meanwhile: the lid was closed, the virtual machine paused, the process stopped. Each such gap counts as one *wake*.
//! Invariant I10: after a wake nothing is clicked, typed or uploaded before the run is confirmed by the controller over a
//! new stream and its page was looked at anew; see `runner::watched`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::journal::RunKey;
use crate::platform::clock::SharedClocks;

/// How often it is looked.
const TICK: Duration = Duration::from_secs(1);
/// A longer gap is a sleep. Shorter ones stay within a lease: 30 seconds, prolonged every 5.
pub const GAP: Duration = Duration::from_secs(10);

/// Counts sleeps; clones share the count.
#[derive(Debug, Clone)]
pub struct Wake {
    clocks: SharedClocks,
    last: Arc<Mutex<Duration>>,
    count: Arc<watch::Sender<u64>>,
}

/// What the controller last confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// The count of wakes when the stream was asked for.
    pub wakes: u64,
    /// The runs that go on; none when the controller does not tell.
    pub runs: Option<BTreeSet<RunKey>>,
}

impl Wake {
    /// From now on.
    pub fn new(clocks: SharedClocks) -> Self {
        let last = Arc::new(Mutex::new(clocks.boottime()));
        Self { clocks, last, count: Arc::new(watch::Sender::new(0)) }
    }

    /// How often the PC has slept so far, this moment included.
    pub fn count(&self) -> u64 {
        let now = self.clocks.boottime();
        let gap = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let gap = now.saturating_sub(*last);
            *last = now;
            gap
        };
        if gap > GAP {
            tracing::warn!(seconds = gap.as_secs(), "the PC has slept, or this program was stopped");
            self.count.send_modify(|count| *count += 1);
        }
        *self.count.borrow()
    }

    /// Changes with each wake.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// Looks each second until the agent ends.
    pub async fn watch(self, end: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                _ = ticks.tick() => { self.count(); }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tradepost_domain::time::Timestamp;

    use super::*;
    use crate::platform::clock::Clocks;

    #[derive(Debug)]
    struct Still(Mutex<Duration>);

    impl Clocks for Still {
        fn boottime(&self) -> Duration {
            *self.0.lock().expect("no panic")
        }

        fn wall(&self) -> Timestamp {
            Timestamp::EPOCH
        }
    }

    #[test]
    fn a_sleep_counts_once_and_ordinary_time_does_not() {
        let clock = Arc::new(Still(Mutex::new(Duration::from_secs(100))));
        let wake = Wake::new(clock.clone());
        let sleep = |seconds| *clock.0.lock().expect("no panic") += Duration::from_secs(seconds);
        for _ in 0..20 {
            sleep(9);
            assert_eq!(wake.count(), 0);
        }
        sleep(3_600);
        assert_eq!((wake.count(), wake.count()), (1, 1));
        sleep(11);
        assert_eq!(wake.clone().count(), 2);
        assert_eq!(*wake.changes().borrow(), 2);
    }
}
