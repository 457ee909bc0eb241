//! The composed system: what may happen, what becomes of it, and what must hold.

use std::collections::BTreeSet;

use tradepost_domain::fence::Next;
use tradepost_domain::id::IntentId;
use tradepost_domain::invariant::{self, Waiting};
use tradepost_domain::reconcile::SCHEDULE;
use tradepost_domain::{job, posting, publish};

use crate::action::{Action, Expected, Landing, Sight, Way};
use crate::agent::{is_asked, is_under_way, next_with_permit, say_again};
use crate::bug::Bug;
use crate::canon;
use crate::configuration::{Configuration, Seller, Strictness, Titles};
use crate::controller::waiting_look;
use crate::explorer::System;
use crate::rows::{self, Domain, Event};
use crate::world::{
    Agent, Answer, CONTROL, Database, Item, Items, Message, Outcome, Reason, Row, Run, SELLER, Show, Since,
    Site, Stage, Which, World,
};

/// Something worth having seen: an exploration that never got there would prove little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    /// A permit was given.
    Armed,
    /// A repeated request got its permit again.
    PermitAskedAgain,
    /// A permit whose answer was lost was given back.
    PermitReturned,
    /// A permit ran out before its click.
    PermitExpired,
    /// The form was looked at again after a sleep.
    LookedAfterSleep,
    /// A click was sent.
    Clicked,
    /// Confirmed by the run that clicked.
    ConfirmedByRun,
    /// Confirmed by a later look.
    ConfirmedByLook,
    /// Confirmed by a person.
    ConfirmedByPerson,
    /// Proven absent.
    ProvenAbsent,
    /// Several new listings.
    Duplicate,
    /// A person is asked about a click.
    PersonAsked,
    /// An uncertain publication turned out not clicked.
    UnknownNotClicked,
    /// The journal of an earlier process proved that no click was sent.
    ProvenNotClicked,
    /// A write of an older run was refused.
    StaleWriteRefused,
    /// A write over an older stream was refused.
    OldStreamRefused,
    /// No permit while another is unsettled.
    AccountBusy,
    /// A listing that belongs to another posting was not taken for this one's.
    ItemTaken,
    /// A settlement came too late to change anything.
    LateSettlement,
    /// The report's deadline passed.
    ReportOverdue,
    /// The stream was lost while a permit was out.
    FailoverWhileArmed,
    /// A lease ended while a permit was out.
    LeaseEndedWhileArmed,
    /// A parked run went on with its agent.
    ParkedAndResumed,
    /// A run ended as it was asked to.
    Stopped,
    /// Chrome finished a click after its agent had died.
    ZombieChrome,
    /// A look was given up.
    LookGivenUp,
    /// A dead letter.
    GivenUp,
    /// Cancelled.
    Cancelled,
    /// A fresh generation followed.
    FreshGeneration,
}

/// The composed system.
#[derive(Debug)]
pub struct Model {
    pub(crate) domain: Domain,
    pub(crate) bug: Option<Bug>,
    pub(crate) strict: bool,
    configuration: Configuration,
    situations: BTreeSet<Situation>,
}

impl Model {
    /// The system of a configuration.
    pub fn new(configuration: Configuration) -> Self {
        Self {
            domain: Domain::default(),
            bug: configuration.bug,
            strict: configuration.strictness == Strictness::Invariants,
            configuration,
            situations: BTreeSet::new(),
        }
    }

    /// What was seen so far.
    pub fn situations(&self) -> &BTreeSet<Situation> {
        &self.situations
    }

    pub(crate) fn seen(&mut self, situation: Situation) {
        self.situations.insert(situation);
    }

