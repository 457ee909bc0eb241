//! The feed of a workspace.

use tradepost_domain::event::Event;
use tradepost_domain::id::PostingId;

use super::core::{Caller, Core};
use super::error::{Error, Result};

/// Events of an answer when the caller names no number.
pub const DEFAULT: u32 = 100;
/// Most events of an answer.
pub const MAX: u32 = 1_000;

impl Core {
    /// Events after a place, oldest first.
    pub async fn events(
        &self,
        caller: &Caller,
        after: i64,
        posting: Option<PostingId>,
        limit: i32,
    ) -> Result<Vec<Event>> {
        let limit = u32::try_from(limit)
            .map_err(|_| Error::field("limit", "is negative; use 0 for the default or up to 1,000"))?;
        let limit = if limit == 0 { DEFAULT } else { limit.min(MAX) };
        Ok(self.store.list_events(caller.workspace, after.max(0), posting, limit).await?)
    }

    /// Where a reader begins: negative places mean "from now on".
    pub async fn feed_start(&self, caller: &Caller, after: i64) -> Result<i64> {
        if after >= 0 { Ok(after) } else { Ok(self.store.last_event(caller.workspace).await?) }
    }
}
