//! What a posting waits for and until when, in one sentence that follows "waits for".
//!
//! The sentences name what stands in the way *now*, the one that a person can do something about first: an agent that is
//! gone before the hour of the day, a pause before a limit.

#[cfg(test)]
mod tests;

use crate::agent::{Agent, Presence};
use crate::failure::FailureClass;
use crate::id::PostingId;
use crate::job::{self, Job};
use crate::pacing::{self, Pacing, Rules, moment};
use crate::posting::{Publication, State};
use crate::publish;
use crate::retry::MAX_ATTEMPTS;
use crate::time::Timestamp;

/// All that bears on when a posting goes on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The posting with its job and intent.
    pub publication: &'a Publication,
    /// The agent of the account; none when it is bound to none.
    pub agent: Option<&'a Agent>,
    /// Jobs that the agent works on now.
    pub agent_runs: usize,
    /// How the account's pacing stands.
    pub pacing: &'a Pacing,
    /// The site's default rules.
    pub defaults: &'a Rules,
    /// Ready jobs of the account that go first.
    pub ahead: u32,
    /// The account's job that runs now.
    pub account_run: Option<&'a Job>,
    /// Another posting of the account whose click's fate is open.
    pub unsettled: Option<PostingId>,
    /// The look for the posting's intent that has not ended.
    pub look: Option<&'a Job>,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The stable name of the reason, e.g. `agent_offline`.
    pub reason: &'static str,
    /// Words that follow "waits for".
    pub sentence: String,
    /// Until when, where that is known.
    pub until: Option<Timestamp>,
}

impl Wait {
    fn new(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self { reason, sentence: sentence.into(), until: None }
    }

    fn until(self, until: Timestamp) -> Self {
        Self { until: Some(until), ..self }
    }
}

/// What the posting waits for; none when it runs or has ended.
pub fn explain(situation: &Situation<'_>, now: Timestamp) -> Option<Wait> {
    let Publication { posting, job, intent } = situation.publication;
    match posting.state {
        State::Published | State::Failed | State::Cancelled => None,
        State::Running if job.cancel_requested => {
            Some(Wait::new("cancelling", "the agent to end the run; nothing is published any more"))
        }
        State::Running => None,
        State::NeedsHuman => Some(person(situation)),
        State::Uncertain if intent.state == publish::State::Armed => Some(report(intent, situation, now)),
        State::Uncertain => Some(look(situation, now)),
        State::Queued => Some(queued(situation, now)),
    }
}

/// What a posting that was just asked for waits for, as far as can be told without looking at its account's queue.
pub fn at_first(agent: Option<&Agent>, unsettled: Option<PostingId>, now: Timestamp) -> Wait {
    if let Some(gone) = gone(agent, now) {
        return gone;
    }
    if let Some(other) = unsettled {
        return unsettled_by(other);
    }
    let name = agent.map_or("", |agent| agent.name.as_str());
    Wait::new("turn", format!("its turn on the agent {name:?}"))
}

fn unsettled_by(other: PostingId) -> Wait {
    let sentence = format!(
        "the posting {other} of this account to be settled: its click may have been sent, and looking tells what became \
         of it"
    );
    Wait::new("unsettled", sentence)
}

fn zone(situation: &Situation<'_>) -> pacing::Zone {
    pacing::rules(situation.pacing, situation.defaults).time_zone
}

/// A click was allowed, and the agent has not told what became of it.
fn report(intent: &publish::Intent, situation: &Situation<'_>, now: Timestamp) -> Wait {
    let what = "the agent's report of what became of the click";
    let hands_off = "do not post it by hand";
    match &intent.permit {
        Some(permit) if permit.report_by > now => {
            let when = moment(permit.report_by, &zone(situation), now);
            let sentence = format!("{what}, or else for a look that starts at {when}; {hands_off}");
            Wait::new("report", sentence).until(permit.report_by)
        }
        _ => Wait::new("report", format!("{what}; {hands_off}")),
    }
}

/// The click's fate is being found out by looking.
fn look(situation: &Situation<'_>, now: Timestamp) -> Wait {
    let purpose = "it tells whether the listing is on the site; do not post it by hand";
    let blocked = paused(situation).or_else(|| absent(situation, now));
    if let Some(blocked) = blocked {
        return Wait { sentence: format!("{}, then the next look: {purpose}", blocked.sentence), ..blocked };
    }
    match situation.look {
        Some(look) if look.state == job::State::NeedsHuman => {
            let what = look.failure.as_ref().map_or("the look needs a person", |failure| &failure.message);
            let what = what.trim_end_matches('.');
            Wait::new(
                "person",
                format!("a person: {what}; then retry the posting, and the look goes on: {purpose}"),
            )
        }
        Some(look) if matches!(look.state, job::State::Leased | job::State::Running) => {
            Wait::new("look", format!("the look that runs now: {purpose}"))
        }
        Some(look) if look.run_after > now => {
            let when = moment(look.run_after, &zone(situation), now);
            Wait::new("look", format!("the next look, at {when}: {purpose}")).until(look.run_after)
        }
        _ => Wait::new("look", format!("the next look, now: {purpose}")),
    }
}

