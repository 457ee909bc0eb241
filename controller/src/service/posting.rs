//! Postings: asked for, cancelled, tried again, resolved by a person, proven.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::json;
use tradepost_domain::account::Account;
use tradepost_domain::audit::{Detail, Target};
use tradepost_domain::event::{self, NewEvent, Subject};
use tradepost_domain::field::Violations;
use tradepost_domain::id::{AccountId, IntentId, JobId, ListingId, PostingId, RequestId, Version};
use tradepost_domain::job::{self, Job};
use tradepost_domain::listing::{Content, Listing};
use tradepost_domain::posting::{
    self, Event, Posting, Publication, Receipt, Resolution, State, Trail, Witness,
};
use tradepost_domain::publish::{self, Intent, Looks, PublishedItem};
use tradepost_domain::reconcile::LookRecord;
use tradepost_domain::time::Timestamp;
use tradepost_domain::waiting::Wait;
use tradepost_recipe::{catalogue, values};
use tradepost_runtime::telemetry;
use tradepost_store::{Asked, Change, Conflict, Error as StoreError, Ground, PostingFilter, audit};
use url::Url;

use super::core::{Caller, Core, TRIES};
use super::error::{Error, Reason, Result};
use super::page::{Page, Query};
use super::work::{job_event, posting_event, told_of};

/// What a caller asks for.
#[derive(Debug, Clone)]
pub struct NewPosting {
    /// The caller's own name of the request.
    pub request: RequestId,
    /// What to post.
    pub listing: ListingId,
    /// Where.
    pub account: AccountId,
    /// Higher goes first; -100 to 100.
    pub priority: i32,
    /// Post the listing even if it is published on the account already.
    pub again: bool,
}

/// Most postings of one request.
const BATCH_MAX: usize = 1_000;

/// A person's finding about an uncertain posting.
#[derive(Debug, Clone)]
pub enum Finding {
    /// It is published, with the marketplace's id and the address, as the person wrote them.
    Published {
        /// The marketplace's id.
        item_id: String,
        /// The listing's address.
        url: String,
    },
    /// It is not.
    NotPublished,
}

impl Core {
    /// Asks for a posting. The same request gives the same posting. Returned with what it waits for.
    pub async fn create_posting(&self, caller: &Caller, new: NewPosting) -> Result<(Posting, Option<Wait>)> {
        let mut created =
            self.create(caller, std::slice::from_ref(&new)).await.map_err(|(_, error)| error)?;
        created.pop().ok_or_else(|| Error::internal("one posting was asked for, and none was made"))
    }

    /// Asks for many postings: all are made, or none. Those that the same requests made before are returned as they are.
    pub async fn create_postings(
        &self,
        caller: &Caller,
        new: &[NewPosting],
    ) -> Result<Vec<(Posting, Option<Wait>)>> {
        if new.is_empty() || new.len() > BATCH_MAX {
            let message = format!("are {}; ask for 1 to {BATCH_MAX} postings at once", new.len());
            return Err(Error::field("requests", message));
        }
        let mut seen = HashSet::new();
        if let Some(at) = new.iter().position(|one| !seen.insert(one.request.as_str())) {
            let message = "is that of an earlier one; each posting needs its own";
            return Err(Error::field(&format!("requests[{at}].request_id"), message));
        }
        self.create(caller, new).await.map_err(|(at, error)| match at {
            Some(at) => error.within(&format!("requests[{at}]")),
            None => error,
        })
    }

