//! Users: how they come, sign in, prove who they are, and go.

use std::time::Duration;

use anyhow::Result;
use tonic::Code;
use tonic_types::StatusExt;
use tradepost_proto::v1;
use tradepost_testkit::wait;
use v1::auth_service_client::AuthServiceClient;
use v1::session_service_client::SessionServiceClient;
use v1::user_service_client::UserServiceClient;

use crate::person::{PASSWORD, Person, code, fresh_address, from, login};
use crate::system::{DEADLINE, System, fields, reason};

const MINUTE: Duration = Duration::from_secs(61);

#[tokio::test]
async fn a_registered_user_waits_for_an_operator_and_can_be_shut_out() -> Result<()> {
    let system = System::start().await?;
    let operator = system.user().await?;
    let address = fresh_address();
    let mut auth = AuthServiceClient::new(operator.channel.clone());
    let register = |email: &str, password: &str| {
        from(&address, v1::RegisterRequest { email: email.into(), password: password.into() })
    };
    for (email, password, wrong) in [
        ("ada", PASSWORD, vec!["email"]),
        ("ada@example.com", "short", vec!["password"]),
        ("ada@example.com", "password1234", vec!["password"]),
        ("ada.lovelace@example.com", "ada.lovelace@example.com", vec!["password"]),
        ("", &"x".repeat(300), vec!["email"]),
    ] {
        let refused = auth.register(register(email, password)).await.expect_err(password);
        assert_eq!(fields(&refused), wrong, "{email} {password}");
    }
    auth.register(register("Ada@Example.com", PASSWORD)).await?;
    // The same answer for a known address; and its password is not replaced.
    auth.register(register("ada@example.com", "another horse battery staple")).await?;
    let refused = login(&operator.channel, &address, "ada@example.com", PASSWORD, "").await;
    assert_eq!(reason(&refused.expect_err("not approved")), "USER_NOT_ACTIVE");
    let refused =
        login(&operator.channel, &address, "ada@example.com", "another horse battery staple", "").await;
    assert_eq!(reason(&refused.expect_err("wrong")), "SIGN_IN_FAILED");
    let refused = login(&operator.channel, &address, "nobody@example.com", PASSWORD, "").await;
    assert_eq!(reason(&refused.expect_err("unknown")), "SIGN_IN_FAILED");

    let user = system.find_user("ada@example.com").await?;
    assert_eq!(user.state(), v1::UserState::Pending);
    let mut users = UserServiceClient::new(operator.channel.clone());
    let approve = v1::ApproveUserRequest { id: user.id.clone(), workspace_name: String::new() };
    users.approve_user(operator.request(approve)).await?;
    let ada = system.sign_in("ada@example.com", &address).await?;
    let who = ada.who().await?;
    assert_eq!((who.email.as_str(), who.workspace_id.as_str(), who.operator), ("ada@example.com", "", false));
    let refused = ada.users().list_users(ada.request(v1::ListUsersRequest::default())).await;
    assert_eq!(reason(&refused.expect_err("no operator")), "ROLE_INSUFFICIENT");
    let request = ada.request(v1::ListMembersRequest::default());
    let refused = ada.workspaces().list_members(request).await;
    assert_eq!(reason(&refused.expect_err("no workspace")), "NO_WORKSPACE");
    let create = v1::CreateWorkspaceRequest { request_id: "w1".into(), name: "Ada's shop".into() };
    let made = ada.workspaces().create_workspace(ada.request(create.clone())).await?.into_inner();
    let again = ada.workspaces().create_workspace(ada.request(create)).await?.into_inner();
    assert_eq!(made, again, "a repeat gives the same workspace");

    users.suspend_user(operator.request(v1::SuspendUserRequest { id: user.id.clone() })).await?;
    wait::until("the session to be refused", DEADLINE, || async {
        match ada.who().await {
            Err(refused) if reason(&refused) == "TOKEN_INVALID" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let refused = login(&operator.channel, &fresh_address(), "ada@example.com", PASSWORD, "").await;
    assert_eq!(reason(&refused.expect_err("suspended")), "USER_NOT_ACTIVE");
    let refused = ada.refresh(&ada.tokens.refresh_token).await.expect_err("suspended");
    assert_eq!(reason(&refused), "SESSION_ENDED");
    users.reinstate_user(operator.request(v1::ReinstateUserRequest { id: user.id })).await?;
    system.sign_in("ada@example.com", &fresh_address()).await?;
    let request =
        operator.request(v1::SuspendUserRequest { id: system.find_user("a@example.com").await?.id });
    let refused = users.suspend_user(request).await.expect_err("the last operator");
    assert_eq!(reason(&refused), "LAST_OPERATOR");
    Ok(())
}

#[tokio::test]
async fn invitations_make_members_and_workspaces_stay_apart() -> Result<()> {
    let system = System::start().await?;
    let (ada, bob) = (system.person("ada").await?, system.person("bob").await?);
    let hers = ada.who().await?.workspace_id;
    let for_bob = ada.invite("BOB@example.com", v1::Role::Editor).await?;
    let refused = ada.join(&for_bob).await.expect_err("for somebody else");
    assert_eq!(reason(&refused), "INVITATION_INVALID");
    let members = async |person: &Person| {
        let request = person.request_in(&hers, v1::ListMembersRequest::default());
        person.workspaces().list_members(request).await
    };
    let refused = members(&bob).await.expect_err("no member yet");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "WORKSPACE_NOT_FOUND"));
    assert_eq!(bob.join(&for_bob).await?.id, hers);
    assert_eq!(reason(&bob.join(&for_bob).await.expect_err("used")), "INVITATION_INVALID");
    let listed = members(&bob).await?.into_inner().members;
    assert_eq!(
        listed.iter().map(|m| m.email.as_str()).collect::<Vec<_>>(),
        ["ada@example.com", "bob@example.com"]
    );
    let invite = v1::CreateInvitationRequest { role: v1::Role::Owner.into(), ..Default::default() };
    let refused = bob.workspaces().create_invitation(bob.request_in(&hers, invite)).await;
    assert_eq!(reason(&refused.expect_err("an editor")), "ROLE_INSUFFICIENT");

    let open = ada.invite("", v1::Role::Viewer).await?;
    let accept = async |email: &str| {
        let (invitation, password) = (open.clone(), String::from(PASSWORD));
        let message = v1::AcceptInvitationRequest { invitation, email: email.into(), password };
        ada.auth().accept_invitation(from(&ada.address, message)).await
    };
    let refused = accept("bob@example.com").await.expect_err("an address that is taken");
    assert_eq!(reason(&refused), "USER_EMAIL_TAKEN");
    accept("eve@example.com").await?;
    let eve = system.sign_in("eve@example.com", &fresh_address()).await?;
    assert_eq!((eve.who().await?.workspace_id, eve.who().await?.role()), (hers.clone(), v1::Role::Viewer));

    let bob_id = system.find_user("bob@example.com").await?.id;
    let transfer = ada.request(v1::TransferOwnershipRequest { user_id: bob_id.clone() });
    ada.workspaces().transfer_ownership(transfer).await?;
    let demote = v1::SetMemberRoleRequest { user_id: bob_id, role: v1::Role::Viewer.into() };
    let refused = bob.workspaces().set_member_role(bob.request_in(&hers, demote)).await;
    assert_eq!(reason(&refused.expect_err("the last owner")), "LAST_OWNER");
    let leave = ada.request(v1::LeaveWorkspaceRequest {});
    ada.workspaces().leave_workspace(leave).await?;
    assert!(members(&ada).await.is_err());
    // Switching: bob's session works in her workspace from now on.
    let switch = bob.request(v1::SwitchWorkspaceRequest { workspace: hers.clone() });
    SessionServiceClient::new(bob.channel.clone()).switch_workspace(switch).await?;
    assert_eq!(bob.who().await?.workspace_id, hers);
    let switch = ada.request(v1::SwitchWorkspaceRequest { workspace: hers });
    let refused = SessionServiceClient::new(ada.channel.clone()).switch_workspace(switch).await;
    assert_eq!(reason(&refused.expect_err("no longer a member")), "WORKSPACE_NOT_FOUND");
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_that_comes_back_ends_the_session() -> Result<()> {
    let system = System::start().await?;
    let mut ada = system.person("ada").await?;
    let first = ada.tokens.clone();
    let second = ada.refresh(&first.refresh_token).await?;
    // An answer that got lost, or two programs at once.
    let again = ada.refresh(&first.refresh_token).await?;
    assert_ne!(second.refresh_token, again.refresh_token);
    let third = ada.refresh(&again.refresh_token).await?;
    ada.tokens.clone_from(&third);
    assert_eq!(ada.who().await?.email, "ada@example.com");
    let refused = ada.refresh(&first.refresh_token).await.expect_err("no longer the predecessor");
    assert_eq!(reason(&refused), "SESSION_ENDED");
    let refused = ada.refresh(&third.refresh_token).await.expect_err("the family is dead");
    assert_eq!(reason(&refused), "SESSION_ENDED");
    assert_eq!(reason(&ada.who().await.expect_err("and its access tokens")), "TOKEN_INVALID");

    let ada = system.sign_in("ada@example.com", &ada.address).await?;
    ada.refresh(&ada.tokens.refresh_token).await?;
    system.clock.advance(Duration::from_secs(11));
    let refused = ada.refresh(&ada.tokens.refresh_token).await.expect_err("after the leeway");
    assert_eq!(reason(&refused), "SESSION_ENDED");
    assert_eq!(reason(&ada.who().await.expect_err("ended")), "TOKEN_INVALID");

    let idle = system.sign_in("ada@example.com", &ada.address).await?;
    system.clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(reason(&idle.refresh(&idle.tokens.refresh_token).await.expect_err("idle")), "SESSION_ENDED");
    for forged in ["", "tpr_", &format!("tpr_{}", "A".repeat(43)), &idle.tokens.access_token] {
        assert_eq!(reason(&idle.refresh(forged).await.expect_err("forged")), "SESSION_ENDED", "{forged:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_each_code_works_once() -> Result<()> {
    let system = System::start().await?;
    let ada = system.person("ada").await?;
    let (totp, recovery) = ada.set_up_factor(&system).await?;
    assert_eq!(recovery.len(), 10);
    let sign_in = |code: String, address: &'static str| {
        let channel = ada.channel.clone();
        async move { login(&channel, address, "ada@example.com", PASSWORD, &code).await }
    };
    let refused = sign_in(String::new(), "198.51.100.1").await.expect_err("no code");
    assert_eq!(reason(&refused), "SECOND_FACTOR_REQUIRED");
    let refused =
        sign_in(code(&totp, &system), "198.51.100.1").await.expect_err("the code that confirmed it");
    assert_eq!(reason(&refused), "CODE_INVALID");
    system.clock.advance(Duration::from_secs(30));
    let now = code(&totp, &system);
    sign_in(now.clone(), "198.51.100.1").await?;
    let refused = sign_in(now, "198.51.100.2").await.expect_err("used");
    assert_eq!(reason(&refused), "CODE_INVALID");
    sign_in(recovery[0].clone(), "198.51.100.3").await?;
    let refused = sign_in(recovery[0].clone(), "198.51.100.3").await.expect_err("used");
    assert_eq!(reason(&refused), "CODE_INVALID");
    sign_in(recovery[1].to_uppercase().replace('-', " "), "198.51.100.3").await?;

    // Five tries in fifteen minutes, wherever from; then even the right code waits.
    let mut refusals = Vec::new();
    for n in 0..6_u8 {
        let address: &'static str = ["198.51.100.4", "198.51.100.5", "198.51.100.6"][usize::from(n) % 3];
        refusals.push(reason(&sign_in("000000".into(), address).await.expect_err("wrong")));
    }
    assert_eq!(refusals, ["CODE_INVALID"; 5].into_iter().chain(["TOO_MANY_TRIES"]).collect::<Vec<_>>());
    system.clock.advance(Duration::from_secs(14 * 60));
    let refused = sign_in(code(&totp, &system), "198.51.100.7").await.expect_err("too early");
    assert_eq!(reason(&refused), "TOO_MANY_TRIES");
    assert!(refused.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()));
    system.clock.advance(MINUTE);
    sign_in(code(&totp, &system), "198.51.100.7").await?;

    // Lost altogether: an operator removes it.
    let operator = system.user().await?;
    let id = system.find_user("ada@example.com").await?.id;
    let request = operator.request(v1::ResetSecondFactorRequest { id });
    UserServiceClient::new(operator.channel.clone()).reset_second_factor(request).await?;
    sign_in(String::new(), "198.51.100.8").await?;
    Ok(())
}

#[tokio::test]
async fn weighty_calls_need_a_fresh_proof_and_operators_a_second_factor() -> Result<()> {
    let system = System::start().await?;
    let ada = system.person("ada").await?;
    system.clock.advance(Duration::from_secs(9 * 60));
    ada.invite("", v1::Role::Viewer).await?;
    system.clock.advance(Duration::from_secs(61));
    let refused = ada.invite("", v1::Role::Viewer).await.expect_err("an old proof");
    // The access token ended at the same time.
    assert_eq!(reason(&refused), "TOKEN_INVALID");
    let mut ada = ada;
    ada.tokens = ada.refresh(&ada.tokens.refresh_token).await?;
    let refused = ada.invite("", v1::Role::Viewer).await.expect_err("an old proof");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "STEP_UP_REQUIRED"));
    let wrong = v1::StepUpRequest { password: "wrong".into(), ..Default::default() };
    assert_eq!(reason(&ada.auth().step_up(ada.request(wrong)).await.expect_err("wrong")), "SIGN_IN_FAILED");
    let right = v1::StepUpRequest { password: PASSWORD.into(), ..Default::default() };
    ada.auth().step_up(ada.request(right.clone())).await?;
    ada.invite("", v1::Role::Viewer).await?;

    let operator = system.user().await?;
    let id = system.find_user("ada@example.com").await?.id;
    let request = operator.request(v1::SetOperatorRequest { id, operator: true });
    UserServiceClient::new(operator.channel.clone()).set_operator(request).await?;
    assert!(ada.who().await?.second_factor_missing);
    let refused = ada.users().list_users(ada.request(v1::ListUsersRequest::default())).await;
    assert_eq!(reason(&refused.expect_err("without a factor")), "SECOND_FACTOR_MISSING");
    let (totp, _) = ada.set_up_factor(&system).await?;
    ada.users().list_users(ada.request(v1::ListUsersRequest::default())).await?;
    // From now on the password alone proves nothing.
    assert_eq!(
        reason(&ada.auth().step_up(ada.request(right)).await.expect_err("a code is needed")),
        "SECOND_FACTOR_REQUIRED"
    );
    system.clock.advance(Duration::from_secs(30));
    let proof = v1::StepUpRequest { code: code(&totp, &system), ..Default::default() };
    ada.auth().step_up(ada.request(proof)).await?;
    Ok(())
}

