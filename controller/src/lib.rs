//! The Tradepost controller: owns everything in one database, streams jobs to agents, answers people and their tools.
//!
//! ```text
//! grpc → service → { store traits, domain }      session, background → service      app names the engines
//! ```
//!
//! - [`grpc`]: authenticate, convert, call a use case, convert.
//! - [`service`]: use cases; every decision is the domain's.
//! - [`session`]: live streams of agents.
//! - [`background`]: what time alone brings about.
//! - [`identity`]: the certificate authority. [`certificates`]: the listeners' certificates, kept fresh.
//! - [`timekeeping`]: this process's clock at the database's.
//! - [`checkpoints`]: signed words about the audit log, in a file outside the database.
//! - [`maintenance`]: commands beside a controller: restore, and a new fleet epoch.
//! - [`verify`]: the audit log, verified on the controller's host.
//! - [`memory`]: how far the database had come, so that an older copy is recognised.
//! - [`seal`]: what the controller must read is sealed before it reaches the database, under versioned keys.
//! - [`app`]: puts them together; the only file that names a database engine.

pub mod app;
pub mod args;
pub mod background;
pub mod certificates;
pub mod checkpoints;
pub mod config;
pub mod grpc;
pub mod identity;
pub mod maintenance;
pub mod memory;
pub mod metric;
pub mod seal;
pub mod service;
pub mod session;
pub mod timekeeping;
pub mod verify;
pub mod web;
