//! What the records of the ledger add up to, and the changes that make new ones.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tradepost_domain::time::Timestamp;

use crate::account::Account;
use crate::catalog;
use crate::control::{Control, Faults, Group};
use crate::ledger::{Error, Ledger};
use crate::model::{Draft, Fields, Item, ItemId, Outcome, Photo, Record, Reply, Status, Submission};

/// Longest title taken, in characters.
pub const TITLE_LIMIT: usize = 100;
/// Most photos of one listing.
pub const PHOTO_LIMIT: usize = 10;

/// The site's whole state. Every change goes to the ledger first.
#[derive(Debug)]
pub struct World {
    ledger: Ledger,
    accounts: Vec<Account>,
    sessions: HashMap<String, String>,
    photos: HashMap<String, Photo>,
    submissions: Vec<Submission>,
    items: Vec<Item>,
    drafts: BTreeMap<String, Draft>,
    /// Sign-ins that were asked for. Not in the ledger: a restart forgets them.
    pub sign_ins: SignIns,
    /// Faults and variants. Not in the ledger: a restart forgets them.
    pub control: Control,
}

/// How many sign-ins were asked for since the start.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct SignIns {
    /// With the right password.
    pub accepted: u64,
    /// With a wrong one.
    pub refused: u64,
}

/// A click on Publish, as it arrives.
#[derive(Debug, Clone)]
pub struct Click {
    /// The page's name for the click.
    pub click: String,
    /// The form.
    pub fields: Fields,
    /// Hash and file name of each photo, in the seller's order.
    pub photos: Vec<(String, String)>,
}

// === impl World ===

impl World {
    /// The state after `records`.
    pub fn replay(ledger: Ledger, records: Vec<Record>, accounts: Vec<Account>) -> Self {
        let mut world = Self {
            ledger,
            accounts,
            sessions: HashMap::new(),
            photos: HashMap::new(),
            submissions: Vec::new(),
            items: Vec::new(),
            drafts: BTreeMap::new(),
            sign_ins: SignIns::default(),
            control: Control::default(),
        };
        for record in records {
            world.absorb(record);
        }
        world
    }

    /// The one way in which the state changes: on disk first, then in memory.
    fn commit(&mut self, record: Record) -> Result<(), Error> {
        self.ledger.append(&record)?;
        self.absorb(record);
        Ok(())
    }

    fn absorb(&mut self, record: Record) {
        match record {
            Record::SessionOpened { token, account, at: _ } => {
                self.sessions.insert(token, account);
            }
            Record::SessionClosed { token } => {
                self.sessions.remove(&token);
            }
            Record::PhotoStored { photo } => {
                self.photos.insert(photo.sha256.clone(), photo);
            }
            Record::Submitted { submission, item } => {
                self.submissions.push(*submission);
                self.items.extend(item.map(|item| *item));
            }
            Record::Seeded { item } => self.items.push(*item),
            Record::StatusChanged { id, status, at: _ } => {
                if let Some(item) = self.items.iter_mut().find(|item| item.id == id) {
                    item.status = status;
                }
            }
            Record::DraftSaved { draft } => {
                self.drafts.insert(draft.id.clone(), draft);
            }
            Record::DraftDeleted { id } => {
                self.drafts.remove(&id);
            }
        }
    }

