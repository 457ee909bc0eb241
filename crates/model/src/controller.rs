//! The controllers: what they do with a message, a heartbeat, a sweep and a person's wish.
//!
//! Any number of controllers run on one database. Each of their writes is one compare-and-set transaction, so that two of
//! them at once are the same as one after the other; what a controller holds in memory (streams) is lost with it. The
//! order of decisions is that of `controller/src/service`; the decisions themselves are the domain's.

use tradepost_domain::{job, publish};

use crate::bug::Bug;
use crate::canon;
use crate::model::{Model, Situation};
use crate::rows::{Event, Stepped};
use crate::world::{Ending, LookJob, Message, Number, Outcome, Owed, Reason, Which, World};

/// Why nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// By the domain's rules, or a stale stream.
    Rules,
    /// Another job of the account runs.
    Running,
    /// Another permit of the account is unsettled.
    Unsettled,
    /// The listing belongs to another posting.
    Taken,
}

/// What a transaction comes to: a step that breaks a rule outright is an error.
pub type Written = Result<Result<(), Refusal>, String>;

impl Model {
    /// Decides `event` for a posting and writes it, unless a unique index forbids it.
    pub fn decide(&mut self, world: &mut World, posting: Which, event: Event) -> Written {
        let at = usize::from(posting);
        let row = world.db.rows[at];
        let Some(stepped) = self.domain.step(row, event) else { return Ok(Err(Refusal::Rules)) };
        if let Some(refusal) = self.conflict(world, posting, &stepped) {
            return Ok(Err(refusal));
        }
        let Stepped { row: mut next, renewed, looks } = stepped;
        if renewed {
            next.intent = canon::fresh_intent(world, posting);
        }
        // A fresh intent replaces what was looked for.
        for _ in 0..looks {
            let look = LookJob {
                posting,
                intent: row.intent,
                state: job::State::Queued,
                attempt: 0,
                lease: 0,
                old: false,
            };
            world.db.looks.push(look);
        }
        world.db.rows[at] = next;
        self.note_row(row.state, next, event);
        Ok(Ok(()))
    }

    /// The unique indexes of the store.
    fn conflict(&self, world: &World, posting: Which, stepped: &Stepped) -> Option<Refusal> {
        let next = stepped.row;
        let others = || {
            let rows = world.db.rows.iter().enumerate();
            rows.filter(move |(at, _)| *at != usize::from(posting)).map(|(_, row)| row)
        };
        let runs = |state| matches!(state, job::State::Leased | job::State::Running);
        if runs(next.job)
            && (others().any(|row| runs(row.job)) || world.db.looks.iter().any(|look| runs(look.state)))
        {
            return Some(Refusal::Running);
        }
        let mutex = self.bug != Some(Bug::ForgetAccountMutex);
        if mutex && next.state.holds_account() && others().any(|row| row.state.holds_account()) {
            return Some(Refusal::Unsettled);
        }
        let unique = self.bug != Some(Bug::ConfirmByTitle);
        if unique && next.item > 0 && others().any(|row| row.item == next.item) {
            return Some(Refusal::Taken);
        }
        None
    }

    /// A message of the agent is processed. Says whether the reply is a yes.
    pub fn receive(&mut self, world: &mut World, message: Message) -> Result<bool, String> {
        match message {
            Message::Prepared { posting, intent, lease, epoch, baseline } => {
                let row = world.db.rows[usize::from(posting)];
                if row.intent != intent || !self.is_newest_stream(world, epoch) {
                    self.seen(Situation::StaleWriteRefused);
                    return Ok(false);
                }
                let stale = self.bug == Some(Bug::StaleBaseline) && row.state == publish::State::Prepared;
                let baseline = if stale { row.baseline } else { baseline };
                Ok(self.decide(world, posting, Event::Prepared(lease, baseline))?.is_ok())
            }
            Message::Arm { .. } => self.arm(world, message),
            Message::Settle { posting, intent, request, outcome } => {
                self.settle(world, posting, intent, request, outcome)
            }
            Message::Ended(owed) => self.ended(world, owed).map(|()| true),
            Message::Dispatch { .. } => Ok(false),
        }
    }

