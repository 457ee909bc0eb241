//! What sellers submit and what becomes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tradepost_domain::time::Timestamp;

/// The number in an item's address: 16 digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub String);

/// Everything in the composer when Publish was clicked, but the photos.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// Title.
    pub title: String,
    /// Price as a plain decimal number: "25", "25.50".
    pub price: String,
    /// ISO 4217 code; the account's, not the seller's choice.
    pub currency: String,
    /// Name of the category leaf.
    pub category: String,
    /// Condition in the words of the page.
    pub condition: String,
    /// Description; lines end with LF.
    pub description: String,
    /// "List as single item" or "List as in stock".
    pub availability: String,
    /// Product tags.
    pub tags: Vec<String>,
    /// The seller's own number for the article; shown to nobody else.
    pub sku: String,
    /// The committed place.
    pub location: String,
    /// Ticked meet-up preferences, in the order of the page.
    pub meetup: Vec<String>,
    /// Ticked groups, in the order of the page.
    pub groups: Vec<String>,
    /// Whether to pay for promotion.
    pub promote: bool,
    /// Whether friends shall not see it.
    pub hide_from_friends: bool,
    /// Values of the category's own fields, by label.
    pub attributes: BTreeMap<String, String>,
}

/// A photo as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Photo {
    /// Hash of the bytes received, hex; also its address below `/media/`.
    pub sha256: String,
    /// File name the browser gave.
    pub name: String,
    /// Media type found by looking at the bytes.
    pub media_type: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Size of the file.
    pub bytes: u64,
}

/// What a submission led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new item is on the site.
    Published,
    /// A new item waits for review.
    InReview,
    /// The form was refused; no item.
    Rejected,
    /// The seller may not post now; no item.
    Limited,
    /// The site failed before it stored anything; no item.
    Failed,
}

/// What the browser was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The outcome.
    Truth,
    /// "Internal server error", whatever the outcome.
    Error,
    /// Nothing: the connection was cut.
    Nothing,
}

/// One click on Publish, as received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Position among all submissions, from 1.
    pub seq: u64,
    /// When it was received.
    pub at: Timestamp,
    /// E-mail address of the seller.
    pub account: String,
    /// Made by the page for each click, so that a request which the *browser* repeats by itself can be told from a
    /// second click.
    pub click: String,
    /// Set when this is the browser's own repetition of that earlier submission: it made no further item.
    pub repeats: Option<u64>,
    /// The form.
    pub fields: Fields,
    /// The photos, in the seller's order.
    pub photos: Vec<Photo>,
    /// Names of the faults that applied.
    pub faults: Vec<String>,
    /// What it led to.
    pub outcome: Outcome,
    /// What the browser was told.
    pub reply: Reply,
    /// The text shown to the seller when refused.
    pub message: Option<String>,
    /// The item, when one exists.
    pub item: Option<ItemId>,
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Public.
    Active,
    /// Waits for review: only its seller sees it, at another address.
    InReview,
    /// Marked as sold.
    Sold,
    /// Gone from every page.
    Deleted,
}

/// A listing on the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its number.
    pub id: ItemId,
    /// E-mail address of the seller.
    pub account: String,
    /// The form.
    pub fields: Fields,
    /// The photos, in order.
    pub photos: Vec<Photo>,
    /// Where it stands.
    pub status: Status,
    /// When it was stored.
    pub posted: Timestamp,
    /// From when pages show it.
    pub visible: Timestamp,
}

/// A composer put aside. Its contents are the page's own business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its number.
    pub id: String,
    /// E-mail address of the seller.
    pub account: String,
    /// When it was saved last.
    pub saved: Timestamp,
    /// What the page sent.
    pub form: serde_json::Value,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A seller logged in.
    SessionOpened {
        /// Hash of the cookie, hex.
        token: String,
        /// E-mail address.
        account: String,
        /// When.
        at: Timestamp,
    },
    /// A session ended.
    SessionClosed {
        /// Hash of the cookie, hex.
        token: String,
    },
    /// A photo was stored for the first time under this name.
    PhotoStored {
        /// The photo.
        photo: Photo,
    },
    /// Publish was clicked.
    Submitted {
        /// What was received and what became of it.
        submission: Box<Submission>,
        /// The new item, if there is one.
        item: Option<Box<Item>>,
    },
    /// An item was put there by the control API, to have something to find.
    Seeded {
        /// The item.
        item: Box<Item>,
    },
    /// An item changed its standing.
    StatusChanged {
        /// Which.
        id: ItemId,
        /// To what.
        status: Status,
        /// When.
        at: Timestamp,
    },
    /// A draft was made or replaced.
    DraftSaved {
        /// The draft.
        draft: Draft,
    },
    /// A draft was thrown away.
    DraftDeleted {
        /// Which.
        id: String,
    },
}

// === impl Outcome ===

impl Outcome {
    /// Where the resulting item stands, if there is one.
    pub fn status(self) -> Option<Status> {
        match self {
            Self::Published => Some(Status::Active),
            Self::InReview => Some(Status::InReview),
            Self::Rejected | Self::Limited | Self::Failed => None,
        }
    }
}

// === impl ItemId ===

impl std::fmt::Display for ItemId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Item ===

impl Item {
    /// The path of its page.
    pub fn path(&self) -> String {
        match self.status {
            Status::InReview => format!("/commerce/listing/{}/", self.id),
            Status::Active | Status::Sold | Status::Deleted => format!("/marketplace/item/{}/", self.id),
        }
    }
}
