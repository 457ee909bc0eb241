//! The agent: a run from its dispatch to its end, the journal, and what is left to do after a crash.
//!
//! The order of steps is that of `agent/src/runner`; whether a permit may be used and what to say of one after a restart is
//! decided by [`tradepost_domain::fence`].

use std::time::Duration;

use tradepost_domain::fence::{self, Life, Next, Recovery, Traces};
use tradepost_domain::publish::PERMIT_TTL;
use tradepost_domain::time::Timestamp;

use crate::action::{Landing, Sight, Way};
use crate::bug::Bug;
use crate::canon;
use crate::model::{Model, Situation};
use crate::rows::Event;
use crate::world::{
    Answer, CONTROL, Ending, Entry, Item, Message, Note, Number, Outcome, Owed, Reason, Run, Show, Stage,
    Which, World,
};

/// What to do next with a permit, by the domain's fence.
pub fn next_with_permit(run: &Run) -> Next {
    let begun = Life {
        boottime: Duration::from_secs(1_000),
        wall: Timestamp::from_micros(1_000_000_000),
        ttl: PERMIT_TTL,
    };
    let passed = if run.late { PERMIT_TTL } else { Duration::ZERO };
    let stage = match run.stage {
        Stage::Looked => fence::Stage::LookedAt,
        Stage::Announced => fence::Stage::Announced,
        _ => fence::Stage::Granted,
    };
    fence::may_click(begun.is_over(begun.boottime + passed, begun.wall + passed), stage, run.slept)
}

impl Model {
    /// The run reads the account's listings and fills the form.
    pub fn fill(&mut self, world: &mut World) {
        let shown = world.site.shown();
        world.agent.chrome = true;
        if let Some(run) = &mut world.agent.run {
            run.stage = Stage::Saving;
            run.baseline = shown;
        }
        say_again(world);
    }

    /// The run asks for its permit: the request is journalled first.
    pub fn ask_permit(&mut self, world: &mut World) {
        let request = canon::fresh_request(world);
        let epoch = world.agent.epoch;
        let Some(run) = &mut world.agent.run else { return };
        if self.bug == Some(Bug::DropFence) {
            run.stage = Stage::Announced;
            return;
        }
        run.stage = Stage::Asked;
        run.request = request;
        let Run { posting, intent, lease, baseline, .. } = *run;
        let note = Note::Requested;
        world.agent.journal.push(Entry {
            posting,
            intent,
            lease,
            request,
            epoch,
            baseline,
            note,
            orphan: false,
        });
        say_again(world);
    }

    /// The run writes `WILL_CLICK`.
    pub fn announce(&mut self, world: &mut World) {
        let Some(run) = &mut world.agent.run else { return };
        run.stage = Stage::Announced;
        let request = run.request;
        if self.bug != Some(Bug::ClickBeforeFsync) {
            note(world, request, Note::WillClick);
        }
    }

    /// The one click.
    pub fn click(&mut self, world: &mut World) -> Result<(), String> {
        let Some(run) = &mut world.agent.run else { return Ok(()) };
        if self.strict {
            let announced = world.agent.journal.iter().any(|entry| {
                entry.request == run.request && entry.note == Note::WillClick && entry.lease == run.lease
            });
            if !announced {
                return Err(String::from("I3 is broken: a click without WILL_CLICK on the disk"));
            }
            if run.slept {
                return Err(String::from("I10 is broken: a click after a sleep without a fresh look"));
            }
            if run.late {
                return Err(String::from(
                    "I8 is broken: a click after the permit's life on the agent's own clocks",
                ));
            }
            if run.clicks > 0 {
                return Err(String::from("two clicks under one permit"));
            }
        }
        run.stage = Stage::Clicked;
        run.clicks += 1;
        world.site.posts.push((run.posting, run.lease));
        self.seen(Situation::Clicked);
        Ok(())
    }

    /// The run learns what became of its click, or of its permit; Chrome is closed, and the controller is told.
    pub fn decided(&mut self, world: &mut World, outcome: Outcome) {
        let Some(run) = &mut world.agent.run else { return };
        run.stage = Stage::Telling(outcome);
        let request = run.request;
        note(world, request, Note::Outcome(outcome));
        world.agent.chrome = false;
        say_again(world);
    }