    /// The error says which one is at fault, where one is.
    async fn create(
        &self,
        caller: &Caller,
        new: &[NewPosting],
    ) -> Result<Vec<(Posting, Option<Wait>)>, (Option<usize>, Error)> {
        let workspace = caller.workspace;
        let asked: Vec<Asked> = new
            .iter()
            .map(|one| Asked {
                workspace,
                posting: PostingId::of_request(workspace, &one.request),
                listing: one.listing,
                account: one.account,
            })
            .collect();
        for tries_left in (0..TRIES).rev() {
            let grounds = self.store.find_grounds(&asked).await.map_err(|error| (None, error.into()))?;
            let mut change = Change::default();
            let mut answers = Vec::with_capacity(new.len());
            for (at, (one, ground)) in new.iter().zip(&grounds).enumerate() {
                if let Some(made) = &ground.made {
                    answers.push((made.clone(), None));
                    continue;
                }
                let publication = self.fresh(caller, one, ground).map_err(|error| (Some(at), error))?;
                answers.push((publication.posting.clone(), Some(self.at_first(ground))));
                add_created(&mut change, publication);
            }
            let committed = if change == Change::default() {
                Ok(())
            } else {
                tell(&change.new_postings);
                self.store.commit(change, self.now()).await
            };
            match committed {
                Ok(()) => return self.with_waits(answers).await.map_err(|error| (None, error)),
                // The same request on another controller was quicker, or the id is something else's.
                Err(StoreError::Conflict(Conflict::Id)) if tries_left > 0 => {}
                Err(error) => return Err((None, error.into())),
            }
        }
        Err((None, Error::contention()))
    }

    /// What those wait for that were made before is looked up.
    async fn with_waits(
        &self,
        answers: Vec<(Posting, Option<Wait>)>,
    ) -> Result<Vec<(Posting, Option<Wait>)>> {
        let mut all = Vec::with_capacity(answers.len());
        for (posting, wait) in answers {
            match wait {
                Some(wait) => all.push((posting, Some(wait))),
                None => all.extend(self.waiting_for(vec![posting]).await?),
            }
        }
        Ok(all)
    }

    fn fresh(&self, caller: &Caller, new: &NewPosting, ground: &Ground) -> Result<Publication> {
        check_priority(new.priority)?;
        let account = ground.account.as_ref();
        let account =
            account.ok_or_else(|| Error::not_found(Reason::AccountNotFound, "account", new.account))?;
        let listing = ground.listing.as_ref();
        let listing =
            listing.ok_or_else(|| Error::not_found(Reason::ListingNotFound, "listing", new.listing))?;
        check_site(account, &listing.content)?;
        if let (false, Some(published)) = (new.again, &ground.published) {
            return Err(published_already(published, listing, account));
        }
        let agent = account.agent.ok_or_else(|| unbound(account))?;
        let (workspace, now) = (caller.workspace, self.now());
        let posting = PostingId::of_request(workspace, &new.request);
        let job = JobId::of_request(workspace, &new.request);
        let intent = IntentId::of_request(workspace, &new.request);
        Ok(Publication {
            posting: Posting {
                id: posting,
                workspace,
                listing: new.listing,
                account: account.id,
                generation: 1,
                state: State::Queued,
                job,
                intent,
                item: None,
                failure: None,
                created_at: now,
                updated_at: now,
                version: Version(1),
            },
            job: Job {
                id: job,
                workspace,
                kind: job::Kind::Publish,
                agent,
                account: account.id,
                posting: Some(posting),
                intent: Some(intent),
                state: job::State::Queued,
                priority: new.priority,
                attempt: 0,
                run_lease: None,
                lease_until: None,
                run_started_at: None,
                run_after: now,
                cancel_requested: false,
                failure: None,
                discarded_at: None,
                trace_context: telemetry::current_traceparent(),
                created_at: now,
                updated_at: now,
                version: Version(1),
            },
            intent: Intent {
                id: intent,
                workspace,
                posting,
                account: account.id,
                generation: 1,
                state: publish::State::Preparing,
                baseline: Vec::new(),
                fingerprint: String::new(),
                permit: None,
                item: None,
                reason: None,
                looks: Looks::default(),
                created_at: now,
                updated_at: now,
                version: Version(1),
            },
        })
    }

    /// One posting.
    pub async fn posting(&self, caller: &Caller, id: PostingId) -> Result<Posting> {
        let found = self.store.find_posting(caller.workspace, id).await?;
        found.ok_or_else(|| Error::not_found(Reason::PostingNotFound, "posting", id))
    }

    /// Newest first.
    pub async fn postings(
        &self,
        caller: &Caller,
        filter: PostingFilter,
        query: &Query,
    ) -> Result<Page<Posting>> {
        let list = format!("postings {:?} {:?}", filter.state.map(State::name), filter.account);
        let request = query.request(&list)?;
        Ok(Page::new(&list, self.store.list_postings(caller.workspace, filter, request).await?))
    }

