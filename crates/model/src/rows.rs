//! The domain's own decisions over the model's small rows.
//!
//! A row is made into the domain's [`Publication`], stepped by [`posting::step`] (a look by [`job::step`], what it saw by
//! [`reconcile::judge`]), and made small again. The functions are pure, so that each answer is kept and asked for once.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::{
    AccountId, AgentId, IntentId, JobId, ListingId, PermitId, PostingId, RunLease, SessionEpoch, Version,
    WorkspaceId,
};
use tradepost_domain::invariant::{self, Waiting};
use tradepost_domain::posting::{self, Posting, Publication};
use tradepost_domain::publish::{self, Intent, Looks, Permit, PublishedItem, baseline_hash};
use tradepost_domain::reconcile::{self, CLEAN_LOOKS, HORIZON, Look, SCHEDULE, Schedule, SeenItem};
use tradepost_domain::time::Timestamp;
use tradepost_domain::{job, retry};
use uuid::Uuid;

use crate::world::{Items, LookJob, Number, Reason, Row, Since, Which};

/// The moment at which everything is decided: each deadline has just passed.
const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);
/// The runs that the model leaves out: the rules tell "may be tried again" from "the last try" only.
const TRIES_SKIPPED: u32 = retry::MAX_ATTEMPTS - 2;
/// The form's fingerprint: listings do not change in the model.
const FORM: &str = "form";

/// What happens to a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// See [`job::Event::Claim`].
    Claim(Number),
    /// See [`job::Event::Acknowledge`].
    Acknowledge(Number),
    /// See [`job::Event::Refuse`].
    Refuse(Number),
    /// See [`job::Event::Succeed`].
    Succeed(Number),
    /// See [`job::Event::Fail`].
    Fail(Number, Reason),
    /// See [`job::Event::LeaseExpired`].
    LeaseExpired,
    /// See [`job::Event::AgentBack`].
    AgentBack,
    /// See [`job::Event::RequestCancel`].
    RequestCancel,
    /// See [`posting::Event::Retry`]; of a look, [`job::Event::Resume`].
    Retry,
    /// See [`publish::Event::Prepared`].
    Prepared(Number, Items),
    /// See [`publish::Event::Arm`]: request, run, own listings.
    Arm(Number, Number, Items),
    /// See [`publish::Event::Confirm`].
    Confirm(Number, u8),
    /// See [`publish::Event::NotClicked`].
    NotClicked(Number),
    /// See [`publish::Event::Uncertain`].
    Uncertain(Number),
    /// See [`publish::Event::ReportOverdue`].
    ReportOverdue,
    /// What a look saw, which of it looks like the listing, whether the page was whole, and whether the look's run began
    /// longer ago than the visibility horizon.
    Looked(Items, Items, bool, bool),
    /// See [`publish::Event::AskPerson`].
    AskPerson,
    /// See [`publish::Event::ResolvedPublished`].
    ResolvedPublished(u8),
    /// See [`publish::Event::ResolvedNotPublished`].
    ResolvedNotPublished,
}

/// What a decision comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stepped {
    /// The row after it. A fresh intent has the number 0 until it is named.
    pub row: Row,
    /// A fresh intent has replaced the old one.
    pub renewed: bool,
    /// How many looks are to be planned.
    pub looks: u8,
}

/// The domain, with what it has answered so far.
#[derive(Debug, Default)]
pub struct Domain {
    publications: HashMap<(Row, Event), Option<Stepped>, FixedState>,
    looks: HashMap<(LookJob, Event), Option<LookJob>, FixedState>,
    waiting: HashMap<(Row, usize), Result<Waiting, String>, FixedState>,
}

impl Domain {
    /// What `event` makes of `row`; none when it is refused.
    pub fn step(&mut self, row: Row, event: Event) -> Option<Stepped> {
        *self.publications.entry((row, event)).or_insert_with(|| step(row, event))
    }

    /// What `event` makes of a look's job; none when it is refused.
    pub fn step_look(&mut self, look: LookJob, event: Event) -> Option<LookJob> {
        *self.looks.entry((look, event)).or_insert_with(|| {
            let mut job = job_of(look.state, look.attempt, look.lease, false);
            job.kind = job::Kind::Reconcile;
            let job = job::step(&job, job_event(event)?, NOW).ok()?;
            let attempt = attempt_of(&job);
            Some(LookJob { state: job.state, attempt, lease: lease_of(&job), ..look })
        })
    }

    /// The one rule that moves a row on, by [`invariant::waits_for`].
    pub fn waits_for(&mut self, row: Row, looks: usize) -> Result<Waiting, String> {
        let answer = self.waiting.entry((row, looks)).or_insert_with(|| {
            let publication = publication_of(row);
            invariant::check_intent(&publication.intent)
                .and_then(|()| invariant::waits_for(&publication, looks))
                .map_err(|violation| violation.to_string())
        });
        answer.clone()
    }
}

