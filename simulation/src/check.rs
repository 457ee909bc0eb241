//! What must hold: after every write, at every click, and when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tradepost_controller::service::Error;
use tradepost_controller::service::error::Kind;
use tradepost_domain::event;
use tradepost_domain::id::{AccountId, IntentId, JobId, PermitId, PostingId, Version};
use tradepost_domain::job::{self, Job};
use tradepost_domain::posting::{self, Posting, state_of};
use tradepost_domain::publish::{self, Intent, PERMIT_TTL};
use tradepost_store::model::View;

use crate::agent::Machine;
use crate::site::{Form, Item, Maker};
use crate::world::{World, lock};

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Ledger {
    clicked: BTreeSet<PermitId>,
    intents: BTreeMap<IntentId, Seen>,
    jobs: BTreeMap<JobId, (Version, i64, job::State)>,
    postings: BTreeMap<PostingId, (Version, posting::State)>,
    forgotten: BTreeSet<PostingId>,
    restored_at: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    version: Version,
    state: publish::State,
    permit: Option<PermitId>,
}

/// A fault of the controller's own is a violation; everything else may happen.
pub fn sound<T>(world: &World, what: &str, done: Result<T, Error>) -> Result<T, Error> {
    if let Err(error) = &done
        && error.kind() == Kind::Internal
    {
        world.violation(|| format!("{what} failed inside: {error} ({:?})", error.source));
    }
    done
}

impl Ledger {
    /// A click is being sent.
    pub fn clicked(&mut self, world: &World, machine: &Machine, permit: PermitId, age: Duration) {
        world.count("a click is sent");
        if !self.clicked.insert(permit) {
            world.violation(|| format!("a second click under the permit {permit}"));
        }
        if !lock(&machine.disk).has_announced(permit) {
            world.violation(|| format!("I3: a click under {permit} that no journal announces"));
        }
        if age > PERMIT_TTL {
            world.violation(|| format!("I10: a click under {permit}, which is {age:?} old"));
        }
        let armed = world.store.look(|rows| {
            let of_permit = |intent: &&Intent| intent.permit.as_ref().is_some_and(|held| held.id == permit);
            rows.intents().find(of_permit).map(|intent| intent.state)
        });
        // A permit from before a restored copy, whose holder does not know of it yet.
        let forgotten = self.restored_at.is_some_and(|at| world.exec.now().saturating_sub(age) <= at);
        if armed != Some(publish::State::Armed) && !forgotten {
            world.violation(|| format!("a click under {permit}, whose intent is {armed:?}"));
        }
    }

    /// An older copy of the database is about to be put back: what was seen of rows counts no more.
    pub fn forget(&mut self, world: &World) {
        world.store.look(|rows| self.forgotten.extend(rows.postings().map(|posting| posting.id)));
        self.intents.clear();
        self.jobs.clear();
        self.postings.clear();
        self.restored_at = Some(world.exec.now());
    }

    /// Whether the database had this posting in an earlier life.
    pub fn has_forgotten(&self, posting: PostingId) -> bool {
        self.forgotten.contains(&posting)
    }

    /// Whether an older copy was put back after this time.
    pub fn was_restored_since(&self, time: Duration) -> bool {
        self.restored_at.is_some_and(|at| at >= time)
    }

    /// A write took effect.
    pub fn see(&mut self, world: &World, call: &'static str) {
        if matches!(call, "touch_agents" | "append_steps" | "detach_agent" | "attach_agent") {
            return;
        }
        world.store.look(|rows| {
            self.see_intents(world, rows);
            self.see_jobs(world, rows);
            for posting in rows.postings() {
                self.see_posting(world, rows, posting);
            }
        });
    }

    fn see_intents(&mut self, world: &World, rows: View<'_>) {
        let mut holding: BTreeMap<AccountId, IntentId> = BTreeMap::new();
        let mut items: BTreeMap<(AccountId, &str), IntentId> = BTreeMap::new();
        for intent in rows.intents() {
            if intent.state.holds_account()
                && let Some(other) = holding.insert(intent.account, intent.id)
            {
                world.violation(|| format!("I2: {other} and {} hold one account", intent.id));
            }
            if let Some(item) = &intent.item
                && let Some(other) = items.insert((intent.account, &item.item_id), intent.id)
            {
                world.violation(|| format!("I6: {other} and {} are one listing", intent.id));
            }
            self.see_intent(world, intent);
        }
    }

