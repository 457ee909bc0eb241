//! Giving the photos, and seeing that they are there in order.
//!
//! What proves the order: each photo that the site shows is compared with the photo given for the same place.
//! - A site that names photos by the SHA-256 of their bytes proves each photo's content (an address that ends in it).
//! - A site that keeps file names proves the place: the agent names the files `01-…`, `02-…` in the listing's order, so
//!   that no name begins with another place's. Their content is as good as the upload, which the form read back.
//!
//! A photo that shows neither counts as wrong.

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
        if in_order(photos, &shown) {
            return Ok(());
        }
        Err(failed(format!(
            "the site shows {}, wanted {}; try again",
            found(photos, &shown),
            in_words(photos.len())
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
pub(super) fn in_order(photos: &[Photo], shown: &[String]) -> bool {
    photos.len() == shown.len() && photos.iter().zip(shown).all(|(photo, shown)| is_shown(photo, shown))
}

/// "3 photos in order".
pub(super) fn in_words(count: usize) -> String {
    match count {
        0 => "no photos".to_owned(),
        1 => "1 photo".to_owned(),
        _ => format!("{count} photos in order"),
    }
}

/// What the site shows, in words: as wanted, or what differs.
pub(super) fn found(photos: &[Photo], shown: &[String]) -> String {
    if in_order(photos, shown) {
        return in_words(shown.len());
    }
    let count = match shown.len() {
        0 => return "no photos".to_owned(),
        1 => "1 photo".to_owned(),
        several => format!("{several} photos"),
    };
    // Which of the given photos stands in each place, counted from 1.
    let places: Vec<Option<usize>> = shown
        .iter()
        .map(|shown| photos.iter().position(|photo| is_shown(photo, shown)).map(|at| at + 1))
        .collect();
    let unknown: Vec<String> = (1..)
        .zip(&places)
        .filter(|(_, place)| place.is_none())
        .map(|(number, _): (usize, _)| number.to_string())
        .collect();
    if !unknown.is_empty() {
        return format!("{count}; not of this listing: number {}", unknown.join(", "));
    }
    let missing: Vec<String> = (1..=photos.len())
        .filter(|number| !places.contains(&Some(*number)))
        .map(|number| number.to_string())
        .collect();
    if !missing.is_empty() {
        return format!("{count}; missing: number {}", missing.join(", "));
    }
    let order: Vec<String> = places.iter().flatten().map(ToString::to_string).collect();
    format!("{count} in the order {}", order.join(", "))
}

/// Whether the name shown stands for the photo. Sites rename files on a clash and drop odd characters, so that the names'
/// letters and digits are compared, and what the site adds at the end does not count.
fn is_shown(photo: &Photo, shown: &str) -> bool {
    let stem = |name: &str| -> String {
        let name = name.split(['?', '#']).next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        stem.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
    };
    let (shown, name) = (stem(shown), stem(&photo.name));
    shown == photo.sha256 || (!name.is_empty() && shown.starts_with(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_compared_one_by_one_and_told_in_words() {
        let photos: Vec<Photo> = (1..=3)
            .map(|n| Photo { name: format!("0{n}-side.jpg"), sha256: n.to_string().repeat(64) })
            .collect();
        let hashes = |order: &[usize]| -> Vec<String> {
            order.iter().map(|n| format!("/media/{}", n.to_string().repeat(64))).collect()
        };
        let names =
            ["https://site.test/a/01-side_Xy7.jpg", "/a/02-side.jpg?w=1", "03-side.png"].map(Into::into);
        for shown in [hashes(&[1, 2, 3]), names.to_vec()] {
            assert!(in_order(&photos, &shown), "{shown:?}");
            assert_eq!(found(&photos, &shown), in_words(3));
        }
        for (order, words) in [
            (&[2, 1, 3][..], "3 photos in the order 2, 1, 3"),
            (&[1, 3], "2 photos; missing: number 2"),
            (&[1, 9, 3], "3 photos; not of this listing: number 2"),
            (&[1, 2, 3, 3], "4 photos in the order 1, 2, 3, 3"),
            (&[], "no photos"),
        ] {
            assert!(!in_order(&photos, &hashes(order)), "{order:?}");
            assert_eq!(found(&photos, &hashes(order)), words);
        }
    }
}
