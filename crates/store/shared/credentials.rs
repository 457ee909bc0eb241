//! Sellers' marketplace credentials, and the agents' keys that they are sealed to.

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::credential::State;
use tradepost_domain::event::{Kind, Subject};
use tradepost_domain::id::{AccountId, AgentId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_store::{
    AccountCredential, AccountCredentials, CredentialKey, Error, NewAccountCredential, Scope, Sealed,
};
use uuid::Uuid;

use super::secrets::hold_data_key;
use super::{Fault, Tx};
use crate::backend::{Backend, Conn};
use crate::time::Time;

struct KeyRow {
    public_key: Vec<u8>,
    identity_key: Vec<u8>,
    signature: Vec<u8>,
}

struct CredentialRow {
    account_id: Uuid,
    workspace_id: Uuid,
    agent_id: Uuid,
    key_id: String,
    generation: i64,
    state: String,
    sealed: Option<Vec<u8>>,
    key_version: i64,
    set_at: Time,
    changed_at: Time,
    used_at: Option<Time>,
}

impl CredentialRow {
    fn into_credential(self) -> Result<AccountCredential, Fault> {
        let state = State::from_name(&self.state)
            .ok_or_else(|| Fault::inconsistent("account_credentials.state", self.account_id, &self.state))?;
        let key_version = self.key_version;
        Ok(AccountCredential {
            account: AccountId(self.account_id),
            workspace: WorkspaceId(self.workspace_id),
            agent: AgentId(self.agent_id),
            key_id: self.key_id,
            generation: self.generation,
            state,
            sealed: self.sealed.map(|content| Sealed { key_version, content }),
            set_at: self.set_at.0,
            changed_at: self.changed_at.0,
            used_at: self.used_at.map(|time| time.0),
        })
    }
}

#[async_trait]
impl AccountCredentials for Backend {
    async fn tell_credential_key(&self, key: CredentialKey, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let told = sqlx::query!(
                    "INSERT INTO agent_credential_keys (agent_id, public_key, identity_key, signature, told_at)
                     SELECT id, $2, $3, $4, $5 FROM agents WHERE id = $1 AND revoked_at IS NULL
                     ON CONFLICT (agent_id) DO UPDATE SET public_key = $2, identity_key = $3, signature = $4, told_at = $5",
                    key.agent.0,
                    &key.public_key[..],
                    key.identity_key,
                    key.signature,
                    Time(now),
                )
                .execute(&mut *tx.conn)
                .await?;
                if told.rows_affected() == 0 { Err(Error::Stale.into()) } else { Ok(()) }
            })
        })
        .await
    }

    async fn find_credential_key(&self, agent: AgentId) -> Result<Option<CredentialKey>, Error> {
        self.read(async |conn| {
            let row = sqlx::query_as!(
                KeyRow,
                r#"SELECT public_key AS "public_key!", identity_key AS "identity_key!", signature AS "signature!"
                   FROM agent_credential_keys WHERE agent_id = $1"#,
                agent.0,
            )
            .fetch_optional(conn)
            .await?;
            let Some(KeyRow { public_key, identity_key, signature }) = row else { return Ok(None) };
            let public_key = public_key.try_into().map_err(|found: Vec<u8>| {
                Fault::inconsistent("agent_credential_keys.public_key", agent, found.len())
            })?;
            Ok(Some(CredentialKey { agent, public_key, identity_key, signature }))
        })
        .await
    }

    async fn find_credential(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
    ) -> Result<Option<AccountCredential>, Error> {
        self.read(async |conn| {
            let found = find(conn, account).await?;
            Ok(found.filter(|found| found.workspace == workspace))
        })
        .await
    }

    async fn set_credential(
        &self,
        credential: NewAccountCredential,
        now: Timestamp,
    ) -> Result<AccountCredential, Error> {
        self.write(move |tx| Box::pin(set(tx, credential, now))).await
    }

    async fn remove_credential(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let removed = sqlx::query!(
                    "UPDATE account_credentials SET sealed = NULL, state = 'removed', changed_at = $3
                     WHERE account_id = $1 AND workspace_id = $2 AND sealed IS NOT NULL",
                    account.0,
                    workspace.0,
                    Time(now),
                )
                .execute(&mut *tx.conn)
                .await?;
                if removed.rows_affected() == 0 {
                    tx.unchanged();
                    return Ok(false);
                }
                tell(&mut tx, workspace, account, State::Removed, now).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn note_credential_use(
        &self,
        account: AccountId,
        agent: AgentId,
        generation: i64,
        outcome: State,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let workspace = sqlx::query_scalar!(
                    r#"UPDATE account_credentials
                       SET used_at = CASE WHEN $4 = 'ready' THEN $5 ELSE used_at END,
                           changed_at = CASE WHEN state = $4 THEN changed_at ELSE $5 END, state = $4
                       WHERE account_id = $1 AND agent_id = $2 AND generation = $3 AND sealed IS NOT NULL
                       RETURNING workspace_id AS "workspace_id!: Uuid""#,
                    account.0,
                    agent.0,
                    generation,
                    outcome.name(),
                    Time(now),
                )
                .fetch_optional(&mut *tx.conn)
                .await?;
                let Some(workspace) = workspace else { return Ok(false) };
                if outcome == State::Refused {
                    tell(&mut tx, WorkspaceId(workspace), account, outcome, now).await?;
                }
                Ok(true)
            })
        })
        .await
    }
}

