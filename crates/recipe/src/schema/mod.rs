//! The YAML of a recipe. Unknown keys are refused with their path; [`crate::check`] holds the rules beyond the shape.

mod list;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::list::{Count, List, ListColumn, Reveal};
use crate::check::{self, Problem};
use crate::locate::{Condition, Target, TextMatch};
use crate::normal::Compare;
use crate::page::{Commit, Spread};
use crate::template::Template;

/// Longest deadline of a step.
pub const STEP_DEADLINE_MAX: Duration = Duration::from_secs(120);

/// What a recipe does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Finds out whether, and as whom, the browser is signed in.
    LoginCheck,
    /// Signs in with a credential that the seller has sealed to the agent.
    Login,
    /// Posts one listing.
    Publish,
    /// Lists the account's own items.
    Scan,
}

/// A recipe that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Name and content hash.
    pub version: Version,
    /// What the YAML says.
    pub body: Body,
}

/// Which recipe, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// `site/job`.
    pub name: String,
    /// SHA-256 of the text, in hexadecimal.
    pub sha256: String,
}

/// A recipe's YAML.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// The site, as in accounts.
    pub site: String,
    /// What it does.
    pub job: Job,
    /// One sentence on what happens.
    pub summary: String,
    /// The way to the goal; for `publish` everything before the fence.
    pub steps: Vec<Step>,
    /// `login_check` and `login`: how to see who is signed in.
    #[serde(default)]
    pub signed_in: Option<SignedIn>,
    /// `publish`: the click that cannot be undone.
    #[serde(default)]
    pub fence: Option<Fence>,
    /// `publish`: how to find out what the click did.
    #[serde(default)]
    pub confirm: Option<Confirm>,
    /// `publish`: what the published page must show.
    #[serde(default)]
    pub published: Vec<Published>,
    /// `scan`: the lists of own items.
    #[serde(default)]
    pub lists: Vec<List>,
}

/// One step. It has a name and exactly one action.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What the step does, as the seller reads it: "Choose the category".
    pub name: String,
    /// Seconds until the step has failed; 30 by default, at most 120.
    #[serde(default)]
    pub deadline_s: Option<u64>,
    /// With `fill`: a form without this field is fine; it is left out.
    #[serde(default)]
    pub optional: bool,
    /// Run the step only if this text is not empty once rendered, e.g. `"{{listing.sku}}"`.
    #[serde(default)]
    pub only_if: Option<Template>,
    /// The page has to look like this afterwards.
    #[serde(default)]
    pub expect: Option<Condition>,
    /// Load a path of the site.
    #[serde(default)]
    pub goto: Option<Template>,
    /// Wait for one of several pages and go on accordingly.
    #[serde(default)]
    pub branch: Option<Vec<Arm>>,
    /// Close what may lie over the page; nothing happens when nothing is there.
    #[serde(default)]
    pub dismiss: Option<Vec<Overlay>>,
    /// Type into a text control.
    #[serde(default)]
    pub fill: Option<Fill>,
    /// Choose an option of a native `<select>`.
    #[serde(default)]
    pub select: Option<Select>,
    /// Choose from a list that a click opens.
    #[serde(default)]
    pub pick: Option<Pick>,
    /// Type, wait for suggestions, choose the one that fits.
    #[serde(default)]
    pub typeahead: Option<Typeahead>,
    /// Set a checkbox or switch.
    #[serde(default)]
    pub set: Option<Set>,
    /// Take every tick out of a group of checkboxes.
    #[serde(default)]
    pub untick: Option<Untick>,
    /// Give the photos.
    #[serde(default)]
    pub upload: Option<Upload>,
    /// Click.
    #[serde(default)]
    pub click: Option<Target>,
    /// Check the filled fields, then go on to the form's next page.
    #[serde(default)]
    pub advance: Option<Advance>,
}

/// One way a branch can go.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The page looks like this.
    pub when: Condition,
    /// Then these steps follow.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// Something that may lie over the page.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// How to see it.
    pub when: Target,
    /// What closes it.
    pub click: Target,
}

/// See [`Step::fill`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// The listing's field, for failures and the read-back.
    pub field: String,
    /// The control.
    pub target: Target,
    /// What to put in.
    pub value: Template,
    /// How the control is left.
    #[serde(default)]
    pub commit: Commit,
    /// How the value read back is compared.
    #[serde(default)]
    pub compare: Compare,
    /// The value is a secret: it is neither read back nor part of the fingerprint.
    #[serde(default)]
    pub secret: bool,
}

/// See [`Step::select`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// The listing's field.
    pub field: String,
    /// The `<select>`.
    pub target: Target,
    /// The label of the wanted option.
    pub option: TextMatch,
}

/// See [`Step::pick`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// The listing's field.
    pub field: String,
    /// The combobox that opens the list and shows the choice.
    pub target: Target,
    /// The list, once open.
    pub list: Target,
    /// The entry in the list.
    pub option: Target,
    /// What the combobox has to show afterwards.
    pub shows: TextMatch,
}

/// See [`Step::typeahead`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typeahead {
    /// The listing's field.
    pub field: String,
    /// The input.
    pub target: Target,
    /// What to type.
    pub value: Template,
    /// The suggestion to choose; never just the first.
    pub option: Target,
    /// What the input has to show afterwards.
    pub shows: TextMatch,
    /// The page accepted the choice.
    #[serde(default)]
    pub committed: Option<Condition>,
}

/// See [`Step::set`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// The listing's field.
    pub field: String,
    /// The checkbox or switch.
    pub target: Target,
    /// The wanted state.
    pub to: bool,
}

