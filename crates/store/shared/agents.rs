//! Agents, their enrolment and their streams.

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::agent::Agent;
use tradepost_domain::audit::{Chain, Outcome, Target};
use tradepost_domain::event::{Kind, Subject};
use tradepost_domain::id::{AgentId, SessionEpoch, WorkspaceId};
use tradepost_domain::standing::Standing;
use tradepost_domain::time::Timestamp;
use tradepost_store::{
    Agents, Attachment, Cursor, Error, Hint, NewAgent, NewEnrolmentToken, PageRequest, Redeemed, Slice,
};
use uuid::Uuid;

use super::fleet::newest_epoch;
use super::rows::agents;
use super::{AgentRow, Fault, Tx, page};
use crate::backend::{Backend, Conn};
use crate::dialect;
use crate::time::Time;

struct TokenRow {
    id: Uuid,
    workspace_id: Uuid,
    expires_at: Time,
    agent_id: Option<Uuid>,
}

#[async_trait]
impl Agents for Backend {
    async fn add_enrolment_token(&self, token: NewEnrolmentToken, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query!(
                    "INSERT INTO enrolment_tokens (id, workspace_id, created_by, hash, created_at, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                    token.id.0,
                    token.workspace.0,
                    token.created_by.0,
                    &token.hash[..],
                    Time(now),
                    Time(token.expires_at),
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    async fn redeem_enrolment_token(
        &self,
        hash: [u8; 32],
        agent: NewAgent,
        now: Timestamp,
    ) -> Result<Redeemed, Error> {
        self.write(move |tx| Box::pin(redeem(tx, hash, agent, now))).await
    }

    async fn find_agent(&self, id: AgentId) -> Result<Option<Agent>, Error> {
        self.read(async |conn| find(conn, id).await).await
    }

    async fn list_agents(&self, workspace: WorkspaceId, page: PageRequest) -> Result<Slice<Agent>, Error> {
        self.read(async |conn| {
            let (name, id, limit) = page::by_name(&page)?;
            let rows = agents!(
                "SELECT",
                "FROM agents WHERE workspace_id = $1 AND (name, id) > ($2, $3) ORDER BY name, id LIMIT $4",
                workspace.0,
                name,
                id,
                limit
            )
            .fetch_all(&mut *conn)
            .await?;
            let agents = rows.into_iter().map(AgentRow::into_agent).collect::<Result<_, _>>()?;
            Ok(page::slice(agents, &page, |agent: &Agent| Cursor::Name(agent.name.clone(), agent.id.0)))
        })
        .await
    }

    async fn attach_agent(&self, attachment: Attachment, now: Timestamp) -> Result<Agent, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let agent = agents!(
                    "UPDATE agents SET session_epoch = 1 + CASE WHEN session_epoch < $7 THEN $7 ELSE session_epoch END,
                         boot_id = $2, controller_id = $3, platform = $4, program_version = $5, last_seen_at = $6
                     WHERE id = $1 AND revoked_at IS NULL AND locked_at IS NULL RETURNING",
                    "",
                    attachment.agent.0,
                    attachment.boot.0,
                    attachment.controller.0,
                    attachment.platform,
                    attachment.program_version,
                    Time(now),
                    attachment.known_epoch.0
                )
                .fetch_optional(&mut *tx.conn)
                .await?
                .ok_or(Error::Stale)?
                .into_agent()?;
                tx.hints.push(Hint::Session(agent.id));
                let data = json!({ "epoch": agent.epoch.0 });
                tx.append_event(agent.workspace, Kind::AgentAttached, subject(agent.id), data, now).await?;
                Ok(agent)
            })
        })
        .await
    }

    async fn touch_agents(
        &self,
        heard: &[(AgentId, SessionEpoch)],
        now: Timestamp,
    ) -> Result<Vec<AgentId>, Error> {
        let mut heard = heard.to_vec();
        heard.sort_unstable();
        self.write(move |tx| {
            Box::pin(async move {
                let current = dialect::touch_agents(tx.conn, &heard, Time(now)).await?;
                Ok(heard
                    .into_iter()
                    .map(|(agent, _)| agent)
                    .filter(|agent| !current.contains(agent))
                    .collect())
            })
        })
        .await
    }

    async fn detach_agent(&self, id: AgentId, epoch: SessionEpoch, now: Timestamp) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let workspace = sqlx::query_scalar!(
                    r#"UPDATE agents SET controller_id = NULL
                       WHERE id = $1 AND session_epoch = $2 AND controller_id IS NOT NULL
                       RETURNING workspace_id AS "workspace_id!: Uuid""#,
                    id.0,
                    epoch.0,
                )
                .fetch_optional(&mut *tx.conn)
                .await?;
                let Some(workspace) = workspace else { return Ok(()) };
                let data = json!({ "epoch": epoch.0 });
                tx.append_event(WorkspaceId(workspace), Kind::AgentDetached, subject(id), data, now).await
            })
        })
        .await
    }

    async fn revoke_agent(
        &self,
        workspace: WorkspaceId,
        id: AgentId,
        now: Timestamp,
    ) -> Result<Option<Agent>, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let revoked = agents!(
                    "UPDATE agents SET revoked_at = $3, controller_id = NULL
                     WHERE id = $1 AND workspace_id = $2 AND revoked_at IS NULL RETURNING",
                    "",
                    id.0,
                    workspace.0,
                    Time(now)
                )
                .fetch_optional(&mut *tx.conn)
                .await?;
                let Some(row) = revoked else {
                    tx.unchanged();
                    let agent = find(tx.conn, id).await?;
                    return Ok(agent.filter(|agent| agent.workspace == workspace));
                };
                tx.hints.push(Hint::Session(id));
                tx.append_event(workspace, Kind::AgentRevoked, subject(id), json!({}), now).await?;
                Ok(Some(row.into_agent()?))
            })
        })
        .await
    }
}

