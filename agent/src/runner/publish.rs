//! A publish job up to the fence: everything here can be repeated.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::SessionEpoch;
use tradepost_domain::posting::EvidenceRef;
use tradepost_recipe::session::Prepared;
use tradepost_recipe::values::Listing;
use tradepost_runtime::backoff::Backoff;

use super::click;
use super::desk::Desk;
use super::sign_in::sign_in;
use super::{CANCELLED, Cut, Run};
use crate::photos::FETCH;
use crate::session::frame::{Ending, Phase, PublishTask};
use crate::session::link::{LinkError, LinkFault, PreparedReport};

/// First and longest delay between tries to reach the controller, before jitter.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// The controller's reason for refusing a run or a stream that is not the present one.
const STALE: &str = "STALE_RUN";
/// The controller's reason when the posting is not in a state to be published, e.g. because it was cancelled.
const WRONG_STATE: &str = "WRONG_STATE";
/// The controller's reason while another publication of the account is not decided about.
const ACCOUNT_BUSY: &str = "ACCOUNT_BUSY";
/// The controller's reason while the account's own rules do not allow a publication.
const PACED: &str = "PACED";
/// How long a filled form waits for a controller that does not answer.
const UNREACHED_MAX: Duration = Duration::from_secs(10 * 60);
/// How often a form is begun anew after a sleep within one run.
const SLEEPS_MAX: u32 = 5;
/// Name of the step that saves the prepared form.
const SAVE: &str = "Save what was prepared";

/// A filled form before its click.
pub(super) struct Ready {
    pub(super) desk: Desk,
    pub(super) task: PublishTask,
    pub(super) baseline: BTreeSet<String>,
    pub(super) prepared: Prepared,
    pub(super) prepare_time: Duration,
    pub(super) evidence: Vec<EvidenceRef>,
}

/// A publish job.
pub(super) async fn job(run: &Run) -> Result<Ending, Cut> {
    let Some(task) = run.dispatch.publish.clone() else {
        let message = "the controller did not say what to publish";
        return Err(Failure::new(FailureClass::Internal, "start", message).into());
    };
    // Chrome's start and the photos' way do not wait for each other.
    let opening = async {
        let fetching = run.kit.photos.lay_out(run.kit.link.as_ref(), run.key(), &task.photos);
        let (tools, photos) =
            tokio::join!(run.start_chrome(), run.reporter.step(Phase::Start, FETCH, fetching));
        match (tools, photos) {
            (Ok(tools), Ok(photos)) => Ok((tools, photos)),
            (Ok(tools), Err(failure)) => {
                tools.close(run).await;
                Err(failure)
            }
            (Err(failure), _) => Err(failure),
        }
    };
    let (tools, photos) = run.until_cut("start", opening).await?;
    let listing = listing(&task, photos);
    let mut desk = run.sit_down(tools, Some(listing)).await?;
    match prepare_awake(run, &mut desk, &task).await {
        Ok((baseline, prepared, prepare_time, evidence)) => {
            click::publish(run, Ready { desk, task, baseline, prepared, prepare_time, evidence }).await
        }
        Err(cut) => {
            desk.give_up(run, &cut).await;
            Err(cut)
        }
    }
}

type Filled = (BTreeSet<String>, Prepared, Duration, Vec<EvidenceRef>);

/// Fills the form; begins anew, once the controller has confirmed the run, when the PC has slept over it.
async fn prepare_awake(run: &Run, desk: &mut Desk, task: &PublishTask) -> Result<Filled, Cut> {
    for _ in 0..SLEEPS_MAX {
        let filled = prepare(run, desk, task).await;
        if !run.guard.slept() {
            return filled;
        }
        if let Err(Cut::Abandoned) = filled {
            return filled;
        }
        run.confirmed().await?;
    }
    let message =
        "the PC fell asleep again and again while the form was being filled; it is tried again later";
    Err(Failure::new(FailureClass::TimedOut, "prepare", message).into())
}

async fn prepare(run: &Run, desk: &mut Desk, task: &PublishTask) -> Result<Filled, Cut> {
    sign_in(run, desk).await?;
    let baseline = desk.until_cut(run, "baseline", async |session| session.baseline().await).await?;
    if !baseline.complete {
        let message = "the account's own listings could not be read to their end, so that a new one could not be told \
                       from them; it is tried again";
        return Err(Failure::new(FailureClass::PageUnknown, "baseline", message).into());
    }
    let begun = Instant::now();
    let prepared = desk.until_cut(run, "prepare", async |session| session.prepare().await).await?;
    let prepare_time = begun.elapsed();
    // Saving the form's fingerprint and taking its picture do not wait for each other; both come before the permit.
    let saving = run.reporter.step(
        Phase::Prepare,
        SAVE,
        while_reachable(SAVE, record(run, task, &baseline.items, &prepared)),
    );
    let both = async {
        let (saved, evidence) = tokio::join!(saving, desk.keep_evidence(run, "before_fence"));
        saved.map(|()| evidence)
    };
    let evidence = run.until_cut(SAVE, both).await?;
    Ok((baseline.items, prepared, prepare_time, evidence))
}

