//! Everything that runs for a series of cases, with proxies on every connection that may be cut.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tradepost_testkit::{wait, workspace_root};

use super::case::{Case, Database, Trouble};
use super::gate::{self, Gates};
use crate::cli::Cli;
use crate::postgres::PrivatePostgres;
use crate::proxy::{Proxy, Target};
use crate::sites::{Kind, Site};
use crate::system::{Agent, Controller, System};

/// Looks at uncertain publications come this soon, so that a case is decided within a minute.
const LOOKS: &str = "2s,3s,5s,10s,10s";
/// A listing counts as absent after this; longer than anything here hides one.
const HORIZON: &str = "15s";
/// How long the world may take to come to rest after a case.
const REST_WITHIN: Duration = Duration::from_secs(180);
/// Between two questions to the command line, each of which is a process.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// What runs.
#[derive(Debug)]
pub struct World {
    /// Programs and their directories.
    pub system: System,
    /// The site.
    pub site: Site,
    /// Which it is.
    pub kind: Kind,
    /// One on SQLite, two on PostgreSQL.
    pub controllers: Vec<Controller>,
    /// The one agent.
    pub agent: Agent,
    /// The gates in its journal.
    pub gates: Gates,
    /// Between agent and controllers.
    pub agents: Proxy,
    /// Between the command line of a person and controllers.
    pub people: Proxy,
    /// A command line that is never cut off.
    pub observer: Cli,
    /// The private server, and the way to it.
    pub server: Option<(PrivatePostgres, Proxy)>,
    /// Accounts of two sellers of the site.
    pub accounts: Vec<Account>,
    _observers: Proxy,
}

/// An account of the agent.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// The site's name of its owner.
    pub seller: String,
}

/// A listing of one case, as it must be on the site.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its id.
    pub listing: String,
    /// Where it is to be posted.
    pub account: Account,
    /// Unlike any other's.
    pub title: String,
    /// Its text.
    pub description: String,
    /// With two decimals.
    pub price: String,
    /// Unlike any other's.
    pub sku: String,
    /// SHA-256 of each photo, in order.
    pub photos: Vec<String>,
}

impl World {
    /// Starts everything below `home`, with two accounts.
    pub async fn build(home: &Path, kind: Kind, database: Database) -> Result<Self> {
        let (agents, people, observers) =
            (Proxy::start().await?, Proxy::start().await?, Proxy::start().await?);
        let system = System::new_in(
            home,
            &[
                ("TRADEPOST_CONTROLLER__AGENTS__PUBLIC_ADDRESS", &agents.address().to_string()),
                ("TRADEPOST_CONTROLLER__API__PUBLIC_ADDRESS", &observers.address().to_string()),
                ("TRADEPOST_CONTROLLER__RECONCILE__LOOKS", LOOKS),
                ("TRADEPOST_CONTROLLER__RECONCILE__HORIZON", HORIZON),
            ],
        )?;
        let library = gate::build_library(home)?;
        let system = system.with_agent_environment("LD_PRELOAD", &library.display().to_string());
        let site = Site::start(kind, home).await?;
        let server = match database {
            Database::Sqlite => None,
            Database::Postgres => {
                let (server, way) = (PrivatePostgres::start().await?, Proxy::start().await?);
                way.lead_to(vec![Target::Unix(server.socket())]);
                Some((server, way))
            }
        };
        let (names, url) = match &server {
            None => (&["first"][..], system.sqlite()),
            Some((_, way)) => {
                (&["first", "second"][..], format!("postgres://postgres@{}/postgres", way.address()))
            }
        };
        let mut controllers = Vec::new();
        for name in names {
            controllers.push(system.start_controller(name, &url).await?);
        }
        let to = |address: fn(&Controller) -> &str| -> Result<Vec<Target>> {
            controllers.iter().map(|c| Ok(Target::Tcp(address(c).parse()?))).collect()
        };
        agents.lead_to(to(|controller| &controller.agents)?);
        for proxy in [&people, &observers] {
            proxy.lead_to(to(|controller| controller.api.trim_start_matches("https://"))?);
        }
        let observer = Cli::new(&home.join("observer"));
        let token = system.make_operator(&controllers[0]).await?;
        system.log_in_at(&system.cli, &format!("https://{}", people.address()), &token).await?;
        system.log_in_at(&observer, &format!("https://{}", observers.address()), &token).await?;
        let agent = system.start_agent("agent").await?;
        let gates = Gates::of(&agent.data)?;
        let mut accounts = Vec::new();
        for seller in kind.sellers() {
            let id = system.add_account_of(seller, &format!("mine {seller}"), &site, kind, &agent).await?;
            accounts.push(Account { id, seller: format!("seller{seller}@example.com") });
        }
        Ok(Self {
            system,
            site,
            kind,
            controllers,
            agent,
            gates,
            agents,
            people,
            observer,
            server,
            accounts,
            _observers: observers,
        })
    }

