//! A marketplace account of a workspace, bound to the one agent whose Chrome profile is signed in to it.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::field::Violations;
use crate::id::{AccountId, AgentId, Version, WorkspaceId};
use crate::money::Currency;
use crate::time::Timestamp;

/// Longest account name, in characters.
pub const NAME_MAX: usize = 80;

/// The site an account is on, by the name of its recipes: `sandbox`, `classified`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Site(String);

/// What happens when a listing's click is proven to have had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAbsent {
    /// The seller is asked, with the evidence.
    #[default]
    Ask,
    /// It is posted again by itself, a few times at most.
    PostAgain,
}

/// One marketplace account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// What the seller calls it; unique in the workspace.
    pub name: String,
    /// Which site.
    pub site: Site,
    /// Where the site is; navigation never leaves this origin.
    pub site_url: Url,
    /// The name that the site shows when the right account is signed in, for the wrong-account guard.
    pub sign_in_name: Option<String>,
    /// The currency of its listings.
    pub currency: Currency,
    /// The agent that holds its Chrome profile.
    pub agent: Option<AgentId>,
    /// Whether an absent listing is posted again without asking.
    pub when_absent: WhenAbsent,
    /// When it was added.
    pub created_at: Timestamp,
    /// Etag.
    pub version: Version,
}

/// What a caller gives for a new account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// See [`Account::name`].
    pub name: String,
    /// See [`Account::site`].
    pub site: Site,
    /// See [`Account::site_url`].
    pub site_url: Url,
    /// See [`Account::sign_in_name`].
    pub sign_in_name: Option<String>,
    /// See [`Account::currency`].
    pub currency: Currency,
    /// See [`Account::agent`].
    pub agent: Option<AgentId>,
}

impl Site {
    /// A site's name: 1 to 40 lower-case letters, digits or `-`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fine = (1..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{:?} is no site; sites are named in lower case, e.g. sandbox",
                text.chars().take(40).collect::<String>()
            ))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl NewAccount {
    /// Checks every field; all violations at once. An empty `sign_in_name` means none.
    pub fn parse(
        name: &str,
        site: &str,
        site_url: &str,
        sign_in_name: &str,
        currency: &str,
        agent: &str,
    ) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        let name = violations.text("name", name, 1, NAME_MAX);
        let sign_in_name = violations.text("sign_in_name", sign_in_name, 0, 200);
        let site = violations.check("site", Site::parse(site));
        let site_url = violations.check("site_url", parse_site_url(site_url));
        let currency = violations.check("currency", currency.parse::<Currency>());
        let agent =
            if agent.is_empty() { None } else { violations.check("agent_id", agent.parse::<AgentId>()) };
        violations.into_result(|| {
            Some(Self {
                name,
                site: site?,
                site_url: site_url?,
                sign_in_name: Some(sign_in_name).filter(|text| !text.is_empty()),
                currency: currency?,
                agent,
            })
        })
    }
}

fn parse_site_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim())
        .map_err(|_| format!("{text:?} is no web address; write e.g. https://www.example.com/"))?;
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err(String::from("must start with https:// (plain http is allowed for this machine only)")),
        _ => Err(String::from("must start with https://")),
    }
}
