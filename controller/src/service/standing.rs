//! Agents' identities: who may come in, renewal, return after absence, approval.

use tradepost_domain::agent::Agent;
use tradepost_domain::audit::{Actor, Target};
use tradepost_domain::id::{AgentId, BootId};
use tradepost_domain::standing::{self, Join, LockReason, Refusal};
use tradepost_store::{Error as StoreError, Joining, audit};

use super::core::{Caller, Core, TRIES};
use super::error::{Error, Reason, Result};
use crate::identity::{AgentRequest, Identity, Issued};

/// Longest request for a certificate, PEM.
const CSR_MAX: usize = 16 * 1024;

impl Core {
    /// The agent, if it may do anything.
    pub async fn admitted_agent(&self, id: AgentId) -> Result<Agent> {
        let agent = self.store.find_agent(id).await?.ok_or_else(unknown)?;
        match standing::refusal(&agent) {
            None => Ok(agent),
            Some(refusal) => Err(refused(refusal)),
        }
    }

    /// Takes the join counter that an agent's process shows when it attaches.
    pub async fn join(&self, id: AgentId, boot: BootId, counter: i64) -> Result<()> {
        for _ in 0..TRIES {
            let agent = self.admitted_agent(id).await?;
            let seen = agent.standing.join_counter;
            let joining = Joining { agent: id, boot, counter, seen };
            let decided = standing::join(&agent.standing, boot, counter);
            let stored = match decided {
                Join::Accept => self.store.accept_join(joining).await,
                Join::Suspect => self.store.suspect_join(joining).await,
                Join::Late => Ok(()),
                Join::Clone => self.lock_copies(id).await,
            };
            match stored {
                Err(StoreError::Stale) => continue,
                stored => stored?,
            }
            return match decided {
                Join::Accept => Ok(()),
                Join::Late | Join::Suspect => {
                    tracing::warn!(agent = %id, ?decided, counter, seen, "an agent showed a join counter that was shown before");
                    Err(Error::new(
                        Reason::JoinStale,
                        "this try to attach is older than one that was accepted; try again",
                    )
                    .retry_after(std::time::Duration::from_secs(1)))
                }
                Join::Clone => {
                    tracing::error!(agent = %id, "two processes have this agent's identity; both are refused until a person approves");
                    Err(refused(Refusal::NeedsApproval(LockReason::Cloned)))
                }
            };
        }
        Err(Error::contention())
    }

    /// Refuses an agent whose identity is in use twice.
    async fn lock_copies(&self, id: AgentId) -> Result<(), StoreError> {
        let scope = self.scope(Actor::Controller, "controller/lock_agent");
        audit::scope(scope, async {
            audit::about(Target::Agent, id.0);
            self.store.lock_agent(id, LockReason::Cloned, self.now()).await.map(drop)
        })
        .await
    }

    /// A new certificate for an agent whose present one is valid.
    pub async fn renew(&self, identity: &Identity, id: AgentId, csr_pem: &str) -> Result<Issued> {
        let request = read(identity, csr_pem)?;
        let agent = self.admitted_agent(id).await?;
        if agent.key_hash != request.key_hash() {
            tracing::warn!(agent = %id, "a certificate was asked for another key than the agent's");
            return Err(unknown());
        }
        identity.issue(&request, id, self.now()).map_err(Error::internal)
    }

    /// Something to sign for an agent whose certificate has ended.
    pub fn begin_return(&self, identity: &Identity, id: AgentId) -> Result<String> {
        let mut random = [0; 16];
        self.ids.fill(&mut random);
        identity.challenge(id, self.now(), random).map_err(Error::internal)
    }

    /// A new certificate for an agent that has proved its key, unless it was away for too long.
    pub async fn finish_return(&self, identity: &Identity, id: AgentId, csr_pem: &str) -> Result<Issued> {
        let request = read(identity, csr_pem)?;
        let now = self.now();
        let made_at = identity.answered(id, &request, now).ok_or_else(challenge_invalid)?;
        let agent = self.store.find_agent(id).await?.ok_or_else(unknown)?;
        if agent.key_hash != request.key_hash() {
            tracing::warn!(agent = %id, "an agent's return was tried with another key");
            return Err(unknown());
        }
        audit::acted_by(Actor::Agent(id));
        audit::about(Target::Agent, id.0);
        if let Some(refusal) = standing::refusal(&agent) {
            return Err(refused(refusal));
        }
        let away = standing::away(&agent, now);
        if away > identity.max_offline() {
            self.store.lock_agent(id, LockReason::Away, now).await?;
            tracing::warn!(agent = %id, days = away.as_secs() / 86_400, "an agent was away for too long; a person has to approve it");
            return Err(refused(Refusal::NeedsApproval(LockReason::Away)));
        }
        match self.store.answer_challenge(id, made_at, now).await {
            Err(StoreError::Stale) => return Err(challenge_invalid()),
            stored => stored?,
        }
        tracing::info!(agent = %id, hours_away = away.as_secs() / 3_600, "an agent proved its key and is back");
        identity.issue(&request, id, now).map_err(Error::internal)
    }

    /// Lets an agent in again that waits for approval.
    pub async fn approve_agent(&self, caller: &Caller, id: AgentId) -> Result<Agent> {
        audit::about(Target::Agent, id.0);
        let approved = self.store.approve_agent(caller.workspace, id, self.now()).await?;
        let agent = approved.ok_or_else(|| Error::not_found(Reason::AgentNotFound, "agent", id))?;
        if agent.revoked_at.is_some() {
            return Err(refused(Refusal::Revoked));
        }
        Ok(agent)
    }
}

fn read(identity: &Identity, csr_pem: &str) -> Result<AgentRequest> {
    if csr_pem.len() > CSR_MAX {
        return Err(Error::field("csr_pem", "is longer than 16 KiB"));
    }
    identity.read_request(csr_pem).map_err(|error| Error::field("csr_pem", error.to_string()))
}

/// Why the agent is not let in, with what to do.
pub fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Revoked => Error::new(Reason::AgentRevoked, "this agent is revoked; enrol it anew"),
        Refusal::NeedsApproval(LockReason::Cloned) => Error::new(
            Reason::AgentNeedsApproval,
            "this agent's data directory is in use twice (it was copied, or restored from an older backup); end the other \
             one, then let it in with `tradepost agents approve`",
        ),
        Refusal::NeedsApproval(LockReason::Away) => Error::new(
            Reason::AgentNeedsApproval,
            "this agent was away for too long; if the PC is still in the right hands, let it in with `tradepost agents approve`",
        ),
    }
}

/// The certificate or key is none of a known agent.
pub fn unknown() -> Error {
    Error::new(Reason::AgentUnknown, "the client certificate is none of a known agent; enrol it anew")
}

fn challenge_invalid() -> Error {
    Error::new(
        Reason::ReturnChallengeInvalid,
        "the challenge is too old, was answered before, or is another controller's; ask for a new one",
    )
}
