//! The fence, as `agent::runner::click` has it: permit, last look, journal, the one click, and what became of it.

use std::time::Duration;

use futures::future::{Either, select};
use tradepost_agent::journal::{Outcome, PermitRequest, Record};
use tradepost_agent::session::frame::{Ending, Phase};
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::fence::{self, Life, Next, Stage};
use tradepost_domain::id::PermitId;
use tradepost_domain::posting::{Receipt, Trail};
use tradepost_domain::publish::{PublishedItem, baseline_hash};

use super::run::{Cut, Ready, Run, url};
use super::session::Answer;
use crate::plan::Bug;
use crate::site;
use crate::world::lock;

const ASK: &str = "ask";
const CONFIRM_WITHIN: Duration = Duration::from_secs(120);
const FOLLOW_UP: Duration = Duration::from_secs(10);

/// A permit with its life.
struct Held {
    request: PermitRequest,
    permit: PermitId,
    life: Life,
}

struct Verdict {
    outcome: Outcome,
    ending: Ending,
}

/// From the filled form to the end of the run.
pub(super) async fn publish(run: &Run, ready: Ready) -> Result<Ending, Cut> {
    let held = match ask(run, &ready).await {
        Ok(held) => held,
        Err((cut, unanswered)) => {
            run.leave(&ready.chrome).await;
            if let Some(request) = unanswered {
                follow_up(run, request).await;
            }
            return Err(cut);
        }
    };
    let mut abandoned = false;
    let verdict = match last_look(run, &ready, &held).await {
        Ok(()) => click(run, &ready, &held).await,
        Err(cut) => {
            run.agent.world.count("a permit is not used");
            not_clicked(match cut {
                Cut::Failed(failure) => failure,
                Cut::Abandoned => {
                    abandoned = true;
                    Failure::new(FailureClass::Cancelled, ASK, "the agent ends")
                }
            })
        }
    };
    let record = Record::Outcome { permit: held.permit, outcome: verdict.outcome.clone() };
    run.agent.journal.append(record).await;
    // Chrome goes first: a permit is given back when nothing is left that could still click.
    run.leave(&ready.chrome).await;
    let ending = tell(run, &held, verdict).await?;
    if abandoned { Err(Cut::Abandoned) } else { Ok(ending) }
}

