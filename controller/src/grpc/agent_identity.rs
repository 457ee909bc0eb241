//! AgentIdentityService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_proto::v1;
use tradepost_proto::v1::agent_identity_service_server::AgentIdentityService;

use super::{Api, calling_agent, enrolment, status};

#[async_trait]
impl AgentIdentityService for Api {
    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        let agent = calling_agent(&request)?;
        let v1::RenewCertificateRequest { csr_pem } = request.into_inner();
        let issued = self.core.renew(&self.identity, agent, &csr_pem).await.map_err(status::from)?;
        let identity = Some(enrolment::wire(issued, &self.addresses));
        Ok(Response::new(v1::RenewCertificateResponse { identity }))
    }

    async fn prove_certificate(
        &self,
        request: Request<v1::ProveCertificateRequest>,
    ) -> Result<Response<v1::ProveCertificateResponse>, Status> {
        // The layers have checked it.
        let agent = calling_agent(&request)?;
        let v1::ProveCertificateRequest {} = request.into_inner();
        tracing::debug!(%agent, "an agent proved its certificate");
        Ok(Response::new(v1::ProveCertificateResponse {}))
    }
}
