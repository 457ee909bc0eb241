//! Data keys, what is sealed under them, and credentials.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use tradepost_domain::credential::State as CredentialState;
use tradepost_domain::id::{AccountId, AgentId, UserId, Version, WorkspaceId};
use tradepost_domain::user::State;

use super::Town;
use super::world::{START, at};
use crate::{Conflict, CredentialKey, Error, NewAccountCredential, Reseal, Scope, Sealed, SealedColumn};

fn sealed(version: i64, n: u8) -> Sealed {
    Sealed { key_version: version, content: vec![n; 40] }
}

fn is_superseded<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Conflict(Conflict::KeySuperseded)))
}

/// Of several that begin a version, all get the one that was first; a newer one supersedes it, and older ones never return.
pub async fn a_data_key_is_begun_once_and_superseded_by_newer_ones(town: Town) -> Result<()> {
    let store = &town.store;
    assert_eq!(store.present_data_key(Scope::System).await?, None);
    let first_time = |n: u8| store.begin_data_key(Scope::System, 1, vec![n; 60], START);
    let answers = futures::future::join_all((0..6).map(first_time)).await;
    let keys = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(store.present_data_key(Scope::System).await?, Some(keys[0].clone()));
    let shop = Scope::Workspace(WorkspaceId(town.world.id()));
    store.begin_data_key(shop, 1, vec![9; 60], START).await?;
    let second = store.begin_data_key(Scope::System, 2, vec![7; 60], at(1)).await?;
    assert_eq!(store.present_data_key(Scope::System).await?, Some(second));
    let first = store.find_data_key(Scope::System, 1).await?.context("gone")?;
    assert_eq!((first.wrapped, first.superseded_at), (keys[0].wrapped.clone(), Some(at(1))));
    assert_eq!(store.present_data_key(shop).await?.context("gone")?.version, 1, "another scope");
    for scope in [Scope::System, shop, Scope::Workspace(WorkspaceId(town.world.id()))] {
        let older = store.begin_data_key(scope, 1, vec![5; 60], at(2)).await;
        assert!(matches!(older, Err(Error::Stale)), "{older:?}");
    }
    let all = store.data_keys().await?;
    let versions: Vec<_> = all.iter().map(|key| (key.version, key.scope)).collect();
    assert_eq!(versions, [(1, Scope::System), (1, shop), (2, Scope::System)]);
    Ok(())
}

/// While users begin second factors, everything is moved to a newer key: nothing stays behind, nothing is lost.
pub async fn everything_moves_to_a_newer_key_while_others_write(town: Town) -> Result<()> {
    let store = &town.store;
    let mut users = Vec::new();
    for n in 0..12 {
        users.push(town.resident(&format!("u{n}"), State::Active).await?);
    }
    assert!(is_superseded(&store.begin_factor(users[0], sealed(1, 0), START).await), "without any");
    store.begin_data_key(Scope::System, 1, vec![1; 60], START).await?;
    for user in &users[..6] {
        store.begin_factor(*user, sealed(1, 1), START).await?;
    }
    let write = async |user: UserId| -> Result<()> {
        if is_superseded(&store.begin_factor(user, sealed(1, 1), at(1)).await) {
            store.begin_factor(user, sealed(2, 2), at(1)).await?;
        }
        Ok(())
    };
    let writing = futures::future::join_all(users[4..].iter().map(|user| write(*user)));
    let rotating = async {
        store.begin_data_key(Scope::System, 2, vec![2; 60], at(1)).await?;
        move_all(&town, 2).await
    };
    let (written, moved) = futures::join!(writing, rotating);
    written.into_iter().collect::<Result<Vec<_>>>()?;
    moved?;
    // Whoever was in time was seen; whoever was not was refused.
    let behind = store.sealed_rows(SealedColumn::SecondFactorSeed, 2, None, 100).await?;
    assert_eq!(behind, []);
    assert_eq!(store.count_sealed(SealedColumn::SecondFactorSeed).await?, [(2, 12)]);
    for user in users {
        let factor = store.find_factor(user).await?.context("gone")?;
        assert_eq!(factor.seed.key_version, 2);
    }
    Ok(())
}

/// Batches of two; a value that was changed since it was read is left alone.
async fn move_all(town: &Town, version: i64) -> Result<()> {
    let column = SealedColumn::SecondFactorSeed;
    let mut seen = BTreeSet::new();
    loop {
        let mut after = None;
        let mut changed = 0;
        loop {
            let rows = town.store.sealed_rows(column, version, after, 2).await?;
            let Some(last) = rows.last() else { break };
            after = Some((last.sealed.key_version, last.id));
            seen.extend(rows.iter().map(|row| row.id));
            let stale =
                rows.iter().map(|row| Reseal { id: row.id, from: sealed(1, 77), to: sealed(version, 0) });
            assert_eq!(town.store.reseal(column, stale.collect()).await?, 0);
            let anew =
                rows.into_iter().map(|row| Reseal { id: row.id, from: row.sealed, to: sealed(version, 2) });
            changed += town.store.reseal(column, anew.collect()).await?;
        }
        if changed == 0 {
            return Ok(());
        }
    }
}

