//! Listings.

use tradepost_domain::audit::Target;
use tradepost_domain::field::Violations;
use tradepost_domain::id::{ListingId, RequestId, Version};
use tradepost_domain::listing::{Content, Listing};
use tradepost_store::{Error as StoreError, audit};

use super::core::{Caller, Core};
use super::error::{Error, Reason, Result};
use super::page::{Page, Query};

const LIST: &str = "listings";

impl Core {
    /// Adds a listing. The same request gives the same listing.
    pub async fn create_listing(
        &self,
        caller: &Caller,
        request: &RequestId,
        content: Content,
    ) -> Result<Listing> {
        self.check_photos(caller, &content).await?;
        let now = self.now();
        let listing = Listing {
            id: ListingId::of_request(caller.workspace, request),
            workspace: caller.workspace,
            content,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        audit::about(Target::Listing, listing.id.0);
        Ok(self.store.add_listing(listing).await?)
    }

    /// One listing.
    pub async fn listing(&self, caller: &Caller, id: ListingId) -> Result<Listing> {
        let found = self.store.find_listing(caller.workspace, id).await?;
        found.ok_or_else(|| Error::not_found(Reason::ListingNotFound, "listing", id))
    }

    /// Newest first.
    pub async fn listings(&self, caller: &Caller, query: &Query) -> Result<Page<Listing>> {
        let slice = self.store.list_listings(caller.workspace, query.request(LIST)?).await?;
        Ok(Page::new(LIST, slice))
    }

    /// Replaces the content of the listing at `version`.
    pub async fn update_listing(
        &self,
        caller: &Caller,
        id: ListingId,
        content: Content,
        version: Version,
    ) -> Result<Listing> {
        self.listing(caller, id).await?;
        self.check_photos(caller, &content).await?;
        audit::about(Target::Listing, id.0);
        match self.store.update_listing(caller.workspace, id, content, version, self.now()).await {
            Err(StoreError::Stale) => Err(Error::new(
                Reason::EtagStale,
                "the listing was changed since you read it; read it again and repeat the change",
            )),
            updated => Ok(updated?),
        }
    }

    /// Deletes a listing that is not being posted.
    pub async fn delete_listing(&self, caller: &Caller, id: ListingId) -> Result<()> {
        audit::about(Target::Listing, id.0);
        match self.store.delete_listing(caller.workspace, id, self.now()).await {
            Err(StoreError::Stale) => Err(Error::not_found(Reason::ListingNotFound, "listing", id)),
            deleted => Ok(deleted?),
        }
    }

    async fn check_photos(&self, caller: &Caller, content: &Content) -> Result<()> {
        let known = self.store.find_photos(caller.workspace, &content.photos).await?;
        let mut violations = Violations::new();
        for (n, id) in content.photos.iter().enumerate() {
            if !known.iter().any(|photo| photo.id == *id) {
                violations.push(
                    format!("photos[{n}]"),
                    format!("{id} is no photo of this workspace; upload it first"),
                );
            }
        }
        Ok(violations.into_result(|| Some(()))?)
    }
}