    /// Notes what a decision on a posting led to.
    pub(crate) fn note_row(&mut self, before: publish::State, row: Row, event: Event) {
        use publish::State;
        let situation = match (row.state, event) {
            (State::Confirmed, Event::Confirm(..)) => Situation::ConfirmedByRun,
            (State::Confirmed, Event::Looked(..)) => Situation::ConfirmedByLook,
            (State::Confirmed, Event::ResolvedPublished(_)) => Situation::ConfirmedByPerson,
            (State::Absent, Event::Looked(..)) => Situation::ProvenAbsent,
            (State::Duplicate, _) => Situation::Duplicate,
            (State::NeedsHuman, _) => Situation::PersonAsked,
            (State::Preparing, Event::NotClicked(_)) if before == State::Unknown => {
                Situation::UnknownNotClicked
            }
            (State::Preparing, Event::NotClicked(_) | Event::Retry) => Situation::FreshGeneration,
            _ if row.job == job::State::Failed => Situation::GivenUp,
            _ if row.job == job::State::Cancelled => Situation::Cancelled,
            _ => return,
        };
        self.seen(situation);
    }

    /// Listings that look like the posting's, by title and price.
    pub(crate) fn matching(&self, world: &World, posting: Which) -> Items {
        let same = |item: &Item| match self.configuration.titles {
            Titles::Same => true,
            Titles::Different => item.posting == posting,
        };
        let items = world.site.items.iter().enumerate().skip(CONTROL + 1).filter(|(_, item)| same(item));
        items.fold(0, |matching, (at, _)| matching | 1 << at)
    }

    fn agent_actions(&self, world: &World, into: &mut Vec<Action>) {
        let agent = &world.agent;
        if !agent.up {
            into.push(Action::AgentRestart);
            return;
        }
        into.push(Action::AgentCrash);
        if agent.epoch == 0 {
            into.push(Action::Connect);
            into.push(Action::ConnectUnheard);
        } else {
            into.push(Action::Beat);
            into.push(Action::StreamLost);
        }
        for entry in agent.journal.iter().filter(|entry| entry.orphan && !is_asked(world, entry.request)) {
            into.push(Action::Recover(entry.request));
        }
        let Some(run) = &agent.run else { return };
        into.push(Action::ChromeCrash);
        if run.stop && run.stage < Stage::Announced {
            into.push(Action::Stop);
        }
        let unanswered = matches!(run.stage, Stage::Saving | Stage::Asked | Stage::Telling(_));
        if unanswered && agent.epoch > 0 && !is_under_way(world, run) {
            into.push(Action::SayAgain);
        }
        self.stage_actions(world, run, into);
    }

    fn stage_actions(&self, world: &World, run: &Run, into: &mut Vec<Action>) {
        if run.stage < Stage::Asked {
            into.extend([Action::RunFails(Reason::Passing), Action::RunFails(Reason::Person)]);
        }
        match run.stage {
            Stage::Begun if run.look => {
                into.extend([Sight::Whole, Sight::Blank, Sight::Partial].map(Action::Look));
            }
            Stage::Begun if world.agent.epoch > 0 => into.push(Action::Fill),
            Stage::Filled if world.agent.epoch > 0 => into.push(Action::AskPermit),
            Stage::Granted | Stage::Looked | Stage::Announced => {
                if !run.late {
                    into.push(Action::LifeOver);
                }
                if !run.slept {
                    into.push(Action::Sleep);
                }
                let seen = match self.bug {
                    Some(Bug::SkipLookAfterSleep) => Run { slept: false, ..*run },
                    Some(Bug::IgnorePermitLife) => Run { late: false, ..*run },
                    _ => *run,
                };
                into.push(match next_with_permit(&seen) {
                    Next::Look => Action::LookAtForm,
                    Next::Announce => Action::Announce,
                    Next::Click => Action::Click,
                    Next::GiveBack => Action::GiveBack,
                });
            }
            Stage::Asked if !run.late => into.push(Action::LifeOver),
            Stage::Clicked => self.answer_actions(world, run, into),
            _ => {}
        }
    }

