//! Jobs, as people see them.

use tradepost_domain::id::JobId;
use tradepost_domain::job::{Job, State};
use tradepost_store::{JobFilter, StoredStep};

use super::core::{Caller, Core};
use super::error::{Error, Reason, Result};
use super::page::{Page, Query};

impl Core {
    /// One job.
    pub async fn job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let found = self.store.find_job(caller.workspace, id).await?;
        found.ok_or_else(|| Error::not_found(Reason::JobNotFound, "job", id))
    }

    /// Newest first.
    pub async fn jobs(&self, caller: &Caller, filter: JobFilter, query: &Query) -> Result<Page<Job>> {
        let list = format!("jobs {:?} {:?}", filter.state.map(State::name), filter.account);
        let request = query.request(&list)?;
        Ok(Page::new(&list, self.store.list_jobs(caller.workspace, filter, request).await?))
    }

    /// The steps of a job's runs, oldest first.
    pub async fn steps(&self, caller: &Caller, id: JobId) -> Result<Vec<StoredStep>> {
        self.job(caller, id).await?;
        Ok(self.store.list_steps(caller.workspace, id).await?)
    }
}
