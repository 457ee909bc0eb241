//! The one error type of use cases, free of transport.
//!
//! To add a reason: a line in the table of [`Reason`], a constructor where it arises, and its page
//! `docs/errors/<REASON>.md`; a test fails until the page exists.

use std::fmt;
use std::time::Duration;

use tradepost_domain::field::{Violation, Violations};
use tradepost_domain::{job, posting, publish};
use tradepost_store::Conflict;

/// What sort of error it is; each transport has its own word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong whatever the state.
    InvalidArgument,
    /// There is no such thing in the workspace.
    NotFound,
    /// It exists already.
    AlreadyExists,
    /// The state does not allow it.
    FailedPrecondition,
    /// It was changed meanwhile: read again, try again.
    Aborted,
    /// The caller is not known.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// Too much at once.
    ResourceExhausted,
    /// It took too long.
    DeadlineExceeded,
    /// Not now.
    Unavailable,
    /// A fault of ours.
    Internal,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident;)*) => {
        /// Why exactly; stable, and each has a page in `docs/errors`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name, e.g. `ACCOUNT_BUSY`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// What sort of error it is.
            pub fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind),* }
            }
        }
    };
}

reasons! {
    /// Fields break rules; all of them are listed.
    InvalidFields = "INVALID_FIELDS", InvalidArgument;
    /// The site cannot take this listing; all of its objections are listed.
    ListingUnfit = "LISTING_UNFIT", InvalidArgument;
    /// The page token is damaged, or of a list with other filters.
    InvalidPageToken = "INVALID_PAGE_TOKEN", InvalidArgument;
    /// The file is no picture that can be used.
    InvalidPhoto = "INVALID_PHOTO", InvalidArgument;
    /// An upload does not keep to its form: metadata first, its size and its hash.
    InvalidUpload = "INVALID_UPLOAD", InvalidArgument;
    /// There are no recipes for the site.
    SiteUnknown = "SITE_UNKNOWN", InvalidArgument;
    /// No such account.
    AccountNotFound = "ACCOUNT_NOT_FOUND", NotFound;
    /// No such listing.
    ListingNotFound = "LISTING_NOT_FOUND", NotFound;
    /// No such photo.
    PhotoNotFound = "PHOTO_NOT_FOUND", NotFound;
    /// No such posting.
    PostingNotFound = "POSTING_NOT_FOUND", NotFound;
    /// The posting has no receipt (yet).
    ReceiptNotFound = "RECEIPT_NOT_FOUND", NotFound;
    /// No such job.
    JobNotFound = "JOB_NOT_FOUND", NotFound;
    /// No such intent of this agent.
    IntentNotFound = "INTENT_NOT_FOUND", NotFound;
    /// No such agent.
    AgentNotFound = "AGENT_NOT_FOUND", NotFound;
    /// No such evidence file.
    EvidenceNotFound = "EVIDENCE_NOT_FOUND", NotFound;
    /// No such user.
    UserNotFound = "USER_NOT_FOUND", NotFound;
    /// The caller is a member of no such workspace.
    WorkspaceNotFound = "WORKSPACE_NOT_FOUND", NotFound;
    /// No such member of the workspace.
    MemberNotFound = "MEMBER_NOT_FOUND", NotFound;
    /// No such open invitation.
    InvitationNotFound = "INVITATION_NOT_FOUND", NotFound;
    /// No such session of the caller that goes on.
    SessionNotFound = "SESSION_NOT_FOUND", NotFound;
    /// No such API token of the caller.
    TokenNotFound = "TOKEN_NOT_FOUND", NotFound;
    /// The invitation's string does not work.
    InvitationInvalid = "INVITATION_INVALID", InvalidArgument;
    /// The string for a new password does not work.
    ResetInvalid = "RESET_INVALID", InvalidArgument;
    /// The user is a member already.
    MemberAlready = "MEMBER_ALREADY", AlreadyExists;
    /// The account's name is taken.
    AccountNameTaken = "ACCOUNT_NAME_TAKEN", AlreadyExists;
    /// The e-mail address is taken.
    UserEmailTaken = "USER_EMAIL_TAKEN", AlreadyExists;
    /// The id belongs to something else.
    IdTaken = "ID_TAKEN", AlreadyExists;
    /// The key belongs to another agent.
    AgentKeyTaken = "AGENT_KEY_TAKEN", AlreadyExists;
    /// The listing is published on the account already, and posting it once more was not asked for.
    PublishedAlready = "PUBLISHED_ALREADY", AlreadyExists;
    /// The listing is being posted on the account, or deleted while it is posted.
    PostingOpen = "POSTING_OPEN", FailedPrecondition;
    /// Events after the reader's place are no longer kept.
    EventsGone = "EVENTS_GONE", FailedPrecondition;
    /// The account is bound to no agent.
    AccountUnbound = "ACCOUNT_UNBOUND", FailedPrecondition;
    /// The agent is revoked.
    AgentRevoked = "AGENT_REVOKED", FailedPrecondition;
    /// The agent is refused until a person approves it.
    AgentNeedsApproval = "AGENT_NEEDS_APPROVAL", FailedPrecondition;
    /// The listing may be published already.
    PastTheFence = "PAST_THE_FENCE", FailedPrecondition;
    /// The posting's state does not allow it.
    WrongState = "WRONG_STATE", FailedPrecondition;
    /// Another publication of the account is unsettled.
    AccountBusy = "ACCOUNT_BUSY", FailedPrecondition;
    /// The account's pacing does not allow the publication yet, or the account is paused.
    Paced = "PACED", FailedPrecondition;
    /// The account has a sign-in that has not ended.
    LoginOpen = "LOGIN_OPEN", FailedPrecondition;
    /// The posting has a look that has not ended.
    LookOpen = "LOOK_OPEN", FailedPrecondition;
    /// The marketplace listing confirms another posting.
    ItemTaken = "ITEM_TAKEN", FailedPrecondition;
    /// What the agent holds differs from what was saved.
    FormChanged = "FORM_CHANGED", FailedPrecondition;
    /// Another permit than the intent's.
    PermitMismatch = "PERMIT_MISMATCH", FailedPrecondition;
    /// The user's state does not allow it.
    UserWrongState = "USER_WRONG_STATE", FailedPrecondition;
    /// The caller is a member of no workspace.
    NoWorkspace = "NO_WORKSPACE", FailedPrecondition;
    /// The workspace would be left without an owner.
    LastOwner = "LAST_OWNER", FailedPrecondition;
    /// The system would be left without an operator.
    LastOperator = "LAST_OPERATOR", FailedPrecondition;
    /// There is a second factor already.
    SecondFactorPresent = "SECOND_FACTOR_PRESENT", FailedPrecondition;
    /// There is no second factor.
    SecondFactorAbsent = "SECOND_FACTOR_ABSENT", FailedPrecondition;
    /// The agent's numbers cannot come from this database.
    AgentAhead = "AGENT_AHEAD", FailedPrecondition;
    /// A try to attach that is older than one that was accepted.
    JoinStale = "JOIN_STALE", Aborted;
    /// The challenge of a return is too old, used, or not ours.
    ReturnChallengeInvalid = "RETURN_CHALLENGE_INVALID", Aborted;
    /// Agent, key or generation of a sealed credential are no longer the present ones.
    CredentialOutdated = "CREDENTIAL_OUTDATED", Aborted;
    /// The run is not the job's present one.
    StaleRun = "STALE_RUN", Aborted;
    /// The etag is old.
    EtagStale = "ETAG_STALE", Aborted;
    /// Others changed the same rows several times in a row.
    Contention = "CONTENTION", Aborted;
    /// No token was given.
    TokenMissing = "TOKEN_MISSING", Unauthenticated;
    /// The token is wrong, expired or revoked.
    TokenInvalid = "TOKEN_INVALID", Unauthenticated;
    /// Address or password is wrong.
    SignInFailed = "SIGN_IN_FAILED", Unauthenticated;
    /// The password was right; a code is needed as well.
    SecondFactorRequired = "SECOND_FACTOR_REQUIRED", Unauthenticated;
    /// The code is wrong or was used.
    CodeInvalid = "CODE_INVALID", Unauthenticated;
    /// The session has ended, or its refresh token was used before.
    SessionEnded = "SESSION_ENDED", Unauthenticated;
    /// The client certificate is none of a known agent.
    AgentUnknown = "AGENT_UNKNOWN", Unauthenticated;
    /// The enrolment string is wrong or its time has passed.
    EnrolmentTokenInvalid = "ENROLMENT_TOKEN_INVALID", Unauthenticated;
    /// The enrolment string was used by another key.
    EnrolmentTokenUsed = "ENROLMENT_TOKEN_USED", PermissionDenied;
    /// The agent's bound key has not signed the key for credentials.
    CredentialKeyUnsigned = "CREDENTIAL_KEY_UNSIGNED", PermissionDenied;
    /// The role does not allow the method.
    RoleInsufficient = "ROLE_INSUFFICIENT", PermissionDenied;
    /// The user is not approved yet, or suspended.
    UserNotActive = "USER_NOT_ACTIVE", PermissionDenied;
    /// The API token's scopes do not name what the method needs.
    ScopeInsufficient = "SCOPE_INSUFFICIENT", PermissionDenied;
    /// A fresh proof of identity is needed.
    StepUpRequired = "STEP_UP_REQUIRED", PermissionDenied;
    /// API tokens cannot do this.
    SessionNeeded = "SESSION_NEEDED", PermissionDenied;
    /// Operators need a second factor first.
    SecondFactorMissing = "SECOND_FACTOR_MISSING", PermissionDenied;
    /// Too many tries from one network, or of one account.
    TooManyTries = "TOO_MANY_TRIES", ResourceExhausted;
    /// Too many calls of one token.
    RateLimited = "RATE_LIMITED", ResourceExhausted;
    /// Too many sign-ins at this moment.
    TooBusy = "TOO_BUSY", ResourceExhausted;
    /// The user is a member of too many workspaces.
    TooManyWorkspaces = "TOO_MANY_WORKSPACES", ResourceExhausted;
    /// Too many uploads at once.
    TooManyUploads = "TOO_MANY_UPLOADS", ResourceExhausted;
    /// The call took longer than its deadline.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// The database cannot be reached.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE", Unavailable;
    /// The controller is shutting down.
    ShuttingDown = "SHUTTING_DOWN", Unavailable;
    /// A fault of ours.
    Internal = "INTERNAL", Internal;
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a use case did not succeed.
#[derive(Debug)]
pub struct Error {
    /// The stable reason.
    pub reason: Reason,
    /// One sentence for people: what is wrong and the mend.
    pub message: String,
    /// Every field that breaks a rule.
    pub fields: Vec<Violation>,
    /// A retry may help after this delay.
    pub retry_after: Option<Duration>,
    /// The cause; logged, never sent.
    pub source: Option<Source>,
}

/// What use cases return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

// === impl Error ===

impl Error {
    /// An error with its sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), fields: Vec::new(), retry_after: None, source: None }
    }

    /// What sort of error it is.
    pub fn kind(&self) -> Kind {
        self.reason.kind()
    }

    /// The same, saying when a retry may help.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The same with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same, about a part of the request: its place goes before the fields, or before the sentence.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        if self.fields.is_empty() {
            self.message = format!("{place}: {}", self.message);
        } else {
            let before = Violations(self.fields.clone()).to_string();
            for violation in &mut self.fields {
                violation.field = format!("{place}.{}", violation.field);
            }
            let after = Violations(self.fields.clone()).to_string();
            self.message = self.message.replace(&before, &after);
        }
        self
    }

    /// All violations of a request, under `reason`.
    pub fn violations(reason: Reason, Violations(fields): Violations) -> Self {
        let message = Violations(fields.clone()).to_string();
        Self { fields, ..Self::new(reason, message) }
    }

    /// One field that breaks a rule.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        let mut violations = Violations::new();
        violations.push(field, description);
        violations.into()
    }

    /// There is no such thing.
    pub fn not_found(reason: Reason, what: &str, id: impl fmt::Display) -> Self {
        Self::new(reason, format!("there is no {what} {id} in this workspace"))
    }

    /// A fault of ours: logged with its cause, answered with a trace id.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::new(Reason::Internal, "an internal error happened").because(source)
    }

    /// The run is not the job's present one.
    pub fn stale_run() -> Self {
        Self::new(Reason::StaleRun, "the run is not the job's present one; end it without a click")
    }

    /// The rows were changed by others again and again.
    pub fn contention() -> Self {
        Self::new(Reason::Contention, "others changed the same thing at the same time; try again")
            .retry_after(Duration::from_millis(200))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.reason.name())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::violations(Reason::InvalidFields, violations)
    }
}

