//! Frames from and to the wire.

use std::time::Duration;

use tradepost_domain::failure::Failure;
use tradepost_domain::field::Violations;
use tradepost_domain::fleet::Knowledge;
use tradepost_domain::id::{AgentId, BootId};
use tradepost_domain::job;
use tradepost_domain::posting::Publication;
use tradepost_domain::reconcile::Look;
use tradepost_proto::convert::recount::{self, ToldOutcome};
use tradepost_proto::convert::{self, time};
use tradepost_proto::v1;
use tradepost_proto::v1::open_request::Frame as In;
use tradepost_proto::v1::open_response::Frame as Out;
use tradepost_store::{Step, StepStatus};

use super::state::{Frame, Part};
use crate::service::dispatch::{Assignment, Task};
use crate::service::permit::Settlement;
use crate::service::recount::ToldPermit;
use crate::service::run::{Outcome, Run};
use crate::service::stream::Greeting;

/// Most runs that one agent tells of.
const RUNS_MAX: usize = 1_000;
/// Most permits in one frame of a recount.
const RECOUNT_MAX: usize = 1_000;

/// A frame of an agent, or everything that is wrong with it.
pub fn frame(agent: AgentId, message: v1::OpenRequest) -> Result<Frame, Violations> {
    let v1::OpenRequest { frame } = message;
    match frame {
        None => {
            let mut violations = Violations::new();
            violations.push("frame", "is missing or of a newer version");
            Err(violations)
        }
        Some(In::Hello(hello)) => greeting(hello).map(Frame::Hello),
        Some(In::Heartbeat(v1::Heartbeat { runs: told })) => runs(told).map(Frame::Heartbeat),
        Some(In::Acknowledge(v1::Acknowledge { run })) => convert::job::run(run).map(Frame::Acknowledge),
        Some(In::Refuse(v1::Refuse { run, reason })) => {
            let reason = reason.chars().take(500).collect();
            convert::job::run(run).map(|run| Frame::Refuse(run, reason))
        }
        Some(In::Step(v1::StepReport { run, step })) => {
            Ok(Frame::Step(convert::job::run(run)?, self::step(step.unwrap_or_default())?))
        }
        Some(In::Recount(v1::Recount { permits, last })) => {
            let told = permits.into_iter().take(RECOUNT_MAX).map(|permit| told(agent, permit));
            let part = if last { Part::Last } else { Part::More };
            Ok(Frame::Recount(told.collect::<Result<_, _>>()?, part))
        }
        Some(In::RunEnded(v1::RunEnded { run, outcome })) => {
            Ok(Frame::Ended(convert::job::run(run)?, self::outcome(outcome)?))
        }
    }
}

fn greeting(message: v1::Hello) -> Result<Greeting, Violations> {
    let v1::Hello { boot_id, version, platform, runs: told, slots, knowledge, join_counter } = message;
    let mut violations = Violations::new();
    let knowledge = match knowledge {
        Some(known) => violations.check("hello.knowledge", Knowledge::try_from(known)),
        None => Some(Knowledge::none()),
    };
    let boot = convert::id::<BootId>(&mut violations, "hello.boot_id", &boot_id);
    let runs = violations.check("hello.runs", runs(told));
    if join_counter < 0 {
        violations.push("hello.join_counter", "is negative");
    }
    violations.into_result(|| {
        Some(Greeting {
            boot: boot?,
            version,
            platform,
            runs: runs?,
            slots: slots.min(64),
            knowledge: knowledge?,
            join_counter,
        })
    })
}

fn told(agent: AgentId, message: v1::ToldPermit) -> Result<ToldPermit, Violations> {
    let recount::ToldPermit { permit, request, run, intent, generation: _, epoch, baseline, outcome } =
        recount::told_by(agent, message)?;
    let outcome = match outcome {
        ToldOutcome::Confirmed(receipt) => Some(Settlement::Confirmed(receipt)),
        ToldOutcome::NotClicked(reason) => Some(Settlement::NotClicked(reason)),
        ToldOutcome::Uncertain(reason) => Some(Settlement::Uncertain(reason)),
        ToldOutcome::Open => None,
    };
    Ok(ToldPermit { permit, request, run, intent, epoch, baseline: Some(baseline), outcome })
}

fn runs(told: Vec<v1::RunRef>) -> Result<Vec<Run>, Violations> {
    told.into_iter().take(RUNS_MAX).map(Run::try_from).collect()
}