    fn is_newest_stream(&mut self, world: &World, epoch: Number) -> bool {
        let newest = world.db.epoch == epoch;
        if !newest {
            self.seen(Situation::OldStreamRefused);
        }
        newest || self.bug == Some(Bug::SkipEpochCheck)
    }

    /// `AcquirePublishPermit`.
    fn arm(&mut self, world: &mut World, message: Message) -> Result<bool, String> {
        let Message::Arm { posting, intent, lease, epoch, request, baseline } = message else {
            return Ok(false);
        };
        let row = world.db.rows[usize::from(posting)];
        if row.intent != intent {
            self.seen(Situation::StaleWriteRefused);
            return Ok(false);
        }
        let (mut asking, mut held) = (lease, baseline);
        match self.bug {
            Some(Bug::SkipRunLease) => asking = row.lease,
            Some(Bug::StaleBaseline) => held = row.baseline,
            _ => {}
        }
        // A repeat of an answered request writes nothing, so that the stream does not matter.
        let repeat = row.state == publish::State::Armed && row.permit == request;
        if !repeat && !self.is_newest_stream(world, epoch) {
            return Ok(false);
        }
        match self.decide(world, posting, Event::Arm(request, asking, held))? {
            Ok(()) if repeat => {
                self.seen(Situation::PermitAskedAgain);
                Ok(true)
            }
            Ok(()) => {
                // I1, seen from outside: what was written was asked for by the present run over the newest stream.
                if row.lease != lease {
                    return Err(String::from(
                        "I1 is broken: a permit was given to a run that is not the present one",
                    ));
                }
                if world.db.epoch != epoch {
                    return Err(String::from("I1 is broken: a permit was given over an old stream"));
                }
                self.seen(Situation::Armed);
                Ok(true)
            }
            Err(Refusal::Unsettled) => {
                self.seen(Situation::AccountBusy);
                Ok(false)
            }
            Err(_) => {
                self.seen(Situation::StaleWriteRefused);
                Ok(false)
            }
        }
    }

    /// `ReportPublishOutcome`: late and repeated settlements change nothing.
    fn settle(
        &mut self,
        world: &mut World,
        posting: Which,
        intent: Number,
        request: Number,
        outcome: Outcome,
    ) -> Result<bool, String> {
        let row = world.db.rows[usize::from(posting)];
        if row.intent != intent {
            self.seen(Situation::LateSettlement);
            return Ok(true);
        }
        if row.permit != request {
            return Ok(false);
        }
        let event = match outcome {
            Outcome::Confirmed(item) => Event::Confirm(request, item),
            Outcome::NotClicked(_) => Event::NotClicked(request),
            Outcome::Uncertain => Event::Uncertain(request),
        };
        match self.decide(world, posting, event)? {
            Err(Refusal::Taken) => {
                self.seen(Situation::ItemTaken);
                Ok(self.decide(world, posting, Event::Uncertain(request))?.is_ok())
            }
            Err(_) => {
                self.seen(Situation::LateSettlement);
                Ok(true)
            }
            Ok(()) => Ok(true),
        }
    }

    /// A run has ended, as its agent tells.
    fn ended(&mut self, world: &mut World, owed: Owed) -> Result<(), String> {
        let Owed { posting, look, lease, ending } = owed;
        if look {
            return self.look_ended(world, posting, lease, ending);
        }
        let row = world.db.rows[usize::from(posting)];
        if row.lease != lease {
            self.seen(Situation::StaleWriteRefused);
            return Ok(());
        }
        let event = match ending {
            Ending::Succeeded if row.job == job::State::Succeeded => return Ok(()),
            Ending::Succeeded if row.state.holds_account() => Event::Succeed(lease),
            Ending::Succeeded | Ending::Looked { .. } => Event::Fail(lease, Reason::Passing),
            Ending::Failed(reason) => Event::Fail(lease, reason),
        };
        self.decide(world, posting, event).map(drop)
    }

