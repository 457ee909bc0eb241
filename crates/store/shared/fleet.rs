//! The lives of the database.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use tradepost_domain::event::{Kind, NewEvent, Subject};
use tradepost_domain::fleet::{Fleet, FleetEpoch};
use tradepost_domain::id::{
    AccountId, AgentId, DatabaseId, IntentId, PermitId, PostingId, RunLease, WorkspaceId,
};
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Error, Fleets, NewFleetEpoch, Owed};
use uuid::Uuid;

use super::rows::intents;
use super::{Fault, IntentRow, Tx, audit};
use crate::backend::{Backend, Conn};
use crate::dialect;
use crate::time::Time;

struct OwedRow {
    epoch: i64,
    known_lease: i64,
    begun_at: Time,
}

struct UnarmedRow {
    id: Uuid,
    workspace_id: Uuid,
    posting_id: Uuid,
}

#[async_trait]
impl Fleets for Backend {
    async fn fleet(&self) -> Result<Fleet, Error> {
        self.snapshot(async |conn| fleet(conn).await).await
    }

    async fn newest_numbers(&self) -> Result<(FleetEpoch, RunLease), Error> {
        self.read(async |conn| Ok((newest_epoch(conn).await?, dialect::newest_lease(conn).await?))).await
    }

    async fn begin_fleet_epoch(&self, new: NewFleetEpoch, now: Timestamp) -> Result<Fleet, Error> {
        self.write(move |tx| Box::pin(begin(tx, new, now))).await
    }

    async fn find_owed(&self, agent: AgentId) -> Result<Option<Owed>, Error> {
        self.read(async |conn| {
            let rows = sqlx::query_as!(
                OwedRow,
                r#"SELECT f.epoch AS "epoch!", f.known_lease AS "known_lease!", f.begun_at AS "begun_at!: Time"
                   FROM agents a JOIN fleet_epochs f ON f.epoch > a.recounted_epoch
                   WHERE a.id = $1 AND (f.agent_id = $1 OR f.agent_id IS NULL)"#,
                agent.0,
            )
            .fetch_all(&mut *conn)
            .await?;
            Ok(rows.into_iter().map(|row| Owed {
                epoch: FleetEpoch(row.epoch),
                known_lease: RunLease(row.known_lease),
                begun_at: row.begun_at.0,
            })
            .reduce(|one, other| Owed {
                epoch: one.epoch.max(other.epoch),
                known_lease: one.known_lease.min(other.known_lease),
                begun_at: one.begun_at.max(other.begun_at),
            }))
        })
        .await
    }

    async fn permit_states(&self, permits: &[PermitId]) -> Result<HashMap<PermitId, publish::State>, Error> {
        if permits.is_empty() {
            return Ok(HashMap::new());
        }
        self.snapshot(async |conn| {
            let mut states = HashMap::with_capacity(permits.len());
            for permit in permits {
                let found = sqlx::query_scalar!(
                    r#"SELECT state AS "state!" FROM intents WHERE permit_id = $1"#,
                    permit.0
                )
                .fetch_optional(&mut *conn)
                .await?;
                if let Some(name) = found {
                    let state = publish::State::from_name(&name)
                        .ok_or_else(|| Fault::inconsistent("intents.state", permit, &name))?;
                    states.insert(*permit, state);
                }
            }
            Ok(states)
        })
        .await
    }

