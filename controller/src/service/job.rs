//! Jobs, as people see them, and what they do about dead letters.

use serde_json::json;
use tradepost_domain::audit::Target;
use tradepost_domain::failure::FailureClass;
use tradepost_domain::id::{AccountId, JobId};
use tradepost_domain::job::{self, Job, Kind, State};
use tradepost_domain::posting;
use tradepost_domain::publish;
use tradepost_store::{Change, JobFilter, StoredStep, audit};

use super::core::{Caller, Core};
use super::error::{Error, Reason, Result};
use super::page::{Page, Query};
use super::work::{Decision, told_of};

/// Which dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeadLetters {
    /// Only of this account.
    pub account: Option<AccountId>,
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only those whose last failure was of this class.
    pub class: Option<FailureClass>,
}

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: count them.
    Count,
    /// Try them again.
    Retry,
    /// Put them aside.
    Discard,
}

/// What became of a page of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Treated {
    /// How many fit.
    pub matched: u32,
    /// How many were treated.
    pub done: u32,
    /// Those that were not, with the reason.
    pub refused: Vec<(JobId, String)>,
    /// Where to go on; empty at the end.
    pub next_token: String,
}

impl Core {
    /// One job.
    pub async fn job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let found = self.store.find_job(caller.workspace, id).await?;
        found.ok_or_else(|| Error::not_found(Reason::JobNotFound, "job", id))
    }

    /// Newest first.
    pub async fn jobs(&self, caller: &Caller, filter: JobFilter, query: &Query) -> Result<Page<Job>> {
        let state = if filter.dead_letters { Some("dead") } else { filter.state.map(State::name) };
        let list = format!("jobs {state:?} {:?}", filter.account);
        let request = query.request(&list)?;
        Ok(Page::new(&list, self.store.list_jobs(caller.workspace, filter, request).await?))
    }

    /// The steps of a job's runs, oldest first.
    pub async fn steps(&self, caller: &Caller, id: JobId) -> Result<Vec<StoredStep>> {
        self.job(caller, id).await?;
        Ok(self.store.list_steps(caller.workspace, id).await?)
    }

    /// Tries a job again that was given up or waits for a person.
    pub async fn retry_job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let job = self.job(caller, id).await?;
        audit::about(Target::Job, id.0);
        match (job.kind, job.posting) {
            (Kind::Publish, Some(posting)) => {
                self.retry_posting(caller, posting).await?;
                return self.job(caller, id).await;
            }
            (Kind::Reconcile, Some(posting)) => {
                let found = self.store.find_publication(caller.workspace, posting).await?;
                let intent = found.map(|publication| publication.intent);
                let wanted = intent
                    .is_some_and(|now| now.state == publish::State::Unknown && job.intent == Some(now.id));
                if !wanted {
                    let message = "this look is not needed any more: what became of its posting is known, or a person \
                                   decides; put it aside with `tradepost jobs discard`";
                    return Err(Error::new(Reason::WrongState, message));
                }
            }
            _ => {}
        }
        let told = [told_of(&job, caller, json!({ "retried": true }))];
        let resume = |_: &Job, _| Ok(Some(job::Event::Resume));
        let retried = self.decide_job_telling(caller.workspace, id, &told, resume).await;
        retried.map_err(|error| match error.reason {
            Reason::WrongState => {
                let state = job.state.name().replace('_', " ");
                let message = format!(
                    "the job is {state}; only one that failed or waits for a person can be tried again"
                );
                Error::new(Reason::WrongState, message)
            }
            _ => error,
        })
    }

    /// Puts a dead letter aside: it is kept, but no longer listed as one. Asking again changes nothing.
    pub async fn discard_job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let job = self.job(caller, id).await?;
        if job.discarded_at.is_some() {
            return Ok(job);
        }
        audit::about(Target::Job, id.0);
        let told = told_of(&job, caller, json!({ "discarded": true }));
        let discarded = if let (Kind::Publish, Some(posting)) = (job.kind, job.posting) {
            let with = Change { events: vec![told], ..Change::default() };
            let decide = |_: &posting::Publication, _| {
                let decision = Decision::from(job::Event::Discard);
                Ok(Some(Decision { with: with.clone(), ..decision }))
            };
            self.decide(caller.workspace, posting, decide).await.map(|publication| publication.job)
        } else {
            let discard = |_: &Job, _| Ok(Some(job::Event::Discard));
            self.decide_job_telling(caller.workspace, id, &[told], discard).await
        };
        discarded.map_err(|error| match error.reason {
            Reason::WrongState => {
                let state = job.state.name().replace('_', " ");
                Error::new(
                    Reason::WrongState,
                    format!("the job is {state}; only one that failed can be put aside"),
                )
            }
            _ => error,
        })
    }

    /// Counts, retries or puts aside the dead letters of one page that fit; each by itself, so that one that is refused
    /// keeps none of the others.
    pub async fn treat_dead_letters(
        &self,
        caller: &Caller,
        wanted: DeadLetters,
        remedy: Remedy,
        query: &Query,
    ) -> Result<Treated> {
        let filter = JobFilter { state: None, account: wanted.account, dead_letters: true };
        let Page { rows, next_token } = self.jobs(caller, filter, query).await?;
        let mut treated = Treated { next_token, ..Treated::default() };
        let class = |job: &Job| job.failure.as_ref().map(|failure| failure.class);
        for job in rows {
            let fits = wanted.kind.is_none_or(|kind| job.kind == kind)
                && wanted.class.is_none_or(|wanted| class(&job) == Some(wanted));
            if !fits {
                continue;
            }
            treated.matched += 1;
            let done = match remedy {
                Remedy::Count => continue,
                Remedy::Retry => self.retry_job(caller, job.id).await,
                Remedy::Discard => self.discard_job(caller, job.id).await,
            };
            match done {
                Ok(_) => treated.done += 1,
                Err(error) if error.kind() == super::error::Kind::Unavailable => return Err(error),
                Err(error) => treated.refused.push((job.id, error.message)),
            }
        }
        Ok(treated)
    }
}
