//! What a failed call means to a person.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::error::{Error, Exit};

/// Where calls go, for messages.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) server: String,
    pub(super) ca_file: PathBuf,
    pub(super) context: Option<String>,
}

/// The error of a call that was answered with `status`, or not at all.
pub(super) fn error(origin: &Origin, status: &Status) -> Error {
    if status.source().is_some() && status.code() != Code::DeadlineExceeded {
        return lost(origin, status);
    }
    let details = status.get_error_details();
    let message = if status.message().is_empty() {
        format!("the controller answered: {}", status.code().description())
    } else {
        one_line(status.message())
    };
    let mut error = match status.code() {
        Code::Unauthenticated => {
            denied(origin, details.error_info().map_or("", |info| &info.reason), &message)
        }
        code => Error::new(exit(code), message),
    };
    if let Some(bad_request) = details.bad_request() {
        let told: Vec<_> = bad_request
            .field_violations
            .iter()
            .map(|violation| (violation.field.as_str(), one_line(&violation.description)))
            .collect();
        error.message = without_violations(&error.message, &told);
        if told.len() > 1 || !error.message.contains(told.first().map_or("", |(_, description)| description))
        {
            error = error.details(told.iter().map(|(field, description)| {
                let field = field.strip_prefix("content.").unwrap_or(field).replace("photo_ids", "photos");
                format!("{field}: {description}")
            }));
        }
    }
    if let Some(info) = details.error_info() {
        error.hints.extend(info.metadata.get("hint").map(|hint| one_line(hint)));
        if error.hints.is_empty() {
            error.hints.extend(hint(&info.reason).map(str::to_owned));
        }
        if status.code() == Code::Internal {
            error.hints.extend(info.metadata.get("trace_id").map(|id| format!("trace id for support: {id}")));
        }
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let delay = Duration::from_secs(delay.as_secs().max(1));
        error = error.hint(format!("try again in {}", humantime::format_duration(delay)));
    }
    error
}

/// The error of a connection that could not be made.
pub(super) fn connect_error(origin: &Origin, error: &(dyn StdError + 'static)) -> Error {
    let server = &origin.server;
    if let Some(tls) = find_tls(error) {
        return tls_error(origin, tls);
    }
    let unreachable = |reason: String| {
        Error::new(Exit::Unreachable, format!("cannot reach the controller at {server}: {reason}"))
    };
    let address = "check the address (--server, or `tradepost context show`)";
    match find_io(error).map(|error| (error.kind(), error)) {
        Some((io::ErrorKind::ConnectionRefused, _)) => unreachable("connection refused".to_owned())
            .hint(format!("is it running? start it, or {address}")),
        Some((io::ErrorKind::TimedOut, _)) => {
            unreachable("no answer".to_owned()).hint(format!("check the network, and {address}"))
        }
        Some((
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::InvalidData,
            _,
        )) => unreachable("what answers there does not speak TLS".to_owned()).hint(address),
        Some((_, error)) => unreachable(one_line(&error.to_string())).hint(address),
        None => unreachable(one_line(&error.to_string())).hint(address),
    }
}

/// The error of a call that took too long.
pub(super) fn no_answer(origin: &Origin, timeout: Duration) -> Error {
    let timeout = humantime::format_duration(timeout);
    Error::new(Exit::Unreachable, format!("no answer from {} within {timeout}", origin.server))
        .hint("try again, or allow more time with --timeout")
}

/// Whether the controller may come back by itself.
pub(super) fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::ResourceExhausted => true,
        // A connection that breaks in the middle of an answer has other codes, too.
        Code::Unknown | Code::Internal | Code::Cancelled => status.source().is_some(),
        _ => false,
    }
}

