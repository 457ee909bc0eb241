//! The main job: listings with photos, posted by a real Chrome to both sites, with the sites' own records as the judge.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradepost_e2e::sites::{Kind, Site, TrueItem};
use tradepost_e2e::system::System;
use tradepost_testkit::TestDatabase;
use tradepost_testkit::collector::{Collector, Span};

/// What the site has must be what was asked for, in every field and in the order of the photos.
async fn check_truth(system: &System, listing: &str, item: &TrueItem, kind: Kind) -> Result<()> {
    let listing = system.cli.json(&["listings", "show", listing]).await?;
    let content = &listing["content"];
    let text = |name: &str| content[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(item.seller, format!("seller{}@example.com", kind.seller()));
    assert_eq!(item.title, text("title"));
    assert_eq!(item.description, text("description").trim_end());
    let mut wanted = Vec::new();
    for photo in content["photoIds"].as_array().context("no photos")? {
        let id = photo.as_str().context("a photo id that is no text")?;
        wanted.push(system.cli.field(&["photos", "show", id], "sha256").await?);
    }
    assert_eq!(wanted.len(), 3);
    assert_eq!(item.photos, wanted, "the photos are not the listing's, in order");
    let raw = item.raw.to_string();
    let parts: &[&str] = match kind {
        Kind::Classified => &["340.50", "Bicycles", "Berlin"],
        Kind::Sandbox => &["120", "Furniture", "Berlin", "SHELF-01", "EUR"],
    };
    for part in parts {
        assert!(raw.contains(part), "{part} is not in {raw}");
    }
    Ok(())
}

async fn check_receipt(system: &System, posting: &Value) -> Result<()> {
    let id = posting["id"].as_str().context("a posting without an id")?;
    let receipt = system.cli.json(&["postings", "receipt", id]).await?;
    let checks = receipt["readBack"].as_array().context("the receipt has no fields read back")?;
    ensure!(checks.len() >= 5, "only {} fields were read back: {receipt}", checks.len());
    for check in checks {
        assert_eq!(check["matches"], true, "{check}");
    }
    assert_eq!(receipt["item"]["url"], posting["item"]["url"]);
    let names: Vec<&str> = receipt["evidence"]
        .as_array()
        .context("no evidence")?
        .iter()
        .filter_map(|e| e["name"].as_str())
        .collect();
    assert!(names.iter().any(|name| name.contains("png")), "no screenshot in {names:?}");
    let job = posting["jobId"].as_str().context("a posting without a job")?;
    let folder = system.path().join("evidence");
    system.cli.text(&["jobs", "evidence", job, "--save", &folder.display().to_string()]).await?;
    assert!(std::fs::read_dir(folder)?.count() >= names.len());
    Ok(())
}

#[tokio::test]
async fn one_agent_posts_to_both_sites_in_one_trace_each() -> Result<()> {
    let collector = Collector::start().await?;
    let system = System::new(&[
        ("TRADEPOST_OTLP_ENDPOINT", &collector.endpoint()),
        ("TRADEPOST_CONTROLLER__TRACES__OTLP_ENDPOINT", &collector.endpoint()),
        ("TRADEPOST_AGENT__TRACES__OTLP_ENDPOINT", &collector.endpoint()),
    ])?;
    let classified = Site::start(Kind::Classified, system.path()).await?;
    let sandbox = Site::start(Kind::Sandbox, system.path()).await?;
    let controller = system.start_controller("controller", &system.sqlite()).await?;
    system.log_in(&controller).await?;
    let agent = system.start_agent("agent").await?;
    let bookshop = system.add_account("on sandbox", &sandbox, Kind::Sandbox, &agent).await?;
    let ads = system.add_account("on classified", &classified, Kind::Classified, &agent).await?;
    let listings = system.add_listings().await?;

    // Both at once: one agent, two profiles.
    let on_sandbox = system.post(&listings[0], &bookshop).await?;
    let on_classified = system.post(&listings[1], &ads).await?;
    for (posting, listing, site, kind) in [
        (&on_sandbox, &listings[0], &sandbox, Kind::Sandbox),
        (&on_classified, &listings[1], &classified, Kind::Classified),
    ] {
        let shown =
            system.wait_for_posting(posting, &["published", "failed", "needs_human", "uncertain"]).await?;
        assert_eq!(shown["state"], "published", "{shown}\n{}", system.logs());
        let items = site.items().await?;
        assert_eq!(items.len(), 1, "{items:?}");
        check_truth(&system, listing, &items[0], kind).await?;
        check_receipt(&system, &shown).await?;
        let url = shown["item"]["url"].as_str().context("no address")?;
        assert!(reqwest::get(url).await?.status().is_success(), "{url} cannot be opened");
    }

    // One trace reaches from the command to the last recipe step on the agent.
    let deadline = std::time::Duration::from_secs(30);
    let is_step = |span: &Span| {
        let publishing =
            |(name, value): &(String, String)| name == "step" && value.starts_with("Compare the published");
        span.service == "tradepost-agent" && span.attributes.iter().any(publishing)
    };
    let step = collector.wait_for("of a recipe step on the agent", deadline, is_step).await?;
    let of_trace = |service: &'static str, trace: String| {
        move |span: &Span| span.service == service && span.trace_id == trace
    };
    collector.wait_for("of the command", deadline, of_trace("tradepost", step.trace_id.clone())).await?;
    collector
        .wait_for("of the controller", deadline, of_trace("tradepost-controller", step.trace_id.clone()))
        .await?;
    let spans = collector.spans();
    let services: std::collections::BTreeSet<&str> =
        spans.iter().filter(|s| s.trace_id == step.trace_id).map(|s| s.service.as_str()).collect();
    assert_eq!(services, ["tradepost", "tradepost-agent", "tradepost-controller"].into(), "{step:?}");
    Ok(())
}

#[tokio::test]
async fn two_controllers_on_postgresql_serve_one_agent_and_one_user() -> Result<()> {
    let database = TestDatabase::empty_postgres().await?;
    let system = System::new(&[])?;
    let sandbox = Site::start(Kind::Sandbox, system.path()).await?;
    // The agent attaches to the first controller, the user talks to the second.
    let first = system.start_controller("first", database.url()).await?;
    system.log_in(&first).await?;
    let agent = system.start_agent("agent").await?;
    let mut second = system.start_controller("second", database.url()).await?;
    system.log_in(&second).await?;
    let account = system.add_account("on sandbox", &sandbox, Kind::Sandbox, &agent).await?;
    let listings = system.add_listings().await?;
    let posting = system.post(&listings[0], &account).await?;
    let shown =
        system.wait_for_posting(&posting, &["published", "failed", "needs_human", "uncertain"]).await?;
    assert_eq!(shown["state"], "published", "{shown}\n{}", system.logs());
    let items = sandbox.items().await?;
    assert_eq!(items.len(), 1);
    check_truth(&system, &listings[0], &items[0], Kind::Sandbox).await?;
    // The user's controller going away does not touch the agent's stream.
    second.process.kill()?;
    system.log_in(&first).await?;
    let agents = system.cli.json(&["agents", "list"]).await?;
    assert_eq!(agents[0]["presence"], "online");
    Ok(())
}
