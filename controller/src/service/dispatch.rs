//! What an agent needs to do a job.

use tradepost_domain::account::Account;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::RunLease;
use tradepost_domain::job::{self, Job};
use tradepost_domain::listing::{Content, Listing};
use tradepost_domain::photo::Photo;
use tradepost_domain::posting::Publication;
use tradepost_recipe::catalogue;
use tradepost_store::Supplies;

use super::core::Core;
use super::error::{Error, Reason, Result};
use super::posting::check_site;

/// A job with all that its run needs.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The claimed job.
    pub job: Job,
    /// Its present run.
    pub run_lease: RunLease,
    /// The account it acts for.
    pub account: Account,
    /// Recipes and the site's pack, by name, as YAML.
    pub recipes: Vec<(String, String)>,
    /// What to publish or look for.
    pub task: Option<Task>,
}

/// What to publish or look for.
#[derive(Debug, Clone)]
pub struct Task {
    /// The publication, as it stood at the dispatch.
    pub publication: Publication,
    /// The listing's content.
    pub content: Content,
    /// Its photos in order.
    pub photos: Vec<Photo>,
}

impl Core {
    /// Puts together what claimed jobs need. When something of one is gone for good, its run is ended with that failure
    /// and it is left out.
    pub async fn assignments(&self, jobs: Vec<Job>) -> Result<Vec<Assignment>> {
        let supplies = self.store.find_supplies(&jobs).await?;
        let mut assignments = Vec::with_capacity(jobs.len());
        for (job, supplies) in jobs.into_iter().zip(supplies) {
            let Some(run_lease) = job.run_lease else {
                return Err(Error::internal(format!("claimed job {} has no lease", job.id)));
            };
            match gather(&job, run_lease, supplies) {
                Ok(assignment) => assignments.push(assignment),
                Err(error) => self.undispatchable(&job, run_lease, error).await?,
            }
        }
        Ok(assignments)
    }

    async fn undispatchable(&self, job: &Job, run_lease: RunLease, error: Error) -> Result<()> {
        tracing::warn!(job = %job.id, %error, "a job cannot be dispatched");
        let class = match error.reason {
            Reason::ListingNotFound | Reason::PhotoNotFound | Reason::ListingUnfit => {
                FailureClass::ListingRejected
            }
            _ => FailureClass::Internal,
        };
        self.run_failed(job, run_lease, Failure::new(class, "dispatch", error.message)).await
    }
}

fn gather(job: &Job, run_lease: RunLease, supplies: Supplies) -> Result<Assignment> {
    let Supplies { account, publication, listing, photos } = supplies;
    let account = account.ok_or_else(|| Error::not_found(Reason::AccountNotFound, "account", job.account))?;
    let site =
        catalogue::site(account.site.as_str()).map_err(|problem| Error::new(Reason::SiteUnknown, problem))?;
    let recipes = site.texts().map(|(name, yaml)| (name.to_owned(), yaml.to_owned())).collect();
    let task = match job.kind {
        job::Kind::Login => None,
        job::Kind::Publish | job::Kind::Reconcile => Some(task(job, publication, listing, photos)?),
    };
    // The listing may have been changed since the posting was asked for. A look only compares: it goes on.
    if let (job::Kind::Publish, Some(task)) = (job.kind, &task) {
        check_site(&account, &task.content)?;
    }
    Ok(Assignment { job: job.clone(), run_lease, account, recipes, task })
}

fn task(
    job: &Job,
    publication: Option<Publication>,
    listing: Option<Listing>,
    photos: Vec<Photo>,
) -> Result<Task> {
    let posting = job.posting.ok_or_else(|| Error::internal(format!("job {} has no posting", job.id)))?;
    let publication =
        publication.ok_or_else(|| Error::not_found(Reason::PostingNotFound, "posting", posting))?;
    let content =
        listing.ok_or_else(|| Error::new(Reason::ListingNotFound, "the listing was deleted"))?.content;
    if photos.len() != content.photos.len() {
        return Err(Error::new(Reason::PhotoNotFound, "a photo of the listing is gone"));
    }
    Ok(Task { publication, content, photos })
}
