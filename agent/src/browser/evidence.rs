//! What the browser shows, kept as evidence: screenshot, page snapshot, console.

use std::time::Duration;

use base64::Engine;
use serde::Deserialize;
use serde_json::{Value, json};
use tradepost_recipe::page::PageError;

use super::chrome::Browser;
use super::script::page_error;

/// Above this size a screenshot is taken again as JPEG.
const SCREENSHOT_MAX: usize = 500_000;
/// Longest page snapshot, in characters.
const SNAPSHOT_MAX: usize = 1_000_000;

/// A picture of the viewport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screenshot {
    /// The file.
    pub bytes: Vec<u8>,
    /// `image/png` or `image/jpeg`.
    pub media_type: &'static str,
}

/// The page as it was: scripts removed, styles inlined, inputs as filled, secrets redacted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// Its address.
    pub url: String,
    /// Its title.
    pub title: String,
    /// The document.
    pub html: String,
}

#[derive(Deserialize)]
struct Captured {
    data: String,
}

impl Browser {
    /// Takes a picture of the viewport, at most about 500 kB.
    pub async fn screenshot(&self) -> Result<Screenshot, PageError> {
        let bytes = self.capture(json!({ "format": "png" })).await?;
        if bytes.len() <= SCREENSHOT_MAX {
            return Ok(Screenshot { bytes, media_type: "image/png" });
        }
        let bytes = self.capture(json!({ "format": "jpeg", "quality": 70 })).await?;
        Ok(Screenshot { bytes, media_type: "image/jpeg" })
    }

    async fn capture(&self, how: Value) -> Result<Vec<u8>, PageError> {
        let cdp = thirtyfour::cdp::Cdp::new(std::sync::Arc::clone(&self.session));
        let answer = cdp.send_raw("Page.captureScreenshot", how).await.map_err(|error| page_error(&error))?;
        let captured: Captured = serde_json::from_value(answer)
            .map_err(|error| PageError::Script(format!("unexpected screenshot: {error}")))?;
        base64::engine::general_purpose::STANDARD
            .decode(captured.data)
            .map_err(|error| PageError::Script(format!("unexpected screenshot: {error}")))
    }

    /// Copies the page: scripts removed, styles inlined, inputs as filled, secrets and e-mail addresses redacted.
    pub async fn snapshot(&self) -> Result<Snapshot, PageError> {
        let request = json!({ "op": "snapshot", "limit": SNAPSHOT_MAX });
        let answer = match self.ask(request, "the page", Duration::ZERO).await {
            Ok(answer) => answer,
            Err(error) => return Err(error),
        };
        let snapshot: Snapshot = serde_json::from_value(answer)
            .map_err(|error| PageError::Script(format!("unexpected snapshot: {error}")))?;
        Ok(Snapshot { html: without_addresses(&snapshot.html), ..snapshot })
    }

    /// The present address.
    pub async fn url(&self) -> Result<String, PageError> {
        self.session.current_url().await.map(Into::into).map_err(|error| page_error(&error))
    }

    /// The console's warnings and errors since the last call, one a line.
    pub async fn console(&self) -> Result<Vec<String>, PageError> {
        let entries = self.session.browser_log().await.map_err(|error| page_error(&error))?;
        Ok(entries
            .into_iter()
            .map(|entry| without_addresses(&format!("{:?}: {}", entry.level, entry.message)))
            .collect())
    }
}

/// The text with each e-mail address replaced.
fn without_addresses(text: &str) -> String {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let name = before.len() - before.trim_end_matches(part).len();
        let domain = after.len() - after.trim_start_matches(part).len();
        let host = after[..domain].trim_end_matches('.');
        if name > 0 && host.contains('.') {
            out.push_str(&before[..before.len() - name]);
            out.push_str("[e-mail]");
            rest = &after[host.len()..];
        } else {
            out.push_str(&rest[..=at]);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_redacted_and_other_signs_are_left() {
        let text = "Hello seller1@example.com, see a.b+c@mail.example.org. @media (x) { } 5 @ 3";
        assert_eq!(without_addresses(text), "Hello [e-mail], see [e-mail]. @media (x) { } 5 @ 3");
    }
}
