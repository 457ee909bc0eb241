//! The composed system: what may happen, what becomes of it, and what must hold.

use std::collections::BTreeSet;

use tradepost_domain::invariant;
use tradepost_domain::{job, posting, publish};

use crate::action::Action;
use crate::agent::say_again;
use crate::bug::Bug;
use crate::canon;
use crate::configuration::{Configuration, Seller, Strictness, Titles};
use crate::explorer::System;
use crate::offers::{message_actions, person_actions};
use crate::rows::{self, Domain, Event};
use crate::situation::Situation;
use crate::world::{
    Agent, Answer, CONTROL, Database, Item, Items, Message, Outcome, Reason, Row, SELLER, Show, Since, Site,
    Stage, Which, World,
};

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

    pub(crate) fn seller(&self) -> Seller {
        self.configuration.seller
    }

    pub(crate) fn restores(&self) -> bool {
        self.configuration.restores
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

    fn happen(&mut self, world: &mut World, action: Action) -> Result<(), String> {
        match action {
            Action::Connect | Action::ConnectUnheard => {
                world.db.epoch += 1;
                if action == Action::Connect {
                    world.agent.epoch = world.db.epoch;
                    self.recount(world)?;
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
            Action::BackUp => world.backup = Some(Box::new(world.db.clone())),
            Action::Restore => self.restore(world)?,
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
            // A restored database learns from the agent what it has forgotten, before the agent gets work.
            let given_up = !world.db.recount
                && matches!(rows::shown(*row), posting::State::Failed | posting::State::Cancelled);
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
            db: Database { rows, looks: Vec::new(), epoch: 1, leases: 0, recount: false },
            backup: None,
            agent: Agent {
                up: true,
                epoch: 1,
                run: None,
                owed: Vec::new(),
                journal: Vec::new(),
                history: Vec::new(),
                chrome: false,
            },
            messages: Vec::new(),
            site: Site { items: vec![Item { posting: SELLER, show: Show::Shown }], posts: Vec::new() },
            budget: self.configuration.budget,
        }
    }

    fn actions(&mut self, world: &World, into: &mut Vec<Action>) {
        message_actions(world, into);
        self.agent_actions(world, into);
        self.controller_actions(world, into);
        self.site_actions(world, into);
        person_actions(world, into);
        into.retain(|action| action.fault().is_none_or(|fault| world.budget.allows(fault)));
    }

    fn step(&mut self, world: &World, action: Action) -> Result<World, String> {
        let mut next = world.clone();
        if let Some(fault) = action.fault() {
            next.budget.spend(fault);
        }
        self.happen(&mut next, action)?;
        if self.strict && action != Action::Restore {
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
        !world.db.recount && ended || (0..).zip(&world.db.rows).any(asks)
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
