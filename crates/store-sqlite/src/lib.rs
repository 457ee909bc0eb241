//! The embedded engine of the store: one SQLite file, for one controller.
//!
//! Write-ahead log, `synchronous = FULL`: what a write has acknowledged survives a power cut. One connection writes
//! ([`backend`]'s writer task), in group commits; a pool of others reads. The body is shared with the PostgreSQL crate,
//! see `crates/store/shared/mod.rs`.

mod backend;
mod backup;
mod claims;
mod dialect;
mod entries;
mod error;
mod gather;
mod open;
mod pacing;
#[path = "../../store/shared/mod.rs"]
mod shared;
mod time;
mod writer;

pub use self::backup::{Restoring, backup, restore};
pub use self::open::{Options, open, open_beside};
