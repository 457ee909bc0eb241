//! Users that are made on the controller's host, and who holds a token.

use async_trait::async_trait;
use tradepost_domain::id::{TokenId, UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;

use crate::Error;

/// What a user may do in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks only.
    Viewer,
    /// Changes listings and postings.
    Editor,
    /// Runs the workspace.
    Owner,
    /// Runs the system.
    Operator,
}

/// Who a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user: UserId,
    /// Their e-mail address.
    pub email: String,
    /// The workspace the token works in.
    pub workspace: WorkspaceId,
    /// Its name.
    pub workspace_name: String,
    /// What they may do there.
    pub role: Role,
}

/// A user with a workspace of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Id of the user.
    pub id: UserId,
    /// E-mail address; unique.
    pub email: String,
    /// Their role.
    pub role: Role,
    /// Id of the workspace, when it does not exist yet.
    pub workspace: WorkspaceId,
    /// Name of the workspace: an existing one of that name is joined, else it is made.
    pub workspace_name: String,
}

/// A bearer token, hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// When it ends; none for never.
    pub expires_at: Option<Timestamp>,
}

/// Users and tokens.
#[async_trait]
pub trait Auth: Send + Sync {
    /// Makes the user (and the workspace) unless the address exists, then gives that user the token, for everything. A
    /// known user keeps their workspace; asked for as operator, they become an active one. Returns the principal and
    /// whether the user is new.
    async fn add_user_token(
        &self,
        user: NewUser,
        token: NewToken,
        now: Timestamp,
    ) -> Result<(Principal, bool), Error>;
}

impl Role {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Owner => "owner",
            Self::Operator => "operator",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Editor, Self::Owner, Self::Operator].into_iter().find(|role| role.name() == name)
    }
}
