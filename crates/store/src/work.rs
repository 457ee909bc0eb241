//! Jobs, runs, intents and postings.

use std::time::Duration;

use async_trait::async_trait;
use tradepost_domain::event::NewEvent;
use tradepost_domain::id::{
    AccountId, AgentId, IntentId, JobId, ListingId, PermitId, PostingId, RunLease, SessionEpoch, WorkspaceId,
};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::Pacing;
use tradepost_domain::posting::{self, Posting, Publication, Receipt};
use tradepost_domain::publish::Intent;
use tradepost_domain::reconcile::LookRecord;
use tradepost_domain::time::Timestamp;

use crate::{Error, PageRequest, Slice};

/// One atomic change of work rows: everything or nothing.
///
/// Rows in `pacing`, `jobs`, `intents` and `postings` are written if the stored version is still theirs (it is then counted up);
/// any mismatch makes the whole change `Stale`. New rows are inserted; an existing id makes it `Conflict::Id`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    /// The agent's stream that asks for the change must still be its newest.
    pub guard: Option<EpochGuard>,
    /// Changed pacing of accounts: own policy, pause, cool-down, window. The uses are not written: they follow from the
    /// intents.
    pub pacing: Vec<Pacing>,
    /// Changed jobs. `Conflict::LoginOpen` and `Conflict::LookOpen` come from here and from new ones.
    pub jobs: Vec<Job>,
    /// Changed intents. `Conflict::AccountBusy` and `Conflict::ItemTaken` come from here. The baseline is written while
    /// the intent is Preparing or Prepared, and never after.
    pub intents: Vec<Intent>,
    /// Changed postings.
    pub postings: Vec<Posting>,
    /// New jobs.
    pub new_jobs: Vec<Job>,
    /// New intents; written before the changed rows that refer to them.
    pub new_intents: Vec<Intent>,
    /// New postings. `Conflict::PostingOpen` comes from here; a deleted listing makes the change `Stale`.
    pub new_postings: Vec<Posting>,
    /// A receipt to keep; an intent's first one is kept.
    pub receipt: Option<ChangeReceipt>,
    /// What a look saw; a repeat of its number changes nothing.
    pub look: Option<ChangeLook>,
    /// Told in the feed.
    pub events: Vec<NewEvent>,
}

/// A look with what it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeLook {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The posting.
    pub posting: PostingId,
    /// The intent that was looked for.
    pub intent: IntentId,
    /// What was seen.
    pub look: LookRecord,
}

/// A receipt with what it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeReceipt {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The posting.
    pub posting: PostingId,
    /// The intent it proves.
    pub intent: IntentId,
    /// The proof.
    pub receipt: Receipt,
}

/// The stream that must be an agent's newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochGuard {
    /// The agent.
    pub agent: AgentId,
    /// The stream.
    pub epoch: SessionEpoch,
}

/// Which agents to claim for, and how many jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Agents attached to the asking controller, with their streams and free slots; each once, and those that shall be
    /// served first stand first.
    pub agents: Vec<(AgentId, SessionEpoch, u32)>,
    /// At most this many jobs in all.
    pub limit: u32,
}

/// Which jobs to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only in this state.
    pub state: Option<job::State>,
    /// Only of this account.
    pub account: Option<AccountId>,
    /// Only dead letters: Failed, and not put aside by a person. `state` does not matter then.
    pub dead_letters: bool,
}

/// Which postings to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PostingFilter {
    /// Only in this state.
    pub state: Option<posting::State>,
    /// Only of this account.
    pub account: Option<AccountId>,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepStatus {
    /// It began.
    Started,
    /// It ended well.
    Succeeded,
    /// It failed.
    Failed,
    /// It was not needed.
    Skipped,
}

/// One step report of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Counts the run's reports from 1; a repeat changes nothing.
    pub seq: u32,
    /// `start`, `prepare`, `commit`, `confirm` or `reconcile`.
    pub phase: String,
    /// The step's name.
    pub name: String,
    /// How it stands.
    pub status: StepStatus,
    /// What is worth telling.
    pub detail: String,
    /// How long it took; none in `Started`.
    pub duration: Option<Duration>,
    /// Place in its phase, from 1; 0 when unknown.
    pub index: u32,
    /// Steps in its phase; 0 when unknown.
    pub total: u32,
}

/// Step reports of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSteps {
    /// The agent that works on it.
    pub agent: AgentId,
    /// Its job.
    pub job: JobId,
    /// The run.
    pub run_lease: RunLease,
    /// The reports.
    pub steps: Vec<Step>,
}

/// A step report as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStep {
    /// The run.
    pub run_lease: RunLease,
    /// The report.
    pub step: Step,
    /// When it was stored.
    pub at: Timestamp,
}

/// Jobs, runs, intents, postings.
#[async_trait]
pub trait Work: Send + Sync {
    /// Applies a change; see [`Change`]. Wakes who waits for its rows after the commit. Changes with intents that are
    /// Armed are durable against power loss when this returns.
    async fn commit(&self, change: Change, now: Timestamp) -> Result<(), Error>;

