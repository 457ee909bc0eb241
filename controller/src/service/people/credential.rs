//! Sellers' marketplace credentials. The controller keeps what it cannot open, and gives it to one agent.

use tradepost_domain::account::Account;
use tradepost_domain::audit::{Detail, Target};
use tradepost_domain::credential::{self, SEALED_MAX, State, Use};
use tradepost_domain::id::{AccountId, AgentId, ContentHash, WorkspaceId};
use tradepost_runtime::credential::{is_signed, key_id};
use tradepost_store::{
    AccountCredential, Conflict, CredentialKey, Error as StoreError, NewAccountCredential, Scope, audit,
};

use super::People;
use crate::seal::{self, Place};
use crate::service::core::{Caller, TRIES};
use crate::service::error::{Error, Reason, Result};
use crate::service::run::Run;

/// What is told of an account's credential.
#[derive(Debug, Clone)]
pub struct Told {
    /// How it stands; none when there never was one.
    pub credential: Option<AccountCredential>,
    /// The key to seal a new one to; none when the account's agent has told none.
    pub key: Option<CredentialKey>,
}

/// A credential from the command line.
#[derive(Clone)]
pub struct Offered {
    /// The account.
    pub account: AccountId,
    /// The agent it is sealed to.
    pub agent: AgentId,
    /// Which of its keys.
    pub key_id: String,
    /// Greater than that of any earlier one.
    pub generation: i64,
    /// Ciphertext.
    pub sealed: Vec<u8>,
}

/// A credential on its way to its agent.
pub struct Handed {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// Its generation.
    pub generation: i64,
    /// The key it is sealed to.
    pub key_id: String,
    /// Ciphertext.
    pub sealed: Vec<u8>,
}

impl People {
    /// Keeps the key that credentials for an agent are sealed to. Only the agent's bound key can have signed it.
    pub async fn tell_credential_key(&self, key: CredentialKey) -> Result<()> {
        let agent = self.core.store.find_agent(key.agent).await?;
        let agent = agent.ok_or_else(|| Error::not_found(Reason::AgentNotFound, "agent", key.agent))?;
        let bound = ContentHash::of(&key.identity_key).to_string() == agent.key_hash;
        if !bound || !is_signed(&key.identity_key, key.agent, &key.public_key, &key.signature) {
            let message = "the key for credentials is not signed by the agent's own key";
            return Err(Error::new(Reason::CredentialKeyUnsigned, message));
        }
        if self.store.find_credential_key(key.agent).await?.as_ref() == Some(&key) {
            return Ok(());
        }
        audit::about(Target::Agent, key.agent.0);
        audit::detail(Detail::To, key_id(&key.public_key));
        Ok(self.store.tell_credential_key(key, self.now()).await?)
    }

    /// How the account's credential stands, and what a new one is sealed to.
    pub async fn credential(&self, caller: &Caller, id: AccountId) -> Result<Told> {
        let account = self.core.account(caller, id).await?;
        let credential = self.store.find_credential(caller.workspace, id).await?;
        let key = match account.agent {
            Some(agent) => self.store.find_credential_key(agent).await?,
            None => None,
        };
        Ok(Told { credential, key })
    }

