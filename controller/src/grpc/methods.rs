//! Who may call what: the `access` option of each method, read from the descriptors (`proto/tradepost/v1/access.proto`).
//! A method without a rule is denied to everyone; a test walks the descriptors and fails on one.
//!
//! [`TABLE`] has the rules of services that are not ours (health, reflection).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MethodDescriptor};
use tradepost_domain::scope;
use tradepost_proto::v1;
use tradepost_store::Role;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without a token.
    Anyone,
    /// Any active user.
    User,
    /// Whoever has this role in the workspace that the call works in, or a higher one; operators of the system.
    Role(Role),
    /// An agent with its certificate, on the agents listener.
    Agent,
}

/// A method's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Who may call it.
    pub access: Access,
    /// Whether a session needs a recent proof of identity.
    pub step_up: bool,
    /// The scope that an API token needs; none: any token.
    pub scope: Option<String>,
    /// Whether a side streams.
    pub streams: bool,
    /// Whether what it changes is told in the audit log.
    pub audited: bool,
}

use Access::{Agent, Anyone};

const VIEWER: Access = Access::Role(Role::Viewer);
const EDITOR: Access = Access::Role(Role::Editor);
const OWNER: Access = Access::Role(Role::Owner);
const OPERATOR: Access = Access::Role(Role::Operator);

/// Rules of methods that are not ours and so carry no option, by path.
pub const TABLE: &[(&str, Access)] = &[
    ("/grpc.health.v1.Health/Check", Anyone),
    ("/grpc.health.v1.Health/List", Anyone),
    ("/grpc.health.v1.Health/Watch", Anyone),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", OPERATOR),
];

/// The name of a path (for metrics, which must not grow with what strangers ask for) and its rule.
pub fn rule(path: &str) -> Option<(&'static str, &'static Rule)> {
    static RULES: LazyLock<BTreeMap<String, Rule>> = LazyLock::new(|| rules(tradepost_proto::DESCRIPTORS));
    RULES.get_key_value(path).map(|(path, rule)| (path.as_str(), rule))
}

fn rules(descriptors: &[u8]) -> BTreeMap<String, Rule> {
    let mut rules = BTreeMap::new();
    for (path, access) in TABLE {
        let streams = path.ends_with("/Watch") || path.ends_with("/ServerReflectionInfo");
        let scope = (!path.starts_with("/grpc.health")).then(|| scope_of(path));
        let rule = Rule { access: *access, step_up: false, scope, streams, audited: false };
        rules.insert((*path).to_owned(), rule);
    }
    for method in walk(descriptors) {
        let streams = method.is_client_streaming() || method.is_server_streaming();
        let path = path_of(&method);
        if let Some(rule) = option(&method) {
            let audited = is_audited(&path, rule.access);
            rules.insert(path, Rule { streams, audited, ..rule });
        }
    }
    rules
}

/// The rule in a method's `access` option; none when it has none or names nobody.
fn option(method: &MethodDescriptor) -> Option<Rule> {
    let extension = method.parent_pool().get_extension_by_name("tradepost.v1.access")?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return None;
    }
    let message = options.get_extension(&extension);
    let v1::Access { audience, role, step_up, scope } = message.as_message()?.transcode_to().ok()?;
    let access = match (v1::Audience::try_from(audience).ok()?, v1::Role::try_from(role).ok()?) {
        (v1::Audience::Anyone, v1::Role::Unspecified) => Anyone,
        (v1::Audience::User, v1::Role::Unspecified) => Access::User,
        (v1::Audience::Agent, v1::Role::Unspecified) => Agent,
        (v1::Audience::Unspecified, v1::Role::Viewer) => VIEWER,
        (v1::Audience::Unspecified, v1::Role::Editor) => EDITOR,
        (v1::Audience::Unspecified, v1::Role::Owner) => OWNER,
        (v1::Audience::Unspecified, v1::Role::Operator) => OPERATOR,
        // Nobody, or two at once: denied.
        _ => return None,
    };
    let path = path_of(method);
    // Any token may ask who it is, and end itself.
    let scope = if !scope.is_empty() {
        Some(scope)
    } else if path.contains(".AuthService/") {
        None
    } else {
        Some(scope_of(&path))
    };
    Some(Rule { access, step_up, scope, streams: false, audited: false })
}

/// The noun of the method's service, with what the method does to it.
fn scope_of(path: &str) -> String {
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let service = service.rsplit('.').next().unwrap_or_default().trim_end_matches("Service");
    let noun = match service {
        "Session" | "SecondFactor" => String::from("tokens"),
        noun => format!("{}s", noun.to_lowercase()),
    };
    let noun = scope::NOUNS.iter().find(|known| **known == noun).copied().unwrap_or("system");
    let verb = if reads(method) { "read" } else { "write" };
    format!("{noun}:{verb}")
}

/// What agents do that licenses or settles a click, or decides whom sellers seal passwords to. The rest of what they report (steps, evidence, prepared forms) is told
/// by the workspace's feed, and changes nobody's rights.
const AUDITED_OF_AGENTS: &[&str] = &[
    "/tradepost.v1.AgentCredentialService/TellCredentialKey",
    "/tradepost.v1.PublishPermitService/AcquirePublishPermit",
    "/tradepost.v1.PublishPermitService/SettlePublication",
];

/// Everything that people and their tools change is told, and so is how agents become known.
fn is_audited(path: &str, access: Access) -> bool {
    let method = path.rsplit('/').next().unwrap_or_default();
    if access == Agent { AUDITED_OF_AGENTS.contains(&path) } else { !reads(method) }
}

/// Whether a method of this name changes nothing.
fn reads(method: &str) -> bool {
    ["Get", "List", "Stream", "Download", "WhoAmI", "Check", "Watch", "ServerReflection"]
        .iter()
        .any(|verb| method.starts_with(verb))
}

