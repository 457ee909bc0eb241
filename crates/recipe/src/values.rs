//! What a job brings to a recipe: the listing, the account, the site.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use tradepost_domain::listing::Condition;
use tradepost_domain::money::Money;
use url::Url;
use zeroize::Zeroize;

/// The input of one job.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where the site is; navigation never leaves its origin.
    pub site_url: Url,
    /// The name that the site shows when the right account is signed in; without it the account is not compared.
    pub sign_in_name: Option<String>,
    /// The listing to publish; none for a sign-in check or a scan.
    pub listing: Option<Listing>,
}

/// The listing's content, with its photos as local files.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Headline.
    pub title: String,
    /// Free text; may be empty.
    pub description: String,
    /// Asking price.
    pub price: Money,
    /// Category path as the seller wrote it, e.g. `Home > Furniture`; the site pack maps it.
    pub category: String,
    /// State; the site pack has its label.
    pub condition: Condition,
    /// Where the thing is.
    pub location: String,
    /// The seller's own number; may be empty.
    pub sku: String,
    /// Attributes that some categories ask for.
    pub attributes: BTreeMap<String, String>,
    /// Absolute paths of the photos in order; the first is the cover. The file names differ from each other.
    pub photos: Vec<PathBuf>,
}

/// What a person types to sign in; printed by nothing, and gone from memory when it is dropped.
pub struct Credential {
    /// The name or e-mail address.
    pub username: SecretString,
    /// The password.
    pub password: SecretString,
}

/// The variables of one job, by dotted name.
#[derive(Clone, Default)]
pub struct Values {
    map: BTreeMap<String, Vec<String>>,
}

// === impl Credential ===

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}

// === impl Values ===

impl Values {
    /// Sets one value; an empty one counts as unset.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.set_all(name, vec![value.into()]);
    }

    /// Sets alternatives, the preferred one first.
    pub fn set_all(&mut self, name: &str, values: Vec<String>) {
        let values: Vec<String> = values.into_iter().filter(|value| !value.is_empty()).collect();
        if values.is_empty() {
            self.map.remove(name);
        } else {
            self.map.insert(name.to_owned(), values);
        }
    }

    /// The preferred value.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).and_then(|all| all.first()).map(String::as_str)
    }

    /// All alternatives.
    pub fn all(&self, name: &str) -> Option<&[String]> {
        self.map.get(name).map(Vec::as_slice)
    }

    /// Takes over the values of another set.
    pub fn extend(&mut self, other: Self) {
        self.map.extend(other.map);
    }

    /// Forgets every value whose name begins with `prefix`, and wipes it from memory.
    pub fn forget(&mut self, prefix: &str) {
        for (_, values) in self.map.iter_mut().filter(|(name, _)| name.starts_with(prefix)) {
            values.zeroize();
        }
        self.map.retain(|name, _| !name.starts_with(prefix));
    }
}

impl std::fmt::Debug for Values {
    /// Names only: values hold titles and passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.map.keys()).finish()
    }
}
