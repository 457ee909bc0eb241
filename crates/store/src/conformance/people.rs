//! Users, workspaces, members, invitations and passwords.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tradepost_domain::id::{InvitationId, SessionId, UserId, WorkspaceId};
use tradepost_domain::user::State;

use super::Town;
use super::world::{START, at, first};
use crate::{
    Conflict, Error, Guest, NewInvitation, NewReset, NewWorkspace, PageRequest, Registration, Role,
    WorkspaceChoice,
};

impl Town {
    /// A user in a state.
    pub async fn resident(&self, name: &str, state: State) -> Result<UserId> {
        let user = self.registration(name, state);
        Ok(self.store.add_user(user, START).await?.id)
    }

    fn registration(&self, name: &str, state: State) -> Registration {
        Registration {
            id: UserId(self.world.id()),
            email: format!("{name}@example.com"),
            password_hash: format!("hash of {name}"),
            state,
        }
    }

    /// A workspace with its owner.
    pub async fn shop(&self, owner: UserId) -> Result<WorkspaceId> {
        let id = WorkspaceId(self.world.id());
        let workspace = NewWorkspace { id, name: String::from("shop") };
        self.store.add_workspace(workspace, owner, 20, START).await?;
        Ok(id)
    }

    async fn invite(&self, workspace: WorkspaceId, by: UserId, role: Role) -> Result<[u8; 32]> {
        let hash = self.world.hash();
        let invitation = NewInvitation {
            id: InvitationId(self.world.id()),
            workspace,
            email: String::new(),
            role,
            hash,
            created_by: by,
            expires_at: at(600),
        };
        self.store.add_invitation(invitation, START).await?;
        Ok(hash)
    }

    /// Makes a user a member.
    pub async fn join(&self, workspace: WorkspaceId, by: UserId, user: UserId, role: Role) -> Result<()> {
        let hash = self.invite(workspace, by, role).await?;
        self.store.accept_invitation(hash, Guest::Known(user), at(1)).await?;
        Ok(())
    }
}

/// One address is one user, and an operator lets them in.
pub async fn a_user_is_registered_once_and_let_in(town: Town) -> Result<()> {
    let ada = town.resident("ada", State::Pending).await?;
    let again = town.store.add_user(town.registration("ada", State::Active), START).await;
    assert!(matches!(again, Err(Error::Conflict(Conflict::UserEmail))), "{again:?}");
    let credentials = town.store.find_credentials("ada@example.com").await?.context("gone")?;
    assert_eq!((credentials.user.id, credentials.user.state), (ada, State::Pending));
    assert_eq!(credentials.password_hash.as_deref(), Some("hash of ada"));
    assert!(town.store.find_credentials("eve@example.com").await?.is_none());
    let shop = NewWorkspace { id: WorkspaceId(town.world.id()), name: String::from("Ada's") };
    let stale = town.store.settle_user(ada, State::Suspended, State::Active, None, at(1)).await;
    assert!(matches!(stale, Err(Error::Stale)));
    let user = town.store.settle_user(ada, State::Pending, State::Active, Some(shop.clone()), at(1)).await?;
    assert_eq!((user.state, user.operator, user.second_factor), (State::Active, false, false));
    let own = town.store.list_workspaces(ada, first(5)).await?.rows;
    assert_eq!(own.len(), 1);
    assert_eq!((own[0].workspace, own[0].name.as_str(), own[0].role), (shop.id, "Ada's", Role::Owner));
    let pending = town.store.list_users(Some(State::Pending), first(5)).await?;
    assert_eq!(pending.rows, []);
    let all = town.store.list_users(None, PageRequest { limit: 1, after: None }).await?;
    assert_eq!((all.rows[0].id, all.next.is_none()), (ada, true));
    Ok(())
}

/// The system keeps an active operator, whoever is shut out or demoted at the same time.
pub async fn an_operator_is_always_left(town: Town) -> Result<()> {
    let mut operators = Vec::new();
    for n in 0..6 {
        let id = town.resident(&format!("op{n}"), State::Active).await?;
        town.store.set_operator(id, true).await?;
        operators.push(id);
    }
    let mut tasks = Vec::new();
    for (n, id) in operators.iter().copied().enumerate() {
        let store = Arc::clone(&town.store);
        tasks.push(async move {
            if n % 2 == 0 {
                store.settle_user(id, State::Active, State::Suspended, None, at(1)).await
            } else {
                store.set_operator(id, false).await
            }
        });
    }
    let ended = futures::future::join_all(tasks).await;
    let refused =
        ended.iter().filter(|end| matches!(end, Err(Error::Conflict(Conflict::LastOperator)))).count();
    assert_eq!(refused, 1, "{ended:?}");
    let users = town.store.list_users(Some(State::Active), first(20)).await?.rows;
    assert_eq!(users.iter().filter(|user| user.operator).count(), 1);
    assert!(matches!(town.store.set_operator(UserId(town.world.id()), true).await, Err(Error::Stale)));
    Ok(())
}

