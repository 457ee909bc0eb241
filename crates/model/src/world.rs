//! The whole system as one small value: rows of the database, agent, Chrome, network, site.
//!
//! What the decisions do not depend on is left out (names, texts, moments); what they depend on is kept exactly. Times
//! are abstract: every deadline may have passed whenever it can be asked about, save that nothing stays on its way for
//! longer than the visibility horizon. Numbers that are only compared (leases, streams, requests, intents) are renamed
//! after each step, see [`crate::canon`].

use tradepost_domain::{job, publish};

/// Own listings as a set of bits; bit `n` is the site's listing `n`.
pub type Items = u8;
/// One of the postings of the account.
pub type Which = u8;
/// A run lease, a stream's number, a request's number or an intent's number; 0 is none.
pub type Number = u8;

/// The listing that the account had before anything began: the positive control of looks.
pub const CONTROL: usize = 0;
/// The seller's own listings belong to no posting.
pub const SELLER: Which = u8::MAX;

/// A posting with its publish job and its newest intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    /// State of the publish job.
    pub job: job::State,
    /// Runs of the job, as far as the retry rules tell them apart.
    pub attempt: u8,
    /// The newest run.
    pub lease: Number,
    /// A person wishes its end.
    pub cancel: bool,
    /// The newest intent.
    pub intent: Number,
    /// Its state.
    pub state: publish::State,
    /// Own listings before the click, as saved.
    pub baseline: Items,
    /// The request that the permit was given for; names the permit as well.
    pub permit: Number,
    /// The run that it was given to.
    pub permit_lease: Number,
    /// The listing that confirmed it, plus one.
    pub item: u8,
    /// Looks taken, as far as the schedule tells them apart.
    pub taken: u8,
    /// Clean looks, as far as the rule of absence tells them apart.
    pub clean: u8,
    /// When the first clean look was.
    pub first_clean: Since,
}

/// How long ago something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Since {
    /// It was not.
    Never,
    /// Less than the visibility horizon ago.
    Lately,
    /// The visibility horizon or longer ago.
    LongAgo,
}

/// A job that looks for a listing; gone when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LookJob {
    /// For which posting.
    pub posting: Which,
    /// For which of its intents.
    pub intent: Number,
    /// Its state.
    pub state: job::State,
    /// Runs of it.
    pub attempt: u8,
    /// The newest run.
    pub lease: Number,
    /// The newest run began longer ago than the visibility horizon.
    pub old: bool,
}

/// Everything durable of the controllers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Database {
    /// The postings of the account.
    pub rows: Vec<Row>,
    /// Look jobs that have not ended.
    pub looks: Vec<LookJob>,
    /// The newest stream of the agent.
    pub epoch: Number,
    /// The greatest run lease given.
    pub leases: Number,
    /// Which restore of this database it is.
    pub fleet: u8,
}

/// Why a run failed, as far as the retry rules tell reasons apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Try again.
    Passing,
    /// A person must act first.
    Person,
    /// Trying again cannot help.
    Refused,
    /// The click's effect is not known.
    Uncertain,
    /// Ended at a person's wish.
    Cancelled,
}

/// What became of a click, as the agent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The listing is there.
    Confirmed(u8),
    /// No click was sent, or the site refused it.
    NotClicked(Reason),
    /// Not known.
    Uncertain,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// Well.
    Succeeded,
    /// Not.
    Failed(Reason),
    /// What a look saw.
    Looked {
        /// Own listings on the page.
        seen: Items,
        /// Whether the page was read to its end.
        whole: bool,
    },
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The dispatch was taken.
    Begun,
    /// The form is filled; the controller is asked to save the baseline.
    Saving,
    /// The baseline is saved.
    Filled,
    /// A permit was asked for.
    Asked,
    /// There is a permit.
    Granted,
    /// The form was looked at again.
    Looked,
    /// `WILL_CLICK` is in the journal.
    Announced,
    /// The click was sent.
    Clicked,
    /// The outcome is in the journal, Chrome is closed, the controller is told.
    Telling(Outcome),
}

/// A run under way on the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    /// The posting it serves.
    pub posting: Which,
    /// A look; else a publication.
    pub look: bool,
    /// Its lease.
    pub lease: Number,
    /// The intent it was given.
    pub intent: Number,
    /// How far it is.
    pub stage: Stage,
    /// Own listings that it saw before filling the form.
    pub baseline: Items,
    /// Its request for a permit.
    pub request: Number,
    /// The life of its permit is over, on one of its clocks.
    pub late: bool,
    /// The PC slept since the last look at the form.
    pub slept: bool,
    /// It is to end before its click.
    pub stop: bool,
    /// Nobody wants its report.
    pub forgotten: bool,
    /// What the site answered to its click.
    pub answer: Answer,
    /// Clicks sent.
    pub clicks: u8,
}

/// What the site answered to a click.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Nothing yet.
    None,
    /// The listing was taken.
    Taken(u8),
    /// The form shows why it was not.
    Refused,
}

/// What the journal tells of one request for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    /// The posting.
    pub posting: Which,
    /// Its intent.
    pub intent: Number,
    /// The run.
    pub lease: Number,
    /// The request.
    pub request: Number,
    /// The stream it is asked over.
    pub epoch: Number,
    /// Own listings before the click.
    pub baseline: Items,
    /// What was noted last.
    pub note: Note,
    /// Its run is over: the settler finishes it.
    pub orphan: bool,
}

