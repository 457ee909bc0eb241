//! Users, their passwords and workspaces. Members and invitations are in [`members`] and [`invitations`].

use async_trait::async_trait;
use tradepost_domain::id::{InvitationId, SessionId, UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_domain::user::State;
use tradepost_store::audit::aside;
use tradepost_store::{
    Conflict, Credentials, Cursor, Error, Guest, Invitation, Member, Membership, NewInvitation, NewReset,
    NewWorkspace, PageRequest, Registration, Role, Slice, User, Users, WorkspaceChoice,
};
use uuid::Uuid;

use super::{Fault, invitations, members, page};
use crate::backend::{Backend, Conn};
use crate::time::Time;

/// The counter row that everybody holds who changes who is an operator.
const OPERATORS: &str = "lock:operators";

struct UserRow {
    id: Uuid,
    email: String,
    state: String,
    is_operator: bool,
    password_hash: Option<String>,
    second_factor: bool,
    created_at: Time,
    last_login_at: Option<Time>,
}

/// `query_as!` of a [`UserRow`]: the text after the columns, then the arguments.
macro_rules! users {
    ($after:literal $(, $($args:tt)*)?) => {
        sqlx::query_as!(
            UserRow,
            r#"SELECT u.id AS "id!: Uuid", u.email AS "email!", u.state AS "state!", u.is_operator AS "is_operator!: bool",
                      u.password_hash AS "password_hash?", u.created_at AS "created_at!: Time",
                      u.last_login_at AS "last_login_at?: Time",
                      EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
                          AS "second_factor!: bool"
               FROM users u "# + $after,
            $($($args)*)?
        )
    };
}

impl UserRow {
    fn into_user(self) -> Result<User, Fault> {
        Ok(User {
            id: UserId(self.id),
            state: state(&self.state, self.id)?,
            email: self.email,
            operator: self.is_operator,
            second_factor: self.second_factor,
            created_at: self.created_at.0,
            last_login_at: self.last_login_at.map(|time| time.0),
        })
    }
}

#[async_trait]
impl Users for Backend {
    async fn add_user(&self, user: Registration, now: Timestamp) -> Result<User, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                insert_user(tx.conn, &user, now).await?;
                find(tx.conn, user.id).await?.ok_or(Fault(Error::Stale))
            })
        })
        .await
    }

    async fn find_user(&self, id: UserId) -> Result<Option<User>, Error> {
        self.read(async |conn| find(conn, id).await).await
    }

    async fn find_credentials(&self, email: &str) -> Result<Option<Credentials>, Error> {
        self.read(async |conn| {
            let row = users!("WHERE u.email = $1", email).fetch_optional(&mut *conn).await?;
            row.map(|mut row| {
                let password_hash = row.password_hash.take();
                Ok(Credentials { user: row.into_user()?, password_hash })
            })
            .transpose()
        })
        .await
    }

    async fn list_users(&self, wanted: Option<State>, page: PageRequest) -> Result<Slice<User>, Error> {
        self.read(async |conn| {
            let (email, id, limit) = page::by_name(&page)?;
            let rows =
                match wanted {
                    None => {
                        users!(
                            "WHERE (u.email, u.id) > ($1, $2) ORDER BY u.email, u.id LIMIT $3",
                            email,
                            id,
                            limit
                        )
                        .fetch_all(&mut *conn)
                        .await?
                    }
                    Some(state) => users!(
                        "WHERE u.state = $1 AND (u.email, u.id) > ($2, $3) ORDER BY u.email, u.id LIMIT $4",
                        state.name(),
                        email,
                        id,
                        limit
                    )
                    .fetch_all(&mut *conn)
                    .await?,
                };
            let users = rows.into_iter().map(UserRow::into_user).collect::<Result<_, Fault>>()?;
            Ok(page::slice(users, &page, |user: &User| Cursor::Name(user.email.clone(), user.id.0)))
        })
        .await
    }

    async fn settle_user(
        &self,
        id: UserId,
        from: State,
        to: State,
        workspace: Option<NewWorkspace>,
        now: Timestamp,
    ) -> Result<User, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                if to == State::Suspended {
                    hold_operators(tx.conn).await?;
                }
                let was_operator = sqlx::query_scalar!(
                    r#"UPDATE users SET state = $3 WHERE id = $1 AND state = $2
                       RETURNING is_operator AS "is_operator!: bool""#,
                    id.0,
                    from.name(),
                    to.name(),
                )
                .fetch_optional(&mut *tx.conn)
                .await?
                .ok_or(Error::Stale)?;
                if to == State::Suspended {
                    if was_operator {
                        check_operators(tx.conn).await?;
                    }
                    end_sessions(tx.conn, id, None, now).await?;
                    end_tokens(tx.conn, id, now).await?;
                }
                if let Some(workspace) = workspace {
                    insert_workspace(tx.conn, workspace.id, &workspace.name, now).await?;
                    insert_membership(tx.conn, workspace.id, id, Role::Owner, now).await?;
                }
                find(tx.conn, id).await?.ok_or(Fault(Error::Stale))
            })
        })
        .await
    }

    async fn set_operator(&self, id: UserId, operator: bool) -> Result<User, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                hold_operators(tx.conn).await?;
                sqlx::query!("UPDATE users SET is_operator = $2 WHERE id = $1", id.0, operator)
                    .execute(&mut *tx.conn)
                    .await?;
                if !operator {
                    check_operators(tx.conn).await?;
                }
                find(tx.conn, id).await?.ok_or(Fault(Error::Stale))
            })
        })
        .await
    }

    async fn change_password(
        &self,
        id: UserId,
        before: Option<String>,
        after: String,
        keep: Option<SessionId>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let changed = sqlx::query!(
                    "UPDATE users SET password_hash = $2 WHERE id = $1 AND COALESCE(password_hash, '') = $3",
                    id.0,
                    after,
                    before.unwrap_or_default(),
                )
                .execute(&mut *tx.conn)
                .await?;
                if changed.rows_affected() == 0 {
                    return Err(Error::Stale.into());
                }
                end_sessions(tx.conn, id, keep, now).await
            })
        })
        .await
    }

    async fn rehash_password(&self, id: UserId, before: String, after: String) -> Result<(), Error> {
        aside(self.write(move |tx| {
            Box::pin(async move {
                sqlx::query!(
                    "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2",
                    id.0,
                    before,
                    after,
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok(())
            })
        }))
        .await
    }

    async fn add_password_reset(&self, reset: NewReset, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                void_resets(tx.conn, reset.user, now).await?;
                sqlx::query!(
                    "INSERT INTO password_resets (hash, user_id, created_by, created_at, expires_at)
                     VALUES ($1, $2, $3, $4, $5)",
                    &reset.hash[..],
                    reset.user.0,
                    reset.created_by.0,
                    Time(now),
                    Time(reset.expires_at),
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    async fn find_password_reset(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<User>, Error> {
        self.read(async |conn| {
            users!(
                "JOIN password_resets r ON r.user_id = u.id
                 WHERE r.hash = $1 AND r.used_at IS NULL AND r.expires_at > $2 AND u.state = 'active'",
                &hash[..],
                Time(now)
            )
            .fetch_optional(&mut *conn)
            .await?
            .map(UserRow::into_user)
            .transpose()
        })
        .await
    }

    async fn redeem_password_reset(
        &self,
        hash: [u8; 32],
        password_hash: String,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let user = sqlx::query_scalar!(
                    r#"UPDATE password_resets SET used_at = $2 WHERE hash = $1 AND used_at IS NULL AND expires_at > $2
                       RETURNING user_id AS "user_id!: Uuid""#,
                    &hash[..],
                    Time(now),
                )
                .fetch_optional(&mut *tx.conn)
                .await?
                .ok_or(Error::Stale)?;
                let changed = sqlx::query!(
                    "UPDATE users SET password_hash = $2 WHERE id = $1 AND state = 'active'",
                    user,
                    password_hash,
                )
                .execute(&mut *tx.conn)
                .await?;
                if changed.rows_affected() == 0 {
                    return Err(Error::Stale.into());
                }
                end_sessions(tx.conn, UserId(user), None, now).await?;
                end_tokens(tx.conn, UserId(user), now).await
            })
        })
        .await
    }

    async fn add_workspace(
        &self,
        workspace: NewWorkspace,
        owner: UserId,
        most: u32,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                // The user's row is held, so that requests at once are counted one after the other.
                sqlx::query!("UPDATE users SET state = state WHERE id = $1", owner.0)
                    .execute(&mut *tx.conn)
                    .await?;
                let count = sqlx::query_scalar!(
                    r#"SELECT COUNT(*) AS "count!: i64" FROM memberships WHERE user_id = $1"#,
                    owner.0
                )
                .fetch_one(&mut *tx.conn)
                .await?;
                insert_workspace(tx.conn, workspace.id, &workspace.name, now).await?;
                if count >= i64::from(most) {
                    return Err(Error::Stale.into());
                }
                insert_membership(tx.conn, workspace.id, owner, Role::Owner, now).await
            })
        })
        .await
    }

    async fn list_workspaces(&self, user: UserId, page: PageRequest) -> Result<Slice<Membership>, Error> {
        self.read(async |conn| members::workspaces(conn, user, &page).await).await
    }

    async fn find_membership(
        &self,
        user: UserId,
        workspace: WorkspaceChoice<'_>,
    ) -> Result<Option<Membership>, Error> {
        self.read(async |conn| members::membership(conn, user, workspace).await).await
    }

    async fn list_members(&self, workspace: WorkspaceId, page: PageRequest) -> Result<Slice<Member>, Error> {
        self.read(async |conn| members::list(conn, workspace, &page).await).await
    }

    async fn find_member(&self, workspace: WorkspaceId, user: UserId) -> Result<Option<Member>, Error> {
        self.read(async |conn| members::find(conn, workspace, user).await).await
    }

    async fn set_member_role(&self, workspace: WorkspaceId, user: UserId, role: Role) -> Result<(), Error> {
        self.write(move |tx| Box::pin(members::set_role(tx, workspace, user, role))).await
    }

    async fn remove_member(&self, workspace: WorkspaceId, user: UserId, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| Box::pin(members::remove(tx, workspace, user, now))).await
    }

    async fn transfer_ownership(
        &self,
        workspace: WorkspaceId,
        from: UserId,
        to: UserId,
    ) -> Result<(), Error> {
        self.write(move |tx| Box::pin(members::transfer(tx, workspace, from, to))).await
    }

    async fn add_invitation(&self, invitation: NewInvitation, now: Timestamp) -> Result<Timestamp, Error> {
        self.write(move |tx| Box::pin(invitations::add(tx, invitation, now))).await
    }

    async fn list_invitations(
        &self,
        workspace: WorkspaceId,
        page: PageRequest,
    ) -> Result<Slice<Invitation>, Error> {
        self.read(async |conn| invitations::list(conn, workspace, &page).await).await
    }

    async fn revoke_invitation(
        &self,
        workspace: WorkspaceId,
        id: InvitationId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write(move |tx| Box::pin(invitations::revoke(tx, workspace, id, now))).await
    }

    async fn find_invitation(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<Invitation>, Error> {
        self.read(async |conn| invitations::find(conn, hash, now).await).await
    }

    async fn accept_invitation(&self, hash: [u8; 32], guest: Guest, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| Box::pin(invitations::accept(tx, hash, guest, now))).await
    }
}

