//! Jobs, runs, intents and postings. Writes of a [`Change`] are in [`super::commit`].

use async_trait::async_trait;
use serde_json::Value;
use tradepost_domain::id::{
    AccountId, AgentId, IntentId, JobId, ListingId, PermitId, PostingId, RunLease, WorkspaceId,
};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::Pacing;
use tradepost_domain::posting::{self, Posting, Publication, Receipt};
use tradepost_domain::publish::Intent;
use tradepost_domain::time::Timestamp;
use tradepost_store::{
    Change, Claim, Cursor, Error, JobFilter, PageRequest, PostingFilter, RunSteps, Slice, Step, StoredStep,
    Work,
};
use uuid::Uuid;

use super::rows::{PostingRow, count, intents, jobs, postings};
use super::runs::runs;
use super::{Fault, IntentRow, JobRow, RunRow, pacing, page, steps};
use crate::backend::{Backend, Conn};
use crate::dialect;
use crate::time::Time;

struct StateCount {
    state: String,
    jobs: i64,
}

#[async_trait]
impl Work for Backend {
    async fn commit(&self, change: Change, now: Timestamp) -> Result<(), Error> {
        self.commit_change(change, now).await
    }

    async fn claim_jobs(&self, claim: Claim, now: Timestamp) -> Result<Vec<Job>, Error> {
        if claim.limit == 0 || claim.agents.iter().all(|(_, _, slots)| *slots == 0) {
            return Ok(Vec::new());
        }
        self.commit_claim(claim, now).await
    }

