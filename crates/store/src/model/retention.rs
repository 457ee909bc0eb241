//! Letting go of what is old.

use async_trait::async_trait;
use tradepost_domain::id::{ContentHash, JobId, RunLease, WorkspaceId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::time::Timestamp;

use super::{Model, Tables};
use crate::{Error, Retention};

#[async_trait]
impl Retention for Model {
    async fn next_workspace(&self, after: Option<WorkspaceId>) -> Result<Option<WorkspaceId>, Error> {
        Ok(self.read(|tables| {
            let mut ids = tables.workspaces.rows().map(|workspace| workspace.id);
            ids.find(|id| after.is_none_or(|after| *id > after))
        }))
    }

    async fn forget_events(
        &self,
        workspace: WorkspaceId,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, Error> {
        self.write(|tx| {
            let ours = tx.tables.events.from((workspace, i64::MIN));
            let ours = ours.take_while(|((owner, _), event)| *owner == workspace && event.at < before);
            let old: Vec<_> = ours.map(|(key, _)| *key).take(usize_of(limit)).collect();
            for key in &old {
                tx.tables.events.delete(*key);
            }
            Ok(count(old.len()))
        })
    }

    async fn forget_steps(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write(|tx| {
            let first = (JobId(uuid::Uuid::nil()), RunLease(i64::MIN), 0);
            let mut old: Vec<_> = tx
                .tables
                .steps
                .from(first)
                .filter(|(_, step)| step.at < before)
                .map(|(key, step)| (step.at, *key))
                .collect();
            old.sort_unstable();
            old.truncate(usize_of(limit));
            for (_, key) in &old {
                tx.tables.steps.delete(*key);
            }
            Ok(count(old.len()))
        })
    }

    async fn forget_evidence(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write(|tx| {
            let ended = |id: JobId| tx.tables.jobs.get(id).is_some_and(|job| job.state.is_terminal());
            let of_ended =
                tx.tables.evidence.rows().filter(|file| file.created_at < before && ended(file.job));
            let mut old: Vec<_> = of_ended.map(|file| (file.created_at, file.id, file.content)).collect();
            old.sort_unstable();
            old.truncate(usize_of(limit));
            for (_, id, content) in &old {
                tx.tables.evidence.delete(*id);
                tx.tables.drop_content(*content);
            }
            Ok(count(old.len()))
        })
    }

    async fn forget_jobs(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write(|tx| {
            let is_old = |job: &&Job| {
                job.kind != job::Kind::Publish && job.state.is_terminal() && job.updated_at < before
            };
            let mut old: Vec<_> =
                tx.tables.jobs.rows().filter(is_old).map(|job| (job.updated_at, job.id)).collect();
            old.sort_unstable();
            old.truncate(usize_of(limit));
            for (_, id) in &old {
                tx.tables.forget_job(*id);
            }
            Ok(count(old.len()))
        })
    }
}

impl Tables {
    fn forget_job(&mut self, id: JobId) {
        let first = (id, RunLease(i64::MIN), 0);
        let steps: Vec<_> =
            self.steps.from(first).take_while(|((owner, ..), _)| *owner == id).map(|(key, _)| *key).collect();
        for key in steps {
            self.steps.delete(key);
        }
        let files = self.evidence.rows().filter(|file| file.job == id);
        let files: Vec<_> = files.map(|file| (file.id, file.content)).collect();
        for (file, content) in files {
            self.evidence.delete(file);
            self.drop_content(content);
        }
        self.jobs.delete(id);
    }

    /// A content that nothing has any more.
    fn drop_content(&mut self, content: ContentHash) {
        let in_use = self.evidence.rows().any(|file| file.content == content)
            || self.photos.rows().any(|photo| photo.content == content);
        if !in_use {
            self.blobs.delete(content);
        }
    }
}

fn usize_of(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
