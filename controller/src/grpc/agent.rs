//! AgentService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::field::Violations;
use tradepost_proto::convert::time;
use tradepost_proto::enrolment::EnrolmentString;
use tradepost_proto::v1::agent_service_server::AgentService;
use tradepost_proto::{convert, v1};

use super::{Api, caller, checked, status};
use crate::service::agent::Invitation;
use crate::service::page::{Page, Query};

#[async_trait]
impl AgentService for Api {
    async fn create_enrolment_token(
        &self,
        request: Request<v1::CreateEnrolmentTokenRequest>,
    ) -> Result<Response<v1::CreateEnrolmentTokenResponse>, Status> {
        let caller = caller(&request)?;
        let v1::CreateEnrolmentTokenRequest { ttl } = request.into_inner();
        let mut violations = Violations::new();
        let wanted = ttl.map(time::duration_from_wire);
        if wanted == Some(None) {
            violations.push("ttl", "is no duration of 0 seconds or more");
        }
        let ttl = checked(violations, Some(wanted.flatten()))?;
        let Invitation { secret, expires_at } =
            self.core.invite_agent(&caller, ttl).await.map_err(status::from)?;
        let text = EnrolmentString { address: self.addresses.api.clone(), pin: self.identity.pin(), secret };
        Ok(Response::new(v1::CreateEnrolmentTokenResponse {
            enrolment_string: text.to_string(),
            expires_at: Some(time::to_wire(expires_at)),
        }))
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListAgentsRequest { page_size, page_token } = request.into_inner();
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } = self.core.agents(&caller, &query).await.map_err(status::from)?;
        let now = self.core.now();
        Ok(Response::new(v1::ListAgentsResponse {
            agents: rows.into_iter().map(|agent| v1::Agent::at(agent, now)).collect(),
            next_page_token: next_token,
        }))
    }

    async fn get_agent(
        &self,
        request: Request<v1::GetAgentRequest>,
    ) -> Result<Response<v1::GetAgentResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetAgentRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let agent = self.core.agent(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::GetAgentResponse { agent: Some(v1::Agent::at(agent, self.core.now())) }))
    }

    async fn approve_agent(
        &self,
        request: Request<v1::ApproveAgentRequest>,
    ) -> Result<Response<v1::ApproveAgentResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ApproveAgentRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let agent = self.core.approve_agent(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::ApproveAgentResponse { agent: Some(v1::Agent::at(agent, self.core.now())) }))
    }

    async fn revoke_agent(
        &self,
        request: Request<v1::RevokeAgentRequest>,
    ) -> Result<Response<v1::RevokeAgentResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RevokeAgentRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let agent = self.core.revoke_agent(&caller, checked(violations, id)?).await.map_err(status::from)?;
        self.sessions.cut(agent.id, "this agent was revoked");
        Ok(Response::new(v1::RevokeAgentResponse { agent: Some(v1::Agent::at(agent, self.core.now())) }))
    }
}
