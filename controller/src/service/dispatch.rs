//! What an agent needs to do a job.

use std::collections::HashMap;

use tradepost_domain::account::Account;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::RunLease;
use tradepost_domain::job::{self, Job};
use tradepost_domain::listing::Content;
use tradepost_domain::photo::Photo;
use tradepost_domain::publish::Intent;
use tradepost_recipe::catalogue;

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
    /// The intent.
    pub intent: Intent,
    /// The listing's content.
    pub content: Content,
    /// Its photos in order.
    pub photos: Vec<Photo>,
}

impl Core {
    /// Puts together what a claimed job needs. When something of it is gone for good, the run is ended with that
    /// failure and nothing is returned.
    pub async fn assignment(&self, job: Job) -> Result<Option<Assignment>> {
        let Some(run_lease) = job.run_lease else {
            return Err(Error::internal(format!("claimed job {} has no lease", job.id)));
        };
        match self.gather(&job, run_lease).await {
            Ok(assignment) => Ok(Some(assignment)),
            Err(error) if error.reason.kind() == super::error::Kind::Unavailable => Err(error),
            Err(error) => {
                tracing::warn!(job = %job.id, %error, "a job cannot be dispatched");
                let class = match error.reason {
                    Reason::ListingNotFound | Reason::PhotoNotFound | Reason::ListingUnfit => {
                        FailureClass::ListingRejected
                    }
                    _ => FailureClass::Internal,
                };
                self.run_failed(&job, run_lease, Failure::new(class, "dispatch", error.message)).await?;
                Ok(None)
            }
        }
    }

    async fn gather(&self, job: &Job, run_lease: RunLease) -> Result<Assignment> {
        let account = self
            .store
            .find_account(job.workspace, job.account)
            .await?
            .ok_or_else(|| Error::not_found(Reason::AccountNotFound, "account", job.account))?;
        let site = catalogue::site(account.site.as_str())
            .map_err(|problem| Error::new(Reason::SiteUnknown, problem))?;
        let recipes = site.texts().map(|(name, yaml)| (name.to_owned(), yaml.to_owned())).collect();
        let task = match job.kind {
            job::Kind::Login => None,
            job::Kind::Publish | job::Kind::Reconcile => Some(self.task(job).await?),
        };
        // The listing may have been changed since the posting was asked for. A look only compares: it goes on.
        if let (job::Kind::Publish, Some(task)) = (job.kind, &task) {
            check_site(&account, &task.content)?;
        }
        Ok(Assignment { job: job.clone(), run_lease, account, recipes, task })
    }

    async fn task(&self, job: &Job) -> Result<Task> {
        let posting = job.posting.ok_or_else(|| Error::internal(format!("job {} has no posting", job.id)))?;
        let publication = self
            .store
            .find_publication(job.workspace, posting)
            .await?
            .ok_or_else(|| Error::not_found(Reason::PostingNotFound, "posting", posting))?;
        let listing = publication.posting.listing;
        let content = self
            .store
            .find_listing(job.workspace, listing)
            .await?
            .ok_or_else(|| Error::new(Reason::ListingNotFound, "the listing was deleted"))?
            .content;
        let found = self.store.find_photos(job.workspace, &content.photos).await?;
        let by_id: HashMap<_, _> = found.into_iter().map(|photo| (photo.id, photo)).collect();
        let photos: Vec<Photo> = content.photos.iter().filter_map(|id| by_id.get(id).cloned()).collect();
        if photos.len() != content.photos.len() {
            return Err(Error::new(Reason::PhotoNotFound, "a photo of the listing is gone"));
        }
        Ok(Task { intent: publication.intent, content, photos })
    }
}
