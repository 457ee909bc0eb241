//! When accounts may act, and the order of their jobs.

use serde_json::Value;
use tradepost_domain::account::Site;
use tradepost_domain::failure::FailureClass;
use tradepost_domain::id::{AccountId, AgentId, IntentId, WorkspaceId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::{CoolDown, LIMIT_MAX, Pacing, Policy, Window};
use tradepost_domain::time::Timestamp;
use tradepost_store::Error;
use uuid::Uuid;

use super::rows::{count, jobs, unstorable};
use super::{Fault, JobRow};
use crate::backend::Conn;
use crate::time::Time;

/// The longest span that a rule looks back.
pub(crate) const SPAN: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// An account's columns about its pacing.
pub(crate) struct PacingRow {
    pub(crate) site: String,
    pub(crate) created_at: Time,
    pub(crate) pacing: Value,
    pub(crate) paused_at: Option<Time>,
    pub(crate) cool_down_until: Option<Time>,
    pub(crate) cool_down_class: Option<String>,
    pub(crate) publish_from: Time,
    pub(crate) publish_until: Option<Time>,
    pub(crate) pacing_version: i64,
}

struct AccountKey {
    workspace_id: Uuid,
    id: Uuid,
}

struct Starts {
    run_started_at: Time,
    attempt: i64,
}

impl PacingRow {
    /// With the times of its publications, the newest first.
    pub(crate) fn into_pacing(
        self,
        workspace: WorkspaceId,
        account: AccountId,
        uses: Vec<Timestamp>,
    ) -> Result<Pacing, Fault> {
        let Self {
            site,
            created_at,
            pacing,
            paused_at,
            cool_down_until,
            cool_down_class,
            publish_from,
            publish_until,
            pacing_version,
        } = self;
        let class = |name: &str| {
            FailureClass::from_name(name)
                .ok_or_else(|| Fault::inconsistent("accounts.cool_down_class", account, name))
        };
        let cool_down = match (cool_down_until, cool_down_class) {
            (Some(until), Some(name)) => Some(CoolDown { until: until.0, class: class(&name)? }),
            _ => None,
        };
        Ok(Pacing {
            account,
            workspace,
            site: Site::parse(&site).map_err(|_| Fault::inconsistent("accounts.site", account, &site))?,
            added_at: created_at.0,
            own: serde_json::from_value::<Policy>(pacing)
                .map_err(|error| Fault::inconsistent("accounts.pacing", account, error))?,
            paused_at: paused_at.map(|at| at.0),
            cool_down,
            window: Window { from: publish_from.0, until: publish_until.map(|at| at.0) },
            uses,
            version: pacing_version,
        })
    }
}

/// Writes what changed; `Stale` unless the version is still the one that was read. Returns the agent that may have work
/// now.
pub(super) async fn update(conn: &mut Conn, pacing: &Pacing) -> Result<Option<AgentId>, Fault> {
    let cool_down = pacing.cool_down.as_ref();
    let agent = sqlx::query_scalar!(
        r#"UPDATE accounts SET pacing = $4, paused_at = $5, cool_down_until = $6, cool_down_class = $7,
               publish_from = $8, publish_until = $9, pacing_version = pacing_version + 1
           WHERE id = $1 AND workspace_id = $2 AND pacing_version = $3 RETURNING agent_id AS "agent_id?: Uuid""#,
        pacing.account.0,
        pacing.workspace.0,
        pacing.version,
        serde_json::to_value(&pacing.own).map_err(unstorable)?,
        pacing.paused_at.map(Time),
        cool_down.map(|cool_down| Time(cool_down.until)),
        cool_down.map(|cool_down| cool_down.class.name()),
        Time(pacing.window.from),
        pacing.window.until.map(Time),
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::Stale)?;
    Ok(agent.map(AgentId))
}

pub(super) async fn list_ended_windows(
    conn: &mut Conn,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(WorkspaceId, AccountId)>, Fault> {
    let rows = sqlx::query_as!(
        AccountKey,
        r#"SELECT workspace_id AS "workspace_id!: Uuid", id AS "id!: Uuid" FROM accounts
           WHERE publish_until IS NOT NULL AND publish_until <= $1 ORDER BY publish_until LIMIT $2"#,
        Time(now),
        i64::from(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    Ok(rows.into_iter().map(|row| (WorkspaceId(row.workspace_id), AccountId(row.id))).collect())
}

pub(super) async fn list_run_starts(
    conn: &mut Conn,
    account: AccountId,
    kind: job::Kind,
    since: Timestamp,
) -> Result<Vec<Timestamp>, Fault> {
    let rows = sqlx::query_as!(
        Starts,
        r#"SELECT run_started_at AS "run_started_at!: Time", attempt AS "attempt!" FROM jobs
           WHERE account_id = $1 AND kind = $2 AND kind <> 'publish' AND run_started_at IS NOT NULL
             AND run_started_at > $3
           ORDER BY run_started_at DESC LIMIT $4"#,
        account.0,
        kind.name(),
        Time(since),
        i64::from(LIMIT_MAX),
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut starts = Vec::with_capacity(rows.len());
    for row in rows {
        let times =
            usize::try_from(count("jobs.attempt", account, row.attempt)?).unwrap_or(usize::MAX).max(1);
        starts.extend(std::iter::repeat_n(row.run_started_at.0, times));
    }
    Ok(starts)
}

pub(super) async fn count_ahead(conn: &mut Conn, job: &Job, now: Timestamp) -> Result<u32, Fault> {
    let (turn, most) = (Time(job.turn()), i64::from(LIMIT_MAX));
    let publications = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!: i64" FROM (
               SELECT 1 AS one FROM jobs WHERE account_id = $1 AND state = 'queued' AND kind = 'publish'
                   AND (turn_at, id) < ($2, $3) AND run_after <= $4 LIMIT $5) ahead"#,
        job.account.0,
        turn,
        job.id.0,
        Time(now),
        most,
    )
    .fetch_one(&mut *conn)
    .await?;
    let errands = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!: i64" FROM (
               SELECT 1 AS one FROM jobs WHERE account_id = $1 AND state = 'queued' AND kind <> 'publish'
                   AND (turn_at, id) < ($2, $3) AND run_after <= $4 LIMIT $5) ahead"#,
        job.account.0,
        turn,
        job.id.0,
        Time(now),
        most,
    )
    .fetch_one(&mut *conn)
    .await?;
    count("count of jobs", job.account, (publications + errands).min(most))
}

pub(super) async fn find_account_run(conn: &mut Conn, account: AccountId) -> Result<Option<Job>, Fault> {
    jobs!("SELECT", "FROM jobs WHERE account_id = $1 AND state IN ('leased', 'running')", account.0)
        .fetch_optional(&mut *conn)
        .await?
        .map(JobRow::into_job)
        .transpose()
}

pub(super) async fn find_open_login(conn: &mut Conn, account: AccountId) -> Result<Option<Job>, Fault> {
    jobs!(
        "SELECT",
        "FROM jobs WHERE account_id = $1 AND kind = 'login'
           AND state IN ('queued', 'leased', 'running', 'parked', 'needs_human')",
        account.0
    )
    .fetch_optional(&mut *conn)
    .await?
    .map(JobRow::into_job)
    .transpose()
}

pub(super) async fn find_open_look(conn: &mut Conn, intent: IntentId) -> Result<Option<Job>, Fault> {
    jobs!(
        "SELECT",
        "FROM jobs WHERE intent_id = $1 AND kind = 'reconcile'
           AND state IN ('queued', 'leased', 'running', 'parked', 'needs_human')",
        intent.0
    )
    .fetch_optional(&mut *conn)
    .await?
    .map(JobRow::into_job)
    .transpose()
}
