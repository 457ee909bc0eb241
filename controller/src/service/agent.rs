//! Agents, as people see and manage them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tradepost_domain::agent::Agent;
use tradepost_domain::audit::{Detail, Target};
use tradepost_domain::id::{AgentId, EnrolmentTokenId};
use tradepost_domain::time::Timestamp;
use tradepost_store::{NewEnrolmentToken, audit};

use super::core::{Caller, Core};
use super::error::{Error, Reason, Result};
use super::page::{Page, Query};

/// How long an enrolment string works when nobody says otherwise.
pub const ENROLMENT_TTL: Duration = Duration::from_secs(10 * 60);
/// The longest life of an enrolment string.
pub const ENROLMENT_TTL_MAX: Duration = Duration::from_secs(24 * 3600);

const LIST: &str = "agents";

/// A single-use secret for one agent.
#[derive(Clone)]
pub struct Invitation {
    /// The secret; shown once, stored hashed.
    pub secret: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Core {
    /// Makes a single-use invitation.
    pub async fn invite_agent(&self, caller: &Caller, ttl: Option<Duration>) -> Result<Invitation> {
        let ttl = ttl.unwrap_or(ENROLMENT_TTL);
        if ttl < Duration::from_secs(1) || ttl > ENROLMENT_TTL_MAX {
            return Err(Error::field("ttl", "is outside 1 second to 24 hours"));
        }
        let secret = URL_SAFE_NO_PAD.encode(self.secret());
        let now = self.now();
        let expires_at = now + ttl;
        let token = NewEnrolmentToken {
            id: EnrolmentTokenId(self.id()),
            workspace: caller.workspace,
            created_by: caller.user,
            hash: Sha256::digest(secret.as_bytes()).into(),
            expires_at,
        };
        audit::about(Target::EnrolmentToken, token.id.0);
        audit::detail(Detail::ExpiresAt, expires_at.as_micros());
        self.store.add_enrolment_token(token, now).await?;
        Ok(Invitation { secret, expires_at })
    }

    /// One agent.
    pub async fn agent(&self, caller: &Caller, id: AgentId) -> Result<Agent> {
        let found = self.store.find_agent(id).await?.filter(|agent| agent.workspace == caller.workspace);
        found.ok_or_else(|| Error::not_found(Reason::AgentNotFound, "agent", id))
    }

    /// By name.
    pub async fn agents(&self, caller: &Caller, query: &Query) -> Result<Page<Agent>> {
        let slice = self.store.list_agents(caller.workspace, query.request(LIST)?).await?;
        Ok(Page::new(LIST, slice))
    }

    /// Refuses an agent from now on.
    pub async fn revoke_agent(&self, caller: &Caller, id: AgentId) -> Result<Agent> {
        audit::about(Target::Agent, id.0);
        let revoked = self.store.revoke_agent(caller.workspace, id, self.now()).await?;
        revoked.ok_or_else(|| Error::not_found(Reason::AgentNotFound, "agent", id))
    }
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
