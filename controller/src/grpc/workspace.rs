//! WorkspaceService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::field::Violations;
use tradepost_domain::user::State;
use tradepost_proto::convert::time;
use tradepost_proto::v1::workspace_service_server::WorkspaceService;
use tradepost_proto::{convert, v1};
use tradepost_store::{Invitation, Member, Membership, Role};

use super::auth::wire_role;
use super::{Api, bearer, caller, checked, peer_of, status, ttl_of};
use crate::service::page::{Page, Query};

#[async_trait]
impl WorkspaceService for Api {
    async fn list_workspaces(
        &self,
        request: Request<v1::ListWorkspacesRequest>,
    ) -> Result<Response<v1::ListWorkspacesResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::ListWorkspacesRequest { page_size, page_token } = request.into_inner();
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } =
            self.people.workspaces(&bearer, &query).await.map_err(status::from)?;
        let current = bearer.membership.map(|own| own.workspace);
        let workspaces = rows.into_iter().map(|row| {
            let is_current = Some(row.workspace) == current;
            wire_workspace(row, is_current)
        });
        Ok(Response::new(v1::ListWorkspacesResponse {
            workspaces: workspaces.collect(),
            next_page_token: next_token,
        }))
    }

    async fn create_workspace(
        &self,
        request: Request<v1::CreateWorkspaceRequest>,
    ) -> Result<Response<v1::CreateWorkspaceResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::CreateWorkspaceRequest { request_id, name } = request.into_inner();
        let mut violations = Violations::new();
        let request_id = convert::request_id(&mut violations, &request_id);
        let request_id = checked(violations, request_id)?;
        let made = self.people.create_workspace(&bearer, &request_id, &name).await.map_err(status::from)?;
        Ok(Response::new(v1::CreateWorkspaceResponse { workspace: Some(wire_workspace(made, false)) }))
    }

    async fn join_workspace(
        &self,
        request: Request<v1::JoinWorkspaceRequest>,
    ) -> Result<Response<v1::JoinWorkspaceResponse>, Status> {
        let (bearer, peer) = (bearer(&request)?, peer_of(&request)?);
        let v1::JoinWorkspaceRequest { invitation } = request.into_inner();
        let joined = self.people.join(&bearer, &invitation, peer).await.map_err(status::from)?;
        Ok(Response::new(v1::JoinWorkspaceResponse { workspace: Some(wire_workspace(joined, false)) }))
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListMembersRequest { page_size, page_token } = request.into_inner();
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } = self.people.members(&caller, &query).await.map_err(status::from)?;
        Ok(Response::new(v1::ListMembersResponse {
            members: rows.into_iter().map(wire_member).collect(),
            next_page_token: next_token,
        }))
    }

    async fn set_member_role(
        &self,
        request: Request<v1::SetMemberRoleRequest>,
    ) -> Result<Response<v1::SetMemberRoleResponse>, Status> {
        let caller = caller(&request)?;
        let v1::SetMemberRoleRequest { user_id, role } = request.into_inner();
        let mut violations = Violations::new();
        let user = convert::id(&mut violations, "user_id", &user_id);
        let role = read_role(&mut violations, role);
        let (user, role) = checked(violations, user.zip(role))?;
        let member = self.people.set_member_role(&caller, user, role).await.map_err(status::from)?;
        Ok(Response::new(v1::SetMemberRoleResponse { member: Some(wire_member(member)) }))
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RemoveMemberRequest { user_id } = request.into_inner();
        let mut violations = Violations::new();
        let user = convert::id(&mut violations, "user_id", &user_id);
        self.people.remove_member(&caller, checked(violations, user)?).await.map_err(status::from)?;
        Ok(Response::new(v1::RemoveMemberResponse {}))
    }

    async fn leave_workspace(
        &self,
        request: Request<v1::LeaveWorkspaceRequest>,
    ) -> Result<Response<v1::LeaveWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        self.people.remove_member(&caller, caller.user).await.map_err(status::from)?;
        Ok(Response::new(v1::LeaveWorkspaceResponse {}))
    }

    async fn transfer_ownership(
        &self,
        request: Request<v1::TransferOwnershipRequest>,
    ) -> Result<Response<v1::TransferOwnershipResponse>, Status> {
        let caller = caller(&request)?;
        let v1::TransferOwnershipRequest { user_id } = request.into_inner();
        let mut violations = Violations::new();
        let user = convert::id(&mut violations, "user_id", &user_id);
        let member = self.people.transfer_ownership(&caller, checked(violations, user)?).await;
        let member = member.map_err(status::from)?;
        Ok(Response::new(v1::TransferOwnershipResponse { member: Some(wire_member(member)) }))
    }

    async fn create_invitation(
        &self,
        request: Request<v1::CreateInvitationRequest>,
    ) -> Result<Response<v1::CreateInvitationResponse>, Status> {
        let caller = caller(&request)?;
        let v1::CreateInvitationRequest { email, role, ttl, request_id } = request.into_inner();
        let ttl = ttl_of(ttl)?;
        let mut violations = Violations::new();
        let request_id = convert::request_id(&mut violations, &request_id);
        let role = read_role(&mut violations, role);
        let (request_id, role) = checked(violations, request_id.zip(role))?;
        let (invitation, secret) =
            self.people.invite(&caller, &request_id, &email, role, ttl).await.map_err(status::from)?;
        Ok(Response::new(v1::CreateInvitationResponse {
            invitation: Some(wire_invitation(invitation)),
            secret,
        }))
    }

    async fn list_invitations(
        &self,
        request: Request<v1::ListInvitationsRequest>,
    ) -> Result<Response<v1::ListInvitationsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListInvitationsRequest { page_size, page_token } = request.into_inner();
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } =
            self.people.invitations(&caller, &query).await.map_err(status::from)?;
        Ok(Response::new(v1::ListInvitationsResponse {
            invitations: rows.into_iter().map(wire_invitation).collect(),
            next_page_token: next_token,
        }))
    }

    async fn revoke_invitation(
        &self,
        request: Request<v1::RevokeInvitationRequest>,
    ) -> Result<Response<v1::RevokeInvitationResponse>, Status> {
        let caller = caller(&request)?;
        let v1::RevokeInvitationRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        self.people.revoke_invitation(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::RevokeInvitationResponse {}))
    }
}

