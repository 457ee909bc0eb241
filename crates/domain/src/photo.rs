//! A photo of a workspace: content-addressed, checked and cleaned before it is kept.

use crate::id::{ContentHash, PhotoId, WorkspaceId};
use crate::time::Timestamp;

/// Largest upload, in bytes (20 MiB).
pub const BYTES_MAX: usize = 20 * 1024 * 1024;
/// Largest picture, in pixels.
pub const PIXELS_MAX: u64 = 60_000_000;
/// Smallest edge, in pixels.
pub const EDGE_MIN: u32 = 16;

/// What kind of file the stored photo is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// image/jpeg
    Jpeg,
    /// image/png
    Png,
}

/// One stored photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Its id: equal content has one id in a workspace.
    pub id: PhotoId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The file's name as given, for people.
    pub file_name: String,
    /// Hash of the stored (cleaned) content.
    pub content: ContentHash,
    /// What the stored content is.
    pub media_type: MediaType,
    /// Size of the stored content in bytes.
    pub bytes: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// When it was first uploaded.
    pub created_at: Timestamp,
}

impl MediaType {
    /// The MIME type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }

    /// The file name extension, without the point.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }

    /// From a MIME type.
    pub fn from_mime(mime: &str) -> Option<Self> {
        match mime {
            "image/jpeg" => Some(Self::Jpeg),
            "image/png" => Some(Self::Png),
            _ => None,
        }
    }
}
