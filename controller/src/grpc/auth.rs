//! AuthService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_proto::v1;
use tradepost_proto::v1::auth_service_server::AuthService;
use tradepost_runtime::build;
use tradepost_store::{Principal, Role};

use super::{Api, caller};

#[async_trait]
impl AuthService for Api {
    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let Principal { user, email, workspace, workspace_name, role } = caller(&request)?;
        Ok(Response::new(v1::WhoAmIResponse {
            user_id: user.to_string(),
            email,
            workspace_id: workspace.to_string(),
            workspace_name,
            role: wire_role(role).into(),
            controller_version: build::describe(),
        }))
    }
}

fn wire_role(role: Role) -> v1::Role {
    match role {
        Role::Viewer => v1::Role::Viewer,
        Role::Editor => v1::Role::Editor,
        Role::Owner => v1::Role::Owner,
        Role::Operator => v1::Role::Operator,
    }
}