/// What people see of a row.
pub fn shown(row: Row) -> posting::State {
    posting::state_of(row.job, row.state)
}

/// The intent, for checks that compare several.
pub fn intent(row: Row, posting: Which) -> Intent {
    let mut intent = publication_of(row).intent;
    intent.id = IntentId(uuid(100 * (u32::from(posting) + 1) + u32::from(row.intent)));
    intent
}

fn step(row: Row, event: Event) -> Option<Stepped> {
    let before = publication_of(row);
    let (event, planned) = match event {
        Event::Looked(seen, matching, whole, old) => {
            let begun = if old { NOW - HORIZON } else { NOW };
            let (event, next) = reconcile::judge(
                &before.intent,
                &look_of(seen, matching, whole),
                &Schedule::default(),
                begun,
                NOW,
            );
            (posting::Event::Intent(event), u8::from(next.is_some()))
        }
        event => (publication_event(event)?, 0),
    };
    let (after, effects) = posting::step(&before, event, IntentId(Uuid::nil()), NOW).ok()?;
    let renewed = effects.iter().any(|effect| matches!(effect, posting::Effect::NewGeneration { .. }));
    let first = effects.iter().filter(|effect| matches!(effect, posting::Effect::Look)).count();
    let mut next = row_of(&after);
    next.intent = if renewed { 0 } else { row.intent };
    Some(Stepped { row: next, renewed, looks: planned + u8::from(first > 0) })
}

fn publication_event(event: Event) -> Option<posting::Event> {
    let intent = |event| Some(posting::Event::Intent(event));
    let permit = |request: Number| PermitId(uuid(u32::from(request)));
    match event {
        Event::Retry => Some(posting::Event::Retry),
        Event::Prepared(lease, baseline) => intent(publish::Event::Prepared {
            run_lease: run_lease(lease),
            baseline: names(baseline),
            fingerprint: FORM.to_owned(),
        }),
        Event::Arm(request, lease, baseline) => intent(publish::Event::Arm {
            permit: permit(request),
            request: request.to_string(),
            run_lease: run_lease(lease),
            epoch: SessionEpoch(0),
            baseline_hash: baseline_hash(&names(baseline)),
            fingerprint: FORM.to_owned(),
        }),
        Event::Confirm(request, item) => {
            intent(publish::Event::Confirm { permit: permit(request), item: published(item) })
        }
        Event::NotClicked(request) => {
            intent(publish::Event::NotClicked { permit: permit(request), reason: String::new() })
        }
        Event::Uncertain(request) => {
            intent(publish::Event::Uncertain { permit: permit(request), reason: String::new() })
        }
        Event::ReportOverdue => intent(publish::Event::ReportOverdue),
        Event::AskPerson => intent(publish::Event::AskPerson(String::new())),
        Event::ResolvedPublished(item) => intent(publish::Event::ResolvedPublished(published(item))),
        Event::ResolvedNotPublished => intent(publish::Event::ResolvedNotPublished),
        event => job_event(event).map(posting::Event::Job),
    }
}

fn job_event(event: Event) -> Option<job::Event> {
    Some(match event {
        Event::Claim(lease) => job::Event::Claim { run_lease: run_lease(lease) },
        Event::Acknowledge(lease) => job::Event::Acknowledge(run_lease(lease)),
        Event::Refuse(lease) => job::Event::Refuse(run_lease(lease)),
        Event::Succeed(lease) => job::Event::Succeed(run_lease(lease)),
        Event::Fail(lease, reason) => job::Event::Fail {
            run_lease: run_lease(lease),
            failure: Failure::new(class(reason), "step", ""),
            jitter: 0.0,
        },
        Event::LeaseExpired => job::Event::LeaseExpired,
        Event::AgentBack => job::Event::AgentBack,
        Event::RequestCancel => job::Event::RequestCancel,
        Event::Retry => job::Event::Resume,
        _ => return None,
    })
}

fn class(reason: Reason) -> FailureClass {
    match reason {
        Reason::Passing => FailureClass::Network,
        Reason::Person => FailureClass::NeedsLogin,
        Reason::Refused => FailureClass::ListingRejected,
        Reason::Uncertain => FailureClass::Uncertain,
        Reason::Cancelled => FailureClass::Cancelled,
    }
}

fn uuid(number: u32) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

fn run_lease(number: Number) -> RunLease {
    RunLease(i64::from(number))
}

fn names(items: Items) -> Vec<String> {
    (0..8_u8).filter(|at| items & 1 << at != 0).map(|at| at.to_string()).collect()
}

fn bits(names: &[String]) -> Items {
    names.iter().filter_map(|name| name.parse::<u8>().ok()).fold(0, |items, at| items | 1 << at)
}

