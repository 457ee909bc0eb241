//! Sessions and their secrets. API tokens are in [`tokens`].

use async_trait::async_trait;
use tradepost_domain::id::{SessionId, TokenId, UserId, WorkspaceId};
use tradepost_domain::session::Chain;
use tradepost_domain::time::Timestamp;
use tradepost_store::audit::aside;
use tradepost_store::{
    ApiToken, Bearer, Credential, Cursor, Error, Membership, NewApiToken, NewSecrets, NewSession,
    PageRequest, RefreshToken, Session, Sessions, Slice,
};
use uuid::Uuid;

use super::{Fault, Tx, page, tokens, users};
use crate::backend::{Backend, Conn};
use crate::time::Time;

struct BearerRow {
    user_id: Uuid,
    email: String,
    is_operator: bool,
    second_factor: bool,
    session_id: Uuid,
    proved_at: Time,
    expires_at: Time,
    workspace_id: Option<Uuid>,
    workspace_name: Option<String>,
    role: Option<String>,
}

struct RefreshRow {
    session_id: Uuid,
    user_id: Uuid,
    generation: i64,
    expires_at: Time,
    at_generation: i64,
    refreshed_at: Time,
    session_expires_at: Time,
    revoked_at: Option<Time>,
}

struct SessionRow {
    id: Uuid,
    client: String,
    address: String,
    created_at: Time,
    refreshed_at: Time,
    expires_at: Time,
}

impl BearerRow {
    fn into_bearer(self) -> Result<Bearer, Fault> {
        let membership = match (self.workspace_id, self.workspace_name, self.role) {
            (Some(workspace), Some(name), Some(role)) => Some(Membership {
                workspace: WorkspaceId(workspace),
                name,
                role: users::role(&role, workspace)?,
            }),
            _ => None,
        };
        Ok(Bearer {
            user: UserId(self.user_id),
            email: self.email,
            operator: self.is_operator,
            second_factor: self.second_factor,
            credential: Credential::Session { id: SessionId(self.session_id), proved_at: self.proved_at.0 },
            membership,
            expires_at: Some(self.expires_at.0),
        })
    }
}

