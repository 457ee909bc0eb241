//! Sessions, API tokens, second factors and counters.

use std::time::Duration;

use anyhow::{Context, Result};
use tradepost_domain::id::{SessionId, TokenId, UserId, WorkspaceId};
use tradepost_domain::session::{ACCESS, IDLE};
use tradepost_domain::throttle::{Backoff, Window};
use tradepost_domain::time::Timestamp;
use tradepost_domain::user::State;
use uuid::Uuid;

use super::Town;
use super::world::{START, at, first};
use crate::{
    Conflict, Credential, Error, NewApiToken, NewSecrets, NewSession, NewToken, NewUser, Role, Scope, Sealed,
};

/// A session's id and the hashes of its secrets.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// The session.
    pub id: Uuid,
    /// Of the access token.
    pub access: [u8; 32],
    /// Of the refresh token.
    pub refresh: [u8; 32],
}

impl Town {
    /// A session that begins `now` and lives for a day.
    pub async fn session(&self, user: UserId, now: Timestamp) -> Result<Opened> {
        let (id, secrets) = (self.world.id(), self.secrets(now));
        let session = NewSession {
            id: SessionId(id),
            user,
            client: String::from("test"),
            address: String::from("192.0.2.1"),
            expires_at: at(86_400),
        };
        self.store.begin_session(session, secrets, now).await?;
        Ok(Opened { id, access: secrets.access, refresh: secrets.refresh })
    }

    fn secrets(&self, now: Timestamp) -> NewSecrets {
        NewSecrets {
            access: self.world.hash(),
            access_expires_at: now + ACCESS,
            refresh: self.world.hash(),
            refresh_expires_at: now + IDLE,
        }
    }

