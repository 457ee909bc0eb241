//! The life of a workspace in calls: each method that changes something, once.

use anyhow::{Context, Result};
use rcgen::{CertificateParams, KeyPair, SanType};
use tradepost_domain::standing::RETURN_URI;
use tradepost_proto::v1;
use tradepost_runtime::tls;
use tradepost_testkit::photos;
use v1::account_service_client::AccountServiceClient;
use v1::agent_service_client::AgentServiceClient;
use v1::auth_service_client::AuthServiceClient;
use v1::enrolment_service_client::EnrolmentServiceClient;
use v1::job_service_client::JobServiceClient;
use v1::listing_service_client::ListingServiceClient;
use v1::posting_service_client::PostingServiceClient;
use v1::second_factor_service_client::SecondFactorServiceClient;
use v1::session_service_client::SessionServiceClient;
use v1::settle_publication_request::Outcome;
use v1::token_service_client::TokenServiceClient;
use v1::user_service_client::UserServiceClient;
use v1::workspace_service_client::WorkspaceServiceClient;

use super::{Conn, Ledger, ask};
use crate::agent::{Agent, Stream, failed, run};
use crate::person::{PASSWORD, Person, code, fresh_address, from, login};
use crate::system::{System, User, content};

pub(super) async fn people(system: &System, ledger: &mut Ledger, operator: &User) -> Result<()> {
    let (address, email) = (fresh_address(), "eve@example.com");
    let mut auth = AuthServiceClient::new(operator.channel.clone());
    let message = v1::RegisterRequest { email: email.into(), password: PASSWORD.into() };
    ledger.tells("AuthService/Register", auth.register(from(&address, message))).await?;
    let id = system.find_user(email).await?.id;
    let message = v1::ApproveUserRequest { id: id.clone(), workspace_name: "Eve's".into() };
    ledger.tells("UserService/ApproveUser", ask!(operator, UserServiceClient.approve_user(message))).await?;
    let channel = system.channel(&system.api, None).await?;
    let login = login(&channel, &address, email, PASSWORD, "");
    let tokens = ledger.tells("AuthService/Login", login).await?;
    let mut eve = Person { channel, address, tokens };
    let refresh = eve.tokens.refresh_token.clone();
    eve.tokens = ledger.tells("AuthService/RefreshSession", eve.refresh(&refresh)).await?;
    let message = v1::StepUpRequest { code: String::new(), password: PASSWORD.into() };
    ledger.tells("AuthService/StepUp", ask!(eve, AuthServiceClient.step_up(message))).await?;
    second_factor(system, ledger, &eve).await?;

    let message = v1::CreateTokenRequest {
        name: "ci".into(),
        scopes: vec!["*".into()],
        ttl: None,
        request_id: crate::person::fresh_request(),
    };
    let made =
        ledger.tells("TokenService/CreateToken", ask!(eve, TokenServiceClient.create_token(message))).await?;
    let token = made.into_inner().token.context("a token")?.id;
    let message = v1::RevokeTokenRequest { id: token };
    ledger
        .tells("TokenService/RevokeToken", ask!(eve, TokenServiceClient.revoke_token(message.clone())))
        .await?;
    ledger.tells_nothing(ask!(eve, TokenServiceClient.revoke_token(message))).await?;
    let other = system.sign_in(email, &fresh_address()).await?;
    let message = v1::RevokeSessionRequest { id: other.tokens.session_id.clone() };
    ledger
        .tells("SessionService/RevokeSession", ask!(eve, SessionServiceClient.revoke_session(message)))
        .await?;
    let message = v1::CreateWorkspaceRequest { request_id: "w".into(), name: "second".into() };
    ask!(eve, WorkspaceServiceClient.create_workspace(message)).await?;
    let message = v1::SwitchWorkspaceRequest { workspace: "second".into() };
    ledger
        .tells("SessionService/SwitchWorkspace", ask!(eve, SessionServiceClient.switch_workspace(message)))
        .await?;
    let new = "another horse battery staple";
    let message = v1::ChangePasswordRequest { password: PASSWORD.into(), new_password: new.into() };
    ledger.tells("AuthService/ChangePassword", ask!(eve, AuthServiceClient.change_password(message))).await?;
    ledger.tells("AuthService/Logout", ask!(eve, AuthServiceClient.logout(v1::LogoutRequest {}))).await?;

    let message = v1::CreatePasswordResetRequest { id: id.clone(), ttl: None };
    let reset = ask!(operator, UserServiceClient.create_password_reset(message));
    let reset = ledger.tells("UserService/CreatePasswordReset", reset).await?.into_inner().secret;
    let message = v1::ResetPasswordRequest { reset, new_password: PASSWORD.into() };
    ledger.tells("AuthService/ResetPassword", auth.reset_password(from(&eve.address, message))).await?;
    let again = system.sign_in(email, &fresh_address()).await?;
    again.set_up_factor(system).await?;
    let message = v1::ResetSecondFactorRequest { id: id.clone() };
    let reset = ask!(operator, UserServiceClient.reset_second_factor(message));
    ledger.tells("UserService/ResetSecondFactor", reset).await?;
    let message = v1::SetOperatorRequest { id: id.clone(), operator: true };
    ledger.tells("UserService/SetOperator", ask!(operator, UserServiceClient.set_operator(message))).await?;
    let message = v1::SuspendUserRequest { id: id.clone() };
    ledger
        .tells("UserService/SuspendUser", ask!(operator, UserServiceClient.suspend_user(message.clone())))
        .await?;
    ledger.tells_nothing(ask!(operator, UserServiceClient.suspend_user(message))).await?;
    let message = v1::ReinstateUserRequest { id };
    ledger
        .tells("UserService/ReinstateUser", ask!(operator, UserServiceClient.reinstate_user(message)))
        .await?;
    Ok(())
}

