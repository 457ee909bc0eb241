//! The ruler for the browser flow: the same posting by a plain, hand-written WebDriver script.
//!
//! It fills the same fields on the classifieds site and makes the same checks as the recipe (who is signed in, the own
//! listings before, every field read back from the form and from the published page), without fixed sleeps, and knows
//! nothing of Tradepost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities;
use thirtyfour::components::SelectElement;
use thirtyfour::manager::{BrowserKind, WebDriverManager};
use thirtyfour::prelude::*;

/// How long the script waits for a page.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the script types.
#[derive(Debug, Clone)]
pub struct PlainItem {
    /// The site's address, ending with `/`.
    pub site: String,
    /// Who must be signed in.
    pub user: String,
    /// Text of the area's option.
    pub area: String,
    /// Text of the group's option.
    pub group: String,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// Decimal price.
    pub price: String,
    /// Photo files, in order, at most three.
    pub photos: Vec<PathBuf>,
}

/// Chrome with the profile in `profile`.
pub async fn start_chrome(profile: &Path) -> Result<WebDriver> {
    let manager =
        WebDriverManager::builder().driver_binary(BrowserKind::Chrome, "/usr/bin/chromedriver").build();
    let mut capabilities = DesiredCapabilities::chrome();
    capabilities.set_binary("/usr/bin/chromium")?;
    for argument in [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ] {
        capabilities.add_arg(argument)?;
    }
    capabilities.add_arg(&format!("--user-data-dir={}", profile.display()))?;
    Ok(manager.launch(capabilities).await?)
}

/// Signs in, so that the profile keeps the session.
pub async fn sign_in(driver: &WebDriver, site: &str, user: &str, password: &str) -> Result<()> {
    driver.goto(format!("{site}login/?next=/user/")).await?;
    driver.find(By::Name("username")).await?.send_keys(user).await?;
    driver.find(By::Name("password")).await?.send_keys(password).await?;
    driver.find(By::Css("input[type=submit]")).await?.click().await?;
    check_signed_in(driver, user).await
}

async fn check_signed_in(driver: &WebDriver, user: &str) -> Result<()> {
    let shown = driver.query(By::Css("a.dropdown-toggle")).wait(PATIENCE, POLL).first().await?.text().await?;
    // The site shows the name in capitals.
    ensure!(shown.to_lowercase().contains(user), "{shown:?} is signed in, not {user}");
    Ok(())
}

/// Where the script has to look more than once, this is how often.
const POLL: Duration = Duration::from_millis(20);

/// Posts the item and returns its address.
pub async fn post(driver: &WebDriver, item: &PlainItem) -> Result<String> {
    driver.goto(format!("{}user/", item.site)).await?;
    check_signed_in(driver, &item.user).await?;
    let before = own_items(driver).await?;

    driver.goto(format!("{}new/", item.site)).await?;
    select(driver, "area", &item.area).await?;
    select(driver, "group", &item.group).await?;
    for (name, value) in [("title", &item.title), ("description", &item.description), ("price", &item.price)]
    {
        // The page's own description is a `meta` of the same name.
        let field = driver.find(By::Css(format!("form [name={name}]"))).await?;
        field.send_keys(value).await?;
        let kept = field.prop("value").await?.unwrap_or_default();
        ensure!(same_text(&kept, value), "{name} kept {kept:?} in place of {value:?}");
    }
    for (n, photo) in item.photos.iter().enumerate() {
        let input = driver.find(By::Name(format!("image_set-{n}-file"))).await?;
        input.send_keys(photo.display().to_string()).await?;
        let kept = input.prop("value").await?.unwrap_or_default();
        ensure!(!kept.is_empty(), "photo {n} was not taken");
    }
    let save = driver.find(By::Css("form[enctype] input[type=submit]")).await?;
    // The site scrolls smoothly, and a click on a moving button is refused.
    driver
        .execute("arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", vec![save.to_json()?])
        .await?;
    save.click().await?;

    driver.query(By::Css(".dcf-item-price")).wait(PATIENCE, POLL).first().await?;
    let address = driver.current_url().await?;
    let id = item_id(address.path()).context("the address after saving names no item")?;
    ensure!(!before.contains(&id), "item {id} was there before");
    read_back(driver, item).await?;
    Ok(address.to_string())
}

async fn read_back(driver: &WebDriver, item: &PlainItem) -> Result<()> {
    let title = driver.find(By::Css("h2")).await?.text().await?;
    ensure!(same_text(&title, &item.title), "the page shows the title {title:?}");
    let price = driver.find(By::Css(".dcf-item-price")).await?.text().await?;
    let digits: String = price.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    ensure!(
        (digits.parse::<f64>()? - item.price.parse::<f64>()?).abs() < 0.005,
        "the page shows the price {price:?}"
    );
    let description = driver.find(By::Css(".dcf-description")).await?.text().await?;
    ensure!(same_text(&description, &item.description), "the page shows another description");
    let place = driver.find(By::Css(".dcf-eyebrow")).await?.text().await?.to_lowercase();
    let group = item.group.rsplit(" - ").next().unwrap_or_default();
    for part in [item.area.as_str(), group] {
        ensure!(place.contains(&part.to_lowercase()), "the page shows the place {place:?}, without {part}");
    }
    check_photos(driver, &item.photos).await
}

/// The gallery shows thumbnails without names; the page's structured data names the photos in order.
async fn check_photos(driver: &WebDriver, wanted: &[PathBuf]) -> Result<()> {
    let mut shown = Vec::new();
    for script in driver.find_all(By::Css("script[type='application/ld+json']")).await? {
        let text = script.prop("textContent").await?.unwrap_or_default();
        let data: serde_json::Value = serde_json::from_str(&text).context("unreadable structured data")?;
        shown.extend(data["image"].as_array().into_iter().flatten().map(ToString::to_string));
    }
    ensure!(shown.len() == wanted.len(), "the page shows {} photos", shown.len());
    for (address, photo) in shown.iter().zip(wanted) {
        let name = photo.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        ensure!(address.contains(name), "{address} stands in the place of {name}");
    }
    Ok(())
}

async fn own_items(driver: &WebDriver) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for link in driver.find_all(By::Css("a[title='Open item']")).await? {
        let address = link.attr("href").await?.unwrap_or_default();
        ids.extend(item_id(&address));
    }
    Ok(ids)
}

async fn select(driver: &WebDriver, name: &str, text: &str) -> Result<()> {
    let select = SelectElement::new(&driver.find(By::Name(name)).await?).await?;
    select.select_by_exact_text(text).await?;
    let chosen = select.first_selected_option().await?.text().await?;
    ensure!(chosen.trim() == text, "{name} kept {chosen:?}");
    Ok(())
}

fn item_id(path: &str) -> Option<String> {
    let (id, _) = path.trim_start_matches('/').split_once('-')?;
    id.bytes().all(|b| b.is_ascii_digit()).then(|| id.to_owned())
}

fn same_text(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}
