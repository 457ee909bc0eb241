//! What agent and controller say to each other over the stream.

use std::collections::BTreeSet;
use std::time::Duration;

use tradepost_domain::failure::Failure;
use tradepost_domain::fleet::{FleetEpoch, Knowledge};
use tradepost_domain::id::{AccountId, BootId, ContentHash, IntentId, PostingId, SessionEpoch};
use tradepost_domain::job::Kind;
use tradepost_domain::listing::Content;
use tradepost_domain::money::Currency;
use tradepost_domain::photo::MediaType;
use tradepost_domain::reconcile::Look;
use url::Url;

pub use crate::journal::{RunKey, Told};

/// First words of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// This start of the agent.
    pub boot: BootId,
    /// Runs in progress, and ended ones whose end is not known to be stored.
    pub runs: Vec<RunKey>,
    /// Runs at once.
    pub slots: u32,
    /// What the journal knows.
    pub knowledge: Knowledge,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Outbound {
    /// The agent and these runs are alive.
    Heartbeat(Vec<RunKey>),
    /// The run is taken.
    Acknowledge(RunKey),
    /// The run is not taken now.
    Refuse(RunKey, String),
    /// A step began or ended.
    Step(RunKey, StepReport),
    /// The run's end.
    Ended(RunKey, Ending),
    /// Permits in the journal, and whether these are the last.
    Recount(Vec<Told>, bool),
}

/// From the controller.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// Answer to the first words.
    Welcome {
        /// Fences this stream's writes.
        epoch: SessionEpoch,
        /// How often to report being alive.
        heartbeat: Duration,
        /// The life of the controller's database.
        fleet: FleetEpoch,
        /// The controller's database is an older copy: it needs to hear of every permit.
        recount: bool,
        /// The runs that go on; none when the controller does not tell.
        kept: Option<BTreeSet<RunKey>>,
    },
    /// Do this.
    Dispatch(Box<Dispatch>),
    /// Something to do that this version does not understand.
    Undecodable(RunKey, String),
    /// End the run, if its click has not been sent, and report.
    Cancel(RunKey),
    /// The run's end is stored.
    EndStored(RunKey),
    /// End the run, if its click has not been sent, without a report.
    Forget(RunKey),
    /// The controller ends the stream.
    GoAway {
        /// Come back after this time.
        retry_after: Duration,
        /// Why.
        reason: String,
    },
}

/// A part of a run, for progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Starting Chrome, signing in, fetching photos.
    Start,
    /// Filling the form.
    Prepare,
    /// Permit, journal and click.
    Commit,
    /// Finding the listing and reading it back.
    Confirm,
    /// Looking for an uncertain listing.
    Reconcile,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepStatus {
    /// Begun.
    Started,
    /// Done.
    Succeeded,
    /// Not done.
    Failed,
    /// Not done, and not needed: the run goes on another way.
    Skipped,
}

/// One step began or ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Counts the reports of the run from 1.
    pub seq: u32,
    /// The phase.
    pub phase: Phase,
    /// What the step does.
    pub name: String,
    /// How it stands.
    pub status: StepStatus,
    /// What is worth telling.
    pub detail: String,
    /// How long it took; none at its start.
    pub duration: Option<Duration>,
    /// Its place in the phase, from 1; 0 when unknown.
    pub index: u32,
    /// Steps of the phase; 0 when unknown.
    pub total: u32,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// Signed in; or published, with the settlement accepted.
    Succeeded,
    /// Not done.
    Failed(Failure),
    /// What a look saw.
    Looked(Look),
}

/// One run to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// Which.
    pub run: RunKey,
    /// What kind.
    pub kind: Kind,
    /// 1 for the first.
    pub attempt: u32,
    /// Longest duration.
    pub deadline: Duration,
    /// W3C trace context; may be empty.
    pub traceparent: String,
    /// For which account.
    pub account: SiteAccount,
    /// Name and YAML of the site's recipes and its pack.
    pub recipes: Vec<(String, String)>,
    /// What to publish or to look for.
    pub publish: Option<PublishTask>,
}

/// What is needed of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteAccount {
    /// Its id.
    pub id: AccountId,
    /// What the seller calls it.
    pub name: String,
    /// The site's name.
    pub site: String,
    /// Where the site is.
    pub site_url: Url,
    /// The name the site shows when the right account is signed in.
    pub sign_in_name: Option<String>,
    /// The currency of its listings.
    pub currency: Currency,
}

/// What to publish, or to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishTask {
    /// The posting.
    pub posting: PostingId,
    /// The intent.
    pub intent: IntentId,
    /// Its generation.
    pub generation: u32,
    /// What is for sale.
    pub content: Content,
    /// Its photos, in order.
    pub photos: Vec<TaskPhoto>,
    /// Own listings before the click (looks only).
    pub baseline: Vec<String>,
}

/// One photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPhoto {
    /// Names its content.
    pub hash: ContentHash,
    /// Its name, for people.
    pub file_name: String,
    /// What kind of file it is.
    pub media_type: MediaType,
    /// Its size.
    pub bytes: u64,
}
