//! Jobs, runs, intents and postings.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::event::{Kind, NewEvent, Subject};
use tradepost_domain::id::{
    AccountId, AgentId, IntentId, JobId, ListingId, PermitId, PostingId, RunLease, WorkspaceId,
};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::Pacing;
use tradepost_domain::posting::{self, Posting, Publication, Receipt};
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::time::Timestamp;

use super::commit::runs;
use super::{Model, Tables, Tx, commit, feed, newest};
use crate::{Change, Claim, Error, JobFilter, PageRequest, PostingFilter, Slice, Step, StoredStep, Work};

/// Most steps of a job that are listed.
const STEPS_MAX: usize = 2000;

#[async_trait]
impl Work for Model {
    async fn commit(&self, change: Change, now: Timestamp) -> Result<(), Error> {
        self.write(|tx| commit::apply(tx, change, now))
    }

    async fn claim_jobs(&self, claim: Claim, now: Timestamp) -> Result<Vec<Job>, Error> {
        self.write(|tx| claim_jobs(tx, &claim, now))
    }

    async fn extend_leases(
        &self,
        agent: AgentId,
        runs: &[(JobId, RunLease)],
        now: Timestamp,
    ) -> Result<Vec<(JobId, RunLease)>, Error> {
        let mut told = runs.to_vec();
        told.sort_unstable();
        self.write(|tx| {
            let mut over = Vec::new();
            for (id, run_lease) in told {
                let current = tx.tables.jobs.get(id).filter(|job| {
                    job.agent == agent && job.run_lease == Some(run_lease) && job.state == job::State::Running
                });
                let Some(mut job) = current.cloned() else {
                    over.push((id, run_lease));
                    continue;
                };
                job.lease_until = Some(now + job::LEASE);
                job.version.0 += 1;
                tx.tables.jobs.put(id, job);
            }
            Ok(over)
        })
    }

    async fn append_steps(
        &self,
        agent: AgentId,
        job: JobId,
        run_lease: RunLease,
        steps: Vec<Step>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(|tx| feed::append_steps(tx, agent, job, run_lease, steps, now))
    }

    async fn list_steps(&self, workspace: WorkspaceId, job: JobId) -> Result<Vec<StoredStep>, Error> {
        Ok(self.read(|tables| {
            if tables.jobs.get(job).is_none_or(|job| job.workspace != workspace) {
                return Vec::new();
            }
            let first = (job, RunLease(i64::MIN), 0);
            let ours = tables.steps.from(first).take_while(|((owner, ..), _)| *owner == job);
            let mut steps: Vec<StoredStep> = ours.map(|(_, step)| step.clone()).collect();
            steps.drain(..steps.len().saturating_sub(STEPS_MAX));
            steps
        }))
    }

    async fn find_job(&self, workspace: WorkspaceId, id: JobId) -> Result<Option<Job>, Error> {
        Ok(self.read(|tables| tables.job(workspace, id).cloned()))
    }

    async fn find_agent_job(&self, agent: AgentId, id: JobId) -> Result<Option<Job>, Error> {
        Ok(self.read(|tables| tables.jobs.get(id).filter(|job| job.agent == agent).cloned()))
    }

    async fn list_jobs(
        &self,
        workspace: WorkspaceId,
        filter: JobFilter,
        page: PageRequest,
    ) -> Result<Slice<Job>, Error> {
        self.read(|tables| {
            let wanted = tables.jobs.rows().filter(|job| {
                job.workspace == workspace
                    && filter.account.is_none_or(|account| job.account == account)
                    && if filter.dead_letters {
                        job.state == job::State::Failed && job.discarded_at.is_none()
                    } else {
                        filter.state.is_none_or(|state| job.state == state)
                    }
            });
            newest(wanted.cloned(), |job| (job.created_at, job.id.0), &page)
        })
    }

    async fn list_agent_runs(&self, agent: AgentId) -> Result<Vec<Job>, Error> {
        Ok(self.read(|tables| {
            let ours = tables
                .jobs
                .rows()
                .filter(|job| job.agent == agent && (runs(job) || job.state == job::State::Parked));
            sorted(ours, |job| (job.created_at, job.id))
        }))
    }

    async fn list_expired_leases(&self, now: Timestamp, limit: u32) -> Result<Vec<Job>, Error> {
        Ok(self.read(|tables| {
            let expired = tables
                .jobs
                .rows()
                .filter(|job| runs(job) && job.lease_until.is_some_and(|until| until <= now));
            first(sorted(expired, |job| (job.lease_until, job.id)), limit)
        }))
    }

    async fn list_overdue_intents(&self, now: Timestamp, limit: u32) -> Result<Vec<Intent>, Error> {
        Ok(self.read(|tables| {
            let report_by = |intent: &Intent| intent.permit.as_ref().map(|permit| permit.report_by);
            let overdue = tables.intents.rows().filter(|intent| {
                intent.state == publish::State::Armed && report_by(intent).is_some_and(|by| by <= now)
            });
            let overdue = first(sorted(overdue, |intent| (report_by(intent), intent.id)), limit);
            overdue.iter().map(|intent| tables.with_baseline(intent)).collect()
        }))
    }

