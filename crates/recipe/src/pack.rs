//! The site pack: what is particular to a site beside the way through it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::listing::Condition as State;
use tradepost_domain::pacing::{QuietHours, Rules, Zone};

use crate::locate::Condition;
use crate::normal;
use crate::schema::{Invalid, sha256};
use crate::values::{Listing, Values};

/// A site's labels, categories, limits and interruptions: `recipes/<site>/pack.yaml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// The site, as in accounts.
    pub site: String,
    /// What the site calls itself, for people.
    pub title: String,
    /// A practice site: passwords that are kept in the clear on the agent's PC may be used, too.
    #[serde(default)]
    pub practice: bool,
    /// Paths on the site: `{{pack.paths.NAME}}`.
    pub paths: BTreeMap<String, String>,
    /// The site's words, with their variants: `{{pack.labels.NAME}}`.
    #[serde(default)]
    pub labels: BTreeMap<String, Vec<String>>,
    /// Currencies the site trades in; empty: any.
    #[serde(default)]
    pub currencies: Vec<String>,
    /// The site's label (and its variants) for each condition; empty: the site has no such field.
    #[serde(default)]
    pub conditions: BTreeMap<String, Vec<String>>,
    /// The site's categories.
    pub categories: Categories,
    /// The site's places.
    #[serde(default)]
    pub locations: Locations,
    /// Limits of a listing.
    pub limits: Limits,
    /// How often an account may act, unless it has a policy of its own.
    #[serde(default)]
    pub pacing: Pacing,
    /// What can stand in place of the awaited page, in order of precedence.
    #[serde(default)]
    pub interruptions: Vec<Interruption>,
    /// SHA-256 of the file.
    #[serde(skip)]
    pub sha256: String,
}

/// The site's categories.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Categories {
    /// Paths, general to special, written `Home > Furniture`.
    pub known: Vec<String>,
    /// Other spellings, by the known path they stand for.
    #[serde(default)]
    pub aliases: BTreeMap<String, Vec<String>>,
    /// What stands between the parts of a path on the site.
    #[serde(default = "arrow")]
    pub separator: String,
}

/// The site's places.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locations {
    /// The places there are; empty: any, the site looks it up.
    #[serde(default)]
    pub known: Vec<String>,
    /// Other spellings, by the place they stand for.
    #[serde(default)]
    pub aliases: BTreeMap<String, Vec<String>>,
}

/// Limits of a listing on the site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Longest title, in characters.
    pub title_max: usize,
    /// Longest description, in characters.
    pub description_max: usize,
    /// The site wants a description.
    #[serde(default)]
    pub description_required: bool,
    /// Fewest photos.
    #[serde(default)]
    pub photos_min: usize,
    /// Most photos.
    pub photos_max: usize,
    /// The title needs at least one letter or digit.
    #[serde(default)]
    pub title_needs_word: bool,
    /// Highest price, in major units.
    #[serde(default)]
    pub price_max: Option<i64>,
    /// The site keeps no minor units.
    #[serde(default)]
    pub price_whole: bool,
}

/// How often an account may act on the site. A limit of 0 is none; what is left out is careful
/// ([`Rules::careful`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pacing {
    /// Most publications in any hour.
    pub per_hour: Option<u32>,
    /// Most publications in any 24 hours.
    pub per_day: Option<u32>,
    /// Least time between two publications, in seconds.
    pub min_gap_seconds: Option<u64>,
    /// Most sign-ins in any hour.
    pub logins_per_hour: Option<u32>,
    /// Most looks for an uncertain listing in any hour.
    pub looks_per_hour: Option<u32>,
    /// No publications in these hours of the account's zone, e.g. `22:00-07:00`.
    pub quiet_hours: Option<QuietHours>,
    /// Days for which an account counts as new.
    pub new_days: Option<u32>,
    /// Most publications in any 24 hours while it is new.
    pub new_per_day: Option<u32>,
}

