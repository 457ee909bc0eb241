//! Signing in and out, and what keeps a session going.

use std::time::Duration;

use tradepost_domain::audit::{Actor, Detail, Target};
use tradepost_domain::field::Violations;
use tradepost_domain::id::{SessionId, UserId};
use tradepost_domain::session::{self, Refresh};
use tradepost_domain::throttle::{self, Window};
use tradepost_domain::time::Timestamp;
use tradepost_domain::user::{Email, State};
use tradepost_store::{
    Bearer, Credential, Credentials, Error as StoreError, Membership, NewSecrets, NewSession, Session, audit,
};

use super::bearer::{choice, no_workspace};
use super::hashing::Checked;
use super::{Kind, Peer, People, hash};
use crate::service::core::TRIES;
use crate::service::error::{Error, Reason, Result};
use crate::service::page::{Page, Query};

const LIST: &str = "sessions";
/// Refreshes of one network.
const REFRESHES: Window = Window { limit: 600, period: Duration::from_secs(60) };

/// What somebody gives to sign in.
#[derive(Clone)]
pub struct SignIn {
    /// As it was typed.
    pub email: String,
    /// The password.
    pub password: String,
    /// A code of the authenticator or a recovery code; empty for none.
    pub code: String,
    /// What the client calls itself.
    pub client: String,
}

/// Fresh secrets of a session.
#[derive(Clone)]
pub struct Issued {
    /// Its session.
    pub session: SessionId,
    /// Goes with every call.
    pub access: String,
    /// When it ends.
    pub access_expires_at: Timestamp,
    /// Is exchanged once.
    pub refresh: String,
    /// When it ends.
    pub refresh_expires_at: Timestamp,
    /// The absolute end.
    pub session_expires_at: Timestamp,
}

impl People {
    /// Begins a session. Unknown addresses take as long as wrong passwords and are told the same.
    pub async fn sign_in(&self, sign_in: SignIn, peer: Peer) -> Result<Issued> {
        let _place = self.hashing.reserve()?;
        self.count("login", throttle::LOGIN, peer).await?;
        let Credentials { user, password_hash } = self.check_sign_in(&sign_in, peer).await?;
        match user.state {
            State::Active => {}
            State::Pending => {
                let message = "an operator has not approved your account yet; ask them, or come back later";
                return Err(Error::new(Reason::UserNotActive, message));
            }
            State::Suspended => {
                let message = "an operator has suspended your account; ask them why";
                return Err(Error::new(Reason::UserNotActive, message));
            }
        }
        if user.second_factor {
            self.use_code(user.id, &sign_in.code).await?;
        }
        if let Some(before) = password_hash {
            let after = self.hashing.hash(&sign_in.password).await?;
            self.store.rehash_password(user.id, before, after).await?;
        }
        let mut violations = Violations::new();
        let client = violations.text("client", &sign_in.client, 0, 80);
        violations.into_result(|| Some(()))?;
        let now = self.now();
        let expires_at = now + session::ABSOLUTE;
        let id = SessionId(self.core.id());
        let (issued, secrets) = self.issue(id, expires_at);
        let new = NewSession { id, user: user.id, client, address: peer.address.to_string(), expires_at };
        audit::acted_by(Actor::User(user.id));
        audit::about(Target::Session, id.0);
        match self.store.begin_session(new, secrets, now).await {
            Err(StoreError::Stale) => Err(wrong()),
            begun => Ok(begun.map(|()| issued)?),
        }
    }

    /// Checks address and password; the hash is returned where it should be made anew.
    async fn check_sign_in(&self, sign_in: &SignIn, peer: Peer) -> Result<Credentials> {
        let Ok(email) = sign_in.email.parse::<Email>() else {
            self.hashing.check(&sign_in.password, None).await?;
            return Err(wrong());
        };
        let tries = self.count_try(&email, peer).await?;
        let known = self.store.find_credentials(email.as_str()).await?;
        let stored = known.as_ref().and_then(|known| known.password_hash.as_deref());
        let checked = self.hashing.check(&sign_in.password, stored).await?;
        let (Some(mut known), Checked::Right | Checked::RightButOld) = (known, checked) else {
            return Err(wrong());
        };
        self.forget_tries(&tries).await?;
        if checked == Checked::Right {
            known.password_hash = None;
        }
        Ok(known)
    }

    /// Exchanges a refresh token. One that was used before ends its session.
    pub async fn refresh(&self, token: &str, peer: Peer) -> Result<Issued> {
        self.count("refresh", REFRESHES, peer).await?;
        let hash = hash(token);
        for _ in 0..TRIES {
            let now = self.now();
            let found = self.store.find_refresh_token(hash).await?.ok_or_else(ended)?;
            audit::acted_by(Actor::User(found.user));
            audit::about(Target::Session, found.session.0);
            let (issued, secrets) = self.issue(found.session, found.chain.expires_at);
            let at = found.chain.generation;
            let written = match session::refresh(&found.chain, found.generation, found.expires_at, now) {
                Refresh::Advance => self.store.advance_session(found.session, at, secrets, now).await,
                Refresh::Again => self.store.repeat_secrets(found.session, at, secrets).await,
                Refresh::Ended => return Err(ended()),
                Refresh::Reused => {
                    tracing::warn!(session = %found.session, user = %found.user, "a used refresh token came back: the session is ended");
                    audit::detail(Detail::Finding, "reused");
                    self.store.end_session(found.user, found.session, now).await?;
                    self.look_again();
                    return Err(ended());
                }
            };
            match written {
                // Another refresh was quicker: what this one means is decided anew.
                Err(StoreError::Stale) => {}
                written => return Ok(written.map(|()| issued)?),
            }
        }
        Err(Error::contention())
    }

