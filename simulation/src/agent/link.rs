//! An agent's way to a controller: one connection behind a load balancer, calls that may be lost, late or doubled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use tradepost_agent::journal::{Outcome, PermitRequest};
use tradepost_agent::session::convert;
use tradepost_agent::session::frame::Hello;
use tradepost_agent::session::link::{Granted, LinkError, PreparedReport};
use tradepost_agent::session::remote::link_error;
use tradepost_controller::grpc::status;
use tradepost_controller::service::permit::{PermitRequest as Wanted, Prepared, Settlement};
use tradepost_controller::service::{Core, Error};
use tradepost_domain::id::{AgentId, ContentHash, PermitId};
use tradepost_domain::publish::PERMIT_TTL;
use tradepost_proto::v1::{OpenRequest, OpenResponse};

use super::Machine;
use crate::check::sound;
use crate::executor::WORLD;
use crate::net::{Inlet, Outlet, hop, pipe};
use crate::world::{World, lock};

/// As in the real link.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// The way from one agent process.
#[derive(Debug)]
pub(super) struct Link {
    world: Arc<World>,
    machine: Arc<Machine>,
    agent: AgentId,
    connected: Mutex<Option<usize>>,
}

impl Link {
    /// Not connected yet.
    pub(super) fn new(world: &Arc<World>, machine: &Arc<Machine>) -> Self {
        let (world, machine) = (Arc::clone(world), Arc::clone(machine));
        Self { agent: machine.agent, world, machine, connected: Mutex::default() }
    }

    /// Opens a stream with its first words, to any controller that listens.
    pub(super) async fn open(
        &self,
        hello: Hello,
    ) -> Result<(Outlet<OpenRequest>, Inlet<OpenResponse>), LinkError> {
        let target = self.world.exec.below(self.world.controllers.len());
        *lock(&self.connected) = None;
        self.world.exec.sleep(hop(&self.world) * 2).await;
        let route = (self.machine.index, target);
        if lock(&self.world.network).is_cut(route) {
            self.machine.sleep(&self.world, CALL_DEADLINE).await;
            return Err(LinkError::unavailable("no way to the controller"));
        }
        let (to, from_agent) = pipe(&self.world, route);
        let (to_agent, from) = pipe(&self.world, route);
        if !self.world.controllers[target].accept(&self.world, self.agent, from_agent, to_agent) {
            return Err(LinkError::unavailable("the connection was refused"));
        }
        // As agents of before join counters: certificates and copies of them are not part of the simulation.
        to.send(convert::hello(hello, 0));
        *lock(&self.connected) = Some(target);
        Ok((to, from))
    }

