//! Load, decide, store: how jobs and publications change.
//!
//! [`Core::decide`] and [`Core::decide_job`] are the only ways in which work rows change after their creation. Both are
//! optimistic: rows that were changed meanwhile are loaded and decided on anew.

use serde_json::json;
use tradepost_domain::event::{self, NewEvent, Subject};
use tradepost_domain::id::{IntentId, JobId, PostingId, Version, WorkspaceId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::posting::{self, Effect, Publication, Receipt};
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Change, ChangeReceipt, EpochGuard, Error as StoreError};

use super::core::{Caller, Core, TRIES};
use super::error::{Error, Reason, Result};

/// What shall happen to a publication.
#[derive(Debug)]
pub struct Decision {
    /// The event.
    pub event: posting::Event,
    /// The stream that asks must still be the agent's newest.
    pub guard: Option<EpochGuard>,
    /// The proof, with an event that confirms.
    pub receipt: Option<Receipt>,
    /// Other rows that change with it.
    pub with: Change,
}

impl From<posting::Event> for Decision {
    fn from(event: posting::Event) -> Self {
        Self { event, guard: None, receipt: None, with: Change::default() }
    }
}

impl From<job::Event> for Decision {
    fn from(event: job::Event) -> Self {
        posting::Event::Job(event).into()
    }
}

impl From<publish::Event> for Decision {
    fn from(event: publish::Event) -> Self {
        posting::Event::Intent(event).into()
    }
}

impl Core {
    /// Loads a publication, asks `choose` what shall happen, and stores what becomes of it. `choose` may be asked several
    /// times; `None` leaves everything as it is. Returns the publication as it is then.
    pub async fn decide<F>(
        &self,
        workspace: WorkspaceId,
        posting: PostingId,
        choose: F,
    ) -> Result<Publication>
    where
        F: Fn(&Publication, Timestamp) -> Result<Option<Decision>> + Send + Sync,
    {
        self.decide_from(None, workspace, posting, choose).await
    }

