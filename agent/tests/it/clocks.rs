//! Clocks that tests move: the PC sleeps when they say so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tradepost_agent::platform::clock::{Clocks, SystemClocks};
use tradepost_domain::time::Timestamp;

/// The real clocks, and the time slept in tests beside them.
#[derive(Debug)]
pub(crate) struct ManualClocks {
    slept: Mutex<Duration>,
}

impl ManualClocks {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { slept: Mutex::default() })
    }

    /// The PC sleeps for so long, in no time.
    pub(crate) fn sleep(&self, time: Duration) {
        *self.slept.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }

    fn slept(&self) -> Duration {
        *self.slept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clocks for ManualClocks {
    fn boottime(&self) -> Duration {
        SystemClocks.boottime() + self.slept()
    }

    fn wall(&self) -> Timestamp {
        SystemClocks.wall() + self.slept()
    }
}