fn read_role(violations: &mut Violations, raw: i32) -> Option<Role> {
    match v1::Role::try_from(raw) {
        Ok(v1::Role::Viewer) => Some(Role::Viewer),
        Ok(v1::Role::Editor) => Some(Role::Editor),
        Ok(v1::Role::Owner) => Some(Role::Owner),
        Ok(v1::Role::Operator) => Some(Role::Operator),
        Ok(v1::Role::Unspecified) => {
            violations.push("role", "is missing");
            None
        }
        Err(_) => {
            violations.push("role", convert::UnknownValue(raw).to_string());
            None
        }
    }
}

fn wire_workspace(own: Membership, current: bool) -> v1::Workspace {
    let Membership { workspace, name, role } = own;
    v1::Workspace { id: workspace.to_string(), name, role: wire_role(role).into(), current }
}

fn wire_member(member: Member) -> v1::Member {
    let Member { user, email, role, joined_at, state, second_factor } = member;
    v1::Member {
        user_id: user.to_string(),
        email,
        role: wire_role(role).into(),
        joined_at: Some(time::to_wire(joined_at)),
        second_factor,
        suspended: state == State::Suspended,
    }
}

fn wire_invitation(invitation: Invitation) -> v1::Invitation {
    let Invitation {
        id,
        workspace: _,
        workspace_name: _,
        email,
        role,
        created_by,
        created_at,
        expires_at,
        accepted_at,
        revoked_at,
    } = invitation;
    v1::Invitation {
        id: id.to_string(),
        email,
        role: wire_role(role).into(),
        created_by,
        created_at: Some(time::to_wire(created_at)),
        expires_at: Some(time::to_wire(expires_at)),
        accepted_at: accepted_at.map(time::to_wire),
        revoked_at: revoked_at.map(time::to_wire),
    }
}
