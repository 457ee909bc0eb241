//! Agents without Chrome: each holds its stream over mutual TLS and does at once what a run asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tradepost_domain::publish::baseline_hash;
use tradepost_proto::v1;
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::Tasks;
use v1::agent_session_service_client::AgentSessionServiceClient;
use v1::open_request::Frame as In;
use v1::open_response::Frame as Out;
use v1::publish_permit_service_client::PublishPermitServiceClient;

use crate::controller::Place;
use crate::seller::{Enrolled, connect};

/// As the real agent.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Own listings that a simulated account has.
const BASELINE: [&str; 2] = ["11", "12"];

/// What a simulated run does between its dispatch and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Reports so many steps, and ends as rejected by the site before the click: one job, no publication.
    Steps(u32),
    /// The same steps, then the whole protocol: prepared, permit, settlement with a receipt.
    Publish(u32),
}

/// What agents tell of their work.
pub(crate) trait Observer: Send + Sync + 'static {
    /// A dispatch has arrived: the handler starts.
    fn started(&self, dispatch: &v1::Dispatch);
    /// The controller has stored a run's end.
    fn stored(&self, run: &v1::RunRef);
}

/// A fleet of agents, one task each; they end when this is dropped.
pub(crate) struct Fleet {
    tasks: Tasks,
}

/// Counts ends, and lets others wait for a number of them.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    seen: AtomicUsize,
    changed: Notify,
}

struct Agent {
    enrolled: Enrolled,
    place: Place,
    slots: u32,
    work: Work,
    observer: Arc<dyn Observer>,
    ids: Ids,
}

struct Session {
    channel: Channel,
    frames: mpsc::Sender<v1::OpenRequest>,
    epoch: i64,
    running: Vec<v1::RunRef>,
}

impl Fleet {
    /// Attaches `agents` and waits until the controller has welcomed every one.
    pub(crate) async fn start(
        place: &Place,
        agents: &[Enrolled],
        slots: u32,
        work: Work,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let tasks = Tasks::new();
        let welcomed = Arc::new(Counter::default());
        for enrolled in agents {
            let agent = Agent {
                enrolled: enrolled.clone(),
                place: place.clone(),
                slots,
                work,
                observer: Arc::clone(&observer),
                ids: Ids::from_system(),
            };
            let (welcomed, shutdown) = (Arc::clone(&welcomed), tasks.shutdown_token());
            tasks.spawn("agent", async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = agent.live(&welcomed) => {}
                }
            });
        }
        welcomed.reaches(agents.len(), Duration::from_secs(60)).await.context("agents do not attach")?;
        Ok(Self { tasks })
    }

    /// Ends every stream.
    pub(crate) async fn stop(self) {
        self.tasks.drain(Duration::from_secs(10)).await;
    }
}