    /// Stores a credential, sealed once more so that a stolen agent's key opens nothing in a copy of the database.
    pub async fn set_credential(&self, caller: &Caller, offered: Offered) -> Result<AccountCredential> {
        let account = self.core.account(caller, offered.account).await?;
        let bytes = offered.sealed.len();
        if bytes == 0 || bytes > SEALED_MAX {
            return Err(Error::field("sealed", format!("has {bytes} bytes; must have 1 to {SEALED_MAX}")));
        }
        if offered.generation < 1 {
            return Err(Error::field("generation", "must be 1 or more"));
        }
        let key = match account.agent {
            Some(agent) if agent == offered.agent => self.store.find_credential_key(agent).await?,
            _ => None,
        };
        if key.is_none_or(|key| key_id(&key.public_key) != offered.key_id) {
            let message =
                "the account is bound to another agent by now, or its agent has a new key; begin anew";
            return Err(Error::new(Reason::CredentialOutdated, message));
        }
        let place = Place::credential(caller.workspace, offered.account);
        audit::about(Target::Account, offered.account.0);
        audit::detail(Detail::Agent, offered.agent);
        for _ in 0..TRIES {
            let sealed =
                self.sealer.seal(place, &offered.sealed, self.now()).await.map_err(Error::internal)?;
            let new = NewAccountCredential {
                account: offered.account,
                workspace: caller.workspace,
                agent: offered.agent,
                key_id: offered.key_id.clone(),
                generation: offered.generation,
                sealed,
                set_by: caller.user,
            };
            match self.store.set_credential(new, self.now()).await {
                Err(StoreError::Conflict(Conflict::KeySuperseded)) => self.sealer.look_again(place.scope),
                Err(StoreError::Stale) => {
                    let message = "another credential was set meanwhile, or the account was bound to another agent; begin anew";
                    return Err(Error::new(Reason::CredentialOutdated, message));
                }
                set => return Ok(set?),
            }
        }
        Err(Error::contention())
    }

    /// Deletes a credential; says whether there was one.
    pub async fn remove_credential(&self, caller: &Caller, id: AccountId) -> Result<bool> {
        self.core.account(caller, id).await?;
        audit::about(Target::Account, id.0);
        Ok(self.store.remove_credential(caller.workspace, id, self.now()).await?)
    }

    /// The credential that a run of `agent` may use.
    pub async fn credential_for_run(&self, agent: AgentId, run: Run) -> Result<Option<Handed>> {
        let account = self.account_of_run(agent, run).await?;
        for _ in 0..TRIES {
            let found = self.store.find_credential(account.workspace, account.id).await?;
            let Some(found) = found else { return Ok(None) };
            let Some(sealed) =
                found.sealed.filter(|_| credential::may_have(&account, agent, found.agent, found.state))
            else {
                return Ok(None);
            };
            match self.sealer.open(Place::credential(account.workspace, account.id), &sealed).await {
                Ok(opened) => {
                    let AccountCredential { workspace, generation, key_id, .. } = found;
                    return Ok(Some(Handed { workspace, generation, key_id, sealed: opened.to_vec() }));
                }
                // It was sealed anew since it was read, and its old key retired.
                Err(seal::Error::NoDataKey { .. }) => {
                    self.sealer.look_again(Scope::Workspace(account.workspace));
                }
                Err(error) => return Err(Error::internal(error)),
            }
        }
        Err(Error::contention())
    }

    /// Notes what became of a sign-in with a credential.
    pub async fn note_credential_use(
        &self,
        agent: AgentId,
        run: Run,
        generation: i64,
        outcome: Use,
    ) -> Result<()> {
        let account = self.account_of_run(agent, run).await?;
        let state = match outcome {
            Use::Accepted => State::Ready,
            Use::Refused => State::Refused,
            Use::Unclear => return Ok(()),
        };
        self.store.note_credential_use(account.id, agent, generation, state, self.now()).await?;
        Ok(())
    }

    /// The account that a present run of this agent acts for.
    async fn account_of_run(&self, agent: AgentId, run: Run) -> Result<Account> {
        let (job, lease) = run;
        let found = self.core.store.find_run(agent, job).await?;
        let found = found.filter(|found| found.job.run_lease == Some(lease)).ok_or_else(Error::stale_run)?;
        let account = self.core.store.find_account(found.job.workspace, found.job.account).await?;
        account.ok_or_else(|| Error::not_found(Reason::AccountNotFound, "account", found.job.account))
    }
}

impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offered").field("account", &self.account).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Handed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handed").field("generation", &self.generation).finish_non_exhaustive()
    }
}
