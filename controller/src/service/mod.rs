//! Use cases: what people and agents want, free of transport and of SQL.
//!
//! Each is: authorise (done by the caller's table), load, let `tradepost_domain` decide, store the outcome with one
//! method of the store, and answer. A write that finds its rows changed meanwhile loads and decides anew, a few times.
//!
//! To add a use case: a method in the file of its noun, or a new file; its handler in `grpc`; its row in the table of
//! who may call it; its reasons in [`error`].

pub mod account;
pub mod agent;
pub mod audit;
pub mod auth;
pub mod core;
pub mod dispatch;
pub mod enrolment;
pub mod error;
pub mod event;
pub mod evidence;
pub mod fleet;
pub mod job;
pub mod keys;
pub mod listing;
pub mod pacing;
pub mod page;
pub mod people;
pub mod permit;
pub mod photo;
pub mod posting;
pub mod recent;
pub mod reconcile;
pub mod recount;
pub mod run;
pub mod standing;
pub mod stream;
pub mod sweep;
pub mod waiting;
pub mod work;

pub use self::audit::AuditLog;
pub use self::core::Core;
pub use self::error::{Error, Reason, Result};
pub use self::people::People;
