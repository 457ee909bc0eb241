//! Accounts, listings and photos.

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::account::{Account, WhenAbsent};
use tradepost_domain::event::{Kind, Subject};
use tradepost_domain::id::{
    AccountId, AgentId, ContentHash, JobId, ListingId, PhotoId, Version, WorkspaceId,
};
use tradepost_domain::job::{self, Job};
use tradepost_domain::listing::{Content, Listing};
use tradepost_domain::photo::Photo;
use tradepost_domain::posting;
use tradepost_domain::time::Timestamp;

use super::{Model, StoredListing, Tables, Tx, by_name, newest, refused, unless};
use crate::{Accounts, Conflict, Error, Hint, Listings, PageRequest, Photos, Slice};

#[async_trait]
impl Accounts for Model {
    async fn add_account(&self, account: Account) -> Result<Account, Error> {
        self.write(|tx| {
            if let Some(stored) = tx.tables.accounts.get(account.id) {
                unless(stored.workspace != account.workspace, Conflict::Id)?;
                return Ok(stored.clone());
            }
            if let Some(agent) = account.agent {
                tx.tables.check_agent(account.workspace, agent)?;
            }
            let named = |other: &Account| other.workspace == account.workspace && other.name == account.name;
            unless(tx.tables.accounts.rows().any(named), Conflict::AccountName)?;
            unless(!tx.tables.workspaces.has(account.workspace), refused("accounts_workspace"))?;
            tx.tables.accounts.put(account.id, account.clone());
            let subject = Subject { account: Some(account.id), agent: account.agent, ..Subject::default() };
            tx.append_event(account.workspace, Kind::AccountAdded, subject, json!({}), account.created_at)?;
            Ok(account)
        })
    }

    async fn find_account(&self, workspace: WorkspaceId, id: AccountId) -> Result<Option<Account>, Error> {
        Ok(self
            .read(|tables| tables.accounts.get(id).filter(|account| account.workspace == workspace).cloned()))
    }

    async fn list_accounts(
        &self,
        workspace: WorkspaceId,
        page: PageRequest,
    ) -> Result<Slice<Account>, Error> {
        self.read(|tables| {
            let ours = tables.accounts.rows().filter(|account| account.workspace == workspace).cloned();
            by_name(ours, |account| (account.name.clone(), account.id.0), &page)
        })
    }

    async fn set_when_absent(
        &self,
        workspace: WorkspaceId,
        id: AccountId,
        when_absent: WhenAbsent,
        version: Version,
        now: Timestamp,
    ) -> Result<Account, Error> {
        self.write(|tx| {
            let present = tx.tables.accounts.get(id);
            let mut account = present
                .filter(|account| account.workspace == workspace && account.version == version)
                .cloned()
                .ok_or(Error::Stale)?;
            account.when_absent = when_absent;
            account.version.0 += 1;
            tx.tables.accounts.put(id, account.clone());
            let subject = Subject { account: Some(id), ..Subject::default() };
            tx.append_event(workspace, Kind::AccountChanged, subject, json!({}), now)?;
            Ok(account)
        })
    }

    async fn bind_account(
        &self,
        workspace: WorkspaceId,
        id: AccountId,
        agent: AgentId,
        version: Version,
        now: Timestamp,
    ) -> Result<Account, Error> {
        self.write(|tx| {
            tx.tables.check_agent(workspace, agent)?;
            let present = tx.tables.accounts.get(id);
            let mut account = present
                .filter(|account| account.workspace == workspace && account.version == version)
                .cloned()
                .ok_or(Error::Stale)?;
            account.agent = Some(agent);
            account.version.0 += 1;
            tx.tables.accounts.put(id, account.clone());
            let waits = |job: &&Job| {
                job.account == id
                    && job.agent != agent
                    && matches!(job.state, job::State::Queued | job::State::Parked)
            };
            let waiting: Vec<Job> = tx.tables.jobs.rows().filter(waits).cloned().collect();
            for mut job in waiting {
                job.agent = agent;
                job.version.0 += 1;
                tx.tables.jobs.put(job.id, job);
            }
            tx.hints.push(Hint::Agent(agent));
            let subject = Subject { account: Some(id), agent: Some(agent), ..Subject::default() };
            tx.append_event(workspace, Kind::AccountChanged, subject, json!({}), now)?;
            Ok(account)
        })
    }
}

impl Tables {
    /// An account is never bound to an agent of another workspace, nor to a revoked one.
    fn check_agent(&self, workspace: WorkspaceId, agent: AgentId) -> Result<(), Error> {
        let usable = self
            .agents
            .get(agent)
            .is_some_and(|agent| agent.workspace == workspace && agent.revoked_at.is_none());
        unless(!usable, Error::Stale)
    }

    /// Whether the listing exists and is not deleted.
    pub(super) fn has_listing(&self, workspace: WorkspaceId, id: ListingId) -> bool {
        self.listings.get(id).is_some_and(|row| row.listing.workspace == workspace && !row.deleted)
    }

    /// A photo of another workspace counts as absent.
    fn check_photos(&self, workspace: WorkspaceId, photos: &[PhotoId]) -> Result<(), Error> {
        let ours = |id: &PhotoId| self.photos.get(*id).is_some_and(|photo| photo.workspace == workspace);
        unless(!photos.iter().all(ours), Error::Stale)
    }
}

fn told(
    tx: &mut Tx<'_>,
    workspace: WorkspaceId,
    kind: Kind,
    id: ListingId,
    now: Timestamp,
) -> Result<(), Error> {
    let subject = Subject { listing: Some(id), ..Subject::default() };
    tx.append_event(workspace, kind, subject, json!({}), now)
}

