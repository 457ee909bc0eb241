//! Calls about users, workspaces, sessions and tokens.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tradepost_proto::v1;
use tradepost_proto::v1::auth_service_client::AuthServiceClient;
use tradepost_proto::v1::second_factor_service_client::SecondFactorServiceClient;
use tradepost_proto::v1::session_service_client::SessionServiceClient;
use tradepost_proto::v1::token_service_client::TokenServiceClient;
use tradepost_proto::v1::user_service_client::UserServiceClient;
use tradepost_proto::v1::workspace_service_client::WorkspaceServiceClient;

use super::calls::{Listed, call, listed};
use super::{Client, Repeat, convert};
use crate::error::{Error, Result};
use crate::model::{self, Role, UserState};
use crate::prompt;
use crate::vault::SessionSecrets;

/// What a sign-in led to.
pub(crate) enum Login {
    Done(SessionSecrets),
    /// The password is right; a code is needed.
    NeedsCode,
}

/// Signing in.
impl Client {
    pub(crate) async fn login(
        &self,
        email: &str,
        password: &SecretString,
        code: &str,
        client: &str,
    ) -> Result<Login> {
        let request = v1::LoginRequest {
            email: email.to_owned(),
            password: password.expose_secret().to_owned(),
            code: code.to_owned(),
            client: client.to_owned(),
        };
        let send = |channel, request| async move { AuthServiceClient::new(channel).login(request).await };
        match self.attempt(Repeat::Never, &request, &send).await? {
            Ok(answer) => {
                let tokens = convert::present(answer.into_inner().tokens, "tokens")?;
                convert::session_secrets(tokens).map(Login::Done)
            }
            Err(status)
                if super::status::reason(&status).as_deref() == Some("SECOND_FACTOR_REQUIRED")
                    && code.is_empty() =>
            {
                Ok(Login::NeedsCode)
            }
            Err(status) => Err(super::status::error(&self.origin, &status)),
        }
    }

    pub(crate) async fn logout(&self) -> Result<()> {
        call!(self, Harmless, AuthServiceClient.logout(v1::LogoutRequest {})).map(drop)
    }

    pub(crate) async fn register(&self, email: String, password: &SecretString) -> Result<()> {
        let request = v1::RegisterRequest { email, password: password.expose_secret().to_owned() };
        call!(self, Never, AuthServiceClient.register(request)).map(drop)
    }

    /// Makes an account by an invitation; returns the workspace's name.
    pub(crate) async fn accept_invitation(
        &self,
        invitation: String,
        email: String,
        password: &SecretString,
    ) -> Result<String> {
        let password = password.expose_secret().to_owned();
        let request = v1::AcceptInvitationRequest { invitation, email, password };
        call!(self, Never, AuthServiceClient.accept_invitation(request)).map(|answer| answer.workspace_name)
    }

    /// Asks for a proof that it is really them.
    pub(crate) async fn step_up(&self) -> Result<Option<model::Time>> {
        let identity = self.who_am_i().await?;
        let mut request = v1::StepUpRequest::default();
        if identity.second_factor {
            request.code = prompt::text("Code of your authenticator, to prove that it is you")?;
        } else {
            let password = prompt::secret("Your password, to prove that it is you")?;
            password.expose_secret().clone_into(&mut request.password);
        }
        let answer = call!(self, Never, AuthServiceClient.step_up(request))?;
        Ok(convert::time(answer.expires_at))
    }

    pub(crate) async fn change_password(&self, password: &SecretString, new: &SecretString) -> Result<()> {
        let request = v1::ChangePasswordRequest {
            password: password.expose_secret().to_owned(),
            new_password: new.expose_secret().to_owned(),
        };
        call!(self, Never, AuthServiceClient.change_password(request)).map(drop)
    }

    pub(crate) async fn reset_password(&self, reset: String, new: &SecretString) -> Result<()> {
        let request = v1::ResetPasswordRequest { reset, new_password: new.expose_secret().to_owned() };
        call!(self, Never, AuthServiceClient.reset_password(request)).map(drop)
    }

    /// The seed in base32, and the address for a QR code.
    pub(crate) async fn begin_second_factor(&self) -> Result<(SecretString, SecretString)> {
        let request = v1::BeginSecondFactorRequest {};
        let answer = call!(self, Never, SecondFactorServiceClient.begin_second_factor(request))?;
        Ok((SecretString::from(answer.secret), SecretString::from(answer.uri)))
    }

    /// Recovery codes; none where the code is wrong.
    pub(crate) async fn confirm_second_factor(&self, code: String) -> Result<Option<Vec<String>>> {
        let request = v1::ConfirmSecondFactorRequest { code };
        let send = |channel, request| async move {
            SecondFactorServiceClient::new(channel).confirm_second_factor(request).await
        };
        match self.attempt(Repeat::Never, &request, &send).await? {
            Ok(answer) => Ok(Some(answer.into_inner().recovery_codes)),
            Err(status) if super::status::reason(&status).as_deref() == Some("CODE_INVALID") => Ok(None),
            Err(status) => Err(super::status::error(&self.origin, &status)),
        }
    }

