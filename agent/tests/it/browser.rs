//! Recipes in a real Chromium, against the practice marketplace in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tradepost_agent::browser::{Browser, BrowserOptions, Display, Programs, SearchPlaces};
use tradepost_domain::failure::FailureClass;
use tradepost_domain::listing::Condition;
use tradepost_domain::money::Money;
use tradepost_recipe::catalogue;
use tradepost_recipe::page::{Page, PageError};
use tradepost_recipe::session::{Clicked, Confirmation, Observer, Session, StepEvent};
use tradepost_recipe::values::{Credential, Input, Listing};
use tradepost_runtime::tasks::Tasks;
use tradepost_sandbox::{Config, Sandbox};
use tradepost_testkit::photos;
use tradepost_testkit::wait::until;

/// A browser signed in to a practice marketplace of its own.
struct Stage {
    folder: TempDir,
    tasks: Tasks,
    url: String,
    browser: Arc<Browser>,
    steps: Arc<Steps>,
}

/// The notes of the steps that ended, by the steps' names.
#[derive(Default)]
struct Steps(Mutex<BTreeMap<String, String>>);

impl Observer for Steps {
    fn observe(&self, event: StepEvent) {
        if let StepEvent::Finished { step, note, .. } = event {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(step.name, note);
        }
    }
}