    /// The run gets no answer to its click.
    pub fn no_answer(&mut self, world: &mut World) {
        if self.bug == Some(Bug::RetryClick)
            && let Some(run) = &mut world.agent.run
            && run.clicks < 2
        {
            run.stage = Stage::Announced;
            return;
        }
        self.decided(world, Outcome::Uncertain);
    }

    /// The run ends as it was asked to, before its click.
    pub fn stop(&mut self, world: &mut World) {
        let Some(run) = world.agent.run else { return };
        self.seen(Situation::Stopped);
        match run.stage {
            Stage::Granted | Stage::Looked => self.decided(world, Outcome::NotClicked(Reason::Cancelled)),
            _ => self.cut(world, Reason::Cancelled),
        }
    }

    /// Chrome dies under the run.
    pub fn chrome_crash(&mut self, world: &mut World) {
        world.agent.chrome = false;
        let Some(run) = world.agent.run else { return };
        match run.stage {
            Stage::Granted | Stage::Looked | Stage::Announced => {
                self.decided(world, Outcome::NotClicked(Reason::Passing));
            }
            Stage::Clicked => self.decided(world, Outcome::Uncertain),
            _ => self.cut(world, Reason::Passing),
        }
    }

    /// A run without a permit ends; an unanswered request for one is followed up.
    pub fn cut(&mut self, world: &mut World, reason: Reason) {
        let Some(run) = world.agent.run else { return };
        if run.stage == Stage::Asked {
            for entry in &mut world.agent.journal {
                entry.orphan |= entry.request == run.request;
            }
        }
        end_run(world, Ending::Failed(reason));
    }

    /// A look is taken.
    pub fn look(&mut self, world: &mut World, sight: Sight) {
        let shown = world.site.shown();
        let (seen, whole) = match sight {
            Sight::Whole => (shown, true),
            Sight::Blank => (0, true),
            Sight::Partial => (shown & 1 << CONTROL, false),
        };
        end_run(world, Ending::Looked { seen, whole });
    }

    /// The process dies. Chrome lives on, and finishes what it was told.
    pub fn crash(&mut self, world: &mut World) {
        let agent = &mut world.agent;
        agent.up = false;
        agent.epoch = 0;
        agent.run = None;
        agent.owed.clear();
        // The stream ends with the process.
        world.messages.retain(|message| !matches!(message, Message::Dispatch { .. }));
    }

    /// The process starts, and ends what is left of Chrome before anything else.
    pub fn restart(&mut self, world: &mut World) {
        let agent = &mut world.agent;
        agent.up = true;
        agent.chrome = false;
        for entry in &mut agent.journal {
            entry.orphan = true;
        }
    }

    /// The settler goes on with a request of a run that is over.
    pub fn recover(&mut self, world: &mut World, request: Number) {
        let Some(entry) = entry(world, request) else { return };
        let traces = Traces {
            permit: entry.note != Note::Requested,
            will_click: matches!(entry.note, Note::WillClick),
            outcome: matches!(entry.note, Note::Outcome(_)),
            damaged: false,
        };
        let outcome = match fence::after_restart(traces) {
            Recovery::AskAgain => {
                world.messages.push(arm_message(entry));
                return;
            }
            _ if self.bug == Some(Bug::ReusePermitAfterRestart) && !traces.outcome => {
                // Chrome is opened once more, and the click is sent under the old permit.
                world.site.posts.push((entry.posting, entry.lease));
                note(world, request, Note::Outcome(Outcome::Uncertain));
                return;
            }
            Recovery::ReportUncertain if self.bug == Some(Bug::DenyUnprovenClick) => {
                Outcome::NotClicked(Reason::Passing)
            }
            Recovery::ReportUncertain | Recovery::ReportDamaged => Outcome::Uncertain,
            Recovery::ReportNotClicked => {
                self.seen(Situation::ProvenNotClicked);
                Outcome::NotClicked(Reason::Passing)
            }
            Recovery::ReportOutcome => match entry.note {
                Note::Outcome(outcome) => outcome,
                _ => Outcome::Uncertain,
            },
        };
        note(world, request, Note::Outcome(outcome));
        world.messages.push(Message::Settle {
            posting: entry.posting,
            intent: entry.intent,
            request,
            outcome,
        });
    }

