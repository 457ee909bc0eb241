//! Photos by content: fetched once, checked, and laid out for one run in the listing's order.

use std::io;
use std::path::{Path, PathBuf};

use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::{ContentHash, JobId};

use crate::platform::files;
use crate::session::frame::{RunKey, TaskPhoto};
use crate::session::link::{ControllerLink, LinkFault};

/// Name of this step.
pub const FETCH: &str = "Fetch the photos";

/// The cache of photos, and the runs' folders.
#[derive(Debug, Clone)]
pub struct Photos {
    cache: PathBuf,
    runs: PathBuf,
}

impl Photos {
    /// In the agent's data directory. Folders of earlier runs are removed.
    pub fn open(data: &Path) -> io::Result<Self> {
        let photos = Self { cache: data.join("photos"), runs: data.join("runs") };
        match std::fs::remove_dir_all(&photos.runs) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        files::private_dir(&photos.cache)?;
        files::private_dir(&photos.runs)?;
        Ok(photos)
    }

    /// The photos as files with distinct names, in order. [`Photos::clear`] ends them.
    pub async fn lay_out(
        &self,
        link: &dyn ControllerLink,
        run: RunKey,
        photos: &[TaskPhoto],
    ) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.folder(run);
        std::fs::create_dir_all(&folder).map_err(|error| disk(&folder, &error))?;
        let mut paths = Vec::with_capacity(photos.len());
        for (n, photo) in photos.iter().enumerate() {
            let cached = self.cached(link, run.job, photo).await?;
            let path = folder.join(file_name(n + 1, photo));
            let linked =
                std::fs::hard_link(&cached, &path).or_else(|_| std::fs::copy(&cached, &path).map(drop));
            linked.map_err(|error| disk(&path, &error))?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// Removes the run's files.
    pub fn clear(&self, run: RunKey) {
        let folder = self.folder(run);
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "cannot remove the files of a run");
        }
    }

    fn folder(&self, run: RunKey) -> PathBuf {
        self.runs.join(format!("{}-{}", run.job, run.lease.0))
    }

    async fn cached(
        &self,
        link: &dyn ControllerLink,
        job: JobId,
        photo: &TaskPhoto,
    ) -> Result<PathBuf, Failure> {
        let path = self.cache.join(photo.hash.to_string());
        if std::fs::read(&path).is_ok_and(|content| ContentHash::of(&content) == photo.hash) {
            return Ok(path);
        }
        let content = link.fetch_photo(job, photo.hash).await.map_err(|error| {
            let class = match error.fault {
                LinkFault::Unavailable | LinkFault::Identity => FailureClass::Network,
                LinkFault::Refused => FailureClass::Internal,
            };
            let message =
                format!("the photo {:?} cannot be fetched from the controller: {error}", photo.file_name);
            Failure::new(class, FETCH, message).in_field("photos")
        })?;
        if ContentHash::of(&content) != photo.hash {
            let message = format!("the photo {:?} arrived damaged; it is fetched again", photo.file_name);
            return Err(Failure::new(FailureClass::Network, FETCH, message).in_field("photos"));
        }
        files::replace_private(&path, &content).map_err(|error| disk(&path, &error))?;
        Ok(path)
    }
}

fn disk(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}; see that this PC's disk is not full", path.display());
    Failure::new(FailureClass::Internal, FETCH, message)
}

/// Its place, then its name in plain characters, with the right extension.
fn file_name(place: usize, photo: &TaskPhoto) -> String {
    let stem = Path::new(&photo.file_name)
        .file_stem()
        .map_or(String::new(), |stem| stem.to_string_lossy().into_owned());
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(40).collect();
    format!("{place:02}-{plain}.{}", photo.media_type.extension())
}

#[cfg(test)]
mod tests {
    use tradepost_domain::photo::MediaType;

    use super::*;

    #[test]
    fn file_names_keep_the_order_and_are_harmless() {
        let photo = |name: &str| TaskPhoto {
            hash: ContentHash::of(b"x"),
            file_name: name.into(),
            media_type: MediaType::Jpeg,
            bytes: 1,
        };
        assert_eq!(file_name(1, &photo("chair.webp")), "01-chair.jpg");
        assert_eq!(file_name(12, &photo("../../etc/passwd")), "12-passwd.jpg");
        assert_eq!(file_name(2, &photo("Stuhl größer.PNG")), "02-Stuhl_gr__er.jpg");
    }
}
