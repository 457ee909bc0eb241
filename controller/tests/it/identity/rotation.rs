//! Rotation of the root and of the agents CA, with agents that are there and agents that sleep through any part of it.

use std::time::Duration;

use anyhow::{Context, Result};
use tradepost_controller::identity::rotation::{self, Scope, Step};
use tradepost_domain::trust::Phase;
use tradepost_runtime::clock::Clock;
use tradepost_testkit::wait;

use super::{Pc, enrolled, system_clock};
use crate::system::{DEADLINE, System, User};

/// A PC that is attached, and follows what the controller says.
struct Online {
    pc: Pc,
    stream: tradepost_agent::session::link::Stream,
}

impl Online {
    /// Waits until it has renewed under the authority as it stands.
    async fn follows(&mut self) -> Result<()> {
        use futures::StreamExt;
        let before = self.pc.keeper.identity().trust_digest;
        // The notice comes over the open stream, which nothing has ended.
        let noticed = async {
            while self.pc.keeper.due_in() > Duration::from_secs(30) {
                match tokio::time::timeout(Duration::from_millis(100), self.stream.inbound.next()).await {
                    Ok(Some(Ok(_))) | Err(_) => {}
                    other => anyhow::bail!("the stream ended: {other:?}"),
                }
            }
            Ok(())
        };
        tokio::time::timeout(DEADLINE, noticed).await.context("no notice")??;
        self.pc.keeper.renew().await?;
        anyhow::ensure!(
            self.pc.keeper.identity().trust_digest != before,
            "it renewed under the old authority"
        );
        Ok(())
    }
}

async fn pc(system: &System, user: &User, folder: &std::path::Path) -> Result<Pc> {
    enrolled(user, folder).await?;
    let pc = Pc::start(folder, system_clock(system))?;
    drop(pc.attaches().await?);
    Ok(pc)
}

/// Walks through `steps`, with one agent online all the time and one asleep from before each step to the end.
async fn walk(scope: Scope, steps: &[Step]) -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let identity = system.identity_folder();
    let home = tempfile::tempdir()?;
    let watching = pc(&system, &user, &home.path().join("online")).await?;
    let stream = watching.attaches().await?;
    let mut online = Online { pc: watching, stream };
    let mut sleepers = vec![home.path().join("0")];
    pc(&system, &user, &sleepers[0]).await?;

    rotation::begin(&identity, scope, system.clock.now())?;
    online.follows().await?;
    for step in steps {
        let folder = home.path().join(sleepers.len().to_string());
        // It comes while this phase lasts, under the authority as it is, and is not seen until the end.
        let fresh = wait::until("the controller's new certificate", DEADLINE, || async {
            system.user().await.map_err(|error| error.to_string())
        })
        .await?;
        pc(&system, &fresh, &folder).await?;
        sleepers.push(folder);
        let phase = rotation::step(&identity, *step)?;
        // The last step destroys keys; there is nothing for agents to follow.
        if !(*step == Step::Advance && matches!(phase, Phase::Stable { .. })) {
            online.follows().await?;
        }
    }
    // Everybody sleeps until their certificates have ended.
    system.clock.advance(super::DAY * 3);
    for folder in sleepers {
        let sleeper = Pc::start(&folder, system_clock(&system))?;
        drop(sleeper.attaches().await.with_context(|| format!("{} is stranded", folder.display()))?);
        assert_eq!(sleeper.keeper.identity().root, std::fs::read_to_string(identity.join("ca.pem"))?);
    }
    Ok(())
}

const ADVANCE: Step = Step::Advance;
const BACK: Step = Step::Rollback;

#[tokio::test]
async fn a_root_is_replaced_and_nobody_is_stranded() -> Result<()> {
    walk(Scope::Root, &[ADVANCE, ADVANCE, ADVANCE]).await
}

#[tokio::test]
async fn an_agents_ca_is_replaced_and_nobody_is_stranded() -> Result<()> {
    walk(Scope::AgentsCa, &[ADVANCE, ADVANCE, ADVANCE]).await
}

#[tokio::test]
async fn every_phase_can_be_rolled_back_and_nobody_is_stranded() -> Result<()> {
    walk(Scope::Root, &[BACK]).await?;
    walk(Scope::Root, &[ADVANCE, BACK, BACK]).await?;
    walk(Scope::Root, &[ADVANCE, ADVANCE, BACK, BACK, BACK]).await
}

#[tokio::test]
async fn an_agent_that_sleeps_through_two_rotations_walks_the_chain() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let identity = system.identity_folder();
    let folder = tempfile::tempdir()?;
    let stale = user.invite().await?;
    pc(&system, &user, folder.path()).await?;
    for _ in 0..2 {
        rotation::begin(&identity, Scope::Root, system.clock.now())?;
        for _ in 0..3 {
            rotation::step(&identity, Step::Advance)?;
        }
    }
    assert_eq!(rotation::phase(&identity)?, Phase::Stable { present: 3 });
    let keys: Vec<_> = std::fs::read_dir(&identity)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("ca-") && name.strip_suffix(".key").is_some())
        .collect();
    assert_eq!(keys.len(), 2, "old keys are destroyed: {keys:?}");
    system.clock.advance(super::DAY * 40);
    let sleeper = Pc::start(folder.path(), system_clock(&system))?;
    sleeper.adopts(&system, &std::fs::read_to_string(identity.join("ca.pem"))?).await?;
    // The CLI's older ca.pem walks the chain as well; a string with the first root's pin is of no use any more.
    drop(system.user().await?);
    assert!(crate::agent::Agent::redeem(&system, &stale, rcgen::KeyPair::generate()?).await.is_err());
    assert!(rotation::step(&identity, Step::Advance).is_err(), "nothing is under way");
    Ok(())
}
