//! One statement per table for the rows of many writes. The single-row forms are in the shared `commit` and `steps`; both
//! must write the same columns, which the conformance suite checks by doing every case both ways.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use sqlx::PgConnection;
use tradepost_domain::id::{AgentId, WorkspaceId};
use tradepost_domain::job::Job;
use tradepost_domain::pacing::Pacing;
use tradepost_domain::posting::Posting;
use tradepost_domain::publish::{self, Intent, Permit};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Change, ChangeLook, ChangeReceipt, EpochGuard, Error, Hint, RunSteps};
use uuid::Uuid;

use crate::feed::Told;
use crate::shared::rows::{failure_value, unstorable};
use crate::shared::{Fault, duration_micros, status_name, steps};
use crate::time::Time;

/// A column of all rows.
macro_rules! column {
    ($rows:expr, $value:expr) => {
        &$rows.iter().map($value).collect::<Vec<_>>()
    };
}
pub(crate) use column;

struct RunRow {
    place: i64,
    workspace: Uuid,
    account: Uuid,
    posting: Option<Uuid>,
}

struct FreshStep {
    job: Uuid,
    seq: i64,
}

struct Held {
    id: Uuid,
    other: i64,
}

/// Those of the streams that are their agents' newest; they stay so until the transaction ends.
pub(crate) async fn hold_streams(
    conn: &mut PgConnection,
    guards: &[EpochGuard],
) -> Result<HashSet<EpochGuard>, Fault> {
    if guards.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = sqlx::query_as!(
        Held,
        r#"SELECT id AS "id!: Uuid", session_epoch AS "other!" FROM agents
           WHERE id = ANY($1) AND revoked_at IS NULL AND locked_at IS NULL ORDER BY id FOR SHARE"#,
        column!(guards, |guard| guard.agent.0),
    )
    .fetch_all(conn)
    .await?;
    let epochs: HashMap<Uuid, i64> = rows.into_iter().map(|row| (row.id, row.other)).collect();
    let is_newest = |guard: &&EpochGuard| epochs.get(&guard.agent.0) == Some(&guard.epoch.0);
    Ok(guards.iter().filter(is_newest).copied().collect())
}

/// All rows of all changes that make no postings, in the order of the locks, but for those changes whose job is not as it was
/// read: nothing of them is written, and their places in the group are returned. `Stale` when a row is not as it was read of a
/// change that has written another already: then all is to be undone.
pub(crate) async fn write_changes(
    conn: &mut PgConnection,
    changes: &[(usize, Timestamp, &Change)],
    hints: &mut Vec<Hint>,
) -> Result<HashSet<usize>, Fault> {
    let all = || changes.iter().map(|(.., change)| *change);
    let mut paced: Vec<&Pacing> = all().flat_map(|change| &change.pacing).collect();
    paced.sort_unstable_by_key(|pacing| pacing.account);
    // Each account may be free to publish again.
    hints.extend(update_pacing(conn, &paced).await?.into_iter().map(Hint::Agent));
    let new_intents: Vec<&Intent> = all().flat_map(|change| &change.new_intents).collect();
    insert_intents(conn, &new_intents).await?;
    let mut jobs: Vec<&Job> = all().flat_map(|change| &change.jobs).collect();
    // Sorted, so that two groups with the same rows queue up instead of blocking each other.
    jobs.sort_unstable_by_key(|job| job.id);
    let updated = update_jobs(conn, &jobs).await?;
    let stale = overtaken(changes, &updated)?;
    let kept: Vec<(Timestamp, &Change)> = changes
        .iter()
        .filter(|(place, ..)| !stale.contains(place))
        .map(|(_, now, change)| (*now, *change))
        .collect();
    write_rest(conn, &kept).await?;
    Ok(stale)
}

