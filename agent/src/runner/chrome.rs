//! What a run needs of Chrome: the seam over [`crate::browser`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tradepost_domain::failure::Failure;
use tradepost_recipe::page::Page;

use crate::browser::{Browser, BrowserOptions, Display, Programs};
use crate::platform::containment;
use crate::platform::processes::ProcessRef;

/// How often it is looked whether Chrome and its driver still run.
const WATCH_EVERY: Duration = Duration::from_millis(200);
/// Longest wait for one picture of the page.
const PICTURE_WITHIN: Duration = Duration::from_secs(5);

/// Starts Chrome.
#[async_trait]
pub trait Chrome: Send + Sync {
    /// Whether a person sees it.
    fn display(&self) -> Display;

    /// Starts it in an account's profile directory, whose lock the caller holds.
    async fn start(&self, profile: &Path) -> Result<Box<dyn Tab>, Failure>;
}

/// One tab of a running Chrome.
#[async_trait]
pub trait Tab: Send + Sync {
    /// What recipes work on. To be dropped before [`Tab::quit`], which else ends Chrome the hard way.
    fn page(&self) -> Arc<dyn Page>;

    /// The processes to note down.
    fn processes(&self) -> Vec<ProcessRef>;

    /// Resolves when Chrome or its driver is no more.
    async fn gone(&self);

    /// What it shows: file name extension, media type and content of each picture that could be taken.
    async fn pictures(&self) -> Vec<Picture>;

    /// Closes Chrome and ends its driver.
    async fn quit(self: Box<Self>);
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// `png`, `jpg` or `html`.
    pub extension: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// The content.
    pub content: Vec<u8>,
}

/// This PC's Chrome.
#[derive(Debug, Clone)]
pub struct LocalChrome {
    /// Chrome and its driver.
    pub programs: Programs,
    /// Whether a person sees it.
    pub display: Display,
    /// The agent's own program, for the guard of the driver.
    pub this_program: PathBuf,
}

struct LocalTab {
    browser: Arc<Browser>,
    watched: Vec<ProcessRef>,
    processes: Vec<ProcessRef>,
}

#[async_trait]
impl Chrome for LocalChrome {
    fn display(&self) -> Display {
        self.display
    }

    async fn start(&self, profile: &Path) -> Result<Box<dyn Tab>, Failure> {
        let options = BrowserOptions::new(profile.to_owned(), self.display);
        let guarded = |program: &Path| containment::command(&self.this_program, program);
        let browser = Browser::start(&self.programs, &options, &guarded).await?;
        let pids = browser.pids();
        let watched: Vec<_> =
            [Some(pids.driver), pids.chrome].into_iter().flatten().filter_map(ProcessRef::of).collect();
        let mut processes: Vec<_> = watched.iter().flat_map(|process| process.with_descendants()).collect();
        processes.sort_unstable();
        processes.dedup();
        Ok(Box::new(LocalTab { browser: Arc::new(browser), watched, processes }))
    }
}

#[async_trait]
impl Tab for LocalTab {
    fn page(&self) -> Arc<dyn Page> {
        Arc::clone(&self.browser) as Arc<dyn Page>
    }

    fn processes(&self) -> Vec<ProcessRef> {
        self.processes.clone()
    }

    async fn gone(&self) {
        let mut looks = tokio::time::interval(WATCH_EVERY);
        while self.watched.iter().all(|process| process.is_alive()) {
            looks.tick().await;
        }
    }

    async fn pictures(&self) -> Vec<Picture> {
        let mut pictures = Vec::new();
        match tokio::time::timeout(PICTURE_WITHIN, self.browser.screenshot()).await {
            Ok(Ok(shot)) => {
                let extension = if shot.media_type == "image/png" { "png" } else { "jpg" };
                pictures.push(Picture { extension, media_type: shot.media_type, content: shot.bytes });
            }
            Ok(Err(error)) => tracing::debug!(%error, "no screenshot"),
            Err(_) => tracing::debug!("no screenshot in time"),
        }
        match tokio::time::timeout(PICTURE_WITHIN, self.browser.snapshot()).await {
            Ok(Ok(snapshot)) => {
                let content = snapshot.html.into_bytes();
                pictures.push(Picture { extension: "html", media_type: "text/html", content });
            }
            Ok(Err(error)) => tracing::debug!(%error, "no page snapshot"),
            Err(_) => tracing::debug!("no page snapshot in time"),
        }
        pictures
    }

    async fn quit(self: Box<Self>) {
        if let Some(browser) = Arc::into_inner(self.browser) {
            browser.quit().await;
        } else {
            tracing::warn!("Chrome is still in use; it is ended with its last user");
        }
    }
}
