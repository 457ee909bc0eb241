//! The one conversion of errors to what clients receive.
//!
//! Always ErrorInfo with the stable reason; BadRequest with every field; RetryInfo where a retry helps. Faults of ours are
//! logged here, once, with their whole cause, and answered with the trace id alone.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use tradepost_domain::field::Violation;
use tradepost_runtime::telemetry;

use crate::service::Error;
use crate::service::error::Kind;

/// The domain of every reason.
pub const DOMAIN: &str = "tradepost";

/// The status that a client receives for `error`.
pub fn from(error: Error) -> Status {
    let code = code(error.kind());
    let mut metadata = HashMap::new();
    let message = if error.kind() == Kind::Internal {
        let trace = telemetry::current_trace_id().unwrap_or_else(|| "none".to_owned());
        tracing::error!(reason = error.reason.name(), cause = chain(&error), trace, "an internal error");
        let said = format!("an internal error happened; tell the operator the trace id {trace}");
        metadata.insert("trace_id".to_owned(), trace);
        said
    } else {
        if error.kind() == Kind::Unavailable {
            tracing::warn!(reason = error.reason.name(), cause = chain(&error), "a call could not be served");
        }
        error.message
    };
    let mut details = ErrorDetails::with_error_info(error.reason.name(), DOMAIN, metadata);
    if !error.fields.is_empty() {
        let fields: Vec<FieldViolation> = error
            .fields
            .into_iter()
            .map(|Violation { field, description }| FieldViolation::new(field, description))
            .collect();
        details.set_bad_request(fields);
    }
    if let Some(delay) = error.retry_after {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code, message, details)
}

fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::Aborted => Code::Aborted,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Unavailable => Code::Unavailable,
        Kind::Internal => Code::Internal,
    }
}

/// The error and its causes in one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::service::Reason;

    #[test]
    fn details_carry_reason_fields_and_delay() {
        let mut violations = tradepost_domain::field::Violations::new();
        violations.push("title", "is missing");
        violations.push("price", "is missing");
        let status = from(Error::from(violations).retry_after(Duration::from_secs(2)));
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some("INVALID_FIELDS"));
        assert_eq!(details.bad_request().map(|bad| bad.field_violations.len()), Some(2));
        assert_eq!(details.retry_info().and_then(|info| info.retry_delay), Some(Duration::from_secs(2)));
    }

    #[test]
    fn internal_causes_are_not_sent() {
        let status = from(Error::internal("password=hunter2"));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("hunter2"));
        assert!(
            status
                .get_error_details()
                .error_info()
                .is_some_and(|info| info.reason == Reason::Internal.name())
        );
    }
}
