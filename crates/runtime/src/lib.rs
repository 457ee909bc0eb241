//! What every Tradepost process needs around its own logic.
//!
//! - [`clock`]: the only place that reads the time; tests use [`clock::ManualClock`].
//! - [`ids`]: the only place that makes random ids and numbers; tests use a seeded source.
//! - [`tasks`]: named background tasks with one shutdown signal and a drain deadline.
//! - [`backoff`]: capped exponential delays with full jitter.
//!
//! Nothing here knows what a posting or an agent is.

pub mod backoff;
pub mod clock;
pub mod ids;
pub mod tasks;