    /// Ends a posting before its click. Asking again changes nothing.
    pub async fn cancel_posting(&self, caller: &Caller, id: PostingId) -> Result<Posting> {
        audit::about(Target::Posting, id.0);
        let publication = self
            .decide(caller.workspace, id, |publication, _| {
                let cancelled =
                    publication.job.state == job::State::Cancelled || publication.job.cancel_requested;
                Ok((!cancelled).then(|| job::Event::RequestCancel.into()))
            })
            .await
            .map_err(|error| match error.reason {
                Reason::WrongState => Error::new(Reason::WrongState, "the posting has ended already"),
                _ => error,
            })?;
        Ok(publication.posting)
    }

    /// Gives a posting another place in its account's queue.
    pub async fn prioritize_posting(&self, caller: &Caller, id: PostingId, priority: i32) -> Result<Posting> {
        check_priority(priority)?;
        audit::about(Target::Posting, id.0);
        audit::detail(Detail::Priority, priority);
        let decided = self.decide(caller.workspace, id, |publication, _| {
            let job = &publication.job;
            if job.priority == priority && !job.state.is_terminal() {
                return Ok(None);
            }
            let told = told_of(job, caller, json!({ "priority": priority }));
            let with = Change { events: vec![told], ..Change::default() };
            let event = Event::Job(job::Event::Prioritize(priority));
            Ok(Some(super::work::Decision { with, ..event.into() }))
        });
        let publication = decided.await.map_err(|error| match error.reason {
            Reason::WrongState => Error::new(
                Reason::WrongState,
                "the posting has ended; its place in the queue does not matter any more",
            ),
            _ => error,
        })?;
        Ok(publication.posting)
    }

    /// Tries again after an end without a listing, or once a person has done what was needed.
    pub async fn retry_posting(&self, caller: &Caller, id: PostingId) -> Result<Posting> {
        audit::about(Target::Posting, id.0);
        let before = self.publication(caller, id).await?;
        // What the state does not allow is refused for the state, whatever became of the listing.
        if posting::step(&before, Event::Retry, IntentId(self.id()), self.now()).is_ok() {
            self.listing(caller, before.posting.listing).await?;
        }
        let retried = self.decide(caller.workspace, id, |_, _| Ok(Some(Event::Retry.into()))).await;
        match retried {
            Err(error) if error.reason == Reason::PastTheFence => {
                let publication = self.publication(caller, id).await?;
                if self.resume_look(&publication).await? { Ok(publication.posting) } else { Err(error) }
            }
            Err(error) if error.reason == Reason::WrongState => {
                Err(Error::new(Reason::WrongState, no_retry(before.posting.state)))
            }
            retried => Ok(retried?.posting),
        }
    }

    /// Takes a person's finding about an uncertain posting.
    pub async fn resolve_posting(&self, caller: &Caller, id: PostingId, finding: Finding) -> Result<Posting> {
        let item = match finding {
            Finding::Published { item_id, url } => {
                let posting = self.posting(caller, id).await?;
                let account = self.account(caller, posting.account).await?;
                Some(check_item(&account, &item_id, &url)?)
            }
            Finding::NotPublished => None,
        };
        audit::about(Target::Posting, id.0);
        audit::detail(Detail::Finding, if item.is_some() { "published" } else { "not_published" });
        let looks = self.store.list_looks(caller.workspace, id).await?;
        let decided = self.decide(caller.workspace, id, |publication, now| {
            let event = match &item {
                Some(item) => publish::Event::ResolvedPublished(item.clone()),
                None => publish::Event::ResolvedNotPublished,
            };
            let receipt = item.as_ref().map(|item| resolved_receipt(publication, item, caller, &looks, now));
            let told = resolved_event(publication, caller, item.as_ref());
            let with = Change { events: vec![told], ..Change::default() };
            Ok(Some(super::work::Decision { receipt, with, ..event.into() }))
        });
        let publication = decided.await.map_err(|error| match error.reason {
            Reason::WrongState => Error::new(
                Reason::WrongState,
                "only an uncertain posting can be resolved; this one's fate is known, or it has not been clicked",
            ),
            _ => error,
        })?;
        Ok(publication.posting)
    }

