//! The body that both engines share: every trait of `tradepost-store`, with the SQL that is the same on both.
//!
//! This folder is no crate. `tradepost-store-sqlite` and `tradepost-store-postgres` each include it with
//! `#[path = "../../store/shared/mod.rs"] mod shared;`, so that it is compiled twice and each `query!` is checked against
//! that crate's own engine. What differs lies behind modules of the including crate, equal in their signatures:
//!
//! - `crate::backend`: [`Backend`](crate::backend::Backend) with `read`, `snapshot` and `write`, the type `Conn`, opening
//!   and closing;
//! - `crate::dialect`: statements that one engine does better, or only one can: claims, batches, row locks;
//! - `crate::entries`: rows of the audit log;
//! - `crate::error`: which constraint a driver's error names;
//! - `crate::time`: how a `Timestamp` is stored.
//!
//! Rules: `$1…` placeholders; no `::`, `now()`, arrays or `ILIKE`; the state literals of partial indexes stand in the text;
//! every selected column says its nullability and, where it is no text or integer, its type; times are always bound.
//! To add a query: write it here, run `make sqlx`. When one engine refuses it, make it a pair in the two dialects.
//!
//! Locks on PostgreSQL are taken in one order: agents, accounts, listings, new rows, jobs, intents, postings, and last the
//! workspace's row (by appending events) and the audit entry. Where users and members change, the workspace's row comes first, or the counter
//! row that stands for all operators.

pub(crate) mod accounts;
mod agents;
pub(crate) mod audit;
mod auth;
pub(crate) mod commit;
mod credentials;
mod events;
mod evidence;
mod factors;
mod fault;
mod fleet;
mod identities;
mod invitations;
pub(crate) mod listings;
mod looks;
mod members;
pub(crate) mod pacing;
mod page;
pub(crate) mod photos;
mod retention;
pub(crate) mod rows;
pub(crate) mod runs;
mod secrets;
mod sessions;
pub(crate) mod steps;
mod throttles;
mod tokens;
mod tx;
mod users;
mod work;

pub(crate) use self::fault::{Fault, conflict_of};
pub(crate) use self::rows::{AgentRow, IntentRow, JobRow, jobs};
pub(crate) use self::runs::RunRow;
pub(crate) use self::steps::{duration_micros, status_name};
pub(crate) use self::tx::{Appended, Tx};
