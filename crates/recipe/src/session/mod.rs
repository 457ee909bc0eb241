//! One job's walk over one page, in phases.
//!
//! A runner calls, in this order: [`Session::login_check`], [`Session::baseline`], [`Session::prepare`]; then, holding a
//! permit and having journalled it, [`Session::revalidate`] and [`Session::commit`]; then [`Session::confirm`] and
//! [`Session::read_back`]. [`Session::scan`] stands alone, for reconciliation.
//!
//! Every method may be dropped at any await: nothing is left behind but the page's own state. Up to `prepare`
//! everything can be repeated; after `commit` the session refuses to click again.

mod confirm;
mod failure;
mod photos;
mod prepare;
mod scan;
mod sign_in;
mod steps;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::money::Currency;

pub(crate) use self::scan::capture;
use crate::catalogue::Site;
use crate::locate::{Condition, Target, TextMatch};
use crate::normal::{self, Compare};
use crate::page::{Page, Sighting};
use crate::schema::{Job, Recipe, Version};
use crate::values::{Input, Values};

/// Which part of a job a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Who is signed in.
    LoginCheck,
    /// Signing in.
    Login,
    /// The own items before the click.
    Baseline,
    /// Filling the form.
    Prepare,
    /// Looking once more, right before the click.
    Revalidate,
    /// The click.
    Commit,
    /// Finding out what it did.
    Confirm,
    /// Comparing the published page.
    ReadBack,
    /// Listing the own items.
    Scan,
}

/// Something that happened in a step, told as it happens.
#[derive(Debug, Clone, PartialEq)]
pub enum StepEvent {
    /// A step begins.
    Started(StepInfo),
    /// A step has ended.
    Finished {
        /// Which.
        step: StepInfo,
        /// How long it took.
        duration: Duration,
        /// What it did, e.g. which fallback matched; empty when there is nothing to say.
        note: String,
        /// How it ended.
        result: Result<(), Failure>,
    },
}

/// A step's place in its phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInfo {
    /// The phase.
    pub phase: Phase,
    /// Counted from 1 within the phase; steps inside a branch have the branch's number.
    pub index: usize,
    /// Steps of the phase.
    pub total: usize,
    /// What it does, as the seller reads it.
    pub name: String,
}

/// Who is told about each step; called in order, from the session's own task. Must not block.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn observe(&self, event: StepEvent);
}

/// Someone is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The account's name as the site shows it; none where it shows none.
    pub account: Option<String>,
}

/// A sign-in with a credential did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSignedIn {
    /// Why.
    pub failure: Failure,
    /// Whether a part of the credential was, or may have been, typed into the page.
    pub typed: bool,
}

/// The account's own items before the click.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline {
    /// Their ids on the site.
    pub items: BTreeSet<String>,
    /// Every list was read to its end, as far as the site lets that be seen.
    pub complete: bool,
}

/// The form is filled, and nothing irrevocable has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// SHA-256, in hexadecimal, over what was read back from the form.
    pub fingerprint: String,
    /// What was read back, as (field, value) in the order of filling.
    pub fields: Vec<(String, String)>,
}

/// What became of the one click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clicked {
    /// It was sent, or it is not known that it was not: confirm, never click again.
    Sent,
    /// It certainly did not take place.
    NotClicked(Failure),
}

/// What the click did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// The listing is on the site.
    Published {
        /// Its id on the site.
        item_id: String,
        /// Its address.
        url: String,
        /// How that was found out: `url`, `link`, `baseline_difference`.
        strategy: String,
    },
    /// The site refused it; nothing was published.
    Rejected(Failure),
    /// Not known; reconcile.
    Uncertain(String),
}

/// The published page compared with the listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// One entry per field compared.
    pub fields: Vec<FieldCheck>,
}

/// One field of the published page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldCheck {
    /// The listing's field.
    pub field: String,
    /// What should be there.
    pub wanted: String,
    /// What is there; none when it was not found.
    pub shown: Option<String>,
    /// Whether both mean the same.
    pub same: bool,
}

/// One of the account's own items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnItem {
    /// Its id on the site.
    pub id: String,
    /// Its title as shown.
    pub title: String,
    /// Its price as shown.
    pub price: String,
    /// Its address, absolute; empty where the list has no link.
    pub url: String,
    /// Its state as shown.
    pub state: String,
    /// The list it is in.
    pub list: String,
}

/// The account's own items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Items of all lists.
    pub items: Vec<OwnItem>,
    /// One report per list.
    pub lists: Vec<ListReport>,
}

/// How far one list was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListReport {
    /// The list.
    pub name: String,
    /// Rows read.
    pub found: usize,
    /// The site's own count, where it shows one.
    pub counted: Option<usize>,
    /// Read to the end, and as many as the site counts.
    pub complete: bool,
}

