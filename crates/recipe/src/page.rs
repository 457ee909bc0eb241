//! What the engine asks of a browser: one trait, implemented with WebDriver by the agent and in memory by tests.
//!
//! Each method is one conversation with the page: it waits inside the page until the target is there and ready, acts,
//! and answers with what the page shows then. Every method may answer [`PageError::Interrupted`] when one of the
//! conditions given to [`Page::watch`] holds.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::locate::{Condition, Target, TextMatch};

/// One tab of one browser, signed in as one account.
#[async_trait]
pub trait Page: Send + Sync {
    /// Loads `url` and returns when its document is parsed.
    async fn open(&self, url: &str) -> Result<(), PageError>;

    /// Sets the conditions that interrupt every later call, in order of precedence; replaces the earlier ones.
    fn watch(&self, interruptions: Vec<Condition>);

    /// Waits until one of the conditions holds; the answer's `index` is the first that does.
    async fn wait(&self, any: &[Condition], deadline: Duration) -> Result<Sighting, PageError>;

    /// Reads the targets as they are now, without waiting; `None` where a target is not on the page.
    async fn read(&self, targets: &[Target]) -> Result<Vec<Option<Control>>, PageError>;

    /// Replaces a text control's value, tells the page as typing would, and reads the control back.
    async fn fill(
        &self,
        target: &Target,
        text: &str,
        commit: Commit,
        deadline: Duration,
    ) -> Result<Control, PageError>;

    /// Chooses the option of a native `<select>` whose label fits, and reads the control back.
    async fn select(
        &self,
        target: &Target,
        option: &TextMatch,
        deadline: Duration,
    ) -> Result<Control, PageError>;

    /// Brings a checkbox, radio button or switch into the wanted state with a real click if it is not in it.
    async fn set_checked(
        &self,
        target: &Target,
        wanted: bool,
        deadline: Duration,
    ) -> Result<Control, PageError>;

    /// Clicks the target with a real pointer, once it is visible, enabled and the only one of its kind.
    async fn click(&self, target: &Target, deadline: Duration) -> Result<Control, PageError>;

    /// Types with real key presses into the target, after emptying it.
    async fn type_keys(&self, target: &Target, text: &str, deadline: Duration) -> Result<Control, PageError>;

    /// Gives files to file inputs: all to the first match, or one to each match in document order.
    async fn upload(
        &self,
        target: &Target,
        files: &[PathBuf],
        spread: Spread,
        deadline: Duration,
    ) -> Result<Control, PageError>;

    /// Clicks the target exactly once, without any repetition at any level. Only a refusal that proves that no
    /// click took place is [`Press::NotSent`]; everything else, a lost answer included, is [`Press::Sent`].
    async fn press_once(&self, target: &Target) -> Press;

    /// Reads a list: one row per match of the extraction's rows.
    async fn extract(&self, extraction: &Extraction) -> Result<Vec<Row>, PageError>;

    /// Scrolls the list on by a screenful or to its end, and waits until more rows than `known` are there or the page
    /// has been quiet for a while. Returns the number of rows.
    async fn scroll_on(&self, rows: &Target, known: usize, deadline: Duration) -> Result<usize, PageError>;

    /// What the form on the page says is wrong with it; `fields` are the targets of the fields filled so far.
    async fn form_errors(
        &self,
        fields: &[Target],
        also: Option<&Target>,
    ) -> Result<Vec<FormError>, PageError>;

    /// The page's structured data (JSON-LD blocks), parsed.
    async fn structured_data(&self) -> Result<Vec<serde_json::Value>, PageError>;
}

/// How a text control is left after its value was set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Commit {
    /// Events `input` and `change`, then the focus leaves the control.
    #[default]
    Blur,
    /// As `blur`, with Enter pressed before.
    Enter,
    /// Event `input` only; the control keeps the focus.
    Stay,
}

