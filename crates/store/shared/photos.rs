//! Photos and their contents.

use async_trait::async_trait;
use tradepost_domain::id::{ContentHash, JobId, PhotoId, WorkspaceId};
use tradepost_domain::photo::{MediaType, Photo};
use tradepost_store::{Error, Photos};
use uuid::Uuid;

use super::{Fault, rows};
use crate::backend::{Backend, Conn};
use crate::time::Time;

/// A row of the table.
pub(crate) struct PhotoRow {
    pub(crate) id: Uuid,
    pub(crate) workspace_id: Uuid,
    pub(crate) file_name: String,
    pub(crate) content_hash: Vec<u8>,
    pub(crate) media_type: String,
    pub(crate) bytes: i64,
    pub(crate) width: i64,
    pub(crate) height: i64,
    pub(crate) created_at: Time,
}

impl PhotoRow {
    pub(crate) fn into_photo(self) -> Result<Photo, Fault> {
        Ok(Photo {
            id: PhotoId(self.id),
            workspace: WorkspaceId(self.workspace_id),
            file_name: self.file_name,
            content: ContentHash::from_slice(&self.content_hash)
                .ok_or_else(|| Fault::inconsistent("photos.content_hash", self.id, &self.content_hash))?,
            media_type: MediaType::from_mime(&self.media_type)
                .ok_or_else(|| Fault::inconsistent("photos.media_type", self.id, &self.media_type))?,
            bytes: u64::try_from(self.bytes)
                .map_err(|_| Fault::inconsistent("photos.bytes", self.id, self.bytes))?,
            width: rows::count("photos.width", self.id, self.width)?,
            height: rows::count("photos.height", self.id, self.height)?,
            created_at: self.created_at.0,
        })
    }
}

macro_rules! photos {
    ($after:literal, $($args:tt)*) => {
        sqlx::query_as!(
            PhotoRow,
            r#"SELECT id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid", file_name AS "file_name!",
                      content_hash AS "content_hash!", media_type AS "media_type!", bytes AS "bytes!",
                      width AS "width!", height AS "height!", created_at AS "created_at!: Time"
               FROM photos "# + $after,
            $($args)*
        )
    };
}

#[async_trait]
impl Photos for Backend {
    async fn add_photo(&self, photo: Photo, content: Vec<u8>) -> Result<Photo, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                insert_blob(tx.conn, photo.content, content).await?;
                let bytes = i64::try_from(photo.bytes).map_err(|_| Fault::internal("a photo's size"))?;
                let inserted = sqlx::query!(
                    "INSERT INTO photos
                         (id, workspace_id, file_name, content_hash, media_type, bytes, width, height, created_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (workspace_id, content_hash) DO NOTHING",
                    photo.id.0,
                    photo.workspace.0,
                    photo.file_name,
                    &photo.content.0[..],
                    photo.media_type.mime(),
                    bytes,
                    i64::from(photo.width),
                    i64::from(photo.height),
                    Time(photo.created_at),
                )
                .execute(&mut *tx.conn)
                .await?;
                if inserted.rows_affected() == 1 {
                    return Ok(photo);
                }
                tx.unchanged();
                photos!(
                    "WHERE workspace_id = $1 AND content_hash = $2",
                    photo.workspace.0,
                    &photo.content.0[..]
                )
                .fetch_one(&mut *tx.conn)
                .await?
                .into_photo()
            })
        })
        .await
    }

    async fn find_photo(&self, workspace: WorkspaceId, id: PhotoId) -> Result<Option<Photo>, Error> {
        self.read(async |conn| find(conn, workspace, id).await).await
    }

    async fn find_photos(&self, workspace: WorkspaceId, ids: &[PhotoId]) -> Result<Vec<Photo>, Error> {
        self.read(async |conn| {
            // A listing has at most 20 photos: one look-up by key each.
            let mut photos = Vec::with_capacity(ids.len());
            for id in ids {
                photos.extend(find(conn, workspace, *id).await?);
            }
            Ok(photos)
        })
        .await
    }

    async fn photo_content(&self, workspace: WorkspaceId, id: PhotoId) -> Result<Option<Vec<u8>>, Error> {
        self.read(async |conn| {
            Ok(sqlx::query_scalar!(
                r#"SELECT b.content AS "content!" FROM photos p JOIN blobs b ON b.sha256 = p.content_hash
                   WHERE p.id = $1 AND p.workspace_id = $2"#,
                id.0,
                workspace.0,
            )
            .fetch_optional(&mut *conn)
            .await?)
        })
        .await
    }

    async fn job_photo_content(
        &self,
        workspace: WorkspaceId,
        job: JobId,
        hash: ContentHash,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.read(async |conn| {
            Ok(sqlx::query_scalar!(
                r#"SELECT b.content AS "content!"
                   FROM jobs j JOIN postings p ON p.id = j.posting_id
                       JOIN listing_photos l ON l.listing_id = p.listing_id
                       JOIN photos f ON f.id = l.photo_id
                       JOIN blobs b ON b.sha256 = f.content_hash
                   WHERE j.id = $1 AND j.workspace_id = $2 AND f.content_hash = $3 LIMIT 1"#,
                job.0,
                workspace.0,
                &hash.0[..],
            )
            .fetch_optional(&mut *conn)
            .await?)
        })
        .await
    }
}

async fn find(conn: &mut Conn, workspace: WorkspaceId, id: PhotoId) -> Result<Option<Photo>, Fault> {
    photos!("WHERE id = $1 AND workspace_id = $2", id.0, workspace.0)
        .fetch_optional(&mut *conn)
        .await?
        .map(PhotoRow::into_photo)
        .transpose()
}

/// Stores a content once. One that is there is held, so that it is not let go before something refers to it.
pub(super) async fn insert_blob(conn: &mut Conn, hash: ContentHash, content: Vec<u8>) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO blobs (sha256, content) VALUES ($1, $2) ON CONFLICT (sha256) DO UPDATE SET sha256 = excluded.sha256",
        &hash.0[..],
        content,
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}
