//! New postings with their jobs and intents: one statement for as many as there are, which is a transaction of its own.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use tradepost_domain::audit::Entry;
use tradepost_domain::id::{ListingId, WorkspaceId};
use tradepost_domain::job::Job;
use tradepost_domain::posting::Posting;
use tradepost_domain::publish::{Intent, Looks};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Change, Hint};
use uuid::Uuid;

use crate::bulk::column;
use crate::feed::Feeds;
use crate::shared::Fault;
use crate::time::Time;

/// Whether a change makes postings that nothing has happened to, and changes nothing that is there.
pub(crate) fn is_creation(change: &Change) -> bool {
    let Change { guard, pacing, jobs, intents, postings, receipt, look, .. } = change;
    let changes_nothing = guard.is_none()
        && pacing.is_empty()
        && jobs.is_empty()
        && intents.is_empty()
        && postings.is_empty()
        && receipt.is_none()
        && look.is_none();
    let Change { new_jobs, new_intents, new_postings, events, .. } = change;
    changes_nothing
        && !new_postings.is_empty()
        && !events.is_empty()
        && new_postings.iter().all(|posting| posting.item.is_none() && posting.failure.is_none())
        && new_intents.iter().all(is_fresh_intent)
        && new_jobs.iter().all(is_fresh_job)
}

fn is_fresh_intent(intent: &Intent) -> bool {
    let Intent { baseline, permit, item, reason, looks, .. } = intent;
    baseline.is_empty()
        && permit.is_none()
        && item.is_none()
        && reason.is_none()
        && *looks == Looks::default()
}

fn is_fresh_job(job: &Job) -> bool {
    let Job { run_lease, lease_until, run_started_at, cancel_requested, failure, discarded_at, .. } = job;
    run_lease.is_none()
        && lease_until.is_none()
        && run_started_at.is_none()
        && !cancel_requested
        && failure.is_none()
        && discarded_at.is_none()
}

/// The rows of many creations.
struct Rows<'c> {
    /// Each pair once.
    listings: Vec<(WorkspaceId, ListingId)>,
    postings: Vec<&'c Posting>,
    intents: Vec<&'c Intent>,
    jobs: Vec<&'c Job>,
}

