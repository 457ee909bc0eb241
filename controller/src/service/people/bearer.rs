//! Who holds a token, and what they may call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tradepost_domain::scope::Scopes;
use tradepost_domain::session;
use tradepost_domain::throttle::Window;
use tradepost_domain::time::Timestamp;
use tradepost_store::{Bearer, Credential, Role, WorkspaceChoice};

use super::{Kind, People, hash};
use crate::service::error::{Error, Reason, Result};

/// What ended elsewhere is noticed within this time: well below the five seconds that are promised.
const CACHED_FOR: Duration = Duration::from_secs(2);
/// Bearers remembered at most.
const CACHED_MAX: usize = 10_000;
/// A token's use is noted to the hour.
const NOTED: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// Calls are taken from the shared counter in blocks of a minute's share, so that few calls write to the database.
const BLOCKS: u32 = 60;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need<'a> {
    /// The least role; none: any active user.
    pub role: Option<Role>,
    /// Whether a session needs a recent proof.
    pub step_up: bool,
    /// The scope that an API token needs; none: any token.
    pub scope: Option<&'a str>,
}

/// The hash of a token, with the workspace that was named.
type Key = [u8; 32];

/// Bearers seen lately.
#[derive(Clone, Default)]
pub(super) struct Seen {
    bearers: Arc<Mutex<HashMap<Key, (Bearer, Instant)>>>,
    allowances: Arc<Mutex<HashMap<Key, Allowance>>>,
}

/// Calls that were taken from the shared counter already.
struct Allowance {
    left: u32,
    until: Timestamp,
}

impl People {
    /// Who holds `token`, in the workspace that `chosen` names if given.
    pub async fn authenticate(&self, token: &str, chosen: Option<&str>) -> Result<Bearer> {
        let key = hash(&format!("{token}\n{}", chosen.unwrap_or_default()));
        if let Some(bearer) = self.seen.find(&key)
            && bearer.expires_at.is_none_or(|at| at > self.now())
        {
            return Ok(bearer);
        }
        let bearer = self.look_up(token, chosen).await?;
        self.seen.remember(key, bearer.clone());
        Ok(bearer)
    }

    /// The same without what was seen lately.
    pub async fn look_up(&self, token: &str, chosen: Option<&str>) -> Result<Bearer> {
        let now = self.now();
        let hash = hash(token);
        let found = if token.starts_with(Kind::Access.prefix()) {
            self.store.find_session_bearer(hash, now).await?
        } else {
            self.store.find_token_bearer(hash, now).await?
        };
        let mut bearer = found.ok_or_else(|| {
            Error::new(Reason::TokenInvalid, "the token is wrong, expired or revoked; sign in again")
        })?;
        if let Credential::Token { id, last_used_at, .. } = &bearer.credential
            && last_used_at.is_none_or(|at| now.since(at) >= NOTED)
        {
            self.store.touch_api_token(*id, now).await?;
        }
        if let Some(chosen) = chosen.map(str::trim).filter(|chosen| !chosen.is_empty()) {
            self.choose(&mut bearer, chosen).await?;
        }
        Ok(bearer)
    }

    async fn choose(&self, bearer: &mut Bearer, chosen: &str) -> Result<()> {
        let membership = match &bearer.credential {
            Credential::Session { .. } => self.store.find_membership(bearer.user, choice(chosen)).await?,
            // A token works in its workspace alone.
            Credential::Token { .. } => bearer
                .membership
                .take()
                .filter(|own| own.name == chosen || own.workspace.to_string() == chosen),
        };
        bearer.membership = Some(membership.ok_or_else(|| no_workspace(chosen))?);
        Ok(())
    }

    /// Counts a call of the token.
    pub async fn count_call(&self, token: &str) -> Result<()> {
        let limit = self.policy.calls_per_minute;
        if limit == 0 {
            return Ok(());
        }
        let (key, now) = (hash(token), self.now());
        if self.seen.spend(&key, now) {
            return Ok(());
        }
        let block = (limit / BLOCKS).max(1);
        let name = format!("calls:{}", hex::encode(&key[..16]));
        match self.store.hit(&name, block, Window { limit, period: MINUTE }, now).await? {
            None => {
                self.seen.allow(key, Allowance { left: block - 1, until: now + MINUTE }, now);
                Ok(())
            }
            Some(until) => {
                let wait = until.since(now).max(Duration::from_secs(1));
                let message = format!("this token may make {limit} calls a minute; slow down");
                Err(Error::new(Reason::RateLimited, message).retry_after(wait))
            }
        }
    }

