//! Kill -9 of a working agent, again and again, at moments of Chrome's start and life drawn from a seed: nothing may be
//! left of Chrome and its driver five seconds later.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::time::Instant;
use tradepost_runtime::ids::Ids;
use tradepost_testkit::wait;

use crate::processes;
use crate::sites::{Kind, Site};
use crate::system::System;

/// Nothing is left after this time.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// The kill comes at a moment up to this time after the agent's start: by then Chrome works on the form.
const LATEST: Duration = Duration::from_secs(4);
/// Given to the agent, and so to everything that it starts.
const MARK: &str = "TRADEPOST_ORPHANS_MARK";

/// What the loops came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Kills.
    pub loops: usize,
    /// Of them, while chromedriver ran.
    pub with_driver: usize,
    /// Of them, while Chrome ran.
    pub with_chrome: usize,
    /// Processes of Chrome and its driver that the kills met in all.
    pub processes: usize,
    /// The longest time until all of them were gone.
    pub slowest: Duration,
}

/// Kills the agent `loops` times; fails at the first process that is left.
pub async fn run(loops: usize, seed: u64, progress: &dyn Fn(&str)) -> Result<Report> {
    let ids = Ids::seeded(seed);
    let mark = format!("{}-{seed}", std::process::id());
    let system = System::new(&[])?.with_agent_environment(MARK, &mark);
    let site = Site::start(Kind::Sandbox, system.path()).await?;
    // The photos never arrive, so that no run comes to its click.
    site.fault(json!({"variant": {"upload_ms": 600_000}})).await?;
    let controller = system.start_controller("controller", &system.sqlite()).await?;
    system.log_in(&controller).await?;
    let mut agent = system.start_agent("agent").await?;
    let account = system.add_account("mine", &site, Kind::Sandbox, &agent).await?;
    let listing = system.add_listings().await?.first().context("no listing")?.clone();
    system.post(&listing, &account).await?;
    agent.process.kill()?;
    let mut report = Report::default();
    let entry = format!("{MARK}={mark}");
    all_gone(&entry, &agent.data).await.context("before the first loop")?;
    for number in 1..=loops {
        let moment = LATEST.mul_f64(ids.unit());
        agent.process = system.spawn_agent(&agent.data)?;
        // The moment is what the loop is about.
        tokio::time::sleep(moment).await;
        let before = processes::marked(&entry, &agent.data);
        agent.process.kill()?;
        let killed = Instant::now();
        if let Err(error) = all_gone(&entry, &agent.data).await {
            bail!(
                "loop {number} of seed {seed}, killed {moment:.2?} after the start: {error:#}\n{}",
                system.logs()
            );
        }
        report.loops += 1;
        report.slowest = report.slowest.max(killed.elapsed());
        let browsers: Vec<&String> = before.iter().filter(|line| line.contains("chrom")).collect();
        report.processes += browsers.len();
        report.with_driver += usize::from(browsers.iter().any(|line| line.contains("chromedriver")));
        report.with_chrome += usize::from(browsers.iter().any(|line| line.contains("--user-data-dir")));
        if number % 20 == 0 {
            progress(&format!("{number} loops: {report:?}"));
        }
    }
    Ok(report)
}

async fn all_gone(entry: &str, data: &Path) -> Result<()> {
    wait::until("everything that the agent has started to be gone", GONE_WITHIN, || async {
        let left = processes::marked(entry, data);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    })
    .await
}
