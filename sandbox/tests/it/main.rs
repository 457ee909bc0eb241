//! The practice marketplace over HTTP, without a browser.

#![expect(clippy::expect_used, reason = "a test fails by panicking, in its harness too")]

mod control;
mod harness;
mod publish;
mod session;