async fn find(conn: &mut Conn, id: UserId) -> Result<Option<User>, Fault> {
    users!("WHERE u.id = $1", id.0).fetch_optional(&mut *conn).await?.map(UserRow::into_user).transpose()
}

/// The state of that name.
pub(super) fn state(name: &str, row: Uuid) -> Result<State, Fault> {
    State::from_name(name).ok_or_else(|| Fault::inconsistent("users.state", row, name))
}

/// The role of that name.
pub(super) fn role(name: &str, row: Uuid) -> Result<Role, Fault> {
    Role::from_name(name).ok_or_else(|| Fault::inconsistent("memberships.role", row, name))
}

pub(super) async fn insert_user(conn: &mut Conn, user: &Registration, now: Timestamp) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO users (id, email, state, password_hash, created_at) VALUES ($1, $2, $3, $4, $5)",
        user.id.0,
        user.email,
        user.state.name(),
        user.password_hash,
        Time(now),
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_workspace(
    conn: &mut Conn,
    id: WorkspaceId,
    name: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query!("INSERT INTO workspaces (id, name, created_at) VALUES ($1, $2, $3)", id.0, name, Time(now))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

pub(super) async fn insert_membership(
    conn: &mut Conn,
    workspace: WorkspaceId,
    user: UserId,
    role: Role,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO memberships (workspace_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)",
        workspace.0,
        user.0,
        role.name(),
        Time(now),
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Ends the user's sessions but `keep`, and voids strings that could set another password.
pub(super) async fn end_sessions(
    conn: &mut Conn,
    user: UserId,
    keep: Option<SessionId>,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query!(
        "UPDATE sessions SET revoked_at = $3 WHERE user_id = $1 AND id <> $2 AND revoked_at IS NULL",
        user.0,
        keep.map_or(Uuid::nil(), |id| id.0),
        Time(now),
    )
    .execute(&mut *conn)
    .await?;
    void_resets(conn, user, now).await
}

async fn void_resets(conn: &mut Conn, user: UserId, now: Timestamp) -> Result<(), Fault> {
    sqlx::query!(
        "UPDATE password_resets SET used_at = $2 WHERE user_id = $1 AND used_at IS NULL",
        user.0,
        Time(now),
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

async fn end_tokens(conn: &mut Conn, user: UserId, now: Timestamp) -> Result<(), Fault> {
    sqlx::query!(
        "UPDATE api_tokens SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL",
        user.0,
        Time(now),
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// From here to the commit nobody else changes who is an operator.
async fn hold_operators(conn: &mut Conn) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO throttles (key, hits, until_us, forget_us) VALUES ($1, 0, 0, $2)
         ON CONFLICT (key) DO UPDATE SET hits = 0",
        OPERATORS,
        i64::MAX,
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

async fn check_operators(conn: &mut Conn) -> Result<(), Fault> {
    let left = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!: i64" FROM users WHERE is_operator AND state = 'active'"#
    )
    .fetch_one(&mut *conn)
    .await?;
    if left == 0 { Err(Conflict::LastOperator.into()) } else { Ok(()) }
}