/// The places of those changes of which no job was as it was read, and of which nothing is written yet.
fn overtaken(
    changes: &[(usize, Timestamp, &Change)],
    updated: &HashSet<Uuid>,
) -> Result<HashSet<usize>, Fault> {
    let mut stale = HashSet::new();
    for (place, _, Change { pacing, new_intents, jobs, .. }) in changes {
        let missed = jobs.iter().filter(|job| !updated.contains(&job.id.0)).count();
        if missed == 0 {
            continue;
        }
        if missed < jobs.len() || !pacing.is_empty() || !new_intents.is_empty() {
            return Err(Error::Stale.into());
        }
        stale.insert(*place);
    }
    Ok(stale)
}

/// What comes behind the changed jobs and the new intents.
async fn write_rest(conn: &mut PgConnection, changes: &[(Timestamp, &Change)]) -> Result<(), Fault> {
    let all = || changes.iter().map(|(_, change)| *change);
    let mut intents: Vec<&Intent> = all().flat_map(|change| &change.intents).collect();
    let mut postings: Vec<&Posting> = all().flat_map(|change| &change.postings).collect();
    intents.sort_unstable_by_key(|intent| intent.id);
    postings.sort_unstable_by_key(|posting| posting.id);
    let new_jobs: Vec<&Job> = all().flat_map(|change| &change.new_jobs).collect();
    insert_jobs(conn, &new_jobs).await?;
    update_intents(conn, &intents).await?;
    update_postings(conn, &postings).await?;
    let with_baseline = |intent: &&Intent| {
        // As alone: the baseline is of the time before the click, and nothing after the preparation changes it.
        matches!(intent.state, publish::State::Preparing | publish::State::Prepared)
    };
    let mut baselines: Vec<&Intent> = intents.into_iter().filter(with_baseline).collect();
    let new_intents = all().flat_map(|change| &change.new_intents);
    baselines.extend(new_intents.filter(|intent| !intent.baseline.is_empty()));
    put_baselines(conn, &baselines).await?;
    let receipts: Vec<(Timestamp, &ChangeReceipt)> = changes
        .iter()
        .filter_map(|(now, change)| change.receipt.as_ref().map(|receipt| (*now, receipt)))
        .collect();
    insert_receipts(conn, &receipts).await?;
    let looks: Vec<&ChangeLook> = all().filter_map(|change| change.look.as_ref()).collect();
    insert_looks(conn, &looks).await
}

/// Returns the agents of the accounts.
async fn update_pacing(conn: &mut PgConnection, paced: &[&Pacing]) -> Result<Vec<AgentId>, Fault> {
    if paced.is_empty() {
        return Ok(Vec::new());
    }
    let own: Vec<Value> = paced
        .iter()
        .map(|pacing| serde_json::to_value(&pacing.own).map_err(unstorable))
        .collect::<Result<_, _>>()?;
    let cool_down = |pacing: &Pacing| pacing.cool_down;
    let agents = sqlx::query_scalar!(
        r#"UPDATE accounts a SET pacing = n.pacing, paused_at = n.paused_at, cool_down_until = n.cool_down_until,
               cool_down_class = n.cool_down_class, publish_from = n.publish_from, publish_until = n.publish_until,
               pacing_version = a.pacing_version + 1
           FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::jsonb[], $5::timestamptz[], $6::timestamptz[], $7::text[],
               $8::timestamptz[], $9::timestamptz[])
               AS n (id, workspace_id, version, pacing, paused_at, cool_down_until, cool_down_class, publish_from,
                     publish_until)
           WHERE a.id = n.id AND (a.workspace_id = n.workspace_id AND a.pacing_version = n.version) IS TRUE
           RETURNING a.agent_id AS "agent_id?: Uuid""#,
        column!(paced, |pacing| pacing.account.0),
        column!(paced, |pacing| pacing.workspace.0),
        column!(paced, |pacing| pacing.version),
        &own,
        column!(paced, |pacing| pacing.paused_at.map(Time)) as &[Option<Time>],
        column!(paced, |pacing| cool_down(pacing).map(|cool_down| Time(cool_down.until))) as &[Option<Time>],
        column!(paced, |pacing| cool_down(pacing).map(|cool_down| cool_down.class.name().to_owned()))
            as &[Option<String>],
        column!(paced, |pacing| Time(pacing.window.from)) as &[Time],
        column!(paced, |pacing| pacing.window.until.map(Time)) as &[Option<Time>],
    )
    .fetch_all(conn)
    .await?;
    if agents.len() != paced.len() {
        return Err(Error::Stale.into());
    }
    Ok(agents.into_iter().flatten().map(AgentId).collect())
}

