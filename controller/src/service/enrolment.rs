//! How an agent becomes known.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tradepost_domain::agent::NAME_MAX;
use tradepost_domain::audit::Target;
use tradepost_domain::field::Violations;
use tradepost_domain::id::AgentId;
use tradepost_domain::standing;
use tradepost_store::{NewAgent, Redeemed, audit};

use super::core::Core;
use super::error::{Error, Reason, Result};
use super::standing::refused;
use crate::identity::{Identity, Issued};

/// What an agent brings.
#[derive(Clone)]
pub struct Enrolment {
    /// The secret of the enrolment string.
    pub secret: String,
    /// PKCS#10 request, PEM.
    pub csr_pem: String,
    /// What to call the agent.
    pub name: String,
    /// Operating system and architecture.
    pub platform: String,
    /// Version of its program.
    pub version: String,
}

/// What it gets.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Its id.
    pub agent: AgentId,
    /// Its certificate, and what goes with it.
    pub issued: Issued,
}

impl Core {
    /// Redeems an invitation. The same secret and key give the same agent.
    pub async fn enrol(&self, identity: &Arc<Identity>, enrolment: Enrolment) -> Result<Enrolled> {
        let mut violations = Violations::new();
        let name = violations.text("name", &enrolment.name, 1, NAME_MAX);
        let platform = violations.text("platform", &enrolment.platform, 0, 80);
        let program_version = violations.text("version", &enrolment.version, 0, 80);
        if enrolment.csr_pem.len() > 16_384 {
            violations.push("csr_pem", "is longer than 16 KiB");
        }
        let request = violations.check("csr_pem", identity.read_request(&enrolment.csr_pem));
        let request = violations.into_result(|| request)?;
        let agent = NewAgent {
            id: AgentId(self.id()),
            name,
            key_hash: request.key_hash(),
            platform,
            program_version,
        };
        audit::about(Target::Agent, agent.id.0);
        let hash = Sha256::digest(enrolment.secret.as_bytes()).into();
        let agent = match self.store.redeem_enrolment_token(hash, agent, self.now()).await? {
            Redeemed::Agent(agent) => agent,
            Redeemed::UnknownToken => {
                return Err(Error::new(
                    Reason::EnrolmentTokenInvalid,
                    "the enrolment string is wrong or its time has passed; make a new one with `tradepost agents enrol-token create`",
                ));
            }
            Redeemed::OtherKey => {
                tracing::warn!("an enrolment string was used a second time, with another key");
                return Err(Error::new(
                    Reason::EnrolmentTokenUsed,
                    "the enrolment string was used by another agent already; make a new one with `tradepost agents enrol-token create`",
                ));
            }
        };
        if let Some(refusal) = standing::refusal(&agent) {
            return Err(refused(refusal));
        }
        let issued = identity.issue(&request, agent.id, self.now()).map_err(Error::internal)?;
        Ok(Enrolled { agent: agent.id, issued })
    }
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolment").field("name", &self.name).finish_non_exhaustive()
    }
}
