//! A backup that is older than a click: the listing is on the site once, and its posting ends published.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tradepost_e2e::sites::{Kind, Site};
use tradepost_e2e::system::System;
use tradepost_testkit::process::binary;

/// Runs a command of the controller's program on the system's database; returns what it printed.
fn command(system: &System, arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary("controller")?)
        .args(arguments)
        .args(["--database", &system.sqlite()])
        .arg("--data-dir")
        .arg(system.path().join("controller"))
        .arg("--identity-dir")
        .arg(system.path().join("identity"))
        .output()?;
    let mut told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {told}");
    told.push_str(&String::from_utf8_lossy(&output.stdout));
    Ok(told)
}

#[tokio::test]
async fn a_restored_backup_never_posts_a_listing_again() -> Result<()> {
    let system = System::new(&[])?;
    let site = Site::start(Kind::Sandbox, system.path()).await?;
    let mut controller = system.start_controller("controller", &system.sqlite()).await?;
    system.log_in(&controller).await?;
    let mut agent = system.start_agent("agent").await?;
    let account = system.add_account("mine", &site, Kind::Sandbox, &agent).await?;
    let listings = system.add_listings().await?;
    // The backup is made, beside the controller, when the posting is asked for and nobody has worked on it.
    agent.process.kill()?;
    let posting = system.post(&listings[0], &account).await?;
    let backup = system.path().join("backup.db").display().to_string();
    command(&system, &["backup", "--to", &backup])?;
    system.restart_agent(&mut agent).await?;
    let shown = system.wait_for_posting(&posting, &["published", "failed", "needs_human"]).await?;
    ensure!(shown["state"] == "published", "{shown}\n{}", system.logs());

    let refused = command(&system, &["restore", "--from", &backup]).err().context("a controller runs")?;
    ensure!(refused.to_string().contains("in use by another controller"), "{refused}");
    controller.process.kill()?;
    let told = command(&system, &["restore", "--from", &backup])?;
    ensure!(told.contains("fleet epoch 1 begins") && told.contains("before-restore"), "{told}");
    system.restart_controller(&mut controller).await?;
    let shown = system.wait_for_posting(&posting, &["published", "failed", "needs_human"]).await?;
    assert_eq!(shown["state"], "published", "{shown}\n{}", system.logs());
    let items = site.items().await?;
    assert_eq!(items.len(), 1, "posted twice");
    let receipt = system.cli.json(&["postings", "receipt", &posting]).await?;
    let checks = receipt["readBack"].as_array().context("nothing was read back")?;
    ensure!(
        checks.len() >= 5 && receipt["witness"] == "run",
        "the journal's receipt is not whole: {receipt}"
    );
    Ok(())
}
