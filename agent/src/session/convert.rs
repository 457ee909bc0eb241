//! Frames to and from messages.

use std::time::Duration;

use tradepost_domain::field::Violations;
use tradepost_domain::fleet::FleetEpoch;
use tradepost_domain::id::{ContentHash, SessionEpoch};
use tradepost_domain::job::Kind;
use tradepost_domain::listing::Content;
use tradepost_domain::photo::MediaType;
use tradepost_proto::convert::recount::{ToldOutcome, ToldPermit};
use tradepost_proto::convert::{id, job, required};
use tradepost_proto::v1;
use tradepost_proto::v1::open_request::Frame as Request;
use tradepost_proto::v1::open_response::Frame as Response;

use super::frame::{
    Dispatch, Ending, Hello, Inbound, Outbound, Phase, PublishTask, RunKey, SiteAccount, StepReport,
    StepStatus, TaskPhoto, Told,
};
use crate::journal::Outcome;
use crate::platform;

/// Longest detail of a step, in characters: frames are small.
const DETAIL_MAX: usize = 2_000;

/// A run on the wire.
pub fn run_ref(run: RunKey) -> v1::RunRef {
    (run.job, run.lease).into()
}

fn run_key(message: Option<v1::RunRef>) -> Result<RunKey, Violations> {
    job::run(message).map(|(job, lease)| RunKey { job, lease })
}

/// The message for a stream's first words.
pub fn hello(hello: Hello, join_counter: i64) -> v1::OpenRequest {
    let Hello { boot, runs, slots, knowledge } = hello;
    let frame = Request::Hello(v1::Hello {
        boot_id: boot.to_string(),
        version: tradepost_runtime::build::describe(),
        platform: platform::name(),
        runs: runs.into_iter().map(run_ref).collect(),
        slots,
        knowledge: Some(knowledge.into()),
        join_counter,
    });
    v1::OpenRequest { frame: Some(frame) }
}

/// The message for a frame.
pub fn outbound(frame: Outbound) -> v1::OpenRequest {
    let frame = match frame {
        Outbound::Heartbeat(runs) => {
            Request::Heartbeat(v1::Heartbeat { runs: runs.into_iter().map(run_ref).collect() })
        }
        Outbound::Recount(permits, last) => {
            let permits = permits.into_iter().filter_map(told).collect();
            Request::Recount(v1::Recount { permits, last })
        }
        Outbound::Acknowledge(run) => Request::Acknowledge(v1::Acknowledge { run: Some(run_ref(run)) }),
        Outbound::Refuse(run, reason) => Request::Refuse(v1::Refuse { run: Some(run_ref(run)), reason }),
        Outbound::Step(run, report) => {
            Request::Step(v1::StepReport { run: Some(run_ref(run)), step: Some(step(run, report)) })
        }
        Outbound::Ended(run, ending) => {
            let outcome = match ending {
                Ending::Succeeded => v1::run_ended::Outcome::Succeeded(v1::Succeeded {}),
                Ending::Failed(failure) => v1::run_ended::Outcome::Failed(failure.into()),
                Ending::Looked(look) => v1::run_ended::Outcome::Look(look.into()),
            };
            Request::RunEnded(v1::RunEnded { run: Some(run_ref(run)), outcome: Some(outcome) })
        }
    };
    v1::OpenRequest { frame: Some(frame) }
}

/// A permit as it is recounted; none when its hash is none, which only a damaged journal has.
fn told(told: Told) -> Option<v1::ToldPermit> {
    let Told { request, permit, outcome } = told;
    let outcome = match outcome {
        Some(Outcome::Confirmed(receipt)) => ToldOutcome::Confirmed(receipt),
        Some(Outcome::NotClicked(reason)) => ToldOutcome::NotClicked(reason),
        Some(Outcome::Uncertain(reason)) => ToldOutcome::Uncertain(reason),
        None => ToldOutcome::Open,
    };
    let told = ToldPermit {
        permit,
        request: request.request,
        run: (request.run.job, request.run.lease),
        intent: request.intent,
        generation: request.generation,
        epoch: request.epoch,
        baseline: request.baseline_sha256.parse().ok()?,
        outcome,
    };
    Some(told.into())
}

fn step(run: RunKey, report: StepReport) -> v1::Step {
    let StepReport { seq, phase, name, status, detail, duration, index, total } = report;
    let phase = match phase {
        Phase::Start => v1::Phase::Start,
        Phase::Prepare => v1::Phase::Prepare,
        Phase::Commit => v1::Phase::Commit,
        Phase::Confirm => v1::Phase::Confirm,
        Phase::Reconcile => v1::Phase::Reconcile,
    };
    let status = match status {
        StepStatus::Started => v1::StepStatus::Started,
        StepStatus::Succeeded => v1::StepStatus::Succeeded,
        StepStatus::Failed => v1::StepStatus::Failed,
        StepStatus::Skipped => v1::StepStatus::Skipped,
    };
    v1::Step {
        run_lease: run.lease.0,
        seq,
        phase: phase.into(),
        name,
        status: status.into(),
        detail: detail.chars().take(DETAIL_MAX).collect(),
        duration: duration.and_then(|duration| duration.try_into().ok()),
        index,
        total,
        at: None,
    }
}

