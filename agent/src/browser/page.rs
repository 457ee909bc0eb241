//! The recipe engine's page over a WebDriver session.
//!
//! One script call does the waiting, the acting and the reading back; only real pointer and key input and files need
//! a second command. Round trips per step: fill, select, read, wait, extract 1; click 2; upload 1 + files.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thirtyfour::WebElement;
use thirtyfour::error::WebDriverErrorInner;
use tokio::time::Instant;
use tradepost_recipe::locate::{Condition, Target, TextMatch};
use tradepost_recipe::page::{
    Commit, Control, Extraction, FormError, Page, PageError, Press, Row, Sighting, Spread,
};

use super::chrome::Browser;
use super::script::{one_line, page_error};

/// How long the fence's button may take to be ready for its click.
const FENCE_READY: Duration = Duration::from_secs(3);
/// How long a clicked switch may take to change.
const SWITCH: Duration = Duration::from_secs(3);

/// An element with what it shows.
#[derive(Deserialize)]
struct Located {
    element: Value,
    control: Control,
}

/// Several elements with what they show together.
#[derive(Deserialize)]
struct LocatedAll {
    elements: Vec<Value>,
    control: Control,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Waited {
    Late { late: String },
    Seen(Sighting),
}

impl Browser {
    async fn asked<T: DeserializeOwned>(
        &self,
        request: Value,
        target: &str,
        deadline: Duration,
    ) -> Result<T, PageError> {
        let answer = self.ask(request, target, deadline).await?;
        serde_json::from_value(answer)
            .map_err(|error| PageError::Script(format!("unexpected answer: {error}")))
    }

    fn element(&self, json: Value) -> Result<WebElement, PageError> {
        WebElement::from_json(json, Arc::clone(&self.session)).map_err(|error| page_error(&error))
    }

    /// Waits until the target can be clicked.
    async fn ready(&self, target: &Target, deadline: Duration, alone: bool) -> Result<Located, PageError> {
        let request = json!({ "op": "ready", "target": target, "alone": alone });
        self.asked(request, &target.to_string(), deadline).await
    }

    /// The control as it is once it has the wanted state, or as it is after a while.
    async fn checked(
        &self,
        target: &Target,
        wanted: Option<bool>,
        deadline: Duration,
    ) -> Result<Located, PageError> {
        let request = json!({ "op": "checked", "target": target, "wanted": wanted });
        self.asked(request, &target.to_string(), deadline).await
    }
}

#[async_trait]
impl Page for Browser {
    async fn open(&self, url: &str) -> Result<(), PageError> {
        self.session.goto(url).await.map_err(|error| page_error(&error))
    }

    fn watch(&self, interruptions: Vec<Condition>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(json!(interruptions));
    }

    async fn wait(&self, any: &[Condition], deadline: Duration) -> Result<Sighting, PageError> {
        match self.asked(json!({ "op": "wait", "any": any }), "the page", deadline).await? {
            Waited::Seen(sighting) => Ok(sighting),
            Waited::Late { late } => Err(PageError::NotReached { at: late }),
        }
    }

    async fn read(&self, targets: &[Target]) -> Result<Vec<Option<Control>>, PageError> {
        self.asked(json!({ "op": "read", "targets": targets }), "the form", Duration::ZERO).await
    }

    async fn fill(
        &self,
        target: &Target,
        text: &str,
        commit: Commit,
        deadline: Duration,
    ) -> Result<Control, PageError> {
        let request = json!({ "op": "fill", "target": target, "text": text, "commit": commit });
        self.asked(request, &target.to_string(), deadline).await
    }

    async fn select(
        &self,
        target: &Target,
        option: &TextMatch,
        deadline: Duration,
    ) -> Result<Control, PageError> {
        let request = json!({ "op": "select", "target": target, "option": option });
        self.asked(request, &target.to_string(), deadline).await
    }

    async fn set_checked(
        &self,
        target: &Target,
        wanted: bool,
        deadline: Duration,
    ) -> Result<Control, PageError> {
        let until = Instant::now() + deadline;
        let now = self.checked(target, None, deadline).await?;
        if now.control.checked == Some(wanted) {
            return Ok(now.control);
        }
        self.click(target, until.saturating_duration_since(Instant::now())).await?;
        Ok(self.checked(target, Some(wanted), SWITCH).await?.control)
    }

