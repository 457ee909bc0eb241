//! Photo files: found, ordered and checked before anything is sent.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tradepost_domain::photo::BYTES_MAX;

use crate::config::plain;

/// Bytes.
const MIB: u64 = 1024 * 1024;

/// A photo file that looks fine from here.
#[derive(Debug, Clone)]
pub(crate) struct PhotoFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// The photos that `path` stands for: itself, or those of the folder in natural order. Problems go to `refuse`.
pub(crate) fn find(path: &Path, mut refuse: impl FnMut(String)) -> Vec<PhotoFile> {
    let paths = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => match in_folder(path) {
            Ok(paths) if paths.is_empty() => {
                refuse(format!("the folder {} has no JPEG, PNG or WebP photos", path.display()));
                return Vec::new();
            }
            Ok(paths) => paths,
            Err(error) => {
                refuse(format!("cannot read the folder {}: {}", path.display(), plain(&error)));
                return Vec::new();
            }
        },
        Ok(_) => vec![path.to_owned()],
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse(format!("there is no file {}; correct the path", path.display()));
            return Vec::new();
        }
        Err(error) => {
            refuse(format!("cannot read {}: {}", path.display(), plain(&error)));
            return Vec::new();
        }
    };
    paths
        .into_iter()
        .filter_map(|path| match check(&path) {
            Ok(bytes) => Some(PhotoFile { path, bytes }),
            Err(problem) => {
                refuse(format!("{} {problem}", path.display()));
                None
            }
        })
        .collect()
}

impl PhotoFile {
    /// The file's name, for people.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

fn in_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let extension =
            path.extension().map(|text| text.to_string_lossy().to_lowercase()).unwrap_or_default();
        let photo = matches!(extension.as_str(), "jpg" | "jpeg" | "png" | "webp" | "heic" | "heif");
        if photo && !hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(paths)
}

/// The file's size, or what is wrong with it.
fn check(path: &Path) -> Result<u64, String> {
    let mut file = File::open(path).map_err(|error| format!("cannot be read: {}", plain(&error)))?;
    let bytes = file.metadata().map_err(|error| format!("cannot be read: {}", plain(&error)))?.len();
    if bytes == 0 {
        return Err("is empty (0 bytes); replace it by the photo".to_owned());
    }
    if bytes > BYTES_MAX as u64 {
        let (have, most) = (bytes.div_ceil(MIB), BYTES_MAX as u64 / MIB);
        return Err(format!("has {have} MiB; at most {most} MiB are allowed: make it smaller"));
    }
    let mut head = Vec::new();
    file.by_ref()
        .take(16)
        .read_to_end(&mut head)
        .map_err(|error| format!("cannot be read: {}", plain(&error)))?;
    match head.as_slice() {
        [0xff, 0xd8, 0xff, ..] | [0x89, b'P', b'N', b'G', ..] => Ok(bytes),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(bytes),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
            Err("is an HEIC photo or a film; save it as JPEG".to_owned())
        }
        _ => Err("is no photo: its content is neither JPEG, PNG nor WebP".to_owned()),
    }
}

/// Orders as people do: runs of digits by their value (1, 2, 10), letters without regard to case.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while !left.is_empty() && !right.is_empty() {
        let (first, rest_left) = run(left);
        let (second, rest_right) = run(right);
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let order = if digits(first) && digits(second) {
            let (value, other) = (first.trim_start_matches('0'), second.trim_start_matches('0'));
            value.len().cmp(&other.len()).then_with(|| value.cmp(other))
        } else {
            first.to_lowercase().cmp(&second.to_lowercase())
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (rest_left, rest_right);
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The leading run of digits, or of everything else.
fn run(text: &str) -> (&str, &str) {
    let digit = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_ordered_as_people_do() {
        let mut names = ["img10.jpg", "IMG2.jpg", "img1.jpg", "img02b.jpg", "cover.jpg", "img"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["cover.jpg", "img", "img1.jpg", "IMG2.jpg", "img02b.jpg", "img10.jpg"]);
    }
}