    fn look_ended(
        &mut self,
        world: &mut World,
        posting: Which,
        lease: Number,
        ending: Ending,
    ) -> Result<(), String> {
        let Some(at) = world.db.looks.iter().position(|look| look.posting == posting && look.lease == lease)
        else {
            return Ok(());
        };
        let look = world.db.looks[at];
        let row = world.db.rows[usize::from(posting)];
        let wanted = row.state == publish::State::Unknown && look.intent == row.intent;
        match ending {
            Ending::Looked { seen, whole } => {
                let Some(ended) = self.domain.step_look(look, Event::Succeed(lease)) else { return Ok(()) };
                if wanted {
                    match self.decide(world, posting, self.judgement(world, &look, seen, whole))? {
                        Err(Refusal::Taken) => {
                            self.seen(Situation::ItemTaken);
                            self.decide(world, posting, Event::AskPerson).map(drop)?;
                        }
                        Err(_) => return Ok(()),
                        Ok(()) => {}
                    }
                }
                self.put_look(world, at, ended);
            }
            Ending::Failed(reason) => {
                let Some(ended) = self.domain.step_look(look, Event::Fail(lease, reason)) else {
                    return Ok(());
                };
                // Given up: the question goes to a person in the same transaction, so that nothing waits for nobody (I7).
                if ended.state == job::State::Failed && wanted && self.bug != Some(Bug::ForgetLook) {
                    self.seen(Situation::LookGivenUp);
                    self.decide(world, posting, Event::AskPerson).map(drop)?;
                }
                self.put_look(world, at, ended);
            }
            Ending::Succeeded => {}
        }
        Ok(())
    }

    /// What a look's report is judged as.
    fn judgement(&self, world: &World, look: &LookJob, seen: u8, whole: bool) -> Event {
        let LookJob { posting, old, .. } = *look;
        let baseline = world.db.rows[usize::from(posting)].baseline;
        let matching = self.matching(world, posting);
        match self.bug {
            Some(Bug::AbsentAtOnce) if seen & !baseline == 0 => Event::ResolvedNotPublished,
            Some(Bug::SkipPositiveControl) => Event::Looked(seen | baseline, matching, whole, old),
            Some(Bug::ConfirmByTitle) if seen & matching != 0 => {
                let first = u8::try_from((seen & matching).trailing_zeros()).unwrap_or(u8::MAX);
                Event::Confirm(world.db.rows[usize::from(posting)].permit, first)
            }
            _ => Event::Looked(seen, matching, whole, old),
        }
    }

    fn put_look(&mut self, world: &mut World, at: usize, look: LookJob) {
        if look.state.is_terminal() {
            world.db.looks.remove(at);
        } else {
            world.db.looks[at] = look;
        }
    }

    /// What `reconcile_runs` does with a greeting (`first`) or a heartbeat.
    pub fn reconcile(&mut self, world: &mut World, first: bool) -> Result<(), String> {
        let told = told(world);
        for posting in 0..world.db.rows.len() {
            let which = Which::try_from(posting).unwrap_or(Which::MAX);
            let row = world.db.rows[posting];
            let is_told = told.contains(&(false, which, row.lease));
            match (row.job, is_told) {
                (job::State::Leased, true) => {
                    self.decide(world, which, Event::Acknowledge(row.lease)).map(drop)?;
                }
                (job::State::Parked, true) => {
                    match self.decide(world, which, Event::Acknowledge(row.lease))? {
                        Err(Refusal::Running) => self.decide(world, which, Event::AgentBack).map(drop)?,
                        Err(_) => {}
                        Ok(()) => self.seen(Situation::ParkedAndResumed),
                    }
                }
                (job::State::Parked, false) => self.decide(world, which, Event::AgentBack).map(drop)?,
                (job::State::Leased | job::State::Running, false) if first => {
                    self.decide(world, which, Event::AgentBack).map(drop)?;
                }
                _ => {}
            }
            if row.cancel
                && let Some(run) = &mut world.agent.run
                && !run.look
                && (run.posting, run.lease) == (which, row.lease)
                && matches!(row.job, job::State::Leased | job::State::Running)
            {
                run.stop = true;
            }
        }
        self.reconcile_looks(world, &told, first);
        forget(world);
        Ok(())
    }

    fn reconcile_looks(&mut self, world: &mut World, told: &[(bool, Which, Number)], first: bool) {
        for at in (0..world.db.looks.len()).rev() {
            let look = world.db.looks[at];
            let is_told = told.contains(&(true, look.posting, look.lease));
            let event = match (look.state, is_told) {
                (job::State::Leased | job::State::Parked, true) => Event::Acknowledge(look.lease),
                (job::State::Parked, false) => Event::AgentBack,
                (job::State::Leased | job::State::Running, false) if first => Event::AgentBack,
                _ => continue,
            };
            let busy = look.state == job::State::Parked && self.is_running(world);
            let event = if busy { Event::AgentBack } else { event };
            if let Some(next) = self.domain.step_look(look, event) {
                self.put_look(world, at, next);
            }
        }
    }

