//! Keyset pages: one row more than asked for tells whether there is a next page.

use tradepost_domain::time::Timestamp;
use tradepost_store::{Cursor, PageRequest, Slice};
use uuid::Uuid;

use super::Fault;
use crate::time::Time;

/// Later than any row: the last microsecond of the year 9999.
const END_OF_TIME: Timestamp = Timestamp::from_micros(253_402_300_799_999_999);

/// Where a list ordered newest first goes on: before this time and id.
pub(super) fn newest(page: &PageRequest) -> Result<(Time, Uuid, i64), Fault> {
    let limit = i64::from(page.limit) + 1;
    match &page.after {
        None => Ok((Time(END_OF_TIME), Uuid::max(), limit)),
        Some(Cursor::Newest(at, id)) => Ok((Time(*at), *id, limit)),
        Some(Cursor::Name(..)) => Err(Fault::internal("a page cursor of another list")),
    }
}

/// Where a list ordered by name goes on: after this name and id.
pub(super) fn by_name(page: &PageRequest) -> Result<(String, Uuid, i64), Fault> {
    let limit = i64::from(page.limit) + 1;
    match &page.after {
        None => Ok((String::new(), Uuid::nil(), limit)),
        Some(Cursor::Name(name, id)) => Ok((name.clone(), *id, limit)),
        Some(Cursor::Newest(..)) => Err(Fault::internal("a page cursor of another list")),
    }
}

/// Cuts the surplus row off and says where the next page begins.
pub(super) fn slice<T>(mut rows: Vec<T>, page: &PageRequest, place: impl Fn(&T) -> Cursor) -> Slice<T> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let next = if rows.len() > limit {
        rows.truncate(limit);
        rows.last().map(place)
    } else {
        None
    };
    Slice { rows, next }
}