impl From<tradepost_store::Error> for Error {
    /// `Stale` means contention here: use cases for which it means something else look at it themselves.
    fn from(error: tradepost_store::Error) -> Self {
        match error {
            tradepost_store::Error::Conflict(conflict) => conflicting(conflict),
            tradepost_store::Error::Stale => Self::contention(),
            tradepost_store::Error::Unavailable(_) => {
                Self::new(Reason::DatabaseUnavailable, "the database cannot be reached now; try again")
                    .retry_after(Duration::from_secs(1))
                    .because(error)
            }
            tradepost_store::Error::Inconsistent(_)
            | tradepost_store::Error::Setup(_)
            | tradepost_store::Error::Internal(_) => Self::internal(error),
        }
    }
}

fn conflicting(conflict: Conflict) -> Error {
    let (reason, message) = match conflict {
        // Use cases of sealed values seal anew; commands of keys tell what is in use.
        Conflict::KeySuperseded | Conflict::KeyInUse => return Error::contention(),
        Conflict::AccountName => {
            (Reason::AccountNameTaken, "another account of this workspace has this name; choose another one")
        }
        Conflict::UserEmail => (Reason::UserEmailTaken, "another user has this e-mail address"),
        Conflict::AccountBusy => (
            Reason::AccountBusy,
            "another publication of this account is not settled yet; wait until it is found out what became of it",
        ),
        Conflict::ItemTaken => (Reason::ItemTaken, "this marketplace listing belongs to another posting"),
        Conflict::PostingOpen => (
            Reason::PostingOpen,
            "this listing is being posted already; wait for the posting's end or cancel it",
        ),
        Conflict::LoginOpen => (
            Reason::LoginOpen,
            "the account has a sign-in that has not ended; finish that one, or see `tradepost jobs list --account`",
        ),
        Conflict::LookOpen => {
            (Reason::LookOpen, "a look for this posting is open already; it goes on by itself")
        }
        Conflict::AgentKey => (Reason::AgentKeyTaken, "another agent has this key; make a new key pair"),
        Conflict::Member => (Reason::MemberAlready, "the user is a member of this workspace already"),
        Conflict::LastOwner => (
            Reason::LastOwner,
            "the workspace would be left without an active owner; make another member an owner first",
        ),
        Conflict::LastOperator => (
            Reason::LastOperator,
            "the system would be left without an active operator; make another user an operator first",
        ),
        Conflict::Id => (Reason::IdTaken, "the request id was used for something else; choose another one"),
    };
    let error = Error::new(reason, message);
    if conflict == Conflict::AccountBusy { error.retry_after(Duration::from_secs(30)) } else { error }
}

