//! One agent process: its start, what it has left to report, and its stream. Mirrors `agent::agent` and `agent::session::live`
//! around the same pure state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{Either, join_all, select};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tradepost_agent::journal::{Outcome, PermitRequest, Record, Recovery};
use tradepost_agent::platform::clock::Clocks;
use tradepost_agent::session::convert;
use tradepost_agent::session::frame::{Inbound, Outbound, RunKey};
use tradepost_agent::session::link::{LinkError, LinkFault};
use tradepost_agent::session::state::{Action, Local, State, on_frame, on_local};
use tradepost_agent::wake::{Confirmed, Wake};
use tradepost_domain::agent::HEARTBEAT;
use tradepost_domain::id::{BootId, PermitId, RunLease, SessionEpoch};
use tradepost_domain::time::Timestamp;
use tradepost_proto::v1::{OpenRequest, OpenResponse};
use tradepost_runtime::ids::Ids;

use super::disk::Journal;
use super::link::Link;
use super::{Machine, run};
use crate::executor::ProcessId;
use crate::net::{Inlet, Outlet};
use crate::plan::Bug;
use crate::world::{World, lock};

/// As in the real agent.
const RECOVER_BEFORE_STREAM: Duration = Duration::from_secs(10);
/// As in the real agent, or longer.
const TICK: Duration = Duration::from_secs(3);
const RECOUNTED: usize = 8;
const WELCOME_WITHIN: Duration = Duration::from_secs(15);
/// The real one sends a ping every 20 s and waits 10 s for its answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// One start of an agent.
pub(super) struct Agent {
    pub(super) world: Arc<World>,
    pub(super) machine: Arc<Machine>,
    pub(super) process: ProcessId,
    pub(super) boot: BootId,
    pub(super) ids: Ids,
    pub(super) link: Link,
    pub(super) journal: Journal,
    pub(super) shutdown: CancellationToken,
    pub(super) stops: Mutex<BTreeMap<RunKey, CancellationToken>>,
    state: Mutex<State>,
    epoch: Mutex<Option<SessionEpoch>>,
    welcomed: Notify,
    pub(super) wake: Wake,
    confirmed: watch::Sender<Confirmed>,
    unsent: Mutex<VecDeque<Outbound>>,
    to_send: Notify,
}

/// The clocks of a machine, as the real agent reads them.
#[derive(Debug)]
struct MachineClocks(Arc<World>, Arc<Machine>);

impl Clocks for MachineClocks {
    fn boottime(&self) -> Duration {
        self.1.boottime(&self.0)
    }

    fn wall(&self) -> Timestamp {
        self.1.wall()
    }
}

/// How the controller took an outcome.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted,
    Refused(LinkError),
}

/// Why a stream ended.
#[derive(Debug)]
enum End {
    Lost(&'static str),
    Left(Duration),
}

impl Agent {
    pub(super) fn new(world: &Arc<World>, machine: &Arc<Machine>) -> Arc<Self> {
        let ids = Ids::seeded(u64::try_from(world.exec.below(usize::MAX)).unwrap_or(1));
        let boot = BootId(ids.uuid(machine.wall()));
        Arc::new(Self {
            process: world.exec.process(),
            boot,
            ids,
            link: Link::new(world, machine),
            journal: Journal::open(world, machine),
            shutdown: CancellationToken::new(),
            stops: Mutex::default(),
            state: Mutex::new(State::new(boot, machine.slots)),
            epoch: Mutex::default(),
            welcomed: Notify::new(),
            wake: Wake::new(Arc::new(MachineClocks(Arc::clone(world), Arc::clone(machine)))),
            confirmed: watch::Sender::new(Confirmed::default()),
            unsent: Mutex::default(),
            to_send: Notify::new(),
            world: Arc::clone(world),
            machine: Arc::clone(machine),
        })
    }

    pub(super) fn drain(&self) -> bool {
        self.shutdown.cancel();
        let mut state = lock(&self.state);
        on_local(&mut state, Local::Draining);
        state.is_idle()
    }

    /// Whether it has no run, and nothing to report.
    pub(super) fn is_done(&self) -> bool {
        let state = lock(&self.state);
        state.is_idle() && !state.owes_reports() && self.journal.state().open().next().is_none()
    }

    pub(super) async fn main(self: Arc<Self>) {
        self.end_leftovers().await;
        self.recover().await;
        let ticking = Arc::clone(&self);
        self.world.exec.spawn(self.process, async move {
            loop {
                ticking.pause(TICK).await;
                ticking.wake.count();
            }
        });
        let mut tries = 0_u32;
        loop {
            let wakes = self.wake.count();
            let mut knowledge = self.journal.state().knowledge();
            if self.world.has(Bug::TellNothing) {
                knowledge.permits.clear();
                knowledge.whole_since = RunLease(0);
            }
            let hello = lock(&self.state).hello(knowledge);
            let delay = match self.link.open(hello).await {
                Ok((to, from)) => match self.converse(to, from, &mut tries, wakes).await {
                    End::Left(delay) => delay,
                    End::Lost(why) => {
                        self.world.say(|| format!("machine {}: stream lost: {why}", self.machine.index));
                        self.backoff(&mut tries)
                    }
                },
                Err(error) if error.fault == LinkFault::Identity => Duration::from_secs(64),
                Err(_) => self.backoff(&mut tries),
            };
            *lock(&self.epoch) = None;
            self.pause(delay).await;
        }
    }

