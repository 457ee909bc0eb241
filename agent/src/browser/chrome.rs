//! One browser session in one account's profile directory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::common::capabilities::desiredcapabilities::PageLoadStrategy;
use thirtyfour::prelude::ChromiumLikeCapabilities;
use thirtyfour::session::handle::SessionHandle;
use thirtyfour::{
    CapabilitiesHelper, ChromeCapabilities, DesiredCapabilities, TimeoutConfiguration, WebDriver,
};
use tradepost_domain::failure::{Failure, FailureClass};

use super::driver::{Containment, Driver};
use super::programs::Programs;
use super::script;

/// Longest wait of a script; steps end before.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(130);
/// Longest load of a page.
const LOAD_DEADLINE: Duration = Duration::from_secs(60);
/// Longest answer of chromedriver; longer than any of the above.
const ANSWER_DEADLINE: Duration = Duration::from_secs(140);
/// How long Chrome may take to start.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long Chrome may take to close by itself.
const QUIT_DEADLINE: Duration = Duration::from_secs(5);
/// Name of the start in failures.
const START: &str = "Start Chrome";

/// Whether the seller sees the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// A window on the desktop.
    Visible,
    /// No window.
    Headless,
}

/// How to start a browser.
#[derive(Debug, Clone)]
pub struct BrowserOptions {
    /// The account's own profile directory, absolute. The caller holds its lock: Chrome refuses a second user.
    pub profile: PathBuf,
    /// With or without a window.
    pub display: Display,
    /// Width and height of the window, in pixels.
    pub window: (u32, u32),
}

/// Process ids to note down, so that leftovers of a killed agent can be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pids {
    /// chromedriver's, or its guard's.
    pub driver: u32,
    /// Chrome's main process; none where the system does not tell.
    pub chrome: Option<u32>,
}

/// A running Chrome with its chromedriver: a [`tradepost_recipe::page::Page`].
///
/// Call [`Browser::quit`] at the end. A browser that is dropped instead takes its processes down the hard way: the
/// contained command is killed, and Chrome's pipe closes.
pub struct Browser {
    pub(super) session: Arc<SessionHandle>,
    pub(super) watched: Mutex<Arc<Value>>,
    driver: Mutex<Option<Driver>>,
    pids: Pids,
    version: String,
}

impl BrowserOptions {
    /// Options for a profile directory: a usual window size.
    pub fn new(profile: PathBuf, display: Display) -> Self {
        Self { profile, display, window: (1280, 900) }
    }
}

