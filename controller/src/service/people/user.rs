//! Users, for operators.

use std::time::Duration;

use tradepost_domain::audit::{Detail, Target};
use tradepost_domain::field::Violations;
use tradepost_domain::id::{UserId, WorkspaceId};
use tradepost_domain::time::Timestamp;
use tradepost_domain::user::{self, Event, State};
use tradepost_store::{Bearer, Error as StoreError, NewReset, NewWorkspace, User, audit};

use super::session::user_missing;
use super::{Kind, People};
use crate::service::core::TRIES;
use crate::service::error::{Error, Reason, Result};
use crate::service::page::{Page, Query};

/// How long a string for a new password works when nobody says otherwise.
pub const RESET_TTL: Duration = Duration::from_secs(3600);
/// The longest life.
pub const RESET_TTL_MAX: Duration = Duration::from_secs(24 * 3600);

impl People {
    /// By address; in `state` if given.
    pub async fn users(&self, state: Option<State>, query: &Query) -> Result<Page<User>> {
        let list = format!("users {}", state.map_or("", State::name));
        let slice = self.store.list_users(state, query.request(&list)?).await?;
        Ok(Page::new(&list, slice))
    }

    /// One user.
    pub async fn user(&self, id: UserId) -> Result<User> {
        self.store.find_user(id).await?.ok_or_else(|| user_missing(id))
    }

    /// Lets a registered user in; with a workspace of that name if given.
    pub async fn approve(&self, id: UserId, workspace_name: &str) -> Result<User> {
        let workspace = if workspace_name.is_empty() {
            None
        } else {
            let mut violations = Violations::new();
            let name = violations.text("workspace_name", workspace_name, 1, 80);
            violations.into_result(|| Some(()))?;
            Some(NewWorkspace { id: WorkspaceId(self.core.id()), name })
        };
        self.settle(id, Event::Approved, workspace).await
    }

    /// Shuts a user out: sessions and API tokens end.
    pub async fn suspend(&self, id: UserId) -> Result<User> {
        self.settle(id, Event::Suspended, None).await
    }

    /// Lets a suspended user in again.
    pub async fn reinstate(&self, id: UserId) -> Result<User> {
        self.settle(id, Event::Reinstated, None).await
    }

    async fn settle(&self, id: UserId, event: Event, workspace: Option<NewWorkspace>) -> Result<User> {
        for _ in 0..TRIES {
            let user = self.user(id).await?;
            let next = user::step(user.state, event)
                .map_err(|rejected| Error::new(Reason::UserWrongState, rejected.to_string()))?;
            if next == user.state {
                return Ok(user);
            }
            audit::about(Target::User, id.0);
            audit::detail(Detail::From, user.state.name());
            audit::detail(Detail::To, next.name());
            match self.store.settle_user(id, user.state, next, workspace.clone(), self.now()).await {
                Err(StoreError::Stale) => {}
                settled => {
                    self.look_again();
                    return Ok(settled?);
                }
            }
        }
        Err(Error::contention())
    }

    /// Makes a user an operator, or an ordinary user again.
    pub async fn set_operator(&self, id: UserId, operator: bool) -> Result<User> {
        let user = self.user(id).await?;
        if operator && user.state != State::Active {
            let message = format!("the user is {}; only active users run the system", user.state.name());
            return Err(Error::new(Reason::UserWrongState, message));
        }
        audit::about(Target::User, id.0);
        audit::detail(Detail::To, if operator { "operator" } else { "user" });
        match self.store.set_operator(id, operator).await {
            Err(StoreError::Stale) => Err(user_missing(id)),
            set => {
                self.look_again();
                Ok(set?)
            }
        }
    }

    /// Makes a string with which the user sets a new password.
    pub async fn create_reset(
        &self,
        bearer: &Bearer,
        id: UserId,
        ttl: Option<Duration>,
    ) -> Result<(String, Timestamp)> {
        let ttl = ttl.unwrap_or(RESET_TTL);
        if ttl < Duration::from_secs(60) || ttl > RESET_TTL_MAX {
            return Err(Error::field("ttl", "is outside 1 minute to 24 hours"));
        }
        let user = self.user(id).await?;
        if user.state != State::Active {
            let message = format!("the user is {}; let them in first", user.state.name());
            return Err(Error::new(Reason::UserWrongState, message));
        }
        let (secret, now) = (self.secret(Kind::Reset), self.now());
        let expires_at = now + ttl;
        let reset = NewReset { hash: secret.hash, user: id, created_by: bearer.user, expires_at };
        audit::about(Target::User, id.0);
        audit::detail(Detail::ExpiresAt, expires_at.as_micros());
        self.store.add_password_reset(reset, now).await?;
        Ok((secret.text, expires_at))
    }
}
