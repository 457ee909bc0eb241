//! Users, agents, their enrolment and their streams.

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::agent::Agent;
use tradepost_domain::event::{Kind, Subject};
use tradepost_domain::id::{AgentId, SessionEpoch, WorkspaceId};
use tradepost_domain::standing::{self, Standing};
use tradepost_domain::time::Timestamp;

use super::{Invitation, Model, Tables, Token, Tx, User, Workspace, by_name, refused, unless};
use crate::{
    Agents, Attachment, Auth, Conflict, Error, Hint, NewAgent, NewEnrolmentToken, NewToken, NewUser,
    PageRequest, Principal, Redeemed, Slice,
};

#[async_trait]
impl Auth for Model {
    async fn add_user_token(
        &self,
        user: NewUser,
        token: NewToken,
        now: Timestamp,
    ) -> Result<(Principal, bool), Error> {
        let _ = now;
        self.write(|tx| {
            let known = tx.tables.users.rows().find(|known| known.email == user.email).cloned();
            let is_new = known.is_none();
            let user = match known {
                Some(known) => known,
                None => add_user(tx, user)?,
            };
            unless(tx.tables.tokens.has(token.id), Conflict::Id)?;
            unless(tx.tables.tokens.rows().any(|other| other.hash == token.hash), Conflict::Id)?;
            tx.tables.tokens.put(token.id, Token { hash: token.hash });
            let principal = tx.tables.principal(&user).ok_or_else(|| refused("users_workspace"))?;
            Ok((principal, is_new))
        })
    }
}

impl Tables {
    fn principal(&self, user: &User) -> Option<Principal> {
        Some(Principal {
            user: user.id,
            email: user.email.clone(),
            workspace: user.workspace,
            workspace_name: self.workspaces.get(user.workspace)?.name.clone(),
            role: user.role,
        })
    }

    /// Whether `epoch` is the agent's newest stream and the agent is neither revoked nor locked.
    pub(super) fn holds_stream(&self, agent: AgentId, epoch: SessionEpoch) -> bool {
        self.agents.get(agent).is_some_and(|agent| agent.epoch == epoch && standing::refusal(agent).is_none())
    }
}

fn add_user(tx: &mut Tx<'_>, new: NewUser) -> Result<User, Error> {
    let joined = tx.tables.workspaces.rows().find(|workspace| workspace.name == new.workspace_name);
    let workspace = if let Some(joined) = joined {
        joined.id
    } else {
        unless(tx.tables.workspaces.has(new.workspace), Conflict::Id)?;
        let workspace = Workspace { id: new.workspace, name: new.workspace_name, event_seq: 0 };
        tx.tables.workspaces.put(workspace.id, workspace);
        new.workspace
    };
    unless(tx.tables.users.has(new.id), Conflict::Id)?;
    let user = User { id: new.id, workspace, email: new.email, role: new.role };
    tx.tables.users.put(user.id, user.clone());
    Ok(user)
}

#[async_trait]
impl Agents for Model {
    async fn add_enrolment_token(&self, token: NewEnrolmentToken, now: Timestamp) -> Result<(), Error> {
        let _ = now;
        self.write(|tx| {
            let NewEnrolmentToken { id, workspace, created_by, hash, expires_at } = token;
            unless(tx.tables.invitations.has(id), Conflict::Id)?;
            unless(tx.tables.invitations.rows().any(|other| other.hash == hash), Conflict::Id)?;
            unless(!tx.tables.workspaces.has(workspace), refused("enrolment_tokens_workspace"))?;
            unless(!tx.tables.users.has(created_by), refused("enrolment_tokens_user"))?;
            tx.tables.invitations.put(id, Invitation { id, workspace, hash, expires_at, agent: None });
            Ok(())
        })
    }

    async fn redeem_enrolment_token(
        &self,
        hash: [u8; 32],
        agent: NewAgent,
        now: Timestamp,
    ) -> Result<Redeemed, Error> {
        self.write(|tx| redeem(tx, hash, agent, now))
    }

    async fn find_agent(&self, id: AgentId) -> Result<Option<Agent>, Error> {
        Ok(self.read(|tables| tables.agents.get(id).cloned()))
    }

    async fn list_agents(&self, workspace: WorkspaceId, page: PageRequest) -> Result<Slice<Agent>, Error> {
        self.read(|tables| {
            let ours = tables.agents.rows().filter(|agent| agent.workspace == workspace).cloned();
            by_name(ours, |agent| (agent.name.clone(), agent.id.0), &page)
        })
    }

