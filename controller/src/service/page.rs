//! Pages of lists: sizes, and opaque tokens that carry no authority.
//!
//! A token holds the place after which to go on and a hash of the list it was made for (its name and filters), so that
//! changed filters are noticed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Cursor, PageRequest};
use uuid::Uuid;

use super::error::{Error, Reason, Result};

/// Rows of a page when the caller names no size.
pub const DEFAULT: u32 = 50;
/// Most rows of a page.
pub const MAX: u32 = 200;

/// What a caller asks of a list.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Rows wanted; 0 for the default.
    pub size: i32,
    /// Where to go on; empty for the first page.
    pub token: String,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where to go on; empty on the last page.
    pub next_token: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    /// Hash of the list.
    l: String,
    /// Micros of [`Cursor::Newest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<i64>,
    /// Text of [`Cursor::Name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    /// Id of the last row.
    i: Uuid,
}

impl Query {
    /// The store's page; `list` names the list with its filters.
    pub fn request(&self, list: &str) -> Result<PageRequest> {
        let size = u32::try_from(self.size)
            .map_err(|_| Error::field("page_size", "is negative; use 0 for the default or up to 200"))?;
        let limit = if size == 0 { DEFAULT } else { size.min(MAX) };
        let after = if self.token.is_empty() { None } else { Some(decode(&self.token, list)?) };
        Ok(PageRequest { limit, after })
    }
}

impl<T> Page<T> {
    /// From the store's slice of the same `list`.
    pub fn new(list: &str, slice: tradepost_store::Slice<T>) -> Self {
        let next_token = slice.next.map_or_else(String::new, |cursor| encode(&cursor, list));
        Self { rows: slice.rows, next_token }
    }
}

fn hash(list: &str) -> String {
    hex::encode(&Sha256::digest(list.as_bytes())[..8])
}

fn encode(cursor: &Cursor, list: &str) -> String {
    let token = match cursor {
        Cursor::Newest(at, id) => Token { l: hash(list), t: Some(at.as_micros()), n: None, i: *id },
        Cursor::Name(name, id) => Token { l: hash(list), t: None, n: Some(name.clone()), i: *id },
    };
    // A struct of plain fields always serializes.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn decode(text: &str, list: &str) -> Result<Cursor> {
    let damaged =
        || Error::new(Reason::InvalidPageToken, "the page token is damaged; begin with the first page");
    if text.len() > 2_000 {
        return Err(damaged());
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| damaged())?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    if token.l != hash(list) {
        return Err(Error::new(
            Reason::InvalidPageToken,
            "the page token belongs to a list with other filters; begin with the first page",
        ));
    }
    match (token.t, token.n) {
        (Some(micros), None) => Ok(Cursor::Newest(Timestamp::from_micros(micros), token.i)),
        (None, Some(name)) => Ok(Cursor::Name(name, token.i)),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_are_bound_to_their_list() {
        for cursor in [
            Cursor::Newest(Timestamp::from_micros(5), Uuid::from_u128(1)),
            Cursor::Name("a".into(), Uuid::from_u128(2)),
        ] {
            let token = encode(&cursor, "jobs queued");
            let query = Query { size: 0, token: token.clone() };
            assert_eq!(query.request("jobs queued").expect("valid").after, Some(cursor));
            assert_eq!(
                query.request("jobs failed").expect_err("other filters").reason,
                Reason::InvalidPageToken
            );
            for end in 1..token.len() {
                let cut = Query { size: 0, token: token[..end].to_owned() };
                assert!(cut.request("jobs queued").is_err(), "cut at {end} was accepted");
            }
        }
    }

    #[test]
    fn sizes_have_a_default_a_cap_and_a_floor() {
        let limit = |size| Query { size, token: String::new() }.request("x").map(|page| page.limit);
        assert_eq!(limit(0).expect("valid"), DEFAULT);
        assert_eq!(limit(7).expect("valid"), 7);
        assert_eq!(limit(100_000).expect("valid"), MAX);
        assert_eq!(limit(-1).expect_err("negative").reason, Reason::InvalidFields);
    }
}
