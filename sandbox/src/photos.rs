//! Photos on disk, named by the hash of their bytes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader};
use sha2::{Digest as _, Sha256};

use crate::ledger;
use crate::model::Photo;

/// The largest file taken.
pub const MAX_BYTES: usize = 30 * 1024 * 1024;

/// The folder of photos.
#[derive(Debug)]
pub struct PhotoStore {
    folder: PathBuf,
}

/// Why a photo was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nothing in it.
    #[error("{0} is empty.")]
    Empty(String),
    /// Not an image that browsers show.
    #[error("{0} can't be used. Photos should be JPEG, PNG or WebP files.")]
    Format(String),
    /// The disk failed.
    #[error("The photo could not be stored: {0}")]
    Disk(#[from] std::io::Error),
}

// === impl PhotoStore ===

impl PhotoStore {
    /// Opens or makes the folder `photos` in `data`.
    pub fn open(data: &Path) -> Result<Self, ledger::Error> {
        let folder = data.join("photos");
        match std::fs::create_dir_all(&folder) {
            Ok(()) => Ok(Self { folder }),
            Err(cause) => Err(ledger::Error::Folder { path: folder, cause }),
        }
    }

    /// Stores the bytes under their hash; the same bytes twice are stored once.
    pub fn store(&self, name: &str, content: &[u8]) -> Result<Photo, Refused> {
        if content.is_empty() {
            return Err(Refused::Empty(name.to_owned()));
        }
        let refused = || Refused::Format(name.to_owned());
        let reader = ImageReader::new(std::io::Cursor::new(content)).with_guessed_format()?;
        let media_type = match reader.format() {
            Some(ImageFormat::Jpeg) => "image/jpeg",
            Some(ImageFormat::Png) => "image/png",
            Some(ImageFormat::WebP) => "image/webp",
            _ => return Err(refused()),
        };
        // Only the header is decoded: a full decode of each upload would be the slowest thing this site does.
        let (width, height) = reader.into_dimensions().map_err(|_| refused())?;
        let sha256 = hex::encode(Sha256::digest(content));
        self.write(&sha256, content)?;
        Ok(Photo {
            sha256,
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            width,
            height,
            bytes: content.len() as u64,
        })
    }

    /// The bytes stored under `sha256`, if there are any.
    pub fn read(&self, sha256: &str) -> std::io::Result<Option<Vec<u8>>> {
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        match std::fs::read(self.folder.join(sha256)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, sha256: &str, content: &[u8]) -> std::io::Result<()> {
        let path = self.folder.join(sha256);
        if path.exists() {
            return Ok(());
        }
        // Written beside and renamed, so that a name always means the whole photo. Two uploads of the same
        // bytes at once write the same content, whichever rename comes last.
        let mut unfinished = tempfile_in(&self.folder, sha256)?;
        unfinished.1.write_all(content)?;
        unfinished.1.sync_data()?;
        std::fs::rename(unfinished.0, path)
    }
}

fn tempfile_in(folder: &Path, sha256: &str) -> std::io::Result<(PathBuf, std::fs::File)> {
    let mut attempt = 0_u32;
    loop {
        let path = folder.join(format!("{sha256}.part{attempt}"));
        match std::fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
