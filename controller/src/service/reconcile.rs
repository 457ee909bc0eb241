//! What looks at an account's own listings lead to.

use serde_json::json;
use tradepost_domain::account::WhenAbsent;
use tradepost_domain::audit::Target;
use tradepost_domain::event::{self, NewEvent, Subject};
use tradepost_domain::failure::Failure;
use tradepost_domain::id::{PostingId, RunLease};
use tradepost_domain::job::{self, Job};
use tradepost_domain::posting::{self, Posting, Publication, Receipt, Trail, Witness};
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::reconcile::{Look, LookRecord, judge, record};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Change, ChangeLook, Error as StoreError, PageRequest, audit};

use super::core::{Caller, Core, TRIES};
use super::error::{Error, Reason, Result};
use super::work::{Decision, add_job, job_event};

impl Core {
    /// A look was taken: judge it, settle the publication or plan the next look, and end the look's job, all at once.
    pub(super) async fn looked(&self, look_job: &Job, run_lease: RunLease, look: &Look) -> Result<()> {
        let Some(posting) = look_job.posting else { return Ok(()) };
        let account = self.store.find_account(look_job.workspace, look_job.account).await?;
        let when_absent = account.map(|account| account.when_absent).unwrap_or_default();
        for _ in 0..TRIES {
            let Some(current) = self.store.find_job(look_job.workspace, look_job.id).await? else {
                return Ok(());
            };
            let decided = self
                .decide(look_job.workspace, posting, |publication, now| {
                    self.judged(publication, &current, run_lease, look, when_absent, now)
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
        Err(Error::contention())
    }

    fn judged(
        &self,
        publication: &Publication,
        look_job: &Job,
        run_lease: RunLease,
        look: &Look,
        when_absent: WhenAbsent,
        now: Timestamp,
    ) -> Result<Option<Decision>> {
        let intent = &publication.intent;
        if intent.state != publish::State::Unknown || look_job.intent != Some(intent.id) {
            return Ok(None);
        }
        let begun = look_job.run_started_at.unwrap_or(look_job.created_at);
        let (event, next) = judge(intent, look, &self.looks, begun, now);
        let kept = record(intent, look, look_job.id, &event, now);
        let mut with = Change { events: vec![look_event(look_job, &kept)], ..Change::default() };
        with.look = Some(ChangeLook {
            workspace: intent.workspace,
            posting: intent.posting,
            intent: intent.id,
            look: kept,
        });
        let ended = job::step(look_job, job::Event::Succeed(run_lease), now)?;
        add_job(&mut with, look_job, &ended);
        if let Some(delay) = next {
            let following = self.look_job(&publication.job, intent, now + delay, now);
            with.events.push(job_event(&following));
            with.new_jobs.push(following);
        }
        let receipt = match &event {
            publish::Event::Found(item) => Some(found_receipt(intent, item, look_job, look)),
            _ => None,
        };
        let event = match (event, when_absent) {
            (publish::Event::ProvenAbsent, WhenAbsent::PostAgain) => posting::Event::ProvenAbsentOnceMore,
            (event, _) => posting::Event::Intent(event),
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
            if let Some(job) = self.look_job_in(publication, state).await? {
                return match self.apply(&job, job::Event::Resume).await {
                    // Another one goes on already.
                    Err(error) if error.reason != Reason::LookOpen => Err(error),
                    _ => Ok(true),
                };
            }
        }
        Ok(false)
    }

    /// Takes a look as soon as the agent can, and not only at the planned time.
    pub async fn request_look(&self, caller: &Caller, id: PostingId) -> Result<Posting> {
        audit::about(Target::Posting, id.0);
        for _ in 0..TRIES {
            let publication = self.publication(caller, id).await?;
            if publication.intent.state != publish::State::Unknown {
                return Err(Error::new(Reason::WrongState, no_look(&publication)));
            }
            if self.resume_look(&publication).await? {
                return Ok(publication.posting);
            }
            let (now, mut change) = (self.now(), Change::default());
            match self.look_job_in(&publication, job::State::Queued).await? {
                Some(planned) if planned.run_after <= now => return Ok(publication.posting),
                Some(planned) => {
                    let at_once = Job { run_after: now, updated_at: now, ..planned.clone() };
                    change.events.push(job_event(&at_once));
                    change.jobs.push(at_once);
                }
                // One is under way, or has just ended: then the next one is planned already.
                None if self.look_under_way(&publication).await? => return Ok(publication.posting),
                None => {
                    let look = self.look_job(&publication.job, &publication.intent, now, now);
                    change.events.push(job_event(&look));
                    change.new_jobs.push(look);
                }
            }
            match self.store.commit(change, now).await {
                Ok(()) => return Ok(publication.posting),
                Err(StoreError::Stale) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contention())
    }

    /// What the looks for a posting's listing saw.
    pub async fn looks(&self, caller: &Caller, id: PostingId) -> Result<Vec<LookRecord>> {
        self.posting(caller, id).await?;
        Ok(self.store.list_looks(caller.workspace, id).await?)
    }

    async fn look_under_way(&self, publication: &Publication) -> Result<bool> {
        for state in [job::State::Leased, job::State::Running, job::State::Parked] {
            if self.look_job_in(publication, state).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn look_job_in(&self, publication: &Publication, state: job::State) -> Result<Option<Job>> {
        let account = Some(publication.posting.account);
        let filter = tradepost_store::JobFilter { state: Some(state), account, dead_letters: false };
        let page = PageRequest { limit: 200, after: None };
        let jobs = self.store.list_jobs(publication.posting.workspace, filter, page).await?;
        let ours = |job: &Job| job.kind == job::Kind::Reconcile && job.intent == Some(publication.intent.id);
        Ok(jobs.rows.into_iter().find(ours))
    }
}

/// A receipt of a publication that a later look confirmed, with the page as that look read it back.
fn found_receipt(intent: &Intent, item: &publish::PublishedItem, look_job: &Job, look: &Look) -> Receipt {
    let page = look.page.as_ref().filter(|page| page.item_id == item.item_id);
    let new = look.items.iter().filter(|seen| !intent.baseline.contains(&seen.item_id));
    Receipt {
        item: item.clone(),
        baseline_count: intent.baseline.len(),
        read_back: page.map(|page| page.read_back.clone()).unwrap_or_default(),
        evidence: look.evidence.clone(),
        recipe: page.map_or_else(|| String::from("scan"), |page| page.recipe.clone()),
        agent: look_job.agent,
        prepare_ms: 0,
        confirm_ms: 0,
        trail: Trail {
            witness: Witness::Look,
            new_items: new.map(|seen| seen.item_id.clone()).collect(),
            count_after: look.whole.then_some(look.total),
            permit_ms: 0,
            resolution: None,
        },
    }
}

fn look_event(look_job: &Job, look: &LookRecord) -> NewEvent {
    NewEvent {
        workspace: look_job.workspace,
        kind: event::Kind::LookTaken,
        subject: Subject {
            account: Some(look_job.account),
            posting: look_job.posting,
            job: Some(look_job.id),
            agent: Some(look_job.agent),
            listing: None,
        },
        data: json!({ "seq": look.seq, "whole": look.whole, "total": look.total, "new": look.new.len() }),
    }
}

/// Why no look is taken for this posting, and what to do instead.
fn no_look(publication: &Publication) -> String {
    let what = match publication.intent.state {
        publish::State::Armed => "its agent still has time to report; a look follows if it does not",
        publish::State::NeedsHuman | publish::State::Duplicate => {
            "looking could not settle it; say what is on the site: `tradepost postings resolve`"
        }
        publish::State::Confirmed => "it is published",
        publish::State::Absent => "looking has shown already that it is not on the site",
        _ => "its click has not been sent",
    };
    format!("there is nothing to look for: {what}")
}
