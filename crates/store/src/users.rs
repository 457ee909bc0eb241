//! Users, workspaces and their members.

use async_trait::async_trait;
use tradepost_domain::id::{InvitationId, SessionId, UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_domain::user::State;

use crate::{Error, PageRequest, Role, Slice};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Id.
    pub id: UserId,
    /// Address, in lower case.
    pub email: String,
    /// How they stand.
    pub state: State,
    /// Whether they run the system.
    pub operator: bool,
    /// Whether they have a second factor that was proven to work.
    pub second_factor: bool,
    /// When they registered.
    pub created_at: Timestamp,
    /// When they last signed in with the password.
    pub last_login_at: Option<Timestamp>,
}

/// A user to be.
#[derive(Clone)]
pub struct Registration {
    /// Id.
    pub id: UserId,
    /// Address, in lower case; unique.
    pub email: String,
    /// PHC string.
    pub password_hash: String,
    /// How they stand at first.
    pub state: State,
}

/// A user with what their password is checked against.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// PHC string; none when the user has no password.
    pub password_hash: Option<String>,
}

/// A workspace with what somebody may do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Viewer, editor or owner.
    pub role: Role,
}

/// Somebody in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// Their address.
    pub email: String,
    /// Viewer, editor or owner.
    pub role: Role,
    /// When they became a member.
    pub joined_at: Timestamp,
    /// How they stand.
    pub state: State,
    /// Whether they have a second factor.
    pub second_factor: bool,
}

/// A workspace to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorkspace {
    /// Id.
    pub id: WorkspaceId,
    /// Name.
    pub name: String,
}

/// Which workspace somebody means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspaceChoice<'a> {
    /// By id.
    Id(WorkspaceId),
    /// By name, among the user's own.
    Name(&'a str),
}

/// A single-use invitation to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvitation {
    /// Id.
    pub id: InvitationId,
    /// To where.
    pub workspace: WorkspaceId,
    /// For whom; empty: whoever holds the string.
    pub email: String,
    /// As what.
    pub role: Role,
    /// SHA-256 of the string.
    pub hash: [u8; 32],
    /// By whom.
    pub created_by: UserId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Id.
    pub id: InvitationId,
    /// To where.
    pub workspace: WorkspaceId,
    /// Its name.
    pub workspace_name: String,
    /// For whom; empty: whoever holds the string.
    pub email: String,
    /// As what.
    pub role: Role,
    /// The inviting user's address.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was used.
    pub accepted_at: Option<Timestamp>,
    /// When it was made void.
    pub revoked_at: Option<Timestamp>,
}

/// Who accepts an invitation.
#[derive(Clone)]
pub enum Guest {
    /// Somebody new, who becomes an active user.
    New(Registration),
    /// A user.
    Known(UserId),
}

/// A string with which a user sets a new password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReset {
    /// SHA-256 of the string.
    pub hash: [u8; 32],
    /// Whose password.
    pub user: UserId,
    /// By which operator.
    pub created_by: UserId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Users, workspaces and members. Where a method takes a workspace, members and invitations of others do not exist.
#[async_trait]
pub trait Users: Send + Sync {
    /// Adds one; `Conflict::UserEmail` when the address is taken.
    async fn add_user(&self, user: Registration, now: Timestamp) -> Result<User, Error>;

    /// By id.
    async fn find_user(&self, id: UserId) -> Result<Option<User>, Error>;

    /// By address in lower case, with the password's hash.
    async fn find_credentials(&self, email: &str) -> Result<Option<Credentials>, Error>;

    /// By address; in `state` if given.
    async fn list_users(&self, state: Option<State>, page: PageRequest) -> Result<Slice<User>, Error>;

    /// Moves a user on; `Stale` when they are no longer in `from`. A suspended user's sessions and API tokens end;
    /// `Conflict::LastOperator` when no active operator would be left. With a workspace, it is made with the user as its
    /// owner.
    async fn settle_user(
        &self,
        id: UserId,
        from: State,
        to: State,
        workspace: Option<NewWorkspace>,
        now: Timestamp,
    ) -> Result<User, Error>;

