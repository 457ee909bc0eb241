//! What looks at an account's own listings lead to.

use tradepost_domain::failure::Failure;
use tradepost_domain::id::RunLease;
use tradepost_domain::job::{self, Job};
use tradepost_domain::posting::{Publication, Receipt};
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::reconcile::{Look, judge};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Change, PageRequest};

use super::core::{Core, TRIES};
use super::error::{Reason, Result};
use super::work::{Decision, add_job, job_event};

impl Core {
    /// A look was taken: judge it, settle the publication or plan the next look, and end the look's job, all at once.
    pub(super) async fn looked(&self, look_job: &Job, run_lease: RunLease, look: &Look) -> Result<()> {
        let Some(posting) = look_job.posting else { return Ok(()) };
        for _ in 0..TRIES {
            let Some(current) = self.store.find_job(look_job.workspace, look_job.id).await? else {
                return Ok(());
            };
            let decided = self
                .decide(look_job.workspace, posting, |publication, now| {
                    self.judged(publication, &current, run_lease, look, now)
                })
                .await;
            match decided {
                Err(error) if error.reason == Reason::Contention => {}
                Err(error) if error.reason == Reason::ItemTaken => {
                    let question = "the listing that appeared belongs to another posting already";
                    return self.ask_person(&current, run_lease, question).await;
                }
                Err(error) => return Err(error),
                // Settled otherwise meanwhile, perhaps: then only the look's own end is left to store.
                Ok(_) => return self.end_look(look_job, run_lease).await,
            }
        }
        Err(super::Error::contention())
    }

    fn judged(
        &self,
        publication: &Publication,
        look_job: &Job,
        run_lease: RunLease,
        look: &Look,
        now: Timestamp,
    ) -> Result<Option<Decision>> {
        let intent = &publication.intent;
        if intent.state != publish::State::Unknown || look_job.intent != Some(intent.id) {
            return Ok(None);
        }
        let begun = look_job.run_started_at.unwrap_or(look_job.created_at);
        let (event, next) = judge(intent, look, begun, now);
        let mut with = Change::default();
        let ended = job::step(look_job, job::Event::Succeed(run_lease), now)?;
        add_job(&mut with, look_job, &ended);
        if let Some(delay) = next {
            let following = self.look_job(&publication.job, intent, now + delay, now);
            with.events.push(job_event(&following));
            with.new_jobs.push(following);
        }
        let receipt = match &event {
            publish::Event::Found(item) => Some(found_receipt(intent, item, look_job)),
            _ => None,
        };
        Ok(Some(Decision { receipt, with, ..event.into() }))
    }

    async fn end_look(&self, look_job: &Job, run_lease: RunLease) -> Result<()> {
        self.decide_job(look_job.workspace, look_job.id, |job, _| {
            Ok((!job.state.is_terminal()).then_some(job::Event::Succeed(run_lease)))
        })
        .await
        .map(drop)
    }

    /// A look could not be taken. When it is given up for good, a person is asked in the same transaction: an uncertain
    /// publication always has somebody who moves it on (I7).
    pub(super) async fn look_failed(
        &self,
        look_job: &Job,
        run_lease: RunLease,
        failure: Failure,
    ) -> Result<()> {
        let (posting, jitter) = (look_job.posting, self.ids.unit());
        let question = format!("the account's own listings could not be read: {}", failure.message);
        let failed = job::Event::Fail { run_lease, failure, jitter };
        for _ in 0..TRIES {
            let Some(current) = self.store.find_job(look_job.workspace, look_job.id).await? else {
                return Ok(());
            };
            let given_up = job::step(&current, failed.clone(), self.now())?.state == job::State::Failed;
            let (true, Some(posting)) = (given_up, posting) else { break };
            let decided = self.decide(look_job.workspace, posting, |publication, now| {
                let intent = &publication.intent;
                if intent.state != publish::State::Unknown || current.intent != Some(intent.id) {
                    return Ok(None);
                }
                let mut with = Change::default();
                add_job(&mut with, &current, &job::step(&current, failed.clone(), now)?);
                Ok(Some(Decision { with, ..publish::Event::AskPerson(question.clone()).into() }))
            });
            match decided.await {
                Err(error) if error.reason == Reason::Contention => {}
                Err(error) => return Err(error),
                // Settled otherwise meanwhile, perhaps: then only the look's own end is left to store.
                Ok(_) => break,
            }
        }
        self.decide_job(look_job.workspace, look_job.id, |job, _| {
            Ok((!job.state.is_terminal()).then(|| failed.clone()))
        })
        .await
        .map(drop)
    }

    async fn ask_person(&self, look_job: &Job, run_lease: RunLease, question: &str) -> Result<()> {
        let Some(posting) = look_job.posting else { return Ok(()) };
        self.decide(look_job.workspace, posting, |publication, _| {
            let unknown = publication.intent.state == publish::State::Unknown;
            Ok(unknown.then(|| publish::Event::AskPerson(question.to_owned()).into()))
        })
        .await?;
        self.end_look(look_job, run_lease).await
    }

    /// Lets a look that waits for a person, or was given up, go on. Says whether there was one.
    pub(super) async fn resume_look(&self, publication: &Publication) -> Result<bool> {
        for state in [job::State::NeedsHuman, job::State::Failed] {
            let filter =
                tradepost_store::JobFilter { state: Some(state), account: Some(publication.posting.account) };
            let jobs = self
                .store
                .list_jobs(publication.posting.workspace, filter, PageRequest { limit: 200, after: None })
                .await?;
            let ours = jobs
                .rows
                .into_iter()
                .find(|job| job.kind == job::Kind::Reconcile && job.intent == Some(publication.intent.id));
            if let Some(job) = ours {
                self.apply(&job, job::Event::Resume).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// When the next look of an uncertain publication is due, if one is queued.
    pub(super) async fn next_look(&self, publication: &Publication) -> Result<Option<Timestamp>> {
        let filter = tradepost_store::JobFilter {
            state: Some(job::State::Queued),
            account: Some(publication.posting.account),
        };
        let page = PageRequest { limit: 200, after: None };
        let jobs = self.store.list_jobs(publication.posting.workspace, filter, page).await?;
        Ok(jobs.rows.iter().filter(|job| job.kind == job::Kind::Reconcile).map(|job| job.run_after).min())
    }
}

/// A receipt of a publication that a later look confirmed: nothing was read back from its page.
fn found_receipt(intent: &Intent, item: &publish::PublishedItem, look_job: &Job) -> Receipt {
    Receipt {
        item: item.clone(),
        baseline_count: intent.baseline.len(),
        read_back: Vec::new(),
        evidence: Vec::new(),
        recipe: String::from("reconcile"),
        agent: look_job.agent,
        prepare_ms: 0,
        confirm_ms: 0,
    }
}
