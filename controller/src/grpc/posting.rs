//! PostingService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::field::{Violation, Violations};
use tradepost_domain::id::PostingId;
use tradepost_domain::posting::Posting;
use tradepost_domain::waiting::Wait;
use tradepost_proto::convert::time;
use tradepost_proto::v1::posting_service_server::PostingService;
use tradepost_proto::v1::resolve_posting_request;
use tradepost_proto::{convert, v1};
use tradepost_store::PostingFilter;

use super::{Api, caller, checked, status};
use crate::service::page::{Page, Query};
use crate::service::posting::{Finding, NewPosting};
use crate::service::waiting::Explained;

impl Api {
    async fn show(&self, posting: Posting) -> Result<Option<v1::Posting>, Status> {
        let shown = self.core.waiting_for(vec![posting]).await.map_err(status::from)?;
        Ok(shown.into_iter().next().map(wire))
    }
}

#[async_trait]
impl PostingService for Api {
    async fn create_posting(
        &self,
        request: Request<v1::CreatePostingRequest>,
    ) -> Result<Response<v1::CreatePostingResponse>, Status> {
        let caller = caller(&request)?;
        let mut violations = Violations::new();
        let new = new_posting(&mut violations, "", request.into_inner());
        let new = checked(violations, new)?;
        let created = self.core.create_posting(&caller, new).await.map_err(status::from)?;
        Ok(Response::new(v1::CreatePostingResponse { posting: Some(wire(created)) }))
    }