async fn second_factor(system: &System, ledger: &mut Ledger, eve: &Person) -> Result<()> {
    let begin = ask!(eve, SecondFactorServiceClient.begin_second_factor(v1::BeginSecondFactorRequest {}));
    let made = ledger.tells("SecondFactorService/BeginSecondFactor", begin).await?.into_inner();
    let secret = totp_rs::Secret::try_from_base32(&made.secret)?;
    let totp = totp_rs::Builder::new().with_secret(secret).build()?;
    let message = v1::ConfirmSecondFactorRequest { code: code(&totp, system) };
    let confirm = ask!(eve, SecondFactorServiceClient.confirm_second_factor(message));
    ledger.tells("SecondFactorService/ConfirmSecondFactor", confirm).await?;
    let replace =
        ask!(eve, SecondFactorServiceClient.replace_recovery_codes(v1::ReplaceRecoveryCodesRequest {}));
    ledger.tells("SecondFactorService/ReplaceRecoveryCodes", replace).await?;
    let remove = ask!(eve, SecondFactorServiceClient.remove_second_factor(v1::RemoveSecondFactorRequest {}));
    ledger.tells("SecondFactorService/RemoveSecondFactor", remove).await?;
    Ok(())
}

pub(super) async fn workspaces(system: &System, ledger: &mut Ledger) -> Result<()> {
    let owner = system.person("owner").await?;
    let guest = system.person("guest").await?;
    let message = v1::CreateWorkspaceRequest { request_id: "shop".into(), name: "shop".into() };
    let create = ask!(owner, WorkspaceServiceClient.create_workspace(message.clone()));
    ledger.tells("WorkspaceService/CreateWorkspace", create).await?;
    ledger.tells_nothing(ask!(owner, WorkspaceServiceClient.create_workspace(message))).await?;
    let message = v1::CreateInvitationRequest {
        role: v1::Role::Viewer.into(),
        request_id: crate::person::fresh_request(),
        ..Default::default()
    };
    let invite = ask!(owner, WorkspaceServiceClient.create_invitation(message));
    let made = ledger.tells("WorkspaceService/CreateInvitation", invite).await?.into_inner();
    let message = v1::RevokeInvitationRequest { id: made.invitation.context("an invitation")?.id };
    let revoke = ask!(owner, WorkspaceServiceClient.revoke_invitation(message.clone()));
    ledger.tells("WorkspaceService/RevokeInvitation", revoke).await?;
    ledger.tells_nothing(ask!(owner, WorkspaceServiceClient.revoke_invitation(message))).await?;

    let invitation = owner.invite("fay@example.com", v1::Role::Viewer).await?;
    let message = v1::AcceptInvitationRequest {
        invitation,
        email: "fay@example.com".into(),
        password: PASSWORD.into(),
    };
    let mut auth = owner.auth();
    let accept = auth.accept_invitation(from(&fresh_address(), message));
    ledger.tells("AuthService/AcceptInvitation", accept).await?;
    let fay = system.find_user("fay@example.com").await?.id;
    let invitation = owner.invite("", v1::Role::Editor).await?;
    ledger.tells("WorkspaceService/JoinWorkspace", guest.join(&invitation)).await?;
    let message = v1::SetMemberRoleRequest { user_id: fay.clone(), role: v1::Role::Editor.into() };
    let set = ask!(owner, WorkspaceServiceClient.set_member_role(message));
    ledger.tells("WorkspaceService/SetMemberRole", set).await?;
    let message = v1::RemoveMemberRequest { user_id: fay };
    ledger
        .tells("WorkspaceService/RemoveMember", ask!(owner, WorkspaceServiceClient.remove_member(message)))
        .await?;
    let message = v1::TransferOwnershipRequest { user_id: guest.who().await?.user_id };
    let transfer = ask!(owner, WorkspaceServiceClient.transfer_ownership(message));
    ledger.tells("WorkspaceService/TransferOwnership", transfer).await?;
    let leave = ask!(owner, WorkspaceServiceClient.leave_workspace(v1::LeaveWorkspaceRequest {}));
    ledger.tells("WorkspaceService/LeaveWorkspace", leave).await?;
    Ok(())
}

