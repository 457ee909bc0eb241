//! Typed ids. An id never appears as a bare `Uuid` or `String` in a signature.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {kind} id; copy the id as `tradepost` prints it")]
pub struct InvalidId {
    kind: &'static str,
    given: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The id of what `request` in `workspace` creates: a repeated request names the same thing.
            pub fn of_request(workspace: WorkspaceId, request: &RequestId) -> Self {
                Self(derived($kind, workspace.0, request.as_str()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text.trim())
                    .map(Self)
                    .map_err(|_| InvalidId { kind: $kind, given: text.chars().take(80).collect() })
            }
        }
    )*};
}

ids! {
    /// A tenant.
    WorkspaceId, "a workspace";
    /// A person who signs in.
    UserId, "a user";
    /// What a login begins.
    SessionId, "a session";
    /// A single-use string that makes its holder a member.
    InvitationId, "an invitation";
    /// An API token of a user.
    TokenId, "a token";
    /// One marketplace account of a workspace.
    AccountId, "an account";
    /// Something for sale.
    ListingId, "a listing";
    /// One photo of a workspace; equal content in one workspace has one id.
    PhotoId, "a photo";
    /// One listing on one account.
    PostingId, "a posting";
    /// The record around one irreversible click.
    IntentId, "an intent";
    /// The single-use licence for that click.
    PermitId, "a permit";
    /// A unit of work for one agent.
    JobId, "a job";
    /// A program on a seller's PC.
    AgentId, "an agent";
    /// A single-use invitation for an agent.
    EnrolmentTokenId, "an enrolment token";
    /// One controller process.
    ControllerId, "a controller";
    /// One evidence file of a run.
    EvidenceId, "an evidence";
    /// One start of an agent process.
    BootId, "a boot";
    /// One entry of the audit log.
    AuditEntryId, "an audit entry";
    /// One call, as the gate knows it: in the answer's metadata, the log and the audit log.
    CallId, "a call";
    /// One database, in every copy and every backup of it.
    DatabaseId, "a database";
}

fn derived(kind: &str, scope: Uuid, text: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    hash.update(scope.as_bytes());
    hash.update(text.as_bytes());
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The caller's own name for one mutation, 1 to 64 characters: the same request id gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// Checks the length and the characters (letters, digits, `-`, `_`, `.`).
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fine = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId { kind: "a request", given: text.chars().take(80).collect() })
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The SHA-256 of some content; names blobs (photos, evidence).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// The hash of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// From the 32 bytes of a stored hash.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for ContentHash {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map(|()| Self(bytes))
            .map_err(|_| InvalidId { kind: "a content hash", given: text.chars().take(80).collect() })
    }
}

/// The number of one claim of a job: grows with every claim in the whole system, so that an older run's writes are
/// recognised and change nothing (invariant I1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunLease(pub i64);

/// The number of one agent stream: grows with every stream an agent opens; the newest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionEpoch(pub i64);

/// How often a row has been written; the etag of compare-and-set updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_request_names_the_same_thing_within_one_workspace_only() {
        let (ours, theirs) = (WorkspaceId(Uuid::from_u128(1)), WorkspaceId(Uuid::from_u128(2)));
        let request = RequestId::parse("import-7").expect("valid");
        assert_eq!(ListingId::of_request(ours, &request), ListingId::of_request(ours, &request));
        assert_ne!(ListingId::of_request(ours, &request), ListingId::of_request(theirs, &request));
        assert_ne!(ListingId::of_request(ours, &request).0, AccountId::of_request(ours, &request).0);
        assert!(RequestId::parse("").is_err() && RequestId::parse("a b").is_err());
    }
}
