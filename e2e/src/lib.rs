//! The whole system under test: real binaries, real Chromium, real databases, real sites.
//!
//! [`System`] starts sites, controllers and agents as a user would, through their command lines, and keeps everything in
//! one temporary directory. The sites' own records ([`sites`]) are the truth that results are compared with. Nothing here
//! knows the internals of a program.

pub mod canary;
#[cfg(target_os = "linux")]
pub mod chaos;
pub mod cli;
#[cfg(target_os = "linux")]
pub mod orphans;
pub mod plain;
#[cfg(target_os = "linux")]
pub mod postgres;
#[cfg(target_os = "linux")]
pub mod processes;
pub mod proxy;
pub mod sites;
pub mod system;

use std::time::Duration;

/// How long a posting may take on a busy machine before a test gives up.
pub const POSTING_DEADLINE: Duration = Duration::from_secs(120);
/// How long a program may take to be ready.
pub const START_DEADLINE: Duration = Duration::from_secs(60);