/// One job on one page. See the module's description for the order of calls.
pub struct Session {
    site: Arc<Site>,
    input: Input,
    page: Arc<dyn Page>,
    observer: Arc<dyn Observer>,
    values: Values,
    /// Fields on the form's present page.
    open_fields: Vec<Filled>,
    /// What was read back on the form's earlier pages.
    left_fields: Vec<(String, String)>,
    /// Optional fields that the form does not have.
    absent_fields: BTreeSet<String>,
    baseline: Option<Baseline>,
    prepared: Option<Prepared>,
    committed: bool,
    /// A stored password is being put in: what a form complains about is not the listing.
    signing_in: bool,
    /// A part of a credential was typed, or perhaps typed.
    typed_secret: bool,
    /// The address that was loaded last, while nothing was done on its page, and when.
    fresh: Option<(String, tokio::time::Instant)>,
}

/// A field that was filled, and how to see whether it still holds its value.
#[derive(Debug, Clone)]
struct Filled {
    field: String,
    target: Target,
    hold: Hold,
    /// What was read back, in normal form.
    read: String,
}

/// What a filled control has to show.
#[derive(Debug, Clone)]
enum Hold {
    Same { wanted: String, compare: Compare },
    Shows(TextMatch),
    Checked(bool),
    Count(usize),
    NoneTicked,
}

/// A step under way.
struct Running {
    info: StepInfo,
    started: tokio::time::Instant,
}

/// Name of the step that compares accounts.
const SEE_ACCOUNT: &str = "See who is signed in";

// === impl Session ===

