//! Marketplace accounts.

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::account::{Account, Site, WhenAbsent};
use tradepost_domain::event::{Kind, Subject};
use tradepost_domain::id::{AccountId, AgentId, Version, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Accounts, Conflict, Cursor, Error, Hint, PageRequest, Slice};
use uuid::Uuid;

use super::{Fault, Tx, page};
use crate::backend::{Backend, Conn};
use crate::time::Time;

/// A row of the table.
pub(crate) struct AccountRow {
    pub(crate) id: Uuid,
    pub(crate) workspace_id: Uuid,
    pub(crate) name: String,
    pub(crate) site: String,
    pub(crate) site_url: String,
    pub(crate) sign_in_name: Option<String>,
    pub(crate) currency: String,
    pub(crate) agent_id: Option<Uuid>,
    pub(crate) auto_republish: bool,
    pub(crate) created_at: Time,
    pub(crate) version: i64,
}

impl AccountRow {
    pub(crate) fn into_account(self) -> Result<Account, Fault> {
        Ok(Account {
            id: AccountId(self.id),
            workspace: WorkspaceId(self.workspace_id),
            name: self.name,
            site: Site::parse(&self.site)
                .map_err(|_| Fault::inconsistent("accounts.site", self.id, &self.site))?,
            site_url: self
                .site_url
                .parse()
                .map_err(|_| Fault::inconsistent("accounts.site_url", self.id, &self.site_url))?,
            sign_in_name: self.sign_in_name,
            currency: self
                .currency
                .parse()
                .map_err(|_| Fault::inconsistent("accounts.currency", self.id, &self.currency))?,
            agent: self.agent_id.map(AgentId),
            when_absent: if self.auto_republish { WhenAbsent::PostAgain } else { WhenAbsent::Ask },
            created_at: self.created_at.0,
            version: Version(self.version),
        })
    }
}

macro_rules! accounts {
    ($before:literal, $after:literal, $($args:tt)*) => {
        sqlx::query_as!(
            AccountRow,
            $before + r#" id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid", name AS "name!", site AS "site!",
            site_url AS "site_url!", sign_in_name AS "sign_in_name?", currency AS "currency!",
            agent_id AS "agent_id?: Uuid", auto_republish AS "auto_republish!: bool", created_at AS "created_at!: Time", version AS "version!" "# + $after,
            $($args)*
        )
    };
}

#[async_trait]
impl Accounts for Backend {
    async fn add_account(&self, account: Account) -> Result<Account, Error> {
        self.write(move |tx| Box::pin(insert(tx, account))).await
    }

    async fn find_account(&self, workspace: WorkspaceId, id: AccountId) -> Result<Option<Account>, Error> {
        self.read(async |conn| {
            let account = find(conn, id).await?;
            Ok(account.filter(|account| account.workspace == workspace))
        })
        .await
    }

    async fn list_accounts(
        &self,
        workspace: WorkspaceId,
        page: PageRequest,
    ) -> Result<Slice<Account>, Error> {
        self.read(async |conn| {
            let (name, id, limit) = page::by_name(&page)?;
            let rows = accounts!(
                "SELECT",
                "FROM accounts WHERE workspace_id = $1 AND (name, id) > ($2, $3) ORDER BY name, id LIMIT $4",
                workspace.0,
                name,
                id,
                limit
            )
            .fetch_all(&mut *conn)
            .await?;
            let accounts = rows.into_iter().map(AccountRow::into_account).collect::<Result<Vec<_>, _>>()?;
            Ok(page::slice(accounts, &page, |account| Cursor::Name(account.name.clone(), account.id.0)))
        })
        .await
    }