impl From<job::Rejected> for Error {
    fn from(rejected: job::Rejected) -> Self {
        match rejected {
            job::Rejected::StaleLease => Self::stale_run(),
            job::Rejected::State(_) | job::Rejected::NotYet => {
                Self::new(Reason::WrongState, format!("not possible now: {rejected}"))
            }
        }
    }
}

impl From<publish::Rejected> for Error {
    fn from(rejected: publish::Rejected) -> Self {
        let reason = match rejected {
            publish::Rejected::State(_) | publish::Rejected::NotYet => Reason::WrongState,
            publish::Rejected::OtherPermit => Reason::PermitMismatch,
            publish::Rejected::Changed => Reason::FormChanged,
        };
        Self::new(reason, rejected.to_string())
    }
}

impl From<posting::Rejected> for Error {
    fn from(rejected: posting::Rejected) -> Self {
        match rejected {
            posting::Rejected::Job(rejected) => rejected.into(),
            posting::Rejected::Intent(rejected) => rejected.into(),
            posting::Rejected::PastTheFence | posting::Rejected::Unresolved => {
                Self::new(Reason::PastTheFence, rejected.to_string())
            }
            posting::Rejected::BeingCancelled => Self::stale_run(),
            posting::Rejected::Unproven => Self::new(Reason::WrongState, rejected.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_page() {
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
        let missing: Vec<_> = Reason::ALL
            .iter()
            .map(|reason| format!("{}.md", reason.name()))
            .filter(|page| {
                let text = std::fs::read_to_string(pages.join(page)).unwrap_or_default();
                !(text.contains("## What it means") && text.contains("## What to do"))
            })
            .collect();
        assert!(missing.is_empty(), "pages missing or without their two sections: {missing:?}");
    }

    #[test]
    fn every_page_has_its_reason() {
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
        for entry in std::fs::read_dir(pages).expect("the folder exists") {
            let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
            let reason = name.trim_end_matches(".md");
            assert!(
                name == "README.md" || Reason::ALL.iter().any(|known| known.name() == reason),
                "{name} describes no reason"
            );
        }
    }
}