    /// Refuses who may not call a method with this need.
    pub fn authorise(&self, bearer: &Bearer, need: &Need<'_>) -> Result<()> {
        if let (Credential::Token { scopes, .. }, Some(scope)) = (&bearer.credential, need.scope) {
            let scopes = Scopes::parse(scopes.split(' ')).map_err(Error::internal)?;
            if !scopes.allow(scope) {
                let message =
                    format!("this API token has no scope {scope:?} (it has: {scopes}); make another one");
                return Err(Error::new(Reason::ScopeInsufficient, message));
            }
        }
        match need.role {
            None => {}
            Some(Role::Operator) => self.authorise_operator(bearer)?,
            Some(needed) => authorise_member(bearer, needed)?,
        }
        match bearer.credential {
            Credential::Session { proved_at, .. }
                if need.step_up && !session::is_proven(proved_at, self.now()) =>
            {
                let how = if bearer.second_factor { "a code" } else { "your password" };
                let message = format!("this needs a fresh proof that it is you: give {how} again");
                Err(Error::new(Reason::StepUpRequired, message))
            }
            _ => Ok(()),
        }
    }

    fn authorise_operator(&self, bearer: &Bearer) -> Result<()> {
        if !bearer.operator {
            let message = "this is for operators of the system";
            return Err(Error::new(Reason::RoleInsufficient, message));
        }
        // The tokens that `controller admin create` makes are for the controller's host, whose owner can do all anyway.
        let session = matches!(bearer.credential, Credential::Session { .. });
        if self.policy.operators_need_second_factor && session && !bearer.second_factor {
            let message = "operators need a second factor here; set one up, then repeat this";
            return Err(Error::new(Reason::SecondFactorMissing, message));
        }
        Ok(())
    }

    /// Whether the user must get a second factor before acting as operator.
    pub fn lacks_factor(&self, bearer: &Bearer) -> bool {
        self.policy.operators_need_second_factor && bearer.operator && !bearer.second_factor
    }

    /// What was seen lately is looked up anew: something ended.
    pub(super) fn look_again(&self) {
        self.seen.bearers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The workspace that somebody names by id or name.
pub(super) fn choice(named: &str) -> WorkspaceChoice<'_> {
    named.parse().map_or(WorkspaceChoice::Name(named), WorkspaceChoice::Id)
}

pub(super) fn no_workspace(named: &str) -> Error {
    let named: String = named.chars().take(80).collect();
    Error::new(Reason::WorkspaceNotFound, format!("you are a member of no workspace {named:?}"))
}

fn authorise_member(bearer: &Bearer, needed: Role) -> Result<()> {
    let Some(membership) = &bearer.membership else {
        let message = "you are a member of no workspace yet; accept an invitation, or make a workspace";
        return Err(Error::new(Reason::NoWorkspace, message));
    };
    if membership.role < needed {
        let (has, needed) = (membership.role.name(), needed.name());
        let message =
            format!("this needs the role {needed}; you have {has} in the workspace {:?}", membership.name);
        return Err(Error::new(Reason::RoleInsufficient, message));
    }
    Ok(())
}

// === impl Seen ===

impl Seen {
    fn find(&self, key: &Key) -> Option<Bearer> {
        let seen = self.bearers.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(key).filter(|(_, at)| at.elapsed() < CACHED_FOR).map(|(bearer, _)| bearer.clone())
    }

    fn remember(&self, key: Key, bearer: Bearer) {
        let mut seen = self.bearers.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= CACHED_MAX {
            seen.retain(|_, (_, at)| at.elapsed() < CACHED_FOR);
        }
        if seen.len() < CACHED_MAX {
            seen.insert(key, (bearer, Instant::now()));
        }
    }

    fn spend(&self, key: &Key, now: Timestamp) -> bool {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        match allowances.get_mut(key) {
            Some(allowance) if allowance.left > 0 && allowance.until > now => {
                allowance.left -= 1;
                true
            }
            _ => false,
        }
    }

    fn allow(&self, key: Key, allowance: Allowance, now: Timestamp) {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        if allowances.len() >= CACHED_MAX {
            allowances.retain(|_, known| known.until > now);
        }
        allowances.insert(key, allowance);
    }
}