    async fn find_pacing(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Option<Pacing>, Error> {
        Ok(self.read(|tables| tables.pacing(workspace, account, now)))
    }

    async fn list_ended_windows(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(WorkspaceId, AccountId)>, Error> {
        Ok(self.read(|tables| tables.ended_windows(now, limit)))
    }

    async fn list_run_starts(
        &self,
        account: AccountId,
        kind: job::Kind,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, Error> {
        Ok(self.read(|tables| tables.run_starts(account, kind, since)))
    }

    async fn count_ahead(&self, job: &Job, now: Timestamp) -> Result<u32, Error> {
        Ok(self.read(|tables| tables.count_ahead(job, now)))
    }

    async fn find_account_run(&self, account: AccountId) -> Result<Option<Job>, Error> {
        Ok(self.read(|tables| tables.jobs.rows().find(|job| job.account == account && runs(job)).cloned()))
    }

    async fn find_open_login(&self, account: AccountId) -> Result<Option<Job>, Error> {
        let is_it = |job: &Job| job.account == account && job.kind == job::Kind::Login;
        Ok(self.read(|tables| tables.open_errand(is_it)))
    }

    async fn find_open_look(&self, intent: IntentId) -> Result<Option<Job>, Error> {
        let is_it = |job: &Job| job.intent == Some(intent) && job.kind == job::Kind::Reconcile;
        Ok(self.read(|tables| tables.open_errand(is_it)))
    }

    async fn next_run_after(&self, agents: &[AgentId], now: Timestamp) -> Result<Option<Timestamp>, Error> {
        Ok(self.read(|tables| {
            let bound = |job: &&Job| {
                let agent = tables.accounts.get(job.account).and_then(|account| account.agent);
                agent.is_some_and(|agent| agents.contains(&agent))
            };
            let waiting = tables.jobs.rows().filter(|job| job.state == job::State::Queued);
            waiting.filter(bound).map(|job| job.run_after).filter(|after| *after > now).min()
        }))
    }

    async fn find_publication(
        &self,
        workspace: WorkspaceId,
        id: PostingId,
    ) -> Result<Option<Publication>, Error> {
        self.read(|tables| {
            let Some(posting) = tables.posting(workspace, id).cloned() else { return Ok(None) };
            let job = tables.job(workspace, posting.job).cloned();
            let intent = tables.intents.get(posting.intent).map(|intent| tables.with_baseline(intent));
            let (Some(job), Some(intent)) = (job, intent) else {
                return Err(Error::Inconsistent(format!(
                    "postings of row {id}: its job or intent is missing"
                )));
            };
            Ok(Some(Publication { posting, job, intent }))
        })
    }

    async fn find_posting(&self, workspace: WorkspaceId, id: PostingId) -> Result<Option<Posting>, Error> {
        Ok(self.read(|tables| tables.posting(workspace, id).cloned()))
    }

    async fn find_published_posting(
        &self,
        workspace: WorkspaceId,
        listing: ListingId,
        account: AccountId,
    ) -> Result<Option<Posting>, Error> {
        Ok(self.read(|tables| {
            let wanted = tables.postings.rows().filter(|posting| {
                (posting.workspace, posting.listing, posting.account) == (workspace, listing, account)
                    && posting.state == posting::State::Published
            });
            wanted.max_by_key(|posting| (posting.created_at, posting.id)).cloned()
        }))
    }

    async fn list_postings(
        &self,
        workspace: WorkspaceId,
        filter: PostingFilter,
        page: PageRequest,
    ) -> Result<Slice<Posting>, Error> {
        self.read(|tables| {
            let wanted = tables.postings.rows().filter(|posting| {
                posting.workspace == workspace
                    && filter.state.is_none_or(|state| posting.state == state)
                    && filter.account.is_none_or(|account| posting.account == account)
            });
            newest(wanted.cloned(), |posting| (posting.created_at, posting.id.0), &page)
        })
    }

    async fn find_intent(&self, id: IntentId) -> Result<Option<Intent>, Error> {
        Ok(self.read(|tables| tables.intents.get(id).map(|intent| tables.with_baseline(intent))))
    }

    async fn find_intent_by_permit(&self, permit: PermitId) -> Result<Option<Intent>, Error> {
        Ok(self.read(|tables| {
            let given = |intent: &&Intent| intent.permit.as_ref().is_some_and(|held| held.id == permit);
            tables.intents.rows().find(given).map(|intent| tables.with_baseline(intent))
        }))
    }

    async fn find_receipt(
        &self,
        workspace: WorkspaceId,
        posting: PostingId,
    ) -> Result<Option<Receipt>, Error> {
        Ok(self.read(|tables| {
            let ours =
                tables.receipts.rows().filter(|kept| kept.workspace == workspace && kept.posting == posting);
            ours.max_by_key(|kept| kept.created_at).map(|kept| kept.receipt.clone())
        }))
    }

    async fn count_jobs(&self) -> Result<Vec<(job::State, u64)>, Error> {
        Ok(self.read(|tables| {
            let mut counts: BTreeMap<&'static str, (job::State, u64)> = BTreeMap::new();
            for job in tables.jobs.rows() {
                counts.entry(job.state.name()).or_insert((job.state, 0)).1 += 1;
            }
            counts.into_values().collect()
        }))
    }
}

fn sorted<'t, T: Clone + 't, K: Ord>(rows: impl Iterator<Item = &'t T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut rows: Vec<T> = rows.cloned().collect();
    rows.sort_by_key(key);
    rows
}

fn first<T>(mut rows: Vec<T>, limit: u32) -> Vec<T> {
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    rows
}

/// Which of two ready jobs goes first.
fn turn(job: &Job) -> (Timestamp, JobId) {
    (job.turn(), job.id)
}

impl Tables {
    fn job(&self, workspace: WorkspaceId, id: JobId) -> Option<&Job> {
        self.jobs.get(id).filter(|job| job.workspace == workspace)
    }

    fn posting(&self, workspace: WorkspaceId, id: PostingId) -> Option<&Posting> {
        self.postings.get(id).filter(|posting| posting.workspace == workspace)
    }

    /// The best ready job of each free account of the agent, best first.
    fn ready_jobs(&self, agent: AgentId, now: Timestamp) -> Vec<Job> {
        let bound = self.accounts.rows().filter(|account| account.agent == Some(agent));
        let best = bound.filter_map(|account| {
            let of_account = || self.jobs.rows().filter(|job| job.account == account.id);
            if of_account().any(runs) || self.is_paused(account.id) {
                return None;
            }
            let unsettled = self
                .intents
                .rows()
                .any(|intent| intent.account == account.id && intent.state.holds_account());
            let may_publish = !unsettled && self.is_in_window(account.id, now);
            let ready = of_account().filter(|job| {
                job.state == job::State::Queued
                    && job.run_after <= now
                    && (may_publish || job.kind != job::Kind::Publish)
            });
            ready.min_by_key(|job| turn(job))
        });
        sorted(best, turn)
    }
}

fn claim_jobs(tx: &mut Tx<'_>, claim: &Claim, now: Timestamp) -> Result<Vec<Job>, Error> {
    let mut ready = Vec::new();
    for &(agent, epoch, slots) in &claim.agents {
        if slots > 0 && tx.tables.holds_stream(agent, epoch) {
            let jobs = first(tx.tables.ready_jobs(agent, now), slots);
            ready.extend(jobs.into_iter().enumerate().map(|(place, job)| (place, agent, job)));
        }
    }
    // Stable: first jobs go before second ones, and among equals the agents keep their order.
    ready.sort_by_key(|(place, ..)| *place);
    let mut claimed = Vec::new();
    for (_, agent, job) in first(ready, claim.limit) {
        tx.tables.run_leases += 1;
        let mut leased = Job {
            agent,
            state: job::State::Leased,
            attempt: job.attempt + 1,
            run_lease: Some(RunLease(tx.tables.run_leases)),
            lease_until: Some(now + job::ACKNOWLEDGE_WITHIN),
            run_started_at: Some(now),
            updated_at: now,
            ..job
        };
        leased.version.0 += 1;
        tx.tables.write_job(leased.clone())?;
        claimed.push(leased);
    }
    claimed.sort_by_key(turn);
    let mut events = Vec::new();
    for job in &claimed {
        let subject = Subject {
            account: Some(job.account),
            posting: job.posting,
            job: Some(job.id),
            agent: Some(job.agent),
            listing: None,
        };
        let told = |kind, data| NewEvent { workspace: job.workspace, kind, subject, data };
        let run_lease = job.run_lease.map(|lease| lease.0);
        events.push(told(
            Kind::JobChanged,
            json!({ "state": job.state.name(), "kind": job.kind.name(), "attempt": job.attempt,
                    "run_lease": run_lease }),
        ));
        if job.kind == job::Kind::Publish && show_running(tx.tables, job.id, now)? {
            events.push(told(Kind::PostingChanged, json!({ "state": posting::State::Running.name() })));
        }
    }
    tx.append_events(&events, now)?;
    Ok(claimed)
}

/// The posting of a claimed publish job is being worked on.
fn show_running(tables: &mut Tables, job: JobId, now: Timestamp) -> Result<bool, Error> {
    let waiting = |posting: &&Posting| posting.job == job && posting.state == posting::State::Queued;
    let Some(mut posting) = tables.postings.rows().find(waiting).cloned() else { return Ok(false) };
    posting.state = posting::State::Running;
    posting.updated_at = now;
    posting.version.0 += 1;
    tables.write_posting(posting)?;
    Ok(true)
}
