//! Who may call what. A method without a row is denied; a test walks the descriptors and fails on one.

use std::collections::HashSet;
use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorSet;
use tradepost_store::Role;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without a token.
    Anyone,
    /// Whoever has this role in the token's workspace, or a higher one.
    Role(Role),
    /// An agent with its certificate, on the agents listener.
    Agent,
}

use Access::{Agent, Anyone};

const VIEWER: Access = Access::Role(Role::Viewer);
const EDITOR: Access = Access::Role(Role::Editor);
const OWNER: Access = Access::Role(Role::Owner);
const OPERATOR: Access = Access::Role(Role::Operator);

/// The table, by the method's path.
pub const TABLE: &[(&str, Access)] = &[
    ("/grpc.health.v1.Health/Check", Anyone),
    ("/grpc.health.v1.Health/List", Anyone),
    ("/grpc.health.v1.Health/Watch", Anyone),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", OPERATOR),
    ("/tradepost.v1.AccountService/BindAccount", OWNER),
    ("/tradepost.v1.AccountService/CreateAccount", OWNER),
    ("/tradepost.v1.AccountService/GetAccount", VIEWER),
    ("/tradepost.v1.AccountService/GetPacing", VIEWER),
    ("/tradepost.v1.AccountService/ListAccounts", VIEWER),
    ("/tradepost.v1.AccountService/LoginAccount", EDITOR),
    ("/tradepost.v1.AccountService/PauseAccount", EDITOR),
    ("/tradepost.v1.AccountService/ResumeAccount", EDITOR),
    ("/tradepost.v1.AccountService/UpdateAccount", OWNER),
    ("/tradepost.v1.AccountService/UpdatePacing", OWNER),
    ("/tradepost.v1.AgentIdentityService/ProveCertificate", Agent),
    ("/tradepost.v1.AgentIdentityService/RenewCertificate", Agent),
    ("/tradepost.v1.AgentService/ApproveAgent", OWNER),
    ("/tradepost.v1.AgentService/CreateEnrolmentToken", OWNER),
    ("/tradepost.v1.AgentService/GetAgent", VIEWER),
    ("/tradepost.v1.AgentService/ListAgents", VIEWER),
    ("/tradepost.v1.AgentService/RevokeAgent", OWNER),
    ("/tradepost.v1.AgentSessionService/FetchPhoto", Agent),
    ("/tradepost.v1.AgentSessionService/Open", Agent),
    ("/tradepost.v1.AuthService/WhoAmI", VIEWER),
    ("/tradepost.v1.EnrolmentService/BeginReturn", Anyone),
    ("/tradepost.v1.EnrolmentService/Enrol", Anyone),
    ("/tradepost.v1.EnrolmentService/FinishReturn", Anyone),
    ("/tradepost.v1.EventService/ListEvents", VIEWER),
    ("/tradepost.v1.EventService/StreamEvents", VIEWER),
    ("/tradepost.v1.EvidenceService/UploadEvidence", Agent),
    ("/tradepost.v1.JobService/DiscardJob", EDITOR),
    ("/tradepost.v1.JobService/DownloadEvidence", VIEWER),
    ("/tradepost.v1.JobService/GetJob", VIEWER),
    ("/tradepost.v1.JobService/ListEvidence", VIEWER),
    ("/tradepost.v1.JobService/ListJobs", VIEWER),
    ("/tradepost.v1.JobService/ListSteps", VIEWER),
    ("/tradepost.v1.JobService/RetryJob", EDITOR),
    ("/tradepost.v1.JobService/TreatDeadLetters", EDITOR),
    ("/tradepost.v1.ListingService/CreateListing", EDITOR),
    ("/tradepost.v1.ListingService/DeleteListing", EDITOR),
    ("/tradepost.v1.ListingService/GetListing", VIEWER),
    ("/tradepost.v1.ListingService/ListListings", VIEWER),
    ("/tradepost.v1.ListingService/UpdateListing", EDITOR),
    ("/tradepost.v1.PhotoService/DownloadPhoto", VIEWER),
    ("/tradepost.v1.PhotoService/GetPhoto", VIEWER),
    ("/tradepost.v1.PhotoService/UploadPhoto", EDITOR),
    ("/tradepost.v1.PostingService/BatchCreatePostings", EDITOR),
    ("/tradepost.v1.PostingService/CancelPosting", EDITOR),
    ("/tradepost.v1.PostingService/CreatePosting", EDITOR),
    ("/tradepost.v1.PostingService/GetPosting", VIEWER),
    ("/tradepost.v1.PostingService/GetReceipt", VIEWER),
    ("/tradepost.v1.PostingService/GetWait", VIEWER),
    ("/tradepost.v1.PostingService/ListLooks", VIEWER),
    ("/tradepost.v1.PostingService/ListPostings", VIEWER),
    ("/tradepost.v1.PostingService/PrioritizePosting", EDITOR),
    ("/tradepost.v1.PostingService/RequestLook", EDITOR),
    ("/tradepost.v1.PostingService/ResolvePosting", EDITOR),
    ("/tradepost.v1.PostingService/RetryPosting", EDITOR),
    ("/tradepost.v1.PublishPermitService/AcquirePublishPermit", Agent),
    ("/tradepost.v1.PublishPermitService/RecordPrepared", Agent),
    ("/tradepost.v1.PublishPermitService/SettlePublication", Agent),
];