pub(super) async fn agents(system: &System, ledger: &mut Ledger, user: &User) -> Result<(Agent, String)> {
    let text = ledger.tells("AgentService/CreateEnrolmentToken", user.invite()).await?;
    let agent =
        ledger.tells("EnrolmentService/Enrol", Agent::redeem(system, &text, KeyPair::generate()?)).await?;
    let other = Agent::enrol(system, user).await?;
    let mut enrolment = EnrolmentServiceClient::new(system.channel(&system.api, None).await?);
    let begin = v1::BeginReturnRequest { agent_id: agent.id.clone() };
    let challenge = ledger.tells_nothing(enrolment.begin_return(begin)).await?.into_inner().challenge;
    let root = tls::pem::certificates(system.root_pem.as_bytes(), "root")?;
    let pin = hex::encode(tls::fingerprint(&root[0]));
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        vec![SanType::URI(format!("{RETURN_URI}{challenge}:{pin}").as_str().try_into()?)];
    let csr_pem = params.serialize_request(&agent.key)?.pem()?;
    let finish = v1::FinishReturnRequest { agent_id: agent.id.clone(), csr_pem };
    ledger.tells("EnrolmentService/FinishReturn", enrolment.finish_return(finish)).await?;
    let at = if matches!(ledger.conn, Conn::Sqlite(_)) { "1" } else { "now()" };
    ledger.execute(&format!("UPDATE agents SET locked_at = {at}, lock_reason = 'away'")).await?;
    for id in [&agent.id, &other.id] {
        let approve =
            ask!(user, AgentServiceClient.approve_agent(v1::ApproveAgentRequest { id: id.clone() }));
        ledger.tells("AgentService/ApproveAgent", approve).await?;
    }

    let account = ledger.tells("AccountService/CreateAccount", user.account("shop", &agent.id)).await?.id;
    ledger.tells_nothing(user.account("shop", &agent.id)).await?;
    ledger.tells("AccountService/UpdateAccount", user.auto_republish(&account, false)).await?;
    ledger.tells("AccountService/BindAccount", user.bind(&account, &other.id)).await?;
    user.bind(&account, &agent.id).await?;
    credentials(system, ledger, user, &agent, &account).await?;
    let set = v1::PacingPolicy { per_day: Some(50), ..v1::PacingPolicy::default() };
    let message = v1::UpdatePacingRequest { account_id: account.clone(), set: Some(set), reset: false };
    ledger
        .tells("AccountService/UpdatePacing", ask!(user, AccountServiceClient.update_pacing(message)))
        .await?;
    let message = v1::PauseAccountRequest { id: account.clone() };
    ledger
        .tells("AccountService/PauseAccount", ask!(user, AccountServiceClient.pause_account(message.clone())))
        .await?;
    ledger.tells_nothing(ask!(user, AccountServiceClient.pause_account(message))).await?;
    let message = v1::ResumeAccountRequest { id: account.clone(), end_cool_down: false };
    ledger
        .tells("AccountService/ResumeAccount", ask!(user, AccountServiceClient.resume_account(message)))
        .await?;
    Ok((agent, account))
}

