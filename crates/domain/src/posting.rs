//! A posting: one listing on one account, and the receipt that proves it.

mod restore;

use serde::{Deserialize, Serialize};

pub use self::restore::{Baseline, Fate, Told};
use crate::failure::{Failure, FailureClass};
use crate::id::{AccountId, AgentId, IntentId, JobId, ListingId, PostingId, Version, WorkspaceId};
use crate::job;
use crate::publish::{self, PublishedItem};
use crate::time::Timestamp;

/// Generations of one posting that may be begun without asking, each after a day of looking for the one before.
pub const REPUBLISHED_MAX: u32 = 2;

/// Where a posting stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its agent or its turn.
    Queued,
    /// An agent works on it.
    Running,
    /// The listing is on the marketplace, once.
    Published,
    /// The click was sent; whether the listing exists is being found out.
    Uncertain,
    /// A person has to act.
    NeedsHuman,
    /// It ended without a listing.
    Failed,
    /// It was cancelled before the click.
    Cancelled,
}

/// One posting.
#[derive(Debug, Clone, PartialEq)]
pub struct Posting {
    /// Its id.
    pub id: PostingId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// What is posted.
    pub listing: ListingId,
    /// Where.
    pub account: AccountId,
    /// The newest intent's number.
    pub generation: u32,
    /// Where it stands.
    pub state: State,
    /// Its publish job.
    pub job: JobId,
    /// Its newest intent.
    pub intent: IntentId,
    /// The listing on the marketplace, once published.
    pub item: Option<PublishedItem>,
    /// Why it is where it is, when that needs telling.
    pub failure: Option<Failure>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Etag.
    pub version: Version,
}

/// One field compared between what was wanted and what the marketplace shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldCheck {
    /// The listing's field, or `photos` for their number and order.
    pub field: String,
    /// What was wanted, normalised.
    pub wanted: String,
    /// What the published page shows, normalised.
    pub found: String,
    /// Whether they agree.
    pub matches: bool,
}

/// One evidence file named by a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRef {
    /// What it shows, e.g. `before_fence.png`.
    pub name: String,
    /// SHA-256 of its content, hex.
    pub sha256: String,
}

/// Proof of a publication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The listing on the marketplace.
    pub item: PublishedItem,
    /// Own listings before the click.
    pub baseline_count: usize,
    /// Every field read back from the published page.
    pub read_back: Vec<FieldCheck>,
    /// Screenshots and page snapshots.
    pub evidence: Vec<EvidenceRef>,
    /// Recipe name and version.
    pub recipe: String,
    /// The agent that posted.
    pub agent: AgentId,
    /// Filling the form, in milliseconds.
    pub prepare_ms: u64,
    /// From the click to the confirmation, in milliseconds; zero when confirmed by a later look.
    pub confirm_ms: u64,
    /// How the listing was told from the others, and by whom.
    #[serde(default)]
    pub trail: Trail,
}

/// What else belongs to the proof.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trail {
    /// Who saw the listing.
    #[serde(default)]
    pub witness: Witness,
    /// Own listings that were not there before the click, by their ids; one when all is well.
    #[serde(default)]
    pub new_items: Vec<String>,
    /// Own listings after the click; none when they were not counted.
    #[serde(default)]
    pub count_after: Option<usize>,
    /// From the request for the permit to its answer, in milliseconds.
    #[serde(default)]
    pub permit_ms: u64,
    /// The person's word, where a person settled it.
    #[serde(default)]
    pub resolution: Option<Resolution>,
}

/// Who saw that the listing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// The run that clicked.
    #[default]
    Run,
    /// A later look at the account's own listings.
    Look,
    /// A person.
    Person,
}

/// What a person said of an uncertain posting, and what was known then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The person, by e-mail address.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Looks taken before.
    pub looks: u32,
    /// Why it had been uncertain.
    pub question: String,
}

