//! Linux.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};
use rustix::time::ClockId;

use super::processes::{Listed, ProcessRef, descendants};

pub(super) fn boottime() -> Duration {
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The start time in clock ticks since boot; none for a process that is gone or a zombie.
pub(super) fn started(pid: u32) -> Option<u64> {
    stat(pid).map(|listed| listed.process.started)
}

pub(super) fn list() -> Vec<Listed> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(stat).collect()
}

fn stat(pid: u32) -> Option<Listed> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; what follows the last one is state, parent, …, start time (22nd).
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    let parent = fields.get(1)?.parse().ok()?;
    let started = fields.get(19)?.parse().ok()?;
    Some(Listed { process: ProcessRef { pid, started }, parent })
}

pub(super) fn kill(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // It may have ended by itself meanwhile; that is as good.
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// Orphans of this process's tree become its children, and the terminal's Ctrl-C does not reach the tree.
pub(super) fn enter_containment() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::setsid()?;
    Ok(())
}

pub(super) fn die_with_parent(command: &mut Command) {
    let guard = rustix::process::getpid();
    let prepare = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The guard may have died before the line above.
        if rustix::process::getppid() == Some(guard) {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        }
    };
    #[expect(
        unsafe_code,
        reason = "between fork and exec only async-signal-safe calls are made: prctl and getppid"
    )]
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Waits for `child`, collecting orphans meanwhile; its exit code, or 128 and the signal's number.
pub(super) fn wait_for(child: Child) -> io::Result<u8> {
    let wanted = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == wanted => {
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                let code = status.exit_status().or(signal).unwrap_or(1);
                return Ok(u8::try_from(code).unwrap_or(1));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // The other thread has collected it: the agent is gone, and so will be this process.
            Err(_) => return Ok(1),
        }
    }
}

/// Ends every process of the tree and returns when none is left. Whoever loses its parent becomes a child of this
/// process before the parent can be collected, so a look after each collection misses nobody.
pub(super) fn end_descendants() {
    loop {
        for process in descendants(std::process::id()) {
            kill(process.pid);
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
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
