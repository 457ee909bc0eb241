//! A page in memory: controls by the words of their locator, pages by their path.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tradepost_recipe::locate::{Condition, Target, TextMatch};
use tradepost_recipe::page::{
    Commit, Control, Extraction, FormError, Page, PageError, Press, Row, Sighting, Spread,
};

/// What stands on the page, and what happens to it.
#[derive(Default)]
pub(crate) struct State {
    /// The present address.
    pub(crate) url: String,
    /// Its heading.
    pub(crate) heading: String,
    /// Headings by path, for pages that are opened.
    pub(crate) headings: BTreeMap<String, String>,
    /// Controls by their locator in words.
    pub(crate) controls: BTreeMap<String, Control>,
    /// Controls whose value the page changes once it is put in: what it makes of it.
    pub(crate) rewrites: BTreeMap<String, String>,
    /// Rows of the own items.
    pub(crate) rows: Vec<Row>,
    /// What the form complains about.
    pub(crate) errors: Vec<FormError>,
    /// What becomes of the one click: the heading and address that follow, or why it did not take place.
    pub(crate) press: Option<Result<(String, String), PageError>>,
    /// Every call that changes something, in order.
    pub(crate) calls: Vec<String>,
    /// The page does not answer any more.
    pub(crate) hangs: bool,
    watched: Vec<Condition>,
}

/// The page.
#[derive(Default)]
pub(crate) struct FakePage(Mutex<State>);

impl FakePage {
    /// The state, to set the stage or look at it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, what: String) {
        let hangs = {
            let mut state = self.state();
            state.calls.push(what);
            state.hangs
        };
        if hangs {
            std::future::pending::<()>().await;
        }
    }

    fn control(&self, target: &Target) -> Result<Control, PageError> {
        let state = self.state();
        state
            .control(target)
            .ok_or_else(|| PageError::Missing { looked_for: target.to_string(), at: state.at() })
    }
}

impl State {
    fn at(&self) -> String {
        format!("\"{}\" at {}", self.heading, self.url)
    }

    fn control(&self, target: &Target) -> Option<Control> {
        target.any.iter().enumerate().find_map(|(matched, locator)| {
            let control = self.controls.get(&locator.to_string())?;
            let shows = locator.shows.as_ref().is_none_or(|shows| shows.fits(&control.value));
            shows.then(|| Control { matched, ..control.clone() })
        })
    }

    fn holds(&self, condition: &Condition) -> bool {
        let path = self.url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let url = condition
            .url
            .as_ref()
            .is_none_or(|pattern| regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(&path)));
        let heading = condition.heading.as_ref().is_none_or(|heading| heading.fits(&self.heading));
        let visible = condition.visible.as_ref().is_none_or(|target| self.control(target).is_some());
        url && heading && visible
    }

    fn interrupted(&self) -> Result<(), PageError> {
        match self.watched.iter().position(|condition| self.holds(condition)) {
            Some(index) => Err(PageError::Interrupted { index, text: self.heading.clone() }),
            None => Ok(()),
        }
    }

    fn put(&mut self, target: &Target, value: &str) {
        let found = target.any.iter().map(ToString::to_string).find(|key| self.controls.contains_key(key));
        let Some(key) = found else { return };
        let value = self.rewrites.get(&key).cloned().unwrap_or_else(|| value.to_owned());
        if let Some(control) = self.controls.get_mut(&key) {
            control.value = value;
        }
    }
}

#[async_trait]
impl Page for FakePage {
    async fn open(&self, url: &str) -> Result<(), PageError> {
        self.call(format!("open {url}")).await;
        let mut state = self.state();
        let heading = state.headings.get(url).cloned().unwrap_or_default();
        (state.url, state.heading) = (url.to_owned(), heading);
        Ok(())
    }

    fn watch(&self, interruptions: Vec<Condition>) {
        self.state().watched = interruptions;
    }

    async fn wait(&self, any: &[Condition], _deadline: Duration) -> Result<Sighting, PageError> {
        let state = self.state();
        state.interrupted()?;
        let index = any.iter().position(|condition| state.holds(condition));
        let index = index.ok_or_else(|| PageError::NotReached { at: state.at() })?;
        let url = state.url.clone();
        Ok(Sighting { index, url, heading: state.heading.clone(), ..Sighting::default() })
    }

    async fn read(&self, targets: &[Target]) -> Result<Vec<Option<Control>>, PageError> {
        let state = self.state();
        state.interrupted()?;
        Ok(targets.iter().map(|target| state.control(target)).collect())
    }

    async fn fill(&self, target: &Target, text: &str, _: Commit, _: Duration) -> Result<Control, PageError> {
        self.call(format!("fill {target}")).await;
        self.control(target)?;
        self.state().put(target, text);
        self.control(target)
    }

    async fn select(&self, target: &Target, option: &TextMatch, _: Duration) -> Result<Control, PageError> {
        self.call(format!("select {target}")).await;
        self.state().put(target, option.texts().next().unwrap_or_default());
        self.control(target)
    }

    async fn set_checked(&self, target: &Target, wanted: bool, _: Duration) -> Result<Control, PageError> {
        let control = self.control(target)?;
        Ok(Control { checked: Some(wanted), ..control })
    }

    async fn click(&self, target: &Target, _: Duration) -> Result<Control, PageError> {
        self.call(format!("click {target}")).await;
        self.control(target)
    }

    async fn type_keys(&self, target: &Target, text: &str, deadline: Duration) -> Result<Control, PageError> {
        self.fill(target, text, Commit::Stay, deadline).await
    }

    async fn upload(
        &self,
        target: &Target,
        files: &[PathBuf],
        _: Spread,
        _: Duration,
    ) -> Result<Control, PageError> {
        self.call(format!("upload {target}")).await;
        let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        self.state().put(target, &names.join("\n"));
        self.control(target)
    }

    async fn press_once(&self, target: &Target) -> Press {
        self.call(format!("press {target}")).await;
        let mut state = self.state();
        match state.press.take() {
            Some(Err(error)) => return Press::NotSent(error),
            Some(Ok((heading, url))) => (state.heading, state.url) = (heading, url),
            None => {}
        }
        Press::Sent
    }

    async fn extract(&self, _: &Extraction) -> Result<Vec<Row>, PageError> {
        Ok(self.state().rows.clone())
    }

    async fn scroll_on(&self, _: &Target, _: usize, _: Duration) -> Result<usize, PageError> {
        Ok(self.state().rows.len())
    }

    async fn form_errors(&self, _: &[Target], _: Option<&Target>) -> Result<Vec<FormError>, PageError> {
        Ok(self.state().errors.clone())
    }

    async fn structured_data(&self) -> Result<Vec<serde_json::Value>, PageError> {
        Ok(Vec::new())
    }
}
