//! The task around one stream: reads frames, does what [`super::state`] says, ends cleanly.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tradepost_domain::agent::HEARTBEAT;
use tradepost_domain::fleet::Knowledge;
use tradepost_domain::id::{AgentId, SessionEpoch, WorkspaceId};
use tradepost_proto::convert::time;
use tradepost_proto::v1;
use tradepost_proto::v1::open_response::Frame as Out;

use super::convert;
use super::registry::{Link, Sessions};
use super::state::{Action, Part, State, on_frame, schedule};
use crate::service::run::{Run, Verdict};
use crate::service::stream::{Attached, Greeting, Reconciled};
use crate::service::{Core, Error};

/// A stream that is silent for longer has lost its agent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Steps wait this long for others to be stored with them.
const BATCH_DELAY: Duration = Duration::from_millis(15);
/// A stream lives this long, ± 10 %; then the agent comes back, perhaps to another controller.
const AGE: Duration = Duration::from_secs(3600);

/// Names the roots and the CA that certificates come from now.
pub type TrustDigest = Arc<dyn Fn() -> String + Send + Sync>;

/// One stream of one agent.
pub struct Connection {
    /// Use cases.
    pub core: Core,
    /// Who is attached.
    pub sessions: Sessions,
    /// Whose stream.
    pub agent: AgentId,
    /// Gives the digest of the roots and the CA that agents are told.
    pub trust: TrustDigest,
    /// Where frames to the agent go.
    pub frames: mpsc::Sender<Result<v1::OpenResponse, Status>>,
    /// Ends the stream.
    pub end: CancellationToken,
    /// How errors look on the wire.
    pub status: fn(Error) -> Status,
}

/// An agent that was greeted and has still to recount its journal before it gets work.
struct Pending {
    epoch: SessionEpoch,
    workspace: WorkspaceId,
    slots: u32,
    keep: Vec<Run>,
    knowledge: Knowledge,
}

/// What is known of the stream's begin.
#[derive(Default)]
pub struct Begun {
    /// The stream's number, once it has begun.
    pub epoch: Option<SessionEpoch>,
    pending: Option<Pending>,
}

enum Next {
    Frame(v1::OpenRequest),
    Flush,
    Over(Option<Status>),
}

/// Frames taken from a stream before their actions are done.
const TAKEN_AT_ONCE: usize = 256;

