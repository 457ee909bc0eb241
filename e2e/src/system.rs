//! Controllers, agents and everything a seller does before the first posting.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tradepost_testkit::process::binary;
use tradepost_testkit::{Spawned, wait, workspace_root};

use crate::cli::{self, Cli};
use crate::sites::Site;
use crate::{POSTING_DEADLINE, START_DEADLINE};

/// A controller process. Its ports stay the same over restarts.
#[derive(Debug)]
pub struct Controller {
    /// The process.
    pub process: Spawned,
    /// `https://` address of the api listener.
    pub api: String,
    /// Address of the listener for agents.
    pub agents: String,
    name: String,
    database: String,
}

/// An agent process. Its identity stays the same over restarts.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub process: Spawned,
    /// Its data directory.
    pub data: PathBuf,
}

/// Everything in one temporary directory.
#[derive(Debug)]
pub struct System {
    directory: PathBuf,
    _temporary: Option<TempDir>,
    environment: Vec<(String, String)>,
    agent_environment: Vec<(String, String)>,
    /// The operator's command line.
    pub cli: Cli,
}

impl System {
    /// An empty one. `environment` is given to every program.
    pub fn new(environment: &[(&str, &str)]) -> Result<Self> {
        let temporary = TempDir::with_prefix("tradepost-e2e-")?;
        let system = Self::new_in(temporary.path(), environment)?;
        Ok(Self { _temporary: Some(temporary), ..system })
    }

    /// An empty one in a directory that stays.
    pub fn new_in(directory: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut cli = Cli::new(&directory.join("cli"));
        for (name, value) in environment {
            cli = cli.with_environment(name, value);
        }
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let directory = directory.to_owned();
        Ok(Self { directory, _temporary: None, environment, agent_environment: Vec::new(), cli })
    }

