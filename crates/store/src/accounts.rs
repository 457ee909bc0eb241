//! Marketplace accounts.

use async_trait::async_trait;
use tradepost_domain::account::{Account, WhenAbsent};
use tradepost_domain::id::{AccountId, AgentId, Version, WorkspaceId};
use tradepost_domain::time::Timestamp;

use crate::{Error, PageRequest, Slice};

/// Marketplace accounts of workspaces.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Adds it, with its event. When the id exists in the same workspace, returns the stored one unchanged; in
    /// another, `Conflict::Id`. `Conflict::AccountName` when the name is taken; `Stale` when its agent is revoked or
    /// not of the workspace.
    async fn add_account(&self, account: Account) -> Result<Account, Error>;

    /// One account.
    async fn find_account(&self, workspace: WorkspaceId, id: AccountId) -> Result<Option<Account>, Error>;

    /// By name ([`crate::Cursor::Name`]).
    async fn list_accounts(&self, workspace: WorkspaceId, page: PageRequest)
    -> Result<Slice<Account>, Error>;

    /// Binds it to an agent of the same workspace, with its event; `Stale` unless at `version`, or when the agent is revoked
    /// or not of the workspace. Its queued and parked jobs move with it.
    async fn bind_account(
        &self,
        workspace: WorkspaceId,
        id: AccountId,
        agent: AgentId,
        version: Version,
        now: Timestamp,
    ) -> Result<Account, Error>;

    /// Settles what happens to absent listings, with its event; `Stale` unless at `version`.
    async fn set_when_absent(
        &self,
        workspace: WorkspaceId,
        id: AccountId,
        when_absent: WhenAbsent,
        version: Version,
        now: Timestamp,
    ) -> Result<Account, Error>;
}