impl Agent {
    /// Holds a stream, again and again.
    async fn live(&self, welcomed: &Counter) {
        let mut first = true;
        loop {
            let lost = self.attend(welcomed, &mut first).await;
            let pause = Duration::from_millis(200).mul_f64(0.5 + self.ids.unit());
            if let Err(error) = lost
                && first
            {
                complain(&format!("an agent does not attach yet: {error:#}"));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attend(&self, welcomed: &Counter, first: &mut bool) -> Result<()> {
        let channel = connect(&self.place, &self.place.agents, Some(self.enrolled.identity()?)).await?;
        let (frames, outgoing) = mpsc::channel(1024);
        let hello = v1::Hello {
            boot_id: self.ids.uuid(tradepost_domain::time::Timestamp::from_micros(0)).to_string(),
            version: "bench".into(),
            platform: "linux x86_64".into(),
            runs: Vec::new(),
            slots: self.slots,
            knowledge: None,
            join_counter: 0,
        };
        frames.send(frame(In::Hello(hello))).await?;
        let mut client = AgentSessionServiceClient::new(channel.clone());
        let mut answers = client.open(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut session = Session { channel, frames, epoch: 0, running: Vec::new() };
        let mut beat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        loop {
            let message = tokio::select! {
                message = answers.message() => message?.context("the stream ended")?,
                _ = beat.tick() => {
                    session.frames.send(frame(In::Heartbeat(v1::Heartbeat { runs: session.running.clone() }))).await?;
                    continue;
                }
            };
            match message.frame.context("an empty frame")? {
                Out::Welcome(welcome) => {
                    session.epoch = welcome.session_epoch;
                    if std::mem::take(first) {
                        welcomed.add();
                    }
                }
                Out::Dispatch(dispatch) => self.run(&mut session, *dispatch).await?,
                Out::RunEndedStored(v1::RunEndedStored { run: Some(run) }) => {
                    session.running.retain(|running| running.job_id != run.job_id);
                    self.observer.stored(&run);
                }
                Out::Forget(v1::Forget { run: Some(run) }) => {
                    session.running.retain(|running| *running != run);
                }
                Out::GoAway(_) => return Ok(()),
                _ => {}
            }
        }
    }

    async fn run(&self, session: &mut Session, dispatch: v1::Dispatch) -> Result<()> {
        self.observer.started(&dispatch);
        let run = dispatch.run.clone().context("a dispatch names its run")?;
        session.running.push(run.clone());
        session.frames.send(frame(In::Acknowledge(v1::Acknowledge { run: Some(run.clone()) }))).await?;
        let (Work::Steps(steps) | Work::Publish(steps)) = self.work;
        for seq in 1..=steps {
            session.frames.send(step(&run, seq, steps)).await?;
        }
        if let Work::Steps(_) = self.work {
            let rejected = v1::Failure {
                class: "listing_rejected".into(),
                step: "price".into(),
                message: "the site refuses the price".into(),
                ..v1::Failure::default()
            };
            return ended(&session.frames, run, v1::run_ended::Outcome::Failed(rejected)).await;
        }
        let (channel, frames, epoch) = (session.channel.clone(), session.frames.clone(), session.epoch);
        // Runs of different accounts do not wait for each other.
        Tasks::new().spawn("publication", async move {
            if let Err(error) = publish(channel, frames, epoch, run, dispatch).await {
                complain(&format!("a publication failed: {error:#}"));
            }
        });
        Ok(())
    }
}

async fn publish(
    channel: Channel,
    frames: mpsc::Sender<v1::OpenRequest>,
    epoch: i64,
    run: v1::RunRef,
    dispatch: v1::Dispatch,
) -> Result<()> {
    let task = dispatch.publish.context("a publish task")?;
    let mut permits = PublishPermitServiceClient::new(channel);
    let baseline = BASELINE.map(str::to_owned);
    let prepared = v1::RecordPreparedRequest {
        run: Some(run.clone()),
        intent_id: task.intent_id.clone(),
        session_epoch: epoch,
        baseline_item_ids: baseline.to_vec(),
        fingerprint: "f".into(),
    };
    permits.record_prepared(prepared).await?;
    let request = v1::AcquirePublishPermitRequest {
        permit_request_id: format!("permit-{}", run.run_lease),
        run: Some(run.clone()),
        intent_id: task.intent_id.clone(),
        generation: task.generation,
        session_epoch: epoch,
        baseline_sha256: baseline_hash(&baseline).to_string(),
        fingerprint: "f".into(),
    };
    let permit = permits.acquire_publish_permit(request).await?.into_inner();
    let item = v1::PublishedItem {
        item_id: format!("item-{}", run.run_lease),
        url: format!("http://127.0.0.1:9/item-{}", run.run_lease),
        strategy: "id_in_url".into(),
    };
    let receipt =
        v1::Receipt { item: Some(item), baseline_count: 2, recipe: "bench".into(), ..v1::Receipt::default() };
    let settlement = v1::SettlePublicationRequest {
        intent_id: task.intent_id,
        permit_id: permit.permit_id,
        run: Some(run.clone()),
        outcome: Some(v1::settle_publication_request::Outcome::Confirmed(v1::Confirmed {
            receipt: Some(receipt),
        })),
    };
    permits.settle_publication(settlement).await?;
    ended(&frames, run, v1::run_ended::Outcome::Succeeded(v1::Succeeded {})).await
}

async fn ended(
    frames: &mpsc::Sender<v1::OpenRequest>,
    run: v1::RunRef,
    outcome: v1::run_ended::Outcome,
) -> Result<()> {
    let end = v1::RunEnded { run: Some(run), outcome: Some(outcome) };
    frames.send(frame(In::RunEnded(end))).await.context("the stream ended")
}

fn step(run: &v1::RunRef, seq: u32, of: u32) -> v1::OpenRequest {
    let names = ["sign_in", "title", "price", "photos", "review"];
    let name = names.get(usize::try_from(seq).unwrap_or(0) % names.len()).copied().unwrap_or("step");
    let step = v1::Step {
        seq,
        phase: v1::Phase::Prepare.into(),
        name: name.into(),
        status: v1::StepStatus::Succeeded.into(),
        detail: "by its label".into(),
        index: seq,
        total: of,
        ..v1::Step::default()
    };
    frame(In::Step(v1::StepReport { run: Some(run.clone()), step: Some(step) }))
}

fn frame(frame: In) -> v1::OpenRequest {
    v1::OpenRequest { frame: Some(frame) }
}

/// One line for whoever watches.
pub(crate) fn complain(words: &str) {
    use std::io::Write;
    // Nothing is left to do if standard error is closed.
    drop(writeln!(std::io::stderr().lock(), "{words}"));
}

// === impl Counter ===

impl Counter {
    /// One more.
    pub(crate) fn add(&self) {
        self.seen.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// How many so far.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::Acquire)
    }

    /// Waits until there are `number`, for `deadline` at most.
    pub(crate) async fn reaches(&self, number: usize, deadline: Duration) -> Result<()> {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if self.seen() >= number {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(deadline, wait)
            .await
            .with_context(|| format!("{} of {number} within {deadline:?}", self.seen()))
    }
}
