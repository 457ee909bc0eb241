//! Sellers' marketplace credentials: sealed to an agent, so that nobody else can open them.

use async_trait::async_trait;
use tradepost_domain::credential::State;
use tradepost_domain::id::{AccountId, AgentId, UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;

use crate::{Error, Sealed};

/// The key that credentials for an agent are sealed to, as the agent told and signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialKey {
    /// Whose.
    pub agent: AgentId,
    /// X25519.
    pub public_key: [u8; 32],
    /// The agent's bound key (SubjectPublicKeyInfo, DER).
    pub identity_key: Vec<u8>,
    /// Of the bound key, over agent and public key.
    pub signature: Vec<u8>,
}

/// An account's credential, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountCredential {
    /// The account.
    pub account: AccountId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The agent it is sealed to.
    pub agent: AgentId,
    /// Which of the agent's keys.
    pub key_id: String,
    /// Grows with every one that is set.
    pub generation: i64,
    /// How it stands.
    pub state: State,
    /// The credential; none when it is gone.
    pub sealed: Option<Sealed>,
    /// When it was set.
    pub set_at: Timestamp,
    /// When the state began.
    pub changed_at: Timestamp,
    /// When the agent signed in with it last.
    pub used_at: Option<Timestamp>,
}

/// A credential to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccountCredential {
    /// The account.
    pub account: AccountId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The agent it is sealed to.
    pub agent: AgentId,
    /// Which of the agent's keys.
    pub key_id: String,
    /// Greater than that of any earlier one.
    pub generation: i64,
    /// The credential.
    pub sealed: Sealed,
    /// Who sets it.
    pub set_by: UserId,
}

/// Credentials and the keys they are sealed to.
#[async_trait]
pub trait AccountCredentials: Send + Sync {
    /// Keeps the agent's key, in place of an earlier one. `Stale` when the agent is revoked.
    async fn tell_credential_key(&self, key: CredentialKey, now: Timestamp) -> Result<(), Error>;

    /// The agent's key.
    async fn find_credential_key(&self, agent: AgentId) -> Result<Option<CredentialKey>, Error>;

    /// The account's credential.
    async fn find_credential(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
    ) -> Result<Option<AccountCredential>, Error>;

    /// Sets it, with its event. `Stale` unless the account is bound to that agent and the generation is greater than the
    /// present one; `Conflict::KeySuperseded` as for every sealed value.
    async fn set_credential(
        &self,
        credential: NewAccountCredential,
        now: Timestamp,
    ) -> Result<AccountCredential, Error>;

    /// Removes it, with its event; says whether there was one.
    async fn remove_credential(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// Notes that the site took that generation or refused it, with an event when it refused; says whether that generation
    /// is the present one.
    async fn note_credential_use(
        &self,
        account: AccountId,
        agent: AgentId,
        generation: i64,
        outcome: State,
        now: Timestamp,
    ) -> Result<bool, Error>;
}
