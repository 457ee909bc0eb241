//! Reading the feeds.

use async_trait::async_trait;
use serde_json::Value;
use tradepost_domain::event::{Event, Kind, NewEvent, Subject};
use tradepost_domain::id::{AccountId, AgentId, JobId, ListingId, PostingId, WorkspaceId};
use tradepost_store::{Error, Events};
use uuid::Uuid;

use super::Fault;
use crate::backend::Backend;
use crate::time::Time;

struct EventRow {
    workspace_id: Uuid,
    seq: i64,
    stored_at: Time,
    kind: String,
    account_id: Option<Uuid>,
    listing_id: Option<Uuid>,
    posting_id: Option<Uuid>,
    job_id: Option<Uuid>,
    agent_id: Option<Uuid>,
    data: Value,
}

impl EventRow {
    fn into_event(self) -> Result<Event, Fault> {
        let kind = Kind::from_name(&self.kind).ok_or_else(|| {
            Fault::inconsistent("events.kind", format!("{}/{}", self.workspace_id, self.seq), &self.kind)
        })?;
        Ok(Event {
            seq: self.seq,
            at: self.stored_at.0,
            event: NewEvent {
                workspace: WorkspaceId(self.workspace_id),
                kind,
                subject: Subject {
                    account: self.account_id.map(AccountId),
                    listing: self.listing_id.map(ListingId),
                    posting: self.posting_id.map(PostingId),
                    job: self.job_id.map(JobId),
                    agent: self.agent_id.map(AgentId),
                },
                data: self.data,
            },
        })
    }
}

macro_rules! events {
    ($tail:literal, $($args:tt)*) => {
        sqlx::query_as!(
            EventRow,
            r#"SELECT workspace_id AS "workspace_id!: Uuid", seq AS "seq!", stored_at AS "stored_at!: Time",
                      kind AS "kind!", account_id AS "account_id?: Uuid", listing_id AS "listing_id?: Uuid",
                      posting_id AS "posting_id?: Uuid", job_id AS "job_id?: Uuid", agent_id AS "agent_id?: Uuid",
                      data AS "data!: Value"
               FROM events "# + $tail,
            $($args)*
        )
    };
}

#[async_trait]
impl Events for Backend {
    async fn list_events(
        &self,
        workspace: WorkspaceId,
        after: i64,
        posting: Option<PostingId>,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let limit = i64::from(limit);
        self.read(async |conn| {
            let rows = if let Some(posting) = posting {
                events!(
                    "WHERE posting_id = $2 AND seq > $3 AND workspace_id = $1 ORDER BY seq LIMIT $4",
                    workspace.0,
                    posting.0,
                    after,
                    limit
                )
                .fetch_all(&mut *conn)
                .await?
            } else {
                events!(
                    "WHERE workspace_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
                    workspace.0,
                    after,
                    limit
                )
                .fetch_all(&mut *conn)
                .await?
            };
            rows.into_iter().map(EventRow::into_event).collect()
        })
        .await
    }

    async fn first_event(&self, workspace: WorkspaceId) -> Result<i64, Error> {
        self.read(async |conn| {
            // The newest first: a reader must not be told of a gap because of an event between the two statements.
            let newest = sqlx::query_scalar!(
                r#"SELECT event_seq AS "seq!: i64" FROM workspaces WHERE id = $1"#,
                workspace.0,
            )
            .fetch_optional(&mut *conn)
            .await?;
            let oldest = sqlx::query_scalar!(
                r#"SELECT seq AS "seq!" FROM events WHERE workspace_id = $1 ORDER BY seq LIMIT 1"#,
                workspace.0,
            )
            .fetch_optional(&mut *conn)
            .await?;
            Ok(oldest.unwrap_or(newest.unwrap_or(0) + 1))
        })
        .await
    }

    async fn last_event(&self, workspace: WorkspaceId) -> Result<i64, Error> {
        self.read(async |conn| {
            let seq = sqlx::query_scalar!(
                r#"SELECT event_seq AS "seq!: i64" FROM workspaces WHERE id = $1"#,
                workspace.0,
            )
            .fetch_optional(&mut *conn)
            .await?;
            Ok(seq.unwrap_or(0))
        })
        .await
    }
}
