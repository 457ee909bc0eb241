//! Users, workspaces, sessions and tokens.

use serde::Serialize;

use super::Time;
pub(crate) use crate::args::people::{Role, UserState};

/// One of the caller's sessions.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) client: String,
    pub(crate) address: String,
    pub(crate) created_at: Option<Time>,
    pub(crate) refreshed_at: Option<Time>,
    pub(crate) expires_at: Option<Time>,
    pub(crate) current: bool,
}

/// One of the caller's API tokens.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) workspace_id: String,
    pub(crate) workspace_name: String,
    pub(crate) created_at: Option<Time>,
    pub(crate) expires_at: Option<Time>,
    pub(crate) revoked_at: Option<Time>,
    pub(crate) last_used_at: Option<Time>,
}

/// A fresh API token.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewToken {
    pub(crate) token: Token,
    pub(crate) secret: String,
}

/// A workspace of the caller.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workspace {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) current: bool,
}

/// Somebody in the workspace.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    pub(crate) user_id: String,
    pub(crate) email: String,
    pub(crate) role: &'static str,
    pub(crate) joined_at: Option<Time>,
    pub(crate) second_factor: bool,
    pub(crate) suspended: bool,
}

/// An invitation to the workspace.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invitation {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) role: &'static str,
    pub(crate) created_by: String,
    pub(crate) created_at: Option<Time>,
    pub(crate) expires_at: Option<Time>,
    pub(crate) accepted_at: Option<Time>,
    pub(crate) revoked_at: Option<Time>,
}

/// A fresh invitation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewInvitation {
    pub(crate) invitation: Invitation,
    pub(crate) secret: String,
}

/// A user of the system.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) state: &'static str,
    pub(crate) operator: bool,
    pub(crate) second_factor: bool,
    pub(crate) created_at: Option<Time>,
    pub(crate) last_login_at: Option<Time>,
}

/// A fresh string for a new password.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PasswordReset {
    pub(crate) secret: String,
    pub(crate) expires_at: Option<Time>,
}
