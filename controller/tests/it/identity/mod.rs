//! Agents' identities, with the agent's own code on the other side: renewal, return after absence, copies, revocation,
//! rotation of trust, certificates of one's own.

mod rotation;
mod serving;
mod standing;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use tradepost_agent::identity::IdentityStore;
use tradepost_agent::session::enrol;
use tradepost_agent::session::frame::{Hello, Inbound};
use tradepost_agent::session::keeper::Keeper;
use tradepost_agent::session::link::{ControllerLink, LinkError, LinkFault, Stream};
use tradepost_agent::session::remote::RemoteController;
use tradepost_domain::fleet::Knowledge;
use tradepost_domain::id::BootId;
use tradepost_proto::v1;
use tradepost_runtime::clock::SharedClock;
use tradepost_runtime::ids::Ids;
use tradepost_testkit::wait;
use v1::agent_service_client::AgentServiceClient;
use v1::event_service_client::EventServiceClient;

use crate::system::{DEADLINE, System, User};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The agent's own identity and connection, on a data directory of the test's.
struct Pc {
    keeper: Arc<Keeper>,
    link: RemoteController,
    boot: BootId,
}

/// Enrols a PC in `folder`.
async fn enrolled(user: &User, folder: &Path) -> Result<IdentityStore> {
    let store = IdentityStore::new(folder);
    enrol::enrol(&store, &user.invite().await?.parse()?, "pc").await?;
    Ok(store)
}

impl Pc {
    /// Starts the agent's program on `folder`, as far as its identity goes.
    fn start(folder: &Path, clock: SharedClock) -> Result<Self> {
        let ids = Ids::from_system();
        let boot = BootId(ids.uuid(clock.now()));
        let keeper = Arc::new(Keeper::open(IdentityStore::new(folder), clock, ids)?);
        let link = RemoteController::new(Arc::clone(&keeper))?;
        Ok(Self { keeper, link, boot })
    }

    fn id(&self) -> String {
        self.keeper.agent().to_string()
    }

    /// Opens a stream and waits for its welcome.
    async fn attach(&self) -> Result<Stream, LinkError> {
        let hello = Hello { boot: self.boot, runs: Vec::new(), slots: 1, knowledge: Knowledge::fresh() };
        let mut stream = self.link.open(hello).await?;
        match tokio::time::timeout(DEADLINE, stream.inbound.next()).await {
            Ok(Some(Ok(Inbound::Welcome { .. }))) => Ok(stream),
            Ok(Some(Err(error))) => Err(error),
            other => Err(LinkError::unavailable(format!("no welcome but {other:?}"))),
        }
    }

    /// Attaches, however often the controller has to be asked.
    async fn attaches(&self) -> Result<Stream> {
        wait::until("a stream", DEADLINE, || async { self.attach().await.map_err(|error| error.to_string()) })
            .await
    }

    /// Attaches, and follows until it trusts `root`: the controller may be about to take it up.
    async fn adopts(&self, system: &System, root: &str) -> Result<()> {
        wait::until("the new root", DEADLINE, || async {
            // Challenges are told apart by their time, and this clock moves only when told.
            system.clock.advance(Duration::from_secs(1));
            let stream = self.attach().await.map_err(|error| error.to_string())?;
            if self.keeper.due_in().is_zero() {
                self.keeper.renew().await.map_err(|error| error.to_string())?;
            }
            drop(stream);
            let trusted = self.keeper.identity().root;
            if trusted == root { Ok(()) } else { Err(trusted) }
        })
        .await
    }

    /// Is refused, however often it has to ask to learn it. Returns the reason.
    async fn is_refused(&self) -> Result<String> {
        wait::until("a refusal", DEADLINE, || async {
            match self.attach().await {
                Err(error) if error.fault == LinkFault::Identity => Ok(error.reason),
                Err(error) => Err(error.to_string()),
                Ok(_) => Err(String::from("let in")),
            }
        })
        .await
    }
}

/// Waits for the end of a stream.
async fn ends(stream: &mut Stream) -> Result<()> {
    let end = async { while let Some(Ok(_)) = stream.inbound.next().await {} };
    tokio::time::timeout(DEADLINE, end).await.context("the stream lives on")
}

async fn presence(user: &User, agent: &str) -> Result<(v1::Presence, String)> {
    let request = user.request(v1::GetAgentRequest { id: agent.into() });
    let answer = AgentServiceClient::new(user.channel.clone()).get_agent(request).await?;
    let agent = answer.into_inner().agent.context("an agent")?;
    Ok((agent.presence(), agent.locked_because))
}

async fn approve(user: &User, agent: &str) -> Result<()> {
    let request = user.request(v1::ApproveAgentRequest { id: agent.into() });
    AgentServiceClient::new(user.channel.clone()).approve_agent(request).await?;
    Ok(())
}

async fn revoke(user: &User, agent: &str) -> Result<()> {
    let request = user.request(v1::RevokeAgentRequest { id: agent.into() });
    AgentServiceClient::new(user.channel.clone()).revoke_agent(request).await?;
    Ok(())
}

/// How often the workspace was told of `kind`.
async fn told(user: &User, kind: &str) -> Result<usize> {
    let request = user.request(v1::ListEventsRequest { limit: 1_000, ..v1::ListEventsRequest::default() });
    let answer = EventServiceClient::new(user.channel.clone()).list_events(request).await?;
    Ok(answer.into_inner().events.iter().filter(|event| event.kind == kind).count())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn system_clock(system: &System) -> SharedClock {
    system.clock.clone()
}