    /// A message goes its way: to the controller and back, or to the agent.
    pub fn send(&mut self, world: &mut World, message: Message, way: Way) -> Result<(), String> {
        if way != Way::Twice
            && let Some(at) = world.messages.iter().position(|waiting| *waiting == message)
        {
            world.messages.remove(at);
        }
        if way == Way::Lost {
            // What is lost on the stream is lost with the stream.
            if matches!(message, Message::Dispatch { .. } | Message::Ended(_)) {
                world.agent.epoch = 0;
            }
            return Ok(());
        }
        if let Message::Dispatch { posting, look, lease, intent } = message {
            return self.dispatched(world, posting, look, lease, intent, way);
        }
        let yes = self.receive(world, message)?;
        if way != Way::ReplyLost && world.agent.up {
            self.hear(world, message, yes);
        }
        Ok(())
    }

    fn dispatched(
        &mut self,
        world: &mut World,
        posting: Which,
        look: bool,
        lease: Number,
        intent: Number,
        way: Way,
    ) -> Result<(), String> {
        let acknowledge = if world.agent.run.is_some() {
            Event::Refuse(lease)
        } else {
            world.agent.run = Some(Run {
                posting,
                look,
                lease,
                intent,
                stage: Stage::Begun,
                baseline: 0,
                request: 0,
                late: false,
                slept: false,
                stop: false,
                forgotten: false,
                answer: Answer::None,
                clicks: 0,
            });
            world.agent.chrome = true;
            Event::Acknowledge(lease)
        };
        if way == Way::ReplyLost {
            // The acknowledgement is lost with the stream.
            world.agent.epoch = 0;
            return Ok(());
        }
        if !look {
            let row = world.db.rows[usize::from(posting)];
            if self.decide(world, posting, acknowledge)?.is_err() && row.lease != lease {
                self.seen(Situation::StaleWriteRefused);
            }
            return Ok(());
        }
        let at = world.db.looks.iter().position(|look| look.posting == posting && look.lease == lease);
        // The unique index: no parked look runs beside another job of the account.
        let parked = at.is_some_and(|at| world.db.looks[at].state == tradepost_domain::job::State::Parked);
        if let Some(at) = at
            && !(parked && self.is_running(world))
            && let Some(next) = self.domain.step_look(world.db.looks[at], acknowledge)
        {
            world.db.looks[at] = next;
        }
        Ok(())
    }

    /// The reply to a message arrives.
    fn hear(&mut self, world: &mut World, message: Message, yes: bool) {
        let (now, connected) = (world.agent.epoch, world.agent.epoch > 0);
        match message {
            Message::Prepared { lease, epoch, .. } => {
                let Some(run) =
                    world.agent.run.filter(|run| run.lease == lease && run.stage == Stage::Saving)
                else {
                    return;
                };
                if yes {
                    world.agent.run = Some(Run { stage: Stage::Filled, ..run });
                } else if epoch == now {
                    self.cut(world, Reason::Passing);
                }
            }
            Message::Arm { request, epoch, .. } => self.answered(world, request, epoch, yes),
            Message::Settle { request, outcome, .. } => {
                world.agent.journal.retain(|entry| entry.request != request);
                let telling = |run: &Run| run.request == request && matches!(run.stage, Stage::Telling(_));
                if world.agent.run.is_some_and(|run| telling(&run)) {
                    let ending = match outcome {
                        Outcome::Confirmed(_) if yes => Ending::Succeeded,
                        Outcome::NotClicked(reason) => Ending::Failed(reason),
                        Outcome::Confirmed(_) | Outcome::Uncertain => Ending::Failed(Reason::Uncertain),
                    };
                    end_run(world, ending);
                }
            }
            Message::Ended(owed) if connected => world.agent.owed.retain(|mine| *mine != owed),
            Message::Ended(_) | Message::Dispatch { .. } => {}
        }
    }

