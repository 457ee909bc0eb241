//! An agent's stream: its begin, its beats, its end, and the reconciliation of what it does with what it should do.

use std::collections::HashSet;

use tradepost_domain::agent::Agent;
use tradepost_domain::fleet::{FleetEpoch, Knowledge};
use tradepost_domain::id::{AgentId, BootId, SessionEpoch, WorkspaceId};
use tradepost_domain::job;
use tradepost_store::{Attachment, Error as StoreError};

use super::core::Core;
use super::error::{Error, Reason, Result};
use super::run::{Run, Verdict};

/// What an agent tells of itself when its stream begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The start of the agent's process.
    pub boot: BootId,
    /// Version of its program.
    pub version: String,
    /// Operating system and architecture.
    pub platform: String,
    /// Runs in progress, and ended ones whose end was not confirmed.
    pub runs: Vec<Run>,
    /// How many runs it takes at once.
    pub slots: u32,
    /// What its journal knows.
    pub knowledge: Knowledge,
    /// See [`tradepost_domain::standing`].
    pub join_counter: i64,
}

/// A stream that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// The stream's number.
    pub epoch: SessionEpoch,
    /// The agent's tenant.
    pub workspace: WorkspaceId,
    /// The present life of the database.
    pub fleet: FleetEpoch,
    /// Whether the agent has to recount its journal before it gets work.
    pub owes_recount: bool,
}

/// How an agent's runs stand after a reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Runs that go on.
    pub keep: Vec<Run>,
    /// Runs that the agent ends without a report.
    pub forget: Vec<Run>,
    /// Runs whose end a person wishes.
    pub cancel: Vec<Run>,
}

impl Core {
    /// Records that this controller holds the agent's newest stream.
    pub async fn attach(&self, agent: AgentId, greeting: &Greeting) -> Result<Attached> {
        let fleet = self.recognise(agent, &greeting.knowledge).await?;
        self.join(agent, greeting.boot, greeting.join_counter).await?;
        let attachment = Attachment {
            agent,
            boot: greeting.boot,
            controller: self.controller,
            platform: greeting.platform.chars().take(80).collect(),
            program_version: greeting.version.chars().take(80).collect(),
            known_epoch: greeting.knowledge.session_epoch,
        };
        match self.store.attach_agent(attachment, self.now()).await {
            Err(StoreError::Stale) => {
                // It was revoked or locked since.
                self.admitted_agent(agent).await?;
                Err(Error::contention())
            }
            attached => {
                let Agent { workspace, epoch, .. } = attached?;
                let owes_recount = self.store.find_owed(agent).await?.is_some();
                Ok(Attached { epoch, workspace, fleet, owes_recount })
            }
        }
    }

    /// Records the stream's end, unless a newer one exists.
    pub async fn detach(&self, agent: AgentId, epoch: SessionEpoch) -> Result<()> {
        Ok(self.store.detach_agent(agent, epoch, self.now()).await?)
    }

    /// Compares the runs an agent tells of with the rows, and mends both sides:
    ///
    /// - leased to it and told of: the lease is prolonged (a dispatch whose acknowledgement was lost is acknowledged);
    /// - parked and told of: the agent was away for longer than the lease and works on it still, so the run goes on;
    /// - leased to it and not told of: its run is over; the job goes on as its state and its intent demand;
    /// - told of and not leased to it: it is to forget the run, unless the run is the witness of an unsettled click.
    ///
    /// `first` is set for the greeting of a stream: only then an agent that does not know a run has lost it for certain;
    /// later, the dispatch may be under way.
    pub async fn reconcile_runs(&self, agent: AgentId, told: &[Run], first: bool) -> Result<Reconciled> {
        let rows = self.store.list_agent_runs(agent).await?;
        let mut known: HashSet<Run> = HashSet::new();
        let mut reconciled = Reconciled::default();
        for job in &rows {
            let Some(run_lease) = job.run_lease else { continue };
            let run = (job.id, run_lease);
            let is_told = told.contains(&run);
            match job.state {
                job::State::Leased | job::State::Running if is_told => {
                    known.insert(run);
                    if job.state == job::State::Leased {
                        self.run_acknowledged(agent, run).await?;
                    }
                    if job.cancel_requested {
                        reconciled.cancel.push(run);
                    }
                }
                job::State::Parked if is_told => known.extend(self.take_up(job, run).await?),
                job::State::Parked => self.resume_parked(job).await?,
                _ if first => self.resume_parked(job).await?,
                _ => {}
            }
        }
        let alive: Vec<Run> = told.iter().copied().filter(|run| known.contains(run)).collect();
        if !alive.is_empty() {
            self.store.extend_leases(agent, &alive, self.now()).await?;
        }
        for run in told {
            let keep = known.contains(run) || self.verdict(agent, *run).await? == Verdict::Keep;
            if keep { reconciled.keep.push(*run) } else { reconciled.forget.push(*run) }
        }
        Ok(reconciled)
    }

    /// The agent is back with its parked run. Returns the run if it goes on.
    async fn take_up(&self, job: &job::Job, run: Run) -> Result<Option<Run>> {
        match self.apply(job, job::Event::Acknowledge(run.1)).await {
            Ok(()) => {
                tracing::info!(job = %job.id, agent = %job.agent, "the agent is back with its run");
                Ok(Some(run))
            }
            Err(error) if matches!(error.reason, Reason::WrongState | Reason::StaleRun) => Ok(None),
            // Another job of the account runs by now: this one waits for its turn again.
            Err(error) if error.reason == Reason::Contention => {
                self.resume_parked(job).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The agent is there, and works on this job no more: it goes on as its state and its intent demand.
    async fn resume_parked(&self, job: &job::Job) -> Result<()> {
        match self.apply(job, job::Event::AgentBack).await {
            Err(error) if matches!(error.reason, Reason::WrongState | Reason::StaleRun) => {
                tracing::debug!(job = %job.id, %error, "the job has moved on");
                Ok(())
            }
            applied => applied,
        }
    }
}
