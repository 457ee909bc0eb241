//! The feed.

use async_trait::async_trait;
use tradepost_domain::event::Event;
use tradepost_domain::id::{PostingId, WorkspaceId};

use crate::Error;

/// Reading the feeds of workspaces. Writing happens inside the writes that events tell of.
///
/// Places are given out under the workspace's row lock, so that no reader sees a later event before an earlier one.
#[async_trait]
pub trait Events: Send + Sync {
    /// At most `limit` events after `after`, oldest first; of one posting if given.
    async fn list_events(
        &self,
        workspace: WorkspaceId,
        after: i64,
        posting: Option<PostingId>,
        limit: u32,
    ) -> Result<Vec<Event>, Error>;

    /// The oldest place that is kept; one more than the newest when none is.
    async fn first_event(&self, workspace: WorkspaceId) -> Result<i64, Error>;

    /// The newest place; 0 before the first event.
    async fn last_event(&self, workspace: WorkspaceId) -> Result<i64, Error>;
}
