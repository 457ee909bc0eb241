//! The marketplace, with a ledger of what really happened.

use std::collections::BTreeMap;
use std::time::Duration;

use tradepost_domain::id::{AccountId, PermitId, PostingId};
use tradepost_domain::time::Timestamp;

/// What a form was filled with, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The account that is signed in.
    pub account: AccountId,
    /// The posting it is for; the site does not know it, the ledger does.
    pub posting: PostingId,
    /// The permit under which it was sent.
    pub permit: PermitId,
    /// The title.
    pub title: String,
    /// The price.
    pub price: String,
}

/// Who made a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// We did.
    Us(Form),
    /// The seller, by hand.
    Seller,
}

/// One listing on the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The site's id.
    pub id: String,
    /// Whose.
    pub account: AccountId,
    /// Its title.
    pub title: String,
    /// Its price.
    pub price: String,
    /// Who made it.
    pub maker: Maker,
    /// When it was made.
    pub made_at: Timestamp,
    /// From when its owner sees it.
    pub visible_at: Timestamp,
    /// When the site took it down, for everybody.
    pub removed_at: Option<Timestamp>,
}

/// What the site answers to a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Made, with its id.
    Made(String),
    /// A field is wrong; nothing was made.
    Rejected,
    /// A fault of the site; who knows.
    Broken,
}

/// The site.
#[derive(Debug, Default)]
pub struct Site {
    items: Vec<Item>,
    signed_out: BTreeMap<AccountId, bool>,
    /// Forms that were sent and are not decided about.
    pub under_way: usize,
    /// No page of it can be used.
    pub is_down: bool,
}

impl Site {
    /// Makes a listing.
    pub fn make(
        &mut self,
        account: AccountId,
        (title, price): (String, String),
        maker: Maker,
        now: Timestamp,
        hidden_for: Duration,
    ) -> String {
        let id = format!("{}", 1000 + self.items.len());
        self.items.push(Item {
            id: id.clone(),
            account,
            title,
            price,
            maker,
            made_at: now,
            visible_at: now + hidden_for,
            removed_at: None,
        });
        id
    }

    /// Takes a listing down.
    pub fn remove(&mut self, id: &str, now: Timestamp) {
        if let Some(item) = self.items.iter_mut().find(|item| item.id == id) {
            item.removed_at.get_or_insert(now);
        }
    }

    /// What the account's own list shows, newest last.
    pub fn own(&self, account: AccountId, now: Timestamp) -> Vec<Item> {
        let shown = |item: &&Item| {
            item.account == account && item.visible_at <= now && item.removed_at.is_none_or(|at| at > now)
        };
        self.items.iter().filter(shown).cloned().collect()
    }

    /// Everything that was ever made.
    pub fn ledger(&self) -> &[Item] {
        &self.items
    }

    /// Whether somebody is signed in to the account in its Chrome.
    pub fn is_signed_in(&self, account: AccountId) -> bool {
        !self.signed_out.get(&account).copied().unwrap_or(false)
    }

    /// Signs in or out.
    pub fn sign(&mut self, account: AccountId, signed_in: bool) {
        self.signed_out.insert(account, !signed_in);
    }
}