#[tokio::test]
async fn passwords_are_changed_and_reset() -> Result<()> {
    let system = System::start().await?;
    let ada = system.person("ada").await?;
    let other = system.sign_in("ada@example.com", &fresh_address()).await?;
    let change = |password: &str, new: &str| {
        ada.request(v1::ChangePasswordRequest { password: password.into(), new_password: new.into() })
    };
    let refused = ada.auth().change_password(change("wrong", "new horse battery staple")).await;
    assert_eq!(reason(&refused.expect_err("wrong")), "SIGN_IN_FAILED");
    let refused = ada.auth().change_password(change(PASSWORD, "aaaaaaaaaaaa")).await.expect_err("weak");
    assert_eq!(fields(&refused), ["new_password"]);
    ada.auth().change_password(change(PASSWORD, "new horse battery staple")).await?;
    assert_eq!(ada.who().await?.email, "ada@example.com");
    assert_eq!(reason(&other.who().await.expect_err("ended")), "TOKEN_INVALID");

    let operator = system.user().await?;
    let id = system.find_user("ada@example.com").await?.id;
    let request = operator.request(v1::CreatePasswordResetRequest { id, ttl: None });
    let reset = UserServiceClient::new(operator.channel.clone())
        .create_password_reset(request)
        .await?
        .into_inner()
        .secret;
    let redeem = |reset: &str, new: &str| {
        from(&ada.address, v1::ResetPasswordRequest { reset: reset.into(), new_password: new.into() })
    };
    let refused = ada.auth().reset_password(redeem(&reset, "short")).await.expect_err("weak");
    assert_eq!(fields(&refused), ["new_password"], "a weak password leaves the string unused");
    let refused = ada.auth().reset_password(redeem("tpw_forged", PASSWORD)).await.expect_err("forged");
    assert_eq!(reason(&refused), "RESET_INVALID");
    ada.auth().reset_password(redeem(&reset, PASSWORD)).await?;
    let refused = ada.auth().reset_password(redeem(&reset, PASSWORD)).await.expect_err("used");
    assert_eq!(reason(&refused), "RESET_INVALID");
    assert_eq!(reason(&ada.who().await.expect_err("ended")), "TOKEN_INVALID");
    system.sign_in("ada@example.com", &fresh_address()).await?;
    Ok(())
}

