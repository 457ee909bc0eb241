//! The test harness: what tests need around the code they test.
//!
//! - [`database`]: a private PostgreSQL or SQLite database per test.
//! - [`fuzz`]: hostile input for decoders.
//! - [`process`]: real binaries, their output, and their end by signal.
//! - [`photos`]: small real image files, all different.
//! - [`collector`]: an OTLP collector in the test's process.
//! - [`wait`]: waiting with a deadline that says what it waited for.
//! - [`ManualClock`]: time that moves only when told.
//!
//! It knows no store and no service, so that they can use it in their own tests; what it needs of them comes as closures.
//! Everything cleans up after itself when dropped.

pub mod collector;
pub mod database;
pub mod fuzz;
pub mod photos;
pub mod process;
pub mod wait;

pub use tradepost_runtime::clock::ManualClock;

pub use self::collector::Collector;
pub use self::database::TestDatabase;
pub use self::process::Spawned;

use std::path::PathBuf;

/// The root of the workspace.
pub fn workspace_root() -> PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
