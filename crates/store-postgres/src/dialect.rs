//! What PostgreSQL does its own way: row locks, claims that skip locked rows, batches by `UNNEST`.

use serde_json::Value;
use tradepost_domain::id::{AgentId, JobId, ListingId, RunLease, SessionEpoch, WorkspaceId};
use tradepost_store::{Claim, Step};
use uuid::Uuid;

use crate::backend::Conn;
use crate::shared::{Appended, Fault, JobRow, duration_micros, jobs, status_name};
use crate::time::Time;

struct RunRow {
    job: Uuid,
    run_lease: i64,
}

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

/// Claims; see `Work::claim_jobs`. Of each account at most two jobs are looked at: its best publication, if it may publish
/// (`CASE` looks at the queue only then), and the best of its other jobs. The agents' rows are locked first: two claims for
/// one agent queue up, and the second sees what the first has taken. Jobs follow their account's binding. Runs are numbered
/// in the order of service.
pub(crate) async fn claim_jobs(
    conn: &mut Conn,
    claim: Claim,
    now: Time,
    until: Time,
) -> Result<Vec<JobRow>, Fault> {
    let ids: Vec<Uuid> = claim.agents.iter().map(|(agent, ..)| agent.0).collect();
    let epochs: Vec<i64> = claim.agents.iter().map(|(_, epoch, _)| epoch.0).collect();
    let slots: Vec<i64> = claim.agents.iter().map(|(.., slots)| i64::from(*slots)).collect();
    sqlx::query_scalar!("SELECT id FROM agents WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE", &ids)
        .fetch_all(&mut *conn)
        .await?;
    Ok(jobs!(
        "WITH attached AS MATERIALIZED (
             SELECT a.id, w.slots, w.served
             FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS w (id, epoch, slots, served)
                 JOIN agents a ON a.id = w.id AND a.session_epoch = w.epoch AND a.revoked_at IS NULL
                     AND a.locked_at IS NULL
         ), ready AS MATERIALIZED (
             SELECT q.id, t.id AS agent_id, t.slots, t.served,
                    row_number() OVER (PARTITION BY t.id ORDER BY q.turn_at, q.id) AS place
             FROM attached t JOIN accounts c ON c.agent_id = t.id AND c.paused_at IS NULL CROSS JOIN LATERAL (
                 SELECT j.id, j.turn_at FROM jobs j WHERE j.id IN (
                     CASE WHEN c.publish_from <= $4 AND (c.publish_until IS NULL OR c.publish_until > $4)
                               AND NOT EXISTS (SELECT 1 FROM intents i
                                               WHERE i.account_id = c.id AND i.state IN ('armed', 'unknown'))
                          THEN (SELECT p.id FROM jobs p
                                WHERE p.account_id = c.id AND p.state = 'queued' AND p.kind = 'publish'
                                  AND p.run_after <= $4 ORDER BY p.turn_at, p.id LIMIT 1) END,
                     (SELECT e.id FROM jobs e
                      WHERE e.account_id = c.id AND e.state = 'queued' AND e.kind <> 'publish'
                        AND e.run_after <= $4 ORDER BY e.turn_at, e.id LIMIT 1))
                 ORDER BY j.turn_at, j.id LIMIT 1) q
             WHERE NOT EXISTS (
                 SELECT 1 FROM jobs r WHERE r.account_id = c.id AND r.state IN ('leased', 'running'))
         ), picked AS MATERIALIZED (
             SELECT j.id AS picked_job, r.agent_id AS picked_agent FROM ready r JOIN jobs j ON j.id = r.id
             WHERE r.place <= r.slots AND j.state = 'queued'
             ORDER BY r.place, r.served LIMIT $6 FOR UPDATE OF j SKIP LOCKED
         ), numbered AS MATERIALIZED (
             SELECT picked_job, picked_agent, nextval('run_leases') AS picked_lease FROM picked
         )
         UPDATE jobs SET agent_id = picked_agent, state = 'leased', attempt = attempt + 1,
             run_lease = picked_lease, lease_until = $5, run_started_at = $4, updated_at = $4,
             version = version + 1
         FROM numbered WHERE id = picked_job AND state = 'queued' RETURNING",
        "",
        &ids,
        &epochs,
        &slots,
        now,
        until,
        i64::from(claim.limit)
    )
    .fetch_all(conn)
    .await?)
}

/// The queued postings of claimed publish jobs are being worked on; returns the jobs whose postings changed.
pub(crate) async fn show_running(conn: &mut Conn, jobs: &[JobId], now: Time) -> Result<Vec<JobId>, Fault> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let jobs: Vec<Uuid> = jobs.iter().map(|job| job.0).collect();
    let shown = sqlx::query_scalar!(
        r#"UPDATE postings SET state = 'running', updated_at = $2, version = version + 1
           WHERE job_id = ANY($1) AND state = 'queued' RETURNING job_id AS "job!: Uuid""#,
        &jobs,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(shown.into_iter().map(JobId).collect())
}

/// Extends the leases of those runs that are current, and returns them.
pub(crate) async fn extend_leases(
    conn: &mut Conn,
    agent: AgentId,
    runs: &[(JobId, RunLease)],
    until: Time,
) -> Result<Vec<(JobId, RunLease)>, Fault> {
    let ids: Vec<Uuid> = runs.iter().map(|(job, _)| job.0).collect();
    let leases: Vec<i64> = runs.iter().map(|(_, lease)| lease.0).collect();
    let rows = sqlx::query_as!(
        RunRow,
        r#"WITH held AS MATERIALIZED (
               SELECT j.id AS held_job, w.run_lease AS held_lease
               FROM UNNEST($1::uuid[], $2::bigint[]) AS w (id, run_lease) JOIN jobs j ON j.id = w.id
               WHERE j.agent_id = $3 AND j.run_lease = w.run_lease ORDER BY j.id FOR NO KEY UPDATE OF j
           )
           UPDATE jobs SET lease_until = $4, version = version + 1 FROM held
           WHERE id = held_job AND run_lease = held_lease AND agent_id = $3 AND state = 'running'
           RETURNING id AS "job!: Uuid", run_lease AS "run_lease!""#,
        &ids,
        &leases,
        agent.0,
        until,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (JobId(row.job), RunLease(row.run_lease))).collect())
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
