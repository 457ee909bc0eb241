//! Evidence of runs: kept on this PC until the controller has it.
//!
//! A file is written first and uploaded in the background, so that no upload delays a click. What an earlier process left is
//! uploaded by the next one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;
use tradepost_domain::id::ContentHash;
use tradepost_domain::posting::EvidenceRef;
use tradepost_proto::v1;
use tradepost_proto::v1::evidence_service_client::EvidenceServiceClient;
use tradepost_runtime::backoff::Backoff;
use tradepost_runtime::ids::Ids;

use crate::journal::RunKey;
use crate::platform::files;
use crate::session::convert::run_ref;
use crate::session::link::{ControllerLink, EvidenceUpload, LinkFault};

/// Largest file, in bytes.
pub const BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of one message.
const CHUNK: usize = 128 * 1024;
/// Files kept at most while the controller is away; the oldest go first.
const FILES_MAX: usize = 400;
/// First and longest delay between tries, before jitter.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Ends the name of a file's description.
const DESCRIPTION: &str = ".json";

/// The folder of evidence that is still to be uploaded.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    more: Notify,
    /// Counts finished rounds of uploading.
    rounds: watch::Sender<u64>,
}

/// What is known about a kept file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    run: RunKey,
    name: String,
    media_type: String,
    sha256: String,
}

/// Uploads one file in messages of a bounded size.
pub(crate) async fn upload(channel: Channel, file: &EvidenceUpload) -> Result<(), Status> {
    let metadata = v1::EvidenceMetadata {
        run: Some(run_ref(file.run)),
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        size_bytes: i64::try_from(file.content.len()).unwrap_or(i64::MAX),
        sha256: file.hash.to_string(),
    };
    let first = v1::upload_evidence_request::Part::Metadata(metadata);
    let chunks: Vec<_> = std::iter::once(first)
        .chain(
            file.content.chunks(CHUNK).map(|chunk| v1::upload_evidence_request::Part::Chunk(chunk.to_vec())),
        )
        .map(|part| v1::UploadEvidenceRequest { part: Some(part) })
        .collect();
    EvidenceServiceClient::new(channel).upload_evidence(futures::stream::iter(chunks)).await.map(drop)
}

impl Spool {
    /// The spool in `folder`.
    pub fn open(folder: PathBuf) -> io::Result<Arc<Self>> {
        files::private_dir(&folder)?;
        Ok(Arc::new(Self { folder, more: Notify::new(), rounds: watch::Sender::new(0) }))
    }

    /// Keeps one file and has it uploaded. A file that is too large is left out, with a line in the log.
    pub fn keep(
        &self,
        run: RunKey,
        name: &str,
        media_type: &str,
        content: &[u8],
    ) -> io::Result<Option<EvidenceRef>> {
        if content.len() > BYTES_MAX {
            tracing::warn!(name, bytes = content.len(), "evidence is larger than 2 MiB and is left out");
            return Ok(None);
        }
        let sha256 = ContentHash::of(content).to_string();
        let stem = format!("{}-{}-{name}", run.job, run.lease.0);
        std::fs::write(self.folder.join(&stem), content)?;
        let description = Description {
            run,
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            sha256: sha256.clone(),
        };
        let path = self.folder.join(format!("{stem}{DESCRIPTION}"));
        files::replace_private(&path, &serde_json::to_vec(&description)?)?;
        self.more.notify_one();
        Ok(Some(EvidenceRef { name: name.to_owned(), sha256 }))
    }

    /// Waits until the files of `run` are uploaded, but no longer than `limit`; they stay kept then.
    pub async fn flush(&self, run: RunKey, limit: Duration) {
        let mut rounds = self.rounds.subscribe();
        let gone = async {
            while self.waiting().iter().any(|(_, kept)| kept.run == run) {
                if rounds.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(limit, gone).await.is_err() {
            tracing::warn!(job = %run.job, "evidence is uploaded later: the controller did not take it in time");
        }
    }

    /// Uploads what is kept, now and whenever there is more, until `shutdown`.
    pub async fn upload_all(
        self: Arc<Self>,
        link: Arc<dyn ControllerLink>,
        ids: Ids,
        shutdown: CancellationToken,
    ) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1, ids);
        loop {
            let complete = self.upload_round(link.as_ref()).await;
            self.rounds.send_modify(|rounds| *rounds += 1);
            let pause = async {
                if complete {
                    backoff.reset();
                    self.more.notified().await;
                } else {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            };
            tokio::select! {
                () = pause => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Whether nothing is left to try again.
    async fn upload_round(&self, link: &dyn ControllerLink) -> bool {
        let waiting = self.waiting();
        let superfluous = waiting.len().saturating_sub(FILES_MAX);
        for (n, (stem, description)) in waiting.into_iter().enumerate() {
            if n < superfluous {
                tracing::warn!(
                    name = description.name,
                    "too much evidence is waiting; the oldest is dropped"
                );
                self.remove(&stem);
                continue;
            }
            let Ok(content) = std::fs::read(self.folder.join(&stem)) else {
                self.remove(&stem);
                continue;
            };
            let hash = ContentHash::of(&content);
            if hash.to_string() != description.sha256 {
                self.remove(&stem);
                continue;
            }
            let Description { run, name, media_type, sha256: _ } = description;
            let file = EvidenceUpload { run, name, media_type, hash, content };
            match link.upload_evidence(&file).await {
                Ok(()) => self.remove(&stem),
                Err(error) if error.fault != LinkFault::Refused => {
                    tracing::debug!(error = error.message, "evidence is not uploaded yet");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(
                        name = file.name,
                        error = error.message,
                        "the controller does not take evidence"
                    );
                    self.remove(&stem);
                }
            }
            self.rounds.send_modify(|rounds| *rounds += 1);
        }
        true
    }

    fn remove(&self, stem: &str) {
        for path in [self.folder.join(format!("{stem}{DESCRIPTION}")), self.folder.join(stem)] {
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove uploaded evidence");
            }
        }
    }

    /// What is kept, oldest first.
    fn waiting(&self) -> Vec<(String, Description)> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let mut found: Vec<_> = entries.flatten().filter_map(|entry| describe(&entry.path())).collect();
        found.sort_by_key(|(_, stem, _)| std::cmp::Reverse(stem.clone()));
        found.sort_by_key(|(age, _, _)| std::cmp::Reverse(*age));
        found.into_iter().map(|(_, stem, description)| (stem, description)).collect()
    }
}

/// Age, stem and description of a kept file.
fn describe(path: &Path) -> Option<(Duration, String, Description)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(DESCRIPTION)?.to_owned();
    let description = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let age = path.metadata().ok()?.modified().ok()?.elapsed().unwrap_or_default();
    Some((age, stem, description))
}