    async fn extend_leases(
        &self,
        agent: AgentId,
        runs: &[(JobId, RunLease)],
        now: Timestamp,
    ) -> Result<Vec<(JobId, RunLease)>, Error> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        self.commit_beat(agent, runs, now).await
    }

    async fn append_steps(
        &self,
        agent: AgentId,
        job: JobId,
        run_lease: RunLease,
        steps: Vec<Step>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.commit_steps(steps::in_order(RunSteps { agent, job, run_lease, steps }), now).await
    }

    async fn list_steps(&self, workspace: WorkspaceId, job: JobId) -> Result<Vec<StoredStep>, Error> {
        self.read(async |conn| steps::list(conn, workspace, job).await).await
    }

    async fn find_job(&self, workspace: WorkspaceId, id: JobId) -> Result<Option<Job>, Error> {
        self.read(async |conn| find_job(conn, workspace, id).await).await
    }

    async fn find_agent_job(&self, agent: AgentId, id: JobId) -> Result<Option<Job>, Error> {
        self.read(async |conn| {
            jobs!("SELECT", "FROM jobs WHERE id = $1 AND agent_id = $2", id.0, agent.0)
                .fetch_optional(&mut *conn)
                .await?
                .map(JobRow::into_job)
                .transpose()
        })
        .await
    }

    async fn list_jobs(
        &self,
        workspace: WorkspaceId,
        filter: JobFilter,
        page: PageRequest,
    ) -> Result<Slice<Job>, Error> {
        self.read(async |conn| {
            let rows = list_jobs(conn, workspace, filter, &page).await?;
            let jobs = rows.into_iter().map(JobRow::into_job).collect::<Result<Vec<_>, _>>()?;
            Ok(page::slice(jobs, &page, |job| Cursor::Newest(job.created_at, job.id.0)))
        })
        .await
    }

    async fn list_agent_runs(&self, agent: AgentId) -> Result<Vec<Job>, Error> {
        self.runs_of(agent).await
    }

    async fn list_expired_leases(&self, now: Timestamp, limit: u32) -> Result<Vec<Job>, Error> {
        self.read(async |conn| {
            jobs!(
                "SELECT",
                "FROM jobs WHERE state IN ('leased', 'running') AND lease_until <= $1 ORDER BY lease_until LIMIT $2",
                Time(now),
                i64::from(limit)
            )
            .fetch_all(&mut *conn)
            .await?
            .into_iter()
            .map(JobRow::into_job)
            .collect()
        })
        .await
    }

    async fn list_overdue_intents(&self, now: Timestamp, limit: u32) -> Result<Vec<Intent>, Error> {
        self.read(async |conn| {
            intents!(
                "WHERE i.state = 'armed' AND i.report_by <= $1 ORDER BY i.report_by LIMIT $2",
                Time(now),
                i64::from(limit)
            )
            .fetch_all(&mut *conn)
            .await?
            .into_iter()
            .map(IntentRow::into_intent)
            .collect()
        })
        .await
    }

    async fn find_pacing(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Option<Pacing>, Error> {
        self.pacing_of(workspace, account, now).await
    }

    async fn list_ended_windows(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(WorkspaceId, AccountId)>, Error> {
        self.read(async |conn| pacing::list_ended_windows(conn, now, limit).await).await
    }

    async fn list_run_starts(
        &self,
        account: AccountId,
        kind: job::Kind,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, Error> {
        self.read(async |conn| pacing::list_run_starts(conn, account, kind, since).await).await
    }

    async fn count_ahead(&self, job: &Job, now: Timestamp) -> Result<u32, Error> {
        self.read(async |conn| pacing::count_ahead(conn, job, now).await).await
    }

    async fn find_account_run(&self, account: AccountId) -> Result<Option<Job>, Error> {
        self.read(async |conn| pacing::find_account_run(conn, account).await).await
    }

    async fn find_open_login(&self, account: AccountId) -> Result<Option<Job>, Error> {
        self.read(async |conn| pacing::find_open_login(conn, account).await).await
    }

    async fn find_open_look(&self, intent: IntentId) -> Result<Option<Job>, Error> {
        self.read(async |conn| pacing::find_open_look(conn, intent).await).await
    }

    async fn next_run_after(&self, agents: &[AgentId], now: Timestamp) -> Result<Option<Timestamp>, Error> {
        self.read(async |conn| Ok(dialect::next_run_after(conn, agents, Time(now)).await?.map(|time| time.0)))
            .await
    }

    async fn find_publication(
        &self,
        workspace: WorkspaceId,
        id: PostingId,
    ) -> Result<Option<Publication>, Error> {
        self.read(async |conn| {
            let row = runs!("WHERE p.id = $1 AND p.workspace_id = $2", id.0, workspace.0)
                .fetch_optional(&mut *conn)
                .await?;
            Ok(row.map(RunRow::into_run).transpose()?.and_then(|run| run.publication))
        })
        .await
    }

    async fn find_posting(&self, workspace: WorkspaceId, id: PostingId) -> Result<Option<Posting>, Error> {
        self.read(async |conn| find_posting(conn, workspace, id).await).await
    }

    async fn find_published_posting(
        &self,
        workspace: WorkspaceId,
        listing: ListingId,
        account: AccountId,
    ) -> Result<Option<Posting>, Error> {
        self.read(async |conn| {
            postings!(
                "WHERE listing_id = $1 AND account_id = $2 AND workspace_id = $3 AND state = 'published'
                 ORDER BY created_at DESC, id DESC LIMIT 1",
                listing.0,
                account.0,
                workspace.0
            )
            .fetch_optional(&mut *conn)
            .await?
            .map(PostingRow::into_posting)
            .transpose()
        })
        .await
    }

    async fn list_postings(
        &self,
        workspace: WorkspaceId,
        filter: PostingFilter,
        page: PageRequest,
    ) -> Result<Slice<Posting>, Error> {
        self.read(async |conn| {
            let rows = list_postings(conn, workspace, filter, &page).await?;
            let postings = rows.into_iter().map(PostingRow::into_posting).collect::<Result<Vec<_>, _>>()?;
            Ok(page::slice(postings, &page, |posting| Cursor::Newest(posting.created_at, posting.id.0)))
        })
        .await
    }

    async fn find_intent(&self, id: IntentId) -> Result<Option<Intent>, Error> {
        self.read(async |conn| find_intent(conn, id).await).await
    }

    async fn find_intent_by_permit(&self, permit: PermitId) -> Result<Option<Intent>, Error> {
        self.read(async |conn| {
            intents!("WHERE i.permit_id = $1", permit.0)
                .fetch_optional(&mut *conn)
                .await?
                .map(IntentRow::into_intent)
                .transpose()
        })
        .await
    }

    async fn find_receipt(
        &self,
        workspace: WorkspaceId,
        posting: PostingId,
    ) -> Result<Option<Receipt>, Error> {
        self.read(async |conn| {
            let stored = sqlx::query_scalar!(
                r#"SELECT receipt AS "receipt!: Value" FROM receipts
                   WHERE posting_id = $1 AND workspace_id = $2 ORDER BY created_at DESC LIMIT 1"#,
                posting.0,
                workspace.0,
            )
            .fetch_optional(&mut *conn)
            .await?;
            stored
                .map(|value| {
                    serde_json::from_value(value)
                        .map_err(|error| Fault::inconsistent("receipts.receipt", posting, error))
                })
                .transpose()
        })
        .await
    }

    async fn count_jobs(&self) -> Result<Vec<(job::State, u64)>, Error> {
        self.read(async |conn| {
            let rows = sqlx::query_as!(
                StateCount,
                r#"SELECT 'queued' AS "state!", count(*) AS "jobs!: i64" FROM jobs WHERE state = 'queued'
                   UNION ALL SELECT 'leased', count(*) FROM jobs WHERE state = 'leased' AND state IN ('leased', 'running')
                   UNION ALL SELECT 'running', count(*) FROM jobs WHERE state = 'running' AND state IN ('leased', 'running')
                   UNION ALL SELECT 'parked', count(*) FROM jobs
                       WHERE state = 'parked' AND state IN ('parked', 'needs_human', 'uncertain')
                   UNION ALL SELECT 'needs_human', count(*) FROM jobs
                       WHERE state = 'needs_human' AND state IN ('parked', 'needs_human', 'uncertain')
                   UNION ALL SELECT 'uncertain', count(*) FROM jobs
                       WHERE state = 'uncertain' AND state IN ('parked', 'needs_human', 'uncertain')"#
            )
            .fetch_all(&mut *conn)
            .await?;
            rows.into_iter()
                .map(|row| {
                    let state = job::State::from_name(&row.state)
                        .ok_or_else(|| Fault::inconsistent("jobs.state", "(any)", &row.state))?;
                    Ok((state, u64::from(count("count of jobs", &row.state, row.jobs)?)))
                })
                .collect()
        })
        .await
    }
}

async fn find_job(conn: &mut Conn, workspace: WorkspaceId, id: JobId) -> Result<Option<Job>, Fault> {
    jobs!("SELECT", "FROM jobs WHERE id = $1 AND workspace_id = $2", id.0, workspace.0)
        .fetch_optional(&mut *conn)
        .await?
        .map(JobRow::into_job)
        .transpose()
}

async fn find_posting(
    conn: &mut Conn,
    workspace: WorkspaceId,
    id: PostingId,
) -> Result<Option<Posting>, Fault> {
    postings!("WHERE id = $1 AND workspace_id = $2", id.0, workspace.0)
        .fetch_optional(&mut *conn)
        .await?
        .map(PostingRow::into_posting)
        .transpose()
}

async fn find_intent(conn: &mut Conn, id: IntentId) -> Result<Option<Intent>, Fault> {
    intents!("WHERE i.id = $1", id.0)
        .fetch_optional(&mut *conn)
        .await?
        .map(IntentRow::into_intent)
        .transpose()
}

/// Four statements, as each filter has its own index: dead letters, of an account, of a state, of the workspace.
async fn list_jobs(
    conn: &mut Conn,
    workspace: WorkspaceId,
    filter: JobFilter,
    page: &PageRequest,
) -> Result<Vec<JobRow>, Fault> {
    let (at, id, limit) = page::newest(page)?;
    let state = filter.state.map(job::State::name);
    if filter.dead_letters {
        return Ok(jobs!(
            "SELECT",
            "FROM jobs WHERE workspace_id = $1 AND state = 'failed' AND discarded_at IS NULL
               AND (account_id = $2 OR $2 IS NULL) AND (created_at, id) < ($3, $4)
             ORDER BY created_at DESC, id DESC LIMIT $5",
            workspace.0,
            filter.account.map(|account| account.0),
            at,
            id,
            limit
        )
        .fetch_all(&mut *conn)
        .await?);
    }
    Ok(match (filter.account, state) {
        (Some(account), state) => {
            jobs!(
                "SELECT",
                "FROM jobs WHERE account_id = $2 AND workspace_id = $1 AND (state = $3 OR $3 IS NULL)
                   AND (created_at, id) < ($4, $5) ORDER BY created_at DESC, id DESC LIMIT $6",
                workspace.0,
                account.0,
                state,
                at,
                id,
                limit
            )
            .fetch_all(&mut *conn)
            .await?
        }
        (None, Some(state)) => {
            jobs!(
                "SELECT",
                "FROM jobs WHERE workspace_id = $1 AND state = $2 AND (created_at, id) < ($3, $4)
                 ORDER BY created_at DESC, id DESC LIMIT $5",
                workspace.0,
                state,
                at,
                id,
                limit
            )
            .fetch_all(&mut *conn)
            .await?
        }
        (None, None) => {
            jobs!(
                "SELECT",
                "FROM jobs WHERE workspace_id = $1 AND (created_at, id) < ($2, $3)
                 ORDER BY created_at DESC, id DESC LIMIT $4",
                workspace.0,
                at,
                id,
                limit
            )
            .fetch_all(&mut *conn)
            .await?
        }
    })
}

/// As [`list_jobs`].
async fn list_postings(
    conn: &mut Conn,
    workspace: WorkspaceId,
    filter: PostingFilter,
    page: &PageRequest,
) -> Result<Vec<PostingRow>, Fault> {
    let (at, id, limit) = page::newest(page)?;
    let state = filter.state.map(posting::State::name);
    Ok(match (filter.account, state) {
        (Some(account), state) => {
            postings!(
                "WHERE account_id = $2 AND workspace_id = $1 AND (state = $3 OR $3 IS NULL)
                   AND (created_at, id) < ($4, $5) ORDER BY created_at DESC, id DESC LIMIT $6",
                workspace.0,
                account.0,
                state,
                at,
                id,
                limit
            )
            .fetch_all(&mut *conn)
            .await?
        }
        (None, Some(state)) => {
            postings!(
                "WHERE workspace_id = $1 AND state = $2 AND (created_at, id) < ($3, $4)
                 ORDER BY created_at DESC, id DESC LIMIT $5",
                workspace.0,
                state,
                at,
                id,
                limit
            )
            .fetch_all(&mut *conn)
            .await?
        }
        (None, None) => {
            postings!(
                "WHERE workspace_id = $1 AND (created_at, id) < ($2, $3)
                 ORDER BY created_at DESC, id DESC LIMIT $4",
                workspace.0,
                at,
                id,
                limit
            )
            .fetch_all(&mut *conn)
            .await?
        }
    })
}
