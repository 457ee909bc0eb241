//! Records the commit of the source tree in release builds. Development builds have none: with it, every commit would compile all
//! that depends on this crate anew. A release built from a plain archive has none either.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = env!("CARGO_PKG_VERSION");
    // Cargo sets PROFILE for build scripts.
    let hash = if told("PROFILE").as_deref() == Some("release") { commit() } else { String::new() };
    let description = if hash.is_empty() { version.to_owned() } else { format!("{version} ({hash})") };
    println!("cargo::rustc-env=TRADEPOST_BUILD_COMMIT={hash}");
    println!("cargo::rustc-env=TRADEPOST_BUILD_DESCRIPTION={description}");
}

#[expect(clippy::disallowed_methods, reason = "a build script is told by its environment")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn commit() -> String {
    // Only what moves when the commit changes; a missing path would make every build run this again.
    for path in ["../../.git/HEAD", "../../.git/logs/HEAD"] {
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|hash| hash.trim().to_owned())
        .unwrap_or_default()
}
