//! Who may call what: every method, with every role, and with everything of a foreign workspace.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use prost::Message;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::Code;
use tradepost_controller::grpc::methods::{self, Access};
use tradepost_proto::v1;
use tradepost_store::Role;

use crate::agent::Agent;
use crate::person::{Person, fresh_address};
use crate::raw;
use crate::system::{System, reason};

fn walk() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(tradepost_proto::DESCRIPTORS).expect("descriptors");
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// A member of the owner's workspace who has signed in there.
async fn member(system: &System, owner: &Person, name: &str, role: v1::Role) -> Result<Person> {
    let email = format!("{name}@example.com");
    let invitation = owner.invite(&email, role).await?;
    let message = v1::AcceptInvitationRequest {
        invitation,
        email: email.clone(),
        password: crate::person::PASSWORD.into(),
    };
    owner.auth().accept_invitation(crate::person::from(&owner.address, message)).await?;
    system.sign_in(&email, &fresh_address()).await
}

/// Callers by what they are: viewer, editor, owner, operator, nobody.
struct Cast {
    viewer: Person,
    editor: Person,
    owner: Person,
    operator: String,
}

impl Cast {
    async fn new(system: &System) -> Result<Self> {
        let owner = system.person("owner").await?;
        let viewer = member(system, &owner, "viewer", v1::Role::Viewer).await?;
        let editor = member(system, &owner, "editor", v1::Role::Editor).await?;
        Ok(Self { viewer, editor, owner, operator: system.operator_token() })
    }
}

/// Calls that end what they are called with; each gets a secret of its own.
const ENDS_ITSELF: &[&str] =
    &["/tradepost.v1.AuthService/Logout", "/tradepost.v1.WorkspaceService/LeaveWorkspace"];

/// Whether a refusal is the gate's.
fn is_denial(reason: &str) -> bool {
    ["TOKEN_MISSING", "ROLE_INSUFFICIENT", "SCOPE_INSUFFICIENT", "NO_WORKSPACE", "SECOND_FACTOR_MISSING"]
        .contains(&reason)
}

