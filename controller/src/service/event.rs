//! The feed of a workspace.

use tradepost_domain::event::Event;
use tradepost_domain::id::PostingId;

use super::core::{Caller, Core};
use super::error::{Error, Reason, Result};

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

    /// Where a reader begins: negative places mean "from now on". A place whose next events are gone is refused.
    pub async fn feed_start(&self, caller: &Caller, after: i64) -> Result<i64> {
        if after < 0 {
            return Ok(self.store.last_event(caller.workspace).await?);
        }
        if after > 0 {
            let first = self.store.first_event(caller.workspace).await?;
            if after + 1 < first {
                let message = format!(
                    "the events after {after} are kept no longer (the oldest is {first}); load what you follow anew, and \
                     follow from now on with -1"
                );
                return Err(Error::new(Reason::EventsGone, message));
            }
        }
        Ok(after)
    }
}