impl<'c> Rows<'c> {
    fn of(changes: &[(Timestamp, &'c Change)]) -> Self {
        let all = || changes.iter().map(|(_, change)| *change);
        let postings: Vec<&Posting> = all().flat_map(|change| &change.new_postings).collect();
        let listings: BTreeSet<_> =
            postings.iter().map(|posting| (posting.workspace, posting.listing)).collect();
        Self {
            listings: listings.into_iter().collect(),
            postings,
            intents: all().flat_map(|change| &change.new_intents).collect(),
            jobs: all().flat_map(|change| &change.new_jobs).collect(),
        }
    }
}

/// Inserts all rows of creations, tells of them, and stores the audit entries of who asked for them. Nothing is inserted, and `false` returned, unless every listing and every
/// workspace is there; listings stay so until the commit. An error that is no `Unavailable` has undone it all; what became of
/// it is not known after one that is.
///
/// The counts make each part wait for the one before, so that rows are locked in the order of all writes.
#[expect(clippy::too_many_lines, reason = "one statement, with a line for each of its columns")]
pub(crate) async fn at_once(
    conn: &mut PgConnection,
    changes: &[(Timestamp, &Change)],
    entries: &[&Entry],
    hints: &mut Vec<Hint>,
) -> Result<bool, Fault> {
    let Rows { listings, postings, intents, jobs } = &Rows::of(changes);
    let told = changes.iter().flat_map(|(now, change)| change.events.iter().map(move |event| (*now, event)));
    let feeds = Feeds::of(told);
    let inserted = sqlx::query!(
        "WITH held AS MATERIALIZED (
             SELECT l.id FROM UNNEST($1::uuid[], $2::uuid[]) AS w (workspace, listing) JOIN listings l
                 ON l.id = w.listing AND (l.workspace_id = w.workspace AND l.deleted_at IS NULL) IS TRUE
             ORDER BY l.id FOR SHARE OF l
         ), whole AS MATERIALIZED (
             SELECT (SELECT count(*) FROM held) = cardinality($1::uuid[])
                 AND (SELECT count(*) FROM UNNEST($40::uuid[]) AS w (id) JOIN workspaces s ON s.id = w.id)
                     = cardinality($40::uuid[]) AS is_whole
         ), new_postings AS (
             INSERT INTO postings
                 (id, workspace_id, listing_id, account_id, generation, state, job_id, intent_id, created_at,
                  updated_at, version)
             SELECT * FROM UNNEST($3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::bigint[], $8::text[], $9::uuid[], $10::uuid[],
                 $11::timestamptz[], $12::timestamptz[], $13::bigint[]) AS n
             WHERE (SELECT is_whole FROM whole) RETURNING 1
         ), new_intents AS (
             INSERT INTO intents
                 (id, workspace_id, posting_id, account_id, generation, state, fingerprint, created_at, updated_at,
                  version, looks_taken, looks_clean)
             SELECT n.*, 0, 0 FROM UNNEST($14::uuid[], $15::uuid[], $16::uuid[], $17::uuid[], $18::bigint[], $19::text[], $20::text[],
                 $21::timestamptz[], $22::timestamptz[], $23::bigint[]) AS n
             WHERE (SELECT is_whole FROM whole) RETURNING 1
         ), new_jobs AS (
             INSERT INTO jobs
                 (id, workspace_id, kind, agent_id, account_id, posting_id, intent_id, state, priority, attempt,
                  run_after, trace_context, created_at, updated_at, version, turn_at, cancel_requested)
             SELECT n.*, FALSE FROM UNNEST($24::uuid[], $25::uuid[], $26::text[], $27::uuid[], $28::uuid[], $29::uuid[], $30::uuid[], $31::text[],
                 $32::bigint[], $33::bigint[], $34::timestamptz[], $35::text[], $36::timestamptz[], $37::timestamptz[],
                 $38::bigint[], $39::timestamptz[]) AS n
             WHERE (SELECT is_whole FROM whole) RETURNING 1
         ), made AS MATERIALIZED (
             SELECT (SELECT count(*) FROM new_postings) + (SELECT count(*) FROM new_intents)
                 + (SELECT count(*) FROM new_jobs) > 0 AS is_made
         ), audited AS (
             INSERT INTO audit_waiting
                 (id, chain_id, at, actor, actor_id, proof, proof_id, peer, method, target, target_id, outcome, reason,
                  call_id, controller_id, details)
             SELECT * FROM UNNEST($53::uuid[], $54::uuid[], $55::timestamptz[], $56::text[], $57::uuid[], $58::text[],
                 $59::uuid[], $60::text[], $61::text[], $62::text[], $63::uuid[], $64::text[], $65::text[], $66::uuid[],
                 $67::uuid[], $68::text[]) AS n
             WHERE (SELECT is_made FROM made)
         ), wanted AS MATERIALIZED (
             SELECT s.id AS feed, w.places FROM UNNEST($40::uuid[], $41::bigint[]) AS w (id, places)
                 JOIN workspaces s ON s.id = w.id WHERE (SELECT is_made FROM made) ORDER BY s.id FOR NO KEY UPDATE OF s
         ), placed AS (
             UPDATE workspaces SET event_seq = event_seq + places FROM wanted WHERE id = feed
             RETURNING id AS place_of, event_seq - places AS before
         ), bases AS MATERIALIZED (
             SELECT array_agg(p.before ORDER BY w.nth) AS base FROM UNNEST($40::uuid[]) WITH ORDINALITY AS w (id, nth)
                 JOIN placed p ON p.place_of = w.id HAVING count(*) = cardinality($40::uuid[])
         )
         INSERT INTO events
             (workspace_id, seq, stored_at, kind, account_id, listing_id, posting_id, job_id, agent_id, data)
         SELECT e.workspace, b.base[e.feed] + e.nth, e.at, e.kind, e.account, e.listing, e.posting, e.job, e.agent, e.data
         FROM bases b CROSS JOIN
             UNNEST($42::uuid[], $43::bigint[], $44::bigint[], $45::timestamptz[], $46::text[], $47::uuid[],
                    $48::uuid[], $49::uuid[], $50::uuid[], $51::uuid[], $52::jsonb[])
             AS e (workspace, feed, nth, at, kind, account, listing, posting, job, agent, data)",
        column!(listings, |(workspace, _)| workspace.0),
        column!(listings, |(_, listing)| listing.0),
        column!(postings, |posting| posting.id.0),
        column!(postings, |posting| posting.workspace.0),
        column!(postings, |posting| posting.listing.0),
        column!(postings, |posting| posting.account.0),
        column!(postings, |posting| i64::from(posting.generation)),
        column!(postings, |posting| posting.state.name().to_owned()),
        column!(postings, |posting| posting.job.0),
        column!(postings, |posting| posting.intent.0),
        column!(postings, |posting| Time(posting.created_at)) as &[Time],
        column!(postings, |posting| Time(posting.updated_at)) as &[Time],
        column!(postings, |posting| posting.version.0),
        column!(intents, |intent| intent.id.0),
        column!(intents, |intent| intent.workspace.0),
        column!(intents, |intent| intent.posting.0),
        column!(intents, |intent| intent.account.0),
        column!(intents, |intent| i64::from(intent.generation)),
        column!(intents, |intent| intent.state.name().to_owned()),
        column!(intents, |intent| intent.fingerprint.clone()),
        column!(intents, |intent| Time(intent.created_at)) as &[Time],
        column!(intents, |intent| Time(intent.updated_at)) as &[Time],
        column!(intents, |intent| intent.version.0),
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
        column!(jobs, |job| Time(job.run_after)) as &[Time],
        column!(jobs, |job| job.trace_context.clone()) as &[Option<String>],
        column!(jobs, |job| Time(job.created_at)) as &[Time],
        column!(jobs, |job| Time(job.updated_at)) as &[Time],
        column!(jobs, |job| job.version.0),
        column!(jobs, |job| Time(job.turn())) as &[Time],
        &feeds.workspaces,
        &feeds.lengths,
        &feeds.of_event,
        &feeds.feed,
        &feeds.nth,
        &feeds.times as &[Time],
        &feeds.kinds,
        &feeds.accounts as &[Option<Uuid>],
        &feeds.listings as &[Option<Uuid>],
        &feeds.postings as &[Option<Uuid>],
        &feeds.jobs as &[Option<Uuid>],
        &feeds.agents as &[Option<Uuid>],
        &feeds.data,
        column!(entries, |entry| entry.id.0),
        column!(entries, |entry| entry.chain.key()),
        column!(entries, |entry| Time(entry.at)) as &[Time],
        column!(entries, |entry| entry.actor.clone()),
        column!(entries, |entry| entry.actor_id) as &[Option<Uuid>],
        column!(entries, |entry| entry.proof.clone()),
        column!(entries, |entry| entry.proof_id) as &[Option<Uuid>],
        column!(entries, |entry| entry.peer.clone()),
        column!(entries, |entry| entry.method.clone()),
        column!(entries, |entry| entry.target.clone()),
        column!(entries, |entry| entry.target_id) as &[Option<Uuid>],
        column!(entries, |entry| entry.outcome.clone()),
        column!(entries, |entry| entry.reason.clone()),
        column!(entries, |entry| entry.call.0),
        column!(entries, |entry| entry.controller.0),
        column!(entries, |entry| entry.details_text()),
    )
    .execute(conn)
    .await?;
    hints.extend(feeds.hints());
    Ok(usize::try_from(inserted.rows_affected()) == Ok(feeds.kinds.len()))
}
