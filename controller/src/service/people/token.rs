//! API tokens.

use std::time::Duration;

use tradepost_domain::audit::{Detail, Target};
use tradepost_domain::field::Violations;
use tradepost_domain::id::{RequestId, TokenId, WorkspaceId};
use tradepost_domain::scope::Scopes;
use tradepost_store::{ApiToken, Bearer, Conflict, Credential, Error as StoreError, NewApiToken, audit};

use super::session::missing;
use super::{Kind, People};
use crate::service::error::{Error, Reason, Result};
use crate::service::page::{Page, Query};

/// How long a token works when nobody says otherwise.
pub const TTL: Duration = Duration::from_secs(90 * 24 * 3600);
/// The longest life.
pub const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

const LIST: &str = "tokens";

impl People {
    /// Makes a token for the caller's present workspace; its text is returned once. The same request gives the same token
    /// another text: the first one was lost.
    pub async fn create_token(
        &self,
        bearer: &Bearer,
        request: &RequestId,
        name: &str,
        scopes: &[String],
        ttl: Option<Duration>,
    ) -> Result<(ApiToken, String)> {
        let mut violations = Violations::new();
        let name = violations.text("name", name, 1, 80);
        let scopes = violations.check("scopes", Scopes::parse(scopes.iter().map(String::as_str)));
        let ttl = ttl.unwrap_or(TTL);
        if ttl < Duration::from_secs(60) || ttl > TTL_MAX {
            violations.push("ttl", "is outside 1 minute to 366 days");
        }
        let scopes = violations.into_result(|| scopes)?;
        if let Credential::Token { scopes: own, .. } = &bearer.credential
            && !Scopes::parse(own.split(' ')).map_err(Error::internal)?.cover(&scopes)
        {
            let message = format!("a token can pass on no more than it has: {own}");
            return Err(Error::new(Reason::ScopeInsufficient, message));
        }
        let membership = bearer.membership.as_ref().ok_or_else(|| {
            Error::new(Reason::NoWorkspace, "a token works in a workspace, and you are a member of none")
        })?;
        let (secret, now) = (self.secret(Kind::ApiToken), self.now());
        let expires_at = Some(now + ttl);
        let token = ApiToken {
            // Requests are named within a workspace; here the user stands for it.
            id: TokenId::of_request(WorkspaceId(bearer.user.0), request),
            workspace: membership.workspace,
            workspace_name: membership.name.clone(),
            name,
            scopes: scopes.to_string(),
            created_at: now,
            expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let new = NewApiToken {
            id: token.id,
            user: bearer.user,
            workspace: token.workspace,
            name: token.name.clone(),
            scopes: token.scopes.clone(),
            hash: secret.hash,
            expires_at,
        };
        audit::about(Target::Token, token.id.0);
        audit::detail(Detail::Scopes, &token.scopes);
        match self.store.add_api_token(new, now).await {
            Err(StoreError::Stale) => Err(super::bearer::no_workspace(&membership.name)),
            Err(StoreError::Conflict(Conflict::Id)) => Err(super::workspace::id_taken()),
            made => Ok((ApiToken { created_at: made?, ..token }, secret.text)),
        }
    }

    /// The caller's own, newest first.
    pub async fn tokens(&self, bearer: &Bearer, query: &Query) -> Result<Page<ApiToken>> {
        let slice = self.store.list_api_tokens(bearer.user, query.request(LIST)?).await?;
        Ok(Page::new(LIST, slice))
    }

    /// Refuses one of the caller's own from now on.
    pub async fn revoke_token(&self, bearer: &Bearer, id: TokenId) -> Result<()> {
        audit::about(Target::Token, id.0);
        let revoked = self.store.revoke_api_token(bearer.user, id, self.now()).await?;
        self.look_again();
        if revoked { Ok(()) } else { Err(missing(Reason::TokenNotFound, "API token", id)) }
    }
}