/// The row of a path: its name (for metrics, which must not grow with what strangers ask for) and its access.
pub fn row(path: &str) -> Option<(&'static str, Access)> {
    let at = TABLE.binary_search_by(|(known, _)| (*known).cmp(path)).ok()?;
    TABLE.get(at).copied()
}

/// Whether a call may last: streams have no deadline of their own.
pub fn is_stream(path: &str) -> bool {
    static STREAMS: LazyLock<HashSet<String>> =
        LazyLock::new(|| walk().into_iter().filter(|(_, stream)| *stream).map(|(path, _)| path).collect());
    STREAMS.contains(path) || path.ends_with("/Watch") || path.ends_with("/ServerReflectionInfo")
}

/// Every method of our own services: its path, and whether a side streams.
fn walk() -> Vec<(String, bool)> {
    let set = FileDescriptorSet::decode(tradepost_proto::DESCRIPTORS).unwrap_or_default();
    let mut methods = Vec::new();
    for file in set.file {
        let package = file.package().to_owned();
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{package}.{}/{}", service.name(), method.name());
                methods.push((path, method.client_streaming() || method.server_streaming()));
            }
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_row_and_every_row_a_method() {
        let methods: HashSet<String> = walk().into_iter().map(|(path, _)| path).collect();
        assert!(methods.len() > 30, "the descriptors are empty");
        let missing: Vec<_> = methods.iter().filter(|path| row(path).is_none()).collect();
        assert!(missing.is_empty(), "methods without a row are denied to everyone: {missing:?}");
        let gone: Vec<_> = TABLE
            .iter()
            .filter(|(path, _)| path.starts_with("/tradepost.") && !methods.contains(*path))
            .collect();
        assert!(gone.is_empty(), "rows without a method: {gone:?}");
    }

    #[test]
    fn the_table_is_sorted_and_unknown_methods_are_denied() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0), "rows must be in order and unique");
        assert_eq!(row("/tradepost.v1.PostingService/DropEverything"), None);
    }

    #[test]
    fn what_agents_do_is_for_certificates_alone_and_what_changes_things_is_not_for_viewers() {
        for (path, access) in TABLE {
            let method = path.rsplit('/').next().unwrap_or_default();
            let of_agents =
                ["AgentIdentityService", "AgentSessionService", "PublishPermitService", "EvidenceService/"]
                    .iter()
                    .any(|service| path.contains(service));
            assert_eq!(of_agents, *access == Agent, "{path}");
            let reads = ["Get", "List", "Stream", "Download", "WhoAmI", "Check", "Watch"]
                .iter()
                .any(|verb| method.starts_with(verb));
            if *access == VIEWER {
                assert!(reads, "{path} changes things and is open to viewers");
            }
        }
    }
}