    /// Ends the caller's session, or refuses their API token from now on.
    pub async fn sign_out(&self, bearer: &Bearer) -> Result<()> {
        let (target, id) = match bearer.credential {
            Credential::Session { id, .. } => (Target::Session, id.0),
            Credential::Token { id, .. } => (Target::Token, id.0),
        };
        audit::about(target, id);
        match bearer.credential {
            Credential::Session { id, .. } => self.store.end_session(bearer.user, id, self.now()).await?,
            Credential::Token { id, .. } => self.store.revoke_api_token(bearer.user, id, self.now()).await?,
        };
        self.look_again();
        Ok(())
    }

    /// Proves anew who the caller is. Returns until when that counts.
    pub async fn step_up(
        &self,
        bearer: &Bearer,
        code: &str,
        password: &str,
        peer: Peer,
    ) -> Result<Timestamp> {
        let id = session_of(bearer)?;
        if bearer.second_factor {
            self.use_code(bearer.user, code).await?;
        } else {
            self.check_own_password(bearer, password, peer).await?;
        }
        let now = self.now();
        audit::about(Target::Session, id.0);
        self.store.prove_session(id, now).await?;
        self.look_again();
        Ok(now + session::PROOF)
    }

    /// Checks the caller's own password, with the delays of a sign-in. Returns its hash.
    pub(super) async fn check_own_password(
        &self,
        bearer: &Bearer,
        password: &str,
        peer: Peer,
    ) -> Result<String> {
        let _place = self.hashing.reserve()?;
        let sign_in = SignIn {
            email: bearer.email.clone(),
            password: password.to_owned(),
            code: String::new(),
            client: String::new(),
        };
        self.check_sign_in(&sign_in, peer).await.map_err(|error| match error.reason {
            Reason::SignInFailed => Error::new(Reason::SignInFailed, "the password is wrong"),
            _ => error,
        })?;
        let known = self.store.find_credentials(&bearer.email).await?;
        known.and_then(|known| known.password_hash).ok_or_else(wrong)
    }

    /// The caller's sessions that go on, newest first.
    pub async fn sessions(&self, bearer: &Bearer, query: &Query) -> Result<Page<Session>> {
        let slice = self.store.list_sessions(bearer.user, query.request(LIST)?, self.now()).await?;
        Ok(Page::new(LIST, slice))
    }

    /// Ends one of the caller's sessions.
    pub async fn end_session(&self, bearer: &Bearer, id: SessionId) -> Result<()> {
        audit::about(Target::Session, id.0);
        let ended = self.store.end_session(bearer.user, id, self.now()).await?;
        self.look_again();
        if ended { Ok(()) } else { Err(missing(Reason::SessionNotFound, "session", id)) }
    }

    /// Lets the caller's session work in another of their workspaces.
    pub async fn switch_workspace(&self, bearer: &Bearer, named: &str) -> Result<Membership> {
        let id = session_of(bearer)?;
        let found = self.store.find_membership(bearer.user, choice(named)).await?;
        let membership = found.ok_or_else(|| no_workspace(named))?;
        audit::about(Target::Session, id.0);
        audit::detail(Detail::To, membership.workspace);
        match self.store.switch_workspace(bearer.user, id, membership.workspace).await {
            Err(StoreError::Stale) => return Err(no_workspace(named)),
            switched => switched?,
        }
        self.look_again();
        Ok(membership)
    }

    /// Tidies: sessions and counters that ended more than a day ago.
    pub async fn purge(&self) -> Result<u64> {
        const BATCH: u32 = 1000;
        const KEPT: Duration = Duration::from_secs(24 * 3600);
        Ok(self.store.purge_sessions(self.now() - KEPT, BATCH).await?)
    }

    fn issue(&self, session: SessionId, session_expires_at: Timestamp) -> (Issued, NewSecrets) {
        let (access, refresh) = (self.secret(Kind::Access), self.secret(Kind::Refresh));
        let now = self.now();
        let access_expires_at = (now + session::ACCESS).min(session_expires_at);
        let refresh_expires_at = (now + session::IDLE).min(session_expires_at);
        let secrets =
            NewSecrets { access: access.hash, access_expires_at, refresh: refresh.hash, refresh_expires_at };
        let issued = Issued {
            session,
            access: access.text,
            access_expires_at,
            refresh: refresh.text,
            refresh_expires_at,
            session_expires_at,
        };
        (issued, secrets)
    }
}

/// The caller's session; API tokens have none.
pub(super) fn session_of(bearer: &Bearer) -> Result<SessionId> {
    match bearer.credential {
        Credential::Session { id, .. } => Ok(id),
        Credential::Token { .. } => {
            let message = "an API token cannot do this; sign in with your password";
            Err(Error::new(Reason::SessionNeeded, message))
        }
    }
}

pub(super) fn missing(reason: Reason, what: &str, id: impl std::fmt::Display) -> Error {
    Error::new(reason, format!("there is no {what} {id}"))
}

pub(super) fn user_missing(id: UserId) -> Error {
    missing(Reason::UserNotFound, "user", id)
}

fn wrong() -> Error {
    Error::new(Reason::SignInFailed, "the e-mail address or the password is wrong")
}

fn ended() -> Error {
    Error::new(Reason::SessionEnded, "the session has ended; sign in again")
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("session", &self.session).finish_non_exhaustive()
    }
}
