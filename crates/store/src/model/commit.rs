//! [`Change`]: everything or nothing, statement by statement in the order of the engines.

use tradepost_domain::job::{self, Job};
use tradepost_domain::posting::{self, Posting};
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::time::Timestamp;

use super::{StoredReceipt, Tables, Tx, refused, unless};
use crate::{Change, ChangeReceipt, Conflict, Error, Hint};

pub(super) fn apply(tx: &mut Tx<'_>, change: Change, now: Timestamp) -> Result<(), Error> {
    let Change {
        guard,
        pacing: mut paced,
        mut jobs,
        mut intents,
        mut postings,
        new_jobs,
        new_intents,
        new_postings,
        receipt,
        look,
        events,
    } = change;
    paced.sort_unstable_by_key(|pacing| pacing.account);
    jobs.sort_unstable_by_key(|job| job.id);
    intents.sort_unstable_by_key(|intent| intent.id);
    postings.sort_unstable_by_key(|posting| posting.id);
    let tables = &mut *tx.tables;
    if let Some(guard) = guard {
        unless(!tables.holds_stream(guard.agent, guard.epoch), Error::Stale)?;
    }
    for changed in paced {
        tx.hints.extend(tables.update_pacing(changed)?.map(Hint::Agent));
    }
    for posting in new_postings {
        tables.insert_posting(posting)?;
    }
    for intent in new_intents {
        tables.insert_intent(intent)?;
    }
    for job in &jobs {
        tables.update_job(job)?;
    }
    for job in &new_jobs {
        unless(tables.jobs.has(job.id), Conflict::Id)?;
        tables.write_job(job.clone())?;
    }
    for intent in intents {
        tables.update_intent(intent)?;
    }
    for posting in postings {
        tables.update_posting(posting)?;
    }
    if let Some(receipt) = receipt {
        tables.insert_receipt(receipt, now)?;
    }
    if let Some(look) = look {
        tables.insert_look(look);
    }
    for job in jobs.iter().chain(&new_jobs) {
        if !runs(job) {
            tx.hints.push(Hint::Agent(job.agent));
        } else if job.cancel_requested {
            tx.hints.push(Hint::Cancel(job.agent));
        }
    }
    tx.append_events(&events, now)
}

impl Tables {
    fn insert_posting(&mut self, posting: Posting) -> Result<(), Error> {
        unless(!self.has_listing(posting.workspace, posting.listing), Error::Stale)?;
        unless(self.postings.has(posting.id), Conflict::Id)?;
        self.write_posting(posting)
    }

    fn update_posting(&mut self, posting: Posting) -> Result<(), Error> {
        let stored = self
            .postings
            .get(posting.id)
            .filter(|stored| stored.workspace == posting.workspace && stored.version == posting.version);
        let Some(Posting { listing, account, created_at, .. }) = stored.cloned() else {
            return Err(Error::Stale);
        };
        let mut next = Posting { listing, account, created_at, ..posting };
        next.version.0 += 1;
        self.write_posting(next)
    }

    /// With the unique rules of the table.
    pub(super) fn write_posting(&mut self, posting: Posting) -> Result<(), Error> {
        let others = || self.postings.rows().filter(|other| other.id != posting.id);
        let same = |other: &Posting| other.listing == posting.listing && other.account == posting.account;
        let taken = is_open(&posting) && others().any(|other| is_open(other) && same(other));
        unless(taken, Conflict::PostingOpen)?;
        unless(others().any(|other| other.job == posting.job), Conflict::Id)?;
        unless(!self.accounts.has(posting.account), refused("postings_account"))?;
        self.postings.put(posting.id, posting);
        Ok(())
    }

    fn insert_intent(&mut self, intent: Intent) -> Result<(), Error> {
        unless(self.intents.has(intent.id), Conflict::Id)?;
        let baseline = intent.baseline.clone();
        let id = intent.id;
        self.write_intent(intent)?;
        if !baseline.is_empty() {
            self.baselines.put(id, baseline);
        }
        Ok(())
    }

    fn update_intent(&mut self, intent: Intent) -> Result<(), Error> {
        let stored = self
            .intents
            .get(intent.id)
            .filter(|stored| stored.workspace == intent.workspace && stored.version == intent.version);
        let Some(Intent { posting, account, created_at, .. }) = stored.cloned() else {
            return Err(Error::Stale);
        };
        // The baseline is of the time before the click: nothing after the preparation changes it.
        if matches!(intent.state, publish::State::Preparing | publish::State::Prepared) {
            self.baselines.put(intent.id, intent.baseline.clone());
        }
        let mut next = Intent { posting, account, created_at, ..intent };
        next.version.0 += 1;
        self.write_intent(next)
    }

