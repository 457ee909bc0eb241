//! Single-use invitations.

use tradepost_domain::audit::{Chain, Detail, Target};
use tradepost_domain::id::{InvitationId, UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_store::{
    Conflict, Cursor, Error, Guest, Invitation, NewInvitation, PageRequest, REPEATED, Slice,
};
use uuid::Uuid;

use super::{Fault, Tx, members, page, users};
use crate::backend::Conn;
use crate::time::Time;

struct InvitationRow {
    id: Uuid,
    workspace_id: Uuid,
    workspace_name: String,
    email: String,
    role: String,
    created_by: String,
    created_at: Time,
    expires_at: Time,
    accepted_at: Option<Time>,
    revoked_at: Option<Time>,
}

/// `query_as!` of an [`InvitationRow`]: the text after the columns, then the arguments.
macro_rules! invitations {
    ($after:literal, $($args:tt)*) => {
        sqlx::query_as!(
            InvitationRow,
            r#"SELECT i.id AS "id!: Uuid", i.workspace_id AS "workspace_id!: Uuid", w.name AS "workspace_name!",
                      i.email AS "email!", i.role AS "role!", u.email AS "created_by!",
                      i.created_at AS "created_at!: Time", i.expires_at AS "expires_at!: Time",
                      i.accepted_at AS "accepted_at?: Time", i.revoked_at AS "revoked_at?: Time"
               FROM invitations i JOIN workspaces w ON w.id = i.workspace_id JOIN users u ON u.id = i.created_by "#
                + $after,
            $($args)*
        )
    };
}

impl InvitationRow {
    fn into_invitation(self) -> Result<Invitation, Fault> {
        Ok(Invitation {
            id: InvitationId(self.id),
            workspace: WorkspaceId(self.workspace_id),
            workspace_name: self.workspace_name,
            email: self.email,
            role: users::role(&self.role, self.id)?,
            created_by: self.created_by,
            created_at: self.created_at.0,
            expires_at: self.expires_at.0,
            accepted_at: self.accepted_at.map(|time| time.0),
            revoked_at: self.revoked_at.map(|time| time.0),
        })
    }
}

pub(super) async fn add(tx: Tx<'_>, invitation: NewInvitation, now: Timestamp) -> Result<Timestamp, Fault> {
    let made = sqlx::query_scalar!(
        r#"INSERT INTO invitations (id, workspace_id, email, role, hash, created_by, created_at, expires_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
           ON CONFLICT (id) DO UPDATE SET hash = $5, expires_at = $8
           WHERE invitations.workspace_id = $2 AND invitations.email = $3 AND invitations.role = $4
               AND invitations.created_by = $6 AND invitations.accepted_at IS NULL AND invitations.revoked_at IS NULL
               AND invitations.created_at > $9
           RETURNING created_at AS "created_at!: Time""#,
        invitation.id.0,
        invitation.workspace.0,
        invitation.email,
        invitation.role.name(),
        &invitation.hash[..],
        invitation.created_by.0,
        Time(now),
        Time(invitation.expires_at),
        Time(now - REPEATED),
    )
    .fetch_optional(&mut *tx.conn)
    .await?;
    Ok(made.ok_or(Error::Conflict(Conflict::Id))?.0)
}

pub(super) async fn list(
    conn: &mut Conn,
    workspace: WorkspaceId,
    page: &PageRequest,
) -> Result<Slice<Invitation>, Fault> {
    let (at, id, limit) = page::newest(page)?;
    let rows = invitations!(
        "WHERE i.workspace_id = $1 AND (i.created_at, i.id) < ($2, $3) ORDER BY i.created_at DESC, i.id DESC LIMIT $4",
        workspace.0,
        at,
        id,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let rows = rows.into_iter().map(InvitationRow::into_invitation).collect::<Result<_, Fault>>()?;
    Ok(page::slice(rows, page, |row: &Invitation| Cursor::Newest(row.created_at, row.id.0)))
}

pub(super) async fn find(
    conn: &mut Conn,
    hash: [u8; 32],
    now: Timestamp,
) -> Result<Option<Invitation>, Fault> {
    invitations!(
        "WHERE i.hash = $1 AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > $2",
        &hash[..],
        Time(now)
    )
    .fetch_optional(&mut *conn)
    .await?
    .map(InvitationRow::into_invitation)
    .transpose()
}

pub(super) async fn revoke(
    mut tx: Tx<'_>,
    workspace: WorkspaceId,
    id: InvitationId,
    now: Timestamp,
) -> Result<bool, Fault> {
    let revoked = sqlx::query!(
        "UPDATE invitations SET revoked_at = $3
         WHERE id = $1 AND workspace_id = $2 AND accepted_at IS NULL AND revoked_at IS NULL",
        id.0,
        workspace.0,
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    if revoked.rows_affected() > 0 {
        return Ok(true);
    }
    tx.unchanged();
    let known = sqlx::query_scalar!(
        r#"SELECT id AS "id!: Uuid" FROM invitations WHERE id = $1 AND workspace_id = $2 AND accepted_at IS NULL"#,
        id.0,
        workspace.0,
    )
    .fetch_optional(&mut *tx.conn)
    .await?;
    Ok(known.is_some())
}

pub(super) async fn accept(
    mut tx: Tx<'_>,
    hash: [u8; 32],
    guest: Guest,
    now: Timestamp,
) -> Result<(), Fault> {
    let invitation = find(tx.conn, hash, now).await?.ok_or(Error::Stale)?;
    members::hold(tx.conn, invitation.workspace).await?;
    let accepted = sqlx::query!(
        "UPDATE invitations SET accepted_at = $2
         WHERE hash = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > $2",
        &hash[..],
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    if accepted.rows_affected() == 0 {
        return Err(Error::Stale.into());
    }
    let user: UserId = match guest {
        Guest::New(registration) => {
            users::insert_user(tx.conn, &registration, now).await?;
            registration.id
        }
        Guest::Known(user) => user,
    };
    tx.tell(|entry| {
        entry.chain = Chain(Some(invitation.workspace));
        entry.set_target(Target::User, user.0);
        entry.set_detail(Detail::Role, invitation.role.name());
    });
    users::insert_membership(tx.conn, invitation.workspace, user, invitation.role, now).await
}
