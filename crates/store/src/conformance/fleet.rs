//! The lives of the database, and looks as evidence.

use anyhow::{Context, Result, ensure};
use tradepost_domain::event::Kind;
use tradepost_domain::fleet::FleetEpoch;
use tradepost_domain::id::{PermitId, SessionEpoch};
use tradepost_domain::posting::Event;
use tradepost_domain::publish::{self, baseline_hash};
use tradepost_domain::reconcile::{LookRecord, SeenItem};

use super::world::{START, World, at};
use crate::{Attachment, Change, ChangeLook, NewFleetEpoch};

fn for_all(after: i64) -> NewFleetEpoch {
    NewFleetEpoch { after: FleetEpoch(after), agent: None, reason: String::from("a test") }
}

/// No number of an earlier life is given again, and those who were there owe a recount.
pub async fn a_new_life_gives_greater_numbers_and_asks_for_a_recount(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (_, lease) = world.running(&seller, at(1)).await?;
    let before = world.store.fleet().await?;
    ensure!(before.epoch == FleetEpoch(0) && before.run_lease == lease && before.events > 0, "{before:?}");
    ensure!(world.store.find_owed(seller.agent.id).await?.is_none(), "nothing is owed in the first life");

    let fleet = world.store.begin_fleet_epoch(for_all(6), at(2)).await?;
    ensure!(fleet.database == before.database && fleet.epoch == FleetEpoch(7), "{fleet:?}");
    ensure!(fleet == world.store.fleet().await? && !fleet.is_older_than(&before), "{fleet:?}");
    let owed = world.store.find_owed(seller.agent.id).await?.context("a recount is owed")?;
    ensure!((owed.epoch, owed.known_lease, owed.begun_at) == (fleet.epoch, lease, at(2)), "{owed:?}");
    let fresh = world.seller().await?;
    ensure!(world.store.find_owed(fresh.agent.id).await?.is_none(), "who came later has nothing to tell");
    ensure!(fresh.agent.epoch.0 > fleet.epoch.first_number(), "{:?}", fresh.agent.epoch);
    let (_, later) = world.running(&fresh, at(3)).await?;
    ensure!(later.0 > fleet.epoch.first_number(), "{later:?}");

    // A second life that concerns one agent alone.
    let alone = NewFleetEpoch { agent: Some(fresh.agent.id), ..for_all(0) };
    let second = world.store.begin_fleet_epoch(alone, at(4)).await?;
    ensure!(second.epoch == FleetEpoch(8));
    let still = world.store.find_owed(seller.agent.id).await?.context("the first is still owed")?;
    ensure!(still == owed, "{still:?}");
    ensure!(world.store.find_owed(fresh.agent.id).await?.is_some_and(|owed| owed.known_lease == later));
    world.store.record_recount(seller.agent.id, owed.epoch).await?;
    ensure!(world.store.find_owed(seller.agent.id).await?.is_none());

    let feed = world.store.list_events(seller.tenant.workspace, 0, None, 1_000).await?;
    let told = feed.iter().filter(|event| event.event.kind == Kind::FleetRestored).count();
    ensure!(told == 1, "the second one is another tenant's: {told}");
    Ok(())
}

/// A stream is numbered above all that the agent was ever given.
pub async fn a_stream_is_newer_than_what_its_agent_knows(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let attachment = |known| Attachment {
        agent: seller.agent.id,
        boot: tradepost_domain::id::BootId(world.id()),
        controller: tradepost_domain::id::ControllerId(world.id()),
        platform: String::new(),
        program_version: String::new(),
        known_epoch: SessionEpoch(known),
    };
    let newer = world.store.attach_agent(attachment(40), START).await?;
    ensure!(newer.epoch == SessionEpoch(41), "{:?}", newer.epoch);
    let next = world.store.attach_agent(attachment(3), START).await?;
    ensure!(next.epoch == SessionEpoch(42), "{:?}", next.epoch);
    Ok(())
}

/// What is in doubt after a restore, and what was under way.
pub async fn what_a_restore_has_to_settle_is_found(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (running, lease) = world.running(&seller, at(1)).await?;
    let waiting = world.publication(&seller).await?;
    let unarmed = async |before, after| {
        world.store.list_unarmed_intents(seller.agent.id, None, before, after, 10).await
    };
    let mut ids: Vec<_> = unarmed(at(5), None).await?.into_iter().map(|(intent, ..)| intent).collect();
    let mut wanted = vec![running.intent.id, waiting.intent.id];
    ids.sort_unstable();
    wanted.sort_unstable();
    ensure!(ids == wanted, "{ids:?}");
    ensure!(unarmed(at(5), Some(wanted[0])).await?.len() == 1, "pages go on after the last");
    ensure!(unarmed(START, None).await?.is_empty(), "made later");

    let baseline = vec![String::from("1")];
    let prepared = publish::Event::Prepared {
        run_lease: lease,
        baseline: baseline.clone(),
        fingerprint: String::from("f"),
    };
    let prepared = world.step(&running, Event::Intent(prepared), at(2)).await?;
    let permit = PermitId(world.id());
    let arm = publish::Event::Arm {
        permit,
        request: String::from("r"),
        run_lease: lease,
        epoch: seller.agent.epoch,
        baseline_hash: baseline_hash(&baseline),
        fingerprint: String::from("f"),
    };
    let armed = world.step(&prepared, Event::Intent(arm), at(3)).await?;
    let unknown = PermitId(world.id());
    let states = world.store.permit_states(&[permit, unknown]).await?;
    ensure!(states.get(&permit) == Some(&publish::State::Armed) && !states.contains_key(&unknown));
    ensure!(world.store.list_armed_before(FleetEpoch(0), None, 10).await?.is_empty());
    let fleet = world.store.begin_fleet_epoch(for_all(0), at(4)).await?;
    let open = world.store.list_armed_before(fleet.epoch, None, 10).await?;
    ensure!(open.iter().map(|intent| intent.id).eq([armed.intent.id]), "{open:?}");
    let other = world.seller().await?;
    ensure!(world.store.list_armed_before(fleet.epoch, Some(other.agent.id), 10).await?.is_empty());

    // A look is kept, once, and only its own workspace sees it.
    let look = LookRecord {
        seq: 1,
        job: armed.job.id,
        generation: 1,
        at: at(5),
        whole: true,
        total: 2,
        before: 1,
        known_seen: 1,
        new: vec![SeenItem { item_id: String::from("2"), url: String::from("http://x/2"), matches: true }],
        verdict: String::from("found"),
    };
    let (workspace, posting) = (armed.posting.workspace, armed.posting.id);
    for verdict in ["found", "again"] {
        let look = LookRecord { verdict: String::from(verdict), ..look.clone() };
        let change = ChangeLook { workspace, posting, intent: armed.intent.id, look };
        world.store.commit(Change { look: Some(change), ..Change::default() }, at(5)).await?;
    }
    ensure!(world.store.list_looks(workspace, posting).await? == [look]);
    ensure!(world.store.list_looks(other.tenant.workspace, posting).await?.is_empty());
    Ok(())
}