/// A workspace keeps an active owner, whoever leaves or is demoted at the same time.
pub async fn an_owner_is_always_left(town: Town) -> Result<()> {
    let ada = town.resident("ada", State::Active).await?;
    let shop = town.shop(ada).await?;
    let mut owners = vec![ada];
    for n in 0..5 {
        let user = town.resident(&format!("owner{n}"), State::Active).await?;
        town.join(shop, ada, user, Role::Owner).await?;
        owners.push(user);
    }
    let mut tasks = Vec::new();
    for (n, user) in owners.iter().copied().enumerate() {
        let store = Arc::clone(&town.store);
        tasks.push(async move {
            if n % 2 == 0 {
                store.remove_member(shop, user, at(2)).await
            } else {
                store.set_member_role(shop, user, Role::Viewer).await
            }
        });
    }
    let ended = futures::future::join_all(tasks).await;
    let refused = ended.iter().filter(|end| matches!(end, Err(Error::Conflict(Conflict::LastOwner)))).count();
    assert_eq!(refused, 1, "{ended:?}");
    let members = town.store.list_members(shop, first(20)).await?.rows;
    let left: Vec<_> =
        members.iter().filter(|member| member.role == Role::Owner).map(|member| member.user).collect();
    assert_eq!(left.len(), 1, "{members:?}");

    let other = town.resident("zoe", State::Active).await?;
    let refused = town.store.transfer_ownership(shop, left[0], other).await;
    assert!(matches!(refused, Err(Error::Stale)), "to somebody who is no member: {refused:?}");
    town.join(shop, left[0], other, Role::Viewer).await?;
    town.store.transfer_ownership(shop, left[0], other).await?;
    let role = async |user| anyhow::Ok(town.store.find_member(shop, user).await?.context("gone")?.role);
    assert_eq!((role(left[0]).await?, role(other).await?), (Role::Editor, Role::Owner));
    let again = town.store.transfer_ownership(shop, left[0], other).await;
    assert!(matches!(again, Err(Error::Stale)), "by somebody who is no owner: {again:?}");
    // A suspended owner does not count.
    town.join(shop, other, ada, Role::Owner).await.or_else(|error| {
        // Ada may still be a member.
        ensure!(error.to_string().contains("Member"), error);
        Ok(())
    })?;
    town.store.set_member_role(shop, ada, Role::Owner).await?;
    town.store.settle_user(ada, State::Active, State::Suspended, None, at(3)).await?;
    let refused = town.store.set_member_role(shop, other, Role::Viewer).await;
    assert!(matches!(refused, Err(Error::Conflict(Conflict::LastOwner))), "{refused:?}");
    Ok(())
}

/// An invitation works once, for one guest, in its time, and not after it was made void.
pub async fn an_invitation_works_once(town: Town) -> Result<()> {
    let ada = town.resident("ada", State::Active).await?;
    let shop = town.shop(ada).await?;
    let hash = town.invite(shop, ada, Role::Editor).await?;
    let found = town.store.find_invitation(hash, at(599)).await?.context("gone")?;
    assert_eq!(
        (found.workspace, found.role, found.created_by.as_str()),
        (shop, Role::Editor, "ada@example.com")
    );
    assert_eq!(town.store.find_invitation(hash, at(600)).await?, None);
    let late = town.store.accept_invitation(hash, Guest::Known(ada), at(600)).await;
    assert!(matches!(late, Err(Error::Stale)));
    let member = town.store.accept_invitation(hash, Guest::Known(ada), at(1)).await;
    assert!(matches!(member, Err(Error::Conflict(Conflict::Member))), "{member:?}");

    let guests: Vec<_> = (0..5).map(|n| town.registration(&format!("guest{n}"), State::Active)).collect();
    let accepted = futures::future::join_all(
        guests.into_iter().map(|guest| town.store.accept_invitation(hash, Guest::New(guest), at(2))),
    )
    .await;
    assert_eq!(accepted.iter().filter(|end| end.is_ok()).count(), 1, "{accepted:?}");
    assert!(accepted.iter().all(|end| matches!(end, Ok(()) | Err(Error::Stale))), "{accepted:?}");
    assert_eq!(town.store.list_members(shop, first(9)).await?.rows.len(), 2);
    assert_eq!(town.store.list_users(None, first(9)).await?.rows.len(), 2, "no guest without a membership");

    let hash = town.invite(shop, ada, Role::Viewer).await?;
    let taken =
        town.store.accept_invitation(hash, Guest::New(town.registration("ada", State::Active)), at(2)).await;
    assert!(matches!(taken, Err(Error::Conflict(Conflict::UserEmail))), "{taken:?}");
    let listed = town.store.list_invitations(shop, first(9)).await?.rows;
    assert_eq!(listed.len(), 2);
    let elsewhere = town.shop(ada).await?;
    assert!(!town.store.revoke_invitation(elsewhere, listed[0].id, at(3)).await?, "of another workspace");
    assert_eq!(town.store.list_invitations(elsewhere, first(9)).await?.rows, []);
    for invitation in &listed {
        let open = invitation.accepted_at.is_none();
        assert_eq!(town.store.revoke_invitation(shop, invitation.id, at(3)).await?, open);
    }
    assert_eq!(town.store.find_invitation(hash, at(4)).await?, None);
    Ok(())
}

