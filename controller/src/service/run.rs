//! Runs of jobs, as agents tell of them: taken, not taken, alive, stepped, ended.

use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::{AgentId, JobId, RunLease};
use tradepost_domain::job::{self, Job};
use tradepost_domain::lease;
pub use tradepost_domain::lease::Verdict;
use tradepost_domain::posting::Publication;
use tradepost_domain::reconcile::Look;
use tradepost_store::{Error as StoreError, FoundRun, Step};

use super::core::Core;
use super::error::{Kind, Reason, Result};

/// One run.
pub type Run = (JobId, RunLease);

/// How a run ended, as its agent tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Its work is done.
    Succeeded,
    /// It did not succeed.
    Failed(Failure),
    /// What a look saw.
    Looked(Look),
}

impl Core {
    /// The agent takes the run. `Forget` when it is no longer wanted.
    pub async fn run_acknowledged(&self, agent: AgentId, run: Run) -> Result<Verdict> {
        let event = job::Event::Acknowledge(run.1);
        let Some(guess) = self.recent.take(run).filter(|guess| guess.job.agent == agent) else {
            return self.run_event(agent, run, event).await;
        };
        let job = guess.job.clone();
        // A refusal may be the guess's fault: what is stored decides.
        match self.apply_from(Some(guess), &job, event.clone()).await {
            Ok(()) => Ok(Verdict::Keep),
            Err(error) if error.kind() == Kind::Unavailable => Err(error),
            Err(_) => self.run_event(agent, run, event).await,
        }
    }

    /// The agent does not take the run now; it is offered again.
    pub async fn run_refused(&self, agent: AgentId, run: Run, reason: &str) -> Result<()> {
        tracing::info!(%agent, job = %run.0, reason, "the agent does not take the run now");
        self.run_event(agent, run, job::Event::Refuse(run.1)).await.map(drop)
    }

    async fn run_event(&self, agent: AgentId, run: Run, event: job::Event) -> Result<Verdict> {
        let Some(found) = self.store.find_run(agent, run.0).await? else { return Ok(Verdict::Forget) };
        match self.apply_from(found.publication, &found.job, event).await {
            Ok(()) => Ok(Verdict::Keep),
            Err(error) if matches!(error.reason, Reason::StaleRun | Reason::WrongState) => {
                self.verdict(agent, run).await
            }
            Err(error) => Err(error),
        }
    }

    /// Stores steps of a run. Steps of a run that is no longer present are dropped.
    pub async fn run_stepped(&self, agent: AgentId, run: Run, steps: Vec<Step>) -> Result<()> {
        match self.store.append_steps(agent, run.0, run.1, steps, self.now()).await {
            Ok(()) => Ok(()),
            Err(StoreError::Stale) => {
                tracing::debug!(%agent, job = %run.0, "steps of an older run are dropped");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The run ended. Repeats and ends of older runs change nothing: all of them may be confirmed as stored.
    pub async fn run_ended(&self, agent: AgentId, run: Run, outcome: Outcome) -> Result<()> {
        let Some(FoundRun { job, publication }) = self.store.find_run(agent, run.0).await? else {
            return Ok(());
        };
        if job.run_lease != Some(run.1) {
            tracing::info!(%agent, job = %job.id, "the end of an older run changes nothing");
            return Ok(());
        }
        let ended = match (job.kind, outcome) {
            (job::Kind::Login, Outcome::Succeeded) => self.login_succeeded(&job, run.1).await,
            (job::Kind::Publish, Outcome::Succeeded) => {
                self.publish_ended_well(&job, publication, run.1).await
            }
            (job::Kind::Reconcile, Outcome::Looked(look)) => self.looked(&job, run.1, &look).await,
            (_, Outcome::Failed(failure)) => self.run_failed_from(publication, &job, run.1, failure).await,
            (kind, _) => {
                let message =
                    format!("the agent ended a {} run with an outcome of another kind of job", kind.name());
                self.run_failed(&job, run.1, Failure::new(FailureClass::Internal, "report", message)).await
            }
        };
        match ended {
            // The job has moved on by other means: nothing is left to store.
            Err(error) if matches!(error.reason, Reason::StaleRun | Reason::WrongState) => {
                tracing::info!(%agent, job = %job.id, %error, "the run's end comes late and changes nothing");
                Ok(())
            }
            ended => ended,
        }
    }

    /// Ends a run with a failure; the retry rules decide what follows.
    pub async fn run_failed(&self, job: &Job, run_lease: RunLease, failure: Failure) -> Result<()> {
        self.run_failed_from(None, job, run_lease, failure).await
    }

    async fn run_failed_from(
        &self,
        guess: Option<Publication>,
        job: &Job,
        run_lease: RunLease,
        failure: Failure,
    ) -> Result<()> {
        if job.kind == job::Kind::Reconcile {
            return self.look_failed(job, run_lease, failure).await;
        }
        let jitter = self.ids.unit();
        self.apply_from(guess, job, job::Event::Fail { run_lease, failure, jitter }).await
    }

    /// A publish run says that all is well: then its settlement has been stored already.
    async fn publish_ended_well(
        &self,
        job: &Job,
        publication: Option<Publication>,
        run_lease: RunLease,
    ) -> Result<()> {
        if job.state == job::State::Succeeded {
            return Ok(());
        }
        let Some(publication) = publication else { return Ok(()) };
        if publication.intent.state.holds_account() {
            return self.apply_from(Some(publication), job, job::Event::Succeed(run_lease)).await;
        }
        let message = "the agent reports a publication that it never settled";
        self.run_failed(job, run_lease, Failure::new(FailureClass::Internal, "confirm", message)).await
    }

    /// The account is signed in: jobs that waited for that go on.
    async fn login_succeeded(&self, job: &Job, run_lease: RunLease) -> Result<()> {
        self.apply(job, job::Event::Succeed(run_lease)).await?;
        let filter = tradepost_store::JobFilter {
            state: Some(job::State::NeedsHuman),
            account: Some(job.account),
            dead_letters: false,
        };
        let page = tradepost_store::PageRequest { limit: 200, after: None };
        for waiting in self.store.list_jobs(job.workspace, filter, page).await?.rows {
            let for_login = waiting.failure.as_ref().is_some_and(|failure| {
                matches!(
                    failure.class,
                    FailureClass::NeedsLogin
                        | FailureClass::NeedsSecondFactor
                        | FailureClass::NeedsCaptcha
                        | FailureClass::WrongAccount
                )
            });
            if for_login && let Err(error) = self.apply(&waiting, job::Event::Resume).await {
                tracing::info!(job = %waiting.id, %error, "a job that waited for the sign-in does not go on");
            }
        }
        Ok(())
    }

    /// Whether an agent should go on with a run that is not leased to it any more.
    pub async fn verdict(&self, agent: AgentId, run: Run) -> Result<Verdict> {
        let Some(job) = self.store.find_agent_job(agent, run.0).await? else { return Ok(Verdict::Forget) };
        Ok(lease::verdict(&job, run.1))
    }
}