    /// Puts the case's own listing into the catalogue.
    pub async fn add_listing(&self, case: &Case) -> Result<Wanted> {
        let number = case.number;
        let account = self.accounts[number % self.accounts.len()].clone();
        let (folder, files, rest) = match self.kind {
            Kind::Sandbox => (
                "bookshelf",
                ["1-front.jpg", "2-shelves.jpg", "10-oak-top.jpg"],
                "category: Home > Furniture\n  condition: good",
            ),
            Kind::Classified => (
                "bicycle",
                ["1-side.jpg", "2-other-side.jpg", "3-drivetrain.jpg"],
                "category: Vehicles > Bicycles\n  condition: like_new",
            ),
        };
        // A different order of the photos each time.
        let mut files = files.map(|file| workspace_root().join("examples").join(folder).join(file));
        files.rotate_left(number % 3);
        if number % 2 == 1 {
            files.swap(0, 1);
        }
        let title = format!("Piece number {number} of the series");
        let description =
            format!("This is the text of number {number}.\nIt has two lines; the price is fixed.");
        let price = format!("{}.50", 100 + number % 800);
        let sku = format!("C-{number}");
        let photos: Vec<String> = files.iter().map(|file| format!("    - {}", file.display())).collect();
        let yaml = format!(
            "- title: {title}\n  description: |\n    {}\n  price: {price} {}\n  {rest}\n  location: Berlin\n  sku: {sku}\n  photos:\n{}\n",
            description.replace('\n', "\n    "),
            self.kind.currency(),
            photos.join("\n"),
        );
        let file = self.system.path().join(format!("case-{number}.yaml"));
        std::fs::write(&file, yaml)?;
        let made = self.observer.json(&["listings", "create", "--file", &file.display().to_string()]).await?;
        let listing =
            made.pointer("/0/id").and_then(Value::as_str).context("no listing was made")?.to_owned();
        let photos = self.photos_of(&made, &files).await?;
        Ok(Wanted { listing, account, title, description, price, sku, photos })
    }

    /// Hashes of the listing's photos, which must be these files in this order; they are stored without what cameras add.
    async fn photos_of(&self, made: &Value, files: &[PathBuf]) -> Result<Vec<String>> {
        let ids = made.pointer("/0/content/photoIds").and_then(Value::as_array).context("no photos")?;
        ensure!(ids.len() == files.len(), "{} photos instead of {}", ids.len(), files.len());
        let mut hashes = Vec::new();
        for (id, file) in ids.iter().zip(files) {
            let photo = self.observer.json(&["photos", "show", id.as_str().unwrap_or_default()]).await?;
            let name = photo["fileName"].as_str().unwrap_or_default();
            ensure!(file.ends_with(name), "{name} stands where {} was asked for", file.display());
            hashes.push(photo["sha256"].as_str().unwrap_or_default().to_owned());
        }
        Ok(hashes)
    }

    /// Has the site make trouble for the next posting.
    pub async fn make_trouble(&self, case: &Case) -> Result<()> {
        let sandbox = self.kind == Kind::Sandbox;
        let faults = match case.trouble {
            Trouble::None => return Ok(()),
            Trouble::LostReply if sandbox => json!({"next": {"accept_then_drop": true}}),
            Trouble::LostReply => json!({"lost_reply_next": 1}),
            Trouble::ErrorAfter => json!({"next": {"error_after_commit": true}}),
            Trouble::ErrorBefore if sandbox => json!({"next": {"error_before_commit": true}}),
            Trouble::ErrorBefore => json!({"error_next": 1}),
            Trouble::Delayed => json!({"next": {"delayed_visibility_ms": 4000}}),
            Trouble::Review => json!({"next": {"review": true}}),
            Trouble::Latency => json!({"latency_ms": 300}),
            Trouble::Logout if sandbox => json!({"logout": true}),
            Trouble::Logout => json!({"logout_after": 10 + case.number % 20}),
        };
        self.site.fault(faults).await
    }

