//! Evidence files of runs.

use async_trait::async_trait;
use tradepost_domain::id::{AgentId, ContentHash, EvidenceId, JobId, RunLease, WorkspaceId};
use tradepost_store::{Error, Evidence, EvidenceFile};
use uuid::Uuid;

use super::{Fault, photos};
use crate::backend::Backend;
use crate::time::Time;

struct FileRow {
    id: Uuid,
    workspace_id: Uuid,
    job_id: Uuid,
    run_lease: i64,
    name: String,
    media_type: String,
    bytes: i64,
    content_hash: Vec<u8>,
    created_at: Time,
}

impl FileRow {
    fn into_file(self) -> Result<EvidenceFile, Fault> {
        Ok(EvidenceFile {
            id: EvidenceId(self.id),
            workspace: WorkspaceId(self.workspace_id),
            job: JobId(self.job_id),
            run_lease: RunLease(self.run_lease),
            name: self.name,
            media_type: self.media_type,
            bytes: u64::try_from(self.bytes)
                .map_err(|_| Fault::inconsistent("evidence.bytes", self.id, self.bytes))?,
            content: ContentHash::from_slice(&self.content_hash)
                .ok_or_else(|| Fault::inconsistent("evidence.content_hash", self.id, &self.content_hash))?,
            created_at: self.created_at.0,
        })
    }
}

macro_rules! files {
    ($after:literal, $($args:tt)*) => {
        sqlx::query_as!(
            FileRow,
            r#"SELECT id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid", job_id AS "job_id!: Uuid",
                      run_lease AS "run_lease!", name AS "name!", media_type AS "media_type!", bytes AS "bytes!",
                      content_hash AS "content_hash!", created_at AS "created_at!: Time"
               FROM evidence "# + $after,
            $($args)*
        )
    };
}

#[async_trait]
impl Evidence for Backend {
    async fn add_evidence(
        &self,
        agent: AgentId,
        file: EvidenceFile,
        content: Vec<u8>,
    ) -> Result<EvidenceFile, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                photos::insert_blob(tx.conn, file.content, content).await?;
                let bytes = i64::try_from(file.bytes).map_err(|_| Fault::internal("a file's size"))?;
                let inserted = sqlx::query!(
                    "INSERT INTO evidence
                         (id, workspace_id, job_id, run_lease, name, media_type, bytes, content_hash, created_at)
                     SELECT $1, j.workspace_id, j.id, $5, $6, $7, $8, $9, $10 FROM jobs j
                     WHERE j.id = $2 AND j.workspace_id = $3 AND j.agent_id = $4 AND j.run_lease >= $5
                     ON CONFLICT (job_id, run_lease, name, content_hash) DO NOTHING",
                    file.id.0,
                    file.job.0,
                    file.workspace.0,
                    agent.0,
                    file.run_lease.0,
                    file.name,
                    file.media_type,
                    bytes,
                    &file.content.0[..],
                    Time(file.created_at),
                )
                .execute(&mut *tx.conn)
                .await?;
                if inserted.rows_affected() == 1 {
                    return Ok(file);
                }
                files!(
                    "WHERE job_id = $1 AND run_lease = $2 AND name = $3 AND content_hash = $4
                       AND EXISTS (SELECT 1 FROM jobs j WHERE j.id = $1 AND j.agent_id = $5)",
                    file.job.0,
                    file.run_lease.0,
                    file.name,
                    &file.content.0[..],
                    agent.0
                )
                .fetch_optional(&mut *tx.conn)
                .await?
                .ok_or(Error::Stale)?
                .into_file()
            })
        })
        .await
    }

    async fn list_evidence(&self, workspace: WorkspaceId, job: JobId) -> Result<Vec<EvidenceFile>, Error> {
        self.read(async |conn| {
            files!("WHERE job_id = $1 AND workspace_id = $2 ORDER BY created_at, id", job.0, workspace.0)
                .fetch_all(&mut *conn)
                .await?
                .into_iter()
                .map(FileRow::into_file)
                .collect()
        })
        .await
    }

    async fn evidence_content(
        &self,
        workspace: WorkspaceId,
        id: EvidenceId,
    ) -> Result<Option<(EvidenceFile, Vec<u8>)>, Error> {
        self.read(async |conn| {
            let Some(row) = files!("WHERE id = $1 AND workspace_id = $2", id.0, workspace.0)
                .fetch_optional(&mut *conn)
                .await?
            else {
                return Ok(None);
            };
            let file = row.into_file()?;
            let content = sqlx::query_scalar!(
                r#"SELECT content AS "content!" FROM blobs WHERE sha256 = $1"#,
                &file.content.0[..],
            )
            .fetch_one(&mut *conn)
            .await?;
            Ok(Some((file, content)))
        })
        .await
    }
}