/// A key goes when nothing needs it, and not before.
pub async fn a_key_is_kept_as_long_as_something_needs_it(town: Town) -> Result<()> {
    let store = &town.store;
    let ada = town.resident("ada", State::Active).await?;
    store.begin_data_key(Scope::System, 1, vec![1; 60], START).await?;
    store.begin_factor(ada, sealed(1, 1), START).await?;
    let in_use = |result: Result<(), Error>| matches!(result, Err(Error::Conflict(Conflict::KeyInUse)));
    assert!(in_use(store.retire_data_keys(1).await), "in use");
    store.begin_data_key(Scope::System, 2, vec![2; 60], at(1)).await?;
    assert!(in_use(store.retire_data_keys(1).await), "something is sealed under it");
    assert!(store.find_data_key(Scope::System, 1).await?.is_some(), "a refusal changes nothing");
    move_all(&town, 2).await?;
    store.retire_data_keys(1).await?;
    store.retire_data_keys(1).await?;
    assert_eq!(store.find_data_key(Scope::System, 1).await?, None);
    assert!(in_use(store.retire_data_keys(2).await));
    Ok(())
}

/// Set for the account's agent, in growing generations; gone with another agent.
pub async fn a_credential_belongs_to_the_accounts_agent(town: Town) -> Result<()> {
    let (store, world) = (&town.store, &town.world);
    let seller = world.seller().await?;
    let (account, agent, workspace) = (&seller.account, seller.agent.id, seller.account.workspace);
    let scope = Scope::Workspace(workspace);
    let key = CredentialKey { agent, public_key: [3; 32], identity_key: vec![4; 91], signature: vec![5; 70] };
    assert_eq!(store.find_credential_key(agent).await?, None);
    store.tell_credential_key(key.clone(), START).await?;
    let newer = CredentialKey { public_key: [6; 32], ..key };
    store.tell_credential_key(newer.clone(), at(1)).await?;
    assert_eq!(store.find_credential_key(agent).await?, Some(newer.clone()));
    let unknown = CredentialKey { agent: AgentId(world.id()), ..newer };
    assert!(matches!(store.tell_credential_key(unknown, at(1)).await, Err(Error::Stale)));

    let new = |generation, version| NewAccountCredential {
        account: account.id,
        workspace,
        agent,
        key_id: String::from("k1"),
        generation,
        sealed: sealed(version, 1),
        set_by: seller.tenant.user,
    };
    assert!(is_superseded(&store.set_credential(new(1, 1), at(2)).await));
    store.begin_data_key(scope, 1, vec![1; 60], START).await?;
    let set = store.set_credential(new(5, 1), at(2)).await?;
    assert_eq!((set.generation, set.state, set.sealed), (5, CredentialState::Ready, Some(sealed(1, 1))));
    for wrong in [
        new(5, 1),
        NewAccountCredential { agent: AgentId(world.id()), ..new(6, 1) },
        NewAccountCredential { workspace: WorkspaceId(world.id()), ..new(6, 1) },
        NewAccountCredential { account: AccountId(world.id()), ..new(6, 1) },
    ] {
        assert!(matches!(store.set_credential(wrong, at(3)).await, Err(Error::Stale)));
    }
    assert_eq!(store.find_credential(WorkspaceId(world.id()), account.id).await?, None, "foreign");
    assert_eq!(store.count_sealed(SealedColumn::AccountCredential).await?, [(1, 1)]);
    let rows = store.sealed_rows(SealedColumn::AccountCredential, 9, None, 9).await?;
    assert_eq!((rows[0].id, rows[0].scope), (account.id.0, scope));

    let note = |generation, state| store.note_credential_use(account.id, agent, generation, state, at(4));
    assert!(!note(4, CredentialState::Refused).await?, "of an older one");
    assert!(note(5, CredentialState::Ready).await?);
    let used = store.find_credential(workspace, account.id).await?.context("gone")?;
    assert_eq!((used.used_at, used.changed_at), (Some(at(4)), at(2)));
    assert!(note(5, CredentialState::Refused).await?);
    let refused = store.find_credential(workspace, account.id).await?.context("gone")?;
    assert_eq!((refused.state, refused.changed_at), (CredentialState::Refused, at(4)));
    store.set_credential(new(6, 1), at(5)).await?;

    let other = world.agent(seller.tenant).await?;
    let bound = store.find_account(workspace, account.id).await?.context("gone")?;
    let bound = store.bind_account(workspace, account.id, agent, bound.version, at(6)).await?;
    let kept = store.find_credential(workspace, account.id).await?.context("gone")?;
    assert_eq!(kept.state, CredentialState::Ready, "bound to the same agent again");
    let Version(_) = bound.version;
    store.bind_account(workspace, account.id, other.id, bound.version, at(7)).await?;
    let moved = store.find_credential(workspace, account.id).await?.context("gone")?;
    assert_eq!((moved.state, moved.sealed, moved.generation), (CredentialState::Moved, None, 6));
    assert!(!store.remove_credential(workspace, account.id, at(8)).await?, "nothing is left");
    let theirs = NewAccountCredential { agent: other.id, ..new(7, 1) };
    store.set_credential(theirs, at(8)).await?;
    assert!(!store.remove_credential(WorkspaceId(world.id()), account.id, at(9)).await?, "foreign");
    assert!(store.remove_credential(workspace, account.id, at(9)).await?);
    let removed = store.find_credential(workspace, account.id).await?.context("gone")?;
    assert_eq!((removed.state, removed.sealed), (CredentialState::Removed, None));
    Ok(())
}