fn lost(origin: &Origin, status: &Status) -> Error {
    let source: Option<&(dyn StdError + 'static)> = status.source();
    match source {
        Some(source) if find_io(source).is_some() || find_tls(source).is_some() => {
            connect_error(origin, source)
        }
        _ => Error::new(Exit::Unreachable, format!("lost the connection to {}", origin.server))
            .hint("try again; is the controller running?"),
    }
}

/// The stable reason of a refusal.
pub(super) fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

fn denied(origin: &Origin, reason: &str, message: &str) -> Error {
    match reason {
        "SIGN_IN_FAILED" | "SECOND_FACTOR_REQUIRED" | "CODE_INVALID" => {
            return Error::new(Exit::Denied, message);
        }
        "SESSION_ENDED" => {
            let again = origin.context.as_ref().map_or(String::new(), |name| format!(" --context {name}"));
            return Error::new(Exit::Denied, "the session has ended")
                .hint(format!("log in again: tradepost login --email ADDRESS{again}"));
        }
        _ => {}
    }
    let error = Error::new(Exit::Denied, format!("the API token was refused: {message}"));
    match &origin.context {
        Some(name) => error.hint(format!("log in again: tradepost login --context {name}")),
        None => error.hint("check the token; `controller admin create` makes one"),
    }
}

fn exit(code: Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::NotFound => Exit::NotFound,
        Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
        Code::Unavailable | Code::DeadlineExceeded => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

/// The mend in this program's words, where the controller gives none.
fn hint(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "PAST_THE_FENCE" => "`tradepost postings watch POSTING` shows what becomes of it",
        "ETAG_STALE" => "someone else changed it meanwhile: look at it, then repeat the command",
        "ACCOUNT_UNBOUND" => "bind the account: tradepost accounts bind ACCOUNT AGENT",
        "POSTING_OPEN" => "`tradepost status` shows the postings that are under way",
        "STEP_UP_REQUIRED" => "`tradepost step-up` asks for it",
        "SECOND_FACTOR_MISSING" | "SECOND_FACTOR_ABSENT" => "`tradepost second-factor set-up` sets one up",
        "SECOND_FACTOR_PRESENT" => "`tradepost second-factor remove` removes it",
        "SESSION_NEEDED" => "sign in: tradepost login --email ADDRESS",
        "USER_EMAIL_TAKEN" => "once signed in: tradepost workspaces join STRING",
        "NO_WORKSPACE" => {
            "`tradepost workspaces join STRING` accepts an invitation, `tradepost workspaces create NAME` makes one"
        }
        "LAST_OWNER" => "make somebody else an owner first: tradepost members role MEMBER owner",
        "WRONG_STATE" => "`tradepost postings show POSTING` tells how it stands",
        _ => return None,
    })
}

fn tls_error(origin: &Origin, error: &rustls::Error) -> Error {
    use rustls::CertificateError as Certificate;
    let server = &origin.server;
    let ca_file = origin.ca_file.display();
    let unreachable = |text: String| Error::new(Exit::Unreachable, text);
    match error {
        rustls::Error::InvalidCertificate(
            Certificate::UnknownIssuer | Certificate::BadSignature | Certificate::InvalidPurpose,
        ) => {
            unreachable(format!("the certificate of {server} does not come from the authority in {ca_file}"))
                .hint("use the authority of that controller (--ca-file), or check the address")
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => unreachable(format!("the certificate of {server} is for another name"))
            .hint("use a host name or address that the controller's certificate names"),
        rustls::Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            unreachable(format!("the certificate of {server} has expired"))
                .hint("restart the controller to renew it, and check this computer's clock")
        }
        rustls::Error::InvalidMessage(_) => unreachable(format!(
            "cannot reach the controller at {server}: what answers there does not speak TLS"
        ))
        .hint("check the address (--server, or `tradepost context show`)"),
        other => unreachable(format!("no secure connection to {server}: {other}"))
            .hint("check the address and the authority (--ca-file)"),
    }
}

fn find_io<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    chain(error).find_map(|error| error.downcast_ref::<io::Error>())
}

fn find_tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    chain(error).find_map(|error| {
        error.downcast_ref::<rustls::Error>().or_else(|| {
            // An io::Error leaves what it wraps out of its chain of sources.
            error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()
        })
    })
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&(dyn StdError + 'static)| (*error).source())
}

/// The summary alone, where the controller's message repeats several violations that follow as lines of their own.
fn without_violations(message: &str, violations: &[(&str, String)]) -> String {
    let repeats = violations.len() > 1 && violations.iter().all(|(_, told)| message.contains(told.as_str()));
    let (true, Some((field, description))) = (repeats, violations.first()) else { return message.to_owned() };
    let start =
        message.find(&format!("{field}: {description}")).or_else(|| message.find(description.as_str()));
    let summary = message[..start.unwrap_or(0)].trim_end_matches([' ', ':', ';']);
    if summary.is_empty() { format!("{} fields break a rule", violations.len()) } else { summary.to_owned() }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_told_once() {
        let several = [("site", "is no site".to_owned()), ("url", "must start with https://".to_owned())];
        let told = |message: &str| without_violations(message, &several);
        assert_eq!(told("site: is no site; url: must start with https://"), "2 fields break a rule");
        assert_eq!(told("the shop: site: is no site; url: must start with https://"), "the shop");
        assert_eq!(told("the account breaks 2 rules"), "the account breaks 2 rules");
    }
}
