//! The task around one stream: reads frames, does what [`super::state`] says, ends cleanly.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tradepost_domain::agent::HEARTBEAT;
use tradepost_domain::id::{AgentId, SessionEpoch};
use tradepost_proto::convert::time;
use tradepost_proto::v1;
use tradepost_proto::v1::open_response::Frame as Out;

use super::convert;
use super::registry::{Link, Sessions};
use super::state::{Action, State, on_frame};
use crate::identity::Identity;
use crate::service::run::{Run, Verdict};
use crate::service::stream::{Greeting, Reconciled};
use crate::service::{Core, Error};

/// A stream that is silent for longer has lost its agent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Steps wait this long for others to be stored with them.
const BATCH_DELAY: Duration = Duration::from_millis(15);
/// A stream lives this long, ± 10 %; then the agent comes back, perhaps to another controller.
const AGE: Duration = Duration::from_secs(3600);

/// One stream of one agent.
pub struct Connection {
    /// Use cases.
    pub core: Core,
    /// Who is attached.
    pub sessions: Sessions,
    /// Whose stream.
    pub agent: AgentId,
    /// The authority whose digest agents are told.
    pub identity: Arc<Identity>,
    /// Where frames to the agent go.
    pub frames: mpsc::Sender<Result<v1::OpenResponse, Status>>,
    /// Ends the stream.
    pub end: CancellationToken,
    /// How errors look on the wire.
    pub status: fn(Error) -> Status,
}

enum Next {
    Frame(v1::OpenRequest),
    Flush,
    Over(Option<Status>),
}

impl Connection {
    /// Serves the stream to its end.
    pub async fn serve(self, inbound: Streaming<v1::OpenRequest>) {
        let mut attached = None;
        let ended = self.run(inbound, &mut attached).await;
        if let Some(epoch) = attached {
            self.sessions.remove(self.agent, epoch);
            if let Err(error) = self.core.detach(self.agent, epoch).await {
                tracing::warn!(agent = %self.agent, %error, "the end of a stream was not stored; silence will show it");
            }
        }
        tracing::info!(agent = %self.agent, reason = ended.as_ref().map_or("closed", Status::message), "an agent's stream ended");
        if let Some(status) = ended {
            // A closed queue only says that the agent is gone.
            drop(self.frames.try_send(Err(status)));
        }
    }

    async fn run(
        &self,
        mut inbound: Streaming<v1::OpenRequest>,
        attached: &mut Option<SessionEpoch>,
    ) -> Option<Status> {
        let mut state = State::default();
        let age = tokio::time::sleep(AGE.mul_f64(0.9 + 0.2 * self.core.ids.unit()));
        tokio::pin!(age);
        loop {
            let flush = state.has_steps();
            let next = tokio::select! {
                biased;
                () = self.end.cancelled() => Next::Over(None),
                () = &mut age => {
                    let delay = Duration::from_secs(2).mul_f64(self.core.ids.unit());
                    self.link().tell(convert::go_away(delay, "the stream is old; open a new one"));
                    Next::Over(None)
                }
                message = tokio::time::timeout(SILENCE_MAX, inbound.message()) => heard(message),
                () = tokio::time::sleep(BATCH_DELAY), if flush => Next::Flush,
            };
            let actions = match next {
                Next::Over(status) => {
                    // What was told is stored even if the stream has ended.
                    if let Some(action) = state.take_steps()
                        && let Err(error) = self.act(action, attached).await
                    {
                        tracing::info!(agent = %self.agent, %error, "the last steps of a stream were not stored");
                    }
                    return status;
                }
                Next::Flush => state.take_steps().into_iter().collect(),
                Next::Frame(message) => match convert::frame(message) {
                    Ok(frame) => on_frame(&mut state, frame),
                    Err(violations) => return Some((self.status)(violations.into())),
                },
            };
            for action in actions {
                if let Err(error) = self.act(action, attached).await {
                    return Some((self.status)(error));
                }
            }
        }
    }

    async fn act(&self, action: Action, attached: &mut Option<SessionEpoch>) -> Result<(), Error> {
        let agent = self.agent;
        match action {
            Action::Attach(greeting) => *attached = Some(self.attach(greeting).await?),
            Action::Beat(runs) => {
                let Reconciled { keep, forget, cancel } =
                    self.core.reconcile_runs(agent, &runs, false).await?;
                self.sessions.told(agent, &keep);
                self.tell(&forget, &cancel);
            }
            Action::Acknowledge(run) => {
                if self.core.run_acknowledged(agent, run).await? == Verdict::Forget {
                    self.sessions.release(agent, run);
                    self.tell(&[run], &[]);
                }
            }
            Action::Refuse(run, reason) => {
                self.core.run_refused(agent, run, &reason).await?;
                self.sessions.release(agent, run);
            }
            Action::StoreSteps(run, steps) => self.core.run_stepped(agent, run, steps).await?,
            Action::End(run, outcome) => {
                self.core.run_ended(agent, run, outcome).await?;
                self.link().tell(convert::stored(run));
                self.sessions.release(agent, run);
            }
            Action::Break(reason) => return Err(Error::field("frame", reason)),
        }
        Ok(())
    }

    async fn attach(&self, greeting: Greeting) -> Result<SessionEpoch, Error> {
        let epoch = self.core.attach(self.agent, &greeting).await?.epoch;
        // Before the agent hears of the stream: its calls for runs that were parked find them running.
        let reconciled = self.core.reconcile_runs(self.agent, &greeting.runs, true).await?;
        self.link().tell(convert::out(Out::Welcome(v1::Welcome {
            session_epoch: epoch.0,
            heartbeat_interval: Some(time::duration_to_wire(HEARTBEAT)),
            trust_digest: self.identity.digest(),
        })));
        tracing::info!(
            agent = %self.agent,
            epoch = epoch.0,
            keep = reconciled.keep.len(),
            forget = reconciled.forget.len(),
            "an agent's stream began"
        );
        self.tell(&reconciled.forget, &reconciled.cancel);
        // Only now jobs may be claimed for it: before, none of its rows can be a dispatch under way.
        self.sessions.insert(self.agent, epoch, greeting.slots, reconciled.keep, self.link());
        Ok(epoch)
    }

    fn tell(&self, forget: &[Run], cancel: &[Run]) {
        let link = self.link();
        for frame in forget
            .iter()
            .map(|run| convert::forget(*run))
            .chain(cancel.iter().map(|run| convert::cancel(*run)))
        {
            link.tell(frame);
        }
    }

    fn link(&self) -> Link {
        Link::new(self.frames.clone(), self.end.clone())
    }
}

fn heard(message: Result<Result<Option<v1::OpenRequest>, Status>, tokio::time::error::Elapsed>) -> Next {
    match message {
        Ok(Ok(Some(frame))) => Next::Frame(frame),
        Ok(Ok(None)) => Next::Over(None),
        Ok(Err(status)) => Next::Over(Some(status)),
        Err(_) => Next::Over(Some(Status::deadline_exceeded("no sign of life for 30 seconds"))),
    }
}