    /// What an earlier process has left running, and runs that it had.
    async fn end_leftovers(&self) {
        let leftovers = self.journal.state().processes();
        if !leftovers.is_empty() {
            self.pause(self.world.exec.between(Duration::ZERO, Duration::from_millis(300))).await;
            for chrome in lock(&self.machine.chromes).iter() {
                if leftovers.contains(&chrome.process) {
                    chrome.kill(&self.world);
                }
            }
            self.journal.append(Record::ProcessesEnded { processes: leftovers }).await;
        }
        for run in self.journal.state().runs() {
            self.journal.append(Record::RunEnded { run }).await;
        }
    }

    /// Reports what the journal has, before the first stream if the controller answers soon.
    async fn recover(self: &Arc<Self>) {
        let recoveries = self.journal.state().recovery();
        if recoveries.is_empty() {
            return;
        }
        let (ended, all_ended) = futures::channel::oneshot::channel::<()>();
        let reporting: Vec<_> =
            recoveries.into_iter().map(|recovery| self.clone().report(recovery)).collect();
        self.world.exec.spawn(self.process, async move {
            join_all(reporting).await;
            drop(ended);
        });
        let waited = self.machine.within(&self.world, RECOVER_BEFORE_STREAM, all_ended).await;
        if waited.is_none() {
            self.world.count("what an agent has left is reported after its stream began");
        }
    }

    async fn report(self: Arc<Self>, recovery: Recovery) {
        match recovery {
            Recovery::AskAgain(request) => {
                self.world.count("a restarted agent asks for a permit again");
                self.ask_again(request).await;
            }
            Recovery::Settle { permit, request, mut outcome } => {
                if self.world.has(Bug::RecoverAsNotClicked) && matches!(outcome, Outcome::Uncertain(_)) {
                    outcome = Outcome::NotClicked(String::from("a bug"));
                }
                self.world.count(match outcome {
                    Outcome::Confirmed(_) => "a restarted agent reports a confirmed click",
                    Outcome::NotClicked(_) => "a restarted agent gives a permit back",
                    Outcome::Uncertain(_) => "a restarted agent reports an uncertain click",
                });
                self.settle(permit, &request, &outcome).await;
            }
        }
    }

    /// Tells the outcome of a permit until the controller has answered.
    pub(super) async fn settle(
        &self,
        permit: PermitId,
        request: &PermitRequest,
        outcome: &Outcome,
    ) -> Answer {
        let mut delay = Duration::from_millis(500);
        let answer = loop {
            match self.link.settle(permit, request, outcome).await {
                Ok(()) => break Answer::Accepted,
                Err(error) if error.fault != LinkFault::Refused => {
                    self.pause(error.retry_after.unwrap_or_else(|| delay.mul_f64(self.ids.unit()))).await;
                    delay = (delay * 2).min(Duration::from_secs(15));
                }
                Err(error) => {
                    self.world.count("a settlement is refused");
                    self.world.say(|| format!("machine {}: settlement refused: {error}", self.machine.index));
                    break Answer::Refused(error);
                }
            }
        };
        let record = match &answer {
            Answer::Accepted => Record::Settled { permit },
            Answer::Refused(_) => Record::Refused { permit },
        };
        self.journal.append(record).await;
        answer
    }

    /// Finds out whether a permit was given, and gives it back.
    pub(super) async fn ask_again(&self, request: PermitRequest) {
        let mut delay = Duration::from_millis(500);
        loop {
            match self.link.acquire_permit(&request).await {
                Ok(granted) => {
                    let (name, permit) = (request.request.clone(), granted.permit);
                    self.journal.append(Record::Permit { request: name, permit, ttl: granted.ttl }).await;
                    let outcome =
                        Outcome::NotClicked(String::from("the permit's answer was lost; it was not used"));
                    self.journal.append(Record::Outcome { permit, outcome: outcome.clone() }).await;
                    self.settle(permit, &request, &outcome).await;
                    return;
                }
                Err(error) if error.fault != LinkFault::Refused => {
                    self.pause(error.retry_after.unwrap_or_else(|| delay.mul_f64(self.ids.unit()))).await;
                    delay = (delay * 2).min(Duration::from_secs(15));
                }
                Err(_) => {
                    self.journal.append(Record::PermitDenied { request: request.request }).await;
                    return;
                }
            }
        }
    }

