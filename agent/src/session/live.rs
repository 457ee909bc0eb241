//! The thin task around the session's pure core: connects, reconnects, and carries frames and actions to and fro.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tradepost_domain::agent::HEARTBEAT;
use tradepost_domain::fleet::FleetEpoch;
use tradepost_domain::id::SessionEpoch;
use tradepost_runtime::ids::Ids;

use super::frame::{Dispatch, Outbound, RunKey, Told};
use super::link::{ControllerLink, LinkError, LinkFault, Stream};
use super::reconnect::{self, Reconnect};
use super::state::{Action, Local, State, on_frame, on_local};
use crate::journal::{Journal, Record};
use crate::wake::{Confirmed, Wake};

/// A stream without a welcome for this long is given up.
const WELCOME_WITHIN: Duration = Duration::from_secs(15);
/// More unsent frames than this mean that the controller does not read: the stream is given up.
const UNSENT_MAX: usize = 4_096;
/// Permits in one frame of a recount: with receipts of some kilobytes each, it stays small.
const RECOUNTED: usize = 8;
/// How long the end of the agent waits for the ends of runs to be stored.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Who does the runs.
pub trait Runs: Send + Sync {
    /// Begins a run. Its steps and its end come back as [`Local`] events.
    fn start(&self, dispatch: Dispatch);
    /// Asks a run to end, if its click has not been sent.
    fn stop(&self, run: RunKey);
}

/// What the session needs.
pub struct Live {
    /// The controller.
    pub link: Arc<dyn ControllerLink>,
    /// The runs.
    pub runs: Arc<dyn Runs>,
    /// The pure core.
    pub state: State,
    /// What happens in the runs.
    pub events: mpsc::Receiver<Local>,
    /// The stream's number while there is one.
    pub epoch: watch::Sender<Option<SessionEpoch>>,
    /// Why the controller does not accept this agent; none while it does, or is not known to.
    pub refusal: watch::Sender<Option<String>>,
    /// What is known of earlier streams and permits.
    pub journal: Arc<Journal>,
    /// Whether the PC has slept: a stream of before is given up.
    pub wake: Wake,
    /// Which runs the controller has confirmed, and when.
    pub confirmed: watch::Sender<Confirmed>,
    /// For jitter.
    pub ids: Ids,
    /// Says that the agent is to end, once its runs have.
    pub shutdown: CancellationToken,
}

/// How a stream ended.
enum End {
    Lost(LinkError),
    Left(Duration),
    Finished,
}

impl Live {
    /// Runs until the agent is to end and its runs have ended.
    pub async fn run(mut self) {
        let mut reconnect = Reconnect::new(&self.ids);
        loop {
            let link = Arc::clone(&self.link);
            let wakes = self.wake.count();
            let hello = self.state.hello(self.journal.state().knowledge());
            let opening = async move { link.open(hello).await };
            let end = match self.meanwhile(opening).await {
                None => return,
                Some(Ok(stream)) => {
                    let (end, welcomed) = self.converse(stream, wakes).await;
                    if welcomed {
                        reconnect.reset();
                    }
                    end
                }
                Some(Err(error)) => End::Lost(error),
            };
            self.epoch.send_replace(None);
            let delay = match end {
                End::Finished => return,
                End::Left(delay) => delay.max(reconnect::FIRST.mul_f64(self.ids.unit())),
                End::Lost(error) => {
                    let usual = reconnect.delay(error.fault, self.ids.unit());
                    let delay = error.retry_after.unwrap_or(usual);
                    if error.fault == LinkFault::Identity {
                        self.refused(&error);
                    }
                    report(&error, delay);
                    delay
                }
            };
            if self.meanwhile(tokio::time::sleep(delay)).await.is_none() {
                return;
            }
        }
    }

    /// Before anything is done over the stream: what it is numbered by is never forgotten.
    async fn note_welcome(&self, session_epoch: SessionEpoch, fleet_epoch: FleetEpoch) {
        let record = Record::Welcomed { fleet_epoch, session_epoch };
        if let Err(error) = self.journal.append_async(record).await {
            tracing::error!(%error, "the stream's number is not journalled");
        }
    }

    /// The controller does not accept this agent: nobody wants its runs any more.
    fn refused(&mut self, error: &LinkError) {
        self.refusal.send_replace(Some(error.message.clone()));
        let actions = on_local(&mut self.state, Local::Refused);
        self.act_alone(actions);
    }

