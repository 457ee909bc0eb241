//! Members of workspaces. Who changes them holds the workspace's row, so that an owner is always left.

use tradepost_domain::id::{UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_store::{
    Conflict, Cursor, Error, Member, Membership, PageRequest, Role, Slice, WorkspaceChoice,
};
use uuid::Uuid;

use super::{Fault, Tx, page, users};
use crate::backend::Conn;
use crate::time::Time;

struct MembershipRow {
    id: Uuid,
    name: String,
    role: String,
}

/// `query_as!` of a [`MembershipRow`]: the text after the columns, then the arguments.
macro_rules! memberships {
    ($after:literal, $($args:tt)*) => {
        sqlx::query_as!(
            MembershipRow,
            r#"SELECT w.id AS "id!: Uuid", w.name AS "name!", m.role AS "role!"
               FROM memberships m JOIN workspaces w ON w.id = m.workspace_id "# + $after,
            $($args)*
        )
    };
}

struct MemberRow {
    user_id: Uuid,
    email: String,
    role: String,
    created_at: Time,
    state: String,
    second_factor: bool,
}

/// `query_as!` of a [`MemberRow`]: the text after the columns, then the arguments.
macro_rules! rows {
    ($after:literal, $($args:tt)*) => {
        sqlx::query_as!(
            MemberRow,
            r#"SELECT u.id AS "user_id!: Uuid", u.email AS "email!", m.role AS "role!",
                      m.created_at AS "created_at!: Time", u.state AS "state!",
                      EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
                          AS "second_factor!: bool"
               FROM memberships m JOIN users u ON u.id = m.user_id "# + $after,
            $($args)*
        )
    };
}

impl MembershipRow {
    fn into_membership(self) -> Result<Membership, Fault> {
        Ok(Membership {
            workspace: WorkspaceId(self.id),
            role: users::role(&self.role, self.id)?,
            name: self.name,
        })
    }
}

impl MemberRow {
    fn into_member(self) -> Result<Member, Fault> {
        Ok(Member {
            user: UserId(self.user_id),
            role: users::role(&self.role, self.user_id)?,
            state: users::state(&self.state, self.user_id)?,
            email: self.email,
            joined_at: self.created_at.0,
            second_factor: self.second_factor,
        })
    }
}

pub(super) async fn workspaces(
    conn: &mut Conn,
    user: UserId,
    page: &PageRequest,
) -> Result<Slice<Membership>, Fault> {
    let (name, id, limit) = page::by_name(page)?;
    let rows = memberships!(
        "WHERE m.user_id = $1 AND (w.name, w.id) > ($2, $3) ORDER BY w.name, w.id LIMIT $4",
        user.0,
        name,
        id,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let rows = rows.into_iter().map(MembershipRow::into_membership).collect::<Result<_, Fault>>()?;
    Ok(page::slice(rows, page, |row: &Membership| Cursor::Name(row.name.clone(), row.workspace.0)))
}

/// A workspace named alike twice among the user's own is the one that they joined first.
pub(super) async fn membership(
    conn: &mut Conn,
    user: UserId,
    workspace: WorkspaceChoice<'_>,
) -> Result<Option<Membership>, Fault> {
    let row = match workspace {
        WorkspaceChoice::Id(id) => {
            memberships!("WHERE m.user_id = $1 AND m.workspace_id = $2", user.0, id.0)
                .fetch_optional(&mut *conn)
                .await?
        }
        WorkspaceChoice::Name(name) => {
            memberships!(
                "WHERE m.user_id = $1 AND w.name = $2 ORDER BY m.created_at, m.workspace_id LIMIT 1",
                user.0,
                name
            )
            .fetch_optional(&mut *conn)
            .await?
        }
    };
    row.map(MembershipRow::into_membership).transpose()
}

pub(super) async fn list(
    conn: &mut Conn,
    workspace: WorkspaceId,
    page: &PageRequest,
) -> Result<Slice<Member>, Fault> {
    let (email, id, limit) = page::by_name(page)?;
    let rows = rows!(
        "WHERE m.workspace_id = $1 AND (u.email, u.id) > ($2, $3) ORDER BY u.email, u.id LIMIT $4",
        workspace.0,
        email,
        id,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let rows = rows.into_iter().map(MemberRow::into_member).collect::<Result<_, Fault>>()?;
    Ok(page::slice(rows, page, |row: &Member| Cursor::Name(row.email.clone(), row.user.0)))
}

pub(super) async fn find(
    conn: &mut Conn,
    workspace: WorkspaceId,
    user: UserId,
) -> Result<Option<Member>, Fault> {
    rows!("WHERE m.workspace_id = $1 AND m.user_id = $2", workspace.0, user.0)
        .fetch_optional(&mut *conn)
        .await?
        .map(MemberRow::into_member)
        .transpose()
}

pub(super) async fn set_role(
    tx: Tx<'_>,
    workspace: WorkspaceId,
    user: UserId,
    role: Role,
) -> Result<(), Fault> {
    hold(tx.conn, workspace).await?;
    put_role(tx.conn, workspace, user, role).await?;
    check_owners(tx.conn, workspace).await
}

pub(super) async fn remove(
    tx: Tx<'_>,
    workspace: WorkspaceId,
    user: UserId,
    now: Timestamp,
) -> Result<(), Fault> {
    hold(tx.conn, workspace).await?;
    let removed = sqlx::query!(
        "DELETE FROM memberships WHERE workspace_id = $1 AND user_id = $2",
        workspace.0,
        user.0,
    )
    .execute(&mut *tx.conn)
    .await?;
    if removed.rows_affected() == 0 {
        return Err(Error::Stale.into());
    }
    check_owners(tx.conn, workspace).await?;
    sqlx::query!(
        "UPDATE api_tokens SET revoked_at = $3 WHERE user_id = $1 AND workspace_id = $2 AND revoked_at IS NULL",
        user.0,
        workspace.0,
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

pub(super) async fn transfer(
    tx: Tx<'_>,
    workspace: WorkspaceId,
    from: UserId,
    to: UserId,
) -> Result<(), Fault> {
    hold(tx.conn, workspace).await?;
    let demoted = sqlx::query!(
        "UPDATE memberships SET role = 'editor' WHERE workspace_id = $1 AND user_id = $2 AND role = 'owner'",
        workspace.0,
        from.0,
    )
    .execute(&mut *tx.conn)
    .await?;
    if demoted.rows_affected() == 0 {
        return Err(Error::Stale.into());
    }
    put_role(tx.conn, workspace, to, Role::Owner).await?;
    check_owners(tx.conn, workspace).await
}

/// From here to the commit nobody else changes the workspace's members.
pub(super) async fn hold(conn: &mut Conn, workspace: WorkspaceId) -> Result<(), Fault> {
    sqlx::query!("UPDATE workspaces SET event_seq = event_seq WHERE id = $1", workspace.0)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

async fn put_role(conn: &mut Conn, workspace: WorkspaceId, user: UserId, role: Role) -> Result<(), Fault> {
    let put = sqlx::query!(
        "UPDATE memberships SET role = $3 WHERE workspace_id = $1 AND user_id = $2",
        workspace.0,
        user.0,
        role.name(),
    )
    .execute(&mut *conn)
    .await?;
    if put.rows_affected() == 0 { Err(Error::Stale.into()) } else { Ok(()) }
}

async fn check_owners(conn: &mut Conn, workspace: WorkspaceId) -> Result<(), Fault> {
    let left = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!: i64" FROM memberships m JOIN users u ON u.id = m.user_id
           WHERE m.workspace_id = $1 AND m.role = 'owner' AND u.state = 'active'"#,
        workspace.0,
    )
    .fetch_one(&mut *conn)
    .await?;
    if left == 0 { Err(Conflict::LastOwner.into()) } else { Ok(()) }
}
