//! Photos: checked, turned upright, cleaned, kept once.

use std::io::Cursor;
use std::time::Duration;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use tokio::sync::Semaphore;
use tradepost_domain::audit::Target;
use tradepost_domain::field::Violations;
use tradepost_domain::id::{AgentId, ContentHash, JobId, PhotoId};
use tradepost_domain::photo::{BYTES_MAX, EDGE_MIN, MediaType, PIXELS_MAX, Photo};

use tradepost_store::audit;

use super::core::{Caller, Core};
use super::error::{Error, Reason, Result};

/// Quality of stored JPEGs: no loss that a marketplace's own compression would not bring many times over.
const JPEG_QUALITY: u8 = 92;
/// Longest edge that is decoded at all.
const EDGE_MAX: u32 = 30_000;
/// Memory that one decoding may take.
const DECODE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Pictures decoded at once: each may take [`DECODE_BYTES_MAX`].
static DECODERS: Semaphore = Semaphore::const_new(4);
/// An upload waits this long for its turn.
const DECODER_WAIT: Duration = Duration::from_secs(10);

/// A picture that is fit to be kept.
struct Cleaned {
    content: Vec<u8>,
    media_type: MediaType,
    width: u32,
    height: u32,
}

impl Core {
    /// Stores an uploaded photo. Equal content gives the same photo.
    pub async fn add_photo(&self, caller: &Caller, file_name: &str, content: Vec<u8>) -> Result<Photo> {
        let mut violations = Violations::new();
        let file_name = violations.text("file_name", file_name, 1, 200);
        violations.into_result(|| Some(()))?;
        let place = tokio::time::timeout(DECODER_WAIT, DECODERS.acquire()).await;
        let Ok(Ok(_place)) = place else {
            let message = "too many photos are being checked at this moment; try again";
            return Err(Error::new(Reason::TooManyUploads, message).retry_after(DECODER_WAIT));
        };
        // Decoding takes a while and must not hold up the other calls.
        let cleaned = tokio::task::spawn_blocking(move || clean(&content)).await.map_err(Error::internal)?;
        let Cleaned { content, media_type, width, height } = cleaned.map_err(|problem| {
            let mut violations = Violations::new();
            violations.push(format!("photo {file_name:?}"), problem);
            Error::violations(Reason::InvalidPhoto, violations)
        })?;
        let photo = Photo {
            id: PhotoId(self.id()),
            workspace: caller.workspace,
            file_name,
            content: ContentHash::of(&content),
            media_type,
            bytes: content.len() as u64,
            width,
            height,
            created_at: self.now(),
        };
        audit::about(Target::Photo, photo.id.0);
        Ok(self.store.add_photo(photo, content).await?)
    }

    /// One photo.
    pub async fn photo(&self, caller: &Caller, id: PhotoId) -> Result<Photo> {
        let found = self.store.find_photo(caller.workspace, id).await?;
        found.ok_or_else(|| Error::not_found(Reason::PhotoNotFound, "photo", id))
    }

    /// The stored content of a photo.
    pub async fn photo_content(&self, caller: &Caller, id: PhotoId) -> Result<Vec<u8>> {
        let found = self.store.photo_content(caller.workspace, id).await?;
        found.ok_or_else(|| Error::not_found(Reason::PhotoNotFound, "photo", id))
    }

    /// The content of a photo that a job of `agent` posts.
    pub async fn photo_for_job(&self, agent: AgentId, job: JobId, hash: ContentHash) -> Result<Vec<u8>> {
        let missing =
            || Error::new(Reason::PhotoNotFound, format!("no job {job} of this agent needs a photo {hash}"));
        let job = self.store.find_agent_job(agent, job).await?.ok_or_else(missing)?;
        self.store.job_photo_content(job.workspace, job.id, hash).await?.ok_or_else(missing)
    }
}