/// Keeps the first report of each look.
async fn insert_looks(conn: &mut PgConnection, looks: &[&ChangeLook]) -> Result<(), Fault> {
    if looks.is_empty() {
        return Ok(());
    }
    let records: Vec<Value> = looks
        .iter()
        .map(|change| serde_json::to_value(&change.look).map_err(unstorable))
        .collect::<Result<_, _>>()?;
    sqlx::query!(
        "INSERT INTO looks (intent_id, seq, workspace_id, posting_id, job_id, look, taken_at)
         SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::uuid[], $6::jsonb[], $7::timestamptz[])
         ON CONFLICT (intent_id, seq) DO NOTHING",
        column!(looks, |change| change.intent.0),
        column!(looks, |change| i64::from(change.look.seq)),
        column!(looks, |change| change.workspace.0),
        column!(looks, |change| change.posting.0),
        column!(looks, |change| change.look.job.0),
        &records,
        column!(looks, |change| Time(change.look.at)) as &[Time],
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn changed(rows: u64, wanted: usize) -> Result<(), Fault> {
    if usize::try_from(rows) == Ok(wanted) { Ok(()) } else { Err(Error::Stale.into()) }
}

fn failures<'f>(
    failures: impl Iterator<Item = Option<&'f tradepost_domain::failure::Failure>>,
) -> Result<Vec<Option<Value>>, Fault> {
    failures.map(failure_value).collect()
}

async fn update_postings(conn: &mut PgConnection, postings: &[&Posting]) -> Result<(), Fault> {
    if postings.is_empty() {
        return Ok(());
    }
    let failures = failures(postings.iter().map(|posting| posting.failure.as_ref()))?;
    let item = |posting: &Posting| posting.item.clone();
    let updated = sqlx::query!(
        "UPDATE postings p SET generation = n.generation, state = n.state, job_id = n.job_id, intent_id = n.intent_id,
             item_id = n.item_id, item_url = n.item_url, item_strategy = n.item_strategy, failure = n.failure,
             updated_at = n.updated_at, version = p.version + 1
         FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::uuid[], $7::uuid[],
             $8::text[], $9::text[], $10::text[], $11::jsonb[], $12::timestamptz[])
             AS n (id, workspace_id, version, generation, state, job_id, intent_id, item_id, item_url, item_strategy,
                   failure, updated_at)
         WHERE p.id = n.id AND (p.workspace_id = n.workspace_id AND p.version = n.version) IS TRUE",
        column!(postings, |posting| posting.id.0),
        column!(postings, |posting| posting.workspace.0),
        column!(postings, |posting| posting.version.0),
        column!(postings, |posting| i64::from(posting.generation)),
        column!(postings, |posting| posting.state.name().to_owned()),
        column!(postings, |posting| posting.job.0),
        column!(postings, |posting| posting.intent.0),
        column!(postings, |posting| item(posting).map(|item| item.item_id)) as &[Option<String>],
        column!(postings, |posting| item(posting).map(|item| item.url)) as &[Option<String>],
        column!(postings, |posting| item(posting).map(|item| item.strategy)) as &[Option<String>],
        &failures as &[Option<Value>],
        column!(postings, |posting| Time(posting.updated_at)) as &[Time],
    )
    .execute(conn)
    .await?;
    changed(updated.rows_affected(), postings.len())
}

fn permit(intent: &Intent) -> Option<&Permit> {
    intent.permit.as_ref()
}