    /// The site is well again; what is held is let go.
    pub async fn end_trouble(&self) -> Result<()> {
        self.site
            .fault(match self.kind {
                Kind::Sandbox => json!({"reset": true, "release": true}),
                Kind::Classified => json!({
                    "latency_ms": 0, "logout_after": 0, "error_next": 0, "lost_reply_next": 0, "release": true
                }),
            })
            .await
    }

    /// Asks for the posting, undisturbed.
    pub async fn post(&self, wanted: &Wanted) -> Result<String> {
        let ask = ["postings", "create", "--listing", &wanted.listing, "--account", &wanted.account.id];
        self.observer.field(&ask, "id").await
    }

    /// The posting of a listing, if there is one.
    pub async fn posting_of(&self, listing: &str) -> Result<Option<String>> {
        let all = self.observer.json(&["postings", "list"]).await?;
        let all = all.as_array().context("no list of postings")?;
        let mut ours = all.iter().filter(|posting| posting["listingId"] == listing);
        let first = ours.next().and_then(|posting| posting["id"].as_str()).map(str::to_owned);
        if ours.next().is_some() {
            bail!("the listing {listing} has several postings");
        }
        Ok(first)
    }

    /// Waits until the feed tells of a change of the posting to a state, such as `intent.changed` to `armed`.
    pub async fn wait_for_event(&self, posting: &str, kind: &str, states: &[&str]) -> Result<()> {
        let what = format!("{kind} {states:?} of posting {posting}");
        self.ask_until(&what, Duration::from_secs(90), async || {
            let list = ["events", "list", "--after", "0", "--limit", "1000", "--posting", posting];
            let events = self.observer.json(&list).await?;
            let found = events.as_array().is_some_and(|events| {
                events.iter().any(|event| {
                    let state = event["data"]["state"].as_str().unwrap_or_default();
                    event["kind"] == kind && states.contains(&state)
                })
            });
            Ok(found.then_some(()))
        })
        .await
    }

    /// Asks until there is an answer; questions that fail meanwhile are asked again.
    pub async fn ask_until<T>(
        &self,
        what: &str,
        deadline: Duration,
        ask: impl AsyncFn() -> Result<Option<T>>,
    ) -> Result<T> {
        let end = tokio::time::Instant::now() + deadline;
        loop {
            let answer = ask().await;
            if let Ok(Some(answer)) = answer {
                return Ok(answer);
            }
            if tokio::time::Instant::now() >= end {
                let state = answer.err().map_or_else(|| "not yet".to_owned(), |error| format!("{error:#}"));
                bail!("waited {deadline:?} for {what}; the last state was: {state}");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Waits until nothing is under way: no run in the agent, no job that could begin one.
    pub async fn rest(&self) -> Result<()> {
        wait::until("the agent's runs to end", REST_WITHIN, || async {
            match open_runs(&self.agent.data) {
                Ok(0) => Ok(()),
                Ok(open) => Err(format!("{open} runs")),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await?;
        self.ask_until("every job to end", REST_WITHIN, async || {
            let jobs = self.observer.json(&["jobs", "list", "--limit", "30"]).await?;
            let ended = ["succeeded", "failed", "cancelled", "needs_human"];
            let open: Vec<&Value> = jobs.as_array().context("no list of jobs")?.iter().collect();
            let open = open.iter().find(|job| !ended.contains(&job["state"].as_str().unwrap_or_default()));
            match open {
                None => Ok(Some(())),
                Some(job) => bail!("{job}"),
            }
        })
        .await
    }
}

/// How many runs the journal tells of that have not ended.
fn open_runs(data: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(data.join("journal"))?;
    let mut open: Vec<Value> = Vec::new();
    for line in text.lines() {
        let Some((_, record)) = line.split_once(' ') else { continue };
        // The last line may be half written.
        let Ok(record) = serde_json::from_str::<Value>(record) else { continue };
        if let Some(started) = record.get("run_started") {
            open.push(started["run"].clone());
        }
        if let Some(ended) = record.get("run_ended") {
            open.retain(|run| *run != ended["run"]);
        }
    }
    Ok(open.len())
}