#[async_trait]
impl Sessions for Backend {
    async fn begin_session(
        &self,
        session: NewSession,
        secrets: NewSecrets,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let active = sqlx::query!(
                    "UPDATE users SET last_login_at = $2 WHERE id = $1 AND state = 'active'",
                    session.user.0,
                    Time(now),
                )
                .execute(&mut *tx.conn)
                .await?;
                if active.rows_affected() == 0 {
                    return Err(Error::Stale.into());
                }
                sqlx::query!(
                    "INSERT INTO sessions (id, user_id, workspace_id, client, address, proved_at, created_at,
                                           refreshed_at, expires_at)
                     VALUES ($1, $2, (SELECT m.workspace_id FROM memberships m WHERE m.user_id = $2
                                      ORDER BY m.created_at, m.workspace_id LIMIT 1), $3, $4, $5, $5, $5, $6)",
                    session.id.0,
                    session.user.0,
                    session.client,
                    session.address,
                    Time(now),
                    Time(session.expires_at),
                )
                .execute(&mut *tx.conn)
                .await?;
                insert_secrets(&mut tx, session.id, 0, secrets).await
            })
        })
        .await
    }

    async fn find_session_bearer(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<Bearer>, Error> {
        self.read(async |conn| bearer(conn, hash, now).await).await
    }

    async fn find_token_bearer(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<Bearer>, Error> {
        self.read(async |conn| tokens::bearer(conn, hash, now).await).await
    }

    async fn find_refresh_token(&self, hash: [u8; 32]) -> Result<Option<RefreshToken>, Error> {
        self.read(async |conn| {
            let row = sqlx::query_as!(
                RefreshRow,
                r#"SELECT s.id AS "session_id!: Uuid", s.user_id AS "user_id!: Uuid", t.generation AS "generation!",
                          t.expires_at AS "expires_at!: Time", s.generation AS "at_generation!",
                          s.refreshed_at AS "refreshed_at!: Time", s.expires_at AS "session_expires_at!: Time",
                          s.revoked_at AS "revoked_at?: Time"
                   FROM session_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
                   WHERE t.hash = $1 AND t.kind = 'refresh' AND u.state = 'active'"#,
                &hash[..],
            )
            .fetch_optional(&mut *conn)
            .await?;
            Ok(row.map(|row| RefreshToken {
                session: SessionId(row.session_id),
                user: UserId(row.user_id),
                generation: row.generation,
                expires_at: row.expires_at.0,
                chain: Chain {
                    generation: row.at_generation,
                    refreshed_at: row.refreshed_at.0,
                    expires_at: row.session_expires_at.0,
                    revoked: row.revoked_at.is_some(),
                },
            }))
        })
        .await
    }

    async fn advance_session(
        &self,
        id: SessionId,
        generation: i64,
        secrets: NewSecrets,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let advanced = sqlx::query!(
                    "UPDATE sessions SET generation = generation + 1, refreshed_at = $3
                     WHERE id = $1 AND generation = $2 AND revoked_at IS NULL",
                    id.0,
                    generation,
                    Time(now),
                )
                .execute(&mut *tx.conn)
                .await?;
                if advanced.rows_affected() == 0 {
                    return Err(Error::Stale.into());
                }
                insert_secrets(&mut tx, id, generation + 1, secrets).await
            })
        })
        .await
    }

    async fn repeat_secrets(&self, id: SessionId, generation: i64, secrets: NewSecrets) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let held = sqlx::query!(
                    "UPDATE sessions SET generation = generation
                     WHERE id = $1 AND generation = $2 AND revoked_at IS NULL",
                    id.0,
                    generation,
                )
                .execute(&mut *tx.conn)
                .await?;
                if held.rows_affected() == 0 {
                    return Err(Error::Stale.into());
                }
                insert_secrets(&mut tx, id, generation, secrets).await
            })
        })
        .await
    }

    async fn end_session(&self, user: UserId, id: SessionId, now: Timestamp) -> Result<bool, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let ended = sqlx::query!(
                    "UPDATE sessions SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL",
                    id.0,
                    user.0,
                    Time(now),
                )
                .execute(&mut *tx.conn)
                .await?;
                if ended.rows_affected() == 0 {
                    tx.unchanged();
                }
                Ok(ended.rows_affected() > 0)
            })
        })
        .await
    }

    async fn list_sessions(
        &self,
        user: UserId,
        page: PageRequest,
        now: Timestamp,
    ) -> Result<Slice<Session>, Error> {
        self.read(async |conn| {
            let (at, id, limit) = page::newest(&page)?;
            let rows = sqlx::query_as!(
                SessionRow,
                r#"SELECT id AS "id!: Uuid", client AS "client!", address AS "address!",
                          created_at AS "created_at!: Time", refreshed_at AS "refreshed_at!: Time",
                          expires_at AS "expires_at!: Time"
                   FROM sessions
                   WHERE user_id = $1 AND (created_at, id) < ($2, $3) AND revoked_at IS NULL AND expires_at > $4
                       AND refreshed_at > $5
                   ORDER BY created_at DESC, id DESC LIMIT $6"#,
                user.0,
                at,
                id,
                Time(now),
                Time(now - tradepost_domain::session::IDLE),
                limit,
            )
            .fetch_all(&mut *conn)
            .await?;
            let sessions = rows.into_iter().map(|row| Session {
                id: SessionId(row.id),
                client: row.client,
                address: row.address,
                created_at: row.created_at.0,
                refreshed_at: row.refreshed_at.0,
                expires_at: row.expires_at.0,
            });
            Ok(page::slice(sessions.collect(), &page, |row: &Session| Cursor::Newest(row.created_at, row.id.0)))
        })
        .await
    }

    async fn switch_workspace(
        &self,
        user: UserId,
        id: SessionId,
        workspace: WorkspaceId,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let switched = sqlx::query!(
                    "UPDATE sessions SET workspace_id = $3 WHERE id = $1 AND user_id = $2
                     AND EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = $2 AND m.workspace_id = $3)",
                    id.0,
                    user.0,
                    workspace.0,
                )
                .execute(&mut *tx.conn)
                .await?;
                if switched.rows_affected() == 0 { Err(Error::Stale.into()) } else { Ok(()) }
            })
        })
        .await
    }

    async fn prove_session(&self, id: SessionId, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query!("UPDATE sessions SET proved_at = $2 WHERE id = $1", id.0, Time(now))
                    .execute(&mut *tx.conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn add_api_token(&self, token: NewApiToken, now: Timestamp) -> Result<Timestamp, Error> {
        self.write(move |tx| Box::pin(tokens::add(tx, token, now))).await
    }

    async fn list_api_tokens(&self, user: UserId, page: PageRequest) -> Result<Slice<ApiToken>, Error> {
        self.read(async |conn| tokens::list(conn, user, &page).await).await
    }

    async fn revoke_api_token(&self, user: UserId, id: TokenId, now: Timestamp) -> Result<bool, Error> {
        self.write(move |tx| Box::pin(tokens::revoke(tx, user, id, now))).await
    }

    async fn touch_api_token(&self, id: TokenId, now: Timestamp) -> Result<(), Error> {
        aside(self.write(move |tx| Box::pin(tokens::touch(tx, id, now)))).await
    }

    async fn purge_sessions(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let limit = i64::from(limit);
                let sessions = sqlx::query!(
                    "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 LIMIT $2)",
                    Time(before),
                    limit,
                )
                .execute(&mut *tx.conn)
                .await?;
                let counters = sqlx::query!(
                    "DELETE FROM throttles WHERE key IN (SELECT key FROM throttles WHERE forget_us < $1 LIMIT $2)",
                    before.as_micros(),
                    limit,
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok(sessions.rows_affected() + counters.rows_affected())
            })
        })
        .await
    }
}