/// An answer with a secret that was lost: the repeat makes nothing twice, and what was in the lost answer works no more.
#[tokio::test]
async fn a_repeated_request_gives_one_token_and_one_invitation() -> Result<()> {
    let system = System::start().await?;
    let ada = system.person("ada").await?;
    let mut tokens = v1::token_service_client::TokenServiceClient::new(ada.channel.clone());
    let token = |name: &str| {
        ada.request(v1::CreateTokenRequest {
            name: name.into(),
            scopes: vec!["*".into()],
            ttl: None,
            request_id: "t".into(),
        })
    };
    let lost = tokens.create_token(token("ci")).await?.into_inner();
    system.clock.advance(MINUTE);
    let made = tokens.create_token(token("ci")).await?.into_inner();
    let (of_lost, of_made) = (lost.token.unwrap_or_default(), made.token.unwrap_or_default());
    assert_eq!((&of_made.id, of_made.created_at), (&of_lost.id, of_lost.created_at));
    let who = "/tradepost.v1.AuthService/WhoAmI";
    ada.may(&made.secret, who, v1::WhoAmIRequest {}).await?;
    let refused = ada.may(&lost.secret, who, v1::WhoAmIRequest {}).await.expect_err("of the lost answer");
    assert_eq!(reason(&refused), "TOKEN_INVALID");
    let other = tokens.create_token(token("another")).await.expect_err("another request of that name");
    assert_eq!(reason(&other), "ID_TAKEN");
    let listed = tokens.list_tokens(ada.request(v1::ListTokensRequest::default())).await?.into_inner().tokens;
    assert_eq!(listed.len(), 1);

    let invitation = |role: v1::Role| {
        let role = role.into();
        ada.request(v1::CreateInvitationRequest { role, request_id: "i".into(), ..Default::default() })
    };
    let lost = ada.workspaces().create_invitation(invitation(v1::Role::Viewer)).await?.into_inner();
    let made = ada.workspaces().create_invitation(invitation(v1::Role::Viewer)).await?.into_inner();
    assert_eq!(made.invitation.unwrap_or_default().id, lost.invitation.unwrap_or_default().id);
    let other =
        ada.workspaces().create_invitation(invitation(v1::Role::Owner)).await.expect_err("another role");
    assert_eq!(reason(&other), "ID_TAKEN");
    let bob = system.person("bob").await?;
    assert_eq!(reason(&bob.join(&lost.secret).await.expect_err("of the lost answer")), "INVITATION_INVALID");
    bob.join(&made.secret).await?;
    let used =
        ada.workspaces().create_invitation(invitation(v1::Role::Viewer)).await.expect_err("it was used");
    assert_eq!(reason(&used), "ID_TAKEN");
    Ok(())
}
