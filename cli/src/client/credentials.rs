//! Calls about sealed credentials.

use tradepost_proto::v1;
use tradepost_proto::v1::account_service_client::AccountServiceClient;
use tradepost_runtime::credential;
use tradepost_runtime::ids::Ids;

use super::calls::call;
use super::{Client, Repeat, convert};
use crate::error::{Error, Result};
use crate::model::{Credential, SealingKey, StoredCredential};

impl Client {
    /// How an account's credential stands, and the key to seal one to.
    pub(crate) async fn credential(&self, account_id: String) -> Result<StoredCredential> {
        let request = v1::GetCredentialRequest { account_id };
        let answer = call!(self, Harmless, AccountServiceClient.get_credential(request))?;
        let v1::GetCredentialResponse { credential, key, workspace_id } = answer;
        let key = match key {
            Some(v1::CredentialKey { agent_id, public_key, identity_key, signature }) => {
                let public = public_key.try_into();
                let public_key =
                    public.map_err(|_| Error::failed("the agent's key for credentials is damaged"))?;
                Some(SealingKey { agent_id, public_key, identity_key, signature })
            }
            None => None,
        };
        let credential = credential.map(convert_credential).transpose()?;
        Ok(StoredCredential { credential, key, workspace_id })
    }

    /// Seals a credential and stores it.
    pub(crate) async fn set_credential(
        &self,
        place: credential::Place,
        key: &SealingKey,
        login: &credential::Login,
    ) -> Result<Credential> {
        let sealed = credential::seal(&key.public_key, place, login, &Ids::from_system());
        let request = v1::SetCredentialRequest {
            account_id: place.account.to_string(),
            agent_id: place.agent.to_string(),
            key_id: credential::key_id(&key.public_key),
            generation: place.generation,
            sealed: sealed.map_err(|error| Error::failed(error.to_string()))?,
        };
        let answer = call!(self, Never, AccountServiceClient.set_credential(request))?;
        convert_credential(convert::present(answer.credential, "credential")?)
    }

    pub(crate) async fn remove_credential(&self, account_id: String) -> Result<()> {
        let request = v1::RemoveCredentialRequest { account_id };
        call!(self, Harmless, AccountServiceClient.remove_credential(request)).map(drop)
    }
}

fn convert_credential(message: v1::Credential) -> Result<Credential> {
    let v1::Credential { account_id, agent_id, generation, state, set_at, changed_at, used_at } = message;
    let state = match v1::CredentialState::try_from(state) {
        Ok(v1::CredentialState::Ready) => "ready",
        Ok(v1::CredentialState::Refused) => "refused",
        Ok(v1::CredentialState::Moved) => "moved",
        Ok(v1::CredentialState::Removed) => "removed",
        Ok(v1::CredentialState::Unspecified) | Err(_) => {
            return Err(Error::failed(
                "the controller sent a credential's state that this version does not know",
            ));
        }
    };
    Ok(Credential {
        account_id,
        agent_id,
        generation,
        state,
        set_at: convert::time(set_at),
        changed_at: convert::time(changed_at),
        used_at: convert::time(used_at),
    })
}