    /// Waits for `future` while runs go on without a stream; none when the agent has nothing left to do.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(future);
        let shutdown = self.shutdown.clone();
        let mut given_up = None;
        loop {
            if shutdown.is_cancelled() {
                on_local(&mut self.state, Local::Draining);
                if self.state.is_idle() {
                    if !self.state.owes_reports() {
                        return None;
                    }
                    given_up.get_or_insert_with(|| Instant::now() + LAST_REPORTS);
                }
            }
            tokio::select! {
                value = &mut future => return Some(value),
                Some(event) = self.events.recv() => {
                    let actions = on_local(&mut self.state, event);
                    self.act_alone(actions);
                }
                () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
                () = sleep_until(given_up) => return None,
            }
        }
    }

    /// Actions without a stream: frames are said again on the next one.
    fn act_alone(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(dispatch) => self.runs.start(*dispatch),
                Action::Stop(run) => self.runs.stop(run),
                Action::Send(_) | Action::Welcomed { .. } | Action::Recount | Action::Leave { .. } => {}
            }
        }
    }

    /// One stream; also says whether the controller has welcomed it.
    async fn converse(&mut self, stream: Stream, wakes: u64) -> (End, bool) {
        let Stream { outbound, mut inbound } = stream;
        let mut unsent: VecDeque<Outbound> = VecDeque::new();
        let mut heartbeat = ticker(HEARTBEAT);
        let welcome_by = Instant::now() + WELCOME_WITHIN;
        let mut welcomed = false;
        let mut last_reports = None;
        let mut woken = self.wake.changes();
        loop {
            let draining = self.shutdown.is_cancelled();
            if draining {
                on_local(&mut self.state, Local::Draining);
                if self.state.is_idle() {
                    last_reports.get_or_insert_with(|| Instant::now() + LAST_REPORTS);
                    if !self.state.owes_reports() && unsent.is_empty() {
                        return (End::Finished, welcomed);
                    }
                }
            }
            let actions = tokio::select! {
                biased;
                () = self.shutdown.cancelled(), if !draining => continue,
                // The other end has given it up meanwhile, or will; what the controller wants now is on a new one.
                _ = woken.wait_for(|count| *count != wakes) => return (End::Left(Duration::ZERO), welcomed),
                () = sleep_until(last_reports) => return (End::Finished, welcomed),
                () = tokio::time::sleep_until(welcome_by), if !welcomed => {
                    return (End::Lost(LinkError::unavailable("the controller did not greet in time")), false);
                }
                _ = heartbeat.tick() => on_local(&mut self.state, Local::HeartbeatDue),
                place = outbound.reserve(), if !unsent.is_empty() => {
                    match (place, unsent.pop_front()) {
                        (Ok(place), Some(frame)) => place.send(frame),
                        _ => return (End::Lost(LinkError::unavailable("the stream has ended")), welcomed),
                    }
                    continue;
                }
                frame = inbound.next() => match frame {
                    Some(Ok(frame)) => on_frame(&mut self.state, frame),
                    Some(Err(error)) => return (End::Lost(error), welcomed),
                    None => return (End::Lost(LinkError::unavailable("the controller has ended the stream")), welcomed),
                },
                Some(event) = self.events.recv() => on_local(&mut self.state, event),
            };
            for action in actions {
                match action {
                    Action::Send(frame) => unsent.push_back(frame),
                    Action::Start(dispatch) => self.runs.start(*dispatch),
                    Action::Stop(run) => self.runs.stop(run),
                    Action::Welcomed { epoch, heartbeat: interval, fleet, kept } => {
                        welcomed = true;
                        heartbeat = ticker(interval);
                        self.note_welcome(epoch, fleet).await;
                        self.epoch.send_replace(Some(epoch));
                        self.refusal.send_replace(None);
                        self.confirmed.send_replace(Confirmed { wakes, runs: kept });
                        tracing::info!(epoch = epoch.0, fleet = fleet.0, "connected to the controller");
                    }
                    Action::Recount => {
                        tracing::warn!(
                            "the controller's database is an older copy: it is told what the journal knows"
                        );
                        unsent.extend(recount(self.journal.state().told()));
                    }
                    Action::Leave { retry_after, reason } => {
                        tracing::info!(reason, ?retry_after, "the controller ends the stream");
                        return (End::Left(retry_after), welcomed);
                    }
                }
            }
            if unsent.len() > UNSENT_MAX {
                return (
                    End::Lost(LinkError::unavailable("the controller does not read its stream")),
                    welcomed,
                );
            }
        }
    }
}

/// The frames of a recount, the last of them marked.
fn recount(told: Vec<Told>) -> Vec<Outbound> {
    let mut frames: Vec<Outbound> =
        told.chunks(RECOUNTED).map(|permits| Outbound::Recount(permits.to_vec(), false)).collect();
    frames.push(Outbound::Recount(Vec::new(), true));
    frames
}

fn ticker(interval: Duration) -> tokio::time::Interval {
    let mut ticker = tokio::time::interval_at(Instant::now() + interval, interval);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// Never, when there is no such time.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn report(error: &LinkError, delay: Duration) {
    let cause = &error.message;
    match error.fault {
        LinkFault::Unavailable => {
            tracing::warn!(error = cause, ?delay, "no stream to the controller; trying again");
        }
        LinkFault::Identity | LinkFault::Refused => {
            tracing::error!(
                error = cause,
                ?delay,
                "the controller refuses this agent; see `tradepost agents show` there"
            );
        }
    }
}
