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

/// The PC's own name; `agent` where it tells none.
pub fn host_name() -> String {
    let output = std::process::Command::new("hostname").output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let from_file =
        || std::fs::read_to_string("/etc/hostname").map(|name| name.trim().to_owned()).unwrap_or_default();
    let name = if text.is_empty() { from_file() } else { text };
    let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    if name.is_empty() { String::from("agent") } else { name }
}
