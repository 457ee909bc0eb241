//! Calling the script in the page, and reading its answers and WebDriver's errors.

use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::error::{WebDriverError, WebDriverErrorInner};
use tokio::time::Instant;
use tradepost_recipe::page::PageError;

use super::chrome::Browser;

/// The script, sent with each call.
const IN_PAGE: &str = include_str!("in_page.js");

impl Browser {
    /// Runs one operation in the page. `deadline` is how long it may wait there.
    ///
    /// A page that is replaced while the script waits is simply asked again: no operation of the script does anything
    /// that cannot be repeated.
    pub(super) async fn ask(
        &self,
        mut request: Value,
        target: &str,
        deadline: Duration,
    ) -> Result<Value, PageError> {
        let until = Instant::now() + deadline;
        let watched = {
            let watched = self.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            watched.as_ref().clone()
        };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            request["deadline"] = json!(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            let answer = self.session.execute_async(IN_PAGE, vec![request.clone(), watched.clone()]).await;
            match answer {
                Ok(answer) => return read_answer(answer.json().clone(), target),
                Err(error) if replaced(&error) && !left.is_zero() => {}
                Err(error) => return Err(page_error(&error)),
            }
        }
    }
}

/// The page went away under the script.
fn replaced(error: &WebDriverError) -> bool {
    match error.as_inner() {
        WebDriverErrorInner::JavascriptError(info) | WebDriverErrorInner::UnknownError(info) => {
            let message = &info.value.message;
            message.contains("document unloaded")
                || message.contains("execution contexts cleared")
                || message.contains("Cannot find context")
                || message.contains("Inspected target navigated")
        }
        // chromedriver gives up on a script at once when its page is left; the real limit is longer than any step.
        WebDriverErrorInner::StaleElementReference(_) | WebDriverErrorInner::ScriptTimeout(_) => true,
        _ => false,
    }
}

/// The script's answer: a value, or why it stopped.
fn read_answer(mut answer: Value, target: &str) -> Result<Value, PageError> {
    if let Some(ok) = answer.get_mut("ok") {
        return Ok(ok.take());
    }
    let looked_for = || target.to_owned();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some(stop) = answer.get("stop") else {
        return Err(PageError::Script(answer.get("broken").map_or_else(|| answer.to_string(), text)));
    };
    let at = || stop.get("at").map(text).unwrap_or_default();
    Err(if let Some(at) = stop.get("missing") {
        PageError::Missing { looked_for: looked_for(), at: text(at) }
    } else if let Some(at) = stop.get("disabled") {
        PageError::Disabled { looked_for: looked_for(), at: text(at) }
    } else if let Some(count) = stop.get("ambiguous") {
        let count = count.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
        PageError::Ambiguous { looked_for: looked_for(), count, at: at() }
    } else if let Some(by) = stop.get("covered") {
        PageError::Covered { looked_for: looked_for(), by: text(by), at: at() }
    } else if let Some(options) = stop.get("no_option").and_then(Value::as_array) {
        PageError::NoOption { available: options.iter().map(text).collect() }
    } else if let Some(interrupted) = stop.get("interrupted") {
        let index = interrupted.get("index").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        PageError::Interrupted {
            index: index.unwrap_or(usize::MAX),
            text: interrupted.get("text").map(text).unwrap_or_default(),
        }
    } else if let Some(said) = stop.get("network") {
        PageError::Network(format!("the site cannot be reached: {}", text(said)))
    } else {
        PageError::Script(stop.to_string())
    })
}

/// A WebDriver error as the engine knows it.
pub(super) fn page_error(error: &WebDriverError) -> PageError {
    let said = one_line(error);
    match error.as_inner() {
        WebDriverErrorInner::UnexpectedAlertOpen(_) => {
            PageError::NotReached { at: format!("a dialog: {said}") }
        }
        WebDriverErrorInner::InvalidArgument(_) => PageError::File(said),
        WebDriverErrorInner::JavascriptError(_) | WebDriverErrorInner::ScriptTimeout(_) => {
            PageError::Script(said)
        }
        WebDriverErrorInner::WebDriverTimeout(_) => {
            PageError::Network("the site did not answer within a minute".to_owned())
        }
        WebDriverErrorInner::UnknownError(_) if said.contains("net::ERR_") => {
            let code = said.split("net::").nth(1).unwrap_or(&said);
            let code =
                code.split(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit()).next();
            PageError::Network(format!("the site cannot be reached ({})", code.unwrap_or_default()))
        }
        WebDriverErrorInner::NoSuchElement(_)
        | WebDriverErrorInner::StaleElementReference(_)
        | WebDriverErrorInner::ElementNotInteractable(_)
        | WebDriverErrorInner::InvalidElementState(_)
        | WebDriverErrorInner::ElementClickIntercepted(_) => {
            PageError::Missing { looked_for: "the element".to_owned(), at: said }
        }
        _ => PageError::Crashed(format!("Chrome or chromedriver is gone ({said}); the job is tried again")),
    }
}

/// The first meaningful line of a WebDriver error, without its stack.
pub(super) fn one_line(error: &WebDriverError) -> String {
    let text = match error.as_inner() {
        WebDriverErrorInner::RequestFailed(said) | WebDriverErrorInner::HttpError(said) => said.clone(),
        _ => error.to_string(),
    };
    let useful = text.split("Stacktrace:").next().unwrap_or_default();
    let words: Vec<&str> = useful
        .lines()
        .map(str::trim)
        .filter(|line| {
            !line.is_empty() && !line.starts_with("Status:") && !line.starts_with("Additional info")
        })
        .collect();
    let joined = words.join(" ");
    joined.chars().take(300).collect()
}
