//! Agents' identities.

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::agent::Agent;
use tradepost_domain::event::Kind;
use tradepost_domain::id::{AgentId, WorkspaceId};
use tradepost_domain::standing::{self, LockReason, Locked, Standing};
use tradepost_domain::time::Timestamp;

use super::agents::subject;
use super::{Model, Tx};
use crate::{AgentIdentities, Error, Hint, Joining};

#[async_trait]
impl AgentIdentities for Model {
    async fn accept_join(&self, joining: Joining) -> Result<(), Error> {
        self.write(|tx| {
            let mut agent = joined(tx, joining)?;
            agent.standing.join_counter = joining.counter;
            agent.standing.join_boot = Some(joining.boot);
            tx.tables.agents.put(agent.id, agent);
            Ok(())
        })
    }

    async fn suspect_join(&self, joining: Joining) -> Result<(), Error> {
        self.write(|tx| {
            let mut agent = joined(tx, joining)?;
            agent.standing.suspect = Some(joining.boot);
            tx.tables.agents.put(agent.id, agent);
            Ok(())
        })
    }

    async fn lock_agent(&self, id: AgentId, why: LockReason, now: Timestamp) -> Result<Option<Agent>, Error> {
        self.write(|tx| {
            let found = tx.tables.agents.get(id).cloned();
            match found {
                Some(mut agent) if standing::refusal(&agent).is_none() => {
                    agent.standing.locked = Some(Locked { at: now, why });
                    tx.tables.agents.put(id, agent.clone());
                    tx.hints.push(Hint::Session(id));
                    let data = json!({ "reason": why.name() });
                    tx.append_event(agent.workspace, Kind::AgentLocked, subject(id), data, now)?;
                    Ok(Some(agent))
                }
                found => Ok(found),
            }
        })
    }

    async fn approve_agent(
        &self,
        workspace: WorkspaceId,
        id: AgentId,
        now: Timestamp,
    ) -> Result<Option<Agent>, Error> {
        self.write(|tx| {
            let found = tx.tables.agents.get(id).filter(|agent| agent.workspace == workspace).cloned();
            match found {
                Some(mut agent) if agent.revoked_at.is_none() && agent.standing.locked.is_some() => {
                    let known = agent.standing;
                    agent.standing = Standing {
                        locked: None,
                        approved_at: Some(now),
                        join_counter: 0,
                        join_boot: None,
                        suspect: None,
                        ..known
                    };
                    tx.tables.agents.put(id, agent.clone());
                    tx.append_event(workspace, Kind::AgentApproved, subject(id), json!({}), now)?;
                    Ok(Some(agent))
                }
                found => Ok(found),
            }
        })
    }

    async fn answer_challenge(&self, id: AgentId, made_at: Timestamp, now: Timestamp) -> Result<(), Error> {
        self.write(|tx| {
            let admitted = tx.tables.agents.get(id).filter(|agent| standing::refusal(agent).is_none());
            let mut agent = admitted.cloned().ok_or(Error::Stale)?;
            if agent.standing.challenge_at.is_some_and(|answered| answered >= made_at) {
                return Err(Error::Stale);
            }
            agent.standing.challenge_at = Some(made_at);
            let workspace = agent.workspace;
            tx.tables.agents.put(id, agent);
            tx.append_event(workspace, Kind::AgentReturned, subject(id), json!({}), now)
        })
    }
}

/// The admitted agent whose counter is still the one that the decision was made on.
fn joined(tx: &Tx<'_>, joining: Joining) -> Result<Agent, Error> {
    let admitted = tx.tables.agents.get(joining.agent).filter(|agent| standing::refusal(agent).is_none());
    let unchanged = admitted.filter(|agent| agent.standing.join_counter == joining.seen);
    unchanged.cloned().ok_or(Error::Stale)
}