    /// With the unique rules of the table. The baseline is kept apart.
    fn write_intent(&mut self, intent: Intent) -> Result<(), Error> {
        let others = || self.intents.rows().filter(|other| other.id != intent.id);
        let of_account = || others().filter(|other| other.account == intent.account);
        let unarmed = intent.state == publish::State::Armed && intent.permit.is_none();
        unless(unarmed, refused("intents_armed_by_permit"))?;
        // I2
        let holds = intent.state.holds_account();
        unless(holds && of_account().any(|other| other.state.holds_account()), Conflict::AccountBusy)?;
        // I6
        let item = intent.item.as_ref().map(|item| &item.item_id);
        let taken = |other: &Intent| other.item.as_ref().map(|item| &item.item_id) == item;
        unless(item.is_some() && of_account().any(taken), Conflict::ItemTaken)?;
        let permit = intent.permit.as_ref().map(|permit| permit.id);
        let given = |other: &Intent| other.permit.as_ref().map(|permit| permit.id) == permit;
        unless(permit.is_some() && others().any(given), Conflict::Id)?;
        let again = |other: &Intent| other.posting == intent.posting && other.generation == intent.generation;
        unless(others().any(again), Error::Stale)?;
        unless(!self.postings.has(intent.posting), refused("intents_posting"))?;
        unless(!self.accounts.has(intent.account), refused("intents_account"))?;
        self.intents.put(intent.id, Intent { baseline: Vec::new(), ..intent });
        Ok(())
    }

    fn update_job(&mut self, job: &Job) -> Result<(), Error> {
        let stored = self
            .jobs
            .get(job.id)
            .filter(|stored| stored.workspace == job.workspace && stored.version == job.version);
        let Some(Job { kind, account, posting, trace_context, created_at, .. }) = stored.cloned() else {
            return Err(Error::Stale);
        };
        let mut next = Job { kind, account, posting, trace_context, created_at, ..job.clone() };
        next.version.0 += 1;
        self.write_job(next)
    }

    /// With the rules of the table.
    pub(super) fn write_job(&mut self, job: Job) -> Result<(), Error> {
        let unleased = runs(&job) != job.lease_until.is_some();
        unless(unleased || job.lease_until.is_some() && job.run_lease.is_none(), refused("jobs_leased"))?;
        let busy = |other: &Job| other.id != job.id && other.account == job.account && runs(other);
        unless(runs(&job) && self.jobs.rows().any(busy), Error::Stale)?;
        let open = |other: &Job| other.id != job.id && other.kind == job.kind && is_open_errand(other);
        let login = |other: &Job| other.account == job.account && open(other);
        let of_login = job.kind == job::Kind::Login && is_open_errand(&job);
        unless(of_login && self.jobs.rows().any(login), Conflict::LoginOpen)?;
        let look = |other: &Job| other.intent == job.intent && open(other);
        let of_look = job.kind == job::Kind::Reconcile && job.intent.is_some() && is_open_errand(&job);
        unless(of_look && self.jobs.rows().any(look), Conflict::LookOpen)?;
        unless(!self.agents.has(job.agent), refused("jobs_agent"))?;
        unless(!self.accounts.has(job.account), refused("jobs_account"))?;
        let lost = job.posting.is_some_and(|posting| !self.postings.has(posting));
        unless(lost, refused("jobs_posting"))?;
        unless(job.intent.is_some_and(|intent| !self.intents.has(intent)), refused("jobs_intent"))?;
        self.jobs.put(job.id, job);
        Ok(())
    }

    fn insert_receipt(&mut self, receipt: ChangeReceipt, now: Timestamp) -> Result<(), Error> {
        let ChangeReceipt { workspace, posting, intent, receipt } = receipt;
        unless(!self.intents.has(intent) || !self.postings.has(posting), refused("receipts_intent"))?;
        if !self.receipts.has(intent) {
            self.receipts.put(intent, StoredReceipt { workspace, posting, receipt, created_at: now });
        }
        Ok(())
    }
}

/// Whether it stands in the way of another posting of the same listing on the same account.
fn is_open(posting: &Posting) -> bool {
    matches!(
        posting.state,
        posting::State::Queued
            | posting::State::Running
            | posting::State::Uncertain
            | posting::State::NeedsHuman
    )
}

/// Whether it is a sign-in or a look that has not ended.
pub(super) fn is_open_errand(job: &Job) -> bool {
    job.kind != job::Kind::Publish
        && matches!(
            job.state,
            job::State::Queued
                | job::State::Leased
                | job::State::Running
                | job::State::Parked
                | job::State::NeedsHuman
        )
}

/// Whether it takes its account.
pub(super) fn runs(job: &Job) -> bool {
    matches!(job.state, job::State::Leased | job::State::Running)
}