/// A key for credentials, and a credential.
async fn credentials(
    system: &System,
    ledger: &mut Ledger,
    user: &User,
    agent: &Agent,
    account: &str,
) -> Result<()> {
    use crate::credentials::{set, tell};
    let stream = agent.attach(system, &[]).await?;
    ledger
        .tells("AgentCredentialService/TellCredentialKey", tell(&stream.channel, agent, &agent.key))
        .await?;
    ledger.tells("AccountService/SetCredential", set(user, account, &agent.id, 1)).await?;
    let message = v1::RemoveCredentialRequest { account_id: account.to_owned() };
    ledger
        .tells(
            "AccountService/RemoveCredential",
            ask!(user, AccountServiceClient.remove_credential(message.clone())),
        )
        .await?;
    ledger.tells_nothing(ask!(user, AccountServiceClient.remove_credential(message))).await?;
    Ok(())
}

/// Makes listings; returns their ids.
pub(super) async fn catalogue(ledger: &mut Ledger, user: &User) -> Result<Vec<String>> {
    let photo = ledger.tells("PhotoService/UploadPhoto", user.photo(photos::jpeg(1))).await?;
    ledger.tells_nothing(user.photo(photos::jpeg(1))).await?;
    let content = |title: &str| v1::ListingContent {
        title: title.into(),
        photo_ids: vec![photo.id.clone()],
        ..content()
    };
    let mut listings = Vec::new();
    for title in ["Drill", "Saw", "Plane", "Vice"] {
        let message =
            v1::CreateListingRequest { request_id: format!("l-{title}"), content: Some(content(title)) };
        let create = ask!(user, ListingServiceClient.create_listing(message.clone()));
        let made = ledger.tells("ListingService/CreateListing", create).await?.into_inner().listing;
        ledger.tells_nothing(ask!(user, ListingServiceClient.create_listing(message))).await?;
        listings.push(made.context("a listing")?);
    }
    let last = listings.pop().context("four")?;
    let message = v1::UpdateListingRequest {
        id: last.id.clone(),
        content: Some(content("Bench vice")),
        etag: last.etag,
    };
    ledger
        .tells("ListingService/UpdateListing", ask!(user, ListingServiceClient.update_listing(message)))
        .await?;
    let message = v1::DeleteListingRequest { id: last.id };
    ledger
        .tells("ListingService/DeleteListing", ask!(user, ListingServiceClient.delete_listing(message)))
        .await?;
    Ok(listings.into_iter().map(|listing| listing.id).collect())
}

/// Takes the next dispatch, and fails it for good. The one after it may come before it is told to be stored.
async fn fails(user: &User, stream: &mut Stream, early: &mut Option<v1::Dispatch>) -> Result<()> {
    let dispatch = match early.take() {
        Some(dispatch) => dispatch,
        None => stream.dispatch().await?,
    };
    let run = run(&dispatch);
    stream.acknowledge(&run).await?;
    stream.end(&run, failed("listing_rejected")).await?;
    user.job_reaches(&run.job_id, v1::JobState::Failed).await?;
    loop {
        match stream.next().await? {
            v1::open_response::Frame::RunEndedStored(_) => return Ok(()),
            v1::open_response::Frame::Dispatch(dispatch) => *early = Some(*dispatch),
            other => anyhow::bail!("expected RunEndedStored, got {other:?}"),
        }
    }
}

