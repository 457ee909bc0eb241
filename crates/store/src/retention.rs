//! Letting go of what is old, in small batches, so that nobody waits long behind one.
//!
//! Postings, their publish jobs, intents and receipts are the seller's record, and what keeps a listing from being published
//! twice: they are never let go. A request's memory is the row that it made, so it lasts as long.

use async_trait::async_trait;
use tradepost_domain::id::WorkspaceId;
use tradepost_domain::time::Timestamp;

use crate::Error;

/// Deletes what is old. Each method does one batch of at most `limit` rows in one transaction and says how many went; fewer
/// than `limit`: nothing old is left. Several controllers may do so at once.
#[async_trait]
pub trait Retention: Send + Sync {
    /// The workspace after `after` in the order of ids; none after the last one.
    async fn next_workspace(&self, after: Option<WorkspaceId>) -> Result<Option<WorkspaceId>, Error>;

    /// The oldest events of a workspace that were stored before `before`.
    async fn forget_events(
        &self,
        workspace: WorkspaceId,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, Error>;

    /// Step reports stored before `before`.
    async fn forget_steps(&self, before: Timestamp, limit: u32) -> Result<u64, Error>;

    /// Evidence made before `before` whose job has ended, with its content where nothing else has the same.
    async fn forget_evidence(&self, before: Timestamp, limit: u32) -> Result<u64, Error>;

    /// Sign-ins and looks that ended before `before`, with their steps and evidence.
    async fn forget_jobs(&self, before: Timestamp, limit: u32) -> Result<u64, Error>;
}