/// The newest note about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Note {
    /// A permit is asked for.
    Requested,
    /// It was given.
    Permit,
    /// The click was announced.
    WillClick,
    /// What became of it.
    Outcome(Outcome),
}

/// A run's end that the controller has not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owed {
    /// The posting.
    pub posting: Which,
    /// A look; else a publication.
    pub look: bool,
    /// The run.
    pub lease: Number,
    /// Its end.
    pub ending: Ending,
}

/// The program on the seller's PC.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent {
    /// The process lives.
    pub up: bool,
    /// Its stream; 0 while there is none.
    pub epoch: Number,
    /// The one run: the account has one Chrome profile.
    pub run: Option<Run>,
    /// Ends to be told.
    pub owed: Vec<Owed>,
    /// On the disk.
    pub journal: Vec<Entry>,
    /// Chrome of the account lives; it may outlive the process.
    pub chrome: bool,
}

/// How a listing stands on the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Show {
    /// Taken, not in the account's list yet.
    Hidden,
    /// In the list.
    Shown,
    /// Deleted.
    Gone,
}

/// A listing on the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Item {
    /// Whose click made it; [`SELLER`] for the seller's own.
    pub posting: Which,
    /// How it stands.
    pub show: Show,
}

/// The marketplace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    /// Every listing ever made there.
    pub items: Vec<Item>,
    /// Clicks under way to it: posting, and the lease of the run.
    pub posts: Vec<(Which, Number)>,
}

/// A message under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// Controller to agent: do this run.
    Dispatch {
        /// The posting.
        posting: Which,
        /// A look; else a publication.
        look: bool,
        /// The run.
        lease: Number,
        /// The intent.
        intent: Number,
    },
    /// Agent to controller: the form is filled.
    Prepared {
        /// The posting.
        posting: Which,
        /// The intent.
        intent: Number,
        /// The run.
        lease: Number,
        /// The stream.
        epoch: Number,
        /// Own listings before the click.
        baseline: Items,
    },
    /// Agent to controller: may I click?
    Arm {
        /// The posting.
        posting: Which,
        /// The intent.
        intent: Number,
        /// The run.
        lease: Number,
        /// The stream.
        epoch: Number,
        /// The request.
        request: Number,
        /// Own listings before the click (its hash on the wire).
        baseline: Items,
    },
    /// Agent to controller: that became of the click.
    Settle {
        /// The posting.
        posting: Which,
        /// The intent.
        intent: Number,
        /// The permit.
        request: Number,
        /// What.
        outcome: Outcome,
    },
    /// Agent to controller: the run has ended.
    Ended(Owed),
}

/// What may go wrong, each with a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The agent's process dies.
    AgentCrash,
    /// Chrome dies.
    ChromeCrash,
    /// The stream breaks: the controller dies and another takes over, or the line is cut.
    StreamLost,
    /// A message or its reply is lost.
    Lost,
    /// A message arrives twice.
    Twice,
    /// No sign of life for a lease, though the agent works.
    Silence,
    /// The PC sleeps.
    Sleep,
    /// The PC or its disk is so slow that a permit runs out.
    Slow,
    /// A step before the click fails.
    RunFails,
    /// A look reads an incomplete or empty page.
    BadLook,
    /// The site answers nothing, or refuses the listing.
    SiteFails,
    /// A new listing is not shown at first.
    ShownLate,
    /// The seller deletes a listing.
    SellerDeletes,
    /// The seller posts a listing by hand.
    SellerPosts,
    /// A person cancels.
    Cancel,
    /// A person asks for a new try.
    Retry,
    /// The database is restored from a backup.
    Restore,
}

impl Fault {
    /// How many there are.
    pub const COUNT: usize = 17;
}

/// How much may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Of each fault.
    pub each: [u8; Fault::COUNT],
    /// Of all together.
    pub all: u8,
}

/// The system at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The controllers' database.
    pub db: Database,
    /// An older copy of it.
    pub backup: Option<Box<Database>>,
    /// The agent.
    pub agent: Agent,
    /// Under way.
    pub messages: Vec<Message>,
    /// The site.
    pub site: Site,
    /// What may still go wrong.
    pub budget: Budget,
}

impl Budget {
    /// Whether `fault` may happen.
    pub fn allows(&self, fault: Fault) -> bool {
        self.all > 0 && self.each[fault as usize] > 0
    }

    /// Notes that it has happened.
    pub fn spend(&mut self, fault: Fault) {
        self.all = self.all.saturating_sub(1);
        let left = &mut self.each[fault as usize];
        *left = left.saturating_sub(1);
    }
}

impl Site {
    /// What a whole look at the account's list shows.
    pub fn shown(&self) -> Items {
        let shown = self.items.iter().enumerate().filter(|(_, item)| item.show == Show::Shown);
        shown.fold(0, |items, (at, _)| items | 1 << at)
    }

    /// Listings made by clicks for the posting that exist, shown or not.
    pub fn live(&self, posting: Which) -> usize {
        self.items.iter().filter(|item| item.posting == posting && item.show != Show::Gone).count()
    }
}

impl Run {
    /// Whether a click may still come, or may have been sent.
    pub fn holds_permit(&self) -> bool {
        matches!(self.stage, Stage::Granted | Stage::Looked | Stage::Announced | Stage::Clicked)
    }
}
