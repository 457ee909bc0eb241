//! Nouns, validation and decisions of Tradepost, without I/O.
//!
//! Every decision that must hold after any crash is a pure function here: `step(state, event, now)` returns the next
//! state or a reason for refusing. The store applies a step atomically; services only load, step and store.
//!
//! Invariants (I1–I10 of the publication protocol) are named where the code that keeps them stands; [`invariant`] lists
//! them and checks states and steps against them.
//!
//! To add a noun: a module with its validating constructor (collect *all* violations, see [`field`]), its id in [`id`],
//! its row in the store's traits, its message and conversions in `tradepost-proto`.

pub mod account;
pub mod agent;
pub mod audit;
pub mod credential;
pub mod event;
pub mod failure;
pub mod fair;
pub mod fence;
pub mod field;
pub mod fleet;
pub mod id;
pub mod invariant;
pub mod job;
pub mod lease;
pub mod listing;
pub mod money;
pub mod pacing;
pub mod photo;
pub mod posting;
pub mod publish;
pub mod reconcile;
pub mod retry;
pub mod scope;
pub mod session;
pub mod standing;
pub mod throttle;
pub mod time;
pub mod trust;
pub mod user;
pub mod waiting;