    /// Claims ready jobs (Queued, `run_after` passed) for agents whose stream is still the given one: at most one
    /// Leased or Running job per account at a time, at most the free slots per agent, the earliest [`job::turn`] first;
    /// each gets a `run_lease` greater than any before, state Leased, and `lease_until` = now +
    /// [`job::ACKNOWLEDGE_WITHIN`]. The same rules as [`job::step`] with [`job::Event::Claim`]. Postings of claimed jobs
    /// become Running. Jobs of paused accounts are passed over; publish jobs also while their account has an Armed or
    /// Unknown intent, and outside its window ([`tradepost_domain::pacing::Window`]).
    ///
    /// When more is ready than `limit`, each agent gets its first job before any gets its second, in the order of
    /// [`Claim::agents`].
    ///
    /// Jobs follow their account: those of accounts bound to the agent are claimed, whatever agent they were made for, and
    /// name the claiming agent from then on. Told in the feed: `job.changed` with `state`, `kind`, `attempt`, `run_lease`,
    /// and `posting.changed` with `state`.
    async fn claim_jobs(&self, claim: Claim, now: Timestamp) -> Result<Vec<Job>, Error>;

    /// Extends the leases of Running jobs to now + [`job::LEASE`] where `run_lease` and agent match, and counts their
    /// versions, so that a sweep that read the older lease is `Stale`. Returns the runs that are no longer current.
    async fn extend_leases(
        &self,
        agent: AgentId,
        runs: &[(JobId, RunLease)],
        now: Timestamp,
    ) -> Result<Vec<(JobId, RunLease)>, Error>;

    /// Appends step reports of one run of a job of `agent`, with an event each (`run.step`); `Stale` when the run is not
    /// the job's present one. Repeated `seq`s are dropped. The events' data has `run_lease` and the fields of [`Step`], the
    /// duration as `duration_ms`.
    async fn append_steps(
        &self,
        agent: AgentId,
        job: JobId,
        run_lease: RunLease,
        steps: Vec<Step>,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Steps of a job, oldest first, at most the newest 2,000.
    async fn list_steps(&self, workspace: WorkspaceId, job: JobId) -> Result<Vec<StoredStep>, Error>;

    /// One job.
    async fn find_job(&self, workspace: WorkspaceId, id: JobId) -> Result<Option<Job>, Error>;

    /// One job of an agent, whatever the workspace: for the agent's own calls.
    async fn find_agent_job(&self, agent: AgentId, id: JobId) -> Result<Option<Job>, Error>;

    /// Newest first.
    async fn list_jobs(
        &self,
        workspace: WorkspaceId,
        filter: JobFilter,
        page: PageRequest,
    ) -> Result<Slice<Job>, Error>;

    /// Jobs of an agent that are Leased, Running or Parked.
    async fn list_agent_runs(&self, agent: AgentId) -> Result<Vec<Job>, Error>;

    /// Leased and Running jobs whose lease has ended, at most `limit`.
    async fn list_expired_leases(&self, now: Timestamp, limit: u32) -> Result<Vec<Job>, Error>;

    /// Armed intents whose report is overdue, at most `limit`.
    async fn list_overdue_intents(&self, now: Timestamp, limit: u32) -> Result<Vec<Intent>, Error>;

    /// How the pacing of an account stands, with what was used up to `now`.
    async fn find_pacing(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Option<Pacing>, Error>;

    /// Accounts whose window has ended, at most `limit`.
    async fn list_ended_windows(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(WorkspaceId, AccountId)>, Error>;

    /// When runs of sign-ins or looks of an account began after `since`, each as often as its job was run, at most 1,000.
    /// Of a job with several runs only the newest one's time is known; all of them count as of then.
    async fn list_run_starts(
        &self,
        account: AccountId,
        kind: job::Kind,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, Error>;

    /// How many ready jobs of the account go before `job` by their turn; counted up to 1,000.
    async fn count_ahead(&self, job: &Job, now: Timestamp) -> Result<u32, Error>;

    /// The job of an account that is Leased or Running.
    async fn find_account_run(&self, account: AccountId) -> Result<Option<Job>, Error>;

    /// The sign-in of an account that has not ended.
    async fn find_open_login(&self, account: AccountId) -> Result<Option<Job>, Error>;

    /// The look for an intent that has not ended.
    async fn find_open_look(&self, intent: IntentId) -> Result<Option<Job>, Error>;

    /// The time when the next Queued job of one of `agents` becomes ready, if any is waiting for its time.
    async fn next_run_after(&self, agents: &[AgentId], now: Timestamp) -> Result<Option<Timestamp>, Error>;

    /// A posting with its job and its newest intent.
    async fn find_publication(
        &self,
        workspace: WorkspaceId,
        id: PostingId,
    ) -> Result<Option<Publication>, Error>;

    /// One posting.
    async fn find_posting(&self, workspace: WorkspaceId, id: PostingId) -> Result<Option<Posting>, Error>;

    /// The newest Published posting of a listing on an account.
    async fn find_published_posting(
        &self,
        workspace: WorkspaceId,
        listing: ListingId,
        account: AccountId,
    ) -> Result<Option<Posting>, Error>;

    /// Newest first.
    async fn list_postings(
        &self,
        workspace: WorkspaceId,
        filter: PostingFilter,
        page: PageRequest,
    ) -> Result<Slice<Posting>, Error>;

    /// One intent, whatever the workspace; the caller checks that it is the agent's.
    async fn find_intent(&self, id: IntentId) -> Result<Option<Intent>, Error>;

    /// The intent that a permit belongs to.
    async fn find_intent_by_permit(&self, permit: PermitId) -> Result<Option<Intent>, Error>;

    /// The receipt of a posting.
    async fn find_receipt(
        &self,
        workspace: WorkspaceId,
        posting: PostingId,
    ) -> Result<Option<Receipt>, Error>;

    /// Counts of jobs by state, for metrics.
    async fn count_jobs(&self) -> Result<Vec<(job::State, u64)>, Error>;
}