/// The frame of a message; none for one that a newer controller may send and this version does not know.
pub fn inbound(message: v1::OpenResponse) -> Result<Option<Inbound>, Violations> {
    let v1::OpenResponse { frame } = message;
    let Some(frame) = frame else { return Ok(None) };
    Ok(Some(match frame {
        Response::Welcome(v1::Welcome {
            session_epoch,
            heartbeat_interval,
            fleet_epoch,
            recount,
            kept,
            trust_digest: _,
        }) => Inbound::Welcome {
            epoch: SessionEpoch(session_epoch),
            fleet: FleetEpoch(fleet_epoch),
            recount,
            kept: kept
                .map(|kept| kept.runs.into_iter().map(|run| run_key(Some(run))).collect::<Result<_, _>>())
                .transpose()?,
            heartbeat: duration(heartbeat_interval)
                .filter(|interval| !interval.is_zero())
                .unwrap_or(tradepost_domain::agent::HEARTBEAT),
        },
        // The keeper of the identity has heard it.
        Response::Trust(_) => return Ok(None),
        Response::Dispatch(message) => {
            let run = run_key(message.run.clone())?;
            match dispatch(run, *message) {
                Ok(dispatch) => Inbound::Dispatch(Box::new(dispatch)),
                Err(violations) => Inbound::Undecodable(run, violations.to_string()),
            }
        }
        Response::Cancel(v1::Cancel { run }) => Inbound::Cancel(run_key(run)?),
        Response::RunEndedStored(v1::RunEndedStored { run }) => Inbound::EndStored(run_key(run)?),
        Response::Forget(v1::Forget { run }) => Inbound::Forget(run_key(run)?),
        Response::GoAway(v1::GoAway { retry_after, reason }) => {
            Inbound::GoAway { retry_after: duration(retry_after).unwrap_or_default(), reason }
        }
    }))
}

/// A duration of the wire; none when it is absent or negative.
pub fn duration(message: Option<prost_types::Duration>) -> Option<Duration> {
    message.and_then(|message| message.try_into().ok())
}

fn dispatch(run: RunKey, message: v1::Dispatch) -> Result<Dispatch, Violations> {
    let v1::Dispatch { run: _, kind, attempt, deadline, traceparent, account, recipes, publish } = message;
    let mut violations = Violations::new();
    let kind = required::<Kind>(&mut violations, "kind", kind);
    let account = violations.check("account", site_account(account.unwrap_or_default()));
    let publish = match publish {
        Some(task) => violations.check("publish", publish_task(task)),
        None => None,
    };
    if publish.is_none() && violations.0.is_empty() && kind != Some(Kind::Login) {
        violations.push("publish", "is missing");
    }
    let deadline = duration(deadline).unwrap_or(tradepost_domain::job::RUN_DEADLINE);
    let recipes = recipes.into_iter().map(|v1::RecipeText { name, yaml }| (name, yaml)).collect();
    violations.into_result(|| {
        Some(Dispatch {
            run,
            kind: kind?,
            attempt,
            deadline,
            traceparent,
            account: account?,
            recipes,
            publish,
        })
    })
}

fn site_account(message: v1::SiteAccount) -> Result<SiteAccount, Violations> {
    let v1::SiteAccount { id: account, name, site, site_url, sign_in_name, currency_code } = message;
    let mut violations = Violations::new();
    let account = id(&mut violations, "id", &account);
    let site_url = violations.check("site_url", site_url.parse());
    let currency = violations.check("currency_code", currency_code.parse());
    let sign_in_name = Some(sign_in_name).filter(|name| !name.is_empty());
    violations.into_result(|| {
        Some(SiteAccount { id: account?, name, site, site_url: site_url?, sign_in_name, currency: currency? })
    })
}

fn publish_task(message: v1::PublishTask) -> Result<PublishTask, Violations> {
    let v1::PublishTask { posting_id, intent_id, generation, content, photos, baseline_item_ids } = message;
    let mut violations = Violations::new();
    let posting = id(&mut violations, "posting_id", &posting_id);
    let intent = id(&mut violations, "intent_id", &intent_id);
    let content = violations.check("content", Content::try_from(content.unwrap_or_default()));
    let photos: Vec<_> =
        photos.into_iter().filter_map(|photo| violations.check("photos", task_photo(photo))).collect();
    violations.into_result(|| {
        Some(PublishTask {
            posting: posting?,
            intent: intent?,
            generation,
            content: content?,
            photos,
            baseline: baseline_item_ids,
        })
    })
}

fn task_photo(message: v1::TaskPhoto) -> Result<TaskPhoto, Violations> {
    let v1::TaskPhoto { sha256, file_name, media_type, size_bytes } = message;
    let mut violations = Violations::new();
    let hash = violations.check("sha256", sha256.parse::<ContentHash>());
    let kind =
        violations.check("media_type", MediaType::from_mime(&media_type).ok_or("is neither JPEG nor PNG"));
    let bytes = violations.check("size_bytes", u64::try_from(size_bytes));
    violations.into_result(|| Some(TaskPhoto { hash: hash?, file_name, media_type: kind?, bytes: bytes? }))
}
