//! Scopes of API tokens: a token can do what its user may do, and of that only what its scopes name.

use std::collections::BTreeSet;
use std::fmt;

/// What scopes are about; a method belongs to the noun of its service.
pub const NOUNS: &[&str] = &[
    "accounts",
    "agents",
    "audit",
    "events",
    "jobs",
    "keys",
    "listings",
    "photos",
    "postings",
    "system",
    "tokens",
    "users",
    "workspaces",
];

/// The scopes of one token; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(BTreeSet<String>);

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    /// It has another form, or names no noun.
    #[error("{0:?} is no scope; write NOUN:read, NOUN:write, NOUN:* or *, where NOUN is one of {nouns}", nouns = NOUNS.join(", "))]
    Unknown(String),
    /// There is none.
    #[error("are missing; name at least one, e.g. listings:write")]
    Missing,
}

impl Scopes {
    /// Everything that the user may do.
    pub fn all() -> Self {
        Self(BTreeSet::from([String::from("*")]))
    }

    /// Checks each.
    pub fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidScope> {
        let mut parsed = BTreeSet::new();
        for scope in scopes {
            let known = scope == "*"
                || scope.split_once(':').is_some_and(|(noun, verb)| {
                    NOUNS.contains(&noun) && matches!(verb, "read" | "write" | "*")
                });
            if !known {
                return Err(InvalidScope::Unknown(scope.chars().take(80).collect()));
            }
            parsed.insert(scope.to_owned());
        }
        if parsed.is_empty() { Err(InvalidScope::Missing) } else { Ok(Self(parsed)) }
    }

    /// Whether a token with these may call a method that needs `scope`. Writing includes reading.
    pub fn allow(&self, scope: &str) -> bool {
        let (noun, verb) = scope.split_once(':').unwrap_or((scope, "write"));
        let has = |verb: &str| self.0.contains(&format!("{noun}:{verb}"));
        self.0.contains("*") || has("*") || has("write") || (verb == "read" && has("read"))
    }

    /// Whether each of `others` is within these: what a token may pass on.
    pub fn cover(&self, others: &Self) -> bool {
        others.0.iter().all(|scope| match scope.as_str() {
            "*" => self.0.contains("*"),
            scope => self.allow(&scope.replace(":*", ":write")),
        })
    }

    /// Each, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::parse(text.split(' ')).expect("valid")
    }

    #[test]
    fn a_token_does_what_its_scopes_name_and_no_more() {
        let token = scopes("postings:write listings:read");
        assert!(
            token.allow("postings:write") && token.allow("postings:read") && token.allow("listings:read")
        );
        assert!(
            !token.allow("listings:write") && !token.allow("agents:read") && !token.allow("agents:write")
        );
        assert!(Scopes::all().allow("users:write"));
        assert!(scopes("agents:*").allow("agents:write") && !scopes("agents:*").allow("accounts:read"));
    }

    #[test]
    fn a_token_passes_on_no_more_than_it_has() {
        assert!(scopes("postings:write").cover(&scopes("postings:read postings:*")));
        assert!(!scopes("postings:read").cover(&scopes("postings:write")));
        assert!(!scopes("postings:*").cover(&Scopes::all()));
        assert!(Scopes::all().cover(&scopes("* users:write")));
    }

    #[test]
    fn unknown_scopes_are_refused() {
        for wrong in ["postings", "postings:delete", "things:read", "", "*:read", "postings:read:x"] {
            assert!(Scopes::parse([wrong]).is_err(), "{wrong:?}");
        }
        assert_eq!(Scopes::parse([]), Err(InvalidScope::Missing));
    }
}
