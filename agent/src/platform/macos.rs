//! macOS.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use rustix::time::ClockId;

use super::processes::{Listed, ProcessRef, descendants};

/// CLOCK_MONOTONIC runs on during sleep on this system.
pub(super) fn boottime() -> Duration {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

pub(super) fn started(pid: u32) -> Option<u64> {
    ps(&["-p", &pid.to_string()]).into_iter().next().map(|listed| listed.process.started)
}

pub(super) fn list() -> Vec<Listed> {
    ps(&["-ax"])
}

/// Runs ps: its start times are texts, so their hash stands for them.
fn ps(which: &[&str]) -> Vec<Listed> {
    let output = Command::new("/bin/ps").args(which).args(["-o", "pid=,ppid=,stat=,lstart="]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Listed> {
    let mut fields = line.split_whitespace();
    let pid = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    if fields.next()?.starts_with('Z') {
        return None;
    }
    let mut started = 0xcbf2_9ce4_8422_2325_u64;
    for byte in fields.flat_map(str::bytes) {
        started = (started ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Some(Listed { process: ProcessRef { pid, started }, parent })
}

pub(super) fn kill(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // It may have ended by itself meanwhile; that is as good.
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// The terminal's Ctrl-C does not reach the tree.
pub(super) fn enter_containment() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// There is no parent-death signal here; the guard's pipe does the work.
pub(super) fn die_with_parent(_: &mut Command) {}

pub(super) fn wait_for(mut child: Child) -> io::Result<u8> {
    Ok(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Children before their parents would be respawned by them, so parents come first; a second look finds late ones.
pub(super) fn end_descendants() {
    for _ in 0..50 {
        let alive = descendants(std::process::id());
        if alive.is_empty() {
            return;
        }
        for process in alive {
            kill(process.pid);
        }
    }
}

pub(super) fn restrict_dir(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

pub(super) fn private(options: &mut OpenOptions) {
    options.mode(0o600);
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}