    /// The answer to a request for a permit.
    fn answered(&mut self, world: &mut World, request: Number, epoch: Number, yes: bool) {
        let now = world.agent.epoch;
        let Some(entry) = entry(world, request).filter(|entry| entry.note == Note::Requested) else { return };
        match (entry.orphan, yes) {
            (true, true) => {
                self.seen(Situation::PermitReturned);
                let outcome = Outcome::NotClicked(Reason::Passing);
                note(world, request, Note::Outcome(outcome));
            }
            (true, false) => world.agent.journal.retain(|entry| entry.request != request),
            (false, true) => {
                note(world, request, Note::Permit);
                if let Some(run) = &mut world.agent.run {
                    run.stage = Stage::Granted;
                }
            }
            // Asked over a stream that is over: asked again over the present one.
            (false, false) if epoch != now => {}
            (false, false) => {
                world.agent.journal.retain(|entry| entry.request != request);
                end_run(world, Ending::Failed(Reason::Passing));
            }
        }
    }

    /// A click takes effect at the site.
    pub fn lands(&mut self, world: &mut World, post: usize, landing: Landing) {
        let (posting, lease) = world.site.posts.remove(post);
        if !world.agent.up && world.agent.chrome {
            self.seen(Situation::ZombieChrome);
        }
        let answer = match landing {
            Landing::Shown | Landing::Hidden => {
                let show = if landing == Landing::Shown { Show::Shown } else { Show::Hidden };
                world.site.items.push(Item { posting, show });
                Answer::Taken(u8::try_from(world.site.items.len() - 1).unwrap_or(u8::MAX))
            }
            Landing::Refused => Answer::Refused,
            Landing::Dropped => return,
        };
        if let Some(run) = &mut world.agent.run
            && run.lease == lease
            && run.stage == Stage::Clicked
        {
            run.answer = answer;
        }
    }
}

/// Sends what the run waits for an answer to, unless it is under way.
pub fn say_again(world: &mut World) {
    let Some(run) = world.agent.run else { return };
    let epoch = world.agent.epoch;
    let message = match run.stage {
        Stage::Saving => Message::Prepared {
            posting: run.posting,
            intent: run.intent,
            lease: run.lease,
            epoch,
            baseline: run.baseline,
        },
        Stage::Asked => {
            let Some(entry) = entry(world, run.request) else { return };
            arm_message(Entry { epoch, ..entry })
        }
        Stage::Telling(outcome) => {
            Message::Settle { posting: run.posting, intent: run.intent, request: run.request, outcome }
        }
        _ => return,
    };
    if !is_under_way(world, &run) {
        world.messages.push(message);
    }
}

/// Whether what the run waits for an answer to is under way.
pub fn is_under_way(world: &World, run: &Run) -> bool {
    world.messages.iter().any(|message| match (run.stage, message) {
        (Stage::Saving, Message::Prepared { lease, .. }) => *lease == run.lease,
        (Stage::Asked, Message::Arm { request, .. })
        | (Stage::Telling(_), Message::Settle { request, .. }) => *request == run.request,
        _ => false,
    })
}

/// Whether a message about a request is under way.
pub fn is_asked(world: &World, wanted: Number) -> bool {
    world.messages.iter().any(|message| match message {
        Message::Arm { request, .. } | Message::Settle { request, .. } => *request == wanted,
        _ => false,
    })
}

fn arm_message(entry: Entry) -> Message {
    let Entry { posting, intent, lease, request, epoch, baseline, .. } = entry;
    Message::Arm { posting, intent, lease, epoch, request, baseline }
}

fn entry(world: &World, request: Number) -> Option<Entry> {
    world.agent.journal.iter().find(|entry| entry.request == request).copied()
}

fn note(world: &mut World, request: Number, note: Note) {
    for entry in &mut world.agent.journal {
        if entry.request == request {
            entry.note = note;
        }
    }
}

/// The run is over; its end is told, now or when there is a stream.
fn end_run(world: &mut World, ending: Ending) {
    world.agent.chrome = false;
    let Some(run) = world.agent.run.take() else { return };
    if run.forgotten {
        return;
    }
    let owed = Owed { posting: run.posting, look: run.look, lease: run.lease, ending };
    world.agent.owed.push(owed);
    if world.agent.epoch > 0 {
        world.messages.push(Message::Ended(owed));
    }
}