async fn find(conn: &mut Conn, account: AccountId) -> Result<Option<AccountCredential>, Fault> {
    let row = sqlx::query_as!(
        CredentialRow,
        r#"SELECT account_id AS "account_id!: Uuid", workspace_id AS "workspace_id!: Uuid",
                  agent_id AS "agent_id!: Uuid", key_id AS "key_id!", generation AS "generation!", state AS "state!",
                  sealed AS "sealed?", key_version AS "key_version!", set_at AS "set_at!: Time",
                  changed_at AS "changed_at!: Time", used_at AS "used_at?: Time"
           FROM account_credentials WHERE account_id = $1"#,
        account.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(CredentialRow::into_credential).transpose()
}

async fn set(mut tx: Tx<'_>, new: NewAccountCredential, now: Timestamp) -> Result<AccountCredential, Fault> {
    // Holds the account: it is not bound to another agent meanwhile.
    let bound = sqlx::query!(
        "UPDATE accounts SET agent_id = agent_id WHERE id = $1 AND workspace_id = $2 AND agent_id = $3",
        new.account.0,
        new.workspace.0,
        new.agent.0,
    )
    .execute(&mut *tx.conn)
    .await?;
    if bound.rows_affected() == 0 {
        return Err(Error::Stale.into());
    }
    hold_data_key(&mut tx, Scope::Workspace(new.workspace), new.sealed.key_version).await?;
    let set = sqlx::query!(
        "INSERT INTO account_credentials
             (account_id, workspace_id, agent_id, key_id, generation, state, sealed, key_version, set_by, set_at,
              changed_at)
         VALUES ($1, $2, $3, $4, $5, 'ready', $6, $7, $8, $9, $9)
         ON CONFLICT (account_id) DO UPDATE SET agent_id = $3, key_id = $4, generation = $5, state = 'ready',
             sealed = $6, key_version = $7, set_by = $8, set_at = $9, changed_at = $9, used_at = NULL
         WHERE account_credentials.generation < $5",
        new.account.0,
        new.workspace.0,
        new.agent.0,
        new.key_id,
        new.generation,
        new.sealed.content,
        new.sealed.key_version,
        new.set_by.0,
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    if set.rows_affected() == 0 {
        return Err(Error::Stale.into());
    }
    let stored = find(tx.conn, new.account).await?;
    let stored = stored.ok_or_else(|| Fault::internal("a credential that was stored is not there"))?;
    tell(&mut tx, new.workspace, new.account, State::Ready, now).await?;
    Ok(stored)
}

/// The account is bound to `agent`: a credential that is sealed to another one is of no use any more.
pub(super) async fn leave_agent(
    tx: &mut Tx<'_>,
    account: AccountId,
    agent: AgentId,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query!(
        "UPDATE account_credentials SET sealed = NULL, state = 'moved', changed_at = $3
         WHERE account_id = $1 AND agent_id <> $2 AND sealed IS NOT NULL",
        account.0,
        agent.0,
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

async fn tell(
    tx: &mut Tx<'_>,
    workspace: WorkspaceId,
    account: AccountId,
    state: State,
    now: Timestamp,
) -> Result<(), Fault> {
    let subject = Subject { account: Some(account), ..Subject::default() };
    tx.append_event(workspace, Kind::AccountChanged, subject, json!({ "credential": state.name() }), now)
        .await
}
