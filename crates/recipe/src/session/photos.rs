//! Giving the photos, and seeing that they are there in order.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tradepost_domain::failure::{Failure, FailureClass};

use super::failure::not_kept;
use super::steps::left;
use super::{Hold, Session};
use crate::locate::{Condition, Target};
use crate::normal::{self, Compare};
use crate::page::{Column, Control, Extraction, PageError};
use crate::schema::Upload;

/// A photo as sites name it.
pub(super) struct Photo {
    /// Its file name.
    pub(super) name: String,
    /// SHA-256 of its bytes, in hexadecimal.
    sha256: String,
}

impl Session {
    pub(super) async fn upload(
        &mut self,
        step: &str,
        upload: &Upload,
        until: Instant,
    ) -> Result<String, Failure> {
        let field = Some("photos");
        let files = self.input.listing.as_ref().map(|listing| listing.photos.clone()).unwrap_or_default();
        let target = self.resolve_target(step, field, &upload.target)?;
        if files.is_empty() {
            return Ok("no photos".to_owned());
        }
        let control = self.page.upload(&target, &files, upload.spread, left(until)).await;
        let control = control.map_err(|error| self.failure(step, field, error))?;
        let photos = self.photo_files().await;
        let names: Vec<&str> = photos.iter().map(|photo| photo.name.as_str()).collect();
        let Some(thumbnails) = &upload.thumbnails else {
            if control.value.lines().ne(names.iter().copied()) {
                return Err(not_kept(step, "photos", &names.join(", "), &control.value.replace('\n', ", ")));
            }
            let hold = Hold::Same { wanted: names.join("\n"), compare: Compare::Exact };
            self.keep("photos", target, hold, &control);
            return Ok(format!("{} photos", names.len()));
        };
        let thumbnails = self.resolve_target(step, field, thumbnails)?;
        self.thumbnails(step, upload, &thumbnails, &photos, until).await?;
        let shown = Control { count: names.len(), ..Control::default() };
        self.keep("photos", thumbnails, Hold::Count(names.len()), &shown);
        Ok(format!("{} photos", names.len()))
    }

    /// Waits for one thumbnail per photo and compares their order.
    async fn thumbnails(
        &self,
        step: &str,
        upload: &Upload,
        thumbnails: &Target,
        photos: &[Photo],
        until: Instant,
    ) -> Result<(), Failure> {
        let failed =
            |message: String| Failure::new(FailureClass::UploadFailed, step, message).in_field("photos");
        let all = Condition { at_least: Some(photos.len()), ..Condition::visible(thumbnails.clone()) };
        let mut conditions = vec![all];
        if let Some(refused) = &upload.refused {
            conditions.push(Condition::visible(self.resolve_target(step, Some("photos"), refused)?));
        }
        let seen = match self.page.wait(&conditions, left(until)).await {
            Ok(seen) => seen,
            Err(PageError::NotReached { at }) => {
                let column = Column { name: "n".into(), target: None, attribute: None, pattern: None };
                let rows = Extraction { rows: thumbnails.clone(), columns: vec![column] };
                let found = self.page.extract(&rows).await.map_or(0, |rows| rows.len());
                return Err(failed(format!(
                    "the site shows {found} of {} photos after {} s on the page {at}; try again",
                    photos.len(),
                    Duration::as_secs(&left(until).max(Duration::from_secs(1)))
                )));
            }
            Err(error) => return Err(self.failure(step, Some("photos"), error)),
        };
        if seen.index == 1 {
            return Err(failed(format!(
                "the site refuses a photo: {}; replace it",
                normal::line(&seen.text)
            )));
        }
        let Some(attribute) = &upload.order_by else { return Ok(()) };
        let column =
            Column { name: "name".into(), target: None, attribute: Some(attribute.clone()), pattern: None };
        let rows = self.page.extract(&Extraction { rows: thumbnails.clone(), columns: vec![column] }).await;
        let rows = rows.map_err(|error| self.failure(step, Some("photos"), error))?;
        let shown: Vec<String> =
            rows.into_iter().map(|mut row| row.remove("name").unwrap_or_default()).collect();
        if photos_in_order(photos, &shown) {
            return Ok(());
        }
        Err(failed(format!(
            "the site shows the photos as {}; they were given as {}",
            shown.join(", "),
            photos.iter().map(|photo| photo.name.as_str()).collect::<Vec<_>>().join(", ")
        )))
    }

    /// The listing's photos, in order, with what sites may name them by.
    pub(super) async fn photo_files(&self) -> Vec<Photo> {
        let paths = self.input.listing.as_ref().map(|listing| listing.photos.as_slice()).unwrap_or_default();
        let mut photos = Vec::with_capacity(paths.len());
        for path in paths {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let bytes = tokio::fs::read(path).await.unwrap_or_default();
            photos.push(Photo { name, sha256: hex::encode(Sha256::digest(&bytes)) });
        }
        photos
    }
}

/// Whether the names shown (of files, or in addresses that end in them) stand for the photos in the same order.
/// Sites rename files on a clash and drop odd characters, so that the names' letters and digits are compared, and what
/// the site adds at the end does not count; or they name them by the hash of their bytes.
pub(super) fn photos_in_order(photos: &[Photo], shown: &[String]) -> bool {
    let stem = |name: &str| -> String {
        let name = name.split(['?', '#']).next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        stem.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
    };
    let same = |(photo, shown): (&Photo, &String)| {
        let shown = stem(shown);
        shown == photo.sha256 || shown.starts_with(&stem(&photo.name))
    };
    photos.len() == shown.len() && photos.iter().zip(shown).all(same)
}