/// A user sees their own workspaces, however others are called.
pub async fn names_are_looked_up_among_ones_own(town: Town) -> Result<()> {
    let (ada, bob) = (town.resident("ada", State::Active).await?, town.resident("bob", State::Active).await?);
    let (hers, his) = (town.shop(ada).await?, town.shop(bob).await?);
    let found = town.store.find_membership(ada, WorkspaceChoice::Name("shop")).await?.context("gone")?;
    assert_eq!((found.workspace, found.role), (hers, Role::Owner));
    assert_eq!(town.store.find_membership(ada, WorkspaceChoice::Id(his)).await?, None);
    assert_eq!(town.store.find_member(hers, bob).await?, None);
    for refused in [
        town.store.set_member_role(hers, bob, Role::Viewer).await,
        town.store.remove_member(hers, bob, at(1)).await,
    ] {
        assert!(matches!(refused, Err(Error::Stale)), "{refused:?}");
    }
    let again = NewWorkspace { id: hers, name: String::from("again") };
    let again = town.store.add_workspace(again, ada, 20, at(1)).await;
    assert!(matches!(again, Err(Error::Conflict(Conflict::Id))), "{again:?}");
    let more = NewWorkspace { id: WorkspaceId(town.world.id()), name: String::from("more") };
    let more = town.store.add_workspace(more, ada, 1, at(1)).await;
    assert!(matches!(more, Err(Error::Stale)), "{more:?}");
    Ok(())
}

/// A string for a new password works once; a newer one makes it void.
pub async fn a_password_is_reset_once(town: Town) -> Result<()> {
    let (ada, op) = (town.resident("ada", State::Active).await?, town.resident("op", State::Active).await?);
    let reset = |expires_at| NewReset { hash: town.world.hash(), user: ada, created_by: op, expires_at };
    let (older, newer) = (reset(at(600)), reset(at(600)));
    town.store.add_password_reset(older.clone(), START).await?;
    assert_eq!(town.store.find_password_reset(older.hash, at(1)).await?.context("gone")?.id, ada);
    assert_eq!(town.store.find_password_reset(older.hash, at(600)).await?, None);
    town.store.add_password_reset(newer.clone(), at(1)).await?;
    assert_eq!(town.store.find_password_reset(older.hash, at(2)).await?, None);
    let session = town.session(ada, at(2)).await?;
    let token = town.token(ada, town.shop(ada).await?, "*", None).await?;
    let both = [1, 2].map(|n| town.store.redeem_password_reset(newer.hash, format!("hash {n}"), at(3)));
    let ended = futures::future::join_all(both).await;
    assert_eq!(ended.iter().filter(|end| end.is_ok()).count(), 1, "{ended:?}");
    assert_eq!(town.store.find_session_bearer(session.access, at(4)).await?, None);
    assert_eq!(town.store.find_token_bearer(token, at(4)).await?, None);
    let stored = town.store.find_credentials("ada@example.com").await?.context("gone")?.password_hash;
    assert!(stored.as_ref().is_some_and(|hash| hash.starts_with("hash ") && hash.len() == 6), "{stored:?}");

    let shut_out = reset(at(600));
    town.store.add_password_reset(shut_out.clone(), at(4)).await?;
    town.store.settle_user(ada, State::Active, State::Suspended, None, at(5)).await?;
    let refused = town.store.redeem_password_reset(shut_out.hash, String::from("x"), at(6)).await;
    assert!(matches!(refused, Err(Error::Stale)));
    Ok(())
}

/// A changed password ends the other sessions; what was changed meanwhile is left.
pub async fn a_changed_password_ends_other_sessions(town: Town) -> Result<()> {
    let ada = town.resident("ada", State::Active).await?;
    let (kept, ended) = (town.session(ada, START).await?, town.session(ada, START).await?);
    let before = Some(String::from("hash of ada"));
    town.store.rehash_password(ada, "another".into(), "never".into()).await?;
    town.store.change_password(ada, before.clone(), "new".into(), Some(SessionId(kept.id)), at(1)).await?;
    assert!(town.store.find_session_bearer(kept.access, at(2)).await?.is_some());
    assert_eq!(town.store.find_session_bearer(ended.access, at(2)).await?, None);
    let stale = town.store.change_password(ada, before, "other".into(), None, at(2)).await;
    assert!(matches!(stale, Err(Error::Stale)));
    town.store.rehash_password(ada, "new".into(), "newer".into()).await?;
    let stored = town.store.find_credentials("ada@example.com").await?.context("gone")?.password_hash;
    assert_eq!(stored.as_deref(), Some("newer"));
    Ok(())
}
