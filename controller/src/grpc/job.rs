//! JobService.

use std::pin::Pin;

use futures::Stream;
use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::failure::FailureClass;
use tradepost_domain::field::Violations;
use tradepost_domain::id::JobId;
use tradepost_proto::convert::time;
use tradepost_proto::v1::job_service_server::JobService;
use tradepost_proto::{convert, v1};
use tradepost_store::{EvidenceFile, JobFilter, Step, StepStatus, StoredStep};

use super::{Api, caller, checked, chunks, status};
use crate::service::job::{DeadLetters, Remedy, Treated};
use crate::service::page::{Page, Query};

#[async_trait]
impl JobService for Api {
    type DownloadEvidenceStream =
        Pin<Box<dyn Stream<Item = Result<v1::DownloadEvidenceResponse, Status>> + Send>>;

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetJobRequest { id } = request.into_inner();
        let job = self.core.job(&caller, job_id("id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::GetJobResponse { job: Some(job.into()) }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListJobsRequest { page_size, page_token, state, account_id, dead_letters } =
            request.into_inner();
        let mut violations = Violations::new();
        let state = convert::optional(&mut violations, "state", state);
        let account = convert::optional_id(&mut violations, "account_id", &account_id);
        let filter = checked(violations, Some(JobFilter { state, account, dead_letters }))?;
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } =
            self.core.jobs(&caller, filter, &query).await.map_err(status::from)?;
        Ok(Response::new(v1::ListJobsResponse {
            jobs: rows.into_iter().map(Into::into).collect(),
            next_page_token: next_token,
        }))
    }

    async fn retry_job(
        &self,
        request: Request<v1::RetryJobRequest>,
    ) -> Result<Response<v1::RetryJobResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RetryJobRequest { id } = request.into_inner();
        let job = self.core.retry_job(&caller, job_id("id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::RetryJobResponse { job: Some(job.into()) }))
    }

    async fn discard_job(
        &self,
        request: Request<v1::DiscardJobRequest>,
    ) -> Result<Response<v1::DiscardJobResponse>, Status> {
        let caller = caller(&request)?;
        let v1::DiscardJobRequest { id } = request.into_inner();
        let job = self.core.discard_job(&caller, job_id("id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::DiscardJobResponse { job: Some(job.into()) }))
    }

    async fn treat_dead_letters(
        &self,
        request: Request<v1::TreatDeadLettersRequest>,
    ) -> Result<Response<v1::TreatDeadLettersResponse>, Status> {
        let caller = caller(&request)?;
        let v1::TreatDeadLettersRequest { remedy, account_id, kind, failure_class, page_size, page_token } =
            request.into_inner();
        let mut violations = Violations::new();
        let remedy = match v1::DeadLetterRemedy::try_from(remedy) {
            Ok(v1::DeadLetterRemedy::Count) => Some(Remedy::Count),
            Ok(v1::DeadLetterRemedy::Retry) => Some(Remedy::Retry),
            Ok(v1::DeadLetterRemedy::Discard) => Some(Remedy::Discard),
            Ok(v1::DeadLetterRemedy::Unspecified) | Err(_) => {
                violations.push("remedy", "is missing; count, retry or discard");
                None
            }
        };
        let account = convert::optional_id(&mut violations, "account_id", &account_id);
        let kind = convert::optional(&mut violations, "kind", kind);
        let class = match failure_class.as_str() {
            "" => None,
            name => {
                let class = FailureClass::from_name(name).ok_or("is no class of failures");
                violations.check("failure_class", class)
            }
        };
        let wanted = DeadLetters { account, kind, class };
        let (remedy, wanted) = checked(violations, remedy.map(|remedy| (remedy, wanted)))?;
        let query = Query { size: page_size, token: page_token };
        let treated = self.core.treat_dead_letters(&caller, wanted, remedy, &query).await;
        let Treated { matched, done, refused, next_token } = treated.map_err(status::from)?;
        let refused =
            refused.into_iter().map(|(id, message)| v1::RefusedJob { job_id: id.to_string(), message });
        Ok(Response::new(v1::TreatDeadLettersResponse {
            matched,
            done,
            refused: refused.collect(),
            next_page_token: next_token,
        }))
    }

    async fn list_steps(
        &self,
        request: Request<v1::ListStepsRequest>,
    ) -> Result<Response<v1::ListStepsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListStepsRequest { job_id: id } = request.into_inner();
        let steps = self.core.steps(&caller, job_id("job_id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::ListStepsResponse { steps: steps.into_iter().map(wire_step).collect() }))
    }

    async fn list_evidence(
        &self,
        request: Request<v1::ListEvidenceRequest>,
    ) -> Result<Response<v1::ListEvidenceResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListEvidenceRequest { job_id: id } = request.into_inner();
        let files = self.core.evidence(&caller, job_id("job_id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::ListEvidenceResponse { files: files.into_iter().map(wire_file).collect() }))
    }

    async fn download_evidence(
        &self,
        request: Request<v1::DownloadEvidenceRequest>,
    ) -> Result<Response<Self::DownloadEvidenceStream>, Status> {
        let caller = caller(&request)?;
        let v1::DownloadEvidenceRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let content =
            self.core.evidence_content(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(Box::pin(chunks::send(content, |chunk| v1::DownloadEvidenceResponse { chunk }))))
    }
}

fn job_id(field: &str, text: &str) -> Result<JobId, Status> {
    let mut violations = Violations::new();
    let id = convert::id(&mut violations, field, text);
    checked(violations, id)
}

fn wire_step(stored: StoredStep) -> v1::Step {
    let StoredStep { run_lease, step, at } = stored;
    let Step { seq, phase, name, status, detail, duration, index, total } = step;
    let status = match status {
        StepStatus::Started => v1::StepStatus::Started,
        StepStatus::Succeeded => v1::StepStatus::Succeeded,
        StepStatus::Failed => v1::StepStatus::Failed,
        StepStatus::Skipped => v1::StepStatus::Skipped,
    };
    v1::Step {
        run_lease: run_lease.0,
        seq,
        phase: v1::Phase::from_name(&phase).unwrap_or_default().into(),
        name,
        status: status.into(),
        detail,
        duration: duration.map(time::duration_to_wire),
        index,
        total,
        at: Some(time::to_wire(at)),
    }
}

fn wire_file(file: EvidenceFile) -> v1::EvidenceFile {
    let EvidenceFile { id, workspace: _, job: _, run_lease, name, media_type, bytes, content, created_at } =
        file;
    v1::EvidenceFile {
        id: id.to_string(),
        run_lease: run_lease.0,
        name,
        media_type,
        size_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        sha256: content.to_string(),
        created_at: Some(time::to_wire(created_at)),
    }
}
