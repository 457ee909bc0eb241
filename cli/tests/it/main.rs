//! The real binary: what it prints where, and how it exits.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod credentials;
mod offline;
mod online;
mod process;
mod server;