    /// The proof of publication.
    pub async fn receipt(&self, caller: &Caller, id: PostingId) -> Result<Receipt> {
        let found = self.store.find_receipt(caller.workspace, id).await?;
        if let Some(receipt) = found {
            return Ok(receipt);
        }
        let posting = self.posting(caller, id).await?;
        let state = posting.state.name().replace('_', " ");
        Err(Error::new(
            Reason::ReceiptNotFound,
            format!("the posting is {state}; a receipt exists once it is published"),
        ))
    }

    pub(super) async fn publication(&self, caller: &Caller, id: PostingId) -> Result<Publication> {
        let found = self.store.find_publication(caller.workspace, id).await?;
        found.ok_or_else(|| Error::not_found(Reason::PostingNotFound, "posting", id))
    }
}

fn check_priority(priority: i32) -> Result<()> {
    if job::PRIORITIES.contains(&priority) {
        return Ok(());
    }
    Err(Error::field("priority", format!("is {priority}; use -100 to 100")))
}

/// Why a posting in this state is not tried again, and what to do instead.
fn no_retry(state: State) -> &'static str {
    match state {
        State::Cancelled => "a cancelled posting cannot be tried again; create a new posting of the listing",
        State::Published => {
            "the posting is published, so there is nothing to try again; to post the listing once more, create a new \
             posting with --again"
        }
        State::Queued | State::Running => "the posting has not ended; it goes on without a retry",
        State::Uncertain | State::NeedsHuman | State::Failed => {
            "the posting changed meanwhile and cannot be tried again now; look at it first"
        }
    }
}

/// The account has no agent.
pub(super) fn unbound(account: &Account) -> Error {
    Error::new(
        Reason::AccountUnbound,
        format!(
            "the account {:?} is bound to no agent; bind it with `tradepost accounts bind`",
            account.name
        ),
    )
}

/// A listing that is on the site already is not posted a second time by mistake.
fn published_already(published: &Posting, listing: &Listing, account: &Account) -> Error {
    let at = published.item.as_ref().map_or_else(String::new, |item| format!(" ({})", item.url));
    Error::new(
        Reason::PublishedAlready,
        format!(
            "the listing {:?} is published on the account {:?} already, by posting {}{at}; use --again to post it \
             once more",
            listing.content.title, account.name, published.id
        ),
    )
}

/// Says in the audit log what is asked for. Many are one entry: the first, and how many.
fn tell(made: &[Posting]) {
    let Some(first) = made.first() else { return };
    audit::about(Target::Posting, first.id.0);
    if made.len() == 1 {
        audit::detail(Detail::Account, first.account);
    } else {
        audit::detail(Detail::Count, made.len());
    }
}

fn add_created(change: &mut Change, publication: Publication) {
    let Publication { posting, job, intent } = publication;
    let asked = NewEvent {
        workspace: posting.workspace,
        kind: event::Kind::PostingCreated,
        subject: Subject {
            account: Some(posting.account),
            listing: Some(posting.listing),
            posting: Some(posting.id),
            job: Some(job.id),
            agent: Some(job.agent),
        },
        data: json!({ "generation": posting.generation, "priority": job.priority }),
    };
    change.events.extend([asked, posting_event(&posting), job_event(&job)]);
    change.new_postings.push(posting);
    change.new_jobs.push(job);
    change.new_intents.push(intent);
}

/// Who said what, for the feed.
fn resolved_event(publication: &Publication, caller: &Caller, item: Option<&PublishedItem>) -> NewEvent {
    let posting = &publication.posting;
    NewEvent {
        workspace: posting.workspace,
        kind: event::Kind::PostingResolved,
        subject: Subject {
            account: Some(posting.account),
            listing: Some(posting.listing),
            posting: Some(posting.id),
            job: Some(posting.job),
            agent: None,
        },
        data: json!({
            "by": caller.user,
            "finding": if item.is_some() { "published" } else { "not_published" },
            "item_id": item.map(|item| item.item_id.as_str()),
            "was": publication.intent.state.name(),
            "looks": publication.intent.looks.taken,
        }),
    }
}