impl Connection {
    /// Serves the stream to its end.
    pub async fn serve(self, inbound: Streaming<v1::OpenRequest>) {
        let mut begun = Begun::default();
        let ended = self.run(inbound, &mut begun).await;
        if let Some(epoch) = begun.epoch {
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

    async fn run(&self, mut inbound: Streaming<v1::OpenRequest>, begun: &mut Begun) -> Option<Status> {
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
            let mut open = Ok(());
            let actions = match next {
                Next::Over(status) => {
                    // What was told is stored even if the stream has ended.
                    if let Err(error) = self.act_all(state.take_steps(), begun).await {
                        tracing::info!(agent = %self.agent, %error, "the last steps of a stream were not stored");
                    }
                    return status;
                }
                Next::Flush => state.take_steps(),
                Next::Frame(first) => {
                    let (frames, ended) = take_more(first, &mut inbound);
                    open = ended;
                    let mut actions = Vec::new();
                    for message in frames {
                        match convert::frame(self.agent, message) {
                            Ok(frame) => actions.extend(on_frame(&mut state, frame)),
                            Err(violations) => open = Err(Some((self.status)(violations.into()))),
                        }
                    }
                    actions
                }
            };
            if let Err(error) = self.act_all(actions, begun).await {
                return Some((self.status)(error));
            }
            if let Err(status) = open {
                if let Err(error) = self.act_all(state.take_steps(), begun).await {
                    tracing::info!(agent = %self.agent, %error, "the last steps of a stream were not stored");
                }
                return status;
            }
        }
    }

    /// Does what frames mean; runs do not wait for each other. `begun` is what is known of the stream's begin. An error ends
    /// the stream.
    pub async fn act_all(&self, actions: Vec<Action>, begun: &mut Begun) -> Result<(), Error> {
        for mut part in schedule(actions) {
            if part.len() == 1 {
                for action in part.remove(0) {
                    self.act(action, begun).await?;
                }
                continue;
            }
            let done = part.into_iter().map(|actions| self.act_of_run(actions));
            for did in futures::future::join_all(done).await {
                did?;
            }
        }
        Ok(())
    }

    /// Does what frames about one run ask for, in their order.
    async fn act_of_run(&self, actions: Vec<Action>) -> Result<(), Error> {
        for action in actions {
            self.act(action, &mut Begun::default()).await?;
        }
        Ok(())
    }

    /// Does what one frame asks for.
    async fn act(&self, action: Action, begun: &mut Begun) -> Result<(), Error> {
        let agent = self.agent;
        match action {
            Action::Attach(greeting) => *begun = self.attach(greeting).await?,
            Action::Recount(permits, part) => {
                self.core.told(agent, permits).await?;
                if part == Part::Last
                    && let Some(Pending { epoch, workspace, slots, keep, knowledge }) = begun.pending.take()
                {
                    self.core.recounted(agent, &knowledge).await?;
                    tracing::info!(%agent, epoch = epoch.0, "an agent has recounted its journal");
                    self.sessions.insert(agent, workspace, epoch, slots, keep, self.link());
                }
            }
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

    async fn attach(&self, greeting: Greeting) -> Result<Begun, Error> {
        let Attached { epoch, workspace, fleet, owes_recount } =
            self.core.attach(self.agent, &greeting).await?;
        // Before the agent hears of the stream: its calls for runs that were parked find them running.
        let reconciled = self.core.reconcile_runs(self.agent, &greeting.runs, true).await?;
        self.link().tell(convert::out(Out::Welcome(v1::Welcome {
            session_epoch: epoch.0,
            heartbeat_interval: Some(time::duration_to_wire(HEARTBEAT)),
            fleet_epoch: fleet.0,
            recount: owes_recount,
            kept: Some(v1::KeptRuns { runs: reconciled.keep.iter().map(|run| (*run).into()).collect() }),
            trust_digest: (self.trust)(),
        })));
        tracing::info!(
            agent = %self.agent,
            epoch = epoch.0,
            keep = reconciled.keep.len(),
            forget = reconciled.forget.len(),
            "an agent's stream began"
        );
        self.tell(&reconciled.forget, &reconciled.cancel);
        if owes_recount {
            let pending = Pending {
                epoch,
                workspace,
                slots: greeting.slots,
                keep: reconciled.keep,
                knowledge: greeting.knowledge,
            };
            return Ok(Begun { epoch: Some(epoch), pending: Some(pending) });
        }
        // Only now jobs may be claimed for it: before, none of its rows can be a dispatch under way.
        self.sessions.insert(self.agent, workspace, epoch, greeting.slots, reconciled.keep, self.link());
        Ok(Begun { epoch: Some(epoch), pending: None })
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

/// The frame, and those that have arrived behind it; and how the stream ended, if it did meanwhile.
fn take_more(
    first: v1::OpenRequest,
    inbound: &mut Streaming<v1::OpenRequest>,
) -> (Vec<v1::OpenRequest>, Result<(), Option<Status>>) {
    let mut frames = vec![first];
    while frames.len() < TAKEN_AT_ONCE {
        match inbound.message().now_or_never() {
            Some(Ok(Some(frame))) => frames.push(frame),
            Some(Ok(None)) => return (frames, Err(None)),
            Some(Err(status)) => return (frames, Err(Some(status))),
            None => break,
        }
    }
    (frames, Ok(()))
}

fn heard(message: Result<Result<Option<v1::OpenRequest>, Status>, tokio::time::error::Elapsed>) -> Next {
    match message {
        Ok(Ok(Some(frame))) => Next::Frame(frame),
        Ok(Ok(None)) => Next::Over(None),
        Ok(Err(status)) => Next::Over(Some(status)),
        Err(_) => Next::Over(Some(Status::deadline_exceeded("no sign of life for 30 seconds"))),
    }
}
