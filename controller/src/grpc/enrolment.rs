//! EnrolmentService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_proto::v1;
use tradepost_proto::v1::enrolment_service_server::EnrolmentService;

use super::{Api, status};
use crate::service::enrolment::{Enrolled, Enrolment};

#[async_trait]
impl EnrolmentService for Api {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let v1::EnrolRequest { token, csr_pem, name, platform, version } = request.into_inner();
        let enrolment = Enrolment { secret: token, csr_pem, name, platform, version };
        let Enrolled { agent, chain_pem, root_pem } =
            self.core.enrol(&self.identity, enrolment).await.map_err(status::from)?;
        Ok(Response::new(v1::EnrolResponse {
            agent_id: agent.to_string(),
            certificate_chain_pem: chain_pem,
            root_pem,
            agents_address: self.addresses.agents.clone(),
        }))
    }
}