    async fn converse(
        self: &Arc<Self>,
        to: Outlet<OpenRequest>,
        mut from: Inlet<OpenResponse>,
        tries: &mut u32,
        wakes: u64,
    ) -> End {
        lock(&self.unsent).clear();
        let begun = self.plain();
        let (mut beat, mut heard, mut greeted) = (begun + HEARTBEAT, begun, false);
        loop {
            while let Some(frame) = lock(&self.unsent).pop_front() {
                if !to.send(convert::outbound(frame)) {
                    return End::Lost("the controller went");
                }
            }
            if self.wake.count() != wakes {
                self.world.count("a stream is given up after a sleep");
                return End::Left(Duration::ZERO);
            }
            let now = self.plain();
            if now >= beat {
                beat = now + HEARTBEAT;
                self.local(Local::HeartbeatDue);
                continue;
            }
            if !greeted && now >= begun + WELCOME_WITHIN {
                return End::Lost("no welcome");
            }
            if now >= heard + SILENCE_MAX + SILENCE_MAX {
                return End::Lost("silence");
            }
            let waiting = Box::pin(select(
                Box::pin(self.to_send.notified()),
                Box::pin(self.pause(beat.saturating_sub(now))),
            ));
            let message = match select(Box::pin(from.next()), waiting).await {
                Either::Left((Some(message), _)) => message,
                Either::Left((None, _)) => return End::Lost("the controller ended it"),
                Either::Right(_) => continue,
            };
            heard = self.plain();
            let Ok(Some(frame)) = convert::inbound(message) else {
                self.world.violation(|| String::from("a frame of the controller cannot be read"));
                continue;
            };
            if let Inbound::Welcome { epoch, fleet, kept, .. } = &frame {
                greeted = true;
                *tries = 0;
                let record = Record::Welcomed { fleet_epoch: *fleet, session_epoch: *epoch };
                self.journal.append(record).await;
                self.confirmed.send_replace(Confirmed { wakes, runs: kept.clone() });
            }
            if let Some(left) = self.take(frame) {
                return End::Left(left);
            }
        }
    }

    /// Does what a frame of the controller asks for; the delay when it ends the stream.
    fn take(self: &Arc<Self>, frame: Inbound) -> Option<Duration> {
        let actions = on_frame(&mut lock(&self.state), frame);
        self.act(actions)
    }

    /// Something happened here.
    pub(super) fn local(self: &Arc<Self>, event: Local) {
        let actions = on_local(&mut lock(&self.state), event);
        self.act(actions);
    }

    fn act(self: &Arc<Self>, actions: Vec<Action>) -> Option<Duration> {
        let mut leave = None;
        for action in actions {
            match action {
                Action::Send(frame) => {
                    lock(&self.unsent).push_back(frame);
                    self.to_send.notify_one();
                }
                Action::Start(dispatch) => {
                    let stop = self.shutdown.child_token();
                    lock(&self.stops).insert(dispatch.run, stop.clone());
                    self.world.exec.spawn(self.process, run::execute(Arc::clone(self), *dispatch, stop));
                }
                Action::Stop(run) => {
                    if let Some(stop) = lock(&self.stops).get(&run) {
                        stop.cancel();
                    }
                }
                Action::Welcomed { epoch, .. } => {
                    *lock(&self.epoch) = Some(epoch);
                    self.welcomed.notify_waiters();
                }
                Action::Recount => {
                    self.world.count("an agent recounts its journal");
                    let mut unsent = lock(&self.unsent);
                    let mut told = self.journal.state().told();
                    if self.world.has(Bug::TellNothing) {
                        told.clear();
                    }
                    for permits in told.chunks(RECOUNTED) {
                        unsent.push_back(Outbound::Recount(permits.to_vec(), false));
                    }
                    unsent.push_back(Outbound::Recount(Vec::new(), true));
                }
                Action::Leave { retry_after, .. } => {
                    self.world.count("a controller sends an agent away");
                    leave = Some(retry_after);
                }
            }
        }
        leave
    }

    /// The stream's number, once there is a stream.
    pub(super) async fn epoch(&self) -> SessionEpoch {
        loop {
            let told = self.welcomed.notified();
            if let Some(epoch) = self.epoch_now() {
                return epoch;
            }
            told.await;
        }
    }

    /// After a sleep: what the controller says of the runs on a stream that was opened since.
    pub(super) async fn confirmation(&self) -> Confirmed {
        let wakes = self.wake.count();
        let mut told = self.confirmed.subscribe();
        let confirmed = told.wait_for(|last| last.wakes >= wakes).await.map(|last| last.clone());
        match confirmed {
            Ok(last) => last,
            // The sender is this agent's own.
            Err(_) => std::future::pending().await,
        }
    }

    pub(super) fn epoch_now(&self) -> Option<SessionEpoch> {
        *lock(&self.epoch)
    }

    /// Waits by the plain clock.
    pub(super) async fn pause(&self, time: Duration) {
        self.machine.sleep(&self.world, time).await;
    }

    fn plain(&self) -> Duration {
        self.world.exec.now()
    }

    fn backoff(&self, tries: &mut u32) -> Duration {
        let bound = if *tries == 0 {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(1 << (*tries - 1).min(4)).min(Duration::from_secs(15))
        };
        *tries += 1;
        bound.mul_f64(self.ids.unit())
    }
}
