//! Places in the feeds, and the events that take them, by one statement.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::PgConnection;
use tradepost_domain::event::NewEvent;
use tradepost_domain::id::WorkspaceId;
use tradepost_domain::time::Timestamp;
use tradepost_store::{Error, Hint};
use uuid::Uuid;

use crate::shared::Fault;
use crate::time::Time;

/// What a member of a group tells: its place in the group, when, and what.
pub(crate) type Told = (usize, Timestamp, NewEvent);

/// Events as columns, each with the number of its feed and its own place among the new ones there, both from 1.
#[derive(Default)]
pub(crate) struct Feeds {
    pub(crate) workspaces: Vec<Uuid>,
    /// How many places each feed needs.
    pub(crate) lengths: Vec<i64>,
    pub(crate) of_event: Vec<Uuid>,
    pub(crate) feed: Vec<i64>,
    pub(crate) nth: Vec<i64>,
    pub(crate) times: Vec<Time>,
    pub(crate) kinds: Vec<String>,
    pub(crate) accounts: Vec<Option<Uuid>>,
    pub(crate) listings: Vec<Option<Uuid>>,
    pub(crate) postings: Vec<Option<Uuid>>,
    pub(crate) jobs: Vec<Option<Uuid>>,
    pub(crate) agents: Vec<Option<Uuid>>,
    pub(crate) data: Vec<Value>,
}

impl Feeds {
    /// In the order in which they are told.
    pub(crate) fn of<'e>(told: impl Iterator<Item = (Timestamp, &'e NewEvent)>) -> Self {
        let mut feeds = Self::default();
        let mut numbers: BTreeMap<WorkspaceId, usize> = BTreeMap::new();
        for (now, event) in told {
            let NewEvent { workspace, kind, subject, data } = event;
            let number = *numbers.entry(*workspace).or_insert_with(|| {
                feeds.workspaces.push(workspace.0);
                feeds.lengths.push(0);
                feeds.lengths.len()
            });
            let nth = feeds.lengths.get_mut(number - 1).map_or(0, |length| {
                *length += 1;
                *length
            });
            feeds.of_event.push(workspace.0);
            feeds.feed.push(i64::try_from(number).unwrap_or(i64::MAX));
            feeds.nth.push(nth);
            feeds.times.push(Time(now));
            feeds.kinds.push(kind.name().to_owned());
            feeds.accounts.push(subject.account.map(|id| id.0));
            feeds.listings.push(subject.listing.map(|id| id.0));
            feeds.postings.push(subject.posting.map(|id| id.0));
            feeds.jobs.push(subject.job.map(|id| id.0));
            feeds.agents.push(subject.agent.map(|id| id.0));
            feeds.data.push(data.clone());
        }
        feeds
    }

    /// That the feeds grew, to be said after the commit.
    pub(crate) fn hints(&self) -> impl Iterator<Item = Hint> + '_ {
        self.workspaces.iter().map(|workspace| Hint::Feed(WorkspaceId(*workspace)))
    }
}

/// Appends to the feeds. The last statement of its transaction: the workspaces' rows are locked in their order until the
/// commit, so that places become visible in their order.
pub(crate) async fn append(
    conn: &mut PgConnection,
    told: &[Told],
    hints: &mut Vec<Hint>,
) -> Result<(), Fault> {
    if told.is_empty() {
        return Ok(());
    }
    let feeds = Feeds::of(told.iter().map(|(_, now, event)| (*now, event)));
    let appended = sqlx::query!(
        "WITH wanted AS MATERIALIZED (
             SELECT s.id AS feed, w.places FROM UNNEST($1::uuid[], $2::bigint[]) AS w (id, places)
                 JOIN workspaces s ON s.id = w.id ORDER BY s.id FOR NO KEY UPDATE OF s
         ), placed AS (
             UPDATE workspaces SET event_seq = event_seq + places FROM wanted WHERE id = feed
             RETURNING id AS place_of, event_seq - places AS before
         ), bases AS MATERIALIZED (
             SELECT array_agg(p.before ORDER BY w.nth) AS base FROM UNNEST($1::uuid[]) WITH ORDINALITY AS w (id, nth)
                 JOIN placed p ON p.place_of = w.id HAVING count(*) = cardinality($1::uuid[])
         )
         INSERT INTO events
             (workspace_id, seq, stored_at, kind, account_id, listing_id, posting_id, job_id, agent_id, data)
         SELECT e.workspace, b.base[e.feed] + e.nth, e.at, e.kind, e.account, e.listing, e.posting, e.job, e.agent, e.data
         FROM bases b CROSS JOIN
             UNNEST($3::uuid[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::text[], $8::uuid[], $9::uuid[],
                    $10::uuid[], $11::uuid[], $12::uuid[], $13::jsonb[])
             AS e (workspace, feed, nth, at, kind, account, listing, posting, job, agent, data)",
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
    )
    .execute(conn)
    .await?;
    // None at all where a workspace is not there.
    if usize::try_from(appended.rows_affected()) != Ok(told.len()) {
        return Err(Error::Stale.into());
    }
    hints.extend(feeds.hints());
    Ok(())
}