impl Witness {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Run, Self::Look, Self::Person];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Look => "look",
            Self::Person => "person",
        }
    }
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Published,
        Self::Uncertain,
        Self::NeedsHuman,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Published => "published",
            Self::Uncertain => "uncertain",
            Self::NeedsHuman => "needs_human",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing more happens without a person.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Published | Self::Failed | Self::Cancelled | Self::NeedsHuman)
    }
}

/// A posting with its publish job and its newest intent: what decisions are made on.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The posting.
    pub posting: Posting,
    /// Its publish job.
    pub job: job::Job,
    /// Its newest intent.
    pub intent: publish::Intent,
}

/// What happens to a publication as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something happens to the job only.
    Job(job::Event),
    /// Something happens to the intent, with its consequences for the job.
    Intent(publish::Event),
    /// A person asks for a new try after an end without a listing.
    Retry,
    /// The database was restored from a backup while the permit was out.
    Restored,
    /// An agent tells of a permit that the database has forgotten.
    Told(Box<Told>),
    /// The database was restored from a backup, and nobody can tell whether the posting was published after it was made.
    Doubted(String),
    /// Looked for long enough: the listing does not exist, and its account wants such listings posted again.
    ProvenAbsentOnceMore,
}

impl From<job::Event> for Event {
    fn from(event: job::Event) -> Self {
        Self::Job(event)
    }
}

impl From<publish::Event> for Event {
    fn from(event: publish::Event) -> Self {
        Self::Intent(event)
    }
}

/// What follows from a decision, beyond the new states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A fresh intent replaces the old one, which stays as it ended.
    NewGeneration {
        /// The old intent as it ended.
        ended: Box<publish::Intent>,
        /// The fresh one.
        fresh: Box<publish::Intent>,
    },
    /// Look for the listing, after the first delay of the schedule of looks.
    Look,
}