/// Something that can stand in place of the awaited page.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interruption {
    /// The class of failure it is.
    pub class: FailureClass,
    /// How to see it.
    pub when: Condition,
    /// What the seller should do, in one sentence.
    pub message: String,
}

fn arrow() -> String {
    " > ".to_owned()
}

impl Pack {
    /// Reads and checks a pack.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut pack: Self = serde_yaml_ng::from_str(text)
            .map_err(|error| Invalid::Shape { name: "pack".to_owned(), message: error.to_string() })?;
        pack.sha256 = sha256(text);
        let problems = crate::check::pack(&pack);
        if problems.is_empty() {
            Ok(pack)
        } else {
            Err(Invalid::Rules { name: format!("{}/pack", pack.site), problems })
        }
    }

    /// The pack's own variables.
    pub fn values(&self) -> Values {
        let mut values = Values::default();
        for (name, path) in &self.paths {
            values.set(&format!("pack.paths.{name}"), path);
        }
        for (name, labels) in &self.labels {
            values.set_all(&format!("pack.labels.{name}"), labels.clone());
        }
        values
    }

    /// The variables of a listing on this site, or every reason why the site cannot take it, as (field, reason).
    pub fn listing_values(&self, listing: &Listing) -> Result<Values, Vec<(String, String)>> {
        let mut values = Values::default();
        let mut wrong = self.limit_violations(listing);
        match self.category(&listing.category) {
            Ok(path) => {
                values.set("site.category", path.join(&self.categories.separator));
                values.set("site.category_leaf", path.last().map_or("", String::as_str));
            }
            Err(reason) => wrong.push(("category".to_owned(), reason)),
        }
        match self.location(&listing.location) {
            Ok(place) => {
                values.set("site.location_query", place.split(',').next().unwrap_or_default().trim());
                values.set("site.location", place);
            }
            Err(reason) => wrong.push(("location".to_owned(), reason)),
        }
        if let Some(labels) = self.conditions.get(listing.condition.name()) {
            values.set_all("site.condition", labels.clone());
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let price = listing.price.decimal();
        values.set("listing.price_whole", price.split('.').next().unwrap_or_default());
        values.set("listing.price", price);
        values.set("listing.title", &listing.title);
        values.set("listing.description", &listing.description);
        values.set("listing.currency", listing.price.currency().code());
        values.set("listing.category", &listing.category);
        values.set("listing.location", &listing.location);
        values.set("listing.sku", &listing.sku);
        values.set("listing.photos", listing.photos.len().to_string());
        for (name, value) in &listing.attributes {
            values.set(&format!("listing.attributes.{name}"), value);
        }
        Ok(values)
    }

    /// The pacing of accounts without a policy of their own.
    pub fn rules(&self) -> Rules {
        let careful = Rules::careful();
        let Pacing {
            per_hour,
            per_day,
            min_gap_seconds,
            logins_per_hour,
            looks_per_hour,
            quiet_hours,
            new_days,
            new_per_day,
        } = self.pacing;
        Rules {
            per_hour: per_hour.unwrap_or(careful.per_hour),
            per_day: per_day.unwrap_or(careful.per_day),
            min_gap: min_gap_seconds.map_or(careful.min_gap, Duration::from_secs),
            logins_per_hour: logins_per_hour.unwrap_or(careful.logins_per_hour),
            looks_per_hour: looks_per_hour.unwrap_or(careful.looks_per_hour),
            quiet_hours: quiet_hours.or(careful.quiet_hours),
            time_zone: Zone::utc(),
            new_days: new_days.unwrap_or(careful.new_days),
            new_per_day: new_per_day.unwrap_or(careful.new_per_day),
        }
    }

    /// The failure for a listing that the site cannot take: all reasons in one line.
    pub fn refusal(&self, wrong: &[(String, String)]) -> Failure {
        let text =
            wrong.iter().map(|(field, reason)| format!("{field} {reason}")).collect::<Vec<_>>().join("; ");
        let failure = Failure::new(
            FailureClass::ListingRejected,
            "Check the listing",
            format!("{} cannot take this listing: {text}", self.title),
        );
        match wrong.first() {
            Some((field, _)) => failure.in_field(field),
            None => failure,
        }
    }

    /// The path of a category on this site: by its whole path, by an alias, or by its last part if only one has it.
    fn category(&self, wanted: &str) -> Result<Vec<String>, String> {
        let parts = |path: &str| -> Vec<String> { path.split('>').map(normal::line).collect() };
        let key = |path: &str| parts(path).join(">").to_lowercase();
        let wanted_key = key(wanted);
        let known = &self.categories.known;
        let whole = known.iter().find(|path| key(path) == wanted_key);
        let alias = || {
            let (path, _) = self
                .categories
                .aliases
                .iter()
                .find(|(_, others)| others.iter().any(|other| key(other) == wanted_key))?;
            Some(path)
        };
        let leaf = || {
            let last = wanted_key.rsplit('>').next()?.to_owned();
            let mut fits = known.iter().filter(|path| key(path).rsplit('>').next() == Some(last.as_str()));
            fits.next().filter(|_| fits.next().is_none())
        };
        whole.or_else(alias).or_else(leaf).map(|path| parts(path)).ok_or_else(|| {
            format!("{:?} is not one of its categories; use one of: {}", shorten(wanted), known.join(", "))
        })
    }

    fn location(&self, wanted: &str) -> Result<String, String> {
        let Locations { known, aliases } = &self.locations;
        let wanted_key = normal::label(wanted);
        let stands_for = |others: &[String]| others.iter().any(|other| normal::label(other) == wanted_key);
        if let Some((place, _)) = aliases.iter().find(|(_, others)| stands_for(others)) {
            return Ok(place.clone());
        }
        if known.is_empty() {
            return Ok(wanted.to_owned());
        }
        known.iter().find(|place| normal::label(place) == wanted_key).cloned().ok_or_else(|| {
            format!("{:?} is not one of its places; use one of: {}", shorten(wanted), known.join(", "))
        })
    }

    fn limit_violations(&self, listing: &Listing) -> Vec<(String, String)> {
        let limits = &self.limits;
        let mut wrong = Vec::new();
        let mut say = |field: &str, reason: String| wrong.push((field.to_owned(), reason));
        let title = listing.title.chars().count();
        if title > limits.title_max {
            say("title", format!("has {title} characters; at most {} fit", limits.title_max));
        }
        if limits.title_needs_word && !listing.title.chars().any(char::is_alphanumeric) {
            say("title", "has no letter or digit; write at least one word".to_owned());
        }
        let description = listing.description.chars().count();
        if description > limits.description_max {
            say(
                "description",
                format!("has {description} characters; at most {} fit", limits.description_max),
            );
        }
        if limits.description_required && listing.description.trim().is_empty() {
            say("description", "is empty; write one".to_owned());
        }
        let photos = listing.photos.len();
        if photos > limits.photos_max {
            say("photos", format!("are {photos}; at most {} fit", limits.photos_max));
        }
        if photos < limits.photos_min {
            say("photos", format!("are {photos}; at least {} are needed", limits.photos_min));
        }
        let price = listing.price;
        let unit = 10_i64.saturating_pow(price.currency().digits());
        if limits.price_max.is_some_and(|max| price.minor() > max.saturating_mul(unit)) {
            say("price", format!("{price} is above the highest, {}", limits.price_max.unwrap_or_default()));
        }
        if limits.price_whole && price.minor() % unit != 0 {
            say("price", format!("{price} has minor units, which the site drops; use a whole amount"));
        }
        let currency = price.currency();
        let code = currency.code();
        if !self.currencies.is_empty() && !self.currencies.iter().any(|known| known == code) {
            say("price", format!("is in {code}; the site trades in {}", self.currencies.join(", ")));
        }
        wrong
    }

    /// The names of conditions that a pack may map.
    pub(crate) fn condition_names() -> [&'static str; 4] {
        [State::New.name(), State::LikeNew.name(), State::Good.name(), State::Fair.name()]
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}