    /// Recovery codes.
    pub(crate) async fn replace_recovery_codes(&self) -> Result<Vec<String>> {
        let request = v1::ReplaceRecoveryCodesRequest {};
        let answer = call!(self, Never, SecondFactorServiceClient.replace_recovery_codes(request))?;
        Ok(answer.recovery_codes)
    }

    pub(crate) async fn remove_second_factor(&self) -> Result<()> {
        let request = v1::RemoveSecondFactorRequest {};
        call!(self, Never, SecondFactorServiceClient.remove_second_factor(request)).map(drop)
    }
}

/// Sessions and tokens.
impl Client {
    pub(crate) async fn list_sessions(&self, limit: usize) -> Result<Listed<model::Session>> {
        listed(limit, async |page_size, page_token| {
            let request = v1::ListSessionsRequest { page_size, page_token };
            let answer = call!(self, Harmless, SessionServiceClient.list_sessions(request))?;
            let v1::ListSessionsResponse { sessions, next_page_token } = answer;
            Ok((sessions.into_iter().map(convert::session).collect(), next_page_token))
        })
        .await
    }

    pub(crate) async fn revoke_session(&self, id: String) -> Result<()> {
        call!(self, Harmless, SessionServiceClient.revoke_session(v1::RevokeSessionRequest { id })).map(drop)
    }

    /// The workspace's name.
    pub(crate) async fn switch_workspace(&self, workspace: String) -> Result<String> {
        let request = v1::SwitchWorkspaceRequest { workspace };
        call!(self, Harmless, SessionServiceClient.switch_workspace(request))
            .map(|answer| answer.workspace_name)
    }

    pub(crate) async fn create_token(
        &self,
        name: String,
        scopes: Vec<String>,
        ttl: Duration,
    ) -> Result<model::NewToken> {
        let request_id = self.request_id();
        let request = v1::CreateTokenRequest { name, scopes, ttl: Some(wire(ttl)?), request_id };
        let answer = call!(self, Harmless, TokenServiceClient.create_token(request))?;
        let v1::CreateTokenResponse { token, secret } = answer;
        Ok(model::NewToken { token: convert::token(convert::present(token, "token")?), secret })
    }

    pub(crate) async fn list_tokens(&self, limit: usize) -> Result<Listed<model::Token>> {
        listed(limit, async |page_size, page_token| {
            let request = v1::ListTokensRequest { page_size, page_token };
            let answer = call!(self, Harmless, TokenServiceClient.list_tokens(request))?;
            let v1::ListTokensResponse { tokens, next_page_token } = answer;
            Ok((tokens.into_iter().map(convert::token).collect(), next_page_token))
        })
        .await
    }

    pub(crate) async fn revoke_token(&self, id: String) -> Result<()> {
        call!(self, Harmless, TokenServiceClient.revoke_token(v1::RevokeTokenRequest { id })).map(drop)
    }
}

/// Workspaces, members, invitations.
impl Client {
    pub(crate) async fn list_workspaces(&self, limit: usize) -> Result<Listed<model::Workspace>> {
        listed(limit, async |page_size, page_token| {
            let request = v1::ListWorkspacesRequest { page_size, page_token };
            let answer = call!(self, Harmless, WorkspaceServiceClient.list_workspaces(request))?;
            let v1::ListWorkspacesResponse { workspaces, next_page_token } = answer;
            Ok((workspaces.into_iter().map(convert::workspace).collect(), next_page_token))
        })
        .await
    }

    pub(crate) async fn create_workspace(&self, name: String) -> Result<model::Workspace> {
        let request = v1::CreateWorkspaceRequest { request_id: self.request_id(), name };
        let answer = call!(self, Harmless, WorkspaceServiceClient.create_workspace(request))?;
        convert::present(answer.workspace, "workspace").map(convert::workspace)
    }

    pub(crate) async fn join_workspace(&self, invitation: String) -> Result<model::Workspace> {
        let request = v1::JoinWorkspaceRequest { invitation };
        let answer = call!(self, Never, WorkspaceServiceClient.join_workspace(request))?;
        convert::present(answer.workspace, "workspace").map(convert::workspace)
    }

    pub(crate) async fn leave_workspace(&self) -> Result<()> {
        call!(self, Never, WorkspaceServiceClient.leave_workspace(v1::LeaveWorkspaceRequest {})).map(drop)
    }

    pub(crate) async fn transfer_ownership(&self, user_id: String) -> Result<model::Member> {
        let request = v1::TransferOwnershipRequest { user_id };
        let answer = call!(self, Never, WorkspaceServiceClient.transfer_ownership(request))?;
        convert::present(answer.member, "member").map(convert::member)
    }

    pub(crate) async fn list_members(&self, limit: usize) -> Result<Listed<model::Member>> {
        listed(limit, async |page_size, page_token| {
            let request = v1::ListMembersRequest { page_size, page_token };
            let answer = call!(self, Harmless, WorkspaceServiceClient.list_members(request))?;
            let v1::ListMembersResponse { members, next_page_token } = answer;
            Ok((members.into_iter().map(convert::member).collect(), next_page_token))
        })
        .await
    }

