//! Users and tokens.

use async_trait::async_trait;
use tradepost_domain::id::{UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Auth, Error, NewToken, NewUser, Principal, Role};
use uuid::Uuid;

use super::{Fault, Tx};
use crate::backend::{Backend, Conn};
use crate::time::Time;

struct PrincipalRow {
    user_id: Uuid,
    email: String,
    role: String,
    workspace_id: Uuid,
    workspace_name: String,
}

impl PrincipalRow {
    fn into_principal(self) -> Result<Principal, Fault> {
        let role = Role::from_name(&self.role)
            .ok_or_else(|| Fault::inconsistent("users.role", self.user_id, &self.role))?;
        Ok(Principal {
            user: UserId(self.user_id),
            email: self.email,
            workspace: WorkspaceId(self.workspace_id),
            workspace_name: self.workspace_name,
            role,
        })
    }
}

#[async_trait]
impl Auth for Backend {
    async fn add_user_token(
        &self,
        user: NewUser,
        token: NewToken,
        now: Timestamp,
    ) -> Result<(Principal, bool), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let known = find_user(tx.conn, &user.email).await?;
                let is_new = known.is_none();
                let principal = match known {
                    Some(principal) => principal,
                    None => add_user(&mut tx, user, now).await?,
                };
                sqlx::query!(
                    "INSERT INTO tokens (id, user_id, name, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
                    token.id.0,
                    principal.user.0,
                    token.name,
                    &token.hash[..],
                    Time(now),
                    token.expires_at.map(Time),
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok((principal, is_new))
            })
        })
        .await
    }

    async fn find_principal(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<Principal>, Error> {
        self.read(async |conn| {
            sqlx::query_as!(
                PrincipalRow,
                r#"SELECT u.id AS "user_id!: Uuid", u.email AS "email!", u.role AS "role!",
                          w.id AS "workspace_id!: Uuid", w.name AS "workspace_name!"
                   FROM tokens t JOIN users u ON u.id = t.user_id JOIN workspaces w ON w.id = u.workspace_id
                   WHERE t.hash = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $2)"#,
                &hash[..],
                Time(now),
            )
            .fetch_optional(&mut *conn)
            .await?
            .map(PrincipalRow::into_principal)
            .transpose()
        })
        .await
    }
}

async fn find_user(conn: &mut Conn, email: &str) -> Result<Option<Principal>, Fault> {
    sqlx::query_as!(
        PrincipalRow,
        r#"SELECT u.id AS "user_id!: Uuid", u.email AS "email!", u.role AS "role!",
                  w.id AS "workspace_id!: Uuid", w.name AS "workspace_name!"
           FROM users u JOIN workspaces w ON w.id = u.workspace_id WHERE u.email = $1"#,
        email,
    )
    .fetch_optional(&mut *conn)
    .await?
    .map(PrincipalRow::into_principal)
    .transpose()
}

async fn add_user(tx: &mut Tx<'_>, user: NewUser, now: Timestamp) -> Result<Principal, Fault> {
    let joined = sqlx::query_scalar!(
        r#"SELECT id AS "id!: Uuid" FROM workspaces WHERE name = $1"#,
        user.workspace_name,
    )
    .fetch_optional(&mut *tx.conn)
    .await?;
    let workspace = if let Some(id) = joined {
        WorkspaceId(id)
    } else {
        sqlx::query!(
            "INSERT INTO workspaces (id, name, created_at) VALUES ($1, $2, $3)",
            user.workspace.0,
            user.workspace_name,
            Time(now),
        )
        .execute(&mut *tx.conn)
        .await?;
        user.workspace
    };
    sqlx::query!(
        "INSERT INTO users (id, workspace_id, email, role, created_at) VALUES ($1, $2, $3, $4, $5)",
        user.id.0,
        workspace.0,
        user.email,
        user.role.name(),
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    Ok(Principal {
        user: user.id,
        email: user.email,
        workspace,
        workspace_name: user.workspace_name,
        role: user.role,
    })
}
