//! Processes of this machine that a test did not start itself: an agent's Chrome and its driver.

use std::path::Path;

/// One process as `/proc` tells of it.
#[derive(Debug, Clone)]
struct Entry {
    pid: u32,
    parent: u32,
    line: String,
}

/// The main process of the Chrome that works in one of the profiles below `data`.
pub fn chrome_of(data: &Path) -> Option<u32> {
    let profile = format!("--user-data-dir={}", data.display());
    entries()
        .find(|entry| {
            entry.line.contains(&profile)
                && !entry.line.contains("--type=")
                && !entry.line.contains("chromedriver")
        })
        .map(|entry| entry.pid)
}

/// The chromedriver that runs the Chrome of [`chrome_of`].
pub fn driver_of(data: &Path) -> Option<u32> {
    let chrome = chrome_of(data)?;
    let all: Vec<Entry> = entries().collect();
    let mut pid = all.iter().find(|entry| entry.pid == chrome)?.parent;
    // Chrome may have been started by a script between.
    for _ in 0..4 {
        let entry = all.iter().find(|entry| entry.pid == pid)?;
        if entry.line.contains("chromedriver") && !entry.line.contains("__guard") {
            return Some(entry.pid);
        }
        pid = entry.parent;
    }
    None
}

/// The process and everything that it has started, directly or not.
pub fn tree(pid: u32) -> Vec<u32> {
    let all: Vec<Entry> = entries().collect();
    let mut found = vec![pid];
    let mut looked_at = 0;
    while let Some(parent) = found.get(looked_at).copied() {
        looked_at += 1;
        let children = all.iter().filter(|entry| entry.parent == parent).map(|entry| entry.pid);
        let fresh: Vec<u32> = children.filter(|child| !found.contains(child)).collect();
        found.extend(fresh);
    }
    found
}

/// What a process has started itself.
pub fn children(pid: u32) -> Vec<u32> {
    entries().filter(|entry| entry.parent == pid).map(|entry| entry.pid).collect()
}

/// Chrome processes and drivers that work below `data`, as `pid command line`.
pub fn leftovers(data: &Path) -> Vec<String> {
    let data = data.display().to_string();
    entries()
        .filter(|entry| entry.line.contains(&data) && entry.line.contains("chrom"))
        .map(|entry| format!("{} {}", entry.pid, entry.line.chars().take(160).collect::<String>()))
        .collect()
}

/// Processes with `entry` (`NAME=value`) in their environment or working below `data`, as `pid command line`. Chrome's
/// children write over their environment, and name the profile.
pub fn marked(entry: &str, data: &Path) -> Vec<String> {
    let data = data.display().to_string();
    let has_entry = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
    };
    let own = std::process::id();
    entries()
        .filter(|process| process.pid != own && (process.line.contains(&data) || has_entry(process.pid)))
        .map(|process| format!("{} {}", process.pid, process.line.chars().take(300).collect::<String>()))
        .collect()
}

/// Everything that runs; zombies have no command line and are not among them.
fn entries() -> impl Iterator<Item = Entry> {
    let listed = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    listed.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok().filter(|line| !line.is_empty())?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may hold anything; state and parent follow the last one.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        Some(Entry { pid, parent, line })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_holds_what_was_started() -> anyhow::Result<()> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let here = std::process::id();
        assert!(tree(here).contains(&child.id()) && children(here).contains(&child.id()));
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}
