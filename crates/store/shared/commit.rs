//! [`Change`]: everything or nothing.
//!
//! The order holds the foreign keys at each statement and is the lock order on PostgreSQL: the guard (agents), accounts'
//! pacing, listings, new rows (postings, intents), jobs, new jobs, intents, postings, the receipt, the look, and last the
//! feed.

use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::Pacing;
use tradepost_domain::posting::Posting;
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Change, ChangeReceipt, Error, Hint};

use super::rows::{failure_value, unstorable};
use super::{Fault, Tx, looks, pacing};
use crate::backend::Conn;
use crate::dialect;
use crate::time::Time;

pub(crate) async fn apply(mut tx: Tx<'_>, change: Change, now: Timestamp) -> Result<(), Fault> {
    let hints = hints(&change);
    let Change {
        guard,
        pacing: mut paced,
        mut jobs,
        mut intents,
        mut postings,
        new_jobs,
        new_intents,
        new_postings,
        receipt,
        look,
        events,
    } = change;
    // Sorted, so that two changes of the same rows queue up instead of blocking each other.
    paced.sort_unstable_by_key(|pacing: &Pacing| pacing.account);
    jobs.sort_unstable_by_key(|job| job.id);
    intents.sort_unstable_by_key(|intent| intent.id);
    postings.sort_unstable_by_key(|posting| posting.id);
    if let Some(guard) = guard
        && !dialect::hold_stream(tx.conn, guard.agent, guard.epoch).await?
    {
        return Err(Error::Stale.into());
    }
    for changed in &paced {
        // The account may be free to publish again.
        tx.hints.extend(pacing::update(tx.conn, changed).await?.map(Hint::Agent));
    }
    for posting in &new_postings {
        insert_posting(tx.conn, posting).await?;
    }
    for intent in &new_intents {
        insert_intent(tx.conn, intent).await?;
    }
    for job in &jobs {
        update_job(tx.conn, job).await?;
    }
    for job in &new_jobs {
        insert_job(tx.conn, job).await?;
    }
    for intent in &intents {
        update_intent(tx.conn, intent).await?;
    }
    for posting in &postings {
        update_posting(tx.conn, posting).await?;
    }
    if let Some(receipt) = receipt {
        insert_receipt(tx.conn, &receipt, now).await?;
    }
    if let Some(look) = look {
        looks::insert(tx.conn, &look).await?;
    }
    tx.hints.extend(hints);
    tx.append_events(&events, now).await
}

/// What to give after the change's commit.
pub(crate) fn hints(change: &Change) -> Vec<Hint> {
    let mut hints = Vec::new();
    for job in change.jobs.iter().chain(&change.new_jobs) {
        // A job that went on keeps its account; every other change makes it, or the account's next one, ready.
        if !matches!(job.state, job::State::Leased | job::State::Running) {
            hints.push(Hint::Agent(job.agent));
        } else if job.cancel_requested {
            hints.push(Hint::Cancel(job.agent));
        }
    }
    hints.dedup();
    hints
}

/// A compare-and-set that must have changed its row.
pub(super) fn changed(rows: u64) -> Result<(), Fault> {
    if rows == 1 { Ok(()) } else { Err(Error::Stale.into()) }
}

