//! A controller: the real use cases, registry, dispatch and sweeps, with the simulated store, network and time around them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tradepost_controller::background::{dispatch, hints};
use tradepost_controller::grpc::status;
use tradepost_controller::service::Core;
use tradepost_controller::service::recent::Recent;
use tradepost_controller::session::connection::{Begun, Connection};
use tradepost_controller::session::registry::OUTBOUND;
use tradepost_controller::session::state::{Action, State, on_frame};
use tradepost_controller::session::{Sessions, convert};
use tradepost_domain::id::{AgentId, ControllerId};
use tradepost_proto::v1::{OpenRequest, OpenResponse};
use tradepost_runtime::clock::SharedClock;
use tradepost_runtime::ids::Ids;
use tradepost_store::Store;

use crate::executor::{Handle, ProcessId};
use crate::net::{Inlet, Outlet, within};
use crate::store::SlowStore;
use crate::world::{World, lock};

/// After a start, leases are not ended for this long (as the real one does).
const GRACE: Duration = Duration::from_secs(10);
/// Periods of the rounds, as the real ones or longer.
const DISPATCH: Duration = Duration::from_secs(2);
const SWEEP: Duration = Duration::from_secs(3);
const TOUCH: Duration = Duration::from_secs(5);
/// As in the real connection.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const BATCH_DELAY: Duration = Duration::from_millis(15);

/// A place where a controller runs, or not.
#[derive(Debug)]
pub struct Controller {
    index: usize,
    running: Mutex<Option<Running>>,
    cut_off: AtomicBool,
}

/// A running controller.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its process.
    pub process: ProcessId,
    /// Its use cases.
    pub core: Core,
    sessions: Sessions,
}

impl Controller {
    /// Not running.
    pub fn new(index: usize) -> Self {
        Self { index, running: Mutex::default(), cut_off: AtomicBool::new(false) }
    }

    /// The one that runs here.
    pub fn running(&self) -> Option<Running> {
        lock(&self.running).clone()
    }

    /// Whether its database cannot be reached.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Cuts it off its database, or not.
    pub fn cut_off(&self, cut: bool) {
        self.cut_off.store(cut, Ordering::Relaxed);
    }

    /// Ends it wherever it stands.
    pub fn crash(&self, world: &World) {
        if let Some(running) = lock(&self.running).take() {
            world.exec.kill(running.process);
            world.say(|| format!("controller {}: is dead", self.index));
        }
    }

    /// Starts it, unless it runs.
    pub fn start(&self, world: &Arc<World>) {
        if lock(&self.running).is_some() {
            return;
        }
        let exec = world.exec.clone();
        let process = exec.process();
        // Clocks of controllers are synchronised, but not perfectly.
        let offset = i64::try_from(exec.below(100_000)).unwrap_or(0) - 50_000;
        let clock = Arc::new(world.wall_clock(offset));
        let store = Arc::new(SlowStore { world: Arc::clone(world), controller: self.index });
        let core = core(world, store, clock.clone());
        world.say(|| format!("controller {}: starts as {}", self.index, core.controller));
        let running = Running { process, core, sessions: Sessions::new(clock) };
        background(&exec, &running);
        *lock(&self.running) = Some(running);
    }

    /// Takes a stream of an agent; false when nobody listens.
    pub fn accept(
        &self,
        world: &Arc<World>,
        agent: AgentId,
        inbound: Inlet<OpenRequest>,
        outbound: Outlet<OpenResponse>,
    ) -> bool {
        let Some(running) = self.running() else { return false };
        let process = running.process;
        let (frames, mut receiver) = mpsc::channel(OUTBOUND);
        let end = CancellationToken::new();
        let connection = Connection {
            core: running.core,
            sessions: running.sessions,
            agent,
            // Certificates are not part of the simulation: its agents are who they say they are.
            trust: Arc::new(String::new),
            frames,
            end: end.clone(),
            status: status::from,
        };
        world.exec.spawn(process, async move {
            while let Some(Ok(frame)) = receiver.recv().await {
                if !outbound.send(frame) {
                    end.cancel();
                }
            }
        });
        let stream = Stream { world: Arc::clone(world), controller: self.index, connection };
        world.exec.spawn(process, stream.serve(inbound));
        true
    }
}

/// The use cases of a new controller.
pub fn core(world: &World, store: Arc<dyn Store>, clock: SharedClock) -> Core {
    let ids = Ids::seeded(u64::try_from(world.exec.below(usize::MAX)).unwrap_or(1));
    let controller = ControllerId(ids.uuid(world.now()));
    Core { store, clock, ids, controller, recent: Recent::default(), looks: Arc::default() }
}