    fn answer_actions(&self, world: &World, run: &Run, into: &mut Vec<Action>) {
        if run.answer != Answer::None {
            into.push(Action::ReadAnswer);
        }
        into.push(Action::NoAnswer);
        let new = world.site.shown() & !run.baseline;
        if new.count_ones() == 1 && new & self.matching(world, run.posting) != 0 {
            into.push(Action::FindNew(u8::try_from(new.trailing_zeros()).unwrap_or(u8::MAX)));
        }
    }

    fn controller_actions(&self, world: &World, into: &mut Vec<Action>) {
        let connected = world.agent.up && world.agent.epoch == world.db.epoch && world.db.epoch > 0;
        let free = !self.is_running(world);
        let settled = !world.db.rows.iter().any(|row| row.state.holds_account());
        let runs = |state| matches!(state, job::State::Leased | job::State::Running);
        let silent = if world.agent.epoch == 0 { Expected::Yes } else { Expected::No };
        for (at, row) in world.db.rows.iter().enumerate() {
            let which = Which::try_from(at).unwrap_or(Which::MAX);
            let open = settled || self.bug == Some(Bug::ForgetAccountMutex);
            if connected && free && open && row.job == job::State::Queued {
                into.push(Action::Claim(which, false));
            }
            if connected
                && free
                && waiting_look(world, which).is_some()
                && (!is_last_look(row) || is_quiet(world))
            {
                into.push(Action::Claim(which, true));
            }
            if runs(row.job) {
                into.push(Action::LeaseExpires(which, false, silent));
            }
            let looks = world.db.looks.iter().any(|look| look.posting == which && runs(look.state));
            if looks {
                into.push(Action::LeaseExpires(which, true, silent));
            }
            if row.state == publish::State::Armed {
                let speaks =
                    world.agent.up && world.agent.journal.iter().any(|entry| entry.request == row.permit);
                into.push(Action::Overdue(which, if speaks { Expected::No } else { Expected::Yes }));
            }
        }
        if may_pass_a_day(world) {
            into.push(Action::DayPasses);
        }
    }

    fn site_actions(&self, world: &World, into: &mut Vec<Action>) {
        for post in 0..world.site.posts.len() {
            let post = u8::try_from(post).unwrap_or(u8::MAX);
            let landings = [Landing::Shown, Landing::Hidden, Landing::Refused, Landing::Dropped];
            into.extend(landings.map(|landing| Action::Lands(post, landing)));
        }
        for (at, item) in world.site.items.iter().enumerate() {
            let at = u8::try_from(at).unwrap_or(u8::MAX);
            match item.show {
                Show::Hidden => into.push(Action::Surfaces(at)),
                Show::Shown => into.push(Action::SellerDeletes(at)),
                Show::Gone => {}
            }
        }
        // Sellers are told not to post by hand while a publication is under way.
        let unsettled = world.db.rows.iter().any(|row| row.state.holds_account());
        let careful = self.configuration.seller == Seller::Careful;
        let quiet = !careful || is_quiet(world) && world.agent.journal.is_empty() && !unsettled;
        if quiet && world.site.items.len() < 6 {
            into.push(Action::SellerPosts);
        }
    }

    fn person_actions(&self, world: &World, into: &mut Vec<Action>) {
        for (at, row) in world.db.rows.iter().enumerate() {
            let which = Which::try_from(at).unwrap_or(Which::MAX);
            if !row.job.is_terminal() && !row.cancel {
                into.push(Action::Cancel(which));
            }
            if matches!(row.job, job::State::Failed | job::State::NeedsHuman) {
                into.push(Action::Retry(which));
            }
            if matches!(
                row.state,
                publish::State::Unknown | publish::State::Duplicate | publish::State::NeedsHuman
            ) {
                for item in self.found_by_person(world, which) {
                    into.push(Action::ResolvePublished(which, item));
                }
                if is_surely_absent(world, which) {
                    into.push(Action::ResolveNotPublished(which));
                }
            }
            let waits =
                |look: &&crate::world::LookJob| look.posting == which && look.state == job::State::NeedsHuman;
            if world.db.looks.iter().any(|look| waits(&look)) {
                into.push(Action::ResumeLook(which));
            }
        }
    }

