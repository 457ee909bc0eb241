//! Photos and their content.

use async_trait::async_trait;
use tradepost_domain::id::{ContentHash, JobId, PhotoId, WorkspaceId};
use tradepost_domain::photo::Photo;

use crate::Error;

/// Photos of workspaces. Contents are stored once per hash.
#[async_trait]
pub trait Photos: Send + Sync {
    /// Stores content and row together; when the workspace has the same content already, returns that photo.
    async fn add_photo(&self, photo: Photo, content: Vec<u8>) -> Result<Photo, Error>;

    /// One photo.
    async fn find_photo(&self, workspace: WorkspaceId, id: PhotoId) -> Result<Option<Photo>, Error>;

    /// Those of `ids` that exist, in the order of `ids`.
    async fn find_photos(&self, workspace: WorkspaceId, ids: &[PhotoId]) -> Result<Vec<Photo>, Error>;

    /// The content of a photo.
    async fn photo_content(&self, workspace: WorkspaceId, id: PhotoId) -> Result<Option<Vec<u8>>, Error>;

    /// The content `hash`, if the listing that `job` posts has a photo of it; none otherwise.
    async fn job_photo_content(
        &self,
        workspace: WorkspaceId,
        job: JobId,
        hash: ContentHash,
    ) -> Result<Option<Vec<u8>>, Error>;
}
