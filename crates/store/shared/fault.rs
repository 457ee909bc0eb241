//! Errors inside the store: the driver's become the seam's as early as they pass a `?`.

use tradepost_store::{Conflict, Error};

/// An error on its way out; exists because neither `sqlx::Error` nor the seam's error is this crate's own.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) Error);

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self(crate::error::translate(error))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Conflict> for Fault {
    fn from(conflict: Conflict) -> Self {
        Self(Error::Conflict(conflict))
    }
}

impl Fault {
    /// A stored value that makes no sense.
    pub(crate) fn inconsistent(
        column: &str,
        row: impl std::fmt::Display,
        found: impl std::fmt::Debug,
    ) -> Self {
        Self(Error::Inconsistent(format!("{column} of row {row}: {found:?}")))
    }

    /// A fault of ours.
    pub(crate) fn internal(text: &'static str) -> Self {
        Self(Error::Internal(text.into()))
    }
}

/// What a violated unique rule means to callers; none for rules that no caller can break on purpose.
pub(crate) fn conflict_of(constraint: &str) -> Option<Error> {
    Some(match constraint {
        "accounts_name" => Error::Conflict(Conflict::AccountName),
        "users_email" => Error::Conflict(Conflict::UserEmail),
        "intents_one_armed" => Error::Conflict(Conflict::AccountBusy),
        "intents_item" => Error::Conflict(Conflict::ItemTaken),
        "postings_open" => Error::Conflict(Conflict::PostingOpen),
        "jobs_one_login" => Error::Conflict(Conflict::LoginOpen),
        "jobs_one_look" => Error::Conflict(Conflict::LookOpen),
        "agents_key" => Error::Conflict(Conflict::AgentKey),
        "memberships_pk" => Error::Conflict(Conflict::Member),
        // Somebody else was quicker: what the caller decided on is no longer so.
        "intents_generation" | "jobs_one_run" => Error::Stale,
        "intents_permit"
        | "postings_job"
        | "api_tokens_hash"
        | "invitations_hash"
        | "enrolment_tokens_hash" => Error::Conflict(Conflict::Id),
        name if name.ends_with("_pk") => Error::Conflict(Conflict::Id),
        _ => return None,
    })
}
