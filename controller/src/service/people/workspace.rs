//! Workspaces, their members and invitations.

use std::time::Duration;

use tradepost_domain::audit::{Detail, Target};
use tradepost_domain::field::Violations;
use tradepost_domain::id::{InvitationId, RequestId, UserId, WorkspaceId};
use tradepost_domain::throttle;
use tradepost_domain::user::Email;
use tradepost_store::{
    Bearer, Conflict, Error as StoreError, Guest, Invitation, Member, Membership, NewInvitation,
    NewWorkspace, Principal, Role, WorkspaceChoice, audit,
};

use super::session::missing;
use super::{Kind, Peer, People, hash};
use crate::service::error::{Error, Reason, Result};
use crate::service::page::{Page, Query};

/// How long an invitation works when nobody says otherwise.
pub const INVITATION_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest life.
pub const INVITATION_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Workspaces of one user.
pub const WORKSPACES_MAX: u32 = 20;

impl People {
    /// The caller's own, by name.
    pub async fn workspaces(&self, bearer: &Bearer, query: &Query) -> Result<Page<Membership>> {
        const LIST: &str = "workspaces";
        let slice = self.store.list_workspaces(bearer.user, query.request(LIST)?).await?;
        Ok(Page::new(LIST, slice))
    }

    /// Makes one, with the caller as its owner. The same request gives the same workspace.
    pub async fn create_workspace(
        &self,
        bearer: &Bearer,
        request: &RequestId,
        name: &str,
    ) -> Result<Membership> {
        let mut violations = Violations::new();
        let name = violations.text("name", name, 1, 80);
        violations.into_result(|| Some(()))?;
        // Requests are named within a workspace; here the user stands for it.
        let id = WorkspaceId::of_request(WorkspaceId(bearer.user.0), request);
        let workspace = NewWorkspace { id, name: name.clone() };
        audit::in_workspace(id);
        audit::about(Target::Workspace, id.0);
        match self.store.add_workspace(workspace, bearer.user, WORKSPACES_MAX, self.now()).await {
            Err(StoreError::Conflict(Conflict::Id)) => {
                let found = self.store.find_membership(bearer.user, WorkspaceChoice::Id(id)).await?;
                found.ok_or_else(id_taken)
            }
            Err(StoreError::Stale) => {
                let message =
                    format!("you are a member of {WORKSPACES_MAX} workspaces already; leave one first");
                Err(Error::new(Reason::TooManyWorkspaces, message))
            }
            added => Ok(added.map(|()| Membership { workspace: id, name, role: Role::Owner })?),
        }
    }

    /// Makes the caller a member by an invitation.
    pub async fn join(&self, bearer: &Bearer, invitation: &str, peer: Peer) -> Result<Membership> {
        self.count("strings", throttle::STRINGS, peer).await?;
        let hash = hash(invitation);
        let found = self.usable_invitation(hash, &bearer.email).await?;
        match self.store.accept_invitation(hash, Guest::Known(bearer.user), self.now()).await {
            Err(StoreError::Stale) => Err(invitation_void()),
            accepted => {
                accepted?;
                self.look_again();
                Ok(Membership { workspace: found.workspace, name: found.workspace_name, role: found.role })
            }
        }
    }

    /// The members of the caller's workspace, by address.
    pub async fn members(&self, caller: &Principal, query: &Query) -> Result<Page<Member>> {
        const LIST: &str = "members";
        let slice = self.store.list_members(caller.workspace, query.request(LIST)?).await?;
        Ok(Page::new(LIST, slice))
    }

    /// Changes what a member may do.
    pub async fn set_member_role(&self, caller: &Principal, user: UserId, role: Role) -> Result<Member> {
        if role == Role::Operator {
            return Err(Error::field("role", "is none of a workspace; use viewer, editor or owner"));
        }
        audit::about(Target::User, user.0);
        audit::detail(Detail::Role, role.name());
        let set = self.store.set_member_role(caller.workspace, user, role).await;
        self.changed(set, user)?;
        self.member(caller, user).await
    }

    /// Takes a member out.
    pub async fn remove_member(&self, caller: &Principal, user: UserId) -> Result<()> {
        audit::about(Target::User, user.0);
        let removed = self.store.remove_member(caller.workspace, user, self.now()).await;
        self.changed(removed, user)
    }

