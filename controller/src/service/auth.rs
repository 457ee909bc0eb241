//! The first users: operators made on the controller's host.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tradepost_domain::field::Violations;
use tradepost_domain::id::{TokenId, UserId, WorkspaceId};
use tradepost_domain::user::Email;
use tradepost_store::{NewToken, NewUser, Principal, Role};

use super::core::Core;
use super::error::Result;

/// What every API token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "tpt_";

impl Core {
    /// Makes an operator with a workspace, or gives an existing user one more token. The token is returned once.
    pub async fn create_operator(&self, email: &str, workspace: &str) -> Result<(Principal, String)> {
        let mut violations = Violations::new();
        let email = violations.check("email", email.parse::<Email>());
        let workspace_name = violations.text("workspace", workspace, 1, 80);
        let email = violations.into_result(|| email)?.to_string();
        let now = self.now();
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.secret()));
        let user = NewUser {
            id: UserId(self.id()),
            email,
            role: Role::Operator,
            workspace: WorkspaceId(self.id()),
            workspace_name,
        };
        let token = NewToken {
            id: TokenId(self.id()),
            name: String::from("made on the controller's host"),
            hash: Sha256::digest(secret.as_bytes()).into(),
            expires_at: None,
        };
        let (principal, _) = self.store.add_user_token(user, token, now).await?;
        Ok((principal, secret))
    }
}
