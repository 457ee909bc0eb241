//! AuthService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_proto::convert::time;
use tradepost_proto::v1;
use tradepost_proto::v1::auth_service_server::AuthService;
use tradepost_runtime::build;
use tradepost_store::Role;

use super::{Api, bearer, peer_of, status};
use crate::service::people::session::{Issued, SignIn};

#[async_trait]
impl AuthService for Api {
    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let bearer = bearer(&request)?;
        let second_factor_missing = self.people.lacks_factor(&bearer);
        let (workspace_id, workspace_name, role) =
            bearer.membership.map_or((String::new(), String::new(), v1::Role::Unspecified), |own| {
                (own.workspace.to_string(), own.name, wire_role(own.role))
            });
        Ok(Response::new(v1::WhoAmIResponse {
            user_id: bearer.user.to_string(),
            email: bearer.email,
            workspace_id,
            workspace_name,
            role: role.into(),
            controller_version: build::describe(),
            operator: bearer.operator,
            second_factor: bearer.second_factor,
            second_factor_missing,
        }))
    }

    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        let peer = peer_of(&request)?;
        let v1::RegisterRequest { email, password } = request.into_inner();
        self.people.register(&email, &password, peer).await.map_err(status::from)?;
        Ok(Response::new(v1::RegisterResponse {}))
    }

    async fn accept_invitation(
        &self,
        request: Request<v1::AcceptInvitationRequest>,
    ) -> Result<Response<v1::AcceptInvitationResponse>, Status> {
        let peer = peer_of(&request)?;
        let v1::AcceptInvitationRequest { invitation, email, password } = request.into_inner();
        let joined = self.people.accept_as_new(&invitation, &email, &password, peer).await;
        let joined = joined.map_err(status::from)?;
        Ok(Response::new(v1::AcceptInvitationResponse {
            workspace_id: joined.workspace.to_string(),
            workspace_name: joined.name,
        }))
    }

    async fn login(&self, request: Request<v1::LoginRequest>) -> Result<Response<v1::LoginResponse>, Status> {
        let peer = peer_of(&request)?;
        let v1::LoginRequest { email, password, code, client } = request.into_inner();
        let sign_in = SignIn { email, password, code, client };
        let issued = self.people.sign_in(sign_in, peer).await.map_err(status::from)?;
        Ok(Response::new(v1::LoginResponse { tokens: Some(wire_tokens(issued)) }))
    }

    async fn refresh_session(
        &self,
        request: Request<v1::RefreshSessionRequest>,
    ) -> Result<Response<v1::RefreshSessionResponse>, Status> {
        let peer = peer_of(&request)?;
        let v1::RefreshSessionRequest { refresh_token } = request.into_inner();
        let issued = self.people.refresh(&refresh_token, peer).await.map_err(status::from)?;
        Ok(Response::new(v1::RefreshSessionResponse { tokens: Some(wire_tokens(issued)) }))
    }

    async fn logout(
        &self,
        request: Request<v1::LogoutRequest>,
    ) -> Result<Response<v1::LogoutResponse>, Status> {
        self.people.sign_out(&bearer(&request)?).await.map_err(status::from)?;
        Ok(Response::new(v1::LogoutResponse {}))
    }

    async fn step_up(
        &self,
        request: Request<v1::StepUpRequest>,
    ) -> Result<Response<v1::StepUpResponse>, Status> {
        let (bearer, peer) = (bearer(&request)?, peer_of(&request)?);
        let v1::StepUpRequest { code, password } = request.into_inner();
        let until = self.people.step_up(&bearer, &code, &password, peer).await.map_err(status::from)?;
        Ok(Response::new(v1::StepUpResponse { expires_at: Some(time::to_wire(until)) }))
    }

    async fn change_password(
        &self,
        request: Request<v1::ChangePasswordRequest>,
    ) -> Result<Response<v1::ChangePasswordResponse>, Status> {
        let (bearer, peer) = (bearer(&request)?, peer_of(&request)?);
        let v1::ChangePasswordRequest { password, new_password } = request.into_inner();
        self.people.change_password(&bearer, &password, &new_password, peer).await.map_err(status::from)?;
        Ok(Response::new(v1::ChangePasswordResponse {}))
    }

    async fn reset_password(
        &self,
        request: Request<v1::ResetPasswordRequest>,
    ) -> Result<Response<v1::ResetPasswordResponse>, Status> {
        let peer = peer_of(&request)?;
        let v1::ResetPasswordRequest { reset, new_password } = request.into_inner();
        self.people.reset_password(&reset, &new_password, peer).await.map_err(status::from)?;
        Ok(Response::new(v1::ResetPasswordResponse {}))
    }
}

fn wire_tokens(issued: Issued) -> v1::SessionTokens {
    let Issued { session, access, access_expires_at, refresh, refresh_expires_at, session_expires_at } =
        issued;
    v1::SessionTokens {
        access_token: access,
        access_expires_at: Some(time::to_wire(access_expires_at)),
        refresh_token: refresh,
        refresh_expires_at: Some(time::to_wire(refresh_expires_at)),
        session_expires_at: Some(time::to_wire(session_expires_at)),
        session_id: session.to_string(),
    }
}

pub(super) fn wire_role(role: Role) -> v1::Role {
    match role {
        Role::Viewer => v1::Role::Viewer,
        Role::Editor => v1::Role::Editor,
        Role::Owner => v1::Role::Owner,
        Role::Operator => v1::Role::Operator,
    }
}