    /// Makes another member the owner in the caller's place.
    pub async fn transfer_ownership(&self, caller: &Principal, to: UserId) -> Result<Member> {
        if to == caller.user {
            return Err(Error::field("user_id", "is you; name the member who shall be the owner"));
        }
        audit::about(Target::User, to.0);
        audit::detail(Detail::Role, Role::Owner.name());
        let transferred = self.store.transfer_ownership(caller.workspace, caller.user, to).await;
        self.changed(transferred, to)?;
        self.member(caller, to).await
    }

    fn changed(&self, changed: Result<(), StoreError>, user: UserId) -> Result<()> {
        self.look_again();
        match changed {
            Err(StoreError::Stale) => Err(member_missing(user)),
            changed => Ok(changed?),
        }
    }

    async fn member(&self, caller: &Principal, user: UserId) -> Result<Member> {
        self.store.find_member(caller.workspace, user).await?.ok_or_else(|| member_missing(user))
    }

    /// Makes an invitation to the caller's workspace; its text is returned once. The same request gives the same invitation
    /// another text: the first one was lost.
    pub async fn invite(
        &self,
        caller: &Principal,
        request: &RequestId,
        email: &str,
        role: Role,
        ttl: Option<Duration>,
    ) -> Result<(Invitation, String)> {
        let mut violations = Violations::new();
        let email = if email.trim().is_empty() {
            String::new()
        } else {
            violations
                .check("email", email.parse::<Email>())
                .map(|email| email.to_string())
                .unwrap_or_default()
        };
        let ttl = ttl.unwrap_or(INVITATION_TTL);
        if ttl < Duration::from_secs(60) || ttl > INVITATION_TTL_MAX {
            violations.push("ttl", "is outside 1 minute to 30 days");
        }
        if role == Role::Operator {
            violations.push("role", "is none of a workspace; use viewer, editor or owner");
        }
        violations.into_result(|| Some(()))?;
        let (secret, now) = (self.secret(Kind::Invitation), self.now());
        let new = NewInvitation {
            id: InvitationId::of_request(caller.workspace, request),
            workspace: caller.workspace,
            email: email.clone(),
            role,
            hash: secret.hash,
            created_by: caller.user,
            expires_at: now + ttl,
        };
        let invitation = Invitation {
            id: new.id,
            workspace: caller.workspace,
            workspace_name: caller.workspace_name.clone(),
            email,
            role,
            created_by: caller.email.clone(),
            created_at: now,
            expires_at: new.expires_at,
            accepted_at: None,
            revoked_at: None,
        };
        audit::about(Target::Invitation, new.id.0);
        audit::detail(Detail::Role, role.name());
        audit::detail(Detail::ExpiresAt, new.expires_at.as_micros());
        match self.store.add_invitation(new, now).await {
            Err(StoreError::Conflict(Conflict::Id)) => Err(id_taken()),
            made => Ok((Invitation { created_at: made?, ..invitation }, secret.text)),
        }
    }

    /// The invitations to the caller's workspace, newest first.
    pub async fn invitations(&self, caller: &Principal, query: &Query) -> Result<Page<Invitation>> {
        const LIST: &str = "invitations";
        let slice = self.store.list_invitations(caller.workspace, query.request(LIST)?).await?;
        Ok(Page::new(LIST, slice))
    }

    /// Makes an invitation void.
    pub async fn revoke_invitation(&self, caller: &Principal, id: InvitationId) -> Result<()> {
        audit::about(Target::Invitation, id.0);
        let revoked = self.store.revoke_invitation(caller.workspace, id, self.now()).await?;
        if revoked { Ok(()) } else { Err(missing(Reason::InvitationNotFound, "open invitation", id)) }
    }

    /// The invitation of that hash, if the user of that address may accept it.
    pub(super) async fn usable_invitation(&self, hash: [u8; 32], email: &str) -> Result<Invitation> {
        let found = self.store.find_invitation(hash, self.now()).await?;
        let found = found.ok_or_else(invitation_void)?;
        let meant =
            found.email.is_empty() || email.parse::<Email>().is_ok_and(|email| email.as_str() == found.email);
        if meant { Ok(found) } else { Err(invitation_void()) }
    }
}

/// The request id names something else.
pub(super) fn id_taken() -> Error {
    Error::new(Reason::IdTaken, "the request id was used before; choose another one")
}

/// Who must not use an invitation does not learn whether it exists.
pub(super) fn invitation_void() -> Error {
    let message =
        "the invitation is wrong, used, for somebody else, or its time has passed; ask for another one";
    Error::new(Reason::InvitationInvalid, message)
}

fn member_missing(user: UserId) -> Error {
    Error::not_found(Reason::MemberNotFound, "member", user)
}
