//! What every Tradepost process needs around its own logic.
//!
//! - [`clock`]: the only place that reads the time; tests use [`clock::ManualClock`].
//! - [`ids`]: the only place that makes random ids and numbers; tests use a seeded source.
//! - [`tasks`]: named background tasks with one shutdown signal and a drain deadline.
//! - [`backoff`]: capped exponential delays with full jitter.
//! - [`config`]: defaults, TOML file, environment and flags, merged into one checked value.
//! - [`credential`]: sellers' credentials, sealed by the command line and opened by an agent.
//! - [`telemetry`]: logs, traces, metrics, and the trace context that travels between processes.
//! - [`signature`]: Ed25519 keys in files.
//! - [`tls`]: certificates, server configurations that can be exchanged while running, the accept loop, pinned clients.
//! - [`build`]: which build this is.
//!
//! Nothing here knows what a posting is.

pub mod backoff;
pub mod build;
pub mod clock;
pub mod config;
pub mod credential;
pub mod ids;
pub mod signature;
pub mod tasks;
pub mod telemetry;
pub mod tls;
