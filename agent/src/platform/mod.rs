//! Everything that the operating systems do differently, behind one API. The only place of the agent with unsafe code.
//!
//! - [`containment`]: child processes that end with this one, whatever kills it.
//! - [`processes`]: processes by id and start time, so that a reused id is never taken for the old process.
//! - [`clock`]: a clock that counts the time the PC sleeps.
//! - [`files`]: files and folders that only their owner reads, atomic replacement, locks.

pub mod clock;
pub mod containment;
pub mod files;
pub mod processes;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod os;
#[cfg(windows)]
#[path = "windows.rs"]
mod os;

/// Operating system and architecture, e.g. `linux x86_64`.
pub fn name() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}