/// The rounds that the real controller's background makes.
fn background(exec: &Handle, running: &Running) {
    let Running { process, core, sessions } = running.clone();
    let wake = Arc::new(Notify::new());
    let (round_core, round_sessions, woken, timer) =
        (core.clone(), sessions.clone(), Arc::clone(&wake), exec.clone());
    exec.spawn(process, async move {
        loop {
            // A round that fails is made again from the full state.
            drop(dispatch::round(&round_core, &round_sessions).await);
            select(Box::pin(woken.notified()), timer.sleep(jittered(&timer, DISPATCH))).await;
        }
    });
    let (sweep_core, timer) = (core.clone(), exec.clone());
    exec.spawn(process, async move {
        timer.sleep(GRACE).await;
        loop {
            drop(sweep_core.sweep_leases().await);
            timer.sleep(jittered(&timer, SWEEP)).await;
        }
    });
    let (sweep_core, timer) = (core.clone(), exec.clone());
    exec.spawn(process, async move {
        loop {
            drop(sweep_core.sweep_overdue().await);
            timer.sleep(jittered(&timer, SWEEP)).await;
        }
    });
    let (touch_core, touch_sessions, timer) = (core.clone(), sessions.clone(), exec.clone());
    exec.spawn(process, async move {
        loop {
            drop(dispatch::touch(&touch_core, &touch_sessions).await);
            timer.sleep(jittered(&timer, TOUCH)).await;
        }
    });
    let (window_core, timer) = (core.clone(), exec.clone());
    exec.spawn(process, async move {
        loop {
            drop(window_core.roll_windows().await);
            timer.sleep(jittered(&timer, SWEEP)).await;
        }
    });
    let (attached, woken) = (sessions.clone(), Arc::clone(&wake));
    exec.spawn(process, async move {
        loop {
            attached.changed().await;
            woken.notify_one();
        }
    });
    let mut told = core.store.hints();
    let chance = exec.clone();
    exec.spawn(process, async move {
        loop {
            match told.recv().await {
                // A hint may be lost: sweeps find everything without it.
                Ok(hint) if !chance.chance(0.1) => hints::follow(&core, &sessions, &wake, hint).await,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
}

fn jittered(exec: &Handle, period: Duration) -> Duration {
    period.mul_f64(0.9 + 0.2 * exec.unit())
}

/// The task around one stream, as `session::connection` has it over the wire.
struct Stream {
    world: Arc<World>,
    controller: usize,
    connection: Connection,
}

enum Next {
    Frame(OpenRequest),
    Flush,
    Over(&'static str),
}

impl Stream {
    async fn serve(self, inbound: Inlet<OpenRequest>) {
        let mut begun = Begun::default();
        let why = self.run(inbound, &mut begun).await;
        let attached = begun.epoch;
        let Connection { core, sessions, agent, .. } = &self.connection;
        self.world
            .say(|| format!("controller {}: stream {attached:?} of {agent} ends: {why}", self.controller));
        if let Some(epoch) = attached {
            sessions.remove(*agent, epoch);
            drop(core.detach(*agent, epoch).await);
        }
    }

    async fn run(&self, mut inbound: Inlet<OpenRequest>, begun: &mut Begun) -> String {
        let mut state = State::default();
        loop {
            let actions = match self.next(&mut inbound, state.has_steps()).await {
                Next::Over(why) => {
                    drop(self.connection.act_all(state.take_steps(), begun).await);
                    return why.to_owned();
                }
                Next::Flush => state.take_steps(),
                Next::Frame(message) => match convert::frame(self.connection.agent, message) {
                    Ok(frame) => on_frame(&mut state, frame),
                    Err(violations) => return violations.to_string(),
                },
            };
            let attaches = actions.iter().any(|action| matches!(action, Action::Attach(_)));
            for action in &actions {
                self.world.say(|| format!("controller {}: {}", self.controller, named(action)));
            }
            if let Err(error) = self.connection.act_all(actions, begun).await {
                return error.to_string();
            }
            if attaches {
                let agent = self.connection.agent;
                self.world
                    .say(|| format!("controller {}: {agent} attached as {:?}", self.controller, begun.epoch));
            }
        }
    }

    async fn next(&self, inbound: &mut Inlet<OpenRequest>, flush: bool) -> Next {
        let wait = if flush { BATCH_DELAY } else { SILENCE_MAX };
        let ended = self.connection.end.cancelled();
        let heard = within(&self.world, wait, inbound.next());
        match select(Box::pin(ended), Box::pin(heard)).await {
            Either::Left(_) => Next::Over("ended here"),
            Either::Right((Some(Some(frame)), _)) => Next::Frame(frame),
            Either::Right((Some(None), _)) => Next::Over("the agent went"),
            Either::Right((None, _)) if flush => Next::Flush,
            Either::Right((None, _)) => Next::Over("silence"),
        }
    }
}

fn named(action: &Action) -> String {
    match action {
        Action::Attach(greeting) => format!("attach with {:?}", greeting.runs),
        Action::StoreSteps(run, steps) => format!("{} steps of {run:?}", steps.len()),
        Action::End(run, outcome) => format!("end of {run:?}: {outcome:?}"),
        other => format!("{other:?}"),
    }
}