/// A receipt on a person's word: nothing was read back by a program; what the looks saw stands beside it.
fn resolved_receipt(
    publication: &Publication,
    item: &PublishedItem,
    caller: &Caller,
    looks: &[LookRecord],
    now: Timestamp,
) -> Receipt {
    let intent = &publication.intent;
    let last = looks.iter().rfind(|look| look.generation == intent.generation);
    Receipt {
        item: item.clone(),
        baseline_count: intent.baseline.len(),
        read_back: Vec::new(),
        evidence: Vec::new(),
        recipe: String::from("resolved by a person"),
        agent: publication.job.agent,
        prepare_ms: 0,
        confirm_ms: 0,
        trail: Trail {
            witness: Witness::Person,
            new_items: last
                .map(|look| look.new.iter().map(|seen| seen.item_id.clone()).collect())
                .unwrap_or_default(),
            count_after: last.filter(|look| look.whole).map(|look| look.total),
            permit_ms: 0,
            resolution: Some(Resolution {
                by: caller.email.clone(),
                at: now,
                looks: intent.looks.taken,
                question: intent.reason.clone().unwrap_or_default(),
            }),
        },
    }
}

/// What a person says of a published listing: an id, and an address on the account's site.
fn check_item(account: &Account, item_id: &str, url: &str) -> Result<PublishedItem> {
    let mut violations = Violations::new();
    let read = || {
        let site = catalogue::site(account.site.as_str()).ok()?;
        site.item_id(&Url::parse(url.trim()).ok()?)
    };
    // The address of a listing names it; only a site that does not say so needs the id besides.
    let item_id = match item_id.trim() {
        "" => read().unwrap_or_default(),
        given => given.to_owned(),
    };
    if item_id.is_empty() {
        let message = "cannot be read from the address; copy the address of the listing's own page, or give its id, too";
        violations.push("item.item_id", message);
    } else {
        violations.text("item.item_id", &item_id, 1, 200);
    }
    let url = violations.text("item.url", url, 1, 2_000);
    let site = account.site_url.origin();
    let on_site = Url::parse(&url).is_ok_and(|url| url.origin() == site);
    if !url.is_empty() && !on_site {
        let shown: String = url.chars().take(80).collect();
        let message = format!(
            "{shown:?} is no address on {}; copy the listing's address from the site, with its http:// or https://",
            site.ascii_serialization()
        );
        violations.push("item.url", message);
    }
    violations
        .into_result(|| Some(PublishedItem { item_id, url, strategy: String::from("person") }))
        .map_err(Error::from)
}

/// Everything about the listing that the account's site cannot take, at once.
pub(super) fn check_site(account: &Account, content: &Content) -> Result<()> {
    let site = catalogue::site(account.site.as_str()).map_err(|problem| {
        Error::new(Reason::SiteUnknown, format!("account {:?}: {problem}", account.name))
    })?;
    let mut violations = Violations::new();
    let currency = content.price.currency();
    if currency != account.currency {
        let message =
            format!("is in {currency}, but the account {:?} trades in {}", account.name, account.currency);
        violations.push("price", message);
    }
    let listing = values::Listing {
        title: content.title.clone(),
        description: content.description.clone(),
        price: content.price,
        category: content.category.clone(),
        condition: content.condition,
        location: content.location.clone(),
        sku: content.sku.clone(),
        attributes: content.attributes.clone(),
        photos: content.photos.iter().map(|photo| PathBuf::from(photo.to_string())).collect(),
    };
    if let Err(wrong) = site.pack.listing_values(&listing) {
        for (field, reason) in wrong {
            violations.push(field, reason);
        }
    }
    if violations.0.is_empty() {
        return Ok(());
    }
    let mut error = Error::violations(Reason::ListingUnfit, violations);
    error.message = format!("{} cannot take this listing: {}", site.pack.title, error.message);
    Err(error)
}
