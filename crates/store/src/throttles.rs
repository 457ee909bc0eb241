//! Counters that hold attackers back, shared by all controllers.

use async_trait::async_trait;
use tradepost_domain::throttle::{Backoff, Window};
use tradepost_domain::time::Timestamp;

use crate::Error;

/// Counters. Each method is one short transaction that begins by holding its row: hits at once are counted one after the other.
#[async_trait]
pub trait Throttles: Send + Sync {
    /// Counts `hits` at once under `key`; the end of the window when that is too many.
    async fn hit(
        &self,
        key: &str,
        hits: u32,
        window: Window,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error>;

    /// Counts a try under `key`, or says until when to wait, which counts nothing.
    async fn try_now(&self, key: &str, backoff: Backoff, now: Timestamp) -> Result<Option<Timestamp>, Error>;

    /// Until when to wait before a try, which is not counted.
    async fn waits_until(&self, key: &str, now: Timestamp) -> Result<Option<Timestamp>, Error>;

    /// Marks `key` until a time.
    async fn mark(&self, key: &str, until: Timestamp) -> Result<(), Error>;

    /// Begins the counting under `key` anew.
    async fn forget(&self, key: &str) -> Result<(), Error>;
}
