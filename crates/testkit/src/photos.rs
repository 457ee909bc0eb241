//! Photo fixtures: small real image files. The same number gives the same bytes, different numbers different pictures.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// A JPEG of 320 × 240 pixels, some kilobytes.
pub fn jpeg(number: u32) -> Vec<u8> {
    encode(number, 320, 240, ImageFormat::Jpeg)
}

/// A PNG of 320 × 240 pixels.
pub fn png(number: u32) -> Vec<u8> {
    encode(number, 320, 240, ImageFormat::Png)
}

/// A JPEG of the given size in pixels.
pub fn jpeg_of(number: u32, width: u32, height: u32) -> Vec<u8> {
    encode(number, width, height, ImageFormat::Jpeg)
}

/// Writes `count` JPEGs called `photo-01.jpg`, `photo-02.jpg`… into `directory`, and returns their paths in order.
pub fn folder(directory: &Path, count: u32) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    (1..=count)
        .map(|number| {
            let path = directory.join(format!("photo-{number:02}.jpg"));
            std::fs::write(&path, jpeg(number))
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        })
        .collect()
}

/// A slope between two colours with as many bars across as the number says, so that people tell them apart too.
#[expect(clippy::expect_used, reason = "encoding into memory fails for an empty picture only")]
fn encode(number: u32, width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let channel = |seed: u32| u8::try_from(number.wrapping_mul(seed).wrapping_add(seed) % 200).unwrap_or(0);
    let (from, to) = ([channel(37), channel(91), channel(53)], [channel(113), channel(29), channel(71)]);
    let bars = number % 24;
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let bar = x * 48 / width;
        if y > height * 3 / 4 && bar % 2 == 1 && bar / 2 < bars {
            return Rgb([250, 250, 250]);
        }
        let mix = |index: usize| {
            let (from, to) = (u32::from(from[index]), u32::from(to[index]));
            u8::try_from((from * (width - x) + to * x) / width).unwrap_or(u8::MAX)
        };
        Rgb([mix(0), mix(1), mix(2)])
    });
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut bytes, format).expect("a picture of at least one pixel");
    bytes.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_decode_and_differ_by_number() {
        let all: std::collections::BTreeSet<Vec<u8>> = (0..30).map(jpeg).collect();
        assert_eq!(all.len(), 30);
        for bytes in [jpeg(3), png(3)] {
            let decoded = image::load_from_memory(&bytes).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (320, 240));
        }
        assert_eq!(jpeg(7), jpeg(7));
    }
}
