//! Ids and randomness, injected: the one place that draws from the operating system, and its seeded twin for tests.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tradepost_domain::time::Timestamp;
use uuid::Uuid;

/// A source of ids, secrets and random numbers, cheap to clone.
#[derive(Debug, Clone)]
pub struct Ids {
    rng: Arc<Mutex<StdRng>>,
}

impl Ids {
    /// Seeded by the operating system: for real processes.
    pub fn from_system() -> Self {
        Self { rng: Arc::new(Mutex::new(rand::make_rng())) }
    }

    /// Seeded by the caller: the same seed gives the same ids.
    pub fn seeded(seed: u64) -> Self {
        Self { rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// A version 7 UUID whose leading bits are `now` in milliseconds, so that ids sort by creation.
    pub fn uuid(&self, now: Timestamp) -> Uuid {
        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        let mut tail = [0_u8; 10];
        self.fill(&mut tail);
        uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
    }

    /// Fills `bytes` with random bytes, fit for secrets.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }

    /// A random number in `0.0..1.0`, for jitter.
    pub fn unit(&self) -> f64 {
        let mut bytes = [0_u8; 4];
        self.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }
}
