//! The runtime's parts on real sockets and files.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which Clippy does not see as tests")]

mod config;
mod telemetry;
mod tls;