    /// The sellers.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The account of that address.
    pub fn account(&self, email: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.email.eq_ignore_ascii_case(email.trim()))
    }

    /// Everything received so far.
    pub fn submissions(&self) -> &[Submission] {
        &self.submissions
    }

    /// Every item there ever was, oldest first.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The photo of that hash.
    pub fn photo(&self, sha256: &str) -> Option<&Photo> {
        self.photos.get(sha256)
    }

    /// Opens a session; `token` is the hash of the cookie.
    pub fn open_session(&mut self, token: String, account: String, at: Timestamp) -> Result<(), Error> {
        self.commit(Record::SessionOpened { token, account, at })
    }

    /// Ends a session.
    pub fn close_session(&mut self, token: &str) -> Result<(), Error> {
        if self.sessions.contains_key(token) {
            self.commit(Record::SessionClosed { token: token.to_owned() })?;
        }
        Ok(())
    }

    /// Ends the sessions of `account`, or all.
    pub fn close_sessions(&mut self, account: Option<&str>) -> Result<(), Error> {
        let of = |email: &str| account.is_none_or(|wanted| wanted == email);
        let tokens: Vec<String> =
            self.sessions.iter().filter(|(_, email)| of(email)).map(|(token, _)| token.clone()).collect();
        for token in tokens {
            self.commit(Record::SessionClosed { token })?;
        }
        Ok(())
    }

    /// Whose session it is.
    pub fn session(&self, token: &str) -> Option<&Account> {
        self.sessions.get(token).and_then(|email| self.account(email))
    }

    /// Remembers a stored photo.
    pub fn add_photo(&mut self, photo: Photo) -> Result<(), Error> {
        if self.photos.contains_key(&photo.sha256) {
            return Ok(());
        }
        self.commit(Record::PhotoStored { photo })
    }

    /// Carries out a click on Publish, under the faults in force. `id` is for the item, if one results.
    pub fn publish(
        &mut self,
        account: &Account,
        click: Click,
        id: ItemId,
        now: Timestamp,
    ) -> Result<(Submission, Faults), Error> {
        let seq = self.submissions.len() as u64 + 1;
        let earlier =
            self.submissions.iter().find(|past| past.account == account.email && past.click == click.click);
        if let Some(earlier) = earlier.cloned() {
            // The browser itself sent the request again: what happened to the first one happens to this one.
            let submission = Submission { seq, at: now, repeats: Some(earlier.seq), ..earlier };
            self.commit(Record::Submitted { submission: Box::new(submission.clone()), item: None })?;
            return Ok((submission, Faults::default()));
        }
        let faults = self.control.take(&account.email, Group::Publish);
        let currency = self.control.variant(account).currency;
        let Click { click, fields, photos } = click;
        let fields = Fields { currency, ..fields };
        let photos = self.resolve(photos);
        let (outcome, message) = verdict(&fields, photos.as_deref(), &faults);
        let status = outcome.status();
        let submission = Submission {
            seq,
            at: now,
            account: account.email.clone(),
            click,
            repeats: None,
            fields,
            photos: photos.unwrap_or_default(),
            faults: faults.names(Group::Publish),
            outcome,
            reply: reply(outcome, &faults),
            message,
            item: status.map(|_| id.clone()),
        };
        let item = status.map(|status| {
            Box::new(Item {
                id,
                account: submission.account.clone(),
                fields: submission.fields.clone(),
                photos: submission.photos.clone(),
                status,
                posted: now,
                visible: now + Duration::from_millis(faults.delayed_visibility_ms),
            })
        });
        self.commit(Record::Submitted { submission: Box::new(submission.clone()), item })?;
        Ok((submission, faults))
    }

    fn resolve(&self, photos: Vec<(String, String)>) -> Option<Vec<Photo>> {
        photos
            .into_iter()
            .map(|(sha256, name)| self.photo(&sha256).map(|photo| Photo { name, ..photo.clone() }))
            .collect()
    }

    /// Puts an item on the site as if it had been posted long ago.
    pub fn seed(&mut self, item: Item) -> Result<(), Error> {
        self.commit(Record::Seeded { item: Box::new(item) })
    }

    /// The item as a visitor sees it: with `viewer` the seller also finds those in review.
    pub fn visible_item(&self, id: &str, viewer: Option<&str>, now: Timestamp) -> Option<&Item> {
        self.items.iter().find(|item| item.id.0 == id && visible(item, viewer, now))
    }

    /// Public items, newest first.
    pub fn public_items(&self, now: Timestamp) -> impl Iterator<Item = &Item> {
        self.items.iter().rev().filter(move |item| item.status == Status::Active && item.visible <= now)
    }

    /// A seller's items that have a card, newest first.
    pub fn own_items(&self, account: &str, now: Timestamp) -> impl Iterator<Item = &Item> {
        self.items
            .iter()
            .rev()
            .filter(move |item| item.account == account && visible(item, Some(account), now))
    }

    /// Changes the standing of `account`'s own item; false when there is none such.
    pub fn set_status(
        &mut self,
        account: &str,
        id: &str,
        status: Status,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let Some(item) = self.visible_item(id, Some(account), at).filter(|item| item.account == account)
        else {
            return Ok(false);
        };
        let id = item.id.clone();
        self.commit(Record::StatusChanged { id, status, at })?;
        Ok(true)
    }

    /// Lets every item in review through.
    pub fn release_reviews(&mut self, account: Option<&str>, at: Timestamp) -> Result<(), Error> {
        let of = |item: &&Item| {
            account.is_none_or(|wanted| wanted == item.account) && item.status == Status::InReview
        };
        let waiting: Vec<ItemId> = self.items.iter().filter(of).map(|item| item.id.clone()).collect();
        for id in waiting {
            self.commit(Record::StatusChanged { id, status: Status::Active, at })?;
        }
        Ok(())
    }

    /// Saves a draft, or replaces it when it is `account`'s own.
    pub fn save_draft(&mut self, draft: Draft) -> Result<bool, Error> {
        if self.drafts.get(&draft.id).is_some_and(|old| old.account != draft.account) {
            return Ok(false);
        }
        self.commit(Record::DraftSaved { draft })?;
        Ok(true)
    }

    /// Throws `account`'s draft away; false when there is none such.
    pub fn delete_draft(&mut self, account: &str, id: &str) -> Result<bool, Error> {
        if self.draft(account, id).is_none() {
            return Ok(false);
        }
        self.commit(Record::DraftDeleted { id: id.to_owned() })?;
        Ok(true)
    }

    /// `account`'s own draft of that number.
    pub fn draft(&self, account: &str, id: &str) -> Option<&Draft> {
        self.drafts.get(id).filter(|draft| draft.account == account)
    }

    /// `account`'s drafts, the latest first.
    pub fn drafts(&self, account: &str) -> Vec<&Draft> {
        let mut drafts: Vec<&Draft> = self.drafts.values().filter(|draft| draft.account == account).collect();
        drafts.sort_by_key(|draft| std::cmp::Reverse(draft.saved));
        drafts
    }
}