async fn ask(run: &Run, ready: &Ready) -> Result<Held, (Cut, Option<PermitRequest>)> {
    let agent = &run.agent;
    let reached = run.while_reachable(ASK, async { Ok(agent.epoch().await) });
    let epoch = run.until_cut(ASK, reached).await.map_err(|cut| (cut, None))?;
    let request = PermitRequest {
        request: agent.ids.uuid(agent.machine.wall()).to_string(),
        run: run.key(),
        intent: ready.task.intent,
        generation: ready.task.generation,
        epoch,
        baseline_sha256: baseline_hash(&ready.baseline).to_string(),
        fingerprint: ready.fingerprint.clone(),
    };
    agent.journal.append(Record::PermitRequested(request.clone())).await;
    let (boottime, wall) = (agent.machine.boottime(&agent.world), agent.machine.wall());
    let asking = async {
        let (mut delay, mut asked) = (Duration::from_millis(250), request.clone());
        loop {
            match agent.link.acquire_permit(&asked).await {
                Ok(granted) => return Ok(Ok(granted)),
                Err(error) if run.may_pass(asked.epoch, &error) => {
                    agent.world.count("a request for a permit is repeated");
                    run.back_off(&mut delay).await;
                    asked.epoch = agent.epoch().await;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    };
    match run.until_cut(ASK, run.while_reachable(ASK, asking)).await {
        Ok(Ok(granted)) => {
            let permit = granted.permit;
            let given = Record::Permit { request: request.request.clone(), permit, ttl: granted.ttl };
            agent.journal.append(given).await;
            Ok(Held { request, permit, life: Life { boottime, wall, ttl: granted.ttl } })
        }
        Ok(Err(error)) => {
            agent.journal.append(Record::PermitDenied { request: request.request }).await;
            Err((run.refused(ASK, &error).into(), None))
        }
        Err(cut) => Err((cut, Some(request))),
    }
}

/// The permit may have been given without our knowing it: find out, and give it back.
async fn follow_up(run: &Run, mut request: PermitRequest) {
    if let Some(epoch) = run.agent.epoch_now() {
        request.epoch = epoch;
    }
    run.agent.world.count("an unanswered request for a permit is followed up");
    let (agent, (ended, end)) = (run.agent.clone(), futures::channel::oneshot::channel::<()>());
    run.agent.world.exec.spawn(run.agent.process, async move {
        agent.ask_again(request).await;
        drop(ended);
    });
    // What takes longer goes on in the background.
    let _ = run.agent.machine.within(&run.agent.world, FOLLOW_UP, end).await;
}

/// Everything that still may stop the click without harm, in the order of [`fence::may_click`].
async fn last_look(run: &Run, ready: &Ready, held: &Held) -> Result<(), Cut> {
    let world = &run.agent.world;
    let heeds_time = !world.has(Bug::IgnoreTtl);
    let mut stage = Stage::Granted;
    loop {
        let over = held.life.is_over(run.agent.machine.boottime(world), run.agent.machine.wall());
        match fence::may_click(over && heeds_time, stage, run.slept() && heeds_time) {
            // What was looked at before a sleep is not acted upon after it.
            Next::Look if stage != Stage::Granted => return Err(expired().into()),
            Next::Look => {
                let looking = run.step(&ready.chrome, (Phase::Commit, "Look again"), Duration::from_secs(4));
                let looked =
                    run.agent.machine.within(world, held.life.ttl, run.until_cut(ASK, looking)).await;
                looked.unwrap_or_else(|| Err(expired().into()))?;
                stage = Stage::LookedAt;
            }
            Next::Announce => {
                if run.stop.is_cancelled() {
                    return Err(run.cut(ASK));
                }
                if !world.has(Bug::SkipJournal) {
                    run.agent.journal.append(Record::WillClick { permit: held.permit }).await;
                }
                stage = Stage::Announced;
            }
            Next::Click => return Ok(()),
            Next::GiveBack => {
                world.count("a permit runs out before the click");
                return Err(expired().into());
            }
        }
    }
}

fn expired() -> Failure {
    Failure::new(FailureClass::TimedOut, ASK, "the permit ran out before the click")
}

/// The one click, and looking for its effect.
async fn click(run: &Run, ready: &Ready, held: &Held) -> Verdict {
    let world = &run.agent.world;
    if !ready.chrome.is_alive() {
        return not_clicked(Failure::new(
            FailureClass::BrowserCrashed,
            "click",
            "Chrome ended before the click",
        ));
    }
    if world.fault("a click is refused by the page", world.plan.chrome_fails) {
        return not_clicked(Failure::new(FailureClass::ElementMissing, "click", "the button is covered"));
    }
    let form = site::Form {
        account: run.dispatch.account.id,
        posting: ready.task.posting,
        permit: held.permit,
        title: ready.task.content.title.clone(),
        price: ready.task.content.price.decimal(),
    };
    run.stand_down();
    let age = run.agent.machine.boottime(world).saturating_sub(held.life.boottime);
    lock(&world.ledger).clicked(world, &run.agent.machine, held.permit, age);
    world.say(|| {
        format!("machine {}: CLICK for {} under {}", run.agent.machine.index, form.posting, held.permit)
    });
    let mut answered = ready.chrome.click(world, form.clone());
    run.agent.journal.append(Record::Clicked { permit: held.permit }).await;
    loop {
        let waiting = select(Box::pin(ready.chrome.gone()), &mut answered);
        match run.agent.machine.within(world, CONFIRM_WITHIN, waiting).await {
            Some(Either::Right((Ok(site::Answer::Made(id)), _))) => {
                return confirmed(run, ready, id, "id_in_url");
            }
            Some(Either::Right((Ok(site::Answer::Rejected), _))) => {
                let failure =
                    Failure::new(FailureClass::ListingRejected, "confirm", "the site refuses the title");
                return not_clicked(failure.in_field("title"));
            }
            Some(Either::Left(_)) => return no_answer(run, "Chrome ended after the click"),
            Some(Either::Right(_)) | None if world.has(Bug::RetryClick) => {
                lock(&world.ledger).clicked(world, &run.agent.machine, held.permit, age);
                answered = ready.chrome.click(world, form.clone());
            }
            Some(Either::Right(_)) | None => break,
        }
    }
    // No answer that says more: the own listings may.
    let (items, _) = run.own_listings();
    if world.has(Bug::ConfirmByNewest)
        && let Some(newest) = items.last()
    {
        return confirmed(run, ready, newest.id.clone(), "newest");
    }
    let new: Vec<_> = items.iter().filter(|item| !ready.baseline.contains(&item.id)).collect();
    match new.as_slice() {
        [only] if only.title == form.title && only.price == form.price => {
            world.count("a click is confirmed by the list");
            confirmed(run, ready, only.id.clone(), "baseline_difference")
        }
        _ => no_answer(run, "the site did not say what became of the click"),
    }
}

fn confirmed(run: &Run, ready: &Ready, item_id: String, strategy: &str) -> Verdict {
    let item = PublishedItem { url: url(&item_id), item_id, strategy: strategy.to_owned() };
    let receipt = Receipt {
        item,
        baseline_count: ready.baseline.len(),
        read_back: Vec::new(),
        evidence: Vec::new(),
        recipe: String::from("simulated"),
        agent: run.agent.machine.agent,
        prepare_ms: 1,
        confirm_ms: 1,
        trail: Trail::default(),
    };
    Verdict { outcome: Outcome::Confirmed(Box::new(receipt)), ending: Ending::Succeeded }
}

/// Nothing was published, for certain.
fn not_clicked(failure: Failure) -> Verdict {
    Verdict { outcome: Outcome::NotClicked(failure.message.clone()), ending: Ending::Failed(failure) }
}

fn no_answer(run: &Run, reason: &str) -> Verdict {
    run.agent.world.count("a click stays uncertain");
    let failure = Failure::new(FailureClass::Uncertain, "confirm", reason);
    if run.agent.world.has(Bug::LostAnswerIsNotClicked) {
        return not_clicked(Failure::new(FailureClass::Network, "confirm", reason));
    }
    Verdict { outcome: Outcome::Uncertain(reason.to_owned()), ending: Ending::Failed(failure) }
}

/// Tells the controller, and ends the run by what it says.
async fn tell(run: &Run, held: &Held, verdict: Verdict) -> Result<Ending, Cut> {
    let Verdict { outcome, ending } = verdict;
    let telling = run.agent.settle(held.permit, &held.request, &outcome);
    let too_late = async {
        run.agent.shutdown.cancelled().await;
        run.agent.pause(Duration::from_secs(10)).await;
    };
    match select(Box::pin(telling), Box::pin(too_late)).await {
        Either::Left((Answer::Refused(error), _)) if matches!(outcome, Outcome::Confirmed(_)) => {
            Ok(Ending::Failed(Failure::new(FailureClass::Uncertain, "confirm", error.message)))
        }
        Either::Left(_) => Ok(ending),
        Either::Right(_) => Err(Cut::Abandoned),
    }
}
