//! Claims: one statement leases the jobs, shows their postings as running and tells both in the feed.

use std::collections::BTreeSet;

use serde_json::Value;
use tradepost_domain::job::{self, Job};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Claim, Hint};
use uuid::Uuid;

use crate::shared::{Fault, JobRow, Tx, jobs};
use crate::time::Time;

/// See `Work::claim_jobs`. Of each account at most two jobs are looked at: its best publication, and the best of its other
/// jobs; only where there is one, the account's clicks and its present run. (`LIMIT` keeps the planner from looking in
/// another order, `IS TRUE` from finding a row by anything but its key, the selected column from reading all runs by an
/// index that seems as small but does not hold it.) The agents' rows are locked first, by a statement
/// of its own: two claims for one agent queue up, and the second sees what the first has taken. Jobs follow their account's
/// binding. Runs are numbered in the order of service.
pub(crate) async fn claim_jobs(tx: Tx<'_>, claim: Claim, now: Timestamp) -> Result<Vec<Job>, Fault> {
    let ids: Vec<Uuid> = claim.agents.iter().map(|(agent, ..)| agent.0).collect();
    let epochs: Vec<i64> = claim.agents.iter().map(|(_, epoch, _)| epoch.0).collect();
    let slots: Vec<i64> = claim.agents.iter().map(|(.., slots)| i64::from(*slots)).collect();
    sqlx::query_scalar!("SELECT id FROM agents WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE", &ids)
        .fetch_all(&mut *tx.conn)
        .await?;
    let rows = jobs!(
        "WITH attached AS MATERIALIZED (
             SELECT a.id, w.slots, w.served
             FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS w (id, epoch, slots, served)
                 JOIN agents a ON a.id = w.id AND a.session_epoch = w.epoch AND a.revoked_at IS NULL
                     AND a.locked_at IS NULL
         ), ready AS MATERIALIZED (
             SELECT q.id, t.id AS agent_id, t.slots, t.served,
                    row_number() OVER (PARTITION BY t.id ORDER BY q.turn_at, q.id) AS place
             FROM attached t JOIN accounts c ON c.agent_id = t.id AND c.paused_at IS NULL CROSS JOIN LATERAL (
                 SELECT b.id, b.turn_at, b.account_id FROM (
                     (SELECT p.id, p.turn_at, p.account_id FROM (
                          SELECT f.id, f.turn_at, f.account_id FROM jobs f
                          WHERE f.account_id = c.id AND f.state = 'queued' AND f.kind = 'publish' AND f.run_after <= $4
                            AND c.publish_from <= $4 AND (c.publish_until IS NULL OR c.publish_until > $4)
                          ORDER BY f.turn_at, f.id LIMIT 1) p
                      WHERE (SELECT i.account_id FROM intents i
                             WHERE i.account_id = p.account_id AND i.state IN ('armed', 'unknown') LIMIT 1) IS NULL)
                     UNION ALL
                     (SELECT e.id, e.turn_at, e.account_id FROM jobs e
                      WHERE e.account_id = c.id AND e.state = 'queued' AND e.kind <> 'publish' AND e.run_after <= $4
                      ORDER BY e.turn_at, e.id LIMIT 1)) b
                 ORDER BY b.turn_at, b.id LIMIT 1) q
             WHERE (SELECT r.account_id FROM jobs r
                    WHERE r.account_id = q.account_id AND r.state IN ('leased', 'running') LIMIT 1) IS NULL
         ), picked AS MATERIALIZED (
             SELECT j.id AS picked_job, r.agent_id AS picked_agent
             FROM ready r JOIN jobs j ON j.id = r.id AND (j.state = 'queued') IS TRUE
             WHERE r.place <= r.slots ORDER BY r.place, r.served LIMIT $6 FOR UPDATE OF j SKIP LOCKED
         ), numbered AS MATERIALIZED (
             SELECT picked_job, picked_agent, nextval('run_leases') AS picked_lease FROM picked
         ), claimed AS (
             UPDATE jobs SET agent_id = picked_agent, state = 'leased', attempt = attempt + 1,
                 run_lease = picked_lease, lease_until = $5, run_started_at = $4, updated_at = $4,
                 version = version + 1
             FROM numbered WHERE id = picked_job AND (state = 'queued') IS TRUE RETURNING jobs.*
         ), shown AS (
             UPDATE postings p SET state = 'running', updated_at = $4, version = p.version + 1 FROM claimed c
             WHERE p.job_id = c.id AND c.kind = 'publish' AND (p.state = 'queued') IS TRUE RETURNING p.job_id AS shown_job
         ), told AS MATERIALIZED (
             SELECT c.id, c.workspace_id, c.account_id, c.posting_id, c.agent_id, x.kind, x.data,
                    row_number() OVER (PARTITION BY c.workspace_id ORDER BY c.turn_at, c.id, x.part) AS nth
             FROM claimed c LEFT JOIN shown s ON s.shown_job = c.id CROSS JOIN LATERAL (VALUES
                 (1, 'job.changed', jsonb_build_object('state', c.state, 'kind', c.kind, 'attempt', c.attempt,
                                                       'run_lease', c.run_lease)),
                 (2, 'posting.changed', jsonb_build_object('state', 'running'))) AS x (part, kind, data)
             WHERE x.part = 1 OR s.shown_job IS NOT NULL
         ), wanted AS MATERIALIZED (
             SELECT s.id AS feed, w.places
             FROM (SELECT t.workspace_id, count(*) AS places FROM told t GROUP BY t.workspace_id) w
                 JOIN workspaces s ON s.id = w.workspace_id ORDER BY s.id FOR NO KEY UPDATE OF s
         ), placed AS (
             UPDATE workspaces SET event_seq = event_seq + places FROM wanted WHERE id = feed
             RETURNING id AS place_of, event_seq - places AS before
         ), stored AS (
             INSERT INTO events
                 (workspace_id, seq, stored_at, kind, account_id, posting_id, job_id, agent_id, data)
             SELECT t.workspace_id, p.before + t.nth, $4, t.kind, t.account_id, t.posting_id, t.id, t.agent_id, t.data
             FROM told t JOIN placed p ON p.place_of = t.workspace_id
         )
         SELECT",
        "FROM claimed",
        &ids,
        &epochs,
        &slots,
        Time(now),
        Time(now + job::ACKNOWLEDGE_WITHIN),
        i64::from(claim.limit)
    )
    .fetch_all(&mut *tx.conn)
    .await?;
    let mut jobs = rows.into_iter().map(JobRow::into_job).collect::<Result<Vec<_>, _>>()?;
    jobs.sort_unstable_by_key(|job| (job.turn(), job.id));
    let feeds: BTreeSet<_> = jobs.iter().map(|job| job.workspace).collect();
    tx.hints.extend(feeds.into_iter().map(Hint::Feed));
    Ok(jobs)
}