#[async_trait]
impl Listings for Model {
    async fn add_listing(&self, listing: Listing) -> Result<Listing, Error> {
        self.write(|tx| {
            if let Some(stored) = tx.tables.listings.get(listing.id) {
                unless(stored.listing.workspace != listing.workspace, Conflict::Id)?;
                return Ok(stored.listing.clone());
            }
            unless(!tx.tables.workspaces.has(listing.workspace), refused("listings_workspace"))?;
            tx.tables.check_photos(listing.workspace, &listing.content.photos)?;
            tx.tables.listings.put(listing.id, StoredListing { listing: listing.clone(), deleted: false });
            told(tx, listing.workspace, Kind::ListingCreated, listing.id, listing.created_at)?;
            Ok(listing)
        })
    }

    async fn find_listing(&self, workspace: WorkspaceId, id: ListingId) -> Result<Option<Listing>, Error> {
        Ok(self.read(|tables| {
            tables
                .has_listing(workspace, id)
                .then(|| tables.listings.get(id).map(|row| row.listing.clone()))?
        }))
    }

    async fn list_listings(
        &self,
        workspace: WorkspaceId,
        page: PageRequest,
    ) -> Result<Slice<Listing>, Error> {
        self.read(|tables| {
            let ours =
                tables.listings.rows().filter(|row| row.listing.workspace == workspace && !row.deleted);
            newest(ours.map(|row| row.listing.clone()), |row| (row.created_at, row.id.0), &page)
        })
    }

    async fn update_listing(
        &self,
        workspace: WorkspaceId,
        id: ListingId,
        content: Content,
        version: Version,
        now: Timestamp,
    ) -> Result<Listing, Error> {
        self.write(|tx| {
            unless(!tx.tables.has_listing(workspace, id), Error::Stale)?;
            let present = tx.tables.listings.get(id).map(|row| row.listing.clone());
            let mut listing = present.filter(|listing| listing.version == version).ok_or(Error::Stale)?;
            tx.tables.check_photos(workspace, &content.photos)?;
            listing.content = content;
            listing.updated_at = now;
            listing.version.0 += 1;
            tx.tables.listings.put(id, StoredListing { listing: listing.clone(), deleted: false });
            told(tx, workspace, Kind::ListingChanged, id, now)?;
            Ok(listing)
        })
    }

    async fn delete_listing(
        &self,
        workspace: WorkspaceId,
        id: ListingId,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(|tx| {
            unless(!tx.tables.has_listing(workspace, id), Error::Stale)?;
            let is_open = |posting: &posting::Posting| {
                posting.listing == id
                    && matches!(
                        posting.state,
                        posting::State::Queued | posting::State::Running | posting::State::Uncertain
                    )
            };
            unless(tx.tables.postings.rows().any(is_open), Conflict::PostingOpen)?;
            let present = tx.tables.listings.get(id).map(|row| row.listing.clone());
            let mut listing = present.ok_or(Error::Stale)?;
            listing.updated_at = now;
            listing.version.0 += 1;
            tx.tables.listings.put(id, StoredListing { listing, deleted: true });
            told(tx, workspace, Kind::ListingDeleted, id, now)
        })
    }
}

#[async_trait]
impl Photos for Model {
    async fn add_photo(&self, photo: Photo, content: Vec<u8>) -> Result<Photo, Error> {
        self.write(|tx| {
            tx.tables.put_blob(photo.content, content);
            let same = |other: &&Photo| other.workspace == photo.workspace && other.content == photo.content;
            if let Some(stored) = tx.tables.photos.rows().find(same) {
                return Ok(stored.clone());
            }
            unless(tx.tables.photos.has(photo.id), Conflict::Id)?;
            unless(!tx.tables.workspaces.has(photo.workspace), refused("photos_workspace"))?;
            tx.tables.photos.put(photo.id, photo.clone());
            Ok(photo)
        })
    }

    async fn find_photo(&self, workspace: WorkspaceId, id: PhotoId) -> Result<Option<Photo>, Error> {
        Ok(self.read(|tables| tables.photo(workspace, id).cloned()))
    }

    async fn find_photos(&self, workspace: WorkspaceId, ids: &[PhotoId]) -> Result<Vec<Photo>, Error> {
        Ok(self.read(|tables| ids.iter().filter_map(|id| tables.photo(workspace, *id).cloned()).collect()))
    }

    async fn photo_content(&self, workspace: WorkspaceId, id: PhotoId) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.read(|tables| tables.blobs.get(tables.photo(workspace, id)?.content).cloned()))
    }

    async fn job_photo_content(
        &self,
        workspace: WorkspaceId,
        job: JobId,
        hash: ContentHash,
    ) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.read(|tables| {
            let job = tables.jobs.get(job).filter(|job| job.workspace == workspace)?;
            let posting = tables.postings.get(job.posting?)?;
            let listing = &tables.listings.get(posting.listing)?.listing;
            let photos = listing.content.photos.iter().filter_map(|id| tables.photos.get(*id));
            photos.map(|photo| photo.content).find(|content| *content == hash)?;
            tables.blobs.get(hash).cloned()
        }))
    }
}

impl Tables {
    fn photo(&self, workspace: WorkspaceId, id: PhotoId) -> Option<&Photo> {
        self.photos.get(id).filter(|photo| photo.workspace == workspace)
    }

    /// Stores a content once.
    pub(super) fn put_blob(&mut self, hash: ContentHash, content: Vec<u8>) {
        if !self.blobs.has(hash) {
            self.blobs.put(hash, content);
        }
    }
}