    async fn batch_create_postings(
        &self,
        request: Request<v1::BatchCreatePostingsRequest>,
    ) -> Result<Response<v1::BatchCreatePostingsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::BatchCreatePostingsRequest { requests } = request.into_inner();
        let mut violations = Violations::new();
        let new: Vec<_> = requests
            .into_iter()
            .enumerate()
            .map(|(at, one)| new_posting(&mut violations, &format!("requests[{at}]."), one))
            .collect();
        let new = checked(violations, new.into_iter().collect::<Option<Vec<_>>>())?;
        let created = self.core.create_postings(&caller, &new).await.map_err(status::from)?;
        Ok(Response::new(v1::BatchCreatePostingsResponse {
            postings: created.into_iter().map(wire).collect(),
        }))
    }

    async fn get_posting(
        &self,
        request: Request<v1::GetPostingRequest>,
    ) -> Result<Response<v1::GetPostingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetPostingRequest { id } = request.into_inner();
        let posting = self.core.posting(&caller, posting_id("id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::GetPostingResponse { posting: self.show(posting).await? }))
    }

    async fn list_postings(
        &self,
        request: Request<v1::ListPostingsRequest>,
    ) -> Result<Response<v1::ListPostingsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListPostingsRequest { page_size, page_token, account_id, state } = request.into_inner();
        let mut violations = Violations::new();
        let account = convert::optional_id(&mut violations, "account_id", &account_id);
        let state = convert::optional(&mut violations, "state", state);
        let filter = checked(violations, Some(PostingFilter { state, account }))?;
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } =
            self.core.postings(&caller, filter, &query).await.map_err(status::from)?;
        let shown = self.core.waiting_for(rows).await.map_err(status::from)?;
        Ok(Response::new(v1::ListPostingsResponse {
            postings: shown.into_iter().map(wire).collect(),
            next_page_token: next_token,
        }))
    }

    async fn cancel_posting(
        &self,
        request: Request<v1::CancelPostingRequest>,
    ) -> Result<Response<v1::CancelPostingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::CancelPostingRequest { id } = request.into_inner();
        let posting =
            self.core.cancel_posting(&caller, posting_id("id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::CancelPostingResponse { posting: self.show(posting).await? }))
    }

    async fn prioritize_posting(
        &self,
        request: Request<v1::PrioritizePostingRequest>,
    ) -> Result<Response<v1::PrioritizePostingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::PrioritizePostingRequest { id, priority } = request.into_inner();
        let prioritized = self.core.prioritize_posting(&caller, posting_id("id", &id)?, priority).await;
        let posting = prioritized.map_err(status::from)?;
        Ok(Response::new(v1::PrioritizePostingResponse { posting: self.show(posting).await? }))
    }

    async fn get_wait(
        &self,
        request: Request<v1::GetWaitRequest>,
    ) -> Result<Response<v1::GetWaitResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetWaitRequest { posting_id: id } = request.into_inner();
        let explained = self.core.explain_posting(&caller, posting_id("posting_id", &id)?).await;
        let Explained { posting, job, wait, zone, ahead } = explained.map_err(status::from)?;
        Ok(Response::new(v1::GetWaitResponse {
            reason: wait.as_ref().map_or_else(String::new, |wait| wait.reason.to_owned()),
            until: wait.as_ref().and_then(|wait| wait.until).map(time::to_wire),
            posting: Some(wire((posting, wait))),
            time_zone: zone.to_string(),
            priority: job.priority,
            ahead,
        }))
    }

    async fn retry_posting(
        &self,
        request: Request<v1::RetryPostingRequest>,
    ) -> Result<Response<v1::RetryPostingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RetryPostingRequest { id } = request.into_inner();
        let posting = self.core.retry_posting(&caller, posting_id("id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::RetryPostingResponse { posting: self.show(posting).await? }))
    }

    async fn resolve_posting(
        &self,
        request: Request<v1::ResolvePostingRequest>,
    ) -> Result<Response<v1::ResolvePostingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ResolvePostingRequest { id, finding } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let finding = match finding {
            None => {
                violations.push(
                    "finding",
                    "is missing; say that it is published, with its item, or that it is not",
                );
                None
            }
            Some(resolve_posting_request::Finding::NotPublished(v1::NotPublished {})) => {
                Some(Finding::NotPublished)
            }
            // How it was recognised is not the caller's to say.
            Some(resolve_posting_request::Finding::Published(v1::PublishedItem {
                item_id,
                url,
                strategy: _,
            })) => Some(Finding::Published { item_id, url }),
        };
        let (id, finding) = checked(violations, id.zip(finding))?;
        let posting = self.core.resolve_posting(&caller, id, finding).await.map_err(status::from)?;
        Ok(Response::new(v1::ResolvePostingResponse { posting: self.show(posting).await? }))
    }

    async fn request_look(
        &self,
        request: Request<v1::RequestLookRequest>,
    ) -> Result<Response<v1::RequestLookResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RequestLookRequest { id } = request.into_inner();
        let posting = self.core.request_look(&caller, posting_id("id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::RequestLookResponse { posting: self.show(posting).await? }))
    }

    async fn list_looks(
        &self,
        request: Request<v1::ListLooksRequest>,
    ) -> Result<Response<v1::ListLooksResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListLooksRequest { posting_id: id } = request.into_inner();
        let looks = self.core.looks(&caller, posting_id("posting_id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::ListLooksResponse { looks: looks.into_iter().map(Into::into).collect() }))
    }

    async fn get_receipt(
        &self,
        request: Request<v1::GetReceiptRequest>,
    ) -> Result<Response<v1::GetReceiptResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetReceiptRequest { posting_id: id } = request.into_inner();
        let receipt =
            self.core.receipt(&caller, posting_id("posting_id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::GetReceiptResponse { receipt: Some(receipt.into()) }))
    }
}

fn wire((posting, wait): (Posting, Option<Wait>)) -> v1::Posting {
    v1::Posting::waiting(posting, wait.map_or_else(String::new, |wait| wait.sentence))
}

/// A request for a posting; `place` goes before the names of its fields.
fn new_posting(
    violations: &mut Violations,
    place: &str,
    message: v1::CreatePostingRequest,
) -> Option<NewPosting> {
    let v1::CreatePostingRequest { request_id, listing_id, account_id, priority, again } = message;
    let mut own = Violations::new();
    let request = convert::request_id(&mut own, &request_id);
    let listing = convert::id(&mut own, "listing_id", &listing_id);
    let account = convert::id(&mut own, "account_id", &account_id);
    for Violation { field, description } in own.0 {
        violations.push(format!("{place}{field}"), description);
    }
    Some(NewPosting { request: request?, listing: listing?, account: account?, priority, again })
}

fn posting_id(field: &str, text: &str) -> Result<PostingId, Status> {
    let mut violations = Violations::new();
    let id = convert::id(&mut violations, field, text);
    checked(violations, id)
}
