//! How the lists of own items are read.

use serde::Deserialize;

use crate::locate::{Condition, Target};
use crate::template::Template;

/// One list of own items.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Its name in reports: `active`, `drafts`.
    pub name: String,
    /// Its path.
    pub goto: Template,
    /// The page looks like this.
    pub expect: Condition,
    /// One match per item.
    pub rows: Target,
    /// Where in a row the values are; `id` is required, `title`, `price`, `url`, `state` are known.
    pub columns: Vec<ListColumn>,
    /// The page says how many items there are: an element and a regular expression with a group `count`.
    #[serde(default)]
    pub count: Option<Count>,
    /// What the page shows in place of rows when there are none. With it, the list is awaited; without it, the rows
    /// come with the page.
    #[serde(default)]
    pub empty: Option<Condition>,
    /// The list grows by so many rows whenever its end is scrolled into view; a batch that is not full is the last.
    #[serde(default)]
    pub batch: Option<usize>,
    /// Where the ids are when the rows do not show them.
    #[serde(default)]
    pub reveal: Option<Reveal>,
    /// The link to the next page of the list.
    #[serde(default)]
    pub next: Option<Target>,
}

/// One value of an item.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListColumn {
    /// `id`, `title`, `price`, `url` or `state`.
    pub name: String,
    /// Where in the row; the row itself when absent.
    #[serde(default)]
    pub target: Option<Target>,
    /// The attribute to take in place of the text.
    #[serde(default)]
    pub attribute: Option<String>,
    /// A regular expression; its group `value`, or the whole match, is kept.
    #[serde(default)]
    pub pattern: Option<String>,
}

/// For rows without an id: a dialog that has the row's link. Opened and closed for one row after the other, once the
/// list is read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reveal {
    /// What opens it, within the row.
    pub click: Target,
    /// The link in it; its address is the item's `url`.
    pub link: Target,
    /// A regular expression on the address, with a group `id`.
    pub pattern: String,
    /// What closes it.
    pub close: Target,
}

/// The site's own count of a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Where it stands.
    pub target: Target,
    /// A regular expression with a group `count`.
    pub pattern: String,
}