async fn bearer(conn: &mut Conn, hash: [u8; 32], now: Timestamp) -> Result<Option<Bearer>, Fault> {
    sqlx::query_as!(
        BearerRow,
        r#"SELECT u.id AS "user_id!: Uuid", u.email AS "email!", u.is_operator AS "is_operator!: bool",
                  EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
                      AS "second_factor!: bool",
                  s.id AS "session_id!: Uuid", s.proved_at AS "proved_at!: Time", t.expires_at AS "expires_at!: Time",
                  m.workspace_id AS "workspace_id?: Uuid", w.name AS "workspace_name?", m.role AS "role?"
           FROM session_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
               LEFT JOIN memberships m ON m.workspace_id = s.workspace_id AND m.user_id = s.user_id
               LEFT JOIN workspaces w ON w.id = m.workspace_id
           WHERE t.hash = $1 AND t.kind = 'access' AND t.expires_at > $2 AND s.revoked_at IS NULL
               AND s.expires_at > $2 AND u.state = 'active'"#,
        &hash[..],
        Time(now),
    )
    .fetch_optional(&mut *conn)
    .await?
    .map(BearerRow::into_bearer)
    .transpose()
}

async fn insert_secrets(
    tx: &mut Tx<'_>,
    session: SessionId,
    generation: i64,
    secrets: NewSecrets,
) -> Result<(), Fault> {
    for (hash, kind, expires_at) in [
        (secrets.access, "access", secrets.access_expires_at),
        (secrets.refresh, "refresh", secrets.refresh_expires_at),
    ] {
        sqlx::query!(
            "INSERT INTO session_tokens (hash, session_id, kind, generation, expires_at) VALUES ($1, $2, $3, $4, $5)",
            &hash[..],
            session.0,
            kind,
            generation,
            Time(expires_at),
        )
        .execute(&mut *tx.conn)
        .await?;
    }
    Ok(())
}
