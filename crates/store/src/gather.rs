//! Reads that gather all that a decision needs, for many at once. The bodies here say what is meant, in terms of the other
//! reads; an engine that pays for every round trip does better, with the same answers.

use async_trait::async_trait;
use tradepost_domain::account::Account;
use tradepost_domain::agent::Agent;
use tradepost_domain::id::{AccountId, AgentId, JobId, ListingId, PostingId, WorkspaceId};
use tradepost_domain::job::Job;
use tradepost_domain::listing::Listing;
use tradepost_domain::photo::Photo;
use tradepost_domain::posting::{self, Posting, Publication};

use crate::{Accounts, Agents, Error, Listings, PageRequest, Photos, PostingFilter, Work};

/// A posting that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The id it gets.
    pub posting: PostingId,
    /// What to post.
    pub listing: ListingId,
    /// Where.
    pub account: AccountId,
}

/// What decides whether a posting may be made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ground {
    /// The posting itself, if the same request has made it already.
    pub made: Option<Posting>,
    /// The account.
    pub account: Option<Account>,
    /// The account's agent.
    pub agent: Option<Agent>,
    /// The listing, unless it is deleted.
    pub listing: Option<Listing>,
    /// The newest Published posting of the listing on the account.
    pub published: Option<Posting>,
    /// An Uncertain posting of the account.
    pub unsettled: Option<PostingId>,
}

/// A job with the publication that it makes; none for jobs that publish nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundRun {
    /// The job.
    pub job: Job,
    /// Its publication.
    pub publication: Option<Publication>,
}

/// What a run needs besides its job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Supplies {
    /// The job's account.
    pub account: Option<Account>,
    /// The publication that the job makes or looks for.
    pub publication: Option<Publication>,
    /// Its listing, unless it is deleted.
    pub listing: Option<Listing>,
    /// The listing's photos, in their order.
    pub photos: Vec<Photo>,
}

/// Reads for many at once; answers come in the order of what was asked.
#[async_trait]
pub trait Gather: Accounts + Agents + Listings + Photos + Work {
    /// What decides about each of `asked`.
    async fn find_grounds(&self, asked: &[Asked]) -> Result<Vec<Ground>, Error> {
        let mut grounds = Vec::with_capacity(asked.len());
        for &Asked { workspace, posting, listing, account } in asked {
            let found = self.find_account(workspace, account).await?;
            let agent = match found.as_ref().and_then(|account| account.agent) {
                Some(agent) => self.find_agent(agent).await?,
                None => None,
            };
            let filter = PostingFilter { state: Some(posting::State::Uncertain), account: Some(account) };
            let one = PageRequest { limit: 1, after: None };
            let unsettled = self.list_postings(workspace, filter, one).await?;
            grounds.push(Ground {
                made: self.find_posting(workspace, posting).await?,
                account: found,
                agent,
                listing: self.find_listing(workspace, listing).await?,
                published: self.find_published_posting(workspace, listing, account).await?,
                unsettled: unsettled.rows.first().map(|posting| posting.id),
            });
        }
        Ok(grounds)
    }

    /// A job of an agent, whatever the workspace, with its publication.
    async fn find_run(&self, agent: AgentId, id: JobId) -> Result<Option<FoundRun>, Error> {
        let Some(job) = self.find_agent_job(agent, id).await? else { return Ok(None) };
        let publication = match job.posting {
            Some(posting) => self.find_publication(job.workspace, posting).await?,
            None => None,
        };
        // One statement's view of both: the job as the publication was read with it.
        let publication = publication.filter(|publication| publication.job.id == id);
        let job = publication.as_ref().map_or(job, |publication| publication.job.clone());
        Ok(Some(FoundRun { job, publication }))
    }

    /// What the runs of `jobs` need.
    async fn find_supplies(&self, jobs: &[Job]) -> Result<Vec<Supplies>, Error> {
        let mut supplies = Vec::with_capacity(jobs.len());
        for job in jobs {
            let mut found = Supplies {
                account: self.find_account(job.workspace, job.account).await?,
                ..Supplies::default()
            };
            if let Some(posting) = job.posting {
                found.publication = self.find_publication(job.workspace, posting).await?;
            }
            if let Some(publication) = &found.publication {
                found.listing = self.find_listing(job.workspace, publication.posting.listing).await?;
            }
            if let Some(listing) = &found.listing {
                found.photos = self.find_photos(job.workspace, &listing.content.photos).await?;
                let place = |photo: &Photo| listing.content.photos.iter().position(|id| *id == photo.id);
                found.photos.sort_by_key(place);
            }
            supplies.push(found);
        }
        Ok(supplies)
    }
}