async fn redeem(mut tx: Tx<'_>, hash: [u8; 32], agent: NewAgent, now: Timestamp) -> Result<Redeemed, Fault> {
    // Writes nothing new: it holds the row, so that two agents with one token queue up here.
    let token = sqlx::query_as!(
        TokenRow,
        r#"UPDATE enrolment_tokens SET hash = hash WHERE hash = $1
           RETURNING id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid", expires_at AS "expires_at!: Time",
                     agent_id AS "agent_id?: Uuid""#,
        &hash[..],
    )
    .fetch_optional(&mut *tx.conn)
    .await?;
    let Some(token) = token else {
        tx.unchanged();
        return Ok(Redeemed::UnknownToken);
    };
    tx.tell(|entry| entry.chain = Chain(Some(WorkspaceId(token.workspace_id))));
    if let Some(id) = token.agent_id.map(AgentId) {
        // The same key again, be it after the token's end: the first answer was lost.
        let holder = find(tx.conn, id).await?;
        if let Some(holder) = holder.filter(|holder| holder.key_hash == agent.key_hash) {
            tx.unchanged();
            return Ok(Redeemed::Agent(Box::new(holder)));
        }
        let workspace = WorkspaceId(token.workspace_id);
        tx.tell(|entry| {
            entry.set_target(Target::Agent, id.0);
            Outcome::Refused.name().clone_into(&mut entry.outcome);
            entry.reason = String::from("ENROLMENT_TOKEN_USED");
        });
        tx.append_event(workspace, Kind::EnrolmentRefused, subject(id), json!({}), now).await?;
        return Ok(Redeemed::OtherKey);
    }
    if token.expires_at.0 <= now {
        tx.unchanged();
        return Ok(Redeemed::UnknownToken);
    }
    // A new agent has nothing to tell of earlier lives of the database.
    let fleet = newest_epoch(tx.conn).await?;
    let first_epoch = SessionEpoch(fleet.first_number());
    // Without RETURNING: with it, SQLite looks through the tables that refer to agents.
    sqlx::query!(
        "INSERT INTO agents
             (id, workspace_id, name, key_hash, platform, program_version, created_at, session_epoch, recounted_epoch)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        agent.id.0,
        token.workspace_id,
        agent.name,
        agent.key_hash,
        agent.platform,
        agent.program_version,
        Time(now),
        first_epoch.0,
        fleet.0,
    )
    .execute(&mut *tx.conn)
    .await?;
    let added = Agent {
        id: agent.id,
        workspace: WorkspaceId(token.workspace_id),
        name: agent.name,
        key_hash: agent.key_hash,
        platform: agent.platform,
        program_version: agent.program_version,
        epoch: first_epoch,
        boot: None,
        controller: None,
        last_seen_at: None,
        created_at: now,
        revoked_at: None,
        standing: Standing::default(),
    };
    sqlx::query!(
        "UPDATE enrolment_tokens SET used_at = $2, agent_id = $3 WHERE id = $1",
        token.id,
        Time(now),
        added.id.0,
    )
    .execute(&mut *tx.conn)
    .await?;
    tx.append_event(added.workspace, Kind::AgentEnrolled, subject(added.id), json!({}), now).await?;
    Ok(Redeemed::Agent(Box::new(added)))
}

pub(super) async fn find(conn: &mut Conn, id: AgentId) -> Result<Option<Agent>, Fault> {
    let row = agents!("SELECT", "FROM agents WHERE id = $1", id.0).fetch_optional(&mut *conn).await?;
    row.map(AgentRow::into_agent).transpose()
}

pub(super) fn subject(agent: AgentId) -> Subject {
    Subject { agent: Some(agent), ..Subject::default() }
}
