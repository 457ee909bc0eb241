//! EvidenceService.

use tonic::{Request, Response, Status, Streaming, async_trait};
use tradepost_domain::field::Violations;
use tradepost_domain::id::ContentHash;
use tradepost_proto::v1::evidence_service_server::EvidenceService;
use tradepost_proto::v1::upload_evidence_request;
use tradepost_proto::{convert, v1};

use super::chunks::{self, Part};
use super::{Api, calling_agent, checked, status};
use crate::service::evidence::{BYTES_MAX, Metadata};

#[async_trait]
impl EvidenceService for Api {
    async fn upload_evidence(
        &self,
        request: Request<Streaming<v1::UploadEvidenceRequest>>,
    ) -> Result<Response<v1::UploadEvidenceResponse>, Status> {
        let agent = calling_agent(&request)?;
        let (metadata, content) = chunks::receive(request.into_inner(), BYTES_MAX, |message| {
            let v1::UploadEvidenceRequest { part } = message;
            part.map(|part| match part {
                upload_evidence_request::Part::Metadata(metadata) => Part::Metadata(metadata),
                upload_evidence_request::Part::Chunk(chunk) => Part::Chunk(chunk),
            })
        })
        .await?;
        let v1::EvidenceMetadata { run, name, media_type, size_bytes, sha256 } = metadata;
        chunks::check_size(size_bytes, &content)?;
        let mut violations = Violations::new();
        let run = convert::job::run(run).map_err(|found| violations.0.extend(found.0)).ok();
        let hash = convert::id::<ContentHash>(&mut violations, "sha256", &sha256);
        let (run, hash) = checked(violations, run.zip(hash))?;
        let metadata = Metadata { run, name, media_type, hash };
        let id = self.core.add_evidence(agent, metadata, content).await.map_err(status::from)?;
        Ok(Response::new(v1::UploadEvidenceResponse { id: id.to_string() }))
    }
}
