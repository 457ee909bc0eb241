//! What can go wrong on the agent, as data: one class per kind of failure, with who must act and how to retry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pacing::Until;

/// Why a step of a run did not succeed. The names are stable: they are stored, shown and documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The site refused the listing's content; see the field and the site's own words.
    ListingRejected,
    /// The site's posting limit for this account is reached.
    LimitReached,
    /// The account is blocked for a while.
    TemporarilyBlocked,
    /// The account is locked or disabled.
    AccountLocked,
    /// Nobody is signed in to the site in this account's profile.
    NeedsLogin,
    /// The site asks for a second factor.
    NeedsSecondFactor,
    /// The site asks for a consent that only the account's owner may give.
    NeedsConsent,
    /// The site shows a CAPTCHA; a person completes it.
    NeedsCaptcha,
    /// The site asks to confirm the account's identity.
    Checkpoint,
    /// Another account is signed in than the one this job is for.
    WrongAccount,
    /// The page is none that the recipe knows.
    PageUnknown,
    /// A step's element is not on the page.
    ElementMissing,
    /// A field did not keep the value that was put into it.
    ValueNotCommitted,
    /// A photo was not taken by the site.
    UploadFailed,
    /// The site could not be reached or answered with an error.
    Network,
    /// Chrome or chromedriver ended or stopped answering.
    BrowserCrashed,
    /// Chrome or chromedriver is absent, or their versions do not fit.
    DriverMismatch,
    /// The click was sent and its effect is not known.
    Uncertain,
    /// The step did not end within its deadline.
    TimedOut,
    /// The job was cancelled.
    Cancelled,
    /// A fault of Tradepost itself.
    Internal,
    /// The account's own pacing does not allow the publication yet; nothing is wrong.
    NotYet,
}

/// Who has to do something before a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Try again by itself, not before this much time has passed.
    Retry {
        /// Least delay; the retry policy's own delay counts when longer.
        cool_down: Duration,
    },
    /// A person has to act first; then the job is resumed.
    Person,
    /// Trying again cannot help.
    GiveUp,
    /// Find out what happened first (reconciliation).
    Reconcile,
}

/// One failure of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind.
    pub class: FailureClass,
    /// The recipe step or phase it happened in.
    pub step: String,
    /// The listing's field concerned, where there is one.
    pub field: Option<String>,
    /// What happened and what to do next, in plain words.
    pub message: String,
    /// Until when the site says to wait, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 22] = [
        Self::ListingRejected,
        Self::LimitReached,
        Self::TemporarilyBlocked,
        Self::AccountLocked,
        Self::NeedsLogin,
        Self::NeedsSecondFactor,
        Self::NeedsConsent,
        Self::NeedsCaptcha,
        Self::Checkpoint,
        Self::WrongAccount,
        Self::PageUnknown,
        Self::ElementMissing,
        Self::ValueNotCommitted,
        Self::UploadFailed,
        Self::Network,
        Self::BrowserCrashed,
        Self::DriverMismatch,
        Self::Uncertain,
        Self::TimedOut,
        Self::Cancelled,
        Self::Internal,
        Self::NotYet,
    ];

    /// The stable name, e.g. `needs_login`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ListingRejected => "listing_rejected",
            Self::LimitReached => "limit_reached",
            Self::TemporarilyBlocked => "temporarily_blocked",
            Self::AccountLocked => "account_locked",
            Self::NeedsLogin => "needs_login",
            Self::NeedsSecondFactor => "needs_second_factor",
            Self::NeedsConsent => "needs_consent",
            Self::NeedsCaptcha => "needs_captcha",
            Self::Checkpoint => "checkpoint",
            Self::WrongAccount => "wrong_account",
            Self::PageUnknown => "page_unknown",
            Self::ElementMissing => "element_missing",
            Self::ValueNotCommitted => "value_not_committed",
            Self::UploadFailed => "upload_failed",
            Self::Network => "network",
            Self::BrowserCrashed => "browser_crashed",
            Self::DriverMismatch => "driver_mismatch",
            Self::Uncertain => "uncertain",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
            Self::NotYet => "not_yet",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Who must act. Cool-downs follow the field's experience (hours for limits, a week for locked accounts).
    pub fn remedy(self) -> Remedy {
        const HOUR: Duration = Duration::from_secs(3600);
        match self {
            Self::Network
            | Self::BrowserCrashed
            | Self::TimedOut
            | Self::UploadFailed
            | Self::ElementMissing
            | Self::ValueNotCommitted
            | Self::PageUnknown
            | Self::Internal
            | Self::NotYet => Remedy::Retry { cool_down: Duration::ZERO },
            Self::LimitReached => Remedy::Retry { cool_down: HOUR },
            Self::TemporarilyBlocked => Remedy::Retry { cool_down: HOUR.saturating_mul(24) },
            Self::AccountLocked
            | Self::NeedsLogin
            | Self::NeedsSecondFactor
            | Self::NeedsConsent
            | Self::NeedsCaptcha
            | Self::Checkpoint
            | Self::WrongAccount
            | Self::DriverMismatch => Remedy::Person,
            Self::ListingRejected | Self::Cancelled => Remedy::GiveUp,
            Self::Uncertain => Remedy::Reconcile,
        }
    }
}

impl Failure {
    /// A failure without a field.
    pub fn new(class: FailureClass, step: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, step: step.into(), field: None, message: message.into(), until: None }
    }

    /// The same failure, with the site's word on when to come back.
    #[must_use]
    pub fn until(mut self, until: Option<Until>) -> Self {
        self.until = until;
        self
    }

    /// The same failure, naming the listing's field.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, in {})", self.message, self.class.name(), self.step)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::from_name(class.name()), Some(class));
        }
    }
}
