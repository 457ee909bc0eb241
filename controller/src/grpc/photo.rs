//! PhotoService.

use std::pin::Pin;

use futures::Stream;
use tonic::{Request, Response, Status, Streaming, async_trait};
use tradepost_domain::field::Violations;
use tradepost_domain::photo::BYTES_MAX;
use tradepost_proto::v1::photo_service_server::PhotoService;
use tradepost_proto::v1::upload_photo_request;
use tradepost_proto::{convert, v1};

use super::chunks::{self, Part};
use super::{Api, caller, checked, status};

#[async_trait]
impl PhotoService for Api {
    type DownloadPhotoStream = Pin<Box<dyn Stream<Item = Result<v1::DownloadPhotoResponse, Status>> + Send>>;

    async fn upload_photo(
        &self,
        request: Request<Streaming<v1::UploadPhotoRequest>>,
    ) -> Result<Response<v1::UploadPhotoResponse>, Status> {
        let caller = caller(&request)?;
        let (metadata, content) = chunks::receive(request.into_inner(), BYTES_MAX, |message| {
            let v1::UploadPhotoRequest { part } = message;
            part.map(|part| match part {
                upload_photo_request::Part::Metadata(metadata) => Part::Metadata(metadata),
                upload_photo_request::Part::Chunk(chunk) => Part::Chunk(chunk),
            })
        })
        .await?;
        let v1::UploadPhotoMetadata { file_name, size_bytes } = metadata;
        chunks::check_size(size_bytes, &content)?;
        let photo = self.core.add_photo(&caller, &file_name, content).await.map_err(status::from)?;
        Ok(Response::new(v1::UploadPhotoResponse { photo: Some(photo.into()) }))
    }

    async fn get_photo(
        &self,
        request: Request<v1::GetPhotoRequest>,
    ) -> Result<Response<v1::GetPhotoResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetPhotoRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let photo = self.core.photo(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::GetPhotoResponse { photo: Some(photo.into()) }))
    }

    async fn download_photo(
        &self,
        request: Request<v1::DownloadPhotoRequest>,
    ) -> Result<Response<Self::DownloadPhotoStream>, Status> {
        let caller = caller(&request)?;
        let v1::DownloadPhotoRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let content =
            self.core.photo_content(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(Box::pin(chunks::send(content, |chunk| v1::DownloadPhotoResponse { chunk }))))
    }
}
