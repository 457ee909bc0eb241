//! A page on which nothing is done after the PC has slept.
//!
//! Reading goes on; what changes the page is refused until the run was confirmed and begins its form anew. The click and
//! everything before it stand behind [`Guard::check`]; once the click is sent, only looking is left, and the guard is off.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_recipe::locate::{Condition, Target, TextMatch};
use tradepost_recipe::page::{
    Commit, Control, Extraction, FormError, Page, PageError, Press, Row, Sighting, Spread,
};

use super::{Cut, Run};
use crate::wake::Wake;

/// How long a run waits to be confirmed after a sleep.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10 * 60);
const SLEPT: &str = "the PC has slept; nothing is done on the page before it was looked at anew";
const STEP: &str = "Go on after the PC has slept";

/// Keeps a run from acting on what it saw before a sleep.
#[derive(Debug)]
pub(super) struct Guard {
    wake: Wake,
    seen: AtomicU64,
    off: AtomicBool,
}

impl Guard {
    pub(super) fn new(wake: Wake) -> Self {
        let seen = AtomicU64::new(wake.count());
        Self { wake, seen, off: AtomicBool::new(false) }
    }

    /// Whether the PC has slept since the run was last confirmed.
    pub(super) fn slept(&self) -> bool {
        !self.off.load(Ordering::Acquire) && self.wake.count() != self.seen.load(Ordering::Acquire)
    }

    /// The click is sent: nothing is left to be guarded.
    pub(super) fn stand_down(&self) {
        self.off.store(true, Ordering::Release);
    }

    fn check(&self) -> Result<(), PageError> {
        if self.slept() { Err(PageError::Network(SLEPT.to_owned())) } else { Ok(()) }
    }
}

impl Run {
    /// After a sleep: waits until the controller has confirmed the run over a stream that was opened since. The lease may
    /// have ended, and another run may have taken over.
    pub(super) async fn confirmed(&self) -> Result<(), Cut> {
        let waiting = async {
            let wakes = self.guard.wake.count();
            let mut confirmed = self.kit.confirmed.clone();
            let answer =
                tokio::time::timeout(CONFIRM_WITHIN, confirmed.wait_for(|last| last.wakes >= wakes)).await;
            match answer {
                Ok(Ok(last)) if last.runs.as_ref().is_none_or(|runs| runs.contains(&self.key())) => {
                    self.guard.seen.store(last.wakes, Ordering::Release);
                    Ok(())
                }
                Ok(Ok(_)) => {
                    let message = "the PC has slept, and the controller has given the work up meanwhile; nothing was published";
                    Err(Failure::new(FailureClass::Network, STEP, message))
                }
                _ => {
                    let message = "the PC has slept, and the controller cannot be reached since; nothing was published, it is tried again";
                    Err(Failure::new(FailureClass::Network, STEP, message))
                }
            }
        };
        let step = self.reporter.step(crate::session::frame::Phase::Prepare, STEP, waiting);
        self.until_cut(STEP, step).await
    }
}

/// A page behind a guard.
pub(super) struct Watched {
    page: Arc<dyn Page>,
    guard: Arc<Guard>,
}

impl Watched {
    pub(super) fn page(page: Arc<dyn Page>, guard: Arc<Guard>) -> Arc<dyn Page> {
        Arc::new(Self { page, guard })
    }
}

#[async_trait]
impl Page for Watched {
    async fn open(&self, url: &str) -> Result<(), PageError> {
        self.guard.check()?;
        self.page.open(url).await
    }

    fn watch(&self, interruptions: Vec<Condition>) {
        self.page.watch(interruptions);
    }

    async fn wait(&self, any: &[Condition], deadline: Duration) -> Result<Sighting, PageError> {
        self.page.wait(any, deadline).await
    }

    async fn read(&self, targets: &[Target]) -> Result<Vec<Option<Control>>, PageError> {
        self.page.read(targets).await
    }

    async fn fill(
        &self,
        target: &Target,
        text: &str,
        commit: Commit,
        deadline: Duration,
    ) -> Result<Control, PageError> {
        self.guard.check()?;
        self.page.fill(target, text, commit, deadline).await
    }

    async fn select(
        &self,
        target: &Target,
        option: &TextMatch,
        deadline: Duration,
    ) -> Result<Control, PageError> {
        self.guard.check()?;
        self.page.select(target, option, deadline).await
    }

    async fn set_checked(
        &self,
        target: &Target,
        wanted: bool,
        deadline: Duration,
    ) -> Result<Control, PageError> {
        self.guard.check()?;
        self.page.set_checked(target, wanted, deadline).await
    }

    async fn click(&self, target: &Target, deadline: Duration) -> Result<Control, PageError> {
        self.guard.check()?;
        self.page.click(target, deadline).await
    }

    async fn type_keys(&self, target: &Target, text: &str, deadline: Duration) -> Result<Control, PageError> {
        self.guard.check()?;
        self.page.type_keys(target, text, deadline).await
    }

    async fn upload(
        &self,
        target: &Target,
        files: &[PathBuf],
        spread: Spread,
        deadline: Duration,
    ) -> Result<Control, PageError> {
        self.guard.check()?;
        self.page.upload(target, files, spread, deadline).await
    }

    async fn press_once(&self, target: &Target) -> Press {
        if let Err(slept) = self.guard.check() {
            return Press::NotSent(slept);
        }
        let press = self.page.press_once(target).await;
        self.guard.stand_down();
        press
    }

    async fn extract(&self, extraction: &Extraction) -> Result<Vec<Row>, PageError> {
        self.page.extract(extraction).await
    }

    async fn scroll_on(&self, rows: &Target, known: usize, deadline: Duration) -> Result<usize, PageError> {
        self.page.scroll_on(rows, known, deadline).await
    }

    async fn form_errors(
        &self,
        fields: &[Target],
        also: Option<&Target>,
    ) -> Result<Vec<FormError>, PageError> {
        self.page.form_errors(fields, also).await
    }

    async fn structured_data(&self) -> Result<Vec<serde_json::Value>, PageError> {
        self.page.structured_data().await
    }
}