/// Decodes within limits, turns upright, drops all metadata by encoding anew. The error is one clear clause.
fn clean(content: &[u8]) -> Result<Cleaned, String> {
    if content.is_empty() {
        return Err("is empty (0 bytes); choose another file".to_owned());
    }
    if content.len() > BYTES_MAX {
        return Err(format!("has {} bytes; at most 20 MiB are allowed", content.len()));
    }
    let format = image::guess_format(content).ok();
    let Some(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) = format else {
        return Err("is no picture that can be used; use a JPEG, PNG or WebP file".to_owned());
    };
    let broken = |_| "cannot be read as a picture; it is cut off or damaged".to_owned();
    let mut reader = ImageReader::with_format(Cursor::new(content), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(EDGE_MAX);
    limits.max_image_height = Some(EDGE_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if width < EDGE_MIN || height < EDGE_MIN {
        return Err(format!("is {width} × {height} pixels; at least {EDGE_MIN} × {EDGE_MIN} are needed"));
    }
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(format!("is {width} × {height} pixels; at most 60 megapixels are allowed"));
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    picture.apply_orientation(orientation);
    encode(&picture, format).map_err(|error| format!("cannot be stored: {error}"))
}

fn encode(picture: &DynamicImage, format: ImageFormat) -> image::ImageResult<Cleaned> {
    let mut content = Vec::new();
    let media_type = if format == ImageFormat::Png || picture.color().has_alpha() {
        let plain = if picture.color().has_alpha() {
            DynamicImage::ImageRgba8(picture.to_rgba8())
        } else {
            DynamicImage::ImageRgb8(picture.to_rgb8())
        };
        plain.write_with_encoder(PngEncoder::new(&mut content))?;
        MediaType::Png
    } else {
        let plain = DynamicImage::ImageRgb8(picture.to_rgb8());
        plain.write_with_encoder(JpegEncoder::new_with_quality(&mut content, JPEG_QUALITY))?;
        MediaType::Jpeg
    };
    Ok(Cleaned { content, media_type, width: picture.width(), height: picture.height() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(width: u32, height: u32) -> Vec<u8> {
        let mut content = Vec::new();
        let picture = image::RgbImage::from_fn(width, height, |x, _| {
            image::Rgb([u8::try_from(x % 250).unwrap_or(0), 20, 90])
        });
        JpegEncoder::new(&mut content).encode_image(&picture).expect("encodes");
        content
    }

    /// An EXIF segment with the orientation "rotate by 90° clockwise" and the text of a camera's maker.
    fn with_exif(jpeg: &[u8]) -> Vec<u8> {
        let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
        tiff.extend(b"\x0f\x01\x02\0\x04\0\0\0GPS\0");
        tiff.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0");
        tiff.extend(b"\0\0\0\0");
        let mut segment = b"Exif\0\0".to_vec();
        segment.extend(tiff);
        let length = u16::try_from(segment.len() + 2).expect("short").to_be_bytes();
        let mut content = jpeg[..2].to_vec();
        content.extend(b"\xff\xe1");
        content.extend(length);
        content.extend(segment);
        content.extend(&jpeg[2..]);
        content
    }

    #[test]
    fn pictures_are_turned_upright_and_lose_their_metadata() {
        let given = with_exif(&jpeg(64, 32));
        let cleaned = clean(&given).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!((cleaned.width, cleaned.height), (32, 64));
        assert_eq!(cleaned.media_type, MediaType::Jpeg);
        assert!(!cleaned.content.windows(4).any(|window| window == b"Exif"));
        let again = clean(&given).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(cleaned.content, again.content, "equal files must give equal content");
    }

    #[test]
    fn unusable_files_are_refused_in_one_clear_clause() {
        let good = jpeg(64, 64);
        for (content, clause) in [
            (Vec::new(), "is empty (0 bytes)"),
            (b"hello, this is text".to_vec(), "is no picture"),
            (good[..20].to_vec(), "is cut off or damaged"),
            (b"\x89PNG\r\n\x1a\n".to_vec(), "is cut off or damaged"),
            (jpeg(8, 64), "at least 16"),
        ] {
            let problem = clean(&content).err().expect("refused");
            assert!(problem.contains(clause), "{problem}");
        }
    }
}