fn visible(item: &Item, viewer: Option<&str>, now: Timestamp) -> bool {
    let own = viewer.is_some_and(|viewer| viewer == item.account);
    match item.status {
        Status::Active | Status::Sold => item.visible <= now,
        Status::InReview => own && item.visible <= now,
        Status::Deleted => false,
    }
}

/// What becomes of a form, and the message to the seller when it is refused.
fn verdict(fields: &Fields, photos: Option<&[Photo]>, faults: &Faults) -> (Outcome, Option<String>) {
    const LIMIT: &str = "You are not able to create new listings at the moment. We limit how often sellers can post in \
                         an effort to build a better community for everyone.";
    if faults.error_before_commit {
        return (Outcome::Failed, None);
    }
    if faults.limit_reached {
        let says = faults.limit_says.as_deref().unwrap_or_default();
        return (Outcome::Limited, Some(format!("{LIMIT} {says}").trim_end().to_owned()));
    }
    if let Some(message) = faults.reject.clone().or_else(|| invalid(fields, photos)) {
        return (Outcome::Rejected, Some(message));
    }
    (if faults.review { Outcome::InReview } else { Outcome::Published }, None)
}

/// What the browser is told.
fn reply(outcome: Outcome, faults: &Faults) -> Reply {
    if faults.accept_then_drop {
        Reply::Nothing
    } else if faults.error_after_commit || outcome == Outcome::Failed {
        Reply::Error
    } else {
        Reply::Truth
    }
}

/// The first thing wrong with a form. The page checks the same before it lets Publish be clicked.
fn invalid(fields: &Fields, photos: Option<&[Photo]>) -> Option<String> {
    let title = fields.title.trim().chars().count();
    let message = match photos {
        None => "A photo is missing. Please upload it again.",
        Some([]) => "Please upload at least one photo.",
        Some(photos) if photos.len() > PHOTO_LIMIT => "You can add up to 10 photos.",
        Some(_) if title == 0 || title > TITLE_LIMIT => "Please enter a valid title.",
        Some(_) if !is_price(&fields.price) => "Enter a price for your item.",
        Some(_) if !catalog::is_category(&fields.category) => "Please select a category.",
        Some(_) if fields.condition.is_empty() => "Please select a condition.",
        Some(_) if !catalog::is_place(&fields.location) => "Please enter a valid location.",
        Some(_) => return None,
    };
    Some(message.to_owned())
}

fn is_price(text: &str) -> bool {
    let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str, most: usize| {
        !part.is_empty() && part.len() <= most && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    digits(whole, 9) && digits(cents, 2)
}
