//! Keyset pages.

use tradepost_domain::time::Timestamp;
use uuid::Uuid;

/// The last row of a page in the order of its list: time or text first, then id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// Lists ordered newest first.
    Newest(Timestamp, Uuid),
    /// Lists ordered by name.
    Name(String, Uuid),
}

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many rows; 1 to 1,000.
    pub limit: u32,
    /// Rows after this one; none for the first page.
    pub after: Option<Cursor>,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; none on the last.
    pub next: Option<Cursor>,
}
