//! The harness itself, tried on real servers and processes.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which Clippy does not see as tests")]

mod collector;
mod database;
mod process;
