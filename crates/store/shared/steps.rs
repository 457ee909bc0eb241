//! What runs report.

use std::time::Duration;

use serde_json::json;
use tradepost_domain::event::{Kind, NewEvent, Subject};
use tradepost_domain::id::{AccountId, JobId, PostingId, RunLease, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Error, RunSteps, Step, StepStatus, StoredStep};
use uuid::Uuid;

use super::{Fault, Tx, rows};
use crate::backend::Conn;
use crate::dialect;
use crate::time::Time;

struct StepRow {
    run_lease: i64,
    seq: i64,
    phase: String,
    name: String,
    status: String,
    detail: String,
    duration_us: Option<i64>,
    step_index: i64,
    step_total: i64,
    stored_at: Time,
}

struct RunRow {
    workspace: Uuid,
    account: Uuid,
    posting: Option<Uuid>,
}

const STATUSES: [(StepStatus, &str); 4] = [
    (StepStatus::Started, "started"),
    (StepStatus::Succeeded, "succeeded"),
    (StepStatus::Failed, "failed"),
    (StepStatus::Skipped, "skipped"),
];

/// The stored name of a status.
pub(crate) fn status_name(status: StepStatus) -> &'static str {
    STATUSES.iter().find(|(known, _)| *known == status).map_or("started", |(_, name)| name)
}

/// A duration as it is stored, in microseconds.
pub(crate) fn duration_micros(step: &Step) -> Option<i64> {
    step.duration.map(|duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

pub(crate) async fn append(mut tx: Tx<'_>, told: RunSteps, now: Timestamp) -> Result<(), Fault> {
    let run = sqlx::query_as!(
        RunRow,
        r#"SELECT workspace_id AS "workspace!: Uuid", account_id AS "account!: Uuid", posting_id AS "posting?: Uuid"
           FROM jobs WHERE id = $1 AND agent_id = $2 AND run_lease = $3"#,
        told.job.0,
        told.agent.0,
        told.run_lease.0,
    )
    .fetch_optional(&mut *tx.conn)
    .await?
    .ok_or(Error::Stale)?;
    let fresh = dialect::insert_steps(tx.conn, told.job, told.run_lease, &told.steps, Time(now)).await?;
    let subject = subject(&told, run.account, run.posting);
    let events: Vec<_> = told
        .steps
        .iter()
        .filter(|step| fresh.contains(&i64::from(step.seq)))
        .map(|step| event(WorkspaceId(run.workspace), subject, told.run_lease, step))
        .collect();
    tx.append_events(&events, now).await
}

/// The same reports, each once, in their order.
pub(crate) fn in_order(mut told: RunSteps) -> RunSteps {
    told.steps.sort_by_key(|step| step.seq);
    told.steps.dedup_by_key(|step| step.seq);
    told
}

/// What the events of a run's steps are about.
pub(crate) fn subject(told: &RunSteps, account: Uuid, posting: Option<Uuid>) -> Subject {
    Subject {
        account: Some(AccountId(account)),
        posting: posting.map(PostingId),
        job: Some(told.job),
        agent: Some(told.agent),
        ..Subject::default()
    }
}

/// The event of one step.
pub(crate) fn event(workspace: WorkspaceId, subject: Subject, run_lease: RunLease, step: &Step) -> NewEvent {
    NewEvent { workspace, kind: Kind::RunStep, subject, data: told(step, run_lease) }
}

fn told(step: &Step, run_lease: RunLease) -> serde_json::Value {
    let mut data = json!({
        "run_lease": run_lease.0,
        "seq": step.seq,
        "phase": step.phase,
        "name": step.name,
        "status": status_name(step.status),
        "detail": step.detail,
        "index": step.index,
        "total": step.total,
    });
    if let (Some(duration), Some(data)) = (step.duration, data.as_object_mut()) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        data.insert(String::from("duration_ms"), millis.into());
    }
    data
}

pub(super) async fn list(
    conn: &mut Conn,
    workspace: WorkspaceId,
    job: JobId,
) -> Result<Vec<StoredStep>, Fault> {
    let rows = sqlx::query_as!(
        StepRow,
        r#"SELECT run_lease AS "run_lease!", seq AS "seq!", phase AS "phase!", name AS "name!", status AS "status!",
                  detail AS "detail!", duration_us AS "duration_us?", step_index AS "step_index!",
                  step_total AS "step_total!", stored_at AS "stored_at!: Time"
           FROM run_steps WHERE job_id = $1
             AND EXISTS (SELECT 1 FROM jobs j WHERE j.id = $1 AND j.workspace_id = $2)
           ORDER BY run_lease DESC, seq DESC LIMIT 2000"#,
        job.0,
        workspace.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    rows.into_iter().rev().map(|row| row.into_step(job)).collect()
}

impl StepRow {
    fn into_step(self, job: JobId) -> Result<StoredStep, Fault> {
        let status = STATUSES
            .iter()
            .find(|(_, name)| *name == self.status)
            .ok_or_else(|| Fault::inconsistent("run_steps.status", job, &self.status))?
            .0;
        let duration = self
            .duration_us
            .map(|micros| {
                u64::try_from(micros)
                    .map(Duration::from_micros)
                    .map_err(|_| Fault::inconsistent("run_steps.duration_us", job, micros))
            })
            .transpose()?;
        Ok(StoredStep {
            run_lease: RunLease(self.run_lease),
            step: Step {
                seq: rows::count("run_steps.seq", job, self.seq)?,
                phase: self.phase,
                name: self.name,
                status,
                detail: self.detail,
                duration,
                index: rows::count("run_steps.step_index", job, self.step_index)?,
                total: rows::count("run_steps.step_total", job, self.step_total)?,
            },
            at: self.stored_at.0,
        })
    }
}