    pub(crate) async fn set_member_role(&self, user_id: String, role: Role) -> Result<model::Member> {
        let request = v1::SetMemberRoleRequest { user_id, role: convert::role(role).into() };
        let answer = call!(self, Never, WorkspaceServiceClient.set_member_role(request))?;
        convert::present(answer.member, "member").map(convert::member)
    }

    pub(crate) async fn remove_member(&self, user_id: String) -> Result<()> {
        let request = v1::RemoveMemberRequest { user_id };
        call!(self, Never, WorkspaceServiceClient.remove_member(request)).map(drop)
    }

    pub(crate) async fn create_invitation(
        &self,
        email: String,
        role: Role,
        ttl: Duration,
    ) -> Result<model::NewInvitation> {
        let role = convert::role(role).into();
        let request_id = self.request_id();
        let request = v1::CreateInvitationRequest { email, role, ttl: Some(wire(ttl)?), request_id };
        let answer = call!(self, Harmless, WorkspaceServiceClient.create_invitation(request))?;
        let v1::CreateInvitationResponse { invitation, secret } = answer;
        let invitation = convert::invitation(convert::present(invitation, "invitation")?);
        Ok(model::NewInvitation { invitation, secret })
    }

    pub(crate) async fn list_invitations(&self, limit: usize) -> Result<Listed<model::Invitation>> {
        listed(limit, async |page_size, page_token| {
            let request = v1::ListInvitationsRequest { page_size, page_token };
            let answer = call!(self, Harmless, WorkspaceServiceClient.list_invitations(request))?;
            let v1::ListInvitationsResponse { invitations, next_page_token } = answer;
            Ok((invitations.into_iter().map(convert::invitation).collect(), next_page_token))
        })
        .await
    }

    pub(crate) async fn revoke_invitation(&self, id: String) -> Result<()> {
        let request = v1::RevokeInvitationRequest { id };
        call!(self, Harmless, WorkspaceServiceClient.revoke_invitation(request)).map(drop)
    }
}

/// Users, for operators.
impl Client {
    pub(crate) async fn list_users(
        &self,
        limit: usize,
        state: Option<UserState>,
    ) -> Result<Listed<model::User>> {
        let state: i32 = convert::user_state(state).into();
        listed(limit, async |page_size, page_token| {
            let request = v1::ListUsersRequest { page_size, page_token, state };
            let answer = call!(self, Harmless, UserServiceClient.list_users(request))?;
            let v1::ListUsersResponse { users, next_page_token } = answer;
            Ok((users.into_iter().map(convert::user).collect(), next_page_token))
        })
        .await
    }

    pub(crate) async fn get_user(&self, id: String) -> Result<model::User> {
        let answer = call!(self, Harmless, UserServiceClient.get_user(v1::GetUserRequest { id }))?;
        convert::present(answer.user, "user").map(convert::user)
    }

    pub(crate) async fn approve_user(&self, id: String, workspace_name: String) -> Result<model::User> {
        let request = v1::ApproveUserRequest { id, workspace_name };
        let answer = call!(self, Never, UserServiceClient.approve_user(request))?;
        convert::present(answer.user, "user").map(convert::user)
    }

    pub(crate) async fn suspend_user(&self, id: String) -> Result<model::User> {
        let answer = call!(self, Harmless, UserServiceClient.suspend_user(v1::SuspendUserRequest { id }))?;
        convert::present(answer.user, "user").map(convert::user)
    }

    pub(crate) async fn reinstate_user(&self, id: String) -> Result<model::User> {
        let answer =
            call!(self, Harmless, UserServiceClient.reinstate_user(v1::ReinstateUserRequest { id }))?;
        convert::present(answer.user, "user").map(convert::user)
    }

    pub(crate) async fn set_operator(&self, id: String, operator: bool) -> Result<model::User> {
        let request = v1::SetOperatorRequest { id, operator };
        let answer = call!(self, Harmless, UserServiceClient.set_operator(request))?;
        convert::present(answer.user, "user").map(convert::user)
    }

    pub(crate) async fn create_password_reset(
        &self,
        id: String,
        ttl: Duration,
    ) -> Result<model::PasswordReset> {
        let request = v1::CreatePasswordResetRequest { id, ttl: Some(wire(ttl)?) };
        let answer = call!(self, Never, UserServiceClient.create_password_reset(request))?;
        let v1::CreatePasswordResetResponse { secret, expires_at } = answer;
        Ok(model::PasswordReset { secret, expires_at: convert::time(expires_at) })
    }

    pub(crate) async fn reset_second_factor(&self, id: String) -> Result<model::User> {
        let request = v1::ResetSecondFactorRequest { id };
        let answer = call!(self, Never, UserServiceClient.reset_second_factor(request))?;
        convert::present(answer.user, "user").map(convert::user)
    }
}

fn wire(ttl: Duration) -> Result<prost_types::Duration> {
    prost_types::Duration::try_from(ttl).map_err(|_| Error::usage("--ttl is too long"))
}
