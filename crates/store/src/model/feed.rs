//! Events, steps of runs, and evidence.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::event::{Event, Kind, NewEvent, Subject};
use tradepost_domain::id::{AgentId, EvidenceId, JobId, PostingId, RunLease, WorkspaceId};
use tradepost_domain::time::Timestamp;

use super::{Model, Tx, unless};
use crate::{Conflict, Error, Events, Evidence, EvidenceFile, Step, StepStatus, StoredStep};

#[async_trait]
impl Events for Model {
    async fn list_events(
        &self,
        workspace: WorkspaceId,
        after: i64,
        posting: Option<PostingId>,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(self.read(|tables| {
            let later = tables.events.from((workspace, after.saturating_add(1)));
            let ours = later.take_while(|((owner, _), _)| *owner == workspace).map(|(_, event)| event);
            let wanted = ours
                .filter(|event| posting.is_none_or(|posting| event.event.subject.posting == Some(posting)));
            wanted.take(limit).cloned().collect()
        }))
    }

    async fn last_event(&self, workspace: WorkspaceId) -> Result<i64, Error> {
        Ok(self.read(|tables| tables.workspaces.get(workspace).map_or(0, |workspace| workspace.event_seq)))
    }
}

#[async_trait]
impl Evidence for Model {
    async fn add_evidence(
        &self,
        agent: AgentId,
        file: EvidenceFile,
        content: Vec<u8>,
    ) -> Result<EvidenceFile, Error> {
        self.write(|tx| {
            let same = |other: &&EvidenceFile| {
                (other.job, other.run_lease, &other.name, other.content)
                    == (file.job, file.run_lease, &file.name, file.content)
            };
            let job = tx.tables.jobs.get(file.job).filter(|job| job.agent == agent);
            let of_run = job.is_some_and(|job| {
                job.workspace == file.workspace
                    && job.run_lease.is_some_and(|newest| newest >= file.run_lease)
            });
            let stored = tx.tables.evidence.rows().find(same).cloned();
            match stored {
                Some(stored) if job.is_some() => return Ok(stored),
                None if of_run => {}
                _ => return Err(Error::Stale),
            }
            unless(tx.tables.evidence.has(file.id), Conflict::Id)?;
            tx.tables.put_blob(file.content, content);
            tx.tables.evidence.put(file.id, file.clone());
            Ok(file)
        })
    }

    async fn list_evidence(&self, workspace: WorkspaceId, job: JobId) -> Result<Vec<EvidenceFile>, Error> {
        Ok(self.read(|tables| {
            let ours = tables.evidence.rows().filter(|file| file.job == job && file.workspace == workspace);
            let mut files: Vec<_> = ours.cloned().collect();
            files.sort_by_key(|file| (file.created_at, file.id));
            files
        }))
    }

    async fn evidence_content(
        &self,
        workspace: WorkspaceId,
        id: EvidenceId,
    ) -> Result<Option<(EvidenceFile, Vec<u8>)>, Error> {
        Ok(self.read(|tables| {
            let file = tables.evidence.get(id).filter(|file| file.workspace == workspace)?;
            Some((file.clone(), tables.blobs.get(file.content)?.clone()))
        }))
    }
}

/// Appends the reports that are new, with an event each.
pub(super) fn append_steps(
    tx: &mut Tx<'_>,
    agent: AgentId,
    job: JobId,
    run_lease: RunLease,
    mut steps: Vec<Step>,
    now: Timestamp,
) -> Result<(), Error> {
    let present = tx.tables.jobs.get(job);
    let job = present
        .filter(|job| job.agent == agent && job.run_lease == Some(run_lease))
        .cloned()
        .ok_or(Error::Stale)?;
    let subject = Subject {
        account: Some(job.account),
        posting: job.posting,
        job: Some(job.id),
        agent: Some(agent),
        listing: None,
    };
    steps.sort_by_key(|step| step.seq);
    let mut events = Vec::new();
    for mut step in steps {
        let key = (job.id, run_lease, step.seq);
        if tx.tables.steps.has(key) {
            continue;
        }
        // Durations are stored in whole microseconds.
        step.duration = step
            .duration
            .map(|took| Duration::from_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)));
        events.push(NewEvent {
            workspace: job.workspace,
            kind: Kind::RunStep,
            subject,
            data: told(&step, run_lease),
        });
        tx.tables.steps.put(key, StoredStep { run_lease, step, at: now });
    }
    tx.append_events(&events, now)
}

fn told(step: &Step, run_lease: RunLease) -> serde_json::Value {
    let status = match step.status {
        StepStatus::Started => "started",
        StepStatus::Succeeded => "succeeded",
        StepStatus::Failed => "failed",
        StepStatus::Skipped => "skipped",
    };
    let mut data = json!({
        "run_lease": run_lease.0,
        "seq": step.seq,
        "phase": step.phase,
        "name": step.name,
        "status": status,
        "detail": step.detail,
        "index": step.index,
        "total": step.total,
    });
    if let (Some(duration), Some(data)) = (step.duration, data.as_object_mut()) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        data.insert(String::from("duration_ms"), millis.into());
    }
    data
}