/// A person has to act: what happened, and what to do.
fn person(situation: &Situation<'_>) -> Wait {
    let Publication { posting, intent, .. } = situation.publication;
    let failure = posting.failure.as_ref();
    let what = failure.map_or("a decision is needed", |failure| failure.message.as_str());
    let what = what.trim_end_matches('.');
    let id = posting.id;
    let then = match intent.state {
        publish::State::Duplicate | publish::State::NeedsHuman => {
            format!("look at the site and say what is there: tradepost postings resolve {id}")
        }
        _ => match failure.map(|failure| failure.class) {
            Some(FailureClass::NeedsLogin | FailureClass::NeedsSecondFactor | FailureClass::WrongAccount) => {
                format!("sign in with tradepost accounts login {}, and it goes on by itself", posting.account)
            }
            _ => format!("when that is done: tradepost postings retry {id}"),
        },
    };
    Wait::new("person", format!("a person: {what}; {then}"))
}

fn paused(situation: &Situation<'_>) -> Option<Wait> {
    situation.pacing.paused_at?;
    let account = situation.pacing.account;
    let sentence = format!("the account to be resumed, as it is paused: tradepost accounts resume {account}");
    Some(Wait::new("paused", sentence))
}

/// What must happen before the agent can do anything; none when it is there.
fn absent(situation: &Situation<'_>, now: Timestamp) -> Option<Wait> {
    gone(situation.agent, now)
}

fn gone(agent: Option<&Agent>, now: Timestamp) -> Option<Wait> {
    let Some(agent) = agent else {
        return Some(Wait::new(
            "agent_missing",
            "the account to be bound to an agent: tradepost accounts bind",
        ));
    };
    match agent.presence(now) {
        Presence::Online => None,
        Presence::Offline => {
            Some(Wait::new("agent_offline", format!("the agent {:?} to come online", agent.name)))
        }
        Presence::NeedsApproval => Some(Wait::new(
            "agent_needs_approval",
            format!("the agent {:?} to be approved: tradepost agents approve", agent.name),
        )),
        Presence::Revoked => Some(Wait::new(
            "agent_revoked",
            format!(
                "the account to be bound to another agent, as {:?} is revoked: tradepost accounts bind",
                agent.name
            ),
        )),
    }
}

fn queued(situation: &Situation<'_>, now: Timestamp) -> Wait {
    let job = &situation.publication.job;
    let gone = absent(situation, now).filter(|absent| absent.reason != "agent_offline");
    if let Some(blocked) = gone.or_else(|| paused(situation)) {
        return blocked;
    }
    let name = situation.agent.map_or("", |agent| agent.name.as_str());
    if job.state == job::State::Parked {
        // Online or not: its agent decides, as the run may still be going.
        let sentence = format!("the agent {name:?} to be back and take the work up again");
        return Wait::new("parked", sentence);
    }
    if let Some(offline) = absent(situation, now) {
        return offline;
    }
    if let Some(other) = situation.unsettled {
        return unsettled_by(other);
    }
    timed(situation, now).unwrap_or_else(|| turn(situation, name))
}

/// The time that the job or the account's pacing waits for, whichever is later.
fn timed(situation: &Situation<'_>, now: Timestamp) -> Option<Wait> {
    let job = &situation.publication.job;
    let zone = zone(situation);
    let paced = pacing::wait(situation.pacing, situation.defaults, now);
    let own = (job.run_after > now).then_some(job.run_after);
    if let Some(at) = own.filter(|at| paced.as_ref().is_none_or(|paced| paced.until < *at)) {
        let when = moment(at, &zone, now);
        return Some(match &job.failure {
            Some(failure) => {
                let next = job.attempt + 1;
                let why = failure.message.trim_end_matches('.');
                let sentence = format!("the next try ({next} of {MAX_ATTEMPTS}) at {when}, after: {why}");
                Wait::new("retry", sentence).until(at)
            }
            None => Wait::new("scheduled", format!("its time, {when}")).until(at),
        });
    }
    let paced = paced?;
    let then = match situation.ahead {
        0 => String::new(),
        ahead => format!("; then {}", first(ahead)),
    };
    let sentence = format!("{}{then}", paced.sentence(&zone, now));
    Some(Wait::new(paced.rule.name(), sentence).until(paced.until))
}

/// Nothing but others stands before it.
fn turn(situation: &Situation<'_>, name: &str) -> Wait {
    let own = situation.publication.job.id;
    let then = match situation.ahead {
        0 => String::new(),
        ahead => format!("; then {}", first(ahead)),
    };
    if let Some(run) = situation.account_run.filter(|run| run.id != own) {
        let what = match run.kind {
            job::Kind::Login => "sign-in",
            job::Kind::Publish => "posting",
            job::Kind::Reconcile => "look at its own listings",
        };
        return Wait::new("turn", format!("its turn: the account's {what} runs now{then}"));
    }
    if situation.agent_runs > 0 {
        let busy = jobs(u32::try_from(situation.agent_runs).unwrap_or(u32::MAX));
        return Wait::new(
            "slots",
            format!("a free place on the agent {name:?}, which works on {busy}{then}"),
        );
    }
    match situation.ahead {
        0 => Wait::new("turn", format!("its turn on the agent {name:?}; it is handed over in a moment")),
        ahead => Wait::new("turn", format!("its turn on the agent {name:?}: {}", first(ahead))),
    }
}

fn first(ahead: u32) -> String {
    format!("{} {} first", jobs(ahead), if ahead == 1 { "goes" } else { "go" })
}

fn jobs(count: u32) -> String {
    match count {
        1 => String::from("1 job"),
        count if count >= pacing::LIMIT_MAX => format!("{} jobs or more", pacing::LIMIT_MAX),
        count => format!("{count} jobs"),
    }
}