    async fn record_recount(&self, agent: AgentId, epoch: FleetEpoch) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query!(
                    "UPDATE agents SET recounted_epoch = $2 WHERE id = $1 AND recounted_epoch < $2",
                    agent.0,
                    epoch.0,
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    async fn list_unarmed_intents(
        &self,
        agent: AgentId,
        account: Option<AccountId>,
        before: Timestamp,
        after: Option<IntentId>,
        limit: u32,
    ) -> Result<Vec<(IntentId, WorkspaceId, PostingId)>, Error> {
        self.read(async |conn| {
            let rows = sqlx::query_as!(
                UnarmedRow,
                r#"SELECT i.id AS "id!: Uuid", i.workspace_id AS "workspace_id!: Uuid", i.posting_id AS "posting_id!: Uuid"
                   FROM accounts a
                       JOIN postings p ON p.account_id = a.id AND p.state IN ('queued', 'running', 'needs_human')
                       JOIN intents i ON i.id = p.intent_id
                   WHERE a.agent_id = $1 AND (a.id = $2 OR $2 IS NULL) AND i.state IN ('preparing', 'prepared')
                     AND i.created_at <= $3 AND i.id > $4
                   ORDER BY i.id LIMIT $5"#,
                agent.0,
                account.map(|account| account.0),
                Time(before),
                after.map_or(Uuid::nil(), |after| after.0),
                i64::from(limit),
            )
            .fetch_all(&mut *conn)
            .await?;
            let found = rows.into_iter();
            Ok(found
                .map(|row| (IntentId(row.id), WorkspaceId(row.workspace_id), PostingId(row.posting_id)))
                .collect())
        })
        .await
    }

    async fn list_armed_before(
        &self,
        epoch: FleetEpoch,
        agent: Option<AgentId>,
        report_by: Timestamp,
        limit: u32,
    ) -> Result<Vec<Intent>, Error> {
        self.read(async |conn| {
            intents!(
                "JOIN postings p ON p.id = i.posting_id JOIN jobs j ON j.id = p.job_id
                                  WHERE i.state = 'armed' AND i.report_by <= $3 AND i.permit_run_lease < $1
                   AND (j.agent_id = $2 OR $2 IS NULL)
                 ORDER BY i.report_by LIMIT $4",
                epoch.first_number(),
                agent.map(|agent| agent.0),
                Time(report_by),
                i64::from(limit)
            )
            .fetch_all(&mut *conn)
            .await?
            .into_iter()
            .map(IntentRow::into_intent)
            .collect()
        })
        .await
    }
}

/// The newest life.
pub(super) async fn newest_epoch(conn: &mut Conn) -> Result<FleetEpoch, Fault> {
    let newest = sqlx::query_scalar!(r#"SELECT max(epoch) AS "epoch!: i64" FROM fleet_epochs"#)
        .fetch_one(&mut *conn)
        .await?;
    Ok(FleetEpoch(newest))
}

async fn fleet(conn: &mut Conn) -> Result<Fleet, Fault> {
    let database =
        sqlx::query_scalar!(r#"SELECT database_id AS "id!: Uuid" FROM fleet WHERE name = 'fleet'"#)
            .fetch_one(&mut *conn)
            .await?;
    let events = feeds(conn).await?.into_iter().map(|feed| feed.event_seq).sum();
    Ok(Fleet {
        database: DatabaseId(database),
        epoch: newest_epoch(conn).await?,
        run_lease: dialect::newest_lease(conn).await?,
        events,
    })
}

struct FeedRow {
    id: Uuid,
    event_seq: i64,
}

/// Every workspace with the newest place of its feed, page by page.
async fn feeds(conn: &mut Conn) -> Result<Vec<FeedRow>, Fault> {
    let mut feeds: Vec<FeedRow> = Vec::new();
    loop {
        let after = feeds.last().map_or(Uuid::nil(), |feed| feed.id);
        let page = sqlx::query_as!(
            FeedRow,
            r#"SELECT id AS "id!: Uuid", event_seq AS "event_seq!" FROM workspaces
               WHERE id > $1 ORDER BY id LIMIT 1000"#,
            after,
        )
        .fetch_all(&mut *conn)
        .await?;
        if page.is_empty() {
            return Ok(feeds);
        }
        feeds.extend(page);
    }
}

async fn begin(mut tx: Tx<'_>, new: NewFleetEpoch, now: Timestamp) -> Result<Fleet, Fault> {
    let known_lease = dialect::newest_lease(tx.conn).await?;
    let older = newest_epoch(tx.conn).await?;
    let epoch = older.after(new.after);
    sqlx::query!(
        "INSERT INTO fleet_epochs (epoch, begun_at, known_lease, agent_id, reason) VALUES ($1, $2, $3, $4, $5)",
        epoch.0,
        Time(now),
        known_lease.0,
        new.agent.map(|agent| agent.0),
        new.reason,
    )
    .execute(&mut *tx.conn)
    .await?;
    dialect::raise_leases(tx.conn, RunLease(epoch.first_number())).await?;
    if new.agent.is_none() {
        // All of them, along their key from its beginning.
        sqlx::query!(
            "UPDATE agents SET session_epoch = $1 WHERE id > $2 AND session_epoch < $1",
            epoch.first_number(),
            Uuid::nil(),
        )
        .execute(&mut *tx.conn)
        .await?;
    }
    let concerned: Vec<Uuid> = match new.agent {
        None => feeds(tx.conn).await?.into_iter().map(|feed| feed.id).collect(),
        Some(agent) => {
            sqlx::query_scalar!(
                r#"SELECT workspace_id AS "workspace_id!: Uuid" FROM agents WHERE id = $1"#,
                agent.0
            )
            .fetch_all(&mut *tx.conn)
            .await?
        }
    };
    audit::tell_restored(&mut tx, &concerned, epoch).await?;
    let told = concerned.into_iter().map(|workspace| NewEvent {
        workspace: WorkspaceId(workspace),
        kind: Kind::FleetRestored,
        subject: Subject { agent: new.agent, ..Subject::default() },
        data: json!({ "epoch": epoch.0, "reason": new.reason }),
    });
    let told: Vec<_> = told.collect();
    tx.append_events(&told, now).await?;
    fleet(tx.conn).await
}