fn step(message: v1::Step) -> Result<Step, Violations> {
    let v1::Step { run_lease: _, seq, phase, name, status, detail, duration, index, total, at: _ } = message;
    let mut violations = Violations::new();
    let phase = violations.check("step.phase", v1::Phase::known(phase));
    let status = match v1::StepStatus::try_from(status) {
        Ok(v1::StepStatus::Started) => Some(StepStatus::Started),
        Ok(v1::StepStatus::Succeeded) => Some(StepStatus::Succeeded),
        Ok(v1::StepStatus::Failed) => Some(StepStatus::Failed),
        Ok(v1::StepStatus::Skipped) => Some(StepStatus::Skipped),
        Ok(v1::StepStatus::Unspecified) | Err(_) => {
            violations.push("step.status", "is missing or unknown");
            None
        }
    };
    let name = violations.text("step.name", &name, 1, 200);
    violations.into_result(|| {
        Some(Step {
            seq,
            phase: phase?.name().to_owned(),
            name,
            status: status?,
            detail: detail.chars().take(1_000).collect(),
            duration: duration.and_then(time::duration_from_wire),
            index,
            total,
        })
    })
}

fn outcome(message: Option<v1::run_ended::Outcome>) -> Result<Outcome, Violations> {
    match message {
        None => {
            let mut violations = Violations::new();
            violations.push("run_ended.outcome", "is missing");
            Err(violations)
        }
        Some(v1::run_ended::Outcome::Succeeded(v1::Succeeded {})) => Ok(Outcome::Succeeded),
        Some(v1::run_ended::Outcome::Failed(failure)) => Failure::try_from(failure).map(Outcome::Failed),
        Some(v1::run_ended::Outcome::Look(look)) => Look::try_from(look).map(Outcome::Looked),
    }
}

/// A frame to an agent.
pub fn out(frame: Out) -> v1::OpenResponse {
    v1::OpenResponse { frame: Some(frame) }
}

/// The frame that hands a job to its agent.
pub fn dispatch(assignment: Assignment) -> v1::OpenResponse {
    let Assignment { job, run_lease, account, recipes, task } = assignment;
    let publish = task.map(|task| publish_task(&job, task));
    out(Out::Dispatch(Box::new(v1::Dispatch {
        run: Some((job.id, run_lease).into()),
        kind: v1::JobKind::from(job.kind).into(),
        attempt: job.attempt,
        deadline: Some(time::duration_to_wire(job::RUN_DEADLINE)),
        traceparent: job.trace_context.unwrap_or_default(),
        account: Some(account.into()),
        recipes: recipes.into_iter().map(|(name, yaml)| v1::RecipeText { name, yaml }).collect(),
        publish,
    })))
}

fn publish_task(job: &job::Job, task: Task) -> v1::PublishTask {
    let Task { publication: Publication { intent, .. }, content, photos } = task;
    let baseline_item_ids = match job.kind {
        job::Kind::Reconcile => intent.baseline,
        job::Kind::Publish | job::Kind::Login => Vec::new(),
    };
    v1::PublishTask {
        posting_id: intent.posting.to_string(),
        intent_id: intent.id.to_string(),
        generation: intent.generation,
        content: Some(content.into()),
        photos: photos.into_iter().map(Into::into).collect(),
        baseline_item_ids,
    }
}

/// Asks the agent to end a run whose click has not been sent.
pub fn cancel(run: Run) -> v1::OpenResponse {
    out(Out::Cancel(v1::Cancel { run: Some(run.into()) }))
}

/// Tells the agent that a run is no longer wanted.
pub fn forget(run: Run) -> v1::OpenResponse {
    out(Out::Forget(v1::Forget { run: Some(run.into()) }))
}

/// Tells the agent that the run's end is stored.
pub fn stored(run: Run) -> v1::OpenResponse {
    out(Out::RunEndedStored(v1::RunEndedStored { run: Some(run.into()) }))
}

/// Tells the agent that the authority has changed.
pub fn trust(digest: &str, spread: Duration) -> v1::OpenResponse {
    let spread = Some(time::duration_to_wire(spread));
    out(Out::Trust(v1::Trust { digest: digest.to_owned(), spread }))
}

/// Asks the agent to come back on a new stream.
pub fn go_away(retry_after: Duration, reason: &str) -> v1::OpenResponse {
    out(Out::GoAway(v1::GoAway {
        retry_after: Some(time::duration_to_wire(retry_after)),
        reason: reason.to_owned(),
    }))
}