/// Every method of our own services.
fn walk(descriptors: &[u8]) -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(descriptors).unwrap_or_default();
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use prost::Message;
    use prost_types::{
        FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, MethodOptions, ServiceDescriptorProto,
    };
    use tradepost_proto::DESCRIPTORS;

    use super::*;

    /// Methods that nobody may call.
    fn without_rule(descriptors: &[u8]) -> Vec<String> {
        let rules = rules(descriptors);
        walk(descriptors).iter().map(path_of).filter(|path| !rules.contains_key(path)).collect()
    }

    /// A file with a service whose one method has `options`, as a further part of the descriptors.
    fn with_method(options: Option<MethodOptions>) -> Vec<u8> {
        let method = MethodDescriptorProto {
            name: Some("Forget".into()),
            input_type: Some(".tradepost.v1.LogoutRequest".into()),
            output_type: Some(".tradepost.v1.LogoutResponse".into()),
            options,
            ..MethodDescriptorProto::default()
        };
        let service = ServiceDescriptorProto {
            name: Some("ForgetfulService".into()),
            method: vec![method],
            ..ServiceDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            name: Some("tradepost/v1/forgetful.proto".into()),
            package: Some("tradepost.v1".into()),
            dependency: vec!["tradepost/v1/auth.proto".into()],
            service: vec![service],
            syntax: Some("proto3".into()),
            ..FileDescriptorProto::default()
        };
        // Encoded lists that follow each other are one list.
        [DESCRIPTORS, &FileDescriptorSet { file: vec![file] }.encode_to_vec()].concat()
    }

    #[test]
    fn a_new_method_without_a_rule_is_found_and_denied() {
        for options in [None, Some(MethodOptions::default())] {
            let descriptors = with_method(options);
            assert_eq!(walk(&descriptors).len(), walk(DESCRIPTORS).len() + 1);
            assert_eq!(without_rule(&descriptors), ["/tradepost.v1.ForgetfulService/Forget"]);
        }
    }

    #[test]
    fn every_method_has_a_rule_and_every_row_a_method() {
        let methods = walk(DESCRIPTORS);
        assert!(methods.len() > 60, "the descriptors are empty");
        let missing = without_rule(DESCRIPTORS);
        assert!(
            missing.is_empty(),
            "methods without a rule are denied to everyone; write e.g. `option (access) = {{role: ROLE_EDITOR}};` in \
             {missing:#?}"
        );
        let paths: HashSet<String> = methods.iter().map(path_of).collect();
        let gone: Vec<_> = TABLE
            .iter()
            .filter(|(path, _)| path.starts_with("/tradepost.") && !paths.contains(*path))
            .collect();
        assert!(gone.is_empty(), "rows without a method: {gone:?}");
        let twice: Vec<_> = methods
            .iter()
            .filter(|method| option(method).is_some())
            .map(path_of)
            .filter(|path| TABLE.iter().any(|(row, _)| row == path))
            .collect();
        assert!(twice.is_empty(), "methods with an option and a row: {twice:?}");
    }

    #[test]
    fn unknown_methods_are_denied() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0), "rows must be in order and unique");
        assert_eq!(rule("/tradepost.v1.PostingService/DropEverything"), None);
        assert_eq!(rule(""), None);
    }

    #[test]
    fn what_agents_do_is_for_certificates_alone_and_what_changes_things_is_not_for_viewers() {
        for path in walk(DESCRIPTORS).iter().map(path_of) {
            let (_, rule) = rule(&path).expect("every method has one");
            let method = path.rsplit('/').next().unwrap_or_default();
            let of_agents = [
                "AgentIdentityService",
                "AgentCredentialService",
                "AgentSessionService",
                "PublishPermitService",
                "EvidenceService/",
            ]
            .iter()
            .any(|service| path.contains(service));
            assert_eq!(of_agents, rule.access == Agent, "{path}");
            // Their own tokens and their own membership are theirs to change.
            let own = ["CreateToken", "LeaveWorkspace"].contains(&method);
            if rule.access == VIEWER && !own {
                assert!(reads(method), "{path} changes things and is open to viewers");
            }
        }
    }

    /// Who may become whom, and what cannot be taken back, asks for a fresh proof.
    #[test]
    fn roles_agents_and_users_need_a_fresh_proof() {
        for path in walk(DESCRIPTORS).iter().map(path_of) {
            let (_, rule) = rule(&path).expect("every method has one");
            let method = path.rsplit('/').next().unwrap_or_default();
            let weighty = matches!(rule.access, Access::Role(Role::Owner | Role::Operator))
                && !reads(method)
                && ["UserService", "WorkspaceService", "AgentService"]
                    .iter()
                    .any(|service| path.contains(service));
            // Taking an invitation back harms nobody.
            if weighty && method != "RevokeInvitation" {
                assert!(rule.step_up, "{path} needs step_up");
            }
        }
    }

    #[test]
    fn scopes_name_what_a_method_is_about() {
        let scope = |path: &str| rule(path).and_then(|(_, rule)| rule.scope.clone());
        assert_eq!(scope("/tradepost.v1.PostingService/CreatePosting").as_deref(), Some("postings:write"));
        assert_eq!(scope("/tradepost.v1.JobService/DownloadEvidence").as_deref(), Some("jobs:read"));
        assert_eq!(scope("/tradepost.v1.WorkspaceService/ListMembers").as_deref(), Some("workspaces:read"));
        assert_eq!(scope("/tradepost.v1.SessionService/RevokeSession").as_deref(), Some("tokens:write"));
        assert_eq!(scope("/tradepost.v1.AuthService/WhoAmI"), None);
    }
}