impl Browser {
    /// Starts chromedriver and Chrome. Fails with `driver_mismatch` or `browser_crashed`.
    pub async fn start(
        programs: &Programs,
        options: &BrowserOptions,
        containment: &dyn Containment,
    ) -> Result<Self, Failure> {
        let failed = |message: String| Failure::new(FailureClass::BrowserCrashed, START, message);
        std::fs::create_dir_all(&options.profile).map_err(|error| {
            failed(format!("the profile folder {} cannot be made: {error}", options.profile.display()))
        })?;
        let capabilities =
            capabilities(programs, options).map_err(|error| failed(script::one_line(&error)))?;
        let driver = Driver::start(&programs.chromedriver, containment).await?;
        let builder = WebDriver::builder(driver.url(), capabilities).request_timeout(ANSWER_DEADLINE);
        let web_driver = match tokio::time::timeout(START_DEADLINE, builder.connect()).await {
            Ok(Ok(web_driver)) => web_driver,
            Ok(Err(error)) => {
                driver.end().await;
                return Err(start_failure(&script::one_line(&error), &options.profile));
            }
            Err(_) => {
                driver.end().await;
                return Err(failed(format!(
                    "Chrome did not start within {} s; try again",
                    START_DEADLINE.as_secs()
                )));
            }
        };
        let session = Arc::clone(web_driver.handle());
        // From here on this type ends the session; the library's own blocking clean-up on drop is switched off.
        drop(web_driver.leak());
        let version = session
            .capabilities()
            .get("browserVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let pids = Pids { driver: driver.pid(), chrome: chrome_pid(&options.profile) };
        let browser = Self {
            session,
            watched: Mutex::new(Arc::new(json!([]))),
            driver: Mutex::new(Some(driver)),
            pids,
            version,
        };
        let timeouts =
            TimeoutConfiguration::new(Some(SCRIPT_DEADLINE), Some(LOAD_DEADLINE), Some(Duration::ZERO));
        if let Err(error) = browser.session.update_timeouts(timeouts).await {
            let message = script::one_line(&error);
            browser.quit().await;
            return Err(failed(message));
        }
        tracing::debug!(
            version = browser.version,
            driver = pids.driver,
            chrome = pids.chrome,
            "Chrome started"
        );
        Ok(browser)
    }

    /// The processes to note down.
    pub fn pids(&self) -> Pids {
        self.pids
    }

    /// Chrome's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The id of the WebDriver session: the same before and after the fence, or the click must not happen.
    pub fn session_id(&self) -> String {
        self.session.session_id().to_string()
    }

    /// Whether chromedriver still runs and Chrome answers it.
    pub async fn is_alive(&self) -> bool {
        let running =
            self.driver.lock().unwrap_or_else(PoisonError::into_inner).as_mut().is_some_and(Driver::is_alive);
        running && self.session.window().await.is_ok()
    }

    /// Closes Chrome (it saves its profile first) and ends chromedriver.
    pub async fn quit(self) {
        let closing = self.session.cmd(thirtyfour::common::command::Command::DeleteSession);
        if tokio::time::timeout(QUIT_DEADLINE, closing).await.is_err() {
            tracing::warn!("Chrome did not close by itself in time; ending it");
        }
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(driver) = driver {
            driver.end().await;
        }
    }
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser")
            .field("pids", &self.pids)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

fn capabilities(
    programs: &Programs,
    options: &BrowserOptions,
) -> thirtyfour::error::WebDriverResult<ChromeCapabilities> {
    let mut capabilities = DesiredCapabilities::chrome();
    capabilities.set_binary(&programs.chrome.to_string_lossy())?;
    capabilities.set_page_load_strategy(PageLoadStrategy::Eager)?;
    capabilities.set("goog:loggingPrefs", json!({ "browser": "WARNING" }))?;
    // Chrome opens connections ahead of need, and sends a POST again by itself when one of those ends without a
    // reply: one lost reply would become two or three listings. 2 is "never predict".
    capabilities.add_experimental_option("prefs", json!({ "net": { "network_prediction_options": 2 } }))?;
    let (width, height) = options.window;
    let profile = format!("--user-data-dir={}", options.profile.display());
    let window = format!("--window-size={width},{height}");
    let mut arguments = vec![
        profile.as_str(),
        window.as_str(),
        // Chrome ends when chromedriver does, and no debugging port is open to other users of the PC.
        "--remote-debugging-pipe",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-search-engine-choice-screen",
        // A covered window must not slow the page's timers down.
        "--disable-backgrounding-occluded-windows",
        "--disable-renderer-backgrounding",
        "--disable-background-timer-throttling",
    ];
    if options.display == Display::Headless {
        arguments.extend(["--headless=new", "--disable-gpu", "--disable-dev-shm-usage"]);
    }
    if is_root() {
        arguments.push("--no-sandbox");
    }
    for argument in arguments {
        capabilities.add_arg(argument)?;
    }
    Ok(capabilities)
}

/// Chrome's sandbox cannot work for root, and Chrome refuses to start with it.
#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

/// Chrome's own note of its process in the profile: a link to `host-pid`.
fn chrome_pid(profile: &Path) -> Option<u32> {
    let link = std::fs::read_link(profile.join("SingletonLock")).ok()?;
    link.to_string_lossy().rsplit('-').next()?.parse().ok()
}

fn start_failure(reason: &str, profile: &Path) -> Failure {
    let in_use =
        reason.contains("user data directory is already in use") || reason.contains("already running");
    if reason.contains("only supports Chrome version") || reason.contains("This version of ChromeDriver") {
        return Failure::new(
            FailureClass::DriverMismatch,
            START,
            format!("Chrome and chromedriver do not fit: {reason}; install both in the same version"),
        );
    }
    let mend = if in_use {
        format!("close the Chrome that uses {}", profile.display())
    } else {
        "see that Chrome opens by hand on this PC, then retry".to_owned()
    };
    Failure::new(FailureClass::BrowserCrashed, START, format!("Chrome does not start: {reason}; {mend}"))
}
