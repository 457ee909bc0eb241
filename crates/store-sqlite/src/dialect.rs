//! What SQLite does its own way. One writer: a row that was read is held, and batches are loops of a prepared statement.

use serde_json::Value;
use tradepost_domain::id::{AgentId, JobId, ListingId, RunLease, SessionEpoch, WorkspaceId};
use tradepost_store::Step;
use uuid::Uuid;

use crate::backend::Conn;
use crate::shared::{Appended, Fault, duration_micros, status_name};
use crate::time::Time;

/// Whether `epoch` is the agent's newest stream and the agent neither revoked nor locked; stays so until the transaction ends.
pub(crate) async fn hold_stream(conn: &mut Conn, agent: AgentId, epoch: SessionEpoch) -> Result<bool, Fault> {
    let held = sqlx::query_scalar!(
        r#"SELECT id AS "id!: Uuid" FROM agents
           WHERE id = $1 AND session_epoch = $2 AND revoked_at IS NULL AND locked_at IS NULL"#,
        agent.0,
        epoch.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

/// Whether the listing exists and is not deleted; stays so until the transaction ends.
pub(crate) async fn hold_listing(
    conn: &mut Conn,
    workspace: WorkspaceId,
    listing: ListingId,
) -> Result<bool, Fault> {
    let held = sqlx::query_scalar!(
        r#"SELECT id AS "id!: Uuid" FROM listings WHERE id = $1 AND workspace_id = $2 AND deleted_at IS NULL"#,
        listing.0,
        workspace.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

/// Whether the data key is in use; stays so until the transaction ends.
pub(crate) async fn hold_data_key(conn: &mut Conn, scope: Uuid, version: i64) -> Result<bool, Fault> {
    let held = sqlx::query_scalar!(
        r#"SELECT version AS "version!" FROM data_keys
           WHERE scope_id = $1 AND version = $2 AND superseded_at IS NULL"#,
        scope,
        version,
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

/// Extends the leases of those runs that are current, and returns them.
pub(crate) async fn extend_leases(
    conn: &mut Conn,
    agent: AgentId,
    runs: &[(JobId, RunLease)],
    until: Time,
) -> Result<Vec<(JobId, RunLease)>, Fault> {
    let mut current = Vec::with_capacity(runs.len());
    for &(job, run_lease) in runs {
        let extended = sqlx::query!(
            "UPDATE jobs SET lease_until = $4, version = version + 1
             WHERE id = $1 AND agent_id = $2 AND run_lease = $3 AND state = 'running'",
            job.0,
            agent.0,
            run_lease.0,
            until,
        )
        .execute(&mut *conn)
        .await?;
        if extended.rows_affected() == 1 {
            current.push((job, run_lease));
        }
    }
    Ok(current)
}

/// Records when those streams were heard that are current, and returns their agents.
pub(crate) async fn touch_agents(
    conn: &mut Conn,
    heard: &[(AgentId, SessionEpoch)],
    now: Time,
) -> Result<Vec<AgentId>, Fault> {
    let mut current = Vec::with_capacity(heard.len());
    for &(agent, epoch) in heard {
        let touched = sqlx::query!(
            "UPDATE agents SET last_seen_at = $3
             WHERE id = $1 AND session_epoch = $2 AND revoked_at IS NULL AND locked_at IS NULL",
            agent.0,
            epoch.0,
            now,
        )
        .execute(&mut *conn)
        .await?;
        if touched.rows_affected() == 1 {
            current.push(agent);
        }
    }
    Ok(current)
}

/// When the next queued job of accounts bound to `agents` becomes ready, of those that wait for their time.
pub(crate) async fn next_run_after(
    conn: &mut Conn,
    agents: &[AgentId],
    now: Time,
) -> Result<Option<Time>, Fault> {
    let mut next: Option<Time> = None;
    for agent in agents {
        let found = sqlx::query_scalar!(
            r#"SELECT min(j.run_after) AS "run_after?: Time" FROM accounts a JOIN jobs j ON j.account_id = a.id
               WHERE a.agent_id = $1 AND j.state = 'queued' AND j.run_after > $2"#,
            agent.0,
            now,
        )
        .fetch_one(&mut *conn)
        .await?;
        next = next.into_iter().chain(found).min_by_key(|time| time.0);
    }
    Ok(next)
}

/// Appends the events of one workspace.
pub(crate) async fn insert_events(conn: &mut Conn, events: &[Appended<'_>], now: Time) -> Result<(), Fault> {
    for Appended { seq, event } in events {
        let subject = &event.subject;
        sqlx::query!(
            "INSERT INTO events
                 (workspace_id, seq, stored_at, kind, account_id, listing_id, posting_id, job_id, agent_id, data)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            event.workspace.0,
            seq,
            now,
            event.kind.name(),
            subject.account.map(|id| id.0),
            subject.listing.map(|id| id.0),
            subject.posting.map(|id| id.0),
            subject.job.map(|id| id.0),
            subject.agent.map(|id| id.0),
            &event.data as &Value,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Stores those reports of a run that are new, and returns their numbers.
pub(crate) async fn insert_steps(
    conn: &mut Conn,
    job: JobId,
    run_lease: RunLease,
    steps: &[Step],
    now: Time,
) -> Result<Vec<i64>, Fault> {
    let mut fresh = Vec::with_capacity(steps.len());
    for step in steps {
        let seq = i64::from(step.seq);
        let inserted = sqlx::query!(
            "INSERT INTO run_steps
                 (job_id, run_lease, seq, phase, name, status, detail, duration_us, step_index, step_total, stored_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (job_id, run_lease, seq) DO NOTHING",
            job.0,
            run_lease.0,
            seq,
            step.phase,
            step.name,
            status_name(step.status),
            step.detail,
            duration_micros(step),
            i64::from(step.index),
            i64::from(step.total),
            now,
        )
        .execute(&mut *conn)
        .await?;
        if inserted.rows_affected() == 1 {
            fresh.push(seq);
        }
    }
    Ok(fresh)
}

/// The newest run lease given out.
pub(crate) async fn newest_lease(conn: &mut Conn) -> Result<RunLease, Fault> {
    let newest = sqlx::query_scalar!(r#"SELECT value AS "value!" FROM counters WHERE name = 'run_leases'"#)
        .fetch_one(&mut *conn)
        .await?;
    Ok(RunLease(newest))
}

/// Later run leases are greater than `above`.
pub(crate) async fn raise_leases(conn: &mut Conn, above: RunLease) -> Result<(), Fault> {
    sqlx::query!("UPDATE counters SET value = $1 WHERE name = 'run_leases' AND value < $1", above.0)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Deletes the oldest step reports, at most `limit`; returns how many.
pub(crate) async fn forget_steps(conn: &mut Conn, before: Time, limit: i64) -> Result<u64, Fault> {
    let forgotten = sqlx::query!(
        "DELETE FROM run_steps WHERE (job_id, run_lease, seq) IN (
             SELECT job_id, run_lease, seq FROM run_steps WHERE stored_at < $1 ORDER BY stored_at LIMIT $2)",
        before,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(forgotten.rows_affected())
}