    /// The same, on a first guess: a publication that was read a moment ago.
    pub async fn decide_from<F>(
        &self,
        mut guess: Option<Publication>,
        workspace: WorkspaceId,
        posting: PostingId,
        choose: F,
    ) -> Result<Publication>
    where
        F: Fn(&Publication, Timestamp) -> Result<Option<Decision>> + Send + Sync,
    {
        let mut guarded = false;
        for _ in 0..TRIES {
            let before = match guess.take() {
                Some(guess) => guess,
                None => self
                    .store
                    .find_publication(workspace, posting)
                    .await?
                    .ok_or_else(|| Error::not_found(Reason::PostingNotFound, "posting", posting))?,
            };
            let now = self.now();
            let Some(decision) = choose(&before, now)? else { return Ok(before) };
            guarded = decision.guard.is_some();
            let (after, mut change) = self.step(&before, decision, now)?;
            if change == Change::default() {
                return Ok(after);
            }
            self.pace_publication(&mut change, &before, now).await?;
            self.space(&mut change, now).await?;
            match self.store.commit(change, now).await {
                Ok(()) => return Ok(after),
                Err(StoreError::Stale) => tracing::debug!(%posting, "changed meanwhile; deciding anew"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(if guarded { Error::stale_run() } else { Error::contention() })
    }

    /// The same for a job that serves no publication's click: sign-ins and looks.
    pub async fn decide_job<F>(&self, workspace: WorkspaceId, id: JobId, choose: F) -> Result<Job>
    where
        F: Fn(&Job, Timestamp) -> Result<Option<job::Event>> + Send + Sync,
    {
        self.decide_job_telling(workspace, id, &[], choose).await
    }

    /// The same, with events that tell of it.
    pub(super) async fn decide_job_telling<F>(
        &self,
        workspace: WorkspaceId,
        id: JobId,
        told: &[NewEvent],
        choose: F,
    ) -> Result<Job>
    where
        F: Fn(&Job, Timestamp) -> Result<Option<job::Event>> + Send + Sync,
    {
        for _ in 0..TRIES {
            let before = self
                .store
                .find_job(workspace, id)
                .await?
                .ok_or_else(|| Error::not_found(Reason::JobNotFound, "job", id))?;
            let now = self.now();
            let Some(event) = choose(&before, now)? else { return Ok(before) };
            let after = job::step(&before, event, now)?;
            if after == before {
                return Ok(after);
            }
            let mut change = Change { events: told.to_vec(), ..Change::default() };
            add_job(&mut change, &before, &after);
            self.pace_job(&mut change, &before, now).await?;
            self.space(&mut change, now).await?;
            match self.store.commit(change, now).await {
                Ok(()) => return Ok(after),
                Err(StoreError::Stale) => tracing::debug!(job = %id, "changed meanwhile; deciding anew"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contention())
    }

    /// Applies an event to a job of any kind: publish jobs change together with their publication.
    pub async fn apply(&self, job: &Job, event: job::Event) -> Result<()> {
        self.apply_from(None, job, event).await
    }

    /// The same, on a first guess of the publication.
    pub async fn apply_from(&self, guess: Option<Publication>, job: &Job, event: job::Event) -> Result<()> {
        match (job.kind, job.posting) {
            (job::Kind::Publish, Some(posting)) => {
                let choose = |_: &Publication, _| Ok(Some(event.clone().into()));
                self.decide_from(guess, job.workspace, posting, choose).await.map(drop)
            }
            _ => self.decide_job(job.workspace, job.id, |_, _| Ok(Some(event.clone()))).await.map(drop),
        }
    }

    /// The publication after the decision, with everything that is to be stored for it.
    fn step(
        &self,
        before: &Publication,
        decision: Decision,
        now: Timestamp,
    ) -> Result<(Publication, Change)> {
        let Decision { event, guard, receipt, with: mut change } = decision;
        let (after, effects) = posting::step(before, event, IntentId(self.id()), now)?;
        if after.job != before.job {
            add_job(&mut change, &before.job, &after.job);
        }
        let mut ended = after.intent.clone();
        for effect in effects {
            match effect {
                Effect::NewGeneration { ended: old, fresh } => {
                    ended = *old;
                    change.events.push(intent_event(&fresh, &after));
                    change.new_intents.push(*fresh);
                }
                Effect::Look => {
                    let look = self.look_job(&after.job, &ended, now + self.looks.first(), now);
                    change.events.push(job_event(&look));
                    change.new_jobs.push(look);
                }
            }
        }
        if ended != before.intent {
            if ended.state != before.intent.state {
                change.events.push(intent_event(&ended, &after));
            }
            change.intents.push(ended.clone());
        }
        if after.posting != before.posting {
            change.events.push(posting_event(&after.posting));
            change.postings.push(after.posting.clone());
        }
        if let Some(receipt) = receipt {
            let (workspace, posting) = (after.posting.workspace, after.posting.id);
            change.events.push(NewEvent {
                workspace,
                kind: event::Kind::ReceiptStored,
                subject: subject(&after),
                data: json!({ "generation": ended.generation }),
            });
            change.receipt = Some(ChangeReceipt { workspace, posting, intent: ended.id, receipt });
        }
        if change != Change::default() {
            change.guard = guard;
        }
        Ok((after, change))
    }

    /// A job that looks for the listing of `intent`, on the publish job's agent.
    pub fn look_job(&self, publish: &Job, intent: &Intent, run_after: Timestamp, now: Timestamp) -> Job {
        Job {
            id: JobId(self.id()),
            kind: job::Kind::Reconcile,
            intent: Some(intent.id),
            state: job::State::Queued,
            priority: LOOK_PRIORITY,
            attempt: 0,
            run_lease: None,
            lease_until: None,
            run_started_at: None,
            run_after,
            cancel_requested: false,
            failure: None,
            discarded_at: None,
            created_at: now,
            updated_at: now,
            version: Version(1),
            ..publish.clone()
        }
    }
}

/// Finding out what became of a click goes before new clicks.
const LOOK_PRIORITY: i32 = 50;

/// Adds a changed job, and its event when its state changed.
pub fn add_job(change: &mut Change, before: &Job, after: &Job) {
    if before.state != after.state || before.cancel_requested != after.cancel_requested {
        change.events.push(job_event(after));
    }
    change.jobs.push(after.clone());
}

/// The event of a new or changed job.
pub fn job_event(job: &Job) -> NewEvent {
    let failure =
        job.failure.as_ref().map(|failure| json!({"class": failure.class.name(), "step": failure.step}));
    NewEvent {
        workspace: job.workspace,
        kind: event::Kind::JobChanged,
        subject: Subject {
            account: Some(job.account),
            posting: job.posting,
            job: Some(job.id),
            agent: Some(job.agent),
            listing: None,
        },
        data: json!({
            "kind": job.kind.name(),
            "state": job.state.name(),
            "attempt": job.attempt,
            "run_lease": job.run_lease.map(|lease| lease.0),
            "cancel_requested": job.cancel_requested,
            "failure": failure,
        }),
    }
}

/// What a person did to a job, told in the feed.
pub fn told_of(job: &Job, by: &Caller, mut data: serde_json::Value) -> NewEvent {
    let mut event = job_event(job);
    if let (Some(all), Some(new)) = (event.data.as_object_mut(), data.as_object_mut()) {
        all.append(new);
        all.insert(String::from("by"), json!(by.user.to_string()));
    }
    event
}

/// The event of a changed posting.
pub fn posting_event(posting: &posting::Posting) -> NewEvent {
    NewEvent {
        workspace: posting.workspace,
        kind: event::Kind::PostingChanged,
        subject: Subject {
            account: Some(posting.account),
            listing: Some(posting.listing),
            posting: Some(posting.id),
            job: Some(posting.job),
            agent: None,
        },
        data: json!({
            "state": posting.state.name(),
            "generation": posting.generation,
            "failure": posting.failure.as_ref().map(|failure| failure.class.name()),
        }),
    }
}

fn intent_event(intent: &Intent, publication: &Publication) -> NewEvent {
    NewEvent {
        workspace: intent.workspace,
        kind: event::Kind::IntentChanged,
        subject: subject(publication),
        data: json!({ "state": intent.state.name(), "generation": intent.generation }),
    }
}

fn subject(publication: &Publication) -> Subject {
    Subject {
        account: Some(publication.posting.account),
        listing: Some(publication.posting.listing),
        posting: Some(publication.posting.id),
        job: Some(publication.job.id),
        agent: Some(publication.job.agent),
    }
}
