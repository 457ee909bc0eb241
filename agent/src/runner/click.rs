//! The fence: permit, last look, journal, the one click, and what became of it.
//!
//! ```text
//! PermitRequested → ask → Permit → look again → still in time? → WillClick → CLICK → Clicked → confirm → Outcome → settle
//! ```
//! Each record is on the disk before the next arrow. Up to `WillClick` the run can be cut, and the permit is given back;
//! after it nothing but a proof decides.

use std::time::Duration;

use tokio::time::Instant;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::fence::{self, Life, Next, Stage};
use tradepost_domain::id::PermitId;
use tradepost_domain::posting::{FieldCheck, Receipt, Trail};
use tradepost_domain::publish::{PublishedItem, baseline_hash};
use tradepost_recipe::schema::Job;
use tradepost_recipe::session::{Clicked, Confirmation, ReadBack};
use tradepost_runtime::backoff::Backoff;

use super::desk::Desk;
use super::publish::{RETRY, Ready, epoch, may_pass, refused, while_reachable};
use super::{Cut, Run};
use crate::journal::{Outcome, PermitRequest, Record};
use crate::session::frame::{Ending, Phase};
use crate::session::settler::Answer;

/// Names of this part's steps.
const ASK: &str = "Ask for the permit";
const JOURNAL: &str = "Write the journal";
/// Longest duration of the click, of finding the listing, and of reading it back.
const CLICK_WITHIN: Duration = Duration::from_secs(120);
const CONFIRM_WITHIN: Duration = Duration::from_secs(120);
const READ_BACK_WITHIN: Duration = Duration::from_secs(60);
/// Longest duration of counting the own listings once more, and how many new ones a receipt names.
const COUNT_WITHIN: Duration = Duration::from_secs(60);
const NEW_NAMED: usize = 20;
/// How long an unanswered request for a permit is followed up before the run ends.
const FOLLOW_UP: Duration = Duration::from_secs(10);
/// How long the end of the agent waits for an outcome to be told; it is journalled anyway.
const TELL_WITHIN: Duration = Duration::from_secs(10);

/// A permit with the moment from which its life counts.
struct Held {
    request: PermitRequest,
    permit: PermitId,
    life: Life,
    /// From the first request to the answer.
    round_trip: Duration,
}

/// What the click came to, and how the run ends.
struct Verdict {
    outcome: Outcome,
    ending: Ending,
}

/// From the filled form to the end of the run.
pub(super) async fn publish(run: &Run, mut ready: Ready) -> Result<Ending, Cut> {
    let held = match ask(run, &ready).await {
        Ok(held) => held,
        Err((cut, unanswered)) => {
            // Chrome goes first here, too: the controller may be long in answering.
            let chrome = ready.desk.give_up(run, &cut).await;
            if let Some(request) = unanswered
                && fence::may_deny_click(chrome)
            {
                follow_up(run, request).await;
            }
            return Err(cut);
        }
    };
    let mut abandoned = false;
    let verdict = match last_look(run, &mut ready, &held).await {
        Ok(()) => click(run, &mut ready, &held).await,
        Err(cut) => {
            let failure = match cut {
                Cut::Failed(failure) => failure,
                Cut::Abandoned => {
                    abandoned = true;
                    Failure::new(FailureClass::Cancelled, ASK, "the agent ends")
                }
            };
            not_clicked(failure)
        }
    };
    let verdict = finish(run, &mut ready, &held, verdict).await;
    // Chrome goes first: a permit is given back when nothing is left that could still click.
    let chrome = ready.desk.leave(run).await;
    let verdict = proven(run, &held, verdict, chrome).await;
    let ending = tell(run, &held, verdict).await?;
    if abandoned { Err(Cut::Abandoned) } else { Ok(ending) }
}

/// Why there is no permit, and the request if its answer is not known.
type NoPermit = (Cut, Option<PermitRequest>);

fn no_permit(cut: impl Into<Cut>) -> NoPermit {
    (cut.into(), None)
}