    async fn attach_agent(&self, attachment: Attachment, now: Timestamp) -> Result<Agent, Error> {
        self.write(|tx| {
            let Attachment { agent, boot, controller, platform, program_version, known_epoch } = attachment;
            let present = tx.tables.agents.get(agent).filter(|agent| standing::refusal(agent).is_none());
            let mut agent = present.cloned().ok_or(Error::Stale)?;
            agent.epoch.0 = 1 + agent.epoch.max(known_epoch).0;
            agent.boot = Some(boot);
            agent.controller = Some(controller);
            agent.platform = platform;
            agent.program_version = program_version;
            agent.last_seen_at = Some(now);
            tx.tables.agents.put(agent.id, agent.clone());
            tx.hints.push(Hint::Session(agent.id));
            let data = json!({ "epoch": agent.epoch.0 });
            tx.append_event(agent.workspace, Kind::AgentAttached, subject(agent.id), data, now)?;
            Ok(agent)
        })
    }

    async fn touch_agents(
        &self,
        heard: &[(AgentId, SessionEpoch)],
        now: Timestamp,
    ) -> Result<Vec<AgentId>, Error> {
        let mut heard = heard.to_vec();
        heard.sort_unstable();
        self.write(|tx| {
            let mut current = Vec::new();
            for &(id, epoch) in &heard {
                if let Some(agent) = tx.tables.agents.get(id)
                    && tx.tables.holds_stream(id, epoch)
                {
                    let touched = Agent { last_seen_at: Some(now), ..agent.clone() };
                    tx.tables.agents.put(id, touched);
                    current.push(id);
                }
            }
            Ok(heard.into_iter().map(|(agent, _)| agent).filter(|agent| !current.contains(agent)).collect())
        })
    }

    async fn detach_agent(&self, id: AgentId, epoch: SessionEpoch, now: Timestamp) -> Result<(), Error> {
        self.write(|tx| {
            let attached = tx.tables.agents.get(id).filter(|agent| agent.epoch == epoch);
            let Some(agent) = attached.filter(|agent| agent.controller.is_some()).cloned() else {
                return Ok(());
            };
            let workspace = agent.workspace;
            tx.tables.agents.put(id, Agent { controller: None, ..agent });
            tx.append_event(workspace, Kind::AgentDetached, subject(id), json!({ "epoch": epoch.0 }), now)
        })
    }

    async fn revoke_agent(
        &self,
        workspace: WorkspaceId,
        id: AgentId,
        now: Timestamp,
    ) -> Result<Option<Agent>, Error> {
        self.write(|tx| {
            let found = tx.tables.agents.get(id).filter(|agent| agent.workspace == workspace).cloned();
            match found {
                Some(agent) if agent.revoked_at.is_none() => {
                    let revoked = Agent { revoked_at: Some(now), controller: None, ..agent };
                    tx.tables.agents.put(id, revoked.clone());
                    tx.hints.push(Hint::Session(id));
                    tx.append_event(workspace, Kind::AgentRevoked, subject(id), json!({}), now)?;
                    Ok(Some(revoked))
                }
                found => Ok(found),
            }
        })
    }
}

fn redeem(tx: &mut Tx<'_>, hash: [u8; 32], agent: NewAgent, now: Timestamp) -> Result<Redeemed, Error> {
    let Some(invitation) = tx.tables.invitations.rows().find(|token| token.hash == hash).cloned() else {
        return Ok(Redeemed::UnknownToken);
    };
    if let Some(holder) = invitation.agent {
        let known = tx.tables.agents.get(holder).filter(|known| known.key_hash == agent.key_hash);
        if let Some(known) = known.cloned() {
            return Ok(Redeemed::Agent(Box::new(known)));
        }
        tx.append_event(invitation.workspace, Kind::EnrolmentRefused, subject(holder), json!({}), now)?;
        return Ok(Redeemed::OtherKey);
    }
    if invitation.expires_at <= now {
        return Ok(Redeemed::UnknownToken);
    }
    // A new agent has nothing to tell of earlier lives of the database.
    let fleet = tx.tables.newest_epoch();
    let NewAgent { id, name, key_hash, platform, program_version } = agent;
    unless(tx.tables.agents.has(id), Conflict::Id)?;
    unless(tx.tables.agents.rows().any(|other| other.key_hash == key_hash), Conflict::AgentKey)?;
    let added = Agent {
        id,
        workspace: invitation.workspace,
        name,
        key_hash,
        platform,
        program_version,
        epoch: SessionEpoch(fleet.first_number()),
        boot: None,
        controller: None,
        last_seen_at: None,
        created_at: now,
        revoked_at: None,
        standing: Standing::default(),
    };
    tx.tables.agents.put(id, added.clone());
    tx.tables.recounted.put(id, fleet);
    tx.tables.invitations.put(invitation.id, Invitation { agent: Some(id), ..invitation });
    tx.append_event(added.workspace, Kind::AgentEnrolled, subject(id), json!({}), now)?;
    Ok(Redeemed::Agent(Box::new(added)))
}

pub(super) fn subject(agent: AgentId) -> Subject {
    Subject { agent: Some(agent), ..Subject::default() }
}
