//! UserService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::field::Violations;
use tradepost_domain::id::UserId;
use tradepost_domain::user::State;
use tradepost_proto::convert::time;
use tradepost_proto::v1::user_service_server::UserService;
use tradepost_proto::{convert, v1};
use tradepost_store::User;

use super::{Api, bearer, checked, status, ttl_of};
use crate::service::page::{Page, Query};

#[async_trait]
impl UserService for Api {
    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let v1::ListUsersRequest { page_size, page_token, state } = request.into_inner();
        let mut violations = Violations::new();
        let state = match v1::UserState::try_from(state) {
            Ok(v1::UserState::Unspecified) => None,
            Ok(v1::UserState::Pending) => Some(State::Pending),
            Ok(v1::UserState::Active) => Some(State::Active),
            Ok(v1::UserState::Suspended) => Some(State::Suspended),
            Err(_) => {
                violations.push("state", convert::UnknownValue(state).to_string());
                None
            }
        };
        let state = checked(violations, Some(state))?;
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } = self.people.users(state, &query).await.map_err(status::from)?;
        Ok(Response::new(v1::ListUsersResponse {
            users: rows.into_iter().map(wire_user).collect(),
            next_page_token: next_token,
        }))
    }

    async fn get_user(
        &self,
        request: Request<v1::GetUserRequest>,
    ) -> Result<Response<v1::GetUserResponse>, Status> {
        let user = self.people.user(read(&request.into_inner().id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::GetUserResponse { user: Some(wire_user(user)) }))
    }

    async fn approve_user(
        &self,
        request: Request<v1::ApproveUserRequest>,
    ) -> Result<Response<v1::ApproveUserResponse>, Status> {
        let v1::ApproveUserRequest { id, workspace_name } = request.into_inner();
        let user = self.people.approve(read(&id)?, &workspace_name).await.map_err(status::from)?;
        Ok(Response::new(v1::ApproveUserResponse { user: Some(wire_user(user)) }))
    }

    async fn suspend_user(
        &self,
        request: Request<v1::SuspendUserRequest>,
    ) -> Result<Response<v1::SuspendUserResponse>, Status> {
        let user = self.people.suspend(read(&request.into_inner().id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::SuspendUserResponse { user: Some(wire_user(user)) }))
    }

    async fn reinstate_user(
        &self,
        request: Request<v1::ReinstateUserRequest>,
    ) -> Result<Response<v1::ReinstateUserResponse>, Status> {
        let user = self.people.reinstate(read(&request.into_inner().id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::ReinstateUserResponse { user: Some(wire_user(user)) }))
    }

    async fn set_operator(
        &self,
        request: Request<v1::SetOperatorRequest>,
    ) -> Result<Response<v1::SetOperatorResponse>, Status> {
        let v1::SetOperatorRequest { id, operator } = request.into_inner();
        let user = self.people.set_operator(read(&id)?, operator).await.map_err(status::from)?;
        Ok(Response::new(v1::SetOperatorResponse { user: Some(wire_user(user)) }))
    }

    async fn create_password_reset(
        &self,
        request: Request<v1::CreatePasswordResetRequest>,
    ) -> Result<Response<v1::CreatePasswordResetResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::CreatePasswordResetRequest { id, ttl } = request.into_inner();
        let made = self.people.create_reset(&bearer, read(&id)?, ttl_of(ttl)?).await;
        let (secret, expires_at) = made.map_err(status::from)?;
        let expires_at = Some(time::to_wire(expires_at));
        Ok(Response::new(v1::CreatePasswordResetResponse { secret, expires_at }))
    }

    async fn reset_second_factor(
        &self,
        request: Request<v1::ResetSecondFactorRequest>,
    ) -> Result<Response<v1::ResetSecondFactorResponse>, Status> {
        let user = self.people.reset_factor(read(&request.into_inner().id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::ResetSecondFactorResponse { user: Some(wire_user(user)) }))
    }
}

fn read(id: &str) -> Result<UserId, Status> {
    let mut violations = Violations::new();
    let id = convert::id(&mut violations, "id", id);
    checked(violations, id)
}

fn wire_user(user: User) -> v1::User {
    let User { id, email, state, operator, second_factor, created_at, last_login_at } = user;
    let state = match state {
        State::Pending => v1::UserState::Pending,
        State::Active => v1::UserState::Active,
        State::Suspended => v1::UserState::Suspended,
    };
    v1::User {
        id: id.to_string(),
        email,
        state: state.into(),
        operator,
        second_factor,
        created_at: Some(time::to_wire(created_at)),
        last_login_at: last_login_at.map(time::to_wire),
    }
}
