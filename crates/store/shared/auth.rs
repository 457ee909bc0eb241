//! Users that are made on the controller's host, and who holds a token.

use async_trait::async_trait;
use tradepost_domain::audit::{Detail, Target};
use tradepost_domain::id::{UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Auth, Error, NewToken, NewUser, Principal, Role};
use uuid::Uuid;

use super::{Fault, Tx, users};
use crate::backend::{Backend, Conn};
use crate::time::Time;

struct PrincipalRow {
    user_id: Uuid,
    email: String,
    is_operator: bool,
    role: String,
    workspace_id: Uuid,
    workspace_name: String,
}

impl PrincipalRow {
    fn into_principal(self) -> Result<Principal, Fault> {
        let role = users::role(&self.role, self.user_id)?;
        Ok(Principal {
            user: UserId(self.user_id),
            email: self.email,
            workspace: WorkspaceId(self.workspace_id),
            workspace_name: self.workspace_name,
            role: if self.is_operator { Role::Operator } else { role },
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
                    Some(known) => promote(tx.conn, known, &user).await?,
                    None => add_user(&mut tx, user, now).await?,
                };
                sqlx::query!(
                    "INSERT INTO api_tokens (id, user_id, workspace_id, name, scopes, hash, created_at, expires_at)
                     VALUES ($1, $2, $3, $4, '*', $5, $6, $7)",
                    token.id.0,
                    principal.user.0,
                    principal.workspace.0,
                    token.name,
                    &token.hash[..],
                    Time(now),
                    token.expires_at.map(Time),
                )
                .execute(&mut *tx.conn)
                .await?;
                tx.tell(|entry| {
                    entry.set_target(Target::User, principal.user.0);
                    entry.set_detail(Detail::Role, principal.role.name());
                });
                Ok((principal, is_new))
            })
        })
        .await
    }
}

/// The user of that address in their oldest workspace; one that is a member of none is found by [`users`] alone.
async fn find_user(conn: &mut Conn, email: &str) -> Result<Option<Principal>, Fault> {
    sqlx::query_as!(
        PrincipalRow,
        r#"SELECT u.id AS "user_id!: Uuid", u.email AS "email!", u.is_operator AS "is_operator!: bool",
                  m.role AS "role!", w.id AS "workspace_id!: Uuid", w.name AS "workspace_name!"
           FROM users u JOIN memberships m ON m.user_id = u.id JOIN workspaces w ON w.id = m.workspace_id
           WHERE u.email = $1 ORDER BY m.created_at, m.workspace_id LIMIT 1"#,
        email,
    )
    .fetch_optional(&mut *conn)
    .await?
    .map(PrincipalRow::into_principal)
    .transpose()
}

/// A known user becomes an active operator, where that is what was asked for.
async fn promote(conn: &mut Conn, known: Principal, wanted: &NewUser) -> Result<Principal, Fault> {
    if wanted.role != Role::Operator {
        return Ok(known);
    }
    sqlx::query!("UPDATE users SET is_operator = TRUE, state = 'active' WHERE id = $1", known.user.0)
        .execute(&mut *conn)
        .await?;
    Ok(Principal { role: Role::Operator, ..known })
}

async fn add_user(tx: &mut Tx<'_>, user: NewUser, now: Timestamp) -> Result<Principal, Fault> {
    let joined = sqlx::query_scalar!(
        r#"SELECT id AS "id!: Uuid" FROM workspaces WHERE name = $1 ORDER BY id LIMIT 1"#,
        user.workspace_name,
    )
    .fetch_optional(&mut *tx.conn)
    .await?;
    let workspace = if let Some(id) = joined {
        WorkspaceId(id)
    } else {
        users::insert_workspace(tx.conn, user.workspace, &user.workspace_name, now).await?;
        user.workspace
    };
    let is_operator = user.role == Role::Operator;
    // Somebody who registered and belongs nowhere yet may have the address.
    sqlx::query!(
        "INSERT INTO users (id, email, state, is_operator, created_at) VALUES ($1, $2, 'active', FALSE, $3)
         ON CONFLICT (email) DO NOTHING",
        user.id.0,
        user.email,
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    let id = sqlx::query_scalar!(
        r#"UPDATE users SET state = 'active', is_operator = $2 WHERE email = $1 RETURNING id AS "id!: Uuid""#,
        user.email,
        is_operator,
    )
    .fetch_one(&mut *tx.conn)
    .await?;
    let id = UserId(id);
    let membership = if is_operator { Role::Owner } else { user.role };
    users::insert_membership(tx.conn, workspace, id, membership, now).await?;
    Ok(Principal {
        user: id,
        email: user.email,
        workspace,
        workspace_name: user.workspace_name,
        role: user.role,
    })
}
