//! Evidence of runs: kept for agents, shown to people.

use tradepost_domain::field::Violations;
use tradepost_domain::id::{AgentId, ContentHash, EvidenceId, JobId};
use tradepost_store::{Error as StoreError, EvidenceFile};

use super::core::{Caller, Core};
use super::error::{Error, Reason, Result};
use super::run::Run;

/// Largest evidence file, in bytes.
pub const BYTES_MAX: usize = 2 * 1024 * 1024;

/// What an agent says of a file before it sends it.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// The run.
    pub run: Run,
    /// The file's name in the run.
    pub name: String,
    /// MIME type.
    pub media_type: String,
    /// Hash of the content.
    pub hash: ContentHash,
}

impl Metadata {
    /// Checks name and type.
    pub fn check(&self) -> Result<()> {
        let mut violations = Violations::new();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if !(1..=80).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            violations.push("name", "needs 1 to 80 letters, digits, \"_\", \"-\" or \".\"");
        }
        if !matches!(self.media_type.as_str(), "image/png" | "image/jpeg" | "text/html") {
            violations.push("media_type", "must be image/png, image/jpeg or text/html");
        }
        Ok(violations.into_result(|| Some(()))?)
    }
}

impl Core {
    /// Keeps a file of a run of a job of `agent`. An equal upload changes nothing.
    pub async fn add_evidence(
        &self,
        agent: AgentId,
        metadata: Metadata,
        content: Vec<u8>,
    ) -> Result<EvidenceId> {
        metadata.check()?;
        if ContentHash::of(&content) != metadata.hash {
            return Err(Error::new(
                Reason::InvalidUpload,
                "the content does not have the announced SHA-256; send it again",
            ));
        }
        let Metadata { run: (job, run_lease), name, media_type, hash } = metadata;
        let missing = || Error::new(Reason::JobNotFound, format!("this agent has no job {job}"));
        let owner = self.store.find_agent_job(agent, job).await?.ok_or_else(missing)?;
        let file = EvidenceFile {
            id: EvidenceId(self.id()),
            workspace: owner.workspace,
            job,
            run_lease,
            name,
            media_type,
            bytes: content.len() as u64,
            content: hash,
            created_at: self.now(),
        };
        match self.store.add_evidence(agent, file, content).await {
            Err(StoreError::Stale) => Err(missing()),
            stored => Ok(stored?.id),
        }
    }

    /// Files of a job.
    pub async fn evidence(&self, caller: &Caller, job: JobId) -> Result<Vec<EvidenceFile>> {
        self.job(caller, job).await?;
        Ok(self.store.list_evidence(caller.workspace, job).await?)
    }

    /// The content of a file.
    pub async fn evidence_content(&self, caller: &Caller, id: EvidenceId) -> Result<Vec<u8>> {
        let found = self.store.evidence_content(caller.workspace, id).await?;
        let (_, content) =
            found.ok_or_else(|| Error::not_found(Reason::EvidenceNotFound, "evidence file", id))?;
        Ok(content)
    }
}