/// Asks for the permit until there is an answer.
async fn ask(run: &Run, ready: &Ready) -> Result<Held, NoPermit> {
    let epoch_now = while_reachable(ASK, async { Ok(epoch(run).await) });
    let ids: Vec<String> = ready.baseline.iter().cloned().collect();
    let request = PermitRequest {
        request: run.kit.ids.uuid(run.kit.clocks.wall()).to_string(),
        run: run.key(),
        intent: ready.task.intent,
        generation: ready.task.generation,
        epoch: run.until_cut(ASK, epoch_now).await.map_err(no_permit)?,
        baseline_sha256: baseline_hash(&ids).to_string(),
        fingerprint: ready.prepared.fingerprint.clone(),
    };
    journal(run, Record::PermitRequested(request.clone())).await.map_err(no_permit)?;
    // The life counts from before the first sending: the answer may be slow, or be a repeat.
    let (boottime, wall) = (run.kit.clocks.boottime(), run.kit.clocks.wall());
    let asking = async {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1, run.kit.ids.clone());
        let mut asked = request.clone();
        loop {
            match run.kit.link.acquire_permit(&asked).await {
                Ok(granted) => return Ok(Ok(granted)),
                Err(error) if may_pass(run, asked.epoch, &error) => {
                    tokio::time::sleep(backoff.next_delay()).await;
                    // The same request over another stream: its permit, if there is one, is the same.
                    asked.epoch = epoch(run).await;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    };
    match run.until_cut(ASK, run.reporter.step(Phase::Commit, ASK, while_reachable(ASK, asking))).await {
        Ok(Ok(granted)) => {
            let permit = granted.permit;
            let given = Record::Permit { request: request.request.clone(), permit, ttl: granted.ttl };
            journal(run, given).await.map_err(no_permit)?;
            let round_trip = run.kit.clocks.boottime().saturating_sub(boottime);
            Ok(Held { request, permit, life: Life { boottime, wall, ttl: granted.ttl }, round_trip })
        }
        Ok(Err(error)) => {
            journal(run, Record::PermitDenied { request: request.request }).await.map_err(no_permit)?;
            Err(no_permit(refused(run, ASK, &error)))
        }
        Err(cut) => Err((cut, Some(request))),
    }
}

/// The permit may have been given without our knowing it: find out, and give it back.
async fn follow_up(run: &Run, mut request: PermitRequest) {
    if run.kit.refusal.borrow().is_some() {
        // No answer will come; the journal has the request.
        return;
    }
    if let Some(epoch) = *run.kit.epoch.borrow() {
        request.epoch = epoch;
    }
    let settler = run.kit.settler.clone();
    let asking = run.kit.tasks.spawn("permit-follow-up", async move { settler.ask_again(request).await });
    match tokio::time::timeout(FOLLOW_UP, asking).await {
        Ok(Ok(Err(error))) => tracing::error!(%error, "an unanswered request is not followed up"),
        Ok(_) => {}
        Err(_) => tracing::warn!("the request for a permit is followed up in the background"),
    }
}

/// Everything that still may stop the click without harm, in the order of [`fence::may_click`].
async fn last_look(run: &Run, ready: &mut Ready, held: &Held) -> Result<(), Cut> {
    let mut stage = Stage::Granted;
    loop {
        let over = held.life.is_over(run.kit.clocks.boottime(), run.kit.clocks.wall());
        // Asked again after each step: the disk may have been slow, or the PC asleep.
        match fence::may_click(over, stage, run.guard.slept()) {
            // After a sleep the controller has to confirm the run first, which outlasts most permits: a new one is cheap.
            Next::Look if stage != Stage::Granted => return Err(expired().into()),
            Next::Look => {
                let looking =
                    ready.desk.until_cut(run, "revalidate", async |session| session.revalidate().await);
                tokio::time::timeout(held.life.ttl, looking).await.map_err(|_| expired())??;
                stage = Stage::LookedAt;
            }
            Next::Announce => {
                if run.stop.is_cancelled() {
                    return Err(run.cut(JOURNAL));
                }
                let will = journal(run, Record::WillClick { permit: held.permit });
                run.reporter.step(Phase::Commit, JOURNAL, will).await?;
                stage = Stage::Announced;
            }
            Next::Click => return Ok(()),
            Next::GiveBack => return Err(expired().into()),
        }
    }
}

fn expired() -> Failure {
    Failure::new(
        FailureClass::TimedOut,
        ASK,
        "the permit ran out before the click; nothing was published, it is tried again",
    )
}

/// The one click, and looking for its effect.
async fn click(run: &Run, ready: &mut Ready, held: &Held) -> Verdict {
    let clicked_at = Instant::now();
    let clicked = ready.desk.uninterrupted(CLICK_WITHIN, async |session| session.commit().await).await;
    match clicked {
        Ok(Clicked::NotClicked(failure)) => return not_clicked(failure),
        Ok(Clicked::Sent) => {
            // Without this record recovery says the same: uncertain.
            if let Err(failure) = journal(run, Record::Clicked { permit: held.permit }).await {
                tracing::error!(%failure, "the click is not journalled");
            }
        }
        Err(failure) => return uncertain(format!("the click's answer was lost: {}", failure.message)),
    }
    let confirmation =
        ready.desk.uninterrupted(CONFIRM_WITHIN, async |session| session.confirm().await).await;
    match confirmation {
        Ok(Confirmation::Published { item_id, url, strategy }) => {
            let item = PublishedItem { item_id, url, strategy };
            let receipt = Receipt {
                item,
                baseline_count: ready.baseline.len(),
                read_back: Vec::new(),
                evidence: ready.evidence.clone(),
                recipe: recipe_version(ready),
                agent: run.kit.agent,
                prepare_ms: millis(ready.prepare_time),
                confirm_ms: millis(clicked_at.elapsed()),
                trail: Trail { permit_ms: millis(held.round_trip), ..Trail::default() },
            };
            Verdict { outcome: Outcome::Confirmed(Box::new(receipt)), ending: Ending::Succeeded }
        }
        Ok(Confirmation::Rejected(failure)) => not_clicked(failure),
        Ok(Confirmation::Uncertain(reason)) => uncertain(reason),
        Err(failure) => uncertain(failure.message),
    }
}

/// Journals the outcome at once, then adds what is worth knowing: the page read back, and pictures.
async fn finish(run: &Run, ready: &mut Ready, held: &Held, verdict: Verdict) -> Verdict {
    let Verdict { outcome, ending } = verdict;
    note_outcome(run, held, &outcome).await;
    match outcome {
        Outcome::Confirmed(mut receipt) => {
            let url = receipt.item.url.clone();
            let reading =
                ready.desk.uninterrupted(READ_BACK_WITHIN, async |session| session.read_back(&url).await);
            let read = reading.await;
            match read.and_then(|read| read) {
                Ok(read) => receipt.read_back = checks(read),
                Err(failure) => tracing::warn!(%failure, "the published page was not read back"),
            }
            receipt.evidence.extend(ready.desk.keep_evidence(run, "after_fence").await);
            count_again(ready, &mut receipt).await;
            let outcome = Outcome::Confirmed(receipt);
            note_outcome(run, held, &outcome).await;
            Verdict { outcome, ending }
        }
        outcome => {
            if !matches!(&ending, Ending::Failed(failure) if failure.class == FailureClass::BrowserCrashed) {
                ready.desk.keep_evidence(run, "after_fence").await;
            }
            Verdict { outcome, ending }
        }
    }
}

/// "Not clicked" is told only when Chrome is proven dead: a filled form in a living one may still be sent.
async fn proven(run: &Run, held: &Held, verdict: Verdict, chrome: fence::Chrome) -> Verdict {
    if fence::may_deny_click(chrome) || !matches!(verdict.outcome, Outcome::NotClicked(_)) {
        return verdict;
    }
    let verdict = uncertain(String::from("Chrome could not be ended, so that it may still send the form"));
    note_outcome(run, held, &verdict.outcome).await;
    verdict
}

/// The difference in the account's own lists: which listings are new, and how many there are now.
async fn count_again(ready: &mut Ready, receipt: &mut Receipt) {
    let scanning = ready.desk.uninterrupted(COUNT_WITHIN, async |session| session.scan().await).await;
    match scanning.and_then(|scan| scan) {
        Ok(scan) => {
            let new = scan.new_since(&ready.baseline).map(|item| item.id.clone());
            receipt.trail.new_items = new.take(NEW_NAMED).collect();
            receipt.trail.count_after = scan.complete().then_some(scan.items.len());
        }
        Err(failure) => {
            tracing::warn!(%failure, "the account's own listings were not counted after the click")
        }
    }
}

async fn note_outcome(run: &Run, held: &Held, outcome: &Outcome) {
    let record = Record::Outcome { permit: held.permit, outcome: outcome.clone() };
    if let Err(failure) = journal(run, record).await {
        tracing::error!(%failure, "the outcome of a publication is not journalled");
    }
}

/// Tells the controller, and ends the run by what it says.
async fn tell(run: &Run, held: &Held, verdict: Verdict) -> Result<Ending, Cut> {
    let Verdict { outcome, ending } = verdict;
    let telling = run.kit.settler.settle(held.permit, &held.request, &outcome);
    let shutdown = run.kit.tasks.shutdown_token();
    let mut refusal = run.kit.refusal.clone();
    let too_late = async {
        // The journal has the outcome; it is told at the next start.
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = refusal.wait_for(Option::is_some) => {}
        }
        tokio::time::sleep(TELL_WITHIN).await;
    };
    let answer = tokio::select! {
        answer = telling => answer,
        () = too_late => return Err(Cut::Abandoned),
    };
    match answer {
        Ok(Answer::Accepted) => Ok(ending),
        Ok(Answer::Refused(error)) if matches!(outcome, Outcome::Confirmed(_)) => {
            let message =
                format!("the listing is on the site, but the controller does not take the proof: {error}");
            Ok(Ending::Failed(Failure::new(FailureClass::Uncertain, "confirm", message)))
        }
        Ok(Answer::Refused(_)) => Ok(ending),
        Err(error) => Ok(Ending::Failed(Failure::new(FailureClass::Internal, "confirm", error.to_string()))),
    }
}

async fn journal(run: &Run, record: Record) -> Result<(), Failure> {
    let written = run.kit.journal.append_async(record).await;
    written.map_err(|error| Failure::new(FailureClass::Internal, JOURNAL, error.to_string()))
}

/// Nothing was published, for certain.
fn not_clicked(failure: Failure) -> Verdict {
    Verdict { outcome: Outcome::NotClicked(failure.message.clone()), ending: Ending::Failed(failure) }
}

fn uncertain(reason: String) -> Verdict {
    let message = format!("the click was sent and its effect is not known yet: {reason}");
    let failure = Failure::new(FailureClass::Uncertain, "confirm", message);
    Verdict { outcome: Outcome::Uncertain(reason), ending: Ending::Failed(failure) }
}

fn recipe_version(ready: &Ready) -> String {
    version(&ready.desk)
}

/// Name and content of the publish recipe.
pub(super) fn version(desk: &Desk) -> String {
    desk.session.version(Job::Publish).map_or_else(String::new, |version| {
        let short: String = version.sha256.chars().take(12).collect();
        format!("{}@{short}", version.name)
    })
}

pub(super) fn checks(read: ReadBack) -> Vec<FieldCheck> {
    let checks = read.fields.into_iter();
    checks
        .map(|check| FieldCheck {
            field: check.field,
            wanted: check.wanted,
            found: check.shown.unwrap_or_default(),
            matches: check.same,
        })
        .collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