    fn see_intent(&mut self, world: &World, intent: &Intent) {
        use publish::State::{
            Absent, Armed, Confirmed, Duplicate, NeedsHuman, NotClicked, Prepared, Preparing, Unknown,
        };
        let permit = intent.permit.as_ref().map(|permit| permit.id);
        let now = Seen { version: intent.version, state: intent.state, permit };
        let before = self.intents.insert(intent.id, now.clone());
        let Some(before) = before.filter(|before| *before != now) else { return };
        let allowed = match (before.state, now.state) {
            (one, other) if one == other => true,
            (Preparing, Prepared) | (Prepared, Preparing | Armed) => true,
            (Armed, Confirmed | Unknown | NotClicked) => true,
            (Unknown, Confirmed | Absent | Duplicate | NeedsHuman | NotClicked) => true,
            (Duplicate | NeedsHuman, Confirmed | Absent) => true,
            // A journal tells of what a restored copy has forgotten.
            (_, Confirmed | Unknown | NeedsHuman) => self.restored_at.is_some(),
            _ => false,
        };
        if !allowed || now.version.0 <= before.version.0 {
            world.violation(|| format!("I4/I5: intent {} went from {before:?} to {now:?}", intent.id));
        }
        if before.permit.is_some() && before.permit != now.permit && self.restored_at.is_none() {
            world.violation(|| format!("intent {} changed its permit", intent.id));
        }
        world.say(|| format!("intent {}: {:?} -> {:?}", intent.id, before.state, now.state));
        match (before.state, now.state) {
            (Unknown, Confirmed) => world.count("an uncertain click is confirmed by a look"),
            (Unknown, Absent) => world.count("an uncertain click is proven absent"),
            (Unknown, NotClicked) => world.count("a journal settles an uncertain click"),
            (Unknown, Duplicate) => world.count("a look finds several new listings"),
            (Unknown, NeedsHuman) => world.count("a look cannot settle a click"),
            (Armed, Confirmed) => world.count("a click is confirmed at once"),
            (Armed, Unknown) => world.count("an armed intent becomes unknown"),
            (Armed, NotClicked) => world.count("a permit is given back"),
            _ => {}
        }
    }

    fn see_jobs(&mut self, world: &World, rows: View<'_>) {
        let mut running: BTreeMap<AccountId, JobId> = BTreeMap::new();
        for job in rows.jobs() {
            let runs = matches!(job.state, job::State::Leased | job::State::Running);
            if runs && let Some(other) = running.insert(job.account, job.id) {
                world.violation(|| format!("{other} and {} run on one account", job.id));
            }
            let lease = job.run_lease.map_or(0, |lease| lease.0);
            let before = self.jobs.insert(job.id, (job.version, lease, job.state));
            let Some((version, older, state)) = before else { continue };
            if lease < older || job.version.0 < version.0 {
                world.violation(|| format!("I1: job {} went back to run {lease} from {older}", job.id));
            }
            let over = matches!(state, job::State::Succeeded | job::State::Cancelled);
            if over && job.state != state && self.restored_at.is_none() {
                world.violation(|| format!("job {} went on from {state:?} to {:?}", job.id, job.state));
            }
            if state != job.state {
                world.say(|| format!("job {}: {state:?} -> {:?} (run {lease})", job.id, job.state));
                if job.state == job::State::Parked {
                    world.count("a job is parked");
                }
                if state == job::State::Parked && job.state == job::State::Running {
                    world.count("a parked run goes on");
                }
            }
            if let Some(problem) = unrecoverable(rows, job) {
                world.violation(|| format!("I7: job {} ({:?}): {problem}", job.id, job.state));
            }
        }
    }

    fn see_posting(&mut self, world: &World, rows: View<'_>, posting: &Posting) {
        let before = self.postings.insert(posting.id, (posting.version, posting.state));
        if before == Some((posting.version, posting.state)) {
            return;
        }
        if before.is_some_and(|(_, state)| state == posting::State::Published)
            && posting.state != posting::State::Published
        {
            world.violation(|| format!("posting {} is {:?} after Published", posting.id, posting.state));
        }
        world.say(|| format!("posting {}: {:?}", posting.id, posting.state));
        let (Some(job), Some(intent)) = (rows.job(posting.job), rows.intent(posting.intent)) else {
            world.violation(|| format!("posting {} has no job or no intent", posting.id));
            return;
        };
        if posting.state != state_of(job.state, intent.state) {
            world.violation(|| {
                format!(
                    "posting {} is {:?} with {:?}/{:?}",
                    posting.id, posting.state, job.state, intent.state
                )
            });
        }
        if posting.state == posting::State::Published && rows.receipt(intent.id).is_none() {
            world.violation(|| format!("posting {} is published without a receipt", posting.id));
        }
    }
}

