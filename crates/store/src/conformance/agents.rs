//! Users, agents and their streams.

use anyhow::{Context, Result};
use tradepost_domain::id::{AgentId, SessionEpoch, TokenId, UserId, Version, WorkspaceId};
use tradepost_domain::job::{self, Job};

use super::world::{START, World, at, first};
use crate::{Change, Conflict, Error, NewToken, NewUser, Redeemed, Role};

/// An address is one user, a workspace's name one workspace.
pub async fn a_user_of_the_host_gets_further_tokens(world: World) -> Result<()> {
    let user = |email: &str, workspace_name: &str| NewUser {
        id: UserId(world.id()),
        email: email.to_owned(),
        role: Role::Operator,
        workspace: WorkspaceId(world.id()),
        workspace_name: workspace_name.to_owned(),
    };
    let token = || NewToken {
        id: TokenId(world.id()),
        name: String::from("laptop"),
        hash: world.hash(),
        expires_at: None,
    };
    let (ada, is_new) = world.store.add_user_token(user("ada@example.com", "shop"), token(), START).await?;
    assert!(is_new);
    let (again, is_new) =
        world.store.add_user_token(user("ada@example.com", "other"), token(), START).await?;
    assert_eq!((&again, is_new), (&ada, false));
    let (bob, _) = world.store.add_user_token(user("bob@example.com", "shop"), token(), START).await?;
    assert_eq!(bob.workspace, ada.workspace);
    Ok(())
}

/// A lost answer and a retry give the same identity; another key is refused.
pub async fn enrolment_can_be_repeated_with_the_same_key_only(world: World) -> Result<()> {
    let tenant = world.tenant().await?;
    let hash = world.invitation(tenant).await?;
    let Redeemed::Agent(agent) =
        world.store.redeem_enrolment_token(hash, world.new_agent("k1"), at(1)).await?
    else {
        anyhow::bail!("refused")
    };
    assert_eq!((agent.workspace, agent.epoch, agent.created_at), (tenant.workspace, SessionEpoch(0), at(1)));
    for now in [at(2), at(10_000)] {
        let repeated = world.store.redeem_enrolment_token(hash, world.new_agent("k1"), now).await?;
        assert_eq!(repeated, Redeemed::Agent(agent.clone()));
    }
    let other = world.store.redeem_enrolment_token(hash, world.new_agent("k2"), at(2)).await?;
    assert_eq!(other, Redeemed::OtherKey);
    let unknown = world.store.redeem_enrolment_token(world.hash(), world.new_agent("k2"), at(2)).await?;
    assert_eq!(unknown, Redeemed::UnknownToken);
    let late = world.invitation(tenant).await?;
    let refused = world.store.redeem_enrolment_token(late, world.new_agent("k2"), at(600)).await?;
    assert_eq!(refused, Redeemed::UnknownToken);
    let refused = world.store.redeem_enrolment_token(late, world.new_agent("k1"), at(1)).await;
    assert!(matches!(refused, Err(Error::Conflict(Conflict::AgentKey))), "{refused:?}");
    let agents = world.store.list_agents(tenant.workspace, first(10)).await?;
    assert_eq!(agents.rows, [*agent]);
    Ok(())
}

/// Streams are counted; an older one is told to end, and its end does not end the newer one.
pub async fn the_newest_stream_wins(world: World) -> Result<()> {
    let tenant = world.tenant().await?;
    let older = world.agent(tenant).await?;
    let newer = world.attach(older.id).await?;
    assert_eq!((older.epoch, newer.epoch), (SessionEpoch(1), SessionEpoch(2)));
    let stranger = (AgentId(world.id()), SessionEpoch(1));
    let heard = [(older.id, older.epoch), stranger];
    let mut ended = world.store.touch_agents(&heard, at(5)).await?;
    ended.sort_unstable();
    let mut expected = vec![older.id, stranger.0];
    expected.sort_unstable();
    assert_eq!(ended, expected);
    assert_eq!(world.store.touch_agents(&[(newer.id, newer.epoch)], at(6)).await?, []);
    world.store.detach_agent(older.id, older.epoch, at(7)).await?;
    let stored = world.store.find_agent(newer.id).await?.context("gone")?;
    assert_eq!((stored.controller, stored.last_seen_at), (newer.controller, Some(at(6))));
    world.store.detach_agent(newer.id, newer.epoch, at(8)).await?;
    assert_eq!(world.store.find_agent(newer.id).await?.context("gone")?.controller, None);
    let revoked = world.store.revoke_agent(tenant.workspace, newer.id, at(9)).await?.context("gone")?;
    let again = world.store.revoke_agent(tenant.workspace, newer.id, at(99)).await?.context("gone")?;
    assert_eq!((revoked.revoked_at, again.revoked_at), (Some(at(9)), Some(at(9))));
    assert_eq!(world.store.touch_agents(&[(newer.id, newer.epoch)], at(10)).await?, [newer.id]);
    assert!(world.attach(newer.id).await.is_err(), "a revoked agent attached");
    assert!(world.attach(AgentId(world.id())).await.is_err(), "an unknown agent attached");
    Ok(())
}

/// Jobs that wait go to the new agent, a run that is under way stays.
pub async fn a_rebound_account_takes_its_waiting_jobs_along(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let workspace = seller.tenant.workspace;
    let (running, lease) = world.running(&seller, START).await?;
    let waiting = world.publication(&seller).await?;
    let successor = world.agent(seller.tenant).await?;
    let stale = world.store.bind_account(workspace, seller.account.id, successor.id, Version(7), at(1)).await;
    assert!(matches!(stale, Err(Error::Stale)));
    let bound =
        world.store.bind_account(workspace, seller.account.id, successor.id, Version(1), at(1)).await?;
    assert_eq!((bound.agent, bound.version), (Some(successor.id), Version(2)));
    assert_eq!(world.reload(&waiting).await?.job.agent, successor.id);
    assert_eq!(world.reload(&running).await?.job.agent, seller.agent.id);
    assert_eq!(world.claim(&successor, 9, at(2)).await?, [], "the account still has a run");
    // The run comes back to the queue by the old agent's hand: the new agent gets it all the same.
    let back = world.reload(&running).await?.job;
    let back = Job { run_lease: Some(lease), ..job::step(&back, job::Event::AgentBack, at(3))? };
    world.store.commit(Change { jobs: vec![back], ..Change::default() }, at(3)).await?;
    assert_eq!(world.claim(&seller.agent, 9, at(4)).await?, []);
    let claimed = world.claim(&successor, 9, at(4)).await?;
    assert_eq!(
        claimed.iter().map(|job| (job.id, job.agent)).collect::<Vec<_>>(),
        [(running.job.id, successor.id)]
    );
    let foreign = world.seller().await?;
    let refused =
        world.store.bind_account(workspace, seller.account.id, foreign.agent.id, Version(2), at(5)).await;
    assert!(matches!(refused, Err(Error::Stale)), "bound to another workspace's agent");
    Ok(())
}