    async fn bind_account(
        &self,
        workspace: WorkspaceId,
        id: AccountId,
        agent: AgentId,
        version: Version,
        now: Timestamp,
    ) -> Result<Account, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                check_agent(tx.conn, workspace, agent).await?;
                let account = accounts!(
                    "UPDATE accounts SET agent_id = $4, version = version + 1
                     WHERE id = $1 AND workspace_id = $2 AND version = $3 RETURNING",
                    "",
                    id.0,
                    workspace.0,
                    version.0,
                    agent.0
                )
                .fetch_optional(&mut *tx.conn)
                .await?
                .ok_or(Error::Stale)?
                .into_account()?;
                sqlx::query!(
                    "UPDATE jobs SET agent_id = $2, version = version + 1
                     WHERE account_id = $1 AND agent_id <> $2 AND state IN ('queued', 'parked')",
                    id.0,
                    agent.0,
                )
                .execute(&mut *tx.conn)
                .await?;
                super::credentials::leave_agent(&mut tx, id, agent, now).await?;
                tx.hints.push(Hint::Agent(agent));
                let subject = Subject { account: Some(id), agent: Some(agent), ..Subject::default() };
                tx.append_event(workspace, Kind::AccountChanged, subject, json!({}), now).await?;
                Ok(account)
            })
        })
        .await
    }

    async fn set_when_absent(
        &self,
        workspace: WorkspaceId,
        id: AccountId,
        when_absent: WhenAbsent,
        version: Version,
        now: Timestamp,
    ) -> Result<Account, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let account = accounts!(
                    "UPDATE accounts SET auto_republish = $4, version = version + 1
                     WHERE id = $1 AND workspace_id = $2 AND version = $3 RETURNING",
                    "",
                    id.0,
                    workspace.0,
                    version.0,
                    when_absent == WhenAbsent::PostAgain
                )
                .fetch_optional(&mut *tx.conn)
                .await?
                .ok_or(Error::Stale)?
                .into_account()?;
                let subject = Subject { account: Some(id), ..Subject::default() };
                tx.append_event(workspace, Kind::AccountChanged, subject, json!({}), now).await?;
                Ok(account)
            })
        })
        .await
    }
}

async fn insert(mut tx: Tx<'_>, account: Account) -> Result<Account, Fault> {
    let stored = match find(tx.conn, account.id).await? {
        Some(stored) => Some(stored),
        None => try_insert(&mut tx, &account).await?,
    };
    match stored {
        Some(stored) if stored.workspace == account.workspace => {
            tx.unchanged();
            Ok(stored)
        }
        Some(_) => Err(Conflict::Id.into()),
        None => Ok(account),
    }
}

/// Inserts it, or returns the one that was quicker.
async fn try_insert(tx: &mut Tx<'_>, account: &Account) -> Result<Option<Account>, Fault> {
    if let Some(agent) = account.agent {
        check_agent(tx.conn, account.workspace, agent).await?;
    }
    let inserted = sqlx::query!(
        "INSERT INTO accounts
             (id, workspace_id, name, site, site_url, sign_in_name, currency, agent_id, created_at, version,
              auto_republish)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
        account.id.0,
        account.workspace.0,
        account.name,
        account.site.as_str(),
        account.site_url.as_str(),
        account.sign_in_name,
        account.currency.code(),
        account.agent.map(|agent| agent.0),
        Time(account.created_at),
        account.version.0,
        account.when_absent == WhenAbsent::PostAgain,
    )
    .execute(&mut *tx.conn)
    .await?;
    if inserted.rows_affected() == 0 {
        return find(tx.conn, account.id).await;
    }
    let subject = Subject { account: Some(account.id), agent: account.agent, ..Subject::default() };
    tx.append_event(account.workspace, Kind::AccountAdded, subject, json!({}), account.created_at).await?;
    Ok(None)
}

async fn find(conn: &mut Conn, id: AccountId) -> Result<Option<Account>, Fault> {
    accounts!("SELECT", "FROM accounts WHERE id = $1", id.0)
        .fetch_optional(&mut *conn)
        .await?
        .map(AccountRow::into_account)
        .transpose()
}

/// An account is never bound to an agent of another workspace, nor to a revoked one.
async fn check_agent(conn: &mut Conn, workspace: WorkspaceId, agent: AgentId) -> Result<(), Fault> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id!: Uuid" FROM agents WHERE id = $1 AND workspace_id = $2 AND revoked_at IS NULL"#,
        agent.0,
        workspace.0,
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::Stale)?;
    Ok(())
}
