//! Users, workspaces, sessions and tokens.

use tradepost_proto::v1;

use super::{present, role_name, time};
use crate::error::Result;
use crate::model;
use crate::vault::SessionSecrets;

pub(in crate::client) fn session_secrets(tokens: v1::SessionTokens) -> Result<SessionSecrets> {
    let v1::SessionTokens {
        access_token,
        access_expires_at,
        refresh_token,
        refresh_expires_at: _,
        session_expires_at: _,
        session_id: _,
    } = tokens;
    let access_expires_at = present(access_expires_at, "access_expires_at")?;
    let access_expires_us = tradepost_proto::convert::time::from_wire(access_expires_at).as_micros();
    Ok(SessionSecrets { access_token, access_expires_us, refresh_token })
}

pub(in crate::client) fn role(role: model::Role) -> v1::Role {
    match role {
        model::Role::Viewer => v1::Role::Viewer,
        model::Role::Editor => v1::Role::Editor,
        model::Role::Owner => v1::Role::Owner,
    }
}

pub(in crate::client) fn user_state(state: Option<model::UserState>) -> v1::UserState {
    match state {
        None => v1::UserState::Unspecified,
        Some(model::UserState::Pending) => v1::UserState::Pending,
        Some(model::UserState::Active) => v1::UserState::Active,
        Some(model::UserState::Suspended) => v1::UserState::Suspended,
    }
}

pub(in crate::client) fn session(message: v1::Session) -> model::Session {
    let v1::Session { id, client, address, created_at, refreshed_at, expires_at, current } = message;
    model::Session {
        id,
        client,
        address,
        created_at: time(created_at),
        refreshed_at: time(refreshed_at),
        expires_at: time(expires_at),
        current,
    }
}

pub(in crate::client) fn token(message: v1::Token) -> model::Token {
    let v1::Token {
        id,
        name,
        scopes,
        workspace_id,
        workspace_name,
        created_at,
        expires_at,
        revoked_at,
        last_used_at,
    } = message;
    model::Token {
        id,
        name,
        scopes,
        workspace_id,
        workspace_name,
        created_at: time(created_at),
        expires_at: time(expires_at),
        revoked_at: time(revoked_at),
        last_used_at: time(last_used_at),
    }
}

pub(in crate::client) fn workspace(message: v1::Workspace) -> model::Workspace {
    let role = role_name(message.role());
    let v1::Workspace { id, name, role: _, current } = message;
    model::Workspace { id, name, role, current }
}

pub(in crate::client) fn member(message: v1::Member) -> model::Member {
    let role = role_name(message.role());
    let v1::Member { user_id, email, role: _, joined_at, second_factor, suspended } = message;
    model::Member { user_id, email, role, joined_at: time(joined_at), second_factor, suspended }
}

pub(in crate::client) fn invitation(message: v1::Invitation) -> model::Invitation {
    let role = role_name(message.role());
    let v1::Invitation { id, email, role: _, created_by, created_at, expires_at, accepted_at, revoked_at } =
        message;
    model::Invitation {
        id,
        email,
        role,
        created_by,
        created_at: time(created_at),
        expires_at: time(expires_at),
        accepted_at: time(accepted_at),
        revoked_at: time(revoked_at),
    }
}

pub(in crate::client) fn user(message: v1::User) -> model::User {
    let state = match message.state() {
        v1::UserState::Pending => "pending",
        v1::UserState::Active => "active",
        v1::UserState::Suspended => "suspended",
        v1::UserState::Unspecified => "unknown",
    };
    let v1::User { id, email, state: _, operator, second_factor, created_at, last_login_at } = message;
    model::User {
        id,
        email,
        state,
        operator,
        second_factor,
        created_at: time(created_at),
        last_login_at: time(last_login_at),
    }
}