pub(super) async fn postings(
    system: &System,
    ledger: &mut Ledger,
    user: &User,
    (agent, account): (&Agent, &str),
    listings: &[String],
) -> Result<()> {
    let first = ledger.tells("PostingService/CreatePosting", user.post("p0", &listings[0], account)).await?;
    ledger.tells_nothing(user.post("p0", &listings[0], account)).await?;
    let message = v1::PrioritizePostingRequest { id: first.id.clone(), priority: 7 };
    ledger
        .tells(
            "PostingService/PrioritizePosting",
            ask!(user, PostingServiceClient.prioritize_posting(message)),
        )
        .await?;
    let message = v1::CancelPostingRequest { id: first.id.clone() };
    ledger
        .tells(
            "PostingService/CancelPosting",
            ask!(user, PostingServiceClient.cancel_posting(message.clone())),
        )
        .await?;
    ledger.tells_nothing(ask!(user, PostingServiceClient.cancel_posting(message))).await?;
    let one = |name: &str, listing: &str| v1::CreatePostingRequest {
        request_id: name.into(),
        listing_id: listing.into(),
        account_id: account.into(),
        ..v1::CreatePostingRequest::default()
    };
    let requests = vec![one("p1", &listings[1]), one("p2", &listings[2])];
    let batch = v1::BatchCreatePostingsRequest { requests };
    let made = ask!(user, PostingServiceClient.batch_create_postings(batch.clone()));
    let made = ledger.tells("PostingService/BatchCreatePostings", made).await?.into_inner().postings;
    ledger.tells_nothing(ask!(user, PostingServiceClient.batch_create_postings(batch))).await?;

    let mut stream = agent.attach(system, &[]).await?;
    let mut early = None;
    fails(user, &mut stream, &mut early).await?;
    fails(user, &mut stream, &mut early).await?;
    let message = v1::RetryJobRequest { id: made[0].job_id.clone() };
    ledger.tells("JobService/RetryJob", ask!(user, JobServiceClient.retry_job(message))).await?;
    fails(user, &mut stream, &mut early).await?;
    let message = v1::DiscardJobRequest { id: made[0].job_id.clone() };
    ledger.tells("JobService/DiscardJob", ask!(user, JobServiceClient.discard_job(message.clone()))).await?;
    ledger.tells_nothing(ask!(user, JobServiceClient.discard_job(message))).await?;
    let message = v1::TreatDeadLettersRequest {
        remedy: v1::DeadLetterRemedy::Retry.into(),
        ..v1::TreatDeadLettersRequest::default()
    };
    ledger
        .tells("JobService/TreatDeadLetters", ask!(user, JobServiceClient.treat_dead_letters(message)))
        .await?;
    fails(user, &mut stream, &mut early).await?;
    let message = v1::RetryPostingRequest { id: made[1].id.clone() };
    ledger
        .tells("PostingService/RetryPosting", ask!(user, PostingServiceClient.retry_posting(message)))
        .await?;

    let dispatch = match early {
        Some(dispatch) => dispatch,
        None => stream.dispatch().await?,
    };
    stream.acknowledge(&run(&dispatch)).await?;
    user.job_reaches(&run(&dispatch).job_id, v1::JobState::Running).await?;
    ledger.tells_nothing(stream.prepared(&dispatch)).await?;
    let permit =
        ledger.tells("PublishPermitService/AcquirePublishPermit", stream.permit(&dispatch, "r1")).await?;
    ledger.tells_nothing(stream.permit(&dispatch, "r1")).await?;
    let uncertain = || Outcome::Uncertain(v1::Uncertain { reason: "the page went away".into() });
    ledger
        .tells("PublishPermitService/SettlePublication", stream.settle(&dispatch, &permit, uncertain()))
        .await?;
    ledger.tells_nothing(stream.settle(&dispatch, &permit, uncertain())).await?;
    drop(stream);
    let message = v1::RequestLookRequest { id: made[1].id.clone() };
    ledger
        .tells("PostingService/RequestLook", ask!(user, PostingServiceClient.request_look(message)))
        .await?;
    let finding = v1::resolve_posting_request::Finding::NotPublished(v1::NotPublished {});
    let message = v1::ResolvePostingRequest { id: made[1].id.clone(), finding: Some(finding) };
    ledger
        .tells("PostingService/ResolvePosting", ask!(user, PostingServiceClient.resolve_posting(message)))
        .await?;
    let message = v1::LoginAccountRequest { request_id: "in".into(), id: account.into() };
    ledger
        .tells("AccountService/LoginAccount", ask!(user, AccountServiceClient.login_account(message.clone())))
        .await?;
    ledger.tells_nothing(ask!(user, AccountServiceClient.login_account(message))).await?;
    Ok(())
}