async fn insert_posting(conn: &mut Conn, posting: &Posting) -> Result<(), Fault> {
    if !dialect::hold_listing(conn, posting.workspace, posting.listing).await? {
        return Err(Error::Stale.into());
    }
    let item = posting.item.as_ref();
    sqlx::query!(
        "INSERT INTO postings
             (id, workspace_id, listing_id, account_id, generation, state, job_id, intent_id, item_id, item_url,
              item_strategy, failure, created_at, updated_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        posting.id.0,
        posting.workspace.0,
        posting.listing.0,
        posting.account.0,
        i64::from(posting.generation),
        posting.state.name(),
        posting.job.0,
        posting.intent.0,
        item.map(|item| item.item_id.as_str()),
        item.map(|item| item.url.as_str()),
        item.map(|item| item.strategy.as_str()),
        failure_value(posting.failure.as_ref())?,
        Time(posting.created_at),
        Time(posting.updated_at),
        posting.version.0,
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

async fn update_posting(conn: &mut Conn, posting: &Posting) -> Result<(), Fault> {
    let item = posting.item.as_ref();
    let updated = sqlx::query!(
        "UPDATE postings SET generation = $4, state = $5, job_id = $6, intent_id = $7, item_id = $8, item_url = $9,
             item_strategy = $10, failure = $11, updated_at = $12, version = version + 1
         WHERE id = $1 AND workspace_id = $2 AND version = $3",
        posting.id.0,
        posting.workspace.0,
        posting.version.0,
        i64::from(posting.generation),
        posting.state.name(),
        posting.job.0,
        posting.intent.0,
        item.map(|item| item.item_id.as_str()),
        item.map(|item| item.url.as_str()),
        item.map(|item| item.strategy.as_str()),
        failure_value(posting.failure.as_ref())?,
        Time(posting.updated_at),
    )
    .execute(&mut *conn)
    .await?;
    changed(updated.rows_affected())
}

async fn insert_intent(conn: &mut Conn, intent: &Intent) -> Result<(), Fault> {
    let (permit, item) = (intent.permit.as_ref(), intent.item.as_ref());
    sqlx::query!(
        "INSERT INTO intents
             (id, workspace_id, posting_id, account_id, generation, state, fingerprint, permit_id, permit_request,
              permit_run_lease, permit_epoch, armed_at, report_by, item_id, item_url, item_strategy, reason,
              looks_taken, looks_clean, first_clean_at, created_at, updated_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                 $23)",
        intent.id.0,
        intent.workspace.0,
        intent.posting.0,
        intent.account.0,
        i64::from(intent.generation),
        intent.state.name(),
        intent.fingerprint,
        permit.map(|permit| permit.id.0),
        permit.map(|permit| permit.request.as_str()),
        permit.map(|permit| permit.run_lease.0),
        permit.map(|permit| permit.epoch.0),
        permit.map(|permit| Time(permit.armed_at)),
        permit.map(|permit| Time(permit.report_by)),
        item.map(|item| item.item_id.as_str()),
        item.map(|item| item.url.as_str()),
        item.map(|item| item.strategy.as_str()),
        intent.reason,
        i64::from(intent.looks.taken),
        i64::from(intent.looks.clean),
        intent.looks.first_clean_at.map(Time),
        Time(intent.created_at),
        Time(intent.updated_at),
        intent.version.0,
    )
    .execute(&mut *conn)
    .await?;
    if intent.baseline.is_empty() { Ok(()) } else { put_baseline(conn, intent).await }
}

async fn update_intent(conn: &mut Conn, intent: &Intent) -> Result<(), Fault> {
    let (permit, item) = (intent.permit.as_ref(), intent.item.as_ref());
    let updated = sqlx::query!(
        "UPDATE intents SET generation = $4, state = $5, fingerprint = $6, permit_id = $7, permit_request = $8,
             permit_run_lease = $9, permit_epoch = $10, armed_at = $11, report_by = $12, item_id = $13, item_url = $14,
             item_strategy = $15, reason = $16, looks_taken = $17, looks_clean = $18, first_clean_at = $19,
             updated_at = $20, version = version + 1
         WHERE id = $1 AND workspace_id = $2 AND version = $3",
        intent.id.0,
        intent.workspace.0,
        intent.version.0,
        i64::from(intent.generation),
        intent.state.name(),
        intent.fingerprint,
        permit.map(|permit| permit.id.0),
        permit.map(|permit| permit.request.as_str()),
        permit.map(|permit| permit.run_lease.0),
        permit.map(|permit| permit.epoch.0),
        permit.map(|permit| Time(permit.armed_at)),
        permit.map(|permit| Time(permit.report_by)),
        item.map(|item| item.item_id.as_str()),
        item.map(|item| item.url.as_str()),
        item.map(|item| item.strategy.as_str()),
        intent.reason,
        i64::from(intent.looks.taken),
        i64::from(intent.looks.clean),
        intent.looks.first_clean_at.map(Time),
        Time(intent.updated_at),
    )
    .execute(&mut *conn)
    .await?;
    changed(updated.rows_affected())?;
    // The baseline is of the time before the click: nothing after the preparation changes it.
    if matches!(intent.state, publish::State::Preparing | publish::State::Prepared) {
        put_baseline(conn, intent).await?;
    }
    Ok(())
}

async fn put_baseline(conn: &mut Conn, intent: &Intent) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO intent_baselines (intent_id, item_ids) VALUES ($1, $2)
         ON CONFLICT (intent_id) DO UPDATE SET item_ids = excluded.item_ids",
        intent.id.0,
        serde_json::to_value(&intent.baseline).map_err(unstorable)?,
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

async fn insert_job(conn: &mut Conn, job: &Job) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO jobs
             (id, workspace_id, kind, agent_id, account_id, posting_id, intent_id, state, priority, attempt, run_lease,
              lease_until, run_started_at, run_after, cancel_requested, failure, trace_context, created_at, updated_at,
              version, turn_at, discarded_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)",
        job.id.0,
        job.workspace.0,
        job.kind.name(),
        job.agent.0,
        job.account.0,
        job.posting.map(|posting| posting.0),
        job.intent.map(|intent| intent.0),
        job.state.name(),
        i64::from(job.priority),
        i64::from(job.attempt),
        job.run_lease.map(|lease| lease.0),
        job.lease_until.map(Time),
        job.run_started_at.map(Time),
        Time(job.run_after),
        job.cancel_requested,
        failure_value(job.failure.as_ref())?,
        job.trace_context,
        Time(job.created_at),
        Time(job.updated_at),
        job.version.0,
        Time(job.turn()),
        job.discarded_at.map(Time),
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

async fn update_job(conn: &mut Conn, job: &Job) -> Result<(), Fault> {
    let updated = sqlx::query!(
        "UPDATE jobs SET agent_id = $4, intent_id = $5, state = $6, priority = $7, attempt = $8, run_lease = $9,
             lease_until = $10, run_started_at = $11, run_after = $12, cancel_requested = $13, failure = $14,
             updated_at = $15, turn_at = $16, discarded_at = $17, version = version + 1
         WHERE id = $1 AND workspace_id = $2 AND version = $3",
        job.id.0,
        job.workspace.0,
        job.version.0,
        job.agent.0,
        job.intent.map(|intent| intent.0),
        job.state.name(),
        i64::from(job.priority),
        i64::from(job.attempt),
        job.run_lease.map(|lease| lease.0),
        job.lease_until.map(Time),
        job.run_started_at.map(Time),
        Time(job.run_after),
        job.cancel_requested,
        failure_value(job.failure.as_ref())?,
        Time(job.updated_at),
        Time(job.turn()),
        job.discarded_at.map(Time),
    )
    .execute(&mut *conn)
    .await?;
    changed(updated.rows_affected())
}

/// Keeps the first proof of an intent: a later one would only repeat it.
async fn insert_receipt(conn: &mut Conn, change: &ChangeReceipt, now: Timestamp) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO receipts (intent_id, workspace_id, posting_id, receipt, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (intent_id) DO NOTHING",
        change.intent.0,
        change.workspace.0,
        change.posting.0,
        serde_json::to_value(&change.receipt).map_err(unstorable)?,
        Time(now),
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}