    /// People are right: they name a listing that is the posting's.
    fn found_by_person(&self, world: &World, posting: Which) -> Vec<u8> {
        let items = (0..).zip(&world.site.items);
        items
            .filter(|(_, item)| item.posting == posting && item.show == Show::Shown)
            .map(|(at, _)| at)
            .collect()
    }

    fn happen(&mut self, world: &mut World, action: Action) -> Result<(), String> {
        match action {
            Action::Connect | Action::ConnectUnheard => {
                world.db.epoch += 1;
                if action == Action::Connect {
                    world.agent.epoch = world.db.epoch;
                }
                self.reconcile(world, true)?;
                if action == Action::Connect {
                    tell_ends(world);
                }
            }
            Action::Beat => self.reconcile(world, false)?,
            Action::StreamLost => {
                if world.db.rows.iter().any(|row| row.state == publish::State::Armed) {
                    self.seen(Situation::FailoverWhileArmed);
                }
                world.agent.epoch = 0;
                world.messages.retain(|message| !matches!(message, Message::Dispatch { .. }));
            }
            Action::Send(message, way) => self.send(world, message, way)?,
            Action::Claim(posting, look) => self.claim(world, posting, look)?,
            Action::LeaseExpires(posting, look, _) => self.lease_expires(world, posting, look)?,
            Action::Overdue(posting, _) => self.overdue(world, posting)?,
            Action::DayPasses => {
                for row in &mut world.db.rows {
                    if row.first_clean == Since::Lately {
                        row.first_clean = Since::LongAgo;
                    }
                }
                for look in world.db.looks.iter_mut().filter(|look| look.state != job::State::Queued) {
                    look.old = true;
                }
            }
            action => return self.happen_outside(world, action),
        }
        Ok(())
    }

