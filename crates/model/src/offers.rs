//! What may happen in a state: every fault, delay and decision as an action of its own.

use tradepost_domain::fence::Next;
use tradepost_domain::reconcile::SCHEDULE;
use tradepost_domain::{job, publish};

use crate::action::{Action, Expected, Landing, Sight, Way};
use crate::agent::{is_asked, is_under_way, next_with_permit};
use crate::bug::Bug;
use crate::configuration::Seller;
use crate::controller::waiting_look;
use crate::model::Model;
use crate::world::{Answer, Message, Reason, Row, Run, Show, Since, Stage, Which, World};

impl Model {
    pub(crate) fn agent_actions(&self, world: &World, into: &mut Vec<Action>) {
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
        if new.is_power_of_two() && new & self.matching(world, run.posting) != 0 {
            into.push(Action::FindNew(u8::try_from(new.trailing_zeros()).unwrap_or(u8::MAX)));
        }
    }

    pub(crate) fn controller_actions(&self, world: &World, into: &mut Vec<Action>) {
        let heard = world.agent.up && world.agent.epoch == world.db.epoch && world.db.epoch > 0;
        let connected = heard && !world.db.recount;
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
        if self.restores() {
            into.push(if world.backup.is_some() { Action::Restore } else { Action::BackUp });
        }
    }

    pub(crate) fn site_actions(&self, world: &World, into: &mut Vec<Action>) {
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
        let careful = self.seller() == Seller::Careful;
        let quiet = !careful || is_quiet(world) && world.agent.journal.is_empty() && !unsettled;
        if quiet && world.site.items.len() < 6 {
            into.push(Action::SellerPosts);
        }
    }
}

/// What may become of what is under way.
pub(crate) fn message_actions(world: &World, into: &mut Vec<Action>) {
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
}

/// What people may do.
pub(crate) fn person_actions(world: &World, into: &mut Vec<Action>) {
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
            for item in found_by_person(world, which) {
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

/// People are right: they name a listing that is the posting's.
fn found_by_person(world: &World, posting: Which) -> Vec<u8> {
    let items = (0..).zip(&world.site.items);
    items.filter(|(_, item)| item.posting == posting && item.show == Show::Shown).map(|(at, _)| at).collect()
}

/// People are right: nothing of the posting is there, and nothing can come any more.
fn is_surely_absent(world: &World, posting: Which) -> bool {
    let under_way = world.site.posts.iter().any(|(of, _)| *of == posting);
    let may_click = world.agent.run.is_some_and(|run| run.posting == posting && run.holds_permit());
    world.site.live(posting) == 0 && !under_way && !may_click
}
