//! What looks for uncertain listings saw.

use async_trait::async_trait;
use tradepost_domain::id::{PostingId, WorkspaceId};
use tradepost_domain::reconcile::LookRecord;

use crate::Error;

/// Looks, kept as evidence. They are stored by [`crate::Work::commit`].
#[async_trait]
pub trait Looks: Send + Sync {
    /// The looks for a posting's listing in the order they were taken, the newest 200.
    async fn list_looks(&self, workspace: WorkspaceId, posting: PostingId) -> Result<Vec<LookRecord>, Error>;
}