async fn insert_intents(conn: &mut PgConnection, intents: &[&Intent]) -> Result<(), Fault> {
    if intents.is_empty() {
        return Ok(());
    }
    let item = |intent: &Intent| intent.item.clone();
    sqlx::query!(
        "INSERT INTO intents
             (id, workspace_id, posting_id, account_id, generation, state, fingerprint, permit_id, permit_request,
              permit_run_lease, permit_epoch, armed_at, report_by, item_id, item_url, item_strategy, reason,
              looks_taken, looks_clean, first_clean_at, created_at, updated_at, version)
         SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::text[], $7::text[],
             $8::uuid[], $9::text[], $10::bigint[], $11::bigint[], $12::timestamptz[], $13::timestamptz[], $14::text[],
             $15::text[], $16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::timestamptz[],
             $21::timestamptz[], $22::timestamptz[], $23::bigint[])",
        column!(intents, |intent| intent.id.0),
        column!(intents, |intent| intent.workspace.0),
        column!(intents, |intent| intent.posting.0),
        column!(intents, |intent| intent.account.0),
        column!(intents, |intent| i64::from(intent.generation)),
        column!(intents, |intent| intent.state.name().to_owned()),
        column!(intents, |intent| intent.fingerprint.clone()),
        column!(intents, |intent| permit(intent).map(|permit| permit.id.0)) as &[Option<Uuid>],
        column!(intents, |intent| permit(intent).map(|permit| permit.request.clone())) as &[Option<String>],
        column!(intents, |intent| permit(intent).map(|permit| permit.run_lease.0)) as &[Option<i64>],
        column!(intents, |intent| permit(intent).map(|permit| permit.epoch.0)) as &[Option<i64>],
        column!(intents, |intent| permit(intent).map(|permit| Time(permit.armed_at))) as &[Option<Time>],
        column!(intents, |intent| permit(intent).map(|permit| Time(permit.report_by))) as &[Option<Time>],
        column!(intents, |intent| item(intent).map(|item| item.item_id)) as &[Option<String>],
        column!(intents, |intent| item(intent).map(|item| item.url)) as &[Option<String>],
        column!(intents, |intent| item(intent).map(|item| item.strategy)) as &[Option<String>],
        column!(intents, |intent| intent.reason.clone()) as &[Option<String>],
        column!(intents, |intent| i64::from(intent.looks.taken)),
        column!(intents, |intent| i64::from(intent.looks.clean)),
        column!(intents, |intent| intent.looks.first_clean_at.map(Time)) as &[Option<Time>],
        column!(intents, |intent| Time(intent.created_at)) as &[Time],
        column!(intents, |intent| Time(intent.updated_at)) as &[Time],
        column!(intents, |intent| intent.version.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn update_intents(conn: &mut PgConnection, intents: &[&Intent]) -> Result<(), Fault> {
    if intents.is_empty() {
        return Ok(());
    }
    let item = |intent: &Intent| intent.item.clone();
    let updated = sqlx::query!(
        "UPDATE intents i SET generation = n.generation, state = n.state, fingerprint = n.fingerprint,
             permit_id = n.permit_id, permit_request = n.permit_request, permit_run_lease = n.permit_run_lease,
             permit_epoch = n.permit_epoch, armed_at = n.armed_at, report_by = n.report_by, item_id = n.item_id,
             item_url = n.item_url, item_strategy = n.item_strategy, reason = n.reason, looks_taken = n.looks_taken,
             looks_clean = n.looks_clean, first_clean_at = n.first_clean_at, updated_at = n.updated_at,
             version = i.version + 1
         FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::uuid[], $8::text[],
             $9::bigint[], $10::bigint[], $11::timestamptz[], $12::timestamptz[], $13::text[], $14::text[], $15::text[],
             $16::text[], $17::bigint[], $18::bigint[], $19::timestamptz[], $20::timestamptz[])
             AS n (id, workspace_id, version, generation, state, fingerprint, permit_id, permit_request,
                   permit_run_lease, permit_epoch, armed_at, report_by, item_id, item_url, item_strategy, reason,
                   looks_taken, looks_clean, first_clean_at, updated_at)
         WHERE i.id = n.id AND (i.workspace_id = n.workspace_id AND i.version = n.version) IS TRUE",
        column!(intents, |intent| intent.id.0),
        column!(intents, |intent| intent.workspace.0),
        column!(intents, |intent| intent.version.0),
        column!(intents, |intent| i64::from(intent.generation)),
        column!(intents, |intent| intent.state.name().to_owned()),
        column!(intents, |intent| intent.fingerprint.clone()),
        column!(intents, |intent| permit(intent).map(|permit| permit.id.0)) as &[Option<Uuid>],
        column!(intents, |intent| permit(intent).map(|permit| permit.request.clone())) as &[Option<String>],
        column!(intents, |intent| permit(intent).map(|permit| permit.run_lease.0)) as &[Option<i64>],
        column!(intents, |intent| permit(intent).map(|permit| permit.epoch.0)) as &[Option<i64>],
        column!(intents, |intent| permit(intent).map(|permit| Time(permit.armed_at))) as &[Option<Time>],
        column!(intents, |intent| permit(intent).map(|permit| Time(permit.report_by))) as &[Option<Time>],
        column!(intents, |intent| item(intent).map(|item| item.item_id)) as &[Option<String>],
        column!(intents, |intent| item(intent).map(|item| item.url)) as &[Option<String>],
        column!(intents, |intent| item(intent).map(|item| item.strategy)) as &[Option<String>],
        column!(intents, |intent| intent.reason.clone()) as &[Option<String>],
        column!(intents, |intent| i64::from(intent.looks.taken)),
        column!(intents, |intent| i64::from(intent.looks.clean)),
        column!(intents, |intent| intent.looks.first_clean_at.map(Time)) as &[Option<Time>],
        column!(intents, |intent| Time(intent.updated_at)) as &[Time],
    )
    .execute(conn)
    .await?;
    changed(updated.rows_affected(), intents.len())
}

async fn put_baselines(conn: &mut PgConnection, intents: &[&Intent]) -> Result<(), Fault> {
    if intents.is_empty() {
        return Ok(());
    }
    let items: Vec<Value> = intents
        .iter()
        .map(|intent| serde_json::to_value(&intent.baseline).map_err(unstorable))
        .collect::<Result<_, _>>()?;
    sqlx::query!(
        "INSERT INTO intent_baselines (intent_id, item_ids) SELECT * FROM UNNEST($1::uuid[], $2::jsonb[])
         ON CONFLICT (intent_id) DO UPDATE SET item_ids = excluded.item_ids",
        column!(intents, |intent| intent.id.0),
        &items,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert_jobs(conn: &mut PgConnection, jobs: &[&Job]) -> Result<(), Fault> {
    if jobs.is_empty() {
        return Ok(());
    }
    let failures = failures(jobs.iter().map(|job| job.failure.as_ref()))?;
    sqlx::query!(
        "INSERT INTO jobs
             (id, workspace_id, kind, agent_id, account_id, posting_id, intent_id, state, priority, attempt, run_lease,
              lease_until, run_started_at, run_after, cancel_requested, failure, trace_context, created_at, updated_at,
              version, turn_at, discarded_at)
         SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[],
             $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::timestamptz[], $13::timestamptz[],
             $14::timestamptz[], $15::boolean[], $16::jsonb[], $17::text[], $18::timestamptz[], $19::timestamptz[],
             $20::bigint[], $21::timestamptz[], $22::timestamptz[])",
        column!(jobs, |job| job.id.0),
        column!(jobs, |job| job.workspace.0),
        column!(jobs, |job| job.kind.name().to_owned()),
        column!(jobs, |job| job.agent.0),
        column!(jobs, |job| job.account.0),
        column!(jobs, |job| job.posting.map(|posting| posting.0)) as &[Option<Uuid>],
        column!(jobs, |job| job.intent.map(|intent| intent.0)) as &[Option<Uuid>],
        column!(jobs, |job| job.state.name().to_owned()),
        column!(jobs, |job| i64::from(job.priority)),
        column!(jobs, |job| i64::from(job.attempt)),
        column!(jobs, |job| job.run_lease.map(|lease| lease.0)) as &[Option<i64>],
        column!(jobs, |job| job.lease_until.map(Time)) as &[Option<Time>],
        column!(jobs, |job| job.run_started_at.map(Time)) as &[Option<Time>],
        column!(jobs, |job| Time(job.run_after)) as &[Time],
        column!(jobs, |job| job.cancel_requested),
        &failures as &[Option<Value>],
        column!(jobs, |job| job.trace_context.clone()) as &[Option<String>],
        column!(jobs, |job| Time(job.created_at)) as &[Time],
        column!(jobs, |job| Time(job.updated_at)) as &[Time],
        column!(jobs, |job| job.version.0),
        column!(jobs, |job| Time(job.turn())) as &[Time],
        column!(jobs, |job| job.discarded_at.map(Time)) as &[Option<Time>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns those that were as they were read.
async fn update_jobs(conn: &mut PgConnection, jobs: &[&Job]) -> Result<HashSet<Uuid>, Fault> {
    if jobs.is_empty() {
        return Ok(HashSet::new());
    }
    let failures = failures(jobs.iter().map(|job| job.failure.as_ref()))?;
    let updated = sqlx::query_scalar!(
        r#"UPDATE jobs j SET agent_id = n.agent_id, intent_id = n.intent_id, state = n.state, priority = n.priority,
             attempt = n.attempt, run_lease = n.run_lease, lease_until = n.lease_until,
             run_started_at = n.run_started_at, run_after = n.run_after, cancel_requested = n.cancel_requested,
             failure = n.failure, updated_at = n.updated_at, turn_at = n.turn_at, discarded_at = n.discarded_at,
             version = j.version + 1
         FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::text[], $7::bigint[],
             $8::bigint[], $9::bigint[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::boolean[],
             $14::jsonb[], $15::timestamptz[], $16::timestamptz[], $17::timestamptz[])
             AS n (id, workspace_id, version, agent_id, intent_id, state, priority, attempt, run_lease, lease_until,
                   run_started_at, run_after, cancel_requested, failure, updated_at, turn_at, discarded_at)
         WHERE j.id = n.id AND (j.workspace_id = n.workspace_id AND j.version = n.version) IS TRUE
         RETURNING j.id AS "id!: Uuid""#,
        column!(jobs, |job| job.id.0),
        column!(jobs, |job| job.workspace.0),
        column!(jobs, |job| job.version.0),
        column!(jobs, |job| job.agent.0),
        column!(jobs, |job| job.intent.map(|intent| intent.0)) as &[Option<Uuid>],
        column!(jobs, |job| job.state.name().to_owned()),
        column!(jobs, |job| i64::from(job.priority)),
        column!(jobs, |job| i64::from(job.attempt)),
        column!(jobs, |job| job.run_lease.map(|lease| lease.0)) as &[Option<i64>],
        column!(jobs, |job| job.lease_until.map(Time)) as &[Option<Time>],
        column!(jobs, |job| job.run_started_at.map(Time)) as &[Option<Time>],
        column!(jobs, |job| Time(job.run_after)) as &[Time],
        column!(jobs, |job| job.cancel_requested),
        &failures as &[Option<Value>],
        column!(jobs, |job| Time(job.updated_at)) as &[Time],
        column!(jobs, |job| Time(job.turn())) as &[Time],
        column!(jobs, |job| job.discarded_at.map(Time)) as &[Option<Time>],
    )
    .fetch_all(conn)
    .await?;
    Ok(updated.into_iter().collect())
}

async fn insert_receipts(
    conn: &mut PgConnection,
    receipts: &[(Timestamp, &ChangeReceipt)],
) -> Result<(), Fault> {
    if receipts.is_empty() {
        return Ok(());
    }
    let proofs: Vec<Value> = receipts
        .iter()
        .map(|(_, change)| serde_json::to_value(&change.receipt).map_err(unstorable))
        .collect::<Result<_, _>>()?;
    sqlx::query!(
        "INSERT INTO receipts (intent_id, workspace_id, posting_id, receipt, created_at)
         SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::jsonb[], $5::timestamptz[])
         ON CONFLICT (intent_id) DO NOTHING",
        column!(receipts, |(_, change)| change.intent.0),
        column!(receipts, |(_, change)| change.workspace.0),
        column!(receipts, |(_, change)| change.posting.0),
        &proofs,
        column!(receipts, |(now, _)| Time(*now)) as &[Time],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores the reports of runs. Returns their events, and the places of those whose run is not its job's present one.
pub(crate) async fn write_steps(
    conn: &mut PgConnection,
    told: &[(usize, Timestamp, &RunSteps)],
) -> Result<(Vec<Told>, Vec<usize>), Fault> {
    if told.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let runs = sqlx::query_as!(
        RunRow,
        r#"SELECT w.place AS "place!", j.workspace_id AS "workspace!: Uuid", j.account_id AS "account!: Uuid",
                  j.posting_id AS "posting?: Uuid"
           FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS w (job, agent, run_lease, place)
               JOIN jobs j ON j.id = w.job AND (j.agent_id = w.agent AND j.run_lease = w.run_lease) IS TRUE"#,
        column!(told, |(_, _, run)| run.job.0),
        column!(told, |(_, _, run)| run.agent.0),
        column!(told, |(_, _, run)| run.run_lease.0),
    )
    .fetch_all(&mut *conn)
    .await?;
    let runs: HashMap<i64, RunRow> = runs.into_iter().map(|row| (row.place, row)).collect();
    let (mut late, mut present) = (Vec::new(), Vec::new());
    for (ordinal, &(place, now, run)) in (1..).zip(told) {
        match runs.get(&ordinal) {
            Some(row) => present.push((place, now, run, row)),
            None => late.push(place),
        }
    }
    let rows: Vec<_> =
        present.iter().flat_map(|(_, now, run, _)| run.steps.iter().map(|step| (*now, *run, step))).collect();
    let fresh = sqlx::query_as!(
        FreshStep,
        r#"INSERT INTO run_steps
               (job_id, run_lease, seq, phase, name, status, detail, duration_us, step_index, step_total, stored_at)
           SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
               $8::bigint[], $9::bigint[], $10::bigint[], $11::timestamptz[])
           ON CONFLICT (job_id, run_lease, seq) DO NOTHING RETURNING job_id AS "job!: Uuid", seq AS "seq!""#,
        column!(rows, |(_, run, _)| run.job.0),
        column!(rows, |(_, run, _)| run.run_lease.0),
        column!(rows, |(_, _, step)| i64::from(step.seq)),
        column!(rows, |(_, _, step)| step.phase.clone()),
        column!(rows, |(_, _, step)| step.name.clone()),
        column!(rows, |(_, _, step)| status_name(step.status).to_owned()),
        column!(rows, |(_, _, step)| step.detail.clone()),
        column!(rows, |(_, _, step)| duration_micros(step)) as &[Option<i64>],
        column!(rows, |(_, _, step)| i64::from(step.index)),
        column!(rows, |(_, _, step)| i64::from(step.total)),
        column!(rows, |(now, ..)| Time(*now)) as &[Time],
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut fresh: HashSet<(Uuid, i64)> = fresh.into_iter().map(|row| (row.job, row.seq)).collect();
    let mut events = Vec::new();
    for (place, now, run, row) in present {
        let subject = steps::subject(run, row.account, row.posting);
        for step in &run.steps {
            if fresh.remove(&(run.job.0, i64::from(step.seq))) {
                events.push((
                    place,
                    now,
                    steps::event(WorkspaceId(row.workspace), subject, run.run_lease, step),
                ));
            }
        }
    }
    Ok((events, late))
}
