//! Two clocks: one that counts the time the PC sleeps, and the wall clock. What must not outlive a sleep is measured on both.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tradepost_domain::time::Timestamp;
use tradepost_runtime::clock::{Clock, SystemClock};

use super::os;

/// The pair of clocks; tests bring their own, to put the PC to sleep.
pub trait Clocks: Send + Sync + fmt::Debug {
    /// As [`boottime`].
    fn boottime(&self) -> Duration;
    /// The wall clock.
    fn wall(&self) -> Timestamp;
}

/// Shared clocks.
pub type SharedClocks = Arc<dyn Clocks>;

/// This PC's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClocks;

impl SystemClocks {
    /// For everybody.
    pub fn shared() -> SharedClocks {
        Arc::new(Self)
    }
}

impl Clocks for SystemClocks {
    fn boottime(&self) -> Duration {
        boottime()
    }

    fn wall(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// Time since some fixed moment before the start of the process. Runs on while the PC sleeps, and no setting of the wall
/// clock moves it.
pub fn boottime() -> Duration {
    os::boottime()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_never_runs_backwards() {
        let first = super::boottime();
        assert!(super::boottime() >= first);
    }
}
