//! The engine of the store for several controllers: PostgreSQL.
//!
//! READ COMMITTED with compare-and-set writes; rows of a batch are locked in the order of their ids, so that there is no
//! retry loop. Hints travel between controllers by `NOTIFY` ([`notify`]). The body is shared with the SQLite crate, see
//! `crates/store/shared/mod.rs`.

mod backend;
mod beats;
mod bulk;
mod claims;
mod coalesce;
mod create;
mod dialect;
mod entries;
mod error;
mod feed;
mod gather;
mod group;
mod line;
mod notify;
mod open;
mod pacing;
#[path = "../../store/shared/mod.rs"]
mod shared;
mod time;

pub use self::open::{Options, open};