    /// Whether a job of the account is leased or running: the unique index on jobs.
    pub fn is_running(&self, world: &World) -> bool {
        let runs = |state| matches!(state, job::State::Leased | job::State::Running);
        world.db.rows.iter().any(|row| runs(row.job)) || world.db.looks.iter().any(|look| runs(look.state))
    }

    /// A controller claims a job and dispatches it.
    pub fn claim(&mut self, world: &mut World, posting: Which, look: bool) -> Result<(), String> {
        let lease = world.db.leases + 1;
        let intent = if look {
            let Some(at) = waiting_look(world, posting) else { return Ok(()) };
            let job = world.db.looks[at];
            let Some(next) = self.domain.step_look(job, Event::Claim(lease)) else { return Ok(()) };
            world.db.looks[at] = LookJob { old: false, ..next };
            job.intent
        } else {
            if self.decide(world, posting, Event::Claim(lease))?.is_err() {
                return Ok(());
            }
            world.db.rows[usize::from(posting)].intent
        };
        world.db.leases = lease;
        world.messages.push(Message::Dispatch { posting, look, lease, intent });
        Ok(())
    }

    /// The sweep finds a lease that has ended.
    pub fn lease_expires(&mut self, world: &mut World, posting: Which, look: bool) -> Result<(), String> {
        if !look {
            let armed = world.db.rows[usize::from(posting)].state == publish::State::Armed;
            if armed {
                self.seen(Situation::LeaseEndedWhileArmed);
            }
            return self.decide(world, posting, Event::LeaseExpired).map(drop);
        }
        let leased = |look: &&LookJob| matches!(look.state, job::State::Leased | job::State::Running);
        let at = world.db.looks.iter().position(|look| look.posting == posting && leased(&look));
        if let Some(at) = at
            && let Some(next) = self.domain.step_look(world.db.looks[at], Event::LeaseExpired)
        {
            self.put_look(world, at, next);
        }
        Ok(())
    }

    /// The sweep finds a click that nobody reported on.
    pub fn overdue(&mut self, world: &mut World, posting: Which) -> Result<(), String> {
        if self.bug == Some(Bug::BackToPrepared) {
            let row = &mut world.db.rows[usize::from(posting)];
            row.state = publish::State::Prepared;
            row.permit = 0;
            row.job = job::State::Queued;
            return Ok(());
        }
        self.seen(Situation::ReportOverdue);
        self.decide(world, posting, Event::ReportOverdue).map(drop)
    }
}

/// The look of a posting that waits for its turn.
pub fn waiting_look(world: &World, posting: Which) -> Option<usize> {
    world.db.looks.iter().position(|look| look.posting == posting && look.state == job::State::Queued)
}

/// The runs that the agent tells of: under way, and ended without a confirmation.
fn told(world: &World) -> Vec<(bool, Which, Number)> {
    let run =
        world.agent.run.iter().filter(|run| !run.forgotten).map(|run| (run.look, run.posting, run.lease));
    let owed = world.agent.owed.iter().map(|owed| (owed.look, owed.posting, owed.lease));
    run.chain(owed).collect()
}

/// The agent is told which runs nobody wants: see `domain::lease::verdict`.
fn forget(world: &mut World) {
    let keeps = |db: &crate::world::Database, look: bool, posting: Which, lease: Number| {
        let state = if look {
            db.looks.iter().find(|look| look.posting == posting && look.lease == lease).map(|look| look.state)
        } else {
            let row = db.rows[usize::from(posting)];
            (row.lease == lease).then_some(row.job)
        };
        matches!(state, Some(job::State::Leased | job::State::Running | job::State::Uncertain))
    };
    if let Some(run) = &mut world.agent.run
        && !keeps(&world.db, run.look, run.posting, run.lease)
    {
        run.stop = true;
        run.forgotten = true;
    }
    let db = &world.db;
    world.agent.owed.retain(|owed| keeps(db, owed.look, owed.posting, owed.lease));
}
