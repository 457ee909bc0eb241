//! ListingService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::field::Violations;
use tradepost_domain::listing::Content;
use tradepost_proto::v1::listing_service_server::ListingService;
use tradepost_proto::{convert, v1};

use super::{Api, caller, checked, status};
use crate::service::page::{Page, Query};

#[async_trait]
impl ListingService for Api {
    async fn create_listing(
        &self,
        request: Request<v1::CreateListingRequest>,
    ) -> Result<Response<v1::CreateListingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::CreateListingRequest { request_id, content } = request.into_inner();
        let mut violations = Violations::new();
        let request_id = convert::request_id(&mut violations, &request_id);
        let content = content_of(&mut violations, content);
        let (request_id, content) = checked(violations, request_id.zip(content))?;
        let listing = self.core.create_listing(&caller, &request_id, content).await.map_err(status::from)?;
        Ok(Response::new(v1::CreateListingResponse { listing: Some(listing.into()) }))
    }

    async fn get_listing(
        &self,
        request: Request<v1::GetListingRequest>,
    ) -> Result<Response<v1::GetListingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetListingRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let listing = self.core.listing(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::GetListingResponse { listing: Some(listing.into()) }))
    }

    async fn list_listings(
        &self,
        request: Request<v1::ListListingsRequest>,
    ) -> Result<Response<v1::ListListingsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListListingsRequest { page_size, page_token } = request.into_inner();
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } = self.core.listings(&caller, &query).await.map_err(status::from)?;
        Ok(Response::new(v1::ListListingsResponse {
            listings: rows.into_iter().map(Into::into).collect(),
            next_page_token: next_token,
        }))
    }

    async fn update_listing(
        &self,
        request: Request<v1::UpdateListingRequest>,
    ) -> Result<Response<v1::UpdateListingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::UpdateListingRequest { id, content, etag } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let content = content_of(&mut violations, content);
        let version = convert::version(&mut violations, &etag);
        if etag.is_empty() {
            violations.push("etag", "is missing; read the listing and send its etag");
        }
        let ((id, content), version) = checked(violations, id.zip(content).zip(version))?;
        let listing = self.core.update_listing(&caller, id, content, version).await.map_err(status::from)?;
        Ok(Response::new(v1::UpdateListingResponse { listing: Some(listing.into()) }))
    }

    async fn delete_listing(
        &self,
        request: Request<v1::DeleteListingRequest>,
    ) -> Result<Response<v1::DeleteListingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::DeleteListingRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        self.core.delete_listing(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::DeleteListingResponse {}))
    }
}

fn content_of(violations: &mut Violations, message: Option<v1::ListingContent>) -> Option<Content> {
    Content::try_from(message.unwrap_or_default()).map_err(|found| violations.0.extend(found.0)).ok()
}