    /// Makes a user an operator or an ordinary user; `Stale` when there is none, `Conflict::LastOperator` when no active
    /// operator would be left.
    async fn set_operator(&self, id: UserId, operator: bool) -> Result<User, Error>;

    /// Replaces the password's hash; `Stale` when it is no longer `before`. Every session but `keep` ends.
    async fn change_password(
        &self,
        id: UserId,
        before: Option<String>,
        after: String,
        keep: Option<SessionId>,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Replaces the hash of an unchanged password by one of newer parameters; does nothing when it changed meanwhile.
    async fn rehash_password(&self, id: UserId, before: String, after: String) -> Result<(), Error>;

    /// Adds a string for a new password; the user's earlier ones are void.
    async fn add_password_reset(&self, reset: NewReset, now: Timestamp) -> Result<(), Error>;

    /// The active user whose password the string may set, unless it is used, void or expired.
    async fn find_password_reset(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<User>, Error>;

    /// Uses the string: sets the password, ends every session and API token. `Stale` when it is used, void or expired.
    async fn redeem_password_reset(
        &self,
        hash: [u8; 32],
        password_hash: String,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Makes a workspace with its owner; `Conflict::Id` when there is one of that id, `Stale` when the user is a member of
    /// `most` already.
    async fn add_workspace(
        &self,
        workspace: NewWorkspace,
        owner: UserId,
        most: u32,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// The user's own, by name.
    async fn list_workspaces(&self, user: UserId, page: PageRequest) -> Result<Slice<Membership>, Error>;

    /// One of the user's own.
    async fn find_membership(
        &self,
        user: UserId,
        workspace: WorkspaceChoice<'_>,
    ) -> Result<Option<Membership>, Error>;

    /// By address.
    async fn list_members(&self, workspace: WorkspaceId, page: PageRequest) -> Result<Slice<Member>, Error>;

    /// One member.
    async fn find_member(&self, workspace: WorkspaceId, user: UserId) -> Result<Option<Member>, Error>;

    /// Changes what a member may do; `Stale` when they are none, `Conflict::LastOwner` when no active owner would be left.
    async fn set_member_role(&self, workspace: WorkspaceId, user: UserId, role: Role) -> Result<(), Error>;

    /// Takes a member out, their API tokens there as well; errors as for [`Users::set_member_role`].
    async fn remove_member(&self, workspace: WorkspaceId, user: UserId, now: Timestamp) -> Result<(), Error>;

    /// Makes the active member `to` an owner and the owner `from` an editor; `Stale` when they are none.
    async fn transfer_ownership(&self, workspace: WorkspaceId, from: UserId, to: UserId)
    -> Result<(), Error>;

    /// Adds an invitation. Asked again within [`REPEATED`](crate::REPEATED) with the same id, author, role and address, while
    /// it is open, it gives the invitation the new hash and end in place of the earlier ones; any other use of the id is a
    /// conflict. Returns when the invitation was made.
    async fn add_invitation(&self, invitation: NewInvitation, now: Timestamp) -> Result<Timestamp, Error>;

    /// Newest first, whatever became of them.
    async fn list_invitations(
        &self,
        workspace: WorkspaceId,
        page: PageRequest,
    ) -> Result<Slice<Invitation>, Error>;

    /// Makes an unused one void; says whether there was one.
    async fn revoke_invitation(
        &self,
        workspace: WorkspaceId,
        id: InvitationId,
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// The invitation of a string, unless it is used, void or expired.
    async fn find_invitation(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<Invitation>, Error>;

    /// Uses the string: makes the guest a member. `Stale` when it is used, void or expired, `Conflict::UserEmail` when the
    /// address is taken, `Conflict::Member` when the guest is a member already (the invitation stays unused).
    async fn accept_invitation(&self, hash: [u8; 32], guest: Guest, now: Timestamp) -> Result<(), Error>;
}