#[tokio::test]
async fn every_method_is_open_to_its_roles_and_to_nobody_else() -> Result<()> {
    let system = System::start().await?;
    let cast = Cast::new(&system).await?;
    let channel = &cast.owner.channel;
    let callers = [
        ("nobody", None, None),
        ("viewer", Some(cast.viewer.tokens.access_token.clone()), Some(Role::Viewer)),
        ("editor", Some(cast.editor.tokens.access_token.clone()), Some(Role::Editor)),
        ("owner", Some(cast.owner.tokens.access_token.clone()), Some(Role::Owner)),
        ("operator", Some(cast.operator.clone()), Some(Role::Operator)),
    ];
    let (mut checked, mut wrong) = (0, Vec::new());
    for method in walk() {
        let path = path_of(&method);
        let (_, rule) = methods::rule(&path).context(path.clone())?;
        if ENDS_ITSELF.contains(&path.as_str()) {
            continue;
        }
        for (name, token, role) in &callers {
            let answer = raw::call(channel, &path, Vec::new(), token.as_deref()).await;
            let denied = answer.as_ref().err().map(|status| (status.code(), reason(status)));
            let let_in = !denied.as_ref().is_some_and(|(_, reason)| is_denial(reason));
            let expected = match rule.access {
                Access::Anyone => true,
                Access::User => role.is_some(),
                // The operator of these tests owns a workspace, too.
                Access::Role(Role::Operator) => *role == Some(Role::Operator),
                Access::Role(needed) => role.is_some_and(|role| role >= needed),
                Access::Agent => false,
            };
            checked += 1;
            if let_in != expected {
                wrong.push(format!("{path} as {name}: let in {let_in}, {denied:?}"));
            }
            if let (false, Some((code, _))) = (let_in, &denied) {
                assert!(
                    matches!(code, Code::PermissionDenied | Code::Unauthenticated),
                    "{path} as {name}: {code:?}"
                );
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(checked > 300, "only {checked} calls");
    let unknown =
        raw::call(channel, "/tradepost.v1.PostingService/Nope", Vec::new(), Some(&cast.operator)).await;
    assert_eq!(unknown.expect_err("no such method").code(), Code::Unimplemented);
    Ok(())
}

#[tokio::test]
async fn a_token_does_what_its_scopes_name() -> Result<()> {
    let system = System::start().await?;
    let owner = system.person("owner").await?;
    let reader = owner.api_token(&["listings:read", "events:read"]).await?;
    for method in walk() {
        let path = path_of(&method);
        let (_, rule) = methods::rule(&path).context(path.clone())?;
        let (Some(scope), Access::User | Access::Role(Role::Viewer | Role::Editor | Role::Owner)) =
            (rule.scope.as_deref(), rule.access)
        else {
            continue;
        };
        let answer = raw::call(&owner.channel, &path, Vec::new(), Some(&reader)).await;
        let refused = answer.err().map(|status| reason(&status));
        let covered = ["listings:read", "events:read"].contains(&scope);
        assert_eq!(
            refused.as_deref() == Some("SCOPE_INSUFFICIENT"),
            !covered,
            "{path} needs {scope}: {refused:?}"
        );
    }
    let request = |scope: &str| v1::CreateTokenRequest {
        name: "x".into(),
        scopes: vec![scope.into()],
        ttl: None,
        request_id: crate::person::fresh_request(),
    };
    let maker = owner.api_token(&["tokens:write", "listings:read"]).await?;
    let path = "/tradepost.v1.TokenService/CreateToken";
    let refused = owner.may(&maker, path, request("*")).await.expect_err("more than it has");
    assert_eq!(reason(&refused), "SCOPE_INSUFFICIENT");
    owner.may(&maker, path, request("listings:read")).await?;
    let refused = owner.may(&maker, "/tradepost.v1.AuthService/StepUp", v1::StepUpRequest::default()).await;
    assert_eq!(reason(&refused.expect_err("no session")), "SESSION_NEEDED");
    Ok(())
}

/// Everything that a workspace has, by id.
struct Things {
    account: String,
    listing: String,
    photo: String,
    posting: String,
    job: String,
    agent: String,
    member: String,
    invitation: String,
    session: String,
    token: String,
    evidence: String,
}

/// Every method that takes the id of something, asked for something of a foreign workspace. A method that is missing here
/// fails the test below.
fn probes(of: &Things) -> Vec<(&'static str, Vec<u8>)> {
    let request_id = || String::from("probe");
    let id = |id: &str| v1::GetAccountRequest { id: id.into() }.encode_to_vec();
    let mut probes = vec![
        ("AccountService/GetAccount", id(&of.account)),
        (
            "AccountService/BindAccount",
            v1::BindAccountRequest { id: of.account.clone(), agent_id: of.agent.clone(), etag: "1".into() }
                .encode_to_vec(),
        ),
        (
            "AccountService/LoginAccount",
            v1::LoginAccountRequest { request_id: request_id(), id: of.account.clone() }.encode_to_vec(),
        ),
        (
            "AccountService/CreateAccount",
            v1::CreateAccountRequest {
                request_id: request_id(),
                name: "probe".into(),
                site: "sandbox".into(),
                site_url: "http://127.0.0.1:9/".into(),
                currency_code: "EUR".into(),
                agent_id: of.agent.clone(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "AccountService/UpdateAccount",
            v1::UpdateAccountRequest {
                id: of.account.clone(),
                auto_republish: Some(true),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        ("AccountService/GetPacing", v1::GetPacingRequest { account_id: of.account.clone() }.encode_to_vec()),
        (
            "AccountService/UpdatePacing",
            v1::UpdatePacingRequest { account_id: of.account.clone(), set: None, reset: true }
                .encode_to_vec(),
        ),
        ("AccountService/GetCredential", id(&of.account)),
        (
            "AccountService/SetCredential",
            v1::SetCredentialRequest {
                account_id: of.account.clone(),
                agent_id: of.agent.clone(),
                key_id: "0123456789abcdef".into(),
                generation: 1,
                sealed: vec![1; 100],
            }
            .encode_to_vec(),
        ),
        ("AccountService/RemoveCredential", id(&of.account)),
        ("AccountService/PauseAccount", id(&of.account)),
        ("AccountService/ResumeAccount", id(&of.account)),
        ("AgentService/GetAgent", id(&of.agent)),
        ("AgentService/RevokeAgent", id(&of.agent)),
        ("AgentService/ApproveAgent", id(&of.agent)),
    ];
    probes.append(&mut listing_probes(of));
    probes.append(&mut people_probes(of));
    probes
}

fn listing_probes(of: &Things) -> Vec<(&'static str, Vec<u8>)> {
    let request_id = || String::from("probe");
    let id = |id: &str| v1::GetListingRequest { id: id.into() }.encode_to_vec();
    vec![
        ("ListingService/GetListing", id(&of.listing)),
        ("ListingService/DeleteListing", id(&of.listing)),
        (
            "ListingService/UpdateListing",
            v1::UpdateListingRequest {
                id: of.listing.clone(),
                content: Some(crate::system::content()),
                etag: "1".into(),
            }
            .encode_to_vec(),
        ),
        ("PhotoService/GetPhoto", id(&of.photo)),
        ("PhotoService/DownloadPhoto", id(&of.photo)),
        ("PostingService/GetPosting", id(&of.posting)),
        ("PostingService/CancelPosting", id(&of.posting)),
        ("PostingService/RetryPosting", id(&of.posting)),
        (
            "PostingService/GetReceipt",
            v1::GetReceiptRequest { posting_id: of.posting.clone() }.encode_to_vec(),
        ),
        (
            "PostingService/ResolvePosting",
            v1::ResolvePostingRequest {
                id: of.posting.clone(),
                finding: Some(v1::resolve_posting_request::Finding::Published(v1::PublishedItem {
                    item_id: "5".into(),
                    url: "http://127.0.0.1:9/item/5".into(),
                    strategy: String::new(),
                })),
            }
            .encode_to_vec(),
        ),
        (
            "PostingService/CreatePosting",
            v1::CreatePostingRequest {
                request_id: request_id(),
                listing_id: of.listing.clone(),
                account_id: of.account.clone(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "PostingService/PrioritizePosting",
            v1::PrioritizePostingRequest { id: of.posting.clone(), priority: 5 }.encode_to_vec(),
        ),
        ("PostingService/GetWait", v1::GetWaitRequest { posting_id: of.posting.clone() }.encode_to_vec()),
        ("PostingService/RequestLook", id(&of.posting)),
        ("PostingService/ListLooks", v1::ListLooksRequest { posting_id: of.posting.clone() }.encode_to_vec()),
        ("JobService/RetryJob", id(&of.job)),
        ("JobService/DiscardJob", id(&of.job)),
        ("JobService/GetJob", id(&of.job)),
        ("JobService/ListSteps", v1::ListStepsRequest { job_id: of.job.clone() }.encode_to_vec()),
        ("JobService/ListEvidence", v1::ListEvidenceRequest { job_id: of.job.clone() }.encode_to_vec()),
        ("JobService/DownloadEvidence", id(&of.evidence)),
    ]
}

fn people_probes(of: &Things) -> Vec<(&'static str, Vec<u8>)> {
    let id = |id: &str| v1::RevokeInvitationRequest { id: id.into() }.encode_to_vec();
    vec![
        (
            "WorkspaceService/SetMemberRole",
            v1::SetMemberRoleRequest { user_id: of.member.clone(), role: v1::Role::Viewer.into() }
                .encode_to_vec(),
        ),
        (
            "WorkspaceService/RemoveMember",
            v1::RemoveMemberRequest { user_id: of.member.clone() }.encode_to_vec(),
        ),
        (
            "WorkspaceService/TransferOwnership",
            v1::TransferOwnershipRequest { user_id: of.member.clone() }.encode_to_vec(),
        ),
        ("WorkspaceService/RevokeInvitation", id(&of.invitation)),
        ("SessionService/RevokeSession", id(&of.session)),
        ("TokenService/RevokeToken", id(&of.token)),
    ]
}

/// Lists that are filtered by an id are empty for a foreign one, which tells as little.
const FILTERED: &[&str] = &[
    "EventService/ListEvents",
    "EventService/StreamEvents",
    "JobService/ListJobs",
    "JobService/TreatDeadLetters",
    "PostingService/ListPostings",
];

async fn things(system: &System, owner: &Person) -> Result<Things> {
    let token = owner.api_token(&["*"]).await?;
    let user = crate::system::User::with_token(owner.channel.clone(), token);
    let agent = Agent::enrol(system, &user).await?;
    let account = user.account("shop", &agent.id).await?;
    let listing = user.listing("Drill").await?;
    let posting = user.post("p1", &listing.id, &account.id).await?;
    let invitations = v1::ListInvitationsRequest::default();
    owner.invite("", v1::Role::Viewer).await?;
    let invitations =
        owner.workspaces().list_invitations(owner.request(invitations)).await?.into_inner().invitations;
    let tokens = v1::token_service_client::TokenServiceClient::new(owner.channel.clone())
        .list_tokens(owner.request(v1::ListTokensRequest::default()))
        .await?
        .into_inner()
        .tokens;
    Ok(Things {
        account: account.id,
        photo: listing.content.context("a listing")?.photo_ids[0].clone(),
        listing: listing.id,
        job: posting.job_id,
        posting: posting.id,
        agent: agent.id,
        member: owner.who().await?.user_id,
        invitation: invitations[0].id.clone(),
        session: owner.tokens.session_id.clone(),
        token: tokens[0].id.clone(),
        // There is none yet; what does not exist and what is foreign are told alike.
        evidence: uuid::Uuid::from_u128(7).to_string(),
    })
}

#[tokio::test]
async fn a_foreign_workspace_shows_nothing_whatever_is_asked() -> Result<()> {
    let system = System::start().await?;
    let (ours, theirs) = (system.person("ours").await?, system.person("theirs").await?);
    let things = things(&system, &theirs).await?;
    let before = format!("{:?}", snapshot(&theirs, &things).await?);
    let probes = probes(&things);
    for (method, message) in &probes {
        let path = format!("/tradepost.v1.{method}");
        let answer = raw::call(&ours.channel, &path, message.clone(), Some(&ours.tokens.access_token)).await;
        let refused = match answer {
            Err(refused) => refused,
            // A stream says so in its first message.
            Ok(mut stream) => stream.message().await.expect_err(&path),
        };
        assert_eq!(refused.code(), Code::NotFound, "{path}: {refused:?}");
        for secret in [&things.account, &things.agent] {
            let asked_for = String::from_utf8_lossy(message).contains(secret.as_str());
            assert!(
                asked_for || !refused.message().contains(secret.as_str()),
                "{path}: {}",
                refused.message()
            );
        }
    }
    assert_eq!(format!("{:?}", snapshot(&theirs, &things).await?), before, "something was changed");

    // Their workspace by name or id: no member, no answer.
    let workspace = theirs.who().await?.workspace_id;
    for named in [workspace.as_str(), "theirs's shop"] {
        let request = ours.request_in(named, v1::ListMembersRequest::default());
        let refused = ours.workspaces().list_members(request).await.expect_err("foreign");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "WORKSPACE_NOT_FOUND"));
    }

    let known: BTreeSet<&str> =
        probes.iter().map(|(method, _)| *method).chain(FILTERED.iter().copied()).collect();
    let missing: Vec<String> = walk()
        .into_iter()
        .filter(|method| {
            let (_, rule) = methods::rule(&path_of(method)).expect("a rule");
            let takes_id = method.input().fields().any(|field| {
                let name = field.name();
                (name == "id" || name.ends_with("_id")) && name != "request_id"
            });
            let of_a_workspace =
                matches!(rule.access, Access::User | Access::Role(Role::Viewer | Role::Editor | Role::Owner));
            takes_id && of_a_workspace
        })
        .map(|method| path_of(&method).trim_start_matches("/tradepost.v1.").to_owned())
        .filter(|path| !known.contains(path.as_str()))
        .collect();
    assert!(missing.is_empty(), "methods that take an id need a probe here: {missing:#?}");
    Ok(())
}

/// How their things stand, as they see it.
async fn snapshot(
    theirs: &Person,
    things: &Things,
) -> Result<(v1::Posting, v1::Account, v1::Listing, v1::Agent, usize)> {
    let posting = v1::posting_service_client::PostingServiceClient::new(theirs.channel.clone())
        .get_posting(theirs.request(v1::GetPostingRequest { id: things.posting.clone() }))
        .await?
        .into_inner()
        .posting
        .context("a posting")?;
    let account = v1::account_service_client::AccountServiceClient::new(theirs.channel.clone())
        .get_account(theirs.request(v1::GetAccountRequest { id: things.account.clone() }))
        .await?
        .into_inner()
        .account
        .context("an account")?;
    let listing = v1::listing_service_client::ListingServiceClient::new(theirs.channel.clone())
        .get_listing(theirs.request(v1::GetListingRequest { id: things.listing.clone() }))
        .await?
        .into_inner()
        .listing
        .context("a listing")?;
    let agent = v1::agent_service_client::AgentServiceClient::new(theirs.channel.clone())
        .get_agent(theirs.request(v1::GetAgentRequest { id: things.agent.clone() }))
        .await?
        .into_inner()
        .agent
        .context("an agent")?;
    let members = theirs.workspaces().list_members(theirs.request(v1::ListMembersRequest::default())).await?;
    Ok((posting, account, listing, agent, members.into_inner().members.len()))
}
