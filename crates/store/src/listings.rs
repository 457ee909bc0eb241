//! Listings.

use async_trait::async_trait;
use tradepost_domain::id::{ListingId, Version, WorkspaceId};
use tradepost_domain::listing::{Content, Listing};
use tradepost_domain::time::Timestamp;

use crate::{Error, PageRequest, Slice};

/// Listings of workspaces.
#[async_trait]
pub trait Listings: Send + Sync {
    /// Adds it, with its photos' order and its event. When the id exists in the same workspace, returns the stored one;
    /// in another, `Conflict::Id`. `Stale` when a photo is not of the workspace; the service has checked that.
    async fn add_listing(&self, listing: Listing) -> Result<Listing, Error>;

    /// One listing; none when deleted.
    async fn find_listing(&self, workspace: WorkspaceId, id: ListingId) -> Result<Option<Listing>, Error>;

    /// Newest first ([`crate::Cursor::Newest`]), without the deleted.
    async fn list_listings(&self, workspace: WorkspaceId, page: PageRequest)
    -> Result<Slice<Listing>, Error>;

    /// Replaces the content, with its event; `Stale` unless at `version`.
    async fn update_listing(
        &self,
        workspace: WorkspaceId,
        id: ListingId,
        content: Content,
        version: Version,
        now: Timestamp,
    ) -> Result<Listing, Error>;

    /// Marks it deleted, with its event; `Conflict::PostingOpen` while a posting of it is queued, running or uncertain;
    /// `Stale` when there is none.
    async fn delete_listing(
        &self,
        workspace: WorkspaceId,
        id: ListingId,
        now: Timestamp,
    ) -> Result<(), Error>;
}