/// Why a decision was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// By the job's rules.
    #[error(transparent)]
    Job(#[from] job::Rejected),
    /// By the intent's rules.
    #[error(transparent)]
    Intent(#[from] publish::Rejected),
    /// The click may have been sent: cancelling or retrying is not possible any more.
    #[error("the listing may be published already; it is being found out")]
    PastTheFence,
    /// Looking could not settle it: a person's finding comes first.
    #[error("say first whether it is published: resolve the posting, then try again")]
    Unresolved,
    /// A person wishes the end: nothing new is begun.
    #[error("the posting is being cancelled")]
    BeingCancelled,
    /// A publish job is done by its intent's confirmation only, never by the agent's word.
    #[error("a publication succeeds by its confirmation only")]
    Unproven,
}

/// Decides what `event` makes of the whole. `fresh` is the id for a new intent, used when an intent ended unclicked
/// and the job goes on.
pub fn step(
    publication: &Publication,
    event: Event,
    fresh: IntentId,
    now: Timestamp,
) -> Result<(Publication, Vec<Effect>), Rejected> {
    let (job, intent, mut effects) = match event {
        Event::Job(event) => step_job(publication, event, now)?,
        Event::Intent(event) => step_intent(publication, event, now)?,
        Event::Retry => {
            may_go_on(&publication.intent)?;
            (job::step(&publication.job, job::Event::Resume, now)?, publication.intent.clone(), Vec::new())
        }
        Event::Restored => restore::restored(publication, now)?,
        Event::Told(told) => restore::told(publication, *told, now)?,
        Event::Doubted(reason) => restore::doubted(publication, reason, now)?,
        Event::ProvenAbsentOnceMore => once_more(publication, now)?,
    };
    let mut next = Publication { posting: publication.posting.clone(), job, intent };
    if !next.job.state.is_terminal() && is_spent(next.intent.state) {
        let renewed = next_generation(&next.intent, fresh, now);
        let (ended, fresh) = (Box::new(next.intent), Box::new(renewed.clone()));
        effects.push(Effect::NewGeneration { ended, fresh });
        next.posting.generation = renewed.generation;
        next.posting.intent = renewed.id;
        next.job.intent = Some(renewed.id);
        next.intent = renewed;
    }
    let state = state_of(next.job.state, next.intent.state);
    if state != next.posting.state {
        next.posting.updated_at = now;
    }
    next.posting.state = state;
    next.posting.item.clone_from(&next.intent.item);
    next.posting.failure.clone_from(&next.job.failure);
    Ok((next, effects))
}

/// Whether the job may run again: not while the fate of a click is open.
fn may_go_on(intent: &publish::Intent) -> Result<(), Rejected> {
    match intent.state {
        publish::State::Duplicate | publish::State::NeedsHuman => Err(Rejected::Unresolved),
        state if state.holds_account() => Err(Rejected::PastTheFence),
        _ => Ok(()),
    }
}

/// The posting goes on with a fresh generation, as often as [`REPUBLISHED_MAX`] allows.
fn once_more(publication: &Publication, now: Timestamp) -> Result<Stepped, Rejected> {
    let (job, intent, effects) = step_intent(publication, publish::Event::ProvenAbsent, now)?;
    if intent.generation > REPUBLISHED_MAX {
        return Ok((job, intent, effects));
    }
    Ok((job::step(&job, job::Event::Resume, now)?, intent, effects))
}

fn is_spent(state: publish::State) -> bool {
    matches!(state, publish::State::NotClicked | publish::State::Absent)
}

fn next_generation(old: &publish::Intent, id: IntentId, now: Timestamp) -> publish::Intent {
    publish::Intent {
        id,
        generation: old.generation + 1,
        state: publish::State::Preparing,
        baseline: Vec::new(),
        fingerprint: String::new(),
        permit: None,
        item: None,
        reason: None,
        looks: publish::Looks::default(),
        created_at: now,
        updated_at: now,
        version: Version(1),
        ..old.clone()
    }
}

/// What people see, from the job's and the intent's state.
pub fn state_of(job: job::State, intent: publish::State) -> State {
    match (intent, job) {
        (publish::State::Confirmed, _) => State::Published,
        (publish::State::Unknown, _) => State::Uncertain,
        (publish::State::Duplicate | publish::State::NeedsHuman, _) => State::NeedsHuman,
        (_, job::State::Queued | job::State::Parked) => State::Queued,
        (_, job::State::Leased | job::State::Running) => State::Running,
        (_, job::State::NeedsHuman) => State::NeedsHuman,
        (_, job::State::Uncertain) => State::Uncertain,
        (_, job::State::Succeeded) => State::Published,
        (_, job::State::Failed) => State::Failed,
        (_, job::State::Cancelled) => State::Cancelled,
    }
}

type Stepped = (job::Job, publish::Intent, Vec<Effect>);

fn step_job(publication: &Publication, event: job::Event, now: Timestamp) -> Result<Stepped, Rejected> {
    let Publication { job, intent, .. } = publication;
    let armed = intent.state.holds_account();
    match event {
        // The run's own end never decides about an armed intent: its settlement does, or the report's deadline.
        job::Event::Fail { run_lease, .. } | job::Event::Succeed(run_lease) if armed => {
            if job.run_lease != Some(run_lease) {
                return Err(job::Rejected::StaleLease.into());
            }
            uncertain(
                publication,
                String::from("the run ended without telling what became of the click"),
                now,
            )
        }
        // A click without a permit that is known here: no look could tell what became of it.
        job::Event::Fail { run_lease, failure, .. }
            if failure.class == FailureClass::Uncertain && job.run_lease == Some(run_lease) =>
        {
            restore::doubted(publication, failure.message, now)
        }
        job::Event::Succeed(_) => Err(Rejected::Unproven),
        // An open question is answered, not cancelled away: the listing may be on the site.
        job::Event::RequestCancel => {
            may_go_on(intent)?;
            Ok((job::step(job, event, now)?, intent.clone(), Vec::new()))
        }
        // A run that holds a permit was taken: it cannot be offered again (I7).
        job::Event::Refuse(_) if armed => Err(job::Rejected::State(job.state).into()),
        // A lost agent, or one that is back without its run: the permit's deadline or the journal decides first.
        job::Event::AgentBack if intent.state == publish::State::Armed => {
            Ok((job::step(job, job::Event::BecomeUncertain, now)?, intent.clone(), Vec::new()))
        }
        job::Event::LeaseExpired if armed => {
            job::step(job, job::Event::LeaseExpired, now)?;
            Ok((job::step(job, job::Event::BecomeUncertain, now)?, intent.clone(), Vec::new()))
        }
        job::Event::Resume => {
            may_go_on(intent)?;
            Ok((job::step(job, event, now)?, intent.clone(), Vec::new()))
        }
        event => Ok((job::step(job, event, now)?, intent.clone(), Vec::new())),
    }
}

fn uncertain(publication: &Publication, reason: String, now: Timestamp) -> Result<Stepped, Rejected> {
    let Publication { job, intent, .. } = publication;
    let permit = intent.permit.as_ref().ok_or(publish::Rejected::OtherPermit)?.id;
    step_intent_uncertain(job, intent, publish::Event::Uncertain { permit, reason }, now)
}

fn step_intent_uncertain(
    job: &job::Job,
    intent: &publish::Intent,
    event: publish::Event,
    now: Timestamp,
) -> Result<Stepped, Rejected> {
    let was_unknown = intent.state == publish::State::Unknown;
    let intent = publish::step(intent, event, now)?;
    let reason = intent.reason.clone().unwrap_or_default();
    let failure = Failure::new(FailureClass::Uncertain, "confirm", reason);
    let job = if job.state == job::State::Uncertain {
        job.clone()
    } else {
        job::step(job, job::Event::BecomeUncertain, now)?
    };
    let effects = if was_unknown { Vec::new() } else { vec![Effect::Look] };
    Ok((job::Job { failure: Some(failure), ..job }, intent, effects))
}

/// Only the job's present run may go towards the click, and only while nobody wishes its end (I1).
fn may_proceed(job: &job::Job, run_lease: crate::id::RunLease) -> Result<(), Rejected> {
    if job.run_lease != Some(run_lease) {
        return Err(job::Rejected::StaleLease.into());
    }
    match job.state {
        _ if job.cancel_requested => Err(Rejected::BeingCancelled),
        job::State::Leased | job::State::Running => Ok(()),
        state => Err(job::Rejected::State(state).into()),
    }
}

fn step_intent(
    publication: &Publication,
    event: publish::Event,
    now: Timestamp,
) -> Result<Stepped, Rejected> {
    let Publication { job, intent, .. } = publication;
    if matches!(event, publish::Event::Uncertain { .. } | publish::Event::ReportOverdue) {
        return step_intent_uncertain(job, intent, event, now);
    }
    if let publish::Event::Arm { request, run_lease, .. } = &event
        && intent.was_given_for(request, *run_lease)
    {
        // Nothing is given out anew, so it does not matter what has become of the job meanwhile.
        return Ok((job.clone(), intent.clone(), Vec::new()));
    }
    if let publish::Event::Prepared { run_lease, .. } | publish::Event::Arm { run_lease, .. } = &event {
        may_proceed(job, *run_lease)?;
    }
    let not_clicked = matches!(event, publish::Event::NotClicked { .. });
    let next = publish::step(intent, event, now)?;
    if next.state == intent.state {
        return Ok((job.clone(), next, Vec::new()));
    }
    let reason = next.reason.clone().unwrap_or_default();
    let job = match next.state {
        publish::State::Confirmed => job::step(job, job::Event::SettlePublished, now)?,
        publish::State::Absent => {
            let failure = Failure::new(FailureClass::Uncertain, "reconcile", reason);
            job::step(job, job::Event::SettleNotPublished(failure), now)?
        }
        publish::State::Duplicate | publish::State::NeedsHuman => job::step(
            job,
            job::Event::AskPerson(Failure::new(FailureClass::Uncertain, "reconcile", reason)),
            now,
        )?,
        // No click was sent: a waiting job goes on at once; a running one reports its own end.
        publish::State::NotClicked if not_clicked && job.state == job::State::Uncertain => {
            job::requeue_after_proof(job, now)
        }
        _ => job.clone(),
    };
    Ok((job, next, Vec::new()))
}

#[cfg(test)]
mod tests;
