//! Chrome ends however the agent ends: real chromedriver, real Chromium, kill -9.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tradepost_agent::browser::{Display, Programs, SearchPlaces};
use tradepost_agent::platform::processes::{ProcessRef, end_all};
use tradepost_agent::runner::chrome::{Chrome, LocalChrome};
use tradepost_testkit::process::{Signal, signal};
use tradepost_testkit::wait::until;

/// Tells the stand-in that it is one, and its profile.
const PROFILE: &str = "TRADEPOST_STAND_IN_PROFILE";

/// The agent's program, which is its own guard.
pub(crate) fn this_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tradepost-agent"))
}

/// This PC's Chrome, without windows.
#[expect(clippy::disallowed_methods, reason = "the test's own PATH leads to Chrome")]
pub(crate) async fn chrome() -> Result<LocalChrome> {
    let places = SearchPlaces { path: std::env::var_os("PATH"), ..SearchPlaces::default() };
    let programs = Programs::find(&places).await?;
    Ok(LocalChrome { programs, display: Display::Headless, this_program: this_program() })
}

/// Not a test by itself: the process that stands in for the agent, and is killed.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the way to tell the stand-in what to do")]
async fn stand_in() -> Result<()> {
    let Some(profile) = std::env::var_os(PROFILE) else { return Ok(()) };
    let tab = chrome().await?.start(Path::new(&profile)).await?;
    println!("ready {}", tab.processes().iter().map(|p| p.pid.to_string()).collect::<Vec<_>>().join(" "));
    std::future::pending::<()>().await;
    Ok(())
}

/// A stand-in with a running Chrome, and every process of its tree.
async fn start(folder: &Path) -> Result<(tokio::process::Child, Vec<ProcessRef>)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["containment::stand_in", "--exact", "--nocapture"]);
    command.env(PROFILE, folder.join("profile")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
    let reading = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("ready ") {
                return Ok(line);
            }
        }
        Err(anyhow::anyhow!("the stand-in ended"))
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await??;
    let pid = child.id().context("running")?;
    let tree = ProcessRef::of(pid).context("running")?.with_descendants();
    ensure!(tree.len() >= 6, "guard, driver, Chrome and its children: {tree:?}");
    Ok((child, tree))
}

async fn all_gone(tree: &[ProcessRef]) -> Result<()> {
    until("every process is gone", Duration::from_secs(5), || async {
        let alive: Vec<_> = tree.iter().filter(|process| process.is_alive()).collect();
        if alive.is_empty() { Ok(()) } else { Err(format!("{alive:?}")) }
    })
    .await
}

#[tokio::test]
async fn nothing_is_left_within_five_seconds_of_kill_9() -> Result<()> {
    for round in 0..3 {
        let folder = tempfile::tempdir()?;
        let (mut agent, tree) = start(folder.path()).await?;
        signal(agent.id().context("running")?, Signal::Kill)?;
        agent.wait().await?;
        all_gone(&tree).await.with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_when_the_guard_is_killed_together_with_the_agent() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut agent, tree) = start(folder.path()).await?;
    let name = |process: &&ProcessRef| {
        let path = format!("/proc/{}/cmdline", process.pid);
        std::fs::read_to_string(path).is_ok_and(|line| line.contains("__guard"))
    };
    let guard = tree.iter().find(name).context("a guard")?.pid;
    signal(guard, Signal::Kill)?;
    signal(agent.id().context("running")?, Signal::Kill)?;
    agent.wait().await?;
    all_gone(&tree).await
}

#[tokio::test]
async fn the_next_start_ends_what_is_left_and_nobody_elses_process() -> Result<()> {
    let mut left = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn()?;
    let process = ProcessRef::of(left.id().context("running")?).context("running")?;
    let reused = ProcessRef { started: process.started + 1, ..process };
    end_all(&[reused], Duration::from_secs(5)).await?;
    ensure!(process.is_alive(), "another process with the same id is left alone");
    end_all(&[process], Duration::from_secs(5)).await?;
    left.wait().await?;
    Ok(())
}