    /// What happens on the PC, at the site and among people.
    fn happen_outside(&mut self, world: &mut World, action: Action) -> Result<(), String> {
        match action {
            Action::AgentCrash => self.crash(world),
            Action::AgentRestart => self.restart(world),
            Action::ChromeCrash => self.chrome_crash(world),
            Action::Fill => self.fill(world),
            Action::SayAgain => say_again(world),
            Action::AskPermit => self.ask_permit(world),
            Action::Announce => self.announce(world),
            Action::Click => self.click(world)?,
            Action::GiveBack => {
                self.seen(Situation::PermitExpired);
                self.decided(world, Outcome::NotClicked(Reason::Passing));
            }
            Action::Stop => self.stop(world),
            Action::RunFails(reason) => self.cut(world, reason),
            Action::ReadAnswer => match world.agent.run.map(|run| run.answer) {
                Some(Answer::Taken(item)) => self.decided(world, Outcome::Confirmed(item)),
                Some(Answer::Refused) => self.decided(world, Outcome::NotClicked(Reason::Refused)),
                _ => {}
            },
            Action::NoAnswer => self.no_answer(world),
            Action::FindNew(item) => self.decided(world, Outcome::Confirmed(item)),
            Action::Look(sight) => self.look(world, sight),
            Action::Recover(request) => self.recover(world, request),
            Action::Lands(post, landing) => self.lands(world, usize::from(post), landing),
            Action::Surfaces(item) => world.site.items[usize::from(item)].show = Show::Shown,
            Action::SellerDeletes(item) => world.site.items[usize::from(item)].show = Show::Gone,
            Action::SellerPosts => world.site.items.push(Item { posting: SELLER, show: Show::Shown }),
            Action::Cancel(posting) => self.decide(world, posting, Event::RequestCancel).map(drop)?,
            Action::Retry(posting) => self.decide(world, posting, Event::Retry).map(drop)?,
            Action::ResolvePublished(posting, item) => {
                self.decide(world, posting, Event::ResolvedPublished(item)).map(drop)?;
            }
            Action::ResolveNotPublished(posting) => {
                self.decide(world, posting, Event::ResolvedNotPublished).map(drop)?;
            }
            Action::ResumeLook(posting) => {
                let waits = |look: &crate::world::LookJob| {
                    look.posting == posting && look.state == job::State::NeedsHuman
                };
                let at = world.db.looks.iter().position(waits);
                if let Some(at) = at
                    && let Some(next) = self.domain.step_look(world.db.looks[at], Event::Retry)
                {
                    world.db.looks[at] = next;
                }
            }
            Action::Sleep | Action::LifeOver | Action::LookAtForm => {
                if let Some(run) = &mut world.agent.run {
                    match action {
                        Action::Sleep => run.slept = true,
                        Action::LifeOver => run.late = true,
                        _ => {
                            if run.slept {
                                self.situations.insert(Situation::LookedAfterSleep);
                            }
                            (run.stage, run.slept) = (Stage::Looked, false);
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What must hold in every state, beyond what each step checks.
    fn consequences(world: &World) -> Result<(), String> {
        for (at, row) in world.db.rows.iter().enumerate() {
            let posting = Which::try_from(at).unwrap_or(Which::MAX);
            let name = if at == 0 { "A" } else { "B" };
            let live = world.site.live(posting);
            if live > 1 {
                return Err(format!("DUPLICATE: posting {name} has {live} listings"));
            }
            if row.item > 0 && world.site.items[usize::from(row.item - 1)].posting != posting {
                return Err(format!("WRONG: posting {name} is confirmed by a listing that is not its own"));
            }
            let given_up = matches!(rows::shown(*row), posting::State::Failed | posting::State::Cancelled);
            if given_up && live > 0 {
                return Err(format!(
                    "LOST: posting {name} counts as {:?} while its listing exists",
                    rows::shown(*row)
                ));
            }
        }
        Ok(())
    }

    fn invariants(&mut self, world: &World) -> Result<(), String> {
        let intents: Vec<_> = (0..).zip(&world.db.rows).map(|(at, row)| rows::intent(*row, at)).collect();
        debug_assert!(intents.iter().all(|intent| intent.id != IntentId(uuid::Uuid::nil())));
        invariant::check_account(&intents).map_err(|violation| violation.to_string())?;
        for (at, row) in (0..).zip(&world.db.rows) {
            let ours = world.db.looks.iter().filter(|look| look.posting == at && look.intent == row.intent);
            self.domain.waits_for(*row, ours.count())?;
        }
        Ok(())
    }
}

impl System for Model {
    type State = World;
    type Action = Action;

    fn initial(&self) -> World {
        let row = Row {
            job: job::State::Queued,
            attempt: 0,
            lease: 0,
            cancel: false,
            intent: 1,
            state: publish::State::Preparing,
            baseline: 0,
            permit: 0,
            permit_lease: 0,
            item: 0,
            taken: 0,
            clean: 0,
            first_clean: Since::Never,
        };
        let rows = vec![row; self.configuration.postings];
        World {
            db: Database { rows, looks: Vec::new(), epoch: 1, leases: 0, fleet: 0 },
            backup: None,
            agent: Agent {
                up: true,
                epoch: 1,
                run: None,
                owed: Vec::new(),
                journal: Vec::new(),
                chrome: false,
            },
            messages: Vec::new(),
            site: Site { items: vec![Item { posting: SELLER, show: Show::Shown }], posts: Vec::new() },
            budget: self.configuration.budget,
        }
    }

    fn actions(&mut self, world: &World, into: &mut Vec<Action>) {
        for (at, message) in world.messages.iter().enumerate() {
            if world.messages[..at].contains(message) {
                continue;
            }
            into.extend([Way::Fine, Way::ReplyLost, Way::Lost].map(|way| Action::Send(*message, way)));
            // Calls are repeated; frames of a stream are not doubled, but said again on the next stream.
            if !matches!(message, Message::Dispatch { .. }) {
                into.push(Action::Send(*message, Way::Twice));
            }
        }
        self.agent_actions(world, into);
        self.controller_actions(world, into);
        self.site_actions(world, into);
        self.person_actions(world, into);
        into.retain(|action| action.fault().is_none_or(|fault| world.budget.allows(fault)));
    }

    fn step(&mut self, world: &World, action: Action) -> Result<World, String> {
        let mut next = world.clone();
        if let Some(fault) = action.fault() {
            next.budget.spend(fault);
        }
        self.happen(&mut next, action)?;
        if self.strict {
            no_way_back(world, &next)?;
        }
        canon::canonical(&mut next);
        Ok(next)
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        if self.strict {
            self.invariants(world)?;
        }
        Self::consequences(world)
    }

    /// Each posting has ended, or a person is asked: about the posting itself, or about the sign-in that a look needs. The
    /// account's other postings wait behind that one, and say so.
    fn is_settled(&self, world: &World) -> bool {
        let ended = world.db.rows.iter().all(|row| rows::shown(*row).is_settled());
        let asks = |(at, row): (Which, &Row)| {
            let mut looks =
                world.db.looks.iter().filter(|look| look.posting == at && look.intent == row.intent);
            row.state == publish::State::Unknown && looks.any(|look| look.state == job::State::NeedsHuman)
        };
        ended || (0..).zip(&world.db.rows).any(asks)
    }

    fn is_orderly(&self, action: Action) -> bool {
        action.fault().is_none() && !action.by_person()
    }
}

/// I4, seen from outside: what was armed is never prepared again.
fn no_way_back(before: &World, after: &World) -> Result<(), String> {
    let early = |state| matches!(state, publish::State::Preparing | publish::State::Prepared);
    for (before, after) in before.db.rows.iter().zip(&after.db.rows) {
        if before.intent == after.intent && !early(before.state) && early(after.state) {
            return Err(format!("I4 is broken: {:?} became {:?}", before.state, after.state));
        }
    }
    Ok(())
}

/// Ends that are owed are told on each new stream.
fn tell_ends(world: &mut World) {
    for owed in &world.agent.owed {
        let message = Message::Ended(*owed);
        if !world.messages.contains(&message) {
            world.messages.push(message);
        }
    }
}

/// The assumption about time: nothing is on its way, hidden, or able to click any more, when the horizon has passed.
fn is_quiet(world: &World) -> bool {
    let hidden = world.site.items.iter().any(|item| item.show == Show::Hidden);
    !hidden && world.site.posts.is_empty() && world.messages.is_empty() && world.agent.run.is_none()
}

fn may_pass_a_day(world: &World) -> bool {
    is_quiet(world) && world.db.rows.iter().any(|row| row.first_clean == Since::Lately)
}

/// The last look of the schedule is due when the horizon has passed.
fn is_last_look(row: &Row) -> bool {
    usize::from(row.taken) + 1 >= SCHEDULE.len()
}

/// People are right: nothing of the posting is there, and nothing can come any more.
fn is_surely_absent(world: &World, posting: Which) -> bool {
    let under_way = world.site.posts.iter().any(|(of, _)| *of == posting);
    let may_click = world.agent.run.is_some_and(|run| run.posting == posting && run.holds_permit());
    world.site.live(posting) == 0 && !under_way && !may_click
}

/// What a publication waits for, in the order of the recovery rules; for reports.
pub fn waiting_names() -> [(Waiting, &'static str); 7] {
    [
        (Waiting::Dispatch, "dispatch"),
        (Waiting::Lease, "lease sweep"),
        (Waiting::AgentReturn, "return of the agent"),
        (Waiting::Report, "deadline of the report"),
        (Waiting::Look, "look"),
        (Waiting::Person, "person"),
        (Waiting::Ended, "nothing: ended"),
    ]
}
