//! The verdict on a case: what the site has against what the controllers say.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::case::Case;
use super::world::{Wanted, World};
use crate::sites::{Kind, TrueItem};

/// How a posting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// It is on the site, once, and the controllers know it.
    Published,
    /// Proven absent: looked for long enough; the posting says that it is not published.
    Absent,
    /// Ended without a listing for another reason, visibly.
    Failed,
    /// A person is asked.
    NeedsPerson,
    /// Still being found out when the time was over.
    Uncertain,
    /// In some other state that nothing moves on, or the case itself broke.
    Stuck,
}

/// What a case came to.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Which.
    pub case: Case,
    /// How the posting ended.
    pub end: End,
    /// Listings beyond the one wanted.
    pub duplicates: usize,
    /// Listings that are said to be there and are not, or the other way round.
    pub losses: usize,
    /// Everything that must not be, in words.
    pub problems: Vec<String>,
    /// From the mend to the decision.
    pub took: Duration,
}

/// Compares the posting as shown with the site's own record.
pub async fn compare(
    case: &Case,
    world: &World,
    wanted: &Wanted,
    shown: &Value,
    took: Duration,
) -> Result<Verdict> {
    let all = world.site.items().await?;
    let ours: Vec<&TrueItem> = all.iter().filter(|item| item.title == wanted.title).collect();
    let state = shown["state"].as_str().unwrap_or_default();
    let uncertain_failure = shown.pointer("/failure/class").and_then(Value::as_str) == Some("uncertain");
    let end = match state {
        "published" => End::Published,
        "failed" if uncertain_failure => End::Absent,
        "failed" | "cancelled" => End::Failed,
        "needs_human" => End::NeedsPerson,
        "uncertain" => End::Uncertain,
        _ => End::Stuck,
    };
    let mut problems = Vec::new();
    let duplicates = ours.len().saturating_sub(1);
    if duplicates > 0 {
        problems.push(format!("DUPLICATE: the site has {} of it", ours.len()));
    }
    let lost = match end {
        End::Published => ours.is_empty(),
        End::Absent | End::Failed => !ours.is_empty(),
        End::NeedsPerson | End::Uncertain | End::Stuck => false,
    };
    if lost {
        problems.push(format!("LOSS: it is {state} here, and the site has {} of it", ours.len()));
    }
    if matches!(end, End::Uncertain | End::Stuck) {
        problems.push(format!("nothing moves it on: {shown}"));
    }
    for item in &ours {
        compare_item(world.kind, wanted, item, &mut problems);
    }
    if let (End::Published, [only]) = (end, ours.as_slice()) {
        compare_address(only, shown, &mut problems)?;
    }
    // Nothing else may have been posted: every listing on the site belongs to a case.
    if let Some(foreign) = all.iter().find(|item| !item.title.starts_with("Piece number ")) {
        problems.push(format!("the site has a listing that nobody asked for: {}", foreign.title));
    }
    Ok(Verdict { case: *case, end, duplicates, losses: usize::from(lost), problems, took })
}

fn compare_item(kind: Kind, wanted: &Wanted, item: &TrueItem, problems: &mut Vec<String>) {
    let mut same = |what: &str, is: &str, should: &str| {
        if is != should {
            problems.push(format!("WRONG {what}: {is:?} instead of {should:?}"));
        }
    };
    same("account", &item.seller, &wanted.account.seller);
    same("description", &item.description, wanted.description.trim_end());
    same("photos", &item.photos.join(" "), &wanted.photos.join(" "));
    let text = |path: &str| item.raw.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind {
        Kind::Sandbox => {
            same("price", &text("/fields/price"), &wanted.price);
            same("currency", &text("/fields/currency"), kind.currency());
            same("category", &text("/fields/category"), "Furniture");
            same("condition", &text("/fields/condition"), "Used – good");
            same("SKU", &text("/fields/sku"), &wanted.sku);
            same("place", &text("/fields/location").chars().take(6).collect::<String>(), "Berlin");
        }
        Kind::Classified => {
            same("price", &text("/price"), &wanted.price);
            same("section", &text("/section"), "Vehicles");
            same("group", &text("/group"), "Bicycles");
            same("area", &text("/area"), "Berlin");
        }
    }
}

fn compare_address(item: &TrueItem, shown: &Value, problems: &mut Vec<String>) -> Result<()> {
    let id = item.raw.get("id").context("an item without an id")?;
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let known = shown.pointer("/item/itemId").and_then(Value::as_str).unwrap_or_default();
    if known != id {
        problems.push(format!("WRONG listing: {known:?} is recorded, the site's is {id:?}"));
    }
    Ok(())
}

// === impl Verdict ===

impl Verdict {
    /// A case that could not be played to its end.
    pub fn broken(case: Case, why: String) -> Self {
        let problems = vec![format!("the case broke: {why}")];
        Self { case, end: End::Stuck, duplicates: 0, losses: 0, problems, took: Duration::ZERO }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether it was decided without a person, by a proof: published, or proven not to be.
    pub fn is_self_resolved(&self) -> bool {
        matches!(self.end, End::Published | End::Absent)
    }

    /// One line.
    pub fn line(&self) -> String {
        let Self { case, end, took, problems, .. } = self;
        let mark = if problems.is_empty() { "ok  " } else { "FAIL" };
        let first = problems.first().map_or_else(String::new, |problem| format!(": {problem}"));
        format!("{mark} {case} → {end} after {:.1} s{first}", took.as_secs_f64())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "published",
            Self::Absent => "proven absent",
            Self::Failed => "failed",
            Self::NeedsPerson => "needs a person",
            Self::Uncertain => "uncertain",
            Self::Stuck => "stuck",
        })
    }
}
