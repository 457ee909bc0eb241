//! Photos.

use tradepost_domain::photo::Photo;

use super::time;
use crate::v1;

impl From<Photo> for v1::Photo {
    fn from(photo: Photo) -> Self {
        let Photo { id, workspace: _, file_name, content, media_type, bytes, width, height, created_at } =
            photo;
        Self {
            id: id.to_string(),
            file_name,
            sha256: content.to_string(),
            media_type: media_type.mime().to_owned(),
            size_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            width_pixels: width,
            height_pixels: height,
            created_at: Some(time::to_wire(created_at)),
        }
    }
}

impl From<Photo> for v1::TaskPhoto {
    fn from(photo: Photo) -> Self {
        let Photo {
            id: _,
            workspace: _,
            file_name,
            content,
            media_type,
            bytes,
            width: _,
            height: _,
            created_at: _,
        } = photo;
        Self {
            sha256: content.to_string(),
            file_name,
            media_type: media_type.mime().to_owned(),
            size_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        }
    }
}
