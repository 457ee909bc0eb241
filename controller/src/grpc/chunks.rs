//! Files in chunks, both ways.

use futures::Stream;
use tonic::{Status, Streaming};

use super::status;
use crate::service::{Error, Reason};

/// Most bytes of one chunk.
pub(super) const CHUNK: usize = 256 * 1024;

/// A content as a stream of messages.
pub(super) fn send<T>(
    content: Vec<u8>,
    message: fn(Vec<u8>) -> T,
) -> impl Stream<Item = Result<T, Status>> + Send
where
    T: Send + 'static,
{
    let chunks: Vec<Result<T, Status>> =
        content.chunks(CHUNK).map(|chunk| Ok(message(chunk.to_vec()))).collect();
    futures::stream::iter(chunks)
}

/// One message of an upload.
pub(super) enum Part<M> {
    /// What is to come.
    Metadata(M),
    /// Some of it.
    Chunk(Vec<u8>),
}

/// Reads an upload: the metadata, then at most `max` bytes.
pub(super) async fn receive<T, M>(
    mut messages: Streaming<T>,
    max: usize,
    part: impl Fn(T) -> Option<Part<M>>,
) -> Result<(M, Vec<u8>), Status> {
    let broken = |words: &str| status::from(Error::new(Reason::InvalidUpload, words));
    let first = messages.message().await?.and_then(&part);
    let Some(Part::Metadata(metadata)) = first else {
        return Err(broken("an upload begins with its metadata"));
    };
    let mut content = Vec::new();
    while let Some(message) = messages.message().await? {
        let Some(Part::Chunk(chunk)) = part(message) else {
            return Err(broken("an upload has its metadata once, then chunks only"));
        };
        if content.len() + chunk.len() > max {
            return Err(broken(&format!("the file has more than {} MiB", max / (1024 * 1024))));
        }
        content.extend_from_slice(&chunk);
    }
    Ok((metadata, content))
}

/// The announced size must be the content's; 0 or less means that it was not announced.
pub(super) fn check_size(announced: i64, content: &[u8]) -> Result<(), Status> {
    let wrong = announced > 0 && usize::try_from(announced).ok() != Some(content.len());
    if !wrong {
        return Ok(());
    }
    let words = format!("{announced} bytes were announced and {} came; send the file again", content.len());
    Err(status::from(Error::new(Reason::InvalidUpload, words)))
}
