//! From what the page answers to a failure that a seller can act on.

use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::pacing::CoolDown;

use super::Session;
use crate::locate::{Condition, Target, TextMatch};
use crate::page::{FormError, PageError};
use crate::template::Unset;
use crate::until::until;

impl Session {
    /// The failure for a page's answer in `step`.
    pub(super) fn failure(&self, step: &str, field: Option<&str>, error: PageError) -> Failure {
        let title = &self.site.pack.title;
        let (class, message) = match error {
            PageError::Interrupted { index, text } => return self.interrupted(step, index, &text),
            PageError::Missing { .. } | PageError::Ambiguous { .. } | PageError::Disabled { .. } => (
                FailureClass::ElementMissing,
                format!("{error}; {title} may look different now, see the screenshot and update the recipe"),
            ),
            PageError::Covered { .. } => (
                FailureClass::ElementMissing,
                format!("{error}; close it in the browser, then retry the job"),
            ),
            PageError::NoOption { .. } => {
                (FailureClass::ListingRejected, format!("{title}: {error}; change the listing"))
            }
            PageError::NotReached { .. } => (
                FailureClass::PageUnknown,
                format!("{error}; see the screenshot: {title} may ask for something, or look different now"),
            ),
            PageError::File(_) => (FailureClass::UploadFailed, error.to_string()),
            PageError::Network(_) => (
                FailureClass::Network,
                format!("{error}; check that {} opens in a browser on the agent's PC", self.input.site_url),
            ),
            PageError::Crashed(_) => (FailureClass::BrowserCrashed, error.to_string()),
            PageError::Script(_) => (FailureClass::Internal, format!("a script in the page failed: {error}")),
        };
        with_field(Failure::new(class, step, message), field)
    }

    fn interrupted(&self, step: &str, index: usize, text: &str) -> Failure {
        match self.site.pack.interruptions.get(index) {
            Some(interruption) => {
                let failure = Failure::new(interruption.class, step, interruption.message.clone());
                until_said(failure, text)
            }
            None => {
                Failure::new(FailureClass::PageUnknown, step, format!("the page was interrupted: {text}"))
            }
        }
    }

    /// The failure for a form that complains: all complaints in one line, the first field named.
    pub(super) fn complaint(&self, step: &str, errors: &[FormError]) -> Option<Failure> {
        if errors.is_empty() {
            return None;
        }
        if self.signing_in {
            return Some(self.sign_in_complaint(step, errors));
        }
        let field_of = |error: &FormError| {
            error.field.and_then(|index| self.open_fields.get(index)).map(|filled| filled.field.clone())
        };
        let texts: Vec<String> = errors
            .iter()
            .map(|error| {
                let subject = field_of(error).unwrap_or_else(|| error.label.clone());
                if subject.is_empty() { error.text.clone() } else { format!("{subject}: {}", error.text) }
            })
            .collect();
        let message = format!(
            "{} refuses the listing: {}; change the listing",
            self.site.pack.title,
            texts.join(" · ")
        );
        let failure = Failure::new(FailureClass::ListingRejected, step, message);
        Some(with_field(failure, errors.iter().find_map(field_of).as_deref()))
    }

    pub(super) fn resolve_target(
        &self,
        step: &str,
        field: Option<&str>,
        target: &Target,
    ) -> Result<Target, Failure> {
        target.resolve(&self.values).map_err(|missing| unset(step, field, &missing))
    }

    pub(super) fn resolve_text(
        &self,
        step: &str,
        field: Option<&str>,
        text: &TextMatch,
    ) -> Result<TextMatch, Failure> {
        text.resolve(&self.values).map_err(|missing| unset(step, field, &missing))
    }

    pub(super) fn resolve_condition(&self, step: &str, condition: &Condition) -> Result<Condition, Failure> {
        condition.resolve(&self.values).map_err(|missing| unset(step, None, &missing))
    }
}

/// The failure with the date or the delay that the site's text names, for classes that make an account wait.
pub(super) fn until_said(failure: Failure, text: &str) -> Failure {
    if CoolDown::of(failure.class).is_some() { failure.until(until(text)) } else { failure }
}

/// The failure for a variable without a value.
pub(super) fn unset(step: &str, field: Option<&str>, missing: &Unset) -> Failure {
    let message = format!("{missing}; give the listing that value, or guard the recipe's step with only_if");
    with_field(Failure::new(FailureClass::Internal, step, message), field)
}

/// The failure for a value that the form did not keep.
pub(super) fn not_kept(step: &str, field: &str, wanted: &str, shown: &str) -> Failure {
    let short = |text: &str| text.chars().take(80).collect::<String>();
    Failure::new(
        FailureClass::ValueNotCommitted,
        step,
        format!(
            "the site shows {:?} where {:?} was put in; change the listing's {field} to what the site takes",
            short(shown),
            short(wanted)
        ),
    )
    .in_field(field)
}

fn with_field(failure: Failure, field: Option<&str>) -> Failure {
    match field {
        Some(field) => failure.in_field(field),
        None => failure,
    }
}
