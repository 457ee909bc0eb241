//! A listing: what is for sale, independent of any marketplace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::field::Violations;
use crate::id::{ListingId, PhotoId, Version, WorkspaceId};
use crate::money::{Currency, Money};
use crate::time::Timestamp;

/// Longest title, in characters. Sites have shorter ones: their site packs check at posting.
pub const TITLE_MAX: usize = 150;
/// Longest description, in characters.
pub const DESCRIPTION_MAX: usize = 5_000;
/// Most photos of one listing.
pub const PHOTOS_MAX: usize = 20;

/// State of the thing for sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Unused.
    New,
    /// Used, as good as new.
    LikeNew,
    /// Used, in good order.
    Good,
    /// Used, with marks of wear.
    Fair,
}

/// The content of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Headline.
    pub title: String,
    /// Free text; may be empty.
    pub description: String,
    /// Asking price.
    pub price: Money,
    /// Category path, general to special, e.g. `Home > Furniture`.
    pub category: String,
    /// State.
    pub condition: Condition,
    /// Where the thing is, e.g. `Berlin`.
    pub location: String,
    /// The seller's own number for it; may be empty.
    pub sku: String,
    /// Attributes that some categories ask for, e.g. `brand`.
    pub attributes: BTreeMap<String, String>,
    /// Photos in order; the first is the cover.
    pub photos: Vec<PhotoId>,
}

/// One listing of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its id.
    pub id: ListingId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// What is for sale.
    pub content: Content,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Etag.
    pub version: Version,
}

/// The content of a listing as a caller wrote it, unchecked.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// See [`Content::title`].
    pub title: String,
    /// See [`Content::description`].
    pub description: String,
    /// Minor units of the price.
    pub price_minor: i64,
    /// ISO 4217 code of the price.
    pub currency: String,
    /// See [`Content::category`].
    pub category: String,
    /// See [`Content::condition`]; none when not given.
    pub condition: Option<Condition>,
    /// See [`Content::location`].
    pub location: String,
    /// See [`Content::sku`].
    pub sku: String,
    /// See [`Content::attributes`].
    pub attributes: BTreeMap<String, String>,
    /// Ids of uploaded photos, in order.
    pub photos: Vec<String>,
}

impl Condition {
    /// The stable name, e.g. `like_new`.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::LikeNew => "like_new",
            Self::Good => "good",
            Self::Fair => "fair",
        }
    }

    /// From the stable name; `-` and space count as `_`, case does not.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_lowercase().replace(['-', ' '], "_").as_str() {
            "new" => Ok(Self::New),
            "like_new" | "used_like_new" => Ok(Self::LikeNew),
            "good" | "used_good" => Ok(Self::Good),
            "fair" | "used_fair" => Ok(Self::Fair),
            _ => Err(format!("{text:?} is no condition; use new, like_new, good or fair")),
        }
    }
}

impl Draft {
    /// Checks every field and returns the content, or all violations at once.
    pub fn check(&self) -> Result<Content, Violations> {
        let mut violations = Violations::new();
        let title = violations.text("title", &self.title, 1, TITLE_MAX);
        if title.contains(['\n', '\r']) {
            violations.push("title", "has a line break; write it in one line");
        }
        let description = violations.text("description", &self.description, 0, DESCRIPTION_MAX);
        let category = violations.text("category", &self.category, 1, 200);
        let location = violations.text("location", &self.location, 1, 120);
        let sku = violations.text("sku", &self.sku, 0, 100);
        let price = violations
            .check("price.currency", self.currency.parse::<Currency>())
            .and_then(|currency| violations.check("price", Money::from_minor(self.price_minor, currency)));
        let condition = violations
            .check("condition", self.condition.ok_or("is missing; use new, like_new, good or fair"));
        let photos = check_photos(&mut violations, &self.photos);
        check_attributes(&mut violations, &self.attributes);
        violations.into_result(|| {
            Some(Content {
                title,
                description,
                price: price?,
                category,
                condition: condition?,
                location,
                sku,
                attributes: self.attributes.clone(),
                photos,
            })
        })
    }
}

fn check_photos(violations: &mut Violations, given: &[String]) -> Vec<PhotoId> {
    if given.len() > PHOTOS_MAX {
        violations.push("photos", format!("are {}; at most {PHOTOS_MAX} are allowed", given.len()));
    }
    let mut photos = Vec::with_capacity(given.len());
    for (n, text) in given.iter().enumerate() {
        if let Some(id) = violations.check(&format!("photos[{n}]"), text.parse::<PhotoId>()) {
            if photos.contains(&id) {
                violations.push(format!("photos[{n}]"), "is in the list already; name each photo once");
            }
            photos.push(id);
        }
    }
    photos
}

fn check_attributes(violations: &mut Violations, attributes: &BTreeMap<String, String>) {
    if attributes.len() > 30 {
        violations.push("attributes", format!("are {}; at most 30 are allowed", attributes.len()));
    }
    for (name, value) in attributes {
        if name.is_empty() || name.chars().count() > 40 {
            violations.push("attributes", "have a name that is empty or longer than 40 characters");
        }
        violations.text(&format!("attributes.{name}"), value, 1, 200);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_violations_are_reported_at_once() {
        let draft =
            Draft { title: "x".repeat(151), price_minor: -1, currency: "EUR".into(), ..Draft::default() };
        let violations = draft.check().expect_err("four fields are wrong");
        let fields: Vec<_> = violations.0.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["title", "category", "location", "price", "condition"]);
    }
}