pub(super) fn listing(task: &PublishTask, photos: Vec<std::path::PathBuf>) -> Listing {
    let content = task.content.clone();
    Listing {
        title: content.title,
        description: content.description,
        price: content.price,
        category: content.category,
        condition: content.condition,
        location: content.location,
        sku: content.sku,
        attributes: content.attributes,
        photos,
    }
}

async fn record(
    run: &Run,
    task: &PublishTask,
    baseline: &BTreeSet<String>,
    prepared: &Prepared,
) -> Result<(), Failure> {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1, run.kit.ids.clone());
    loop {
        let epoch = epoch(run).await;
        let report = PreparedReport {
            run: run.key(),
            intent: task.intent,
            epoch,
            baseline: baseline.iter().cloned().collect(),
            fingerprint: prepared.fingerprint.clone(),
        };
        match run.kit.link.record_prepared(report).await {
            Ok(()) => return Ok(()),
            Err(error) if may_pass(run, epoch, &error) => tokio::time::sleep(backoff.next_delay()).await,
            Err(error) => return Err(refused(run, SAVE, &error)),
        }
    }
}

/// Gives up on `work`, which waits for the controller, when it takes too long: Chrome is not kept open with a filled form
/// while nobody can allow its click.
pub(super) async fn while_reachable<T>(
    step: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(UNREACHED_MAX, work).await.unwrap_or_else(|_| {
        let minutes = UNREACHED_MAX.as_secs() / 60;
        let message =
            format!("the controller could not be reached for {minutes} minutes; nothing was published, it is tried again");
        Err(Failure::new(FailureClass::Network, step, message))
    })
}

/// The number of the present stream; waits for one.
pub(super) async fn epoch(run: &Run) -> SessionEpoch {
    let mut epochs = run.kit.epoch.clone();
    match epochs.wait_for(Option::is_some).await.map(|epoch| *epoch) {
        Ok(Some(epoch)) => epoch,
        // The session has ended with the agent; so will this run.
        _ => std::future::pending().await,
    }
}

/// Whether asking again may help: the way was cut, or another stream has begun since `epoch` was read.
pub(super) fn may_pass(run: &Run, epoch: SessionEpoch, error: &LinkError) -> bool {
    error.is_passing() || error.reason == STALE && *run.kit.epoch.borrow() != Some(epoch)
}

/// What a refusal means for the run.
pub(super) fn refused(run: &Run, step: &str, error: &LinkError) -> Failure {
    let why = &error.message;
    let (class, message) = match (error.reason.as_str(), error.fault) {
        // Another run has taken over, or the posting was cancelled, and this run was told so.
        (STALE | WRONG_STATE, _) if run.stop.is_cancelled() => {
            (FailureClass::Cancelled, CANCELLED.to_owned())
        }
        // The word of that is still on its way, or another stream has taken over.
        (STALE | WRONG_STATE, _) => (
            FailureClass::Network,
            format!("the posting has moved on meanwhile ({why}); nothing was published"),
        ),
        // The controller gives out nothing for the account until the other publication is decided about.
        (ACCOUNT_BUSY, _) => (
            FailureClass::Network,
            "another publication of this account is being settled; it is tried again after that".to_owned(),
        ),
        // A limit, quiet hours or a pause of the account: nothing is wrong, and the posting waits in the queue.
        (PACED, _) => (FailureClass::NotYet, format!("nothing was published: {why}")),
        (_, LinkFault::Identity) => (FailureClass::Network, not_now(why)),
        _ => (FailureClass::Internal, not_now(why)),
    };
    Failure::new(class, step, message)
}

fn not_now(why: &str) -> String {
    format!("the controller does not allow the publication now: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_filled_form_does_not_wait_for_a_controller_for_ever() {
        let begun = Instant::now();
        let waited = while_reachable::<()>(SAVE, std::future::pending()).await.expect_err("given up");
        assert_eq!((waited.class, begun.elapsed()), (FailureClass::Network, UNREACHED_MAX));
        assert!(waited.message.contains("10 minutes"), "{waited}");
    }
}
