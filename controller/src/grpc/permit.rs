//! PublishPermitService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::field::Violations;
use tradepost_domain::id::{AgentId, ContentHash, IntentId, PermitId, SessionEpoch};
use tradepost_proto::convert::{posting, time};
use tradepost_proto::v1::publish_permit_service_server::PublishPermitService;
use tradepost_proto::v1::settle_publication_request::Outcome;
use tradepost_proto::{convert, v1};

use super::{Api, calling_agent, checked, status};
use crate::service::permit::{Granted, PermitRequest, Prepared, Settlement};
use crate::service::run::Run;

#[async_trait]
impl PublishPermitService for Api {
    async fn record_prepared(
        &self,
        request: Request<v1::RecordPreparedRequest>,
    ) -> Result<Response<v1::RecordPreparedResponse>, Status> {
        let agent = calling_agent(&request)?;
        let v1::RecordPreparedRequest { run, intent_id, session_epoch, baseline_item_ids, fingerprint } =
            request.into_inner();
        let mut violations = Violations::new();
        let run = run_of(&mut violations, run);
        let intent = convert::id(&mut violations, "intent_id", &intent_id);
        let fingerprint = violations.text("fingerprint", &fingerprint, 1, 200);
        let (run, intent) = checked(violations, run.zip(intent))?;
        let epoch = SessionEpoch(session_epoch);
        let prepared = Prepared { run, intent, epoch, baseline: baseline_item_ids, fingerprint };
        self.core.record_prepared(agent, prepared).await.map_err(status::from)?;
        Ok(Response::new(v1::RecordPreparedResponse {}))
    }

    async fn acquire_publish_permit(
        &self,
        request: Request<v1::AcquirePublishPermitRequest>,
    ) -> Result<Response<v1::AcquirePublishPermitResponse>, Status> {
        let agent = calling_agent(&request)?;
        let v1::AcquirePublishPermitRequest {
            permit_request_id,
            run,
            intent_id,
            generation,
            session_epoch,
            baseline_sha256,
            fingerprint,
        } = request.into_inner();
        let mut violations = Violations::new();
        let wanted = violations.text("permit_request_id", &permit_request_id, 1, 64);
        let run = run_of(&mut violations, run);
        let intent = convert::id(&mut violations, "intent_id", &intent_id);
        let baseline_hash = convert::id::<ContentHash>(&mut violations, "baseline_sha256", &baseline_sha256);
        let ((run, intent), baseline_hash) = checked(violations, run.zip(intent).zip(baseline_hash))?;
        let epoch = SessionEpoch(session_epoch);
        let wanted =
            PermitRequest { request: wanted, run, intent, generation, epoch, baseline_hash, fingerprint };
        let Granted { permit, ttl } = self.core.acquire_permit(agent, wanted).await.map_err(status::from)?;
        Ok(Response::new(v1::AcquirePublishPermitResponse {
            permit_id: permit.to_string(),
            ttl: Some(time::duration_to_wire(ttl)),
        }))
    }

    async fn settle_publication(
        &self,
        request: Request<v1::SettlePublicationRequest>,
    ) -> Result<Response<v1::SettlePublicationResponse>, Status> {
        let agent = calling_agent(&request)?;
        let v1::SettlePublicationRequest { intent_id, permit_id, run, outcome } = request.into_inner();
        let mut violations = Violations::new();
        let run = run_of(&mut violations, run);
        let intent = convert::id::<IntentId>(&mut violations, "intent_id", &intent_id);
        let permit = convert::id::<PermitId>(&mut violations, "permit_id", &permit_id);
        let settlement = settlement(&mut violations, agent, outcome);
        let (((intent, permit), run), settlement) =
            checked(violations, intent.zip(permit).zip(run).zip(settlement))?;
        self.core.settle(agent, intent, permit, run, settlement).await.map_err(status::from)?;
        Ok(Response::new(v1::SettlePublicationResponse {}))
    }
}

fn run_of(violations: &mut Violations, message: Option<v1::RunRef>) -> Option<Run> {
    convert::job::run(message).map_err(|found| violations.0.extend(found.0)).ok()
}

fn settlement(violations: &mut Violations, agent: AgentId, outcome: Option<Outcome>) -> Option<Settlement> {
    let shortened = |reason: String| reason.chars().take(1_000).collect();
    match outcome {
        None => {
            violations.push("outcome", "is missing");
            None
        }
        Some(Outcome::NotClicked(v1::NotClicked { reason })) => {
            Some(Settlement::NotClicked(shortened(reason)))
        }
        Some(Outcome::Uncertain(v1::Uncertain { reason })) => Some(Settlement::Uncertain(shortened(reason))),
        Some(Outcome::Confirmed(v1::Confirmed { receipt })) => {
            posting::receipt_of(agent, receipt.unwrap_or_default())
                .map_err(|found| violations.0.extend(found.0))
                .ok()
                .map(|receipt| Settlement::Confirmed(Box::new(receipt)))
        }
    }
}
