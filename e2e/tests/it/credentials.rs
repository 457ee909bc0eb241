//! Unattended sign-in with a password that only the agent can open, in a real Chromium on the practice marketplace.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tradepost_e2e::POSTING_DEADLINE;
use tradepost_e2e::cli;
use tradepost_e2e::sites::{Kind, Site};
use tradepost_e2e::system::{Agent, Controller, System};
use tradepost_testkit::wait;

/// Everything up to an account whose password nobody has stored.
struct Stage {
    system: System,
    site: Site,
    agent: Agent,
    account: String,
    _controller: Controller,
}

impl Stage {
    async fn set() -> Result<Self> {
        let system = System::new(&[])?;
        let site = Site::start(Kind::Sandbox, system.path()).await?;
        let controller = system.start_controller("controller", &system.sqlite()).await?;
        system.log_in(&controller).await?;
        let agent = system.start_agent("agent").await?;
        let account = system.add_account("shop", &site, Kind::Sandbox, &agent).await?;
        // What the helper for other tests keeps on the agent's side is not wanted here.
        let data = agent.data.display().to_string();
        let remove = ["--data-dir", &data, "credentials", "remove", "--account", &account];
        let removed = cli::run("tradepost-agent", &remove, &[], "").await?;
        ensure!(removed.code == 0, "{}", removed.stderr);
        Ok(Self { system, site, agent, account, _controller: controller })
    }

    async fn seal(&self, password: &str) -> Result<()> {
        let name = format!("seller{}@example.com", Kind::Sandbox.seller());
        let set = ["accounts", "credentials", "set", &self.account];
        let told = wait::until("the agent's key to be told", POSTING_DEADLINE, || async {
            let run = self.system.cli.run_with_input(&set, &format!("{name}\n{password}\n")).await;
            match run.map_err(|error| error.to_string())? {
                done if done.code == 0 => Ok(done),
                failed => Err(failed.stderr),
            }
        })
        .await?;
        ensure!(!told.stdout.contains(password) && !told.stderr.contains(password), "{told:?}");
        Ok(())
    }

    async fn stored(&self) -> Result<Value> {
        self.system.cli.json(&["accounts", "credentials", "show", &self.account]).await
    }

    /// Has the account signed in; the job, once it is in one of `states`.
    async fn login(&self, states: &[&str]) -> Result<Value> {
        let job = self.system.cli.field(&["accounts", "login", &self.account], "jobId").await?;
        let waited = wait::until("the sign-in to end", POSTING_DEADLINE, || async {
            let shown =
                self.system.cli.json(&["jobs", "show", &job]).await.map_err(|error| error.to_string())?;
            let state = shown["state"].as_str().unwrap_or_default();
            if states.contains(&state) { Ok(shown) } else { Err(shown.to_string()) }
        })
        .await;
        waited.with_context(|| self.system.logs())
    }

    /// Sign-ins that the site has seen: right and wrong ones.
    async fn tries(&self) -> Result<(u64, u64)> {
        let ledger: Value = reqwest::get(format!("{}__ledger__", self.site.url)).await?.json().await?;
        let count = |name: &str| ledger["sign_ins"][name].as_u64().unwrap_or_default();
        Ok((count("accepted"), count("refused")))
    }
}

#[tokio::test]
async fn an_agent_signs_in_by_itself_after_the_site_forgot_its_session() -> Result<()> {
    let stage = Stage::set().await?;
    let asked = stage.login(&["needs_human"]).await?;
    let message = asked["failure"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("accounts credentials set"), "{message}");
    stage.seal(&format!("correct horse {}", Kind::Sandbox.seller())).await?;
    stage.login(&["succeeded"]).await?;
    stage.site.fault(json!({ "logout": true })).await?;
    // Nobody is at the PC.
    stage.login(&["succeeded"]).await?;
    let stored = stage.stored().await?;
    ensure!(stored["state"] == "ready" && !stored["usedAt"].is_null(), "{stored}");
    ensure!(stage.tries().await? == (2, 0), "{:?}", stage.tries().await?);

    // Bound to another agent, it is gone, and the seller is told.
    let other = stage.system.start_agent("other").await?;
    stage.system.cli.text(&["accounts", "bind", &stage.account, "other"]).await?;
    ensure!(stage.stored().await?["state"] == "moved");
    stage.system.cli.text(&["accounts", "bind", &stage.account, "agent"]).await?;
    ensure!(stage.stored().await?["state"] == "moved", "it does not come back");
    drop((other, stage.agent));
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_until_the_seller_changes_it() -> Result<()> {
    let stage = Stage::set().await?;
    stage.seal("not the password").await?;
    for n in 0..3 {
        let asked = stage.login(&["needs_human"]).await?;
        let message = asked["failure"]["message"].as_str().unwrap_or_default();
        let plain = if n == 0 { "is not tried again" } else { "nobody is signed in" };
        ensure!(message.contains(plain) && message.contains("accounts credentials set"), "{n}: {message}");
        ensure!(!message.contains("not the password"), "{message}");
    }
    ensure!(stage.tries().await? == (0, 1), "tried more than once: {:?}", stage.tries().await?);
    ensure!(stage.stored().await?["state"] == "refused");
    stage.seal(&format!("correct horse {}", Kind::Sandbox.seller())).await?;
    stage.login(&["succeeded"]).await?;
    ensure!(stage.tries().await? == (1, 1));
    Ok(())
}