    /// An API token; returns its hash.
    pub async fn token(
        &self,
        user: UserId,
        workspace: WorkspaceId,
        scopes: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<[u8; 32]> {
        let token = NewApiToken {
            id: TokenId(self.world.id()),
            user,
            workspace,
            name: String::from("ci"),
            scopes: scopes.to_owned(),
            hash: self.world.hash(),
            expires_at,
        };
        let hash = token.hash;
        self.store.add_api_token(token, START).await?;
        Ok(hash)
    }
}

/// A request that is repeated within a day makes one token, with the newest string.
pub async fn a_repeated_request_makes_one_token(town: Town) -> Result<()> {
    let ada = town.resident("ada", State::Active).await?;
    let shop = town.shop(ada).await?;
    let token = |id: TokenId, name: &str| NewApiToken {
        id,
        user: ada,
        workspace: shop,
        name: name.to_owned(),
        scopes: String::from("*"),
        hash: town.world.hash(),
        expires_at: Some(at(1_000_000)),
    };
    let id = TokenId(town.world.id());
    let (lost, kept) = (token(id, "ci"), token(id, "ci"));
    assert_eq!(town.store.add_api_token(lost.clone(), at(1)).await?, at(1));
    assert_eq!(town.store.add_api_token(kept.clone(), at(2)).await?, at(1));
    assert_eq!(town.store.find_token_bearer(lost.hash, at(3)).await?, None);
    assert!(town.store.find_token_bearer(kept.hash, at(3)).await?.is_some());
    for (other, now) in [(token(id, "other"), at(3)), (token(id, "ci"), at(90_000))] {
        let refused = town.store.add_api_token(other, now).await;
        assert!(matches!(refused, Err(Error::Conflict(Conflict::Id))), "{refused:?}");
    }
    let nobody = NewApiToken { user: UserId(town.world.id()), ..token(TokenId(town.world.id()), "ci") };
    assert!(matches!(town.store.add_api_token(nobody, at(3)).await, Err(Error::Stale)));
    Ok(())
}

/// A token that is made on the host works for an active operator, until its end; it makes one of who had registered.
pub async fn a_token_of_the_host_works_until_it_ends(town: Town) -> Result<()> {
    let ada = town.resident("ada", State::Pending).await?;
    let token = |expires_at| NewToken {
        id: TokenId(town.world.id()),
        name: String::from("laptop"),
        hash: town.world.hash(),
        expires_at,
    };
    let operator = |email: &str| NewUser {
        id: UserId(town.world.id()),
        email: email.to_owned(),
        role: Role::Operator,
        workspace: WorkspaceId(town.world.id()),
        workspace_name: String::from("shop"),
    };
    let (endless, short) = (token(None), token(Some(at(10))));
    let (made, _) = town.store.add_user_token(operator("ada@example.com"), endless.clone(), START).await?;
    assert_eq!((made.user, made.role), (ada, Role::Operator));
    town.store.add_user_token(operator("ada@example.com"), short.clone(), START).await?;
    let bearer = town.store.find_token_bearer(endless.hash, at(1_000_000)).await?.context("gone")?;
    let role = bearer.membership.as_ref().map(|membership| (membership.workspace, membership.role));
    assert_eq!((bearer.user, bearer.operator, role), (ada, true, Some((made.workspace, Role::Owner))));
    assert!(town.store.find_token_bearer(short.hash, at(9)).await?.is_some());
    assert_eq!(town.store.find_token_bearer(short.hash, at(10)).await?, None);
    assert_eq!(town.store.find_token_bearer(town.world.hash(), START).await?, None);
    Ok(())
}

/// A session's secrets work until they, the session or the user end.
pub async fn a_session_works_until_it_ends(town: Town) -> Result<()> {
    let ada = town.resident("ada", State::Active).await?;
    let nowhere = town.session(ada, START).await?;
    let bearer = town.store.find_session_bearer(nowhere.access, at(1)).await?.context("gone")?;
    assert_eq!((bearer.user, bearer.membership.is_none()), (ada, true));
    let (shop, other) = (town.shop(ada).await?, town.shop(ada).await?);
    let session = town.session(ada, START).await?;
    let bearer = town.store.find_session_bearer(session.access, at(1)).await?.context("gone")?;
    assert_eq!(bearer.credential, Credential::Session { id: SessionId(session.id), proved_at: START });
    assert_eq!(bearer.membership.context("a workspace")?.workspace, shop);
    let end = START + ACCESS;
    assert!(town.store.find_session_bearer(session.access, end - Duration::from_micros(1)).await?.is_some());
    assert_eq!(town.store.find_session_bearer(session.access, end).await?, None);
    assert_eq!(
        town.store.find_session_bearer(session.refresh, at(1)).await?,
        None,
        "a refresh token is none"
    );
    assert!(town.store.find_refresh_token(session.access).await?.is_none(), "nor the other way round");

    let id = SessionId(session.id);
    town.store.switch_workspace(ada, id, other).await?;
    town.store.prove_session(id, at(5)).await?;
    let bearer = town.store.find_session_bearer(session.access, at(6)).await?.context("gone")?;
    assert_eq!(bearer.membership.context("a workspace")?.workspace, other);
    assert_eq!(bearer.credential, Credential::Session { id, proved_at: at(5) });
    let bob = town.resident("bob", State::Active).await?;
    let foreign = town.shop(bob).await?;
    assert!(matches!(town.store.switch_workspace(ada, id, foreign).await, Err(Error::Stale)));
    assert!(!town.store.end_session(bob, id, at(7)).await?, "of another user");
    assert_eq!(town.store.list_sessions(bob, first(9), at(7)).await?.rows, []);
    let listed = town.store.list_sessions(ada, first(1), at(7)).await?;
    assert_eq!((listed.rows[0].id, listed.next.is_some()), (id, true));
    assert!(town.store.end_session(ada, id, at(8)).await?);
    assert!(!town.store.end_session(ada, id, at(8)).await?);
    assert_eq!(town.store.find_session_bearer(session.access, at(8)).await?, None);
    assert_eq!(town.store.list_sessions(ada, first(9), at(8)).await?.rows.len(), 1);
    assert_eq!(town.store.list_sessions(ada, first(9), START + IDLE).await?.rows, [], "idle ones have ended");

    town.store.settle_user(ada, State::Active, State::Suspended, None, at(9)).await?;
    assert_eq!(town.store.find_session_bearer(nowhere.access, at(9)).await?, None);
    assert!(town.session(ada, at(9)).await.is_err(), "a suspended user began a session");
    Ok(())
}

/// Of refreshes at once, one moves the session on; the others see that.
pub async fn a_session_moves_on_by_one(town: Town) -> Result<()> {
    let ada = town.resident("ada", State::Active).await?;
    let session = town.session(ada, START).await?;
    let id = SessionId(session.id);
    let found = town.store.find_refresh_token(session.refresh).await?.context("gone")?;
    assert_eq!((found.session, found.user, found.generation, found.chain.generation), (id, ada, 0, 0));
    assert_eq!(
        (found.expires_at, found.chain.refreshed_at, found.chain.revoked),
        (START + IDLE, START, false)
    );
    let fresh: Vec<_> = (0..4).map(|_| town.secrets(at(9))).collect();
    let ended =
        futures::future::join_all(fresh.iter().map(|fresh| town.store.advance_session(id, 0, *fresh, at(9))))
            .await;
    assert_eq!(ended.iter().filter(|end| end.is_ok()).count(), 1, "{ended:?}");
    assert!(ended.iter().all(|end| matches!(end, Ok(()) | Err(Error::Stale))), "{ended:?}");
    let old = town.store.find_refresh_token(session.refresh).await?.context("gone")?;
    assert_eq!((old.generation, old.chain.generation, old.chain.refreshed_at), (0, 1, at(9)));
    let again = town.secrets(at(10));
    assert!(matches!(town.store.repeat_secrets(id, 0, again).await, Err(Error::Stale)));
    town.store.repeat_secrets(id, 1, again).await?;
    assert_eq!(town.store.find_refresh_token(again.refresh).await?.context("gone")?.generation, 1);
    assert!(town.store.find_session_bearer(again.access, at(11)).await?.is_some());
    town.store.end_session(ada, id, at(12)).await?;
    let late = town.secrets(at(13));
    assert!(matches!(town.store.advance_session(id, 1, late, at(13)).await, Err(Error::Stale)));
    assert!(matches!(town.store.repeat_secrets(id, 1, late).await, Err(Error::Stale)));
    assert!(town.store.find_refresh_token(again.refresh).await?.context("gone")?.chain.revoked);
    assert_eq!(town.store.purge_sessions(at(86_400), 10).await?, 0);
    assert_eq!(town.store.purge_sessions(at(86_401), 10).await?, 1);
    assert!(town.store.find_refresh_token(again.refresh).await?.is_none());
    Ok(())
}

/// An API token works in its workspace, as long as its user is a member there.
pub async fn a_token_works_in_its_workspace_alone(town: Town) -> Result<()> {
    let (ada, bob) = (town.resident("ada", State::Active).await?, town.resident("bob", State::Active).await?);
    let shop = town.shop(ada).await?;
    town.join(shop, ada, bob, Role::Editor).await?;
    let (endless, short) = (
        town.token(bob, shop, "listings:read", None).await?,
        town.token(bob, shop, "*", Some(at(10))).await?,
    );
    let bearer = town.store.find_token_bearer(endless, at(9_999_999)).await?.context("gone")?;
    let membership = bearer.membership.context("a workspace")?;
    assert_eq!((bearer.user, membership.workspace, membership.role), (bob, shop, Role::Editor));
    let Credential::Token { id, scopes, last_used_at } = bearer.credential else {
        anyhow::bail!("a session")
    };
    assert_eq!((scopes.as_str(), last_used_at), ("listings:read", None));
    assert!(town.store.find_token_bearer(short, at(9)).await?.is_some());
    assert_eq!(town.store.find_token_bearer(short, at(10)).await?, None);
    town.store.touch_api_token(id, at(5)).await?;
    let foreign = town.shop(ada).await?;
    assert!(town.token(bob, foreign, "*", None).await.is_err(), "a token for a workspace of others");
    assert!(!town.store.revoke_api_token(ada, id, at(6)).await?, "of another user");
    assert_eq!(town.store.list_api_tokens(ada, first(9)).await?.rows, []);
    assert!(town.store.revoke_api_token(bob, id, at(6)).await?);
    assert_eq!(town.store.find_token_bearer(endless, at(7)).await?, None);
    let listed = town.store.list_api_tokens(bob, first(9)).await?.rows;
    let revoked = listed.iter().find(|token| token.id == id).context("gone")?;
    assert_eq!((revoked.revoked_at, revoked.last_used_at), (Some(at(6)), Some(at(5))));
    town.store.remove_member(shop, bob, at(8)).await?;
    assert_eq!(town.store.find_token_bearer(short, at(8)).await?, None, "no longer a member");
    Ok(())
}

/// Of tries at once with one code, one succeeds; an older code never does.
pub async fn a_code_works_once(town: Town) -> Result<()> {
    let ada = town.resident("ada", State::Active).await?;
    let seed = |n| Sealed { key_version: 1, content: vec![n; 40] };
    assert!(!town.store.use_step(ada, 5).await?, "without a factor");
    town.store.begin_data_key(Scope::System, 1, vec![1; 60], START).await?;
    town.store.begin_factor(ada, seed(1), START).await?;
    town.store.begin_factor(ada, seed(2), at(1)).await?;
    let factor = town.store.find_factor(ada).await?.context("gone")?;
    assert_eq!((factor.seed, factor.last_step, factor.confirmed_at), (seed(2), 0, None));
    assert!(!town.store.use_step(ada, 5).await?, "before it is confirmed");
    let codes: Vec<_> = (0..10).map(|_| town.world.hash()).collect();
    let mut replaced = town.store.replace_recovery_codes(ada, codes.clone()).await;
    assert!(matches!(replaced, Err(Error::Stale)));
    town.store.confirm_factor(ada, 100, codes.clone(), at(2)).await?;
    let again = town.store.confirm_factor(ada, 101, codes.clone(), at(2)).await;
    assert!(matches!(again, Err(Error::Stale)));
    assert!(matches!(town.store.begin_factor(ada, seed(3), at(3)).await, Err(Error::Stale)));
    assert!(!town.store.use_step(ada, 100).await?, "the code that confirmed it");

    for step in [101, 103] {
        let tries = futures::future::join_all((0..12).map(|_| town.store.use_step(ada, step))).await;
        let used = tries.into_iter().collect::<Result<Vec<_>, _>>()?;
        assert_eq!(used.iter().filter(|used| **used).count(), 1, "step {step}");
    }
    assert!(!town.store.use_step(ada, 102).await?, "older than the newest used one");
    let tries =
        futures::future::join_all((0..12).map(|_| town.store.use_recovery_code(ada, codes[3], at(4)))).await;
    let used = tries.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(used.iter().filter(|used| **used).count(), 1);
    let bob = town.resident("bob", State::Active).await?;
    assert!(!town.store.use_recovery_code(bob, codes[4], at(4)).await?, "of another user");
    replaced = town.store.replace_recovery_codes(ada, vec![town.world.hash()]).await;
    assert!(replaced.is_ok() && !town.store.use_recovery_code(ada, codes[4], at(5)).await?);
    let session = town.session(ada, at(5)).await?;
    assert!(town.store.find_session_bearer(session.access, at(6)).await?.context("gone")?.second_factor);
    assert!(town.store.remove_factor(ada, None, at(6)).await?);
    assert!(!town.store.remove_factor(ada, None, at(6)).await?);
    assert_eq!(town.store.find_session_bearer(session.access, at(7)).await?, None);
    assert_eq!(town.store.find_factor(ada).await?, None);
    Ok(())
}

/// Hits at once are all counted, and hits beyond the limit do not prolong the wait.
pub async fn hits_are_counted_in_their_window(town: Town) -> Result<()> {
    let window = Window { limit: 5, period: Duration::from_secs(60) };
    let hit = |now| town.store.hit("login:net:192.0.2.1", 1, window, now);
    let hits = futures::future::join_all((0..20).map(|_| hit(START))).await;
    let hits = hits.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(hits.iter().filter(|hit| hit.is_none()).count(), 5);
    assert!(hits.iter().flatten().all(|until| *until == at(60)), "{hits:?}");
    assert_eq!(hit(at(59)).await?, Some(at(60)));
    assert_eq!(hit(at(60)).await?, None);
    assert_eq!(town.store.hit("login:net:192.0.2.2", 5, window, START).await?, None, "another network");
    assert_eq!(town.store.hit("login:net:192.0.2.3", 6, window, START).await?, Some(at(60)), "a block");
    town.store.forget("login:net:192.0.2.1").await?;
    assert_eq!(town.store.hit("login:net:192.0.2.1", 5, window, at(61)).await?, None);
    Ok(())
}

/// Tries at once are counted before their outcome is known; waiting is not prolonged by trying.
pub async fn tries_wait_longer_each_time(town: Town) -> Result<()> {
    let backoff = Backoff {
        free: 2,
        first: Duration::from_secs(4),
        cap: Duration::from_secs(10),
        forget: Duration::from_secs(100),
    };
    let attempt = |now| town.store.try_now("login:account:x", backoff, now);
    let tries = futures::future::join_all((0..8).map(|_| attempt(START))).await;
    let tries = tries.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(
        tries.iter().filter(|until| until.is_none()).count(),
        3,
        "two free and one that is delayed: {tries:?}"
    );
    assert_eq!(attempt(at(3)).await?, Some(at(4)));
    assert_eq!(attempt(at(4)).await?, None);
    assert_eq!(attempt(at(5)).await?, Some(at(12)));
    assert_eq!(attempt(at(12)).await?, None);
    assert_eq!(attempt(at(13)).await?, Some(at(22)), "the cap");
    assert_eq!(attempt(at(112)).await?, None, "forgotten");
    assert_eq!(attempt(at(112)).await?, None);
    town.store.forget("login:account:x").await?;
    assert_eq!(attempt(at(112)).await?, None);

    assert_eq!(town.store.waits_until("known", START).await?, None);
    town.store.mark("known", at(50)).await?;
    assert_eq!(town.store.waits_until("known", at(49)).await?, Some(at(50)));
    assert_eq!(town.store.waits_until("known", at(50)).await?, None);
    Ok(())
}
