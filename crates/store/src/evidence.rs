//! Evidence files of runs.

use async_trait::async_trait;
use tradepost_domain::id::{AgentId, ContentHash, EvidenceId, JobId, RunLease, WorkspaceId};
use tradepost_domain::time::Timestamp;

use crate::Error;

/// One evidence file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceFile {
    /// Its id.
    pub id: EvidenceId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The job.
    pub job: JobId,
    /// The run.
    pub run_lease: RunLease,
    /// Its name in the run, e.g. `before_fence.png`.
    pub name: String,
    /// MIME type.
    pub media_type: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Hash of the content.
    pub content: ContentHash,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// Evidence of runs.
#[async_trait]
pub trait Evidence: Send + Sync {
    /// Stores a file of a run of a job of `agent` (of any of its runs: evidence of an older run is still evidence);
    /// `Stale` when the agent has no such job. An equal (job, run, name, content) returns the stored one.
    async fn add_evidence(
        &self,
        agent: AgentId,
        file: EvidenceFile,
        content: Vec<u8>,
    ) -> Result<EvidenceFile, Error>;

    /// Files of a job, oldest first.
    async fn list_evidence(&self, workspace: WorkspaceId, job: JobId) -> Result<Vec<EvidenceFile>, Error>;

    /// One file with its content.
    async fn evidence_content(
        &self,
        workspace: WorkspaceId,
        id: EvidenceId,
    ) -> Result<Option<(EvidenceFile, Vec<u8>)>, Error>;
}
