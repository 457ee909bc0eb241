//! API tokens.

use tradepost_domain::id::{TokenId, UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_store::{
    ApiToken, Bearer, Conflict, Credential, Cursor, Error, Membership, NewApiToken, PageRequest, REPEATED,
    Slice,
};
use uuid::Uuid;

use super::{Fault, Tx, members, page, users};
use crate::backend::Conn;
use crate::time::Time;

struct BearerRow {
    user_id: Uuid,
    email: String,
    is_operator: bool,
    second_factor: bool,
    id: Uuid,
    scopes: String,
    expires_at: Option<Time>,
    last_used_at: Option<Time>,
    workspace_id: Uuid,
    workspace_name: String,
    role: String,
}

struct TokenRow {
    id: Uuid,
    workspace_id: Uuid,
    workspace_name: String,
    name: String,
    scopes: String,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

pub(super) async fn bearer(conn: &mut Conn, hash: [u8; 32], now: Timestamp) -> Result<Option<Bearer>, Fault> {
    let row = sqlx::query_as!(
        BearerRow,
        r#"SELECT u.id AS "user_id!: Uuid", u.email AS "email!", u.is_operator AS "is_operator!: bool",
                  EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
                      AS "second_factor!: bool",
                  t.id AS "id!: Uuid", t.scopes AS "scopes!", t.expires_at AS "expires_at?: Time",
                  t.last_used_at AS "last_used_at?: Time",
                  w.id AS "workspace_id!: Uuid", w.name AS "workspace_name!", m.role AS "role!"
           FROM api_tokens t JOIN users u ON u.id = t.user_id JOIN workspaces w ON w.id = t.workspace_id
               JOIN memberships m ON m.workspace_id = t.workspace_id AND m.user_id = t.user_id
           WHERE t.hash = $1 AND t.revoked_at IS NULL AND (t.expires_at > $2 OR t.expires_at IS NULL)
               AND u.state = 'active'"#,
        &hash[..],
        Time(now),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let role = users::role(&row.role, row.workspace_id)?;
    Ok(Some(Bearer {
        user: UserId(row.user_id),
        email: row.email,
        operator: row.is_operator,
        second_factor: row.second_factor,
        credential: Credential::Token {
            id: TokenId(row.id),
            scopes: row.scopes,
            last_used_at: row.last_used_at.map(|time| time.0),
        },
        membership: Some(Membership {
            workspace: WorkspaceId(row.workspace_id),
            name: row.workspace_name,
            role,
        }),
        expires_at: row.expires_at.map(|time| time.0),
    }))
}

pub(super) async fn add(tx: Tx<'_>, token: NewApiToken, now: Timestamp) -> Result<Timestamp, Fault> {
    let made = sqlx::query_scalar!(
        r#"INSERT INTO api_tokens (id, user_id, workspace_id, name, scopes, hash, created_at, expires_at)
           SELECT $1, m.user_id, m.workspace_id, $4, $5, $6, $7, $8 FROM memberships m
           WHERE m.workspace_id = $3 AND m.user_id = $2
           ON CONFLICT (id) DO UPDATE SET hash = $6, expires_at = $8
           WHERE api_tokens.user_id = $2 AND api_tokens.workspace_id = $3 AND api_tokens.name = $4
               AND api_tokens.scopes = $5 AND api_tokens.revoked_at IS NULL AND api_tokens.created_at > $9
           RETURNING created_at AS "created_at!: Time""#,
        token.id.0,
        token.user.0,
        token.workspace.0,
        token.name,
        token.scopes,
        &token.hash[..],
        Time(now),
        token.expires_at.map(Time),
        Time(now - REPEATED),
    )
    .fetch_optional(&mut *tx.conn)
    .await?;
    if let Some(made) = made {
        return Ok(made.0);
    }
    let member = members::find(tx.conn, token.workspace, token.user).await?;
    Err(if member.is_some() { Error::Conflict(Conflict::Id) } else { Error::Stale }.into())
}

pub(super) async fn list(
    conn: &mut Conn,
    user: UserId,
    page: &PageRequest,
) -> Result<Slice<ApiToken>, Fault> {
    let (at, id, limit) = page::newest(page)?;
    let rows = sqlx::query_as!(
        TokenRow,
        r#"SELECT t.id AS "id!: Uuid", t.workspace_id AS "workspace_id!: Uuid", w.name AS "workspace_name!",
                  t.name AS "name!", t.scopes AS "scopes!", t.created_at AS "created_at!: Time",
                  t.expires_at AS "expires_at?: Time", t.revoked_at AS "revoked_at?: Time",
                  t.last_used_at AS "last_used_at?: Time"
           FROM api_tokens t JOIN workspaces w ON w.id = t.workspace_id
           WHERE t.user_id = $1 AND (t.created_at, t.id) < ($2, $3)
           ORDER BY t.created_at DESC, t.id DESC LIMIT $4"#,
        user.0,
        at,
        id,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let rows = rows.into_iter().map(|row| ApiToken {
        id: TokenId(row.id),
        workspace: WorkspaceId(row.workspace_id),
        workspace_name: row.workspace_name,
        name: row.name,
        scopes: row.scopes,
        created_at: row.created_at.0,
        expires_at: row.expires_at.map(|time| time.0),
        revoked_at: row.revoked_at.map(|time| time.0),
        last_used_at: row.last_used_at.map(|time| time.0),
    });
    Ok(page::slice(rows.collect(), page, |row: &ApiToken| Cursor::Newest(row.created_at, row.id.0)))
}

pub(super) async fn revoke(mut tx: Tx<'_>, user: UserId, id: TokenId, now: Timestamp) -> Result<bool, Fault> {
    let revoked = sqlx::query!(
        "UPDATE api_tokens SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL",
        id.0,
        user.0,
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    if revoked.rows_affected() > 0 {
        return Ok(true);
    }
    tx.unchanged();
    let known = sqlx::query_scalar!(
        r#"SELECT id AS "id!: Uuid" FROM api_tokens WHERE id = $1 AND user_id = $2"#,
        id.0,
        user.0,
    )
    .fetch_optional(&mut *tx.conn)
    .await?;
    Ok(known.is_some())
}

pub(super) async fn touch(tx: Tx<'_>, id: TokenId, now: Timestamp) -> Result<(), Fault> {
    sqlx::query!("UPDATE api_tokens SET last_used_at = $2 WHERE id = $1", id.0, Time(now))
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}