    /// Calls a use case of a controller.
    async fn call<T, F, C>(&self, name: &'static str, use_case: C) -> Result<T, LinkError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
        C: Fn(Core) -> F + Send + Sync + 'static,
    {
        let world = &self.world;
        let any = world.exec.below(world.controllers.len());
        let target = lock(&self.connected).unwrap_or(any);
        let (answer, answered) = oneshot::channel();
        let request = Arc::new(Request {
            world: Arc::clone(world),
            route: (self.machine.index, target),
            name,
            use_case,
            answer: Mutex::new(Some(answer)),
        });
        let copies = if world.fault("a call arrives twice", world.plan.call_twice) { 2 } else { 1 };
        for _ in 0..copies {
            world.exec.spawn(WORLD, Arc::clone(&request).travel());
        }
        drop(request);
        let answer = self.machine.within(world, CALL_DEADLINE, answered).await;
        if let Some(Ok(answer)) = answer {
            return answer.map_err(|error| link_error(&status::from(error)));
        }
        world.count("a call has no answer");
        *lock(&self.connected) = None;
        Err(LinkError::unavailable("the controller did not answer"))
    }

    /// Saves what was prepared.
    pub(super) async fn record_prepared(&self, report: PreparedReport) -> Result<(), LinkError> {
        let agent = self.agent;
        self.call("record_prepared", move |core| {
            let PreparedReport { run, intent, epoch, baseline, fingerprint } = report.clone();
            let prepared = Prepared { run: (run.job, run.lease), intent, epoch, baseline, fingerprint };
            async move { core.record_prepared(agent, prepared).await }
        })
        .await
    }

    /// Asks for a permit.
    pub(super) async fn acquire_permit(&self, request: &PermitRequest) -> Result<Granted, LinkError> {
        let (agent, request) = (self.agent, request.clone());
        let granted = self
            .call("acquire_permit", move |core| {
                let PermitRequest { request, run, intent, generation, epoch, baseline_sha256, fingerprint } =
                    request.clone();
                let held = baseline_sha256.parse::<ContentHash>();
                let run = (run.job, run.lease);
                async move {
                    let baseline_hash =
                        held.map_err(|error| Error::field("baseline_sha256", error.to_string()))?;
                    let wanted =
                        Wanted { request, run, intent, generation, epoch, baseline_hash, fingerprint };
                    core.acquire_permit(agent, wanted).await
                }
            })
            .await?;
        Ok(Granted { permit: granted.permit, ttl: granted.ttl.min(PERMIT_TTL) })
    }

    /// Tells what became of a permit.
    pub(super) async fn settle(
        &self,
        permit: PermitId,
        request: &PermitRequest,
        outcome: &Outcome,
    ) -> Result<(), LinkError> {
        let (agent, intent, run, outcome) =
            (self.agent, request.intent, (request.run.job, request.run.lease), outcome.clone());
        self.call("settle", move |core| {
            let settlement = match outcome.clone() {
                Outcome::Confirmed(receipt) => Settlement::Confirmed(receipt),
                Outcome::NotClicked(reason) => Settlement::NotClicked(reason),
                Outcome::Uncertain(reason) => Settlement::Uncertain(reason),
            };
            async move { core.settle(agent, intent, permit, run, settlement).await }
        })
        .await
    }
}

/// One call on its way.
struct Request<T, C> {
    world: Arc<World>,
    route: (usize, usize),
    name: &'static str,
    use_case: C,
    answer: Mutex<Option<oneshot::Sender<Result<T, Error>>>>,
}

impl<T, F, C> Request<T, C>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
    C: Fn(Core) -> F + Send + Sync + 'static,
{
    /// To the controller; there it becomes a task of the controller's process.
    async fn travel(self: Arc<Self>) {
        let world = Arc::clone(&self.world);
        world.exec.sleep(hop(&world)).await;
        if world.fault("a call arrives late", world.plan.call_late) {
            world.exec.sleep(world.exec.between(Duration::from_secs(1), Duration::from_secs(75))).await;
        }
        if self.is_lost() {
            // Held until the caller has given up, so that nobody learns of the loss before.
            world.exec.sleep(CALL_DEADLINE * 2).await;
            return;
        }
        let Some(running) = world.controllers[self.route.1].running() else { return };
        world.exec.spawn(running.process, async move {
            let done = sound(&self.world, self.name, (self.use_case)(running.core).await);
            let world = Arc::clone(&self.world);
            world.exec.spawn(WORLD, self.come_back(done));
        });
    }

    async fn come_back(self: Arc<Self>, done: Result<T, Error>) {
        self.world.exec.sleep(hop(&self.world)).await;
        if self.is_lost() {
            self.world.exec.sleep(CALL_DEADLINE * 2).await;
            return;
        }
        let answer = lock(&self.answer).take();
        if let Some(answer) = answer {
            // The caller may have given up.
            drop(answer.send(done));
        }
    }

    fn is_lost(&self) -> bool {
        let cut = lock(&self.world.network).is_cut(self.route);
        cut || self.world.fault("a call or its answer is lost", self.world.plan.call_lost)
    }
}
