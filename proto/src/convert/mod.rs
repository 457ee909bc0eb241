//! Conversions between messages and domain types, one file per noun.
//!
//! - Receiving: `TryFrom<v1::X>` collects every violation, named by the field as the caller wrote it.
//! - Sending: `From<domain::X>` cannot fail.
//! - Types of `prost_types` have functions instead, since neither side is ours ([`time`], [`event`]).

pub mod account;
pub mod agent;
pub mod audit;
pub mod event;
pub mod failure;
pub mod job;
pub mod listing;
pub mod money;
pub mod pacing;
pub mod photo;
pub mod posting;
pub mod reconcile;
pub mod recount;
pub mod time;

use std::str::FromStr;

use tradepost_domain::field::Violations;
use tradepost_domain::id::{RequestId, Version};

/// A number on the wire that is no value of its enum; the caller is newer or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no known value; leave it out or use one that this version knows")]
pub struct UnknownValue(pub i32);

/// A domain enum that travels as a number.
pub trait FromWire: Sized {
    /// The value of `raw`; none for `UNSPECIFIED`.
    fn from_wire(raw: i32) -> Result<Option<Self>, UnknownValue>;
}

/// Pairs each variant of a domain enum with the one of the same name on the wire.
macro_rules! paired {
    ($domain:ident, $wire:ident: $($name:ident),* $(,)?) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                match value { $($domain::$name => Self::$name),* }
            }
        }

        impl $crate::convert::FromWire for $domain {
            fn from_wire(raw: i32) -> Result<Option<Self>, $crate::convert::UnknownValue> {
                match $wire::try_from(raw).map_err(|_| $crate::convert::UnknownValue(raw))? {
                    $($wire::$name => Ok(Some(Self::$name)),)*
                    $wire::Unspecified => Ok(None),
                }
            }
        }
    };
}
use paired;

/// The required value of an enum; records a violation of `field` when it is missing or unknown.
pub fn required<T: FromWire>(violations: &mut Violations, field: &str, raw: i32) -> Option<T> {
    match T::from_wire(raw) {
        Ok(Some(value)) => Some(value),
        Ok(None) => {
            violations.push(field, "is missing");
            None
        }
        Err(error) => {
            violations.push(field, error.to_string());
            None
        }
    }
}

/// The optional value of an enum, such as a filter; records a violation of `field` when it is unknown.
pub fn optional<T: FromWire>(violations: &mut Violations, field: &str, raw: i32) -> Option<T> {
    violations.check(field, T::from_wire(raw)).flatten()
}

/// The id in a required field.
pub fn id<T>(violations: &mut Violations, field: &str, text: &str) -> Option<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        violations.push(field, "is missing");
        return None;
    }
    violations.check(field, text.parse())
}

/// The id in a field that may be empty.
pub fn optional_id<T>(violations: &mut Violations, field: &str, text: &str) -> Option<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    if text.is_empty() { None } else { violations.check(field, text.parse()) }
}

/// The caller's own name of a mutation.
pub fn request_id(violations: &mut Violations, text: &str) -> Option<RequestId> {
    let parsed = RequestId::parse(text).map_err(
        |_| "needs 1 to 64 letters, digits, \"-\", \"_\" or \".\", and is the same when you repeat the call",
    );
    violations.check("request_id", parsed)
}

/// A row's version as an etag.
pub fn etag(version: Version) -> String {
    version.0.to_string()
}

/// The version in an etag; none when it is empty.
pub fn version(violations: &mut Violations, text: &str) -> Option<Version> {
    if text.is_empty() {
        return None;
    }
    let parsed = text.trim_matches('"').parse().map(Version);
    violations
        .check("etag", parsed.map_err(|_| "is none that this service gave out; read the resource again"))
}

/// An optional value as text, empty for none.
fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
