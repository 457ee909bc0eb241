//! AgentCredentialService, and the credentials of AccountService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::credential::{State, Use};
use tradepost_domain::field::Violations;
use tradepost_proto::convert::time;
use tradepost_proto::v1::agent_credential_service_server::AgentCredentialService;
use tradepost_proto::{convert, v1};
use tradepost_store::{AccountCredential, CredentialKey};

use super::{Api, caller, calling_agent, checked, status};
use crate::service::people::credential::{Handed, Offered, Told};
use crate::service::run::Run;

#[async_trait]
impl AgentCredentialService for Api {
    async fn tell_credential_key(
        &self,
        request: Request<v1::TellCredentialKeyRequest>,
    ) -> Result<Response<v1::TellCredentialKeyResponse>, Status> {
        let agent = calling_agent(&request)?;
        let v1::TellCredentialKeyRequest { public_key, identity_key, signature } = request.into_inner();
        let mut violations = Violations::new();
        let public_key = <[u8; 32]>::try_from(public_key).ok();
        if public_key.is_none() {
            violations.push("public_key", "must have 32 bytes");
        }
        if identity_key.len() > 1_024 || signature.len() > 1_024 {
            violations.push("signature", "and identity_key must have 1 KiB at most each");
        }
        let public_key = checked(violations, public_key)?;
        let key = CredentialKey { agent, public_key, identity_key, signature };
        self.people.tell_credential_key(key).await.map_err(status::from)?;
        Ok(Response::new(v1::TellCredentialKeyResponse {}))
    }

    async fn fetch_credential(
        &self,
        request: Request<v1::FetchCredentialRequest>,
    ) -> Result<Response<v1::FetchCredentialResponse>, Status> {
        let agent = calling_agent(&request)?;
        let v1::FetchCredentialRequest { run } = request.into_inner();
        let handed = self.people.credential_for_run(agent, run_of(run)?).await.map_err(status::from)?;
        Ok(Response::new(handed.map_or_else(Default::default, |handed| {
            let Handed { workspace, generation, key_id, sealed } = handed;
            v1::FetchCredentialResponse { sealed, workspace_id: workspace.to_string(), generation, key_id }
        })))
    }

    async fn report_credential_use(
        &self,
        request: Request<v1::ReportCredentialUseRequest>,
    ) -> Result<Response<v1::ReportCredentialUseResponse>, Status> {
        let agent = calling_agent(&request)?;
        let v1::ReportCredentialUseRequest { run, generation, outcome } = request.into_inner();
        let run = run_of(run)?;
        let mut violations = Violations::new();
        let outcome = match v1::CredentialUse::try_from(outcome) {
            Ok(v1::CredentialUse::Accepted) => Some(Use::Accepted),
            Ok(v1::CredentialUse::Refused) => Some(Use::Refused),
            Ok(v1::CredentialUse::Unspecified) | Err(_) => {
                violations.push("outcome", "is missing or unknown");
                None
            }
        };
        let outcome = checked(violations, outcome)?;
        self.people.note_credential_use(agent, run, generation, outcome).await.map_err(status::from)?;
        Ok(Response::new(v1::ReportCredentialUseResponse {}))
    }
}

impl Api {
    pub(super) async fn credential_of(
        &self,
        request: Request<v1::GetCredentialRequest>,
    ) -> Result<Response<v1::GetCredentialResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetCredentialRequest { account_id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "account_id", &account_id);
        let told = self.people.credential(&caller, checked(violations, id)?).await.map_err(status::from)?;
        let Told { credential, key } = told;
        Ok(Response::new(v1::GetCredentialResponse {
            credential: credential.map(wire),
            key: key.map(|key| {
                let CredentialKey { agent, public_key, identity_key, signature } = key;
                let (agent_id, public_key) = (agent.to_string(), public_key.to_vec());
                v1::CredentialKey { agent_id, public_key, identity_key, signature }
            }),
            workspace_id: caller.workspace.to_string(),
        }))
    }

    pub(super) async fn store_credential(
        &self,
        request: Request<v1::SetCredentialRequest>,
    ) -> Result<Response<v1::SetCredentialResponse>, Status> {
        let caller = caller(&request)?;
        let v1::SetCredentialRequest { account_id, agent_id, key_id, generation, sealed } =
            request.into_inner();
        let mut violations = Violations::new();
        let account = convert::id(&mut violations, "account_id", &account_id);
        let agent = convert::id(&mut violations, "agent_id", &agent_id);
        let key_id = violations.text("key_id", &key_id, 1, 64);
        let (account, agent) = checked(violations, account.zip(agent))?;
        let offered = Offered { account, agent, key_id, generation, sealed };
        let set = self.people.set_credential(&caller, offered).await.map_err(status::from)?;
        Ok(Response::new(v1::SetCredentialResponse { credential: Some(wire(set)) }))
    }

    pub(super) async fn drop_credential(
        &self,
        request: Request<v1::RemoveCredentialRequest>,
    ) -> Result<Response<v1::RemoveCredentialResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RemoveCredentialRequest { account_id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "account_id", &account_id);
        self.people.remove_credential(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::RemoveCredentialResponse {}))
    }
}

fn run_of(run: Option<v1::RunRef>) -> Result<Run, Status> {
    convert::job::run(run).map_err(|violations| status::from(violations.into()))
}

fn wire(credential: AccountCredential) -> v1::Credential {
    let AccountCredential {
        account,
        workspace: _,
        agent,
        key_id: _,
        generation,
        state,
        sealed: _,
        set_at,
        changed_at,
        used_at,
    } = credential;
    let state = match state {
        State::Ready => v1::CredentialState::Ready,
        State::Refused => v1::CredentialState::Refused,
        State::Moved => v1::CredentialState::Moved,
        State::Removed => v1::CredentialState::Removed,
    };
    v1::Credential {
        account_id: account.to_string(),
        agent_id: agent.to_string(),
        generation,
        state: state.into(),
        set_at: Some(time::to_wire(set_at)),
        changed_at: Some(time::to_wire(changed_at)),
        used_at: used_at.map(time::to_wire),
    }
}
