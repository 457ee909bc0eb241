//! Who asks: tokens and their owners.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tradepost_domain::field::Violations;
use tradepost_domain::id::{TokenId, UserId, WorkspaceId};
use tradepost_store::{NewToken, NewUser, Principal, Role};

use super::core::Core;
use super::error::{Error, Reason, Result};

/// A revoked token is unusable within this time on every controller.
const CACHED_FOR: Duration = Duration::from_secs(5);
/// Tokens remembered at most.
const CACHED_MAX: usize = 10_000;
/// What every API token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "tpt_";

/// Tokens seen lately.
#[derive(Clone, Default)]
pub struct Tokens {
    seen: Arc<Mutex<Seen>>,
}

type Seen = HashMap<[u8; 32], (Principal, Instant)>;

impl Core {
    /// Who holds `token`.
    pub async fn authenticate(&self, tokens: &Tokens, token: &str) -> Result<Principal> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(principal) = tokens.find(&hash) {
            return Ok(principal);
        }
        let found = self.store.find_principal(hash, self.now()).await?;
        let principal = found.ok_or_else(|| {
            Error::new(
                Reason::TokenInvalid,
                "the token is wrong, expired or revoked; sign in with another one",
            )
        })?;
        tokens.remember(hash, principal.clone());
        Ok(principal)
    }

    /// Makes an operator with a workspace, or gives an existing user one more token. The token is returned once.
    pub async fn create_operator(&self, email: &str, workspace: &str) -> Result<(Principal, String)> {
        let mut violations = Violations::new();
        let email = violations.text("email", email, 3, 254);
        let shaped = email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.len() > 1);
        if !shaped || email.contains(char::is_whitespace) {
            violations.push("email", format!("{email:?} is no e-mail address; write e.g. you@example.com"));
        }
        let workspace_name = violations.text("workspace", workspace, 1, 80);
        violations.into_result(|| Some(()))?;
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

// === impl Tokens ===

impl Tokens {
    fn find(&self, hash: &[u8; 32]) -> Option<Principal> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(hash).filter(|(_, at)| at.elapsed() < CACHED_FOR).map(|(principal, _)| principal.clone())
    }

    fn remember(&self, hash: [u8; 32], principal: Principal) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= CACHED_MAX {
            seen.retain(|_, (_, at)| at.elapsed() < CACHED_FOR);
        }
        if seen.len() < CACHED_MAX {
            seen.insert(hash, (principal, Instant::now()));
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}
