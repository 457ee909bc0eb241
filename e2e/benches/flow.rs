//! `make bench-flow`: the same listing on the classifieds site through the whole system and through a plain WebDriver
//! script with the same fields and checks, in one run, in turn. Prints each side's times, their medians and the ratio.
//!
//! Both sides start a Chrome with a signed-in profile, post, and end it; what is timed is from the order to the
//! confirmed listing: for the system from `postings create` to the stored receipt.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use tradepost_e2e::plain::{self, PlainItem};
use tradepost_e2e::sites::{Kind, Site};
use tradepost_e2e::system::System;
use tradepost_testkit::workspace_root;

/// Pairs counted, after one that is not.
const PAIRS: usize = 7;

fn main() -> std::process::ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let compared = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(compare()));
    match compared {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if standard error is closed.
            drop(writeln!(std::io::stderr().lock(), "bench-flow: {error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

async fn compare() -> Result<()> {
    let system = System::new(&[])?;
    let site = Site::start(Kind::Classified, system.path()).await?;
    let controller = system.start_controller("controller", &system.sqlite()).await?;
    system.log_in(&controller).await?;
    let agent = system.start_agent("agent").await?;
    let account = system.add_account("bench", &site, Kind::Classified, &agent).await?;
    let profile = system.path().join("plain-profile");
    let driver = plain::start_chrome(&profile).await?;
    plain::sign_in(&driver, &site.url, "seller2@example.com", "correct horse 2").await?;
    driver.quit().await?;

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for pair in 0..=PAIRS {
        let listing = system.add_listings().await?.pop().context("no listing")?;
        let through_system = post_through_system(&system, &listing, &account).await?;
        let by_script = post_by_script(&profile, &site.url).await?;
        say(&format!("pair {pair}: system {through_system:.2?}, plain script {by_script:.2?}"))?;
        if pair > 0 {
            ours.push(through_system);
            theirs.push(by_script);
        }
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    say(&format!(
        "medians: system {ours:.2?}, plain script {theirs:.2?}, ratio {ratio:.2} (target 1.25 or less)"
    ))
}

async fn post_through_system(system: &System, listing: &str, account: &str) -> Result<Duration> {
    let start = tokio::time::Instant::now();
    let create = ["postings", "create", "--listing", listing, "--account", account, "--watch"];
    system.cli.text(&create).await.with_context(|| system.logs())?;
    Ok(start.elapsed())
}

async fn post_by_script(profile: &std::path::Path, site: &str) -> Result<Duration> {
    let folder = workspace_root().join("examples/bicycle");
    let item = PlainItem {
        site: site.to_owned(),
        user: String::from("seller2@example.com"),
        area: String::from("Berlin"),
        group: String::from("Vehicles - Bicycles"),
        title: String::from("Steel road bike, 56 cm"),
        description: String::from(
            "Steel frame, new chain and cables, ready to ride.\nThe saddle is worn but comfortable. Pedals included.",
        ),
        price: String::from("340.50"),
        photos: ["1-side.jpg", "2-other-side.jpg", "3-drivetrain.jpg"].map(|name| folder.join(name)).to_vec(),
    };
    let start = tokio::time::Instant::now();
    let driver = plain::start_chrome(profile).await?;
    plain::post(&driver, &item).await?;
    let posted = start.elapsed();
    driver.quit().await?;
    Ok(posted)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}