impl Session {
    /// A session for `input` on `page`. Refuses a listing that the site cannot take, with every reason at once.
    pub fn new(
        site: Arc<Site>,
        input: Input,
        page: Arc<dyn Page>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Failure> {
        let mut values = site.pack.values();
        if let Some(listing) = &input.listing {
            let listing_values =
                site.pack.listing_values(listing).map_err(|wrong| site.pack.refusal(&wrong))?;
            values.extend(listing_values);
        }
        Ok(Self {
            site,
            input,
            page,
            observer,
            values,
            open_fields: Vec::new(),
            left_fields: Vec::new(),
            absent_fields: BTreeSet::new(),
            baseline: None,
            prepared: None,
            committed: false,
            signing_in: false,
            typed_secret: false,
            fresh: None,
        })
    }

    /// The version of the recipe for `job`.
    pub fn version(&self, job: Job) -> Option<Version> {
        self.site.recipe(job).map(|recipe| recipe.version.clone())
    }

    /// Finds out whether someone is signed in, and whether it is the right account.
    ///
    /// Fails with `needs_login` (or the class of what stands in the way) and `wrong_account`.
    pub async fn login_check(&mut self) -> Result<SignedIn, Failure> {
        let recipe = self.recipe(Job::LoginCheck)?;
        self.watch(&[])?;
        self.run_steps(Phase::LoginCheck, &recipe.body.steps, recipe.body.steps.len() + 1).await?;
        self.who_is_signed_in(Phase::LoginCheck, &recipe).await
    }

    /// Lists the own items before the click, for the difference afterwards.
    pub async fn baseline(&mut self) -> Result<Baseline, Failure> {
        let scan = self.scan_lists(Phase::Baseline).await?;
        let baseline = Baseline {
            items: scan.items.iter().map(|item| item.id.clone()).collect(),
            complete: scan.complete(),
        };
        self.baseline = Some(baseline.clone());
        Ok(baseline)
    }

    /// Lists the own items, for reconciliation.
    pub async fn scan(&mut self) -> Result<Scan, Failure> {
        self.scan_lists(Phase::Scan).await
    }

    /// Lists the own items once more after the click, for the difference in the receipt.
    pub async fn count_again(&mut self) -> Result<Scan, Failure> {
        self.scan_lists(Phase::Confirm).await
    }

    fn recipe(&self, job: Job) -> Result<Arc<Recipe>, Failure> {
        self.site.recipe(job).ok_or_else(|| {
            let message = format!("{} has no recipe for {job}; add one", self.site.pack.title);
            Failure::new(FailureClass::Internal, job.name(), message)
        })
    }

    /// Has the page look out for the pack's interruptions, except those of the given classes.
    fn watch(&self, except: &[FailureClass]) -> Result<(), Failure> {
        self.page.watch(self.interruptions(except)?);
        Ok(())
    }

    /// The pack's interruptions, resolved. An exempted one keeps its place and never holds.
    fn interruptions(&self, except: &[FailureClass]) -> Result<Vec<Condition>, Failure> {
        self.site
            .pack
            .interruptions
            .iter()
            .map(|interruption| {
                if except.contains(&interruption.class) {
                    return Ok(never());
                }
                interruption
                    .when
                    .resolve(&self.values)
                    .map_err(|unset| failure::unset("Look around", None, &unset))
            })
            .collect()
    }

    async fn who_is_signed_in(&mut self, phase: Phase, recipe: &Recipe) -> Result<SignedIn, Failure> {
        let number = recipe.body.steps.len() + 1;
        let step = self.begin(phase, number, number, SEE_ACCOUNT);
        let outcome = self.read_account(recipe).await;
        self.end(step, outcome)
    }

    async fn read_account(&self, recipe: &Recipe) -> Result<(SignedIn, String), Failure> {
        let Some(rule) = &recipe.body.signed_in else {
            return Ok((SignedIn { account: None }, String::new()));
        };
        let when = self.resolve_condition(SEE_ACCOUNT, &rule.when)?;
        let seen = self.page.wait(&[when], Duration::from_secs(15)).await;
        seen.map_err(|error| self.failure(SEE_ACCOUNT, None, error))?;
        let mut account = None;
        if let Some(target) = &rule.account {
            let target = self.resolve_target(SEE_ACCOUNT, None, target)?;
            let read =
                self.page.read(&[target]).await.map_err(|error| self.failure(SEE_ACCOUNT, None, error))?;
            account = read.into_iter().next().flatten().map(|control| normal::line(&control.value));
        }
        self.right_account(SEE_ACCOUNT, account.as_deref())?;
        let note = account.clone().unwrap_or_default();
        Ok((SignedIn { account }, note))
    }

    /// The wrong-account guard. An account whose name the site does not show passes.
    fn right_account(&self, step: &str, shown: Option<&str>) -> Result<(), Failure> {
        match (&self.input.sign_in_name, shown) {
            (Some(wanted), Some(shown)) if !Compare::Label.same(wanted, shown, None) => Err(Failure::new(
                FailureClass::WrongAccount,
                step,
                format!(
                    "{} is signed in as {shown:?}, this account is {wanted:?}; sign out there and sign in as {wanted:?}",
                    self.site.pack.title
                ),
            )),
            _ => Ok(()),
        }
    }

    fn currency(&self) -> Option<Currency> {
        self.input.listing.as_ref().map(|listing| listing.price.currency())
    }

    /// Tells the observer that a step begins.
    fn begin(&self, phase: Phase, index: usize, total: usize, name: &str) -> Running {
        let info = StepInfo { phase, index, total, name: name.to_owned() };
        self.observer.observe(StepEvent::Started(info.clone()));
        Running { info, started: tokio::time::Instant::now() }
    }

    /// Tells the observer how a step ended; the outcome's text is the step's note.
    fn end<T>(&self, step: Running, outcome: Result<(T, String), Failure>) -> Result<T, Failure> {
        let (note, result) = match &outcome {
            Ok((_, note)) => (note.clone(), Ok(())),
            Err(failure) => (String::new(), Err(failure.clone())),
        };
        let duration = step.started.elapsed();
        self.observer.observe(StepEvent::Finished { step: step.info, duration, note, result });
        outcome.map(|(value, _)| value)
    }
}

/// A condition that never holds.
fn never() -> Condition {
    Condition { url: Some("^$x".to_owned()), ..Condition::default() }
}

/// SHA-256 over fields and values, in hexadecimal; lengths keep neighbours apart.
fn fingerprint(fields: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    for (field, value) in fields {
        for part in [field, value] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    hex::encode(hash.finalize())
}

/// Path and query of an address, for patterns.
fn path_of(sighting: &Sighting) -> String {
    url::Url::parse(&sighting.url).map_or_else(
        |_| sighting.url.clone(),
        |url| url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path())),
    )
}

// === impl Phase ===

impl Phase {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::LoginCheck => "login_check",
            Self::Login => "login",
            Self::Baseline => "baseline",
            Self::Prepare => "prepare",
            Self::Revalidate => "revalidate",
            Self::Commit => "commit",
            Self::Confirm => "confirm",
            Self::ReadBack => "read_back",
            Self::Scan => "scan",
        }
    }
}

// === impl ReadBack ===

impl ReadBack {
    /// The fields that differ.
    pub fn mismatches(&self) -> impl Iterator<Item = &FieldCheck> {
        self.fields.iter().filter(|check| !check.same)
    }
}

// === impl Scan ===

impl Scan {
    /// Every list was read to its end.
    pub fn complete(&self) -> bool {
        !self.lists.is_empty() && self.lists.iter().all(|list| list.complete)
    }

    /// The positive control: an item known from before is visible, or there was none.
    pub fn shows_known(&self, baseline: &BTreeSet<String>) -> bool {
        baseline.is_empty() || self.items.iter().any(|item| baseline.contains(&item.id))
    }

    /// Items that were not in the baseline.
    pub fn new_since<'a>(&'a self, baseline: &'a BTreeSet<String>) -> impl Iterator<Item = &'a OwnItem> {
        self.items.iter().filter(|item| !baseline.contains(&item.id))
    }
}