fn published(item: u8) -> PublishedItem {
    PublishedItem { item_id: item.to_string(), url: String::new(), strategy: String::new() }
}

fn look_of(seen: Items, matching: Items, whole: bool) -> Look {
    let items = names(seen).into_iter().map(|item_id| {
        let matches = bits(std::slice::from_ref(&item_id)) & matching != 0;
        SeenItem { item_id, url: String::new(), matches }
    });
    let mut look = Look::default();
    look.items.extend(items);
    look.whole = whole;
    look
}

fn attempt_of(job: &job::Job) -> u8 {
    u8::try_from(job.attempt.min(retry::MAX_ATTEMPTS).saturating_sub(TRIES_SKIPPED)).unwrap_or(u8::MAX)
}

fn lease_of(job: &job::Job) -> Number {
    job.run_lease.map_or(0, |lease| Number::try_from(lease.0).unwrap_or(Number::MAX))
}

fn job_of(state: job::State, attempt: u8, lease: Number, cancel_requested: bool) -> job::Job {
    let leased = matches!(state, job::State::Leased | job::State::Running);
    job::Job {
        id: JobId(Uuid::nil()),
        workspace: WorkspaceId(Uuid::nil()),
        kind: job::Kind::Publish,
        agent: AgentId(Uuid::nil()),
        account: AccountId(Uuid::nil()),
        posting: Some(PostingId(Uuid::nil())),
        intent: Some(IntentId(Uuid::nil())),
        state,
        priority: 0,
        attempt: TRIES_SKIPPED + u32::from(attempt),
        run_lease: (lease > 0).then(|| run_lease(lease)),
        lease_until: leased.then_some(NOW),
        run_started_at: None,
        run_after: NOW,
        cancel_requested,
        failure: None,
        discarded_at: None,
        trace_context: None,
        created_at: NOW,
        updated_at: NOW,
        version: Version(1),
    }
}

fn publication_of(row: Row) -> Publication {
    let job = job_of(row.job, row.attempt, row.lease, row.cancel);
    let permit = (row.permit > 0).then(|| Permit {
        id: PermitId(uuid(u32::from(row.permit))),
        request: row.permit.to_string(),
        run_lease: run_lease(row.permit_lease),
        epoch: SessionEpoch(0),
        armed_at: NOW,
        report_by: NOW,
    });
    let intent = Intent {
        id: IntentId(Uuid::nil()),
        workspace: job.workspace,
        posting: PostingId(Uuid::nil()),
        account: job.account,
        generation: 1,
        state: row.state,
        baseline: names(row.baseline),
        fingerprint: FORM.to_owned(),
        permit,
        item: (row.item > 0).then(|| published(row.item - 1)),
        reason: None,
        looks: Looks {
            taken: u32::from(row.taken),
            clean: u32::from(row.clean),
            first_clean_at: match row.first_clean {
                Since::Never => None,
                Since::Lately => Some(NOW),
                Since::LongAgo => Some(NOW - HORIZON),
            },
        },
        created_at: NOW,
        updated_at: NOW,
        version: Version(1),
    };
    let posting = Posting {
        id: intent.posting,
        workspace: job.workspace,
        listing: ListingId(Uuid::nil()),
        account: job.account,
        generation: 1,
        state: shown(row),
        job: job.id,
        intent: intent.id,
        item: intent.item.clone(),
        failure: None,
        created_at: NOW,
        updated_at: NOW,
        version: Version(1),
    };
    Publication { posting, job, intent }
}

/// Small again. Counters are kept as far as the rules tell them apart.
fn row_of(publication: &Publication) -> Row {
    let Publication { posting: _, job, intent } = publication;
    let number = |text: &str| text.parse::<Number>().unwrap_or(0);
    let least = |count: u32, cap: usize| {
        u8::try_from(count as usize).unwrap_or(u8::MAX).min(u8::try_from(cap).unwrap_or(u8::MAX))
    };
    let permit = intent.permit.as_ref();
    Row {
        job: job.state,
        attempt: attempt_of(job),
        lease: lease_of(job),
        cancel: job.cancel_requested,
        intent: 0,
        state: intent.state,
        baseline: bits(&intent.baseline),
        permit: permit.map_or(0, |permit| number(&permit.request)),
        permit_lease: permit.map_or(0, |permit| Number::try_from(permit.run_lease.0).unwrap_or(Number::MAX)),
        item: intent.item.as_ref().map_or(0, |item| number(&item.item_id) + 1),
        taken: least(intent.looks.taken, SCHEDULE.len()),
        clean: least(intent.looks.clean, CLEAN_LOOKS as usize),
        first_clean: match intent.looks.first_clean_at {
            None => Since::Never,
            Some(at) if NOW.since(at) >= HORIZON => Since::LongAgo,
            Some(_) => Since::Lately,
        },
    }
}
