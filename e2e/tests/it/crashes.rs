//! Kill -9 in the middle: before the click the posting still ends posted once, without help; after it, once or visibly
//! uncertain, never twice.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tradepost_e2e::processes::{chrome_of, leftovers};
use tradepost_e2e::sites::{Kind, Site};
use tradepost_e2e::system::{Agent, Controller, System};
use tradepost_testkit::process::{Signal, signal};
use tradepost_testkit::wait;

struct Stage {
    system: System,
    site: Site,
    controller: Controller,
    agent: Agent,
    listing: String,
    account: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Controller,
    Agent,
    Chrome,
}

impl Stage {
    async fn set(kind: Kind) -> Result<Self> {
        let system = System::new(&[])?;
        let site = Site::start(kind, system.path()).await?;
        let controller = system.start_controller("controller", &system.sqlite()).await?;
        system.log_in(&controller).await?;
        let agent = system.start_agent("agent").await?;
        let account = system.add_account("mine", &site, kind, &agent).await?;
        let listings = system.add_listings().await?;
        let listing = listings[usize::from(kind == Kind::Classified)].clone();
        Ok(Self { system, site, controller, agent, listing, account })
    }

    async fn kill(&mut self, victim: Victim) -> Result<()> {
        match victim {
            Victim::Controller => {
                self.controller.process.kill()?;
                self.system.restart_controller(&mut self.controller).await
            }
            Victim::Agent => {
                self.agent.process.kill()?;
                self.system.restart_agent(&mut self.agent).await
            }
            Victim::Chrome => {
                signal(chrome_of(&self.agent.data).context("the agent runs no Chrome")?, Signal::Kill)
            }
        }
    }

    async fn submissions(&self) -> Result<usize> {
        Ok(self.site.items().await?.len())
    }
}

async fn dies_while_preparing(victim: Victim) -> Result<()> {
    let mut stage = Stage::set(Kind::Classified).await?;
    // Slow enough for the blow to fall while the form is being filled.
    stage.site.fault(json!({"latency_ms": 400})).await?;
    let posting = stage.system.post(&stage.listing, &stage.account).await?;
    stage.system.wait_for_step(&posting, "prepare", "", "").await?;
    stage.kill(victim).await?;
    let shown = stage.system.wait_for_posting(&posting, &["published", "failed", "needs_human"]).await?;
    assert_eq!(shown["state"], "published", "{shown}\n{}", stage.system.logs());
    assert_eq!(stage.submissions().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_controller_killed_while_preparing_is_survived() -> Result<()> {
    dies_while_preparing(Victim::Controller).await
}

#[tokio::test]
async fn an_agent_killed_while_preparing_is_survived() -> Result<()> {
    dies_while_preparing(Victim::Agent).await
}

#[tokio::test]
async fn a_chrome_killed_while_preparing_is_survived() -> Result<()> {
    dies_while_preparing(Victim::Chrome).await
}

/// The click is sent, the site takes its time, and then the victim dies.
async fn dies_after_the_click(victim: Victim) -> Result<()> {
    let mut stage = Stage::set(Kind::Sandbox).await?;
    stage.site.fault(json!({"next": {"slow_publish_ms": 3000}})).await?;
    let posting = stage.system.post(&stage.listing, &stage.account).await?;
    wait::until("the site to have the listing", tradepost_e2e::POSTING_DEADLINE, || async {
        match stage.submissions().await {
            Ok(0) => Err(String::from("no listing yet")),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .with_context(|| stage.system.logs())?;
    stage.kill(victim).await?;
    // Either the run confirms it, or a look at the account's listings does; nobody helps.
    let shown = stage.system.wait_for_posting(&posting, &["published", "failed", "needs_human"]).await?;
    assert_eq!(shown["state"], "published", "{shown}\n{}", stage.system.logs());
    assert_eq!(stage.submissions().await?, 1, "posted twice");
    let url = shown["item"]["url"].as_str().unwrap_or_default();
    let id = stage.site.items().await?[0].raw["id"].clone();
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    assert!(url.contains(&id), "{url} is not the address of {id}");
    Ok(())
}

#[tokio::test]
async fn a_controller_killed_after_the_click_never_posts_twice() -> Result<()> {
    dies_after_the_click(Victim::Controller).await
}

#[tokio::test]
async fn an_agent_killed_after_the_click_never_posts_twice() -> Result<()> {
    dies_after_the_click(Victim::Agent).await
}

#[tokio::test]
async fn a_chrome_killed_after_the_click_never_posts_twice() -> Result<()> {
    dies_after_the_click(Victim::Chrome).await
}

#[tokio::test]
async fn a_lost_reply_is_uncertain_and_then_found() -> Result<()> {
    let stage = Stage::set(Kind::Classified).await?;
    stage.site.fault(json!({"lost_reply_next": 1})).await?;
    let posting = stage.system.post(&stage.listing, &stage.account).await?;
    let shown =
        stage.system.wait_for_posting(&posting, &["uncertain", "published", "failed", "needs_human"]).await?;
    let waits: &Value = &shown["waitingFor"];
    assert!(shown["state"] == "published" || waits.as_str().is_some_and(|text| !text.is_empty()), "{shown}");
    let shown = stage.system.wait_for_posting(&posting, &["published", "failed", "needs_human"]).await?;
    assert_eq!(shown["state"], "published", "{shown}\n{}", stage.system.logs());
    assert_eq!(stage.submissions().await?, 1);
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_a_killed_agents_chrome() -> Result<()> {
    let mut stage = Stage::set(Kind::Classified).await?;
    stage.site.fault(json!({"latency_ms": 1500})).await?;
    let posting = stage.system.post(&stage.listing, &stage.account).await?;
    stage.system.wait_for_step(&posting, "prepare", "", "").await?;
    assert!(!leftovers(&stage.agent.data).is_empty(), "no Chrome was seen");
    stage.agent.process.kill()?;
    wait::until("Chrome and its driver to end", std::time::Duration::from_secs(5), || async {
        match leftovers(&stage.agent.data) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await
}
