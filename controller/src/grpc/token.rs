//! SessionService and TokenService: what the caller holds.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::field::Violations;
use tradepost_proto::convert::time;
use tradepost_proto::v1::session_service_server::SessionService;
use tradepost_proto::v1::token_service_server::TokenService;
use tradepost_proto::{convert, v1};
use tradepost_store::{ApiToken, Credential, Session};

use super::auth::wire_role;
use super::{Api, bearer, checked, status, ttl_of};
use crate::service::page::{Page, Query};

#[async_trait]
impl SessionService for Api {
    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::ListSessionsRequest { page_size, page_token } = request.into_inner();
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } = self.people.sessions(&bearer, &query).await.map_err(status::from)?;
        let current = match bearer.credential {
            Credential::Session { id, .. } => Some(id),
            Credential::Token { .. } => None,
        };
        let sessions = rows.into_iter().map(|session| {
            let Session { id, client, address, created_at, refreshed_at, expires_at } = session;
            v1::Session {
                id: id.to_string(),
                client,
                address,
                created_at: Some(time::to_wire(created_at)),
                refreshed_at: Some(time::to_wire(refreshed_at)),
                expires_at: Some(time::to_wire(expires_at)),
                current: current == Some(id),
            }
        });
        Ok(Response::new(v1::ListSessionsResponse {
            sessions: sessions.collect(),
            next_page_token: next_token,
        }))
    }

    async fn revoke_session(
        &self,
        request: Request<v1::RevokeSessionRequest>,
    ) -> Result<Response<v1::RevokeSessionResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::RevokeSessionRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        self.people.end_session(&bearer, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::RevokeSessionResponse {}))
    }

    async fn switch_workspace(
        &self,
        request: Request<v1::SwitchWorkspaceRequest>,
    ) -> Result<Response<v1::SwitchWorkspaceResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::SwitchWorkspaceRequest { workspace } = request.into_inner();
        let own = self.people.switch_workspace(&bearer, workspace.trim()).await.map_err(status::from)?;
        Ok(Response::new(v1::SwitchWorkspaceResponse {
            workspace_id: own.workspace.to_string(),
            workspace_name: own.name,
            role: wire_role(own.role).into(),
        }))
    }
}

#[async_trait]
impl TokenService for Api {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::CreateTokenRequest { name, scopes, ttl, request_id } = request.into_inner();
        let mut violations = Violations::new();
        let request_id = convert::request_id(&mut violations, &request_id);
        let request_id = checked(violations, request_id)?;
        let created = self.people.create_token(&bearer, &request_id, &name, &scopes, ttl_of(ttl)?).await;
        let (token, secret) = created.map_err(status::from)?;
        Ok(Response::new(v1::CreateTokenResponse { token: Some(wire_token(token)), secret }))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::ListTokensRequest { page_size, page_token } = request.into_inner();
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } = self.people.tokens(&bearer, &query).await.map_err(status::from)?;
        Ok(Response::new(v1::ListTokensResponse {
            tokens: rows.into_iter().map(wire_token).collect(),
            next_page_token: next_token,
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::RevokeTokenRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        self.people.revoke_token(&bearer, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }
}

fn wire_token(token: ApiToken) -> v1::Token {
    let ApiToken {
        id,
        workspace,
        workspace_name,
        name,
        scopes,
        created_at,
        expires_at,
        revoked_at,
        last_used_at,
    } = token;
    v1::Token {
        id: id.to_string(),
        name,
        scopes: scopes.split(' ').map(str::to_owned).collect(),
        workspace_id: workspace.to_string(),
        workspace_name,
        created_at: Some(time::to_wire(created_at)),
        expires_at: expires_at.map(time::to_wire),
        revoked_at: revoked_at.map(time::to_wire),
        last_used_at: last_used_at.map(time::to_wire),
    }
}
