//! What PostgreSQL does its own way: row locks, claims that skip locked rows, batches by `UNNEST`.

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
           WHERE id = $1 AND session_epoch = $2 AND revoked_at IS NULL AND locked_at IS NULL FOR SHARE"#,
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
        r#"SELECT id AS "id!: Uuid" FROM listings
           WHERE id = $1 AND workspace_id = $2 AND deleted_at IS NULL FOR SHARE"#,
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
           WHERE scope_id = $1 AND version = $2 AND superseded_at IS NULL FOR SHARE"#,
        scope,
        version,
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

/// Records when those streams were heard that are current, and returns their agents.
pub(crate) async fn touch_agents(
    conn: &mut Conn,
    heard: &[(AgentId, SessionEpoch)],
    now: Time,
) -> Result<Vec<AgentId>, Fault> {
    let ids: Vec<Uuid> = heard.iter().map(|(agent, _)| agent.0).collect();
    let epochs: Vec<i64> = heard.iter().map(|(_, epoch)| epoch.0).collect();
    let current = sqlx::query_scalar!(
        r#"WITH held AS MATERIALIZED (
               SELECT a.id AS held_agent, w.epoch AS held_epoch
               FROM UNNEST($1::uuid[], $2::bigint[]) AS w (id, epoch) JOIN agents a ON a.id = w.id
               ORDER BY a.id FOR NO KEY UPDATE OF a
           )
           UPDATE agents SET last_seen_at = $3 FROM held
           WHERE id = held_agent AND session_epoch = held_epoch AND revoked_at IS NULL AND locked_at IS NULL
           RETURNING id AS "id!: Uuid""#,
        &ids,
        &epochs,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(current.into_iter().map(AgentId).collect())
}

/// When the next queued job of accounts bound to `agents` becomes ready, of those that wait for their time.
pub(crate) async fn next_run_after(
    conn: &mut Conn,
    agents: &[AgentId],
    now: Time,
) -> Result<Option<Time>, Fault> {
    let agents: Vec<Uuid> = agents.iter().map(|agent| agent.0).collect();
    Ok(sqlx::query_scalar!(
        r#"SELECT min(j.run_after) AS "run_after?: Time" FROM accounts a JOIN jobs j ON j.account_id = a.id
           WHERE a.agent_id = ANY($1) AND j.state = 'queued' AND j.run_after > $2"#,
        &agents,
        now,
    )
    .fetch_one(conn)
    .await?)
}

/// Appends the events of one workspace.
pub(crate) async fn insert_events(conn: &mut Conn, events: &[Appended<'_>], now: Time) -> Result<(), Fault> {
    let events: Vec<_> =
        events.iter().map(|&Appended { seq, event }| (now, Appended { seq, event })).collect();
    insert_events_at(conn, &events).await
}

/// Appends events, each with its time.
pub(crate) async fn insert_events_at(conn: &mut Conn, events: &[(Time, Appended<'_>)]) -> Result<(), Fault> {
    let subjects = || events.iter().map(|(_, appended)| appended.event.subject);
    let workspaces: Vec<Uuid> = events.iter().map(|(_, appended)| appended.event.workspace.0).collect();
    let seqs: Vec<i64> = events.iter().map(|(_, appended)| appended.seq).collect();
    let times: Vec<Time> = events.iter().map(|(time, _)| *time).collect();
    let kinds: Vec<String> =
        events.iter().map(|(_, appended)| appended.event.kind.name().to_owned()).collect();
    let accounts: Vec<Option<Uuid>> = subjects().map(|subject| subject.account.map(|id| id.0)).collect();
    let listings: Vec<Option<Uuid>> = subjects().map(|subject| subject.listing.map(|id| id.0)).collect();
    let postings: Vec<Option<Uuid>> = subjects().map(|subject| subject.posting.map(|id| id.0)).collect();
    let jobs: Vec<Option<Uuid>> = subjects().map(|subject| subject.job.map(|id| id.0)).collect();
    let agents: Vec<Option<Uuid>> = subjects().map(|subject| subject.agent.map(|id| id.0)).collect();
    let data: Vec<Value> = events.iter().map(|(_, appended)| appended.event.data.clone()).collect();
    sqlx::query!(
        "INSERT INTO events
             (workspace_id, seq, stored_at, kind, account_id, listing_id, posting_id, job_id, agent_id, data)
         SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::uuid[], $6::uuid[],
                              $7::uuid[], $8::uuid[], $9::uuid[], $10::jsonb[])",
        &workspaces,
        &seqs,
        &times as &[Time],
        &kinds,
        &accounts as &[Option<Uuid>],
        &listings as &[Option<Uuid>],
        &postings as &[Option<Uuid>],
        &jobs as &[Option<Uuid>],
        &agents as &[Option<Uuid>],
        &data,
    )
    .execute(conn)
    .await?;
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
    let seqs: Vec<i64> = steps.iter().map(|step| i64::from(step.seq)).collect();
    let phases: Vec<String> = steps.iter().map(|step| step.phase.clone()).collect();
    let names: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
    let statuses: Vec<String> = steps.iter().map(|step| status_name(step.status).to_owned()).collect();
    let details: Vec<String> = steps.iter().map(|step| step.detail.clone()).collect();
    let durations: Vec<Option<i64>> = steps.iter().map(duration_micros).collect();
    let indexes: Vec<i64> = steps.iter().map(|step| i64::from(step.index)).collect();
    let totals: Vec<i64> = steps.iter().map(|step| i64::from(step.total)).collect();
    Ok(sqlx::query_scalar!(
        r#"INSERT INTO run_steps
               (job_id, run_lease, seq, phase, name, status, detail, duration_us, step_index, step_total, stored_at)
           SELECT $1, $2, s, p, n, t, d, u, i, o, $11
           FROM UNNEST($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
                       $10::bigint[]) AS r (s, p, n, t, d, u, i, o)
           ON CONFLICT (job_id, run_lease, seq) DO NOTHING RETURNING seq AS "seq!""#,
        job.0,
        run_lease.0,
        &seqs,
        &phases,
        &names,
        &statuses,
        &details,
        &durations as &[Option<i64>],
        &indexes,
        &totals,
        now,
    )
    .fetch_all(conn)
    .await?)
}

/// The newest run lease given out.
pub(crate) async fn newest_lease(conn: &mut Conn) -> Result<RunLease, Fault> {
    let newest = sqlx::query_scalar!(
        r#"SELECT coalesce(pg_sequence_last_value(CAST('run_leases' AS regclass)), 0) AS "value!""#
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok(RunLease(newest))
}

/// Later run leases are greater than `above`.
pub(crate) async fn raise_leases(conn: &mut Conn, above: RunLease) -> Result<(), Fault> {
    sqlx::query_scalar!(
        "SELECT setval('run_leases', greatest($1, pg_sequence_last_value(CAST('run_leases' AS regclass))))",
        above.0
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok(())
}

/// Deletes the oldest step reports, at most `limit`; returns how many. By their places in the table: any other way reads the
/// table as soon as the planner takes the unknown limit for a tenth of it.
pub(crate) async fn forget_steps(conn: &mut Conn, before: Time, limit: i64) -> Result<u64, Fault> {
    let forgotten = sqlx::query!(
        "DELETE FROM run_steps WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM run_steps WHERE stored_at < $1 ORDER BY stored_at LIMIT $2 FOR UPDATE))",
        before as Time,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(forgotten.rows_affected())
}