/// See [`Step::untick`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Untick {
    /// The listing's field.
    pub field: String,
    /// The checkboxes, ticked or not, by role without a name; a form without any is fine.
    pub target: Target,
}

/// See [`Step::upload`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// The file input or inputs.
    pub target: Target,
    /// How the files are spread over inputs.
    #[serde(default)]
    pub spread: Spread,
    /// The thumbnails that appear, one per photo, in order; none when the site shows none.
    #[serde(default)]
    pub thumbnails: Option<Target>,
    /// The attribute of a thumbnail that names its photo, by file name or by the SHA-256 of the file, to verify the
    /// order.
    #[serde(default)]
    pub order_by: Option<String>,
    /// What the page shows when a photo was refused.
    #[serde(default)]
    pub refused: Option<Target>,
}

/// See [`Step::advance`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// The button.
    pub target: Target,
    /// Where the site shows complaints beside the form's own.
    #[serde(default)]
    pub errors: Option<Target>,
}

/// How to see who is signed in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedIn {
    /// The page looks like this when someone is signed in.
    pub when: Condition,
    /// Where the account's name is.
    #[serde(default)]
    pub account: Option<Target>,
}

/// The click that cannot be undone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// What the click does, as the seller reads it.
    pub name: String,
    /// The button.
    pub target: Target,
    /// Where the site shows complaints beside the form's own.
    #[serde(default)]
    pub errors: Option<Target>,
    /// Texts that forbid the click though the button is enabled.
    #[serde(default)]
    pub blocked: Vec<Condition>,
}

/// How to find out what the click did.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// Seconds to wait for the site's answer; 20 by default, at most 120.
    #[serde(default)]
    pub within_s: Option<u64>,
    /// Pages and elements that prove the publication, in order; the group `id` of `url` or `link` is the item's id.
    pub proofs: Vec<Proof>,
    /// The site refused the listing: back to its form with complaints.
    #[serde(default)]
    pub rejected: Vec<Condition>,
    /// Pages that prove nothing by themselves: go and look at the own items.
    #[serde(default)]
    pub look: Vec<Condition>,
}

/// One proof of a publication.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Name of the strategy, as reported: `url`, `link`.
    pub strategy: String,
    /// The page looks like this; its `url` may have a group `id`.
    pub when: Condition,
    /// With `when.visible`: a regular expression on that element's link, with a group `id`.
    #[serde(default)]
    pub link: Option<String>,
}

/// What the published page must show.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The listing's field; `photos` compares the photos one by one, in order (see `session/photos.rs`). A field that
    /// the form turned out not to have is left out.
    pub field: String,
    /// The value that should be there; not needed for `photos`.
    #[serde(default)]
    pub value: Option<Template>,
    /// A key of the page's JSON-LD product, e.g. `offers.price`.
    #[serde(default)]
    pub structured: Option<String>,
    /// The element that shows it; for photos, all images.
    #[serde(default)]
    pub target: Option<Target>,
    /// The attribute to take in place of the text.
    #[serde(default)]
    pub attribute: Option<String>,
    /// A regular expression for what is shown; its group `value`, or the whole match, is compared.
    #[serde(default)]
    pub pattern: Option<String>,
    /// How it is compared.
    #[serde(default)]
    pub compare: Compare,
    /// What may stand there, where `value` alone is too strict; replaces `compare`.
    #[serde(default)]
    pub shows: Option<TextMatch>,
    /// Check only if this text is not empty once rendered.
    #[serde(default)]
    pub only_if: Option<Template>,
}

/// A recipe or site pack that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not YAML, or not in the schema's shape; the message has the path of the bad key.
    #[error("{name}: {message}")]
    Shape {
        /// Which file, `site/job`, as far as known.
        name: String,
        /// What is wrong, with path, line and column.
        message: String,
    },
    /// In the right shape, against the rules.
    #[error("{name}: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rules {
        /// Which file.
        name: String,
        /// Every broken rule.
        problems: Vec<Problem>,
    },
}

// === impl Recipe ===

impl Recipe {
    /// Reads and checks a recipe.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let body: Body = serde_yaml_ng::from_str(text)
            .map_err(|error| Invalid::Shape { name: "recipe".to_owned(), message: error.to_string() })?;
        let name = format!("{}/{}", body.site, body.job);
        let problems = check::recipe(&body);
        if !problems.is_empty() {
            return Err(Invalid::Rules { name, problems });
        }
        Ok(Self { version: Version { name, sha256: sha256(text) }, body })
    }
}

/// SHA-256 of a text, in hexadecimal.
pub(crate) fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

// === impl Job ===

impl Job {
    /// Every job.
    pub const ALL: [Self; 4] = [Self::LoginCheck, Self::Login, Self::Publish, Self::Scan];

    /// The stable name, as in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::LoginCheck => "login_check",
            Self::Login => "login",
            Self::Publish => "publish",
            Self::Scan => "scan",
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Version ===

impl fmt::Display for Version {
    /// `site/job@` and the first twelve digits of the hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.sha256.get(..12).unwrap_or(&self.sha256))
    }
}

// === impl Step ===

impl Step {
    /// The step's deadline.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_s.unwrap_or(30)).min(STEP_DEADLINE_MAX)
    }
}

// === impl Confirm ===

impl Confirm {
    /// How long to wait for the site's answer.
    pub fn within(&self) -> Duration {
        Duration::from_secs(self.within_s.unwrap_or(20)).min(STEP_DEADLINE_MAX)
    }
}