    /// Gives running agents, and them alone, one more environment variable.
    #[must_use]
    pub fn with_agent_environment(mut self, name: &str, value: &str) -> Self {
        self.agent_environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The directory of everything.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The URL of an SQLite database of its own.
    pub fn sqlite(&self) -> String {
        format!("sqlite:{}", self.path().join("tradepost.db").display())
    }

    /// Starts a controller; all of one system share one identity.
    pub async fn start_controller(&self, name: &str, database: &str) -> Result<Controller> {
        self.start_controller_at(name, database, "127.0.0.1:0", "127.0.0.1:0").await
    }

    async fn start_controller_at(
        &self,
        name: &str,
        database: &str,
        api: &str,
        agents: &str,
    ) -> Result<Controller> {
        let mut command = Command::new(binary("controller")?);
        command.envs(self.environment.iter().cloned());
        command.args(["--database", database, "--api-listen", api, "--agents-listen", agents]);
        command.args(["--metrics-listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(self.path().join(name));
        command.arg("--identity-dir").arg(self.path().join("identity"));
        let mut process = Spawned::start_with_logs(name, command, &self.path().join("logs"))?;
        let ready = process
            .wait_for_line(r"controller ready.* api=(https://[0-9.:]+).* agents=([0-9.:]+)", START_DEADLINE)
            .await?;
        let part = |n: usize| ready.get(n).cloned().unwrap_or_default();
        Ok(Controller {
            process,
            api: part(1),
            agents: part(2),
            name: name.to_owned(),
            database: database.to_owned(),
        })
    }

    /// Starts a controller that was killed, on the same ports.
    pub async fn restart_controller(&self, killed: &mut Controller) -> Result<()> {
        let api = killed.api.trim_start_matches("https://").to_owned();
        *killed = self.start_controller_at(&killed.name, &killed.database, &api, &killed.agents).await?;
        Ok(())
    }

    /// Makes the operator and logs the command line in.
    pub async fn log_in(&self, controller: &Controller) -> Result<()> {
        let token = self.make_operator(controller).await?;
        self.log_in_at(&self.cli, &controller.api, &token).await
    }

    /// Makes the operator and returns their token.
    pub async fn make_operator(&self, controller: &Controller) -> Result<String> {
        let data = self.path().join(&controller.name).display().to_string();
        let arguments = [
            "admin",
            "create",
            "--email",
            "operator@example.com",
            "--database",
            &controller.database,
            "--data-dir",
            &data,
        ];
        let admin = cli::run("controller", &arguments, &self.environment, "").await?;
        ensure!(admin.code == 0, "controller admin create failed: {}", admin.stderr);
        Ok(admin.stdout)
    }

    /// Logs a command line in to the controller that answers at `server`.
    pub async fn log_in_at(&self, cli: &Cli, server: &str, token: &str) -> Result<()> {
        let ca = self.path().join("identity").join("ca.pem").display().to_string();
        let login = ["login", "--server", server, "--ca-file", &ca, "--token-stdin"];
        let finished = cli.run_with_input(&login, token).await?;
        ensure!(finished.code == 0, "tradepost login failed: {}", finished.stderr);
        Ok(())
    }

    /// Enrols an agent and starts it.
    pub async fn start_agent(&self, name: &str) -> Result<Agent> {
        let data = self.path().join(name);
        let string = self.cli.text(&["agents", "enrol-token", "create"]).await?;
        let shown = data.display().to_string();
        let enrol = ["--data-dir", &shown, "enrol", string.trim(), "--name", name];
        let finished = cli::run("tradepost-agent", &enrol, &self.environment, "").await?;
        ensure!(finished.code == 0, "tradepost-agent enrol failed: {}", finished.stderr);
        let process = self.run_agent(&data).await?;
        Ok(Agent { process, data })
    }

    /// Starts an agent that was killed.
    pub async fn restart_agent(&self, killed: &mut Agent) -> Result<()> {
        killed.process = self.run_agent(&killed.data).await?;
        Ok(())
    }

    async fn run_agent(&self, data: &Path) -> Result<Spawned> {
        let mut process = self.spawn_agent(data)?;
        process.wait_for_line("connected to the controller", START_DEADLINE).await?;
        Ok(process)
    }

    /// Starts the agent of this data directory, and does not wait for anything.
    pub fn spawn_agent(&self, data: &Path) -> Result<Spawned> {
        let name = data.file_name().and_then(|name| name.to_str()).unwrap_or("agent");
        let mut command = Command::new(binary("tradepost-agent")?);
        command.envs(self.environment.iter().chain(&self.agent_environment).cloned());
        command.arg("--data-dir").arg(data).args(["run", "--headless"]);
        Spawned::start_with_logs(name, command, &self.path().join("logs"))
    }

    /// Adds an account of the tests' seller on the site, bound to the only agent, with its credential kept on the agent's side.
    pub async fn add_account(
        &self,
        name: &str,
        site: &Site,
        kind: crate::sites::Kind,
        agent: &Agent,
    ) -> Result<String> {
        self.add_account_of(kind.seller(), name, site, kind, agent).await
    }

    /// The same for the site's seller of this number.
    pub async fn add_account_of(
        &self,
        number: u32,
        name: &str,
        site: &Site,
        kind: crate::sites::Kind,
        agent: &Agent,
    ) -> Result<String> {
        let agents = self.cli.json(&["agents", "list"]).await?;
        let id = agents.pointer("/0/id").and_then(Value::as_str).context("no agent is listed")?;
        let seller = format!("seller{number}@example.com");
        let account = self
            .cli
            .field(
                &[
                    "accounts",
                    "add",
                    name,
                    "--site",
                    kind.name(),
                    "--site-url",
                    &site.url,
                    "--currency",
                    kind.currency(),
                    "--sign-in-name",
                    &seller,
                    "--agent",
                    id,
                ],
                "id",
            )
            .await?;
        let data = agent.data.display().to_string();
        let keep = ["--data-dir", &data, "credentials", "set", "--account", &account, "--username", &seller];
        let finished =
            cli::run("tradepost-agent", &keep, &self.environment, &format!("correct horse {number}")).await?;
        ensure!(finished.code == 0, "tradepost-agent credentials set failed: {}", finished.stderr);
        Ok(account)
    }

    /// Creates the example listings and returns their ids: a bookshelf in EUR and a bicycle in USD.
    pub async fn add_listings(&self) -> Result<Vec<String>> {
        let file = workspace_root().join("examples/listings.yaml").display().to_string();
        let listings = self.cli.json(&["listings", "create", "--file", &file]).await?;
        let listings = listings.as_array().context("no list of listings")?;
        listings.iter().map(|l| Ok(l["id"].as_str().context("a listing without an id")?.to_owned())).collect()
    }

    /// Asks for a posting and returns its id.
    pub async fn post(&self, listing: &str, account: &str) -> Result<String> {
        self.cli.field(&["postings", "create", "--listing", listing, "--account", account], "id").await
    }

    /// Waits until the posting is in one of `states`.
    pub async fn wait_for_posting(&self, posting: &str, states: &[&str]) -> Result<Value> {
        self.wait_for_posting_within(posting, states, POSTING_DEADLINE).await
    }

    /// The same with another deadline.
    pub async fn wait_for_posting_within(
        &self,
        posting: &str,
        states: &[&str],
        deadline: Duration,
    ) -> Result<Value> {
        let waited = wait::until(&format!("posting {posting} to be {states:?}"), deadline, || async {
            // While a controller is down, the command line cannot answer.
            let shown =
                self.cli.json(&["postings", "show", posting]).await.map_err(|error| error.to_string())?;
            match shown.get("state").and_then(Value::as_str) {
                Some(state) if states.contains(&state) => Ok(shown),
                _ => Err(shown.to_string()),
            }
        })
        .await;
        waited.with_context(|| self.logs())
    }

    /// Waits until a step of the posting's job matches: its phase, its name's beginning, its status.
    pub async fn wait_for_step(&self, posting: &str, phase: &str, name: &str, status: &str) -> Result<Value> {
        let job = self.cli.field(&["postings", "show", posting], "jobId").await?;
        let what = format!("step {phase}/{name} of {posting} to be {status}");
        let waited = wait::until(&what, POSTING_DEADLINE, || async {
            let steps = self.cli.json(&["jobs", "steps", &job]).await.map_err(|error| error.to_string())?;
            let all = steps.as_array().cloned().unwrap_or_default();
            let wanted = all.iter().find(|step| {
                let is = |field: &str, value: &str| {
                    step[field].as_str().is_some_and(|text| text.starts_with(value))
                };
                is("phase", phase) && is("name", name) && is("status", status)
            });
            wanted.cloned().ok_or_else(|| steps.to_string())
        })
        .await;
        waited.with_context(|| self.logs())
    }

    /// The last lines of every log, for the message of a failure.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let Ok(entries) = std::fs::read_dir(self.path().join("logs")) else { return text };
        for path in entries.flatten().map(|entry| entry.path()) {
            let content = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = content.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            text.extend(["--- ", &path.display().to_string(), " ---\n", &last, "\n"]);
        }
        text
    }
}
