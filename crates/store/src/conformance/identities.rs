//! Agents' identities.

use anyhow::{Context, Result};
use tradepost_domain::event::Kind;
use tradepost_domain::id::{AgentId, BootId};
use tradepost_domain::standing::{LockReason, Locked, Standing};

use super::world::{World, at};
use crate::{Error, Joining, Redeemed};

fn is_stale<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Stale))
}

/// A join counter is kept by compare-and-set; a locked agent is out until a person approves it; a challenge counts once.
pub async fn a_locked_agent_is_out_until_it_is_approved(world: World) -> Result<()> {
    let tenant = world.tenant().await?;
    let agent = world.agent(tenant).await?;
    let (boot, other) = (BootId(world.id()), BootId(world.id()));
    let joining = Joining { agent: agent.id, boot, counter: 5, seen: 0 };
    world.store.accept_join(joining).await?;
    assert!(is_stale(world.store.accept_join(joining).await), "the counter is 5 by now");
    world.store.suspect_join(Joining { boot: other, counter: 4, seen: 5, ..joining }).await?;
    let stored = world.store.find_agent(agent.id).await?.context("gone")?.standing;
    let expected =
        Standing { join_counter: 5, join_boot: Some(boot), suspect: Some(other), ..Standing::default() };
    assert_eq!(stored, expected);

    let locked = world.store.lock_agent(agent.id, LockReason::Cloned, at(3)).await?.context("gone")?;
    assert_eq!(locked.standing.locked, Some(Locked { at: at(3), why: LockReason::Cloned }));
    let again = world.store.lock_agent(agent.id, LockReason::Away, at(4)).await?.context("gone")?;
    assert_eq!(again, locked, "the first reason stays");
    assert_eq!(world.store.touch_agents(&[(agent.id, agent.epoch)], at(4)).await?, [agent.id]);
    assert!(world.attach(agent.id).await.is_err(), "a locked agent attached");
    let joining = Joining { counter: 6, seen: 5, ..joining };
    assert!(is_stale(world.store.accept_join(joining).await));
    assert!(is_stale(world.store.answer_challenge(agent.id, at(5), at(5)).await));

    let foreign = world.tenant().await?.workspace;
    assert_eq!(world.store.approve_agent(foreign, agent.id, at(6)).await?, None);
    let approved = world.store.approve_agent(tenant.workspace, agent.id, at(6)).await?.context("gone")?;
    assert_eq!(approved.standing, Standing { approved_at: Some(at(6)), ..Standing::default() });
    let again = world.store.approve_agent(tenant.workspace, agent.id, at(7)).await?.context("gone")?;
    assert_eq!(again, approved, "there was nothing to approve");
    world.store.answer_challenge(agent.id, at(8), at(8)).await?;
    for replayed in [at(8), at(7)] {
        assert!(is_stale(world.store.answer_challenge(agent.id, replayed, at(9)).await));
    }
    world.store.answer_challenge(agent.id, at(10), at(10)).await?;
    world.attach(agent.id).await?;
    let nobody = AgentId(world.id());
    assert_eq!(world.store.lock_agent(nobody, LockReason::Away, at(11)).await?, None);
    let events = world.store.list_events(tenant.workspace, 0, None, 100).await?;
    let told: Vec<Kind> = events.into_iter().map(|event| event.event.kind).collect();
    for (kind, times) in [(Kind::AgentLocked, 1), (Kind::AgentApproved, 1), (Kind::AgentReturned, 2)] {
        assert_eq!(told.iter().filter(|known| **known == kind).count(), times, "{kind:?} in {told:?}");
    }
    Ok(())
}

/// A used string in other hands is told to the workspace.
pub async fn a_used_enrolment_string_with_another_key_is_told(world: World) -> Result<()> {
    let tenant = world.tenant().await?;
    let hash = world.invitation(tenant).await?;
    world.store.redeem_enrolment_token(hash, world.new_agent("k1"), at(1)).await?;
    let other = world.store.redeem_enrolment_token(hash, world.new_agent("k2"), at(2)).await?;
    assert_eq!(other, Redeemed::OtherKey);
    let events = world.store.list_events(tenant.workspace, 0, None, 10).await?;
    let kinds: Vec<Kind> = events.into_iter().map(|event| event.event.kind).collect();
    assert_eq!(kinds, [Kind::AgentEnrolled, Kind::EnrolmentRefused]);
    Ok(())
}
