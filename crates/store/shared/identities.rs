//! Agents' identities.

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::agent::Agent;
use tradepost_domain::audit::Chain;
use tradepost_domain::event::Kind;
use tradepost_domain::id::{AgentId, WorkspaceId};
use tradepost_domain::standing::LockReason;
use tradepost_domain::time::Timestamp;
use tradepost_store::{AgentIdentities, Error, Hint, Joining};
use uuid::Uuid;

use super::agents::{find, subject};
use super::rows::agents;
use crate::backend::Backend;
use crate::time::Time;

#[async_trait]
impl AgentIdentities for Backend {
    async fn accept_join(&self, joining: Joining) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let kept = sqlx::query!(
                    "UPDATE agents SET join_counter = $3, join_boot_id = $4
                     WHERE id = $1 AND join_counter = $2 AND revoked_at IS NULL AND locked_at IS NULL",
                    joining.agent.0,
                    joining.seen,
                    joining.counter,
                    joining.boot.0,
                )
                .execute(&mut *tx.conn)
                .await?;
                if kept.rows_affected() == 1 { Ok(()) } else { Err(Error::Stale.into()) }
            })
        })
        .await
    }

    async fn suspect_join(&self, joining: Joining) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let kept = sqlx::query!(
                    "UPDATE agents SET suspect_boot_id = $3
                     WHERE id = $1 AND join_counter = $2 AND revoked_at IS NULL AND locked_at IS NULL",
                    joining.agent.0,
                    joining.seen,
                    joining.boot.0,
                )
                .execute(&mut *tx.conn)
                .await?;
                if kept.rows_affected() == 1 { Ok(()) } else { Err(Error::Stale.into()) }
            })
        })
        .await
    }

    async fn lock_agent(&self, id: AgentId, why: LockReason, now: Timestamp) -> Result<Option<Agent>, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let locked = agents!(
                    "UPDATE agents SET locked_at = $2, lock_reason = $3
                     WHERE id = $1 AND revoked_at IS NULL AND locked_at IS NULL RETURNING",
                    "",
                    id.0,
                    Time(now),
                    why.name()
                )
                .fetch_optional(&mut *tx.conn)
                .await?;
                let Some(row) = locked else {
                    tx.unchanged();
                    return find(tx.conn, id).await;
                };
                let agent = row.into_agent()?;
                tx.tell(|entry| entry.chain = Chain(Some(agent.workspace)));
                tx.hints.push(Hint::Session(id));
                let data = json!({ "reason": why.name() });
                tx.append_event(agent.workspace, Kind::AgentLocked, subject(id), data, now).await?;
                Ok(Some(agent))
            })
        })
        .await
    }

    async fn approve_agent(
        &self,
        workspace: WorkspaceId,
        id: AgentId,
        now: Timestamp,
    ) -> Result<Option<Agent>, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let approved = agents!(
                    "UPDATE agents SET locked_at = NULL, lock_reason = NULL, approved_at = $3, join_counter = 0,
                         join_boot_id = NULL, suspect_boot_id = NULL
                     WHERE workspace_id = $1 AND id = $2 AND locked_at IS NOT NULL AND revoked_at IS NULL RETURNING",
                    "",
                    workspace.0,
                    id.0,
                    Time(now)
                )
                .fetch_optional(&mut *tx.conn)
                .await?;
                let Some(row) = approved else {
                    tx.unchanged();
                    return Ok(find(tx.conn, id).await?.filter(|agent| agent.workspace == workspace));
                };
                let agent = row.into_agent()?;
                tx.append_event(workspace, Kind::AgentApproved, subject(id), json!({}), now).await?;
                Ok(Some(agent))
            })
        })
        .await
    }

    async fn answer_challenge(&self, id: AgentId, made_at: Timestamp, now: Timestamp) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let workspace = sqlx::query_scalar!(
                    r#"UPDATE agents SET challenge_at = $2
                       WHERE id = $1 AND (challenge_at < $2 OR challenge_at IS NULL)
                         AND revoked_at IS NULL AND locked_at IS NULL
                       RETURNING workspace_id AS "workspace_id!: Uuid""#,
                    id.0,
                    Time(made_at),
                )
                .fetch_optional(&mut *tx.conn)
                .await?
                .ok_or(Error::Stale)?;
                let workspace = WorkspaceId(workspace);
                tx.tell(|entry| entry.chain = Chain(Some(workspace)));
                tx.append_event(workspace, Kind::AgentReturned, subject(id), json!({}), now).await
            })
        })
        .await
    }
}