    async fn click(&self, target: &Target, deadline: Duration) -> Result<Control, PageError> {
        let until = Instant::now() + deadline;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let located = self.ready(target, left, true).await?;
            let Err(error) = self.element(located.element)?.click().await else { return Ok(located.control) };
            match error.as_inner() {
                // Proof that nothing was clicked: the page moved meanwhile. Look again while there is time.
                WebDriverErrorInner::StaleElementReference(_)
                | WebDriverErrorInner::ElementClickIntercepted(_)
                | WebDriverErrorInner::ElementNotInteractable(_)
                    if Instant::now() < until => {}
                WebDriverErrorInner::ElementClickIntercepted(_) => {
                    return Err(PageError::Covered {
                        looked_for: target.to_string(),
                        by: "another element".to_owned(),
                        at: one_line(&error),
                    });
                }
                _ => return Err(page_error(&error)),
            }
        }
    }

    async fn type_keys(&self, target: &Target, text: &str, deadline: Duration) -> Result<Control, PageError> {
        let located: Located =
            self.asked(json!({ "op": "empty", "target": target }), &target.to_string(), deadline).await?;
        if text.chars().any(|c| u32::from(c) > 0xffff) {
            // chromedriver cannot type beyond the basic plane; the page's own editing command can.
            let request = json!({ "op": "insert", "target": target, "text": text });
            return self.asked(request, &target.to_string(), deadline).await;
        }
        let element = self.element(located.element)?;
        element.send_keys(text).await.map_err(|error| page_error(&error))?;
        Ok(self.checked(target, None, deadline).await?.control)
    }

    async fn upload(
        &self,
        target: &Target,
        files: &[PathBuf],
        spread: Spread,
        deadline: Duration,
    ) -> Result<Control, PageError> {
        if let Some(missing) = files.iter().find(|file| !file.is_file()) {
            return Err(PageError::File(format!(
                "the photo {} is not on this PC; try again",
                missing.display()
            )));
        }
        let request = json!({ "op": "files", "target": target });
        let LocatedAll { elements, .. } = self.asked(request.clone(), &target.to_string(), deadline).await?;
        let paths: Vec<String> = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
        let batches: Vec<String> = match spread {
            Spread::Together => vec![paths.join("\n")],
            Spread::OneEach => paths,
        };
        if elements.len() < batches.len() {
            let message =
                format!("the form takes {} photos, the listing has {}", elements.len(), batches.len());
            return Err(PageError::File(format!("{message}; remove some")));
        }
        for (element, paths) in elements.into_iter().zip(batches) {
            let element = self.element(element)?;
            element.send_keys(paths).await.map_err(|error| page_error(&error))?;
        }
        let after: LocatedAll = self.asked(request, &target.to_string(), deadline).await?;
        Ok(after.control)
    }

    async fn press_once(&self, target: &Target) -> Press {
        let located = match self.ready(target, FENCE_READY, true).await {
            Ok(located) => located,
            Err(error) => return Press::NotSent(error),
        };
        let element = match self.element(located.element) {
            Ok(element) => element,
            Err(error) => return Press::NotSent(error),
        };
        let Err(error) = element.click().await else { return Press::Sent };
        match error.as_inner() {
            // chromedriver answers these before it moves the pointer.
            WebDriverErrorInner::ElementClickIntercepted(_) => Press::NotSent(PageError::Covered {
                looked_for: target.to_string(),
                by: "another element".to_owned(),
                at: one_line(&error),
            }),
            WebDriverErrorInner::StaleElementReference(_)
            | WebDriverErrorInner::NoSuchElement(_)
            | WebDriverErrorInner::ElementNotInteractable(_) => {
                Press::NotSent(PageError::Missing { looked_for: target.to_string(), at: one_line(&error) })
            }
            _ => {
                tracing::warn!(
                    error = one_line(&error),
                    "the answer to the click was lost; its effect is looked up"
                );
                Press::Sent
            }
        }
    }

    async fn extract(&self, extraction: &Extraction) -> Result<Vec<Row>, PageError> {
        let request = json!({ "op": "extract", "rows": extraction.rows, "columns": extraction.columns });
        self.asked(request, "the list", Duration::ZERO).await
    }

    async fn scroll_on(&self, rows: &Target, known: usize, deadline: Duration) -> Result<usize, PageError> {
        self.asked(json!({ "op": "scroll", "rows": rows, "known": known }), "the list", deadline).await
    }

    async fn form_errors(
        &self,
        fields: &[Target],
        also: Option<&Target>,
    ) -> Result<Vec<FormError>, PageError> {
        self.asked(json!({ "op": "errors", "fields": fields, "also": also }), "the form", Duration::ZERO)
            .await
    }

    async fn structured_data(&self) -> Result<Vec<Value>, PageError> {
        self.asked(json!({ "op": "structured" }), "the page", Duration::ZERO).await
    }
}
