//! Claims: jobs are leased one by one, in the one writer's transaction.

use std::collections::HashSet;

use serde_json::{Value, json};
use tradepost_domain::event::{Kind, NewEvent, Subject};
use tradepost_domain::id::{AgentId, JobId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::posting;
use tradepost_domain::time::Timestamp;
use tradepost_store::Claim;
use uuid::Uuid;

use crate::backend::Conn;
use crate::dialect;
use crate::shared::{Fault, JobRow, Tx, jobs};
use crate::time::Time;

/// See `Work::claim_jobs`: claims, shows the postings as running, and tells both in the feed.
pub(crate) async fn claim_jobs(mut tx: Tx<'_>, claim: Claim, now: Timestamp) -> Result<Vec<Job>, Fault> {
    let until = Time(now + job::ACKNOWLEDGE_WITHIN);
    let rows = take(tx.conn, claim, Time(now), until).await?;
    let mut jobs = rows.into_iter().map(JobRow::into_job).collect::<Result<Vec<_>, _>>()?;
    jobs.sort_unstable_by_key(|job| (job.turn(), job.id));
    let publishing: Vec<JobId> =
        jobs.iter().filter(|job| job.kind == job::Kind::Publish).map(|job| job.id).collect();
    let shown = show_running(tx.conn, &publishing, Time(now)).await?;
    let mut events = Vec::with_capacity(jobs.len() * 2);
    for job in &jobs {
        let subject = Subject {
            account: Some(job.account),
            posting: job.posting,
            job: Some(job.id),
            agent: Some(job.agent),
            ..Subject::default()
        };
        let told = |kind, data| NewEvent { workspace: job.workspace, kind, subject, data };
        let run_lease = job.run_lease.map(|lease| lease.0);
        events.push(told(
            Kind::JobChanged,
            json!({ "state": job.state.name(), "kind": job.kind.name(), "attempt": job.attempt,
                    "run_lease": run_lease }),
        ));
        if shown.contains(&job.id) {
            events.push(told(Kind::PostingChanged, json!({ "state": posting::State::Running.name() })));
        }
    }
    tx.append_events(&events, now).await?;
    Ok(jobs)
}

async fn take(conn: &mut Conn, claim: Claim, now: Time, until: Time) -> Result<Vec<JobRow>, Fault> {
    let limit = usize::try_from(claim.limit).unwrap_or(usize::MAX);
    let mut ready = Vec::new();
    let mut with_work = 0;
    for (agent, epoch, slots) in claim.agents {
        if slots == 0 || !dialect::hold_stream(conn, agent, epoch).await? {
            continue;
        }
        let jobs = ready_jobs(conn, agent, slots, now).await?;
        with_work += usize::from(!jobs.is_empty());
        ready.extend(jobs.into_iter().enumerate().map(|(place, job)| (place, agent, job)));
        // First jobs go before second ones, so that no later agent can get a share.
        if with_work >= limit {
            break;
        }
    }
    // Stable: among equal places, the agents keep their order.
    ready.sort_by_key(|(place, ..)| *place);
    let mut claimed = Vec::new();
    for (_, agent, id) in ready.into_iter().take(limit) {
        claimed.push(lease(conn, id, agent, now, until).await?);
    }
    Ok(claimed)
}

struct Candidate {
    id: Uuid,
    account_id: Uuid,
}

/// The best ready job of each free account of the agent, best first. Of each account at most two jobs are looked at: its
/// best publication, if it may publish (`CASE` looks at the queue only then), and the best of its other jobs. Jobs follow
/// the account's binding. The indexes are named, as the planner may prefer to sort all that wait.
async fn ready_jobs(conn: &mut Conn, agent: AgentId, slots: u32, now: Time) -> Result<Vec<Uuid>, Fault> {
    let candidates = sqlx::query_as!(
        Candidate,
        r#"SELECT j.id AS "id!: Uuid", j.account_id AS "account_id!: Uuid" FROM accounts a JOIN jobs j ON j.id IN (
               CASE WHEN a.publish_from <= $2 AND (a.publish_until IS NULL OR a.publish_until > $2)
                         AND NOT EXISTS (SELECT 1 FROM intents i
                                         WHERE i.account_id = a.id AND i.state IN ('armed', 'unknown'))
                    THEN (SELECT p.id FROM jobs p INDEXED BY jobs_publications
                          WHERE p.account_id = a.id AND p.state = 'queued' AND p.kind = 'publish'
                            AND p.run_after <= $2 ORDER BY p.turn_at, p.id LIMIT 1) END,
               (SELECT e.id FROM jobs e INDEXED BY jobs_errands
                WHERE e.account_id = a.id AND e.state = 'queued' AND e.kind <> 'publish'
                  AND e.run_after <= $2 ORDER BY e.turn_at, e.id LIMIT 1))
           WHERE a.agent_id = $1 AND a.paused_at IS NULL AND NOT EXISTS (
               SELECT 1 FROM jobs r WHERE r.account_id = a.id AND r.state IN ('leased', 'running'))
           ORDER BY j.turn_at, j.id"#,
        agent.0,
        now,
    )
    .fetch_all(conn)
    .await?;
    let mut accounts = HashSet::new();
    let best = candidates.into_iter().filter(|candidate| accounts.insert(candidate.account_id));
    Ok(best.map(|candidate| candidate.id).take(usize::try_from(slots).unwrap_or(usize::MAX)).collect())
}

async fn lease(conn: &mut Conn, id: Uuid, agent: AgentId, now: Time, until: Time) -> Result<JobRow, Fault> {
    let run_lease = sqlx::query_scalar!(
        r#"UPDATE counters SET value = value + 1 WHERE name = 'run_leases' RETURNING value AS "value!""#
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok(jobs!(
        "UPDATE jobs SET agent_id = $2, state = 'leased', attempt = attempt + 1, run_lease = $3, lease_until = $4,
             run_started_at = $5, updated_at = $5, version = version + 1
         WHERE id = $1 AND state = 'queued' RETURNING",
        "",
        id,
        agent.0,
        run_lease,
        until,
        now
    )
    .fetch_one(conn)
    .await?)
}

/// The queued postings of claimed publish jobs are being worked on; returns the jobs whose postings changed.
async fn show_running(conn: &mut Conn, jobs: &[JobId], now: Time) -> Result<Vec<JobId>, Fault> {
    let mut shown = Vec::with_capacity(jobs.len());
    for job in jobs {
        let updated = sqlx::query!(
            "UPDATE postings SET state = 'running', updated_at = $2, version = version + 1
             WHERE job_id = $1 AND state = 'queued'",
            job.0,
            now,
        )
        .execute(&mut *conn)
        .await?;
        if updated.rows_affected() == 1 {
            shown.push(*job);
        }
    }
    Ok(shown)
}
