//! EnrolmentService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::field::Violations;
use tradepost_proto::convert::time;
use tradepost_proto::v1::enrolment_service_server::EnrolmentService;
use tradepost_proto::{convert, v1};

use super::{Addresses, Api, checked, status};
use crate::identity::Issued;
use crate::service::enrolment::{Enrolled, Enrolment};

#[async_trait]
impl EnrolmentService for Api {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let v1::EnrolRequest { token, csr_pem, name, platform, version } = request.into_inner();
        let enrolment = Enrolment { secret: token, csr_pem, name, platform, version };
        let Enrolled { agent, issued } =
            self.core.enrol(&self.identity, enrolment).await.map_err(status::from)?;
        let Issued { chain_pem, roots_pem, bridges_pem: _, life, digest } = issued;
        Ok(Response::new(v1::EnrolResponse {
            agent_id: agent.to_string(),
            certificate_chain_pem: chain_pem,
            root_pem: roots_pem,
            agents_address: self.addresses.agents.clone(),
            life: Some(time::duration_to_wire(life)),
            trust_digest: digest,
        }))
    }

    async fn begin_return(
        &self,
        request: Request<v1::BeginReturnRequest>,
    ) -> Result<Response<v1::BeginReturnResponse>, Status> {
        let v1::BeginReturnRequest { agent_id } = request.into_inner();
        let mut violations = Violations::new();
        let agent = convert::id(&mut violations, "agent_id", &agent_id);
        let agent = checked(violations, agent)?;
        let challenge = self.core.begin_return(&self.identity, agent).map_err(status::from)?;
        Ok(Response::new(v1::BeginReturnResponse { challenge }))
    }

    async fn finish_return(
        &self,
        request: Request<v1::FinishReturnRequest>,
    ) -> Result<Response<v1::FinishReturnResponse>, Status> {
        let v1::FinishReturnRequest { agent_id, csr_pem } = request.into_inner();
        let mut violations = Violations::new();
        let agent = convert::id(&mut violations, "agent_id", &agent_id);
        let agent = checked(violations, agent)?;
        let issued = self.core.finish_return(&self.identity, agent, &csr_pem).await.map_err(status::from)?;
        Ok(Response::new(v1::FinishReturnResponse { identity: Some(wire(issued, &self.addresses)) }))
    }
}

/// What an agent gets with a certificate.
pub(super) fn wire(issued: Issued, addresses: &Addresses) -> v1::IssuedIdentity {
    let Issued { chain_pem, roots_pem, bridges_pem, life, digest } = issued;
    v1::IssuedIdentity {
        certificate_chain_pem: chain_pem,
        roots_pem,
        bridges_pem,
        agents_address: addresses.agents.clone(),
        api_address: addresses.api.clone(),
        life: Some(time::duration_to_wire(life)),
        trust_digest: digest,
    }
}
