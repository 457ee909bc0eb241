//! One write transaction.

use std::collections::BTreeMap;

use tradepost_domain::audit::Entry;
use tradepost_domain::event::{Kind, NewEvent, Subject};
use tradepost_domain::id::WorkspaceId;
use tradepost_domain::time::Timestamp;
use tradepost_store::Hint;
use tradepost_store::audit::Due;

use super::Fault;
use crate::backend::Conn;
use crate::dialect;
use crate::time::Time;

/// An open transaction, with the hints to give after its commit.
pub(crate) struct Tx<'c> {
    /// The connection that holds it.
    pub(crate) conn: &'c mut Conn,
    /// Given after the commit.
    pub(crate) hints: &'c mut Vec<Hint>,
    /// The audit entry that is written behind everything else, in the same transaction.
    pub(crate) due: &'c mut Option<Due>,
}

/// An event with its place in its workspace's feed.
pub(crate) struct Appended<'e> {
    /// The place.
    pub(crate) seq: i64,
    /// What is told.
    pub(crate) event: &'e NewEvent,
}

impl Tx<'_> {
    /// Says more of what is changed than the caller could know.
    pub(crate) fn tell(&mut self, say: impl FnOnce(&mut Entry)) {
        if let Some(due) = self.due {
            say(&mut due.entry);
        }
    }

    /// Nothing was changed, so there is nothing to tell in the audit log.
    pub(crate) fn unchanged(&mut self) {
        *self.due = None;
    }

    /// Appends to the feeds. The last statement of its transaction: the workspace's row stays locked until the commit, so
    /// that places become visible in their order.
    pub(crate) async fn append_events(&mut self, events: &[NewEvent], now: Timestamp) -> Result<(), Fault> {
        let mut feeds: BTreeMap<WorkspaceId, Vec<&NewEvent>> = BTreeMap::new();
        for event in events {
            feeds.entry(event.workspace).or_default().push(event);
        }
        for (workspace, events) in feeds {
            let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
            let newest = sqlx::query_scalar!(
                r#"UPDATE workspaces SET event_seq = event_seq + $2 WHERE id = $1 RETURNING event_seq AS "seq!: i64""#,
                workspace.0,
                count,
            )
            .fetch_one(&mut *self.conn)
            .await?;
            let appended: Vec<_> =
                (newest - count + 1..).zip(events).map(|(seq, event)| Appended { seq, event }).collect();
            dialect::insert_events(self.conn, &appended, Time(now)).await?;
            self.hints.push(Hint::Feed(workspace));
        }
        Ok(())
    }

    /// [`Tx::append_events`] for one event.
    pub(crate) async fn append_event(
        &mut self,
        workspace: WorkspaceId,
        kind: Kind,
        subject: Subject,
        data: serde_json::Value,
        now: Timestamp,
    ) -> Result<(), Fault> {
        self.append_events(&[NewEvent { workspace, kind, subject, data }], now).await
    }
}
