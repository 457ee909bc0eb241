//! The injected clock as TLS wants it, so that tests can let certificates end.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::clock::SharedClock;

/// What certificates' validity is compared with: `config.time_provider = Arc::new(TlsClock(clock))`.
#[derive(Debug, Clone)]
pub struct TlsClock(pub SharedClock);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.0.now().as_micros()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}