/// Why no rule would move this job on; none when exactly one does (I7).
fn unrecoverable(rows: View<'_>, job: &Job) -> Option<&'static str> {
    match job.state {
        job::State::Queued => {
            let account = rows.accounts().find(|account| account.id == job.account)?;
            account.agent.is_none().then_some("no agent would claim it")
        }
        job::State::Leased | job::State::Running => {
            job.lease_until.is_none().then_some("no sweep would end its lease")
        }
        job::State::Uncertain => {
            let intent = rows.intent(job.intent?)?;
            let looks = rows.jobs().filter(|other| {
                other.kind == job::Kind::Reconcile
                    && other.intent == Some(intent.id)
                    && !other.state.is_terminal()
            });
            match (intent.state, looks.count()) {
                (publish::State::Armed, 0) => None,
                (publish::State::Armed, _) => Some("it is looked for before its report is due"),
                (publish::State::Unknown, 1) => None,
                (publish::State::Unknown, 0) => Some("nobody looks for its listing"),
                (publish::State::Unknown, _) => Some("several jobs look for its listing"),
                _ => Some("its intent is settled"),
            }
        }
        job::State::Parked
        | job::State::NeedsHuman
        | job::State::Succeeded
        | job::State::Failed
        | job::State::Cancelled => None,
    }
}

/// When everything has come to rest: the site's ledger against the database, exactly.
pub fn final_check(world: &World) {
    let ledger = lock(&world.site).ledger().to_vec();
    world.store.look(|rows| {
        for posting in rows.postings() {
            if !posting.state.is_settled() {
                world.violation(|| format!("posting {} is still {:?}", posting.id, posting.state));
            }
            compare(world, rows, posting, &ledger);
        }
        for job in rows.jobs() {
            if !job.state.is_terminal() && job.state != job::State::NeedsHuman {
                world.violation(|| format!("job {} ({:?}) is still {:?}", job.id, job.kind, job.state));
            }
        }
    });
    let now = world.now();
    let known: BTreeSet<PostingId> =
        world.store.look(|rows| rows.postings().map(|posting| posting.id).collect());
    for item in &ledger {
        if let Maker::Us(form) = &item.maker {
            if !known.contains(&form.posting) {
                forgotten(world, item, form);
            }
            let again = |other: &&Item| {
                matches!(&other.maker, Maker::Us(also) if also.posting == form.posting)
                    && other.made_at < item.made_at
                    && other.removed_at.is_none_or(|at| at > item.made_at)
            };
            if let Some(other) = ledger.iter().find(again) {
                world.violation(|| {
                    format!("DUPLICATE {} and {} of posting {}", other.id, item.id, form.posting)
                });
            }
        }
        if item.visible_at > now {
            world.violation(|| format!("the simulation ended before listing {} was to be seen", item.id));
        }
    }
}

/// A listing whose posting is not there: a restored copy never knew of it, and the feed says so.
fn forgotten(world: &World, item: &Item, form: &Form) {
    if !lock(&world.ledger).has_forgotten(form.posting) {
        world.violation(|| format!("LOST listing {} belongs to no posting", item.id));
        return;
    }
    let permit = form.permit.to_string();
    let told = world.store.look(|rows| {
        rows.events().any(|event| {
            event.event.kind == event::Kind::PublicationForgotten
                && event.event.data.get("permit").and_then(|id| id.as_str()) == Some(permit.as_str())
        })
    });
    if told {
        world.count("the feed tells of a publication that a restored copy has forgotten");
    } else {
        world.violation(|| format!("LOST listing {} is forgotten, and nobody is told", item.id));
    }
}

fn compare(world: &World, rows: View<'_>, posting: &Posting, ledger: &[Item]) {
    let ours: Vec<&Item> = ledger
        .iter()
        .filter(|item| matches!(&item.maker, Maker::Us(form) if form.posting == posting.id))
        .collect();
    let shown = ours.iter().filter(|item| item.removed_at.is_none()).count();
    match posting.state {
        posting::State::Published => {
            world.count("a posting ends published");
            let item = posting.item.as_ref().map(|item| item.item_id.as_str());
            let Some(made) = ours.iter().find(|made| Some(made.id.as_str()) == item) else {
                world.violation(|| {
                    format!("posting {} is published as {item:?}, which is not its own", posting.id)
                });
                return;
            };
            if made.account != posting.account {
                world.violation(|| format!("posting {} is on the wrong account", posting.id));
            }
            let receipt = rows.receipt(posting.intent).map(|receipt| receipt.item.item_id.as_str());
            if receipt != item {
                world.violation(|| format!("posting {} has a receipt for {receipt:?}", posting.id));
            }
        }
        posting::State::Failed | posting::State::Cancelled => {
            world.count(if posting.state == posting::State::Failed {
                "a posting ends failed"
            } else {
                "a posting ends cancelled"
            });
            if shown > 0 {
                world.violation(|| {
                    format!("LOST posting {} is {:?}, but on the site", posting.id, posting.state)
                });
            }
        }
        _ => world.count("a posting ends with a question to a person"),
    }
    if shown > 1 {
        world.violation(|| format!("DUPLICATE posting {} is {shown} times on the site", posting.id));
    }
}
