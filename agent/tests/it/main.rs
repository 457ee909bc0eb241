//! The agent against real processes, and against a controller that the test scripts.
#![expect(clippy::expect_used, reason = "a test fails where its preparation fails")]

mod browser;
mod clocks;
mod containment;
mod controller;
mod journal;
mod publish;
mod session;
mod site;