/// How several files are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// All files to one input that takes many.
    #[default]
    Together,
    /// One file to each input, in document order.
    OneEach,
}

/// A control or element as the page shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Its value, or for an element without one, its text. Files: their names, one a line.
    pub value: String,
    /// State of a checkbox, radio button or switch.
    #[serde(default)]
    pub checked: Option<bool>,
    /// Not disabled, neither by attribute nor by `aria-disabled`.
    pub enabled: bool,
    /// How many visible elements the locator that matched has.
    #[serde(default)]
    pub count: usize,
    /// Which of the target's locators matched, counted from 0.
    #[serde(default)]
    pub matched: usize,
}

/// Where the page is when a condition holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Which condition holds, counted from 0.
    pub index: usize,
    /// The address.
    pub url: String,
    /// The first heading.
    #[serde(default)]
    pub heading: String,
    /// The text of the element that the condition found, where it looks for one.
    #[serde(default)]
    pub text: String,
    /// The link of the element that the condition found, where it has one.
    #[serde(default)]
    pub href: Option<String>,
}

/// One complaint of a form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormError {
    /// Which of the given fields it belongs to.
    #[serde(default)]
    pub field: Option<usize>,
    /// The label of its control, where there is one.
    #[serde(default)]
    pub label: String,
    /// The site's own words.
    pub text: String,
}

/// How to read a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extraction {
    /// One match per row.
    pub rows: Target,
    /// The values of a row, by name.
    pub columns: Vec<Column>,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name in the [`Row`].
    pub name: String,
    /// Where in the row; the row itself when absent.
    pub target: Option<Target>,
    /// The attribute to take; the text when absent.
    pub attribute: Option<String>,
    /// A regular expression: the group `value`, or the whole match, is kept; no match leaves the value out.
    pub pattern: Option<String>,
}

/// One row of a list: the values found, by column name.
pub type Row = std::collections::BTreeMap<String, String>;

/// The outcome of the one click that cannot be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Press {
    /// The click was sent, or it is not known that it was not.
    Sent,
    /// No click took place.
    NotSent(PageError),
}

/// Why the page did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The target did not appear within the deadline.
    #[error("{looked_for} is not on the page {at}")]
    Missing {
        /// The target, in words.
        looked_for: String,
        /// The page, in words.
        at: String,
    },
    /// Several elements match where one was meant.
    #[error("{count} elements match {looked_for} on the page {at}")]
    Ambiguous {
        /// The target, in words.
        looked_for: String,
        /// How many.
        count: usize,
        /// The page, in words.
        at: String,
    },
    /// The target stayed disabled until the deadline.
    #[error("{looked_for} stays disabled on the page {at}")]
    Disabled {
        /// The target, in words.
        looked_for: String,
        /// The page, in words.
        at: String,
    },
    /// Something lies over the target.
    #[error("{looked_for} is covered by {by} on the page {at}")]
    Covered {
        /// The target, in words.
        looked_for: String,
        /// What covers it.
        by: String,
        /// The page, in words.
        at: String,
    },
    /// No option fits.
    #[error("none of the options fits; there are: {}", available.join(", "))]
    NoOption {
        /// The labels of the options there are.
        available: Vec<String>,
    },
    /// None of the awaited conditions came to hold.
    #[error("the awaited page did not come; the browser shows {at}")]
    NotReached {
        /// The page, in words.
        at: String,
    },
    /// A watched condition holds.
    #[error("the page was interrupted")]
    Interrupted {
        /// Which, counted from 0.
        index: usize,
        /// The text of the page around it, shortened.
        text: String,
    },
    /// A file could not be given.
    #[error("{0}")]
    File(String),
    /// The site could not be reached.
    #[error("{0}")]
    Network(String),
    /// Chrome or chromedriver is gone or does not answer.
    #[error("{0}")]
    Crashed(String),
    /// The page's script failed; a fault of Tradepost or a page that breaks built-in objects.
    #[error("{0}")]
    Script(String),
}