impl Stage {
    async fn set() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let sandbox = Sandbox::bind(Config::new(folder.path().join("sandbox"), 0, 4)).await?;
        let (url, tasks) = (sandbox.url(), Tasks::new());
        let shutdown = tasks.shutdown_token();
        tasks.spawn("sandbox", async move { sandbox.serve(async move { shutdown.cancelled().await }).await });
        let browser = start_browser(&folder.path().join("profile")).await?;
        Ok(Self { folder, tasks, url, browser: Arc::new(browser), steps: Arc::default() })
    }

    fn listing(&self, count: u32) -> Result<Listing> {
        Ok(Listing {
            title: "Oak table – 1950s 🪑".to_owned(),
            description: "Solid oak.\n\nSeats six; \"small\" scratches <b>only</b>. ❤️".to_owned(),
            price: Money::parse("1250.50", "GBP".parse()?)?,
            category: "Home > Furniture".to_owned(),
            condition: Condition::Good,
            location: "Berlin".to_owned(),
            sku: "TP-0001".to_owned(),
            attributes: BTreeMap::from(
                [("colour", "Brown"), ("size", "M")].map(|(name, value)| (name.into(), value.into())),
            ),
            photos: self.photos(count)?,
        })
    }

    fn photos(&self, count: u32) -> Result<Vec<PathBuf>> {
        photos::folder(&self.folder.path().join("photos"), count)
    }

    fn session(&self, listing: Option<Listing>) -> Result<Session> {
        let site = catalogue::site("sandbox").map_err(anyhow::Error::msg)?;
        let sign_in_name = Some("seller1@example.com".to_owned());
        let input = Input { site_url: self.url.parse()?, sign_in_name, listing };
        let page: Arc<dyn Page> = self.browser.clone();
        Ok(Session::new(site, input, page, self.steps.clone())?)
    }

    /// A session that is signed in, has its baseline and stands before the fence.
    async fn prepared(&self, listing: Listing) -> Result<Session> {
        let mut session = self.session(Some(listing))?;
        let Err(nobody) = session.login_check().await else { bail!("nobody is signed in yet") };
        ensure!(nobody.class == FailureClass::NeedsLogin, "{nobody}");
        let credential = |password: &str| Credential {
            username: String::from("seller1@example.com").into(),
            password: password.to_owned().into(),
        };
        let tried = tokio::time::Instant::now();
        let Err(refused) = session.login(&credential("wrong horse")).await else { bail!("signed in?") };
        ensure!(refused.typed, "the site has seen it");
        let refused = refused.failure;
        ensure!(refused.class == FailureClass::NeedsLogin, "{refused}");
        ensure!(
            refused.message.contains("stored password")
                && refused.message.contains("(The email address or the password is wrong.)"),
            "{refused}"
        );
        ensure!(tried.elapsed() < Duration::from_secs(10), "it took {:?}", tried.elapsed());
        let credential = credential("correct horse 1");
        session.login(&credential).await.map_err(|refused| refused.failure)?;
        let signed_in = session.login_check().await?;
        ensure!(signed_in.account.as_deref() == Some("seller1@example.com"), "{signed_in:?}");
        ensure!(session.baseline().await?.complete, "an empty list is complete");
        session.prepare().await?;
        session.revalidate().await?;
        Ok(session)
    }

    async fn control(&self, faults: Value) -> Result<()> {
        self.request("POST", "/__control__", &faults.to_string()).await.map(|_| ())
    }

    /// The practice marketplace's own record of what it received.
    async fn ledger(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.request("GET", "/__ledger__", "").await?)?)
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
        ensure!(head.contains(" 200 "), "{head}\n{body}");
        Ok(body.to_owned())
    }

    async fn strike(self) {
        if let Some(browser) = Arc::into_inner(self.browser) {
            browser.quit().await;
        }
        self.tasks.drain(Duration::from_secs(5)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the test's own PATH leads to Chrome")]
async fn start_browser(profile: &Path) -> Result<Browser> {
    let places = SearchPlaces { path: std::env::var_os("PATH"), ..SearchPlaces::default() };
    let programs = Programs::find(&places).await?;
    let contained = |program: &Path| {
        let mut command = std::process::Command::new(program);
        command.stdin(Stdio::piped());
        command
    };
    Ok(Browser::start(&programs, &BrowserOptions::new(profile.to_owned(), Display::Headless), &contained)
        .await?)
}

#[tokio::test]
async fn a_listing_is_published_with_every_field_and_the_photos_in_order() -> Result<()> {
    let stage = Stage::set().await?;
    stage.control(json!({ "variant": { "groups_ticked": 2 } })).await?;
    let mut listing = stage.listing(3)?;
    listing.attributes.insert("size".to_owned(), "M".to_owned());
    let mut session = stage.prepared(listing).await?;
    let notes = stage.steps.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let unticked = notes.get("List in no group").map(|note| note.split(", ").count());
    assert_eq!(unticked, Some(2), "the ticked groups: {notes:?}");
    let before = stage.browser.screenshot().await?;
    ensure!(before.bytes.starts_with(b"\x89PNG") && before.bytes.len() <= 500_000);
    assert_eq!(stage.ledger().await?["submissions"], json!([]), "nothing is sent before the fence");

    assert_eq!(session.commit().await, Clicked::Sent);
    let confirmation = session.confirm().await;
    let Confirmation::Published { item_id, url, .. } = &confirmation else { panic!("{confirmation:?}") };
    let read_back = session.read_back(url).await?;
    assert_eq!(read_back.mismatches().collect::<Vec<_>>(), Vec::<&_>::new());
    let compared: Vec<_> = read_back.fields.iter().map(|check| check.field.as_str()).collect();
    let every = [
        "title",
        "price",
        "category",
        "condition",
        "colour",
        "sku",
        "location",
        "groups",
        "description",
        "photos",
    ];
    assert_eq!(compared, every, "a field that the form does not have is not looked for");
    let photos = read_back.fields.last().context("photos are compared")?;
    assert_eq!(
        (photos.wanted.as_str(), photos.shown.as_deref()),
        ("3 photos in order", Some("3 photos in order"))
    );
    assert!(matches!(session.commit().await, Clicked::NotClicked(_)), "a session clicks once");

    let ledger = stage.ledger().await?;
    assert_eq!(ledger["submissions"].as_array().map(Vec::len), Some(1));
    let item = &ledger["items"][0];
    assert_eq!(item["id"].as_str(), Some(item_id.as_str()));
    let fields = &item["fields"];
    let listing = stage.listing(3)?;
    assert_eq!(fields["title"], json!(listing.title));
    assert_eq!(fields["description"], json!(listing.description));
    assert_eq!(fields["price"], json!("1250.50"));
    assert_eq!(fields["currency"], json!("GBP"));
    assert_eq!(fields["category"], json!("Furniture"));
    assert_eq!(fields["condition"], json!("Used – good"));
    assert_eq!(fields["location"], json!("Berlin, Germany"));
    assert_eq!(fields["sku"], json!("TP-0001"));
    assert_eq!(fields["attributes"]["Colour"], json!("Brown"));
    assert_eq!(fields["promote"], json!(false));
    assert_eq!(fields["groups"], json!([]), "groups that were ticked already are unticked");
    let names: Vec<_> = listing.photos.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let shown: Vec<_> =
        item["photos"].as_array().into_iter().flatten().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(shown, names, "photos in order");

    let snapshot = stage.browser.snapshot().await?;
    assert!(snapshot.html.contains("Oak table") && !snapshot.html.contains("<script"), "{}", snapshot.url);
    assert!(!snapshot.html.contains("seller1@example.com"), "addresses are redacted");
    drop(session);
    stage.strike().await;
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_definite_and_a_lost_reply_is_found_by_the_difference() -> Result<()> {
    let stage = Stage::set().await?;
    let mut session = stage.prepared(stage.listing(3)?).await?;
    stage.control(json!({ "next": { "reject": "This item can't be sold here." } })).await?;
    assert_eq!(session.commit().await, Clicked::Sent);
    let Confirmation::Rejected(failure) = session.confirm().await else { panic!("a refusal is definite") };
    assert_eq!(failure.class, FailureClass::ListingRejected);
    assert!(failure.message.contains("This item can't be sold here."), "{failure}");
    assert_eq!(stage.ledger().await?["items"], json!([]));

    // Cards that are no links: ids come from their dialogs, also for several cards of one title.
    let older = json!({ "count": 3, "title": "Kettle" });
    stage.control(json!({ "seed": older, "variant": { "card_links": false } })).await?;
    let mut session = stage.session(Some(stage.listing(3)?))?;
    let baseline = session.baseline().await?;
    assert_eq!((baseline.items.len(), baseline.complete), (3, true));
    session.prepare().await?;
    session.revalidate().await?;
    stage.control(json!({ "next": { "accept_then_drop": true } })).await?;
    assert_eq!(session.commit().await, Clicked::Sent);
    let confirmation = session.confirm().await;
    let Confirmation::Published { strategy, .. } = &confirmation else { panic!("{confirmation:?}") };
    assert_eq!(strategy, "baseline_difference");
    assert_eq!(stage.ledger().await?["items"].as_array().map(Vec::len), Some(4));

    // What the composer loses to a re-render is filled again, and what the site cannot take is said before any form.
    stage.control(json!({ "faults": { "rerender_clears_title": true } })).await?;
    let mut session = stage.session(Some(stage.listing(1)?))?;
    let prepared = session.prepare().await?;
    assert!(
        prepared.fields.contains(&("title".to_owned(), "Oak table - 1950s 🪑".to_owned())),
        "{prepared:?}"
    );
    let refused = stage.session(Some(Listing { category: "Boats".into(), ..stage.listing(1)? })).err();
    assert!(refused.is_some_and(|error| error.to_string().contains("Home and garden > Tools")));
    drop(session);
    stage.strike().await;
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn chrome_ends_with_its_driver_and_the_page_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let browser = start_browser(&folder.path().join("profile")).await?;
    let pids = browser.pids();
    let chrome = pids.chrome.context("Chrome's process is known")?;
    assert!(browser.is_alive().await);
    tradepost_testkit::process::signal(pids.driver, tradepost_testkit::process::Signal::Kill)?;
    until("Chrome ends after its driver", Duration::from_secs(5), || async move {
        let stat = std::fs::read_to_string(format!("/proc/{chrome}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    })
    .await?;
    let error = browser.open("http://127.0.0.1:9/").await.expect_err("there is no browser");
    assert!(matches!(error, PageError::Crashed(_)), "{error:?}");
    assert!(!browser.is_alive().await);
    Ok(())
}
