//! Runs up to the fence, looks and sign-ins: the steps of the real runner on a simulated Chrome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use tokio_util::sync::CancellationToken;
use tradepost_agent::journal::Record;
use tradepost_agent::session::frame::{Dispatch, Ending, Phase, PublishTask, RunKey, StepReport, StepStatus};
use tradepost_agent::session::link::{LinkError, LinkFault, PreparedReport};
use tradepost_agent::session::state::Local;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::SessionEpoch;
use tradepost_domain::job::Kind;
use tradepost_domain::reconcile::{self, Look, SeenItem};

use super::chrome::Chrome;
use super::click;
use super::session::Agent;
use crate::plan::Bug;
use crate::site::Item;
use crate::world::lock;

/// As in the real runner.
const STALE: &str = "STALE_RUN";
const WRONG_STATE: &str = "WRONG_STATE";
const ACCOUNT_BUSY: &str = "ACCOUNT_BUSY";
const UNREACHED_MAX: Duration = Duration::from_secs(10 * 60);

/// One run under way.
pub(super) struct Run {
    pub(super) agent: Arc<Agent>,
    pub(super) dispatch: Dispatch,
    pub(super) stop: CancellationToken,
    deadline: Duration,
    steps: AtomicU32,
    /// The count of wakes that the run was confirmed after, and whether its click is sent.
    seen: AtomicU64,
    sent: AtomicBool,
}

/// Why a run ended without its work.
#[derive(Debug)]
pub(super) enum Cut {
    Failed(Failure),
    Abandoned,
}

impl From<Failure> for Cut {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A filled form before its click.
pub(super) struct Ready {
    pub(super) chrome: Arc<Chrome>,
    pub(super) task: PublishTask,
    pub(super) baseline: Vec<String>,
    pub(super) fingerprint: String,
}

/// The whole of one run.
pub(super) async fn execute(agent: Arc<Agent>, dispatch: Dispatch, stop: CancellationToken) {
    let key = dispatch.run;
    agent.world.say(|| format!("machine {}: run {key:?} {:?}", agent.machine.index, dispatch.kind));
    agent.journal.append(Record::RunStarted { run: key, account: dispatch.account.id }).await;
    let deadline = agent.world.exec.now() + dispatch.deadline;
    let run = Run {
        seen: AtomicU64::new(agent.wake.count()),
        sent: AtomicBool::new(false),
        agent: Arc::clone(&agent),
        dispatch,
        stop,
        deadline,
        steps: AtomicU32::new(0),
    };
    let done = match run.dispatch.kind {
        Kind::Login => run.login().await,
        Kind::Publish => run.publish().await,
        Kind::Reconcile => run.look().await,
    };
    agent.journal.append(Record::RunEnded { run: key }).await;
    lock(&agent.stops).remove(&key);
    agent.world.say(|| format!("machine {}: run {key:?} ended {done:?}", agent.machine.index));
    agent.local(match done {
        Ok(ending) => Local::Ended(key, ending),
        Err(Cut::Failed(failure)) => Local::Ended(key, Ending::Failed(failure)),
        Err(Cut::Abandoned) => Local::Abandoned(key),
    });
}

impl Run {
    pub(super) fn key(&self) -> RunKey {
        self.dispatch.run
    }

    /// Does `work` unless the run is asked to end or is late.
    pub(super) async fn until_cut<T>(
        &self,
        step: &str,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Cut> {
        let exec = &self.agent.world.exec;
        let late = self.agent.pause(self.deadline.saturating_sub(exec.now()));
        let cut = select(Box::pin(self.stop.cancelled()), Box::pin(late));
        match select(cut, Box::pin(work)).await {
            Either::Left((Either::Left(_), _)) => Err(self.cut(step)),
            Either::Left((Either::Right(_), _)) => {
                Err(Failure::new(FailureClass::TimedOut, step, "the run is late").into())
            }
            Either::Right((done, _)) => done.map_err(Cut::Failed),
        }
    }

    pub(super) fn cut(&self, step: &str) -> Cut {
        if self.agent.shutdown.is_cancelled() {
            self.agent.world.count("a run is put off by its agent's end");
            Cut::Abandoned
        } else {
            self.agent.world.count("a run is asked to end before its click");
            Cut::Failed(Failure::new(FailureClass::Cancelled, step, "cancelled before the click"))
        }
    }

    /// Whether the PC has slept since the run was last confirmed, and its click is not sent.
    pub(super) fn slept(&self) -> bool {
        !self.sent.load(Ordering::Relaxed) && self.agent.wake.count() != self.seen.load(Ordering::Relaxed)
    }

    /// The click is sent: nothing is left to be guarded.
    pub(super) fn stand_down(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// After a sleep: waits until the controller has confirmed the run.
    async fn confirmed(&self) -> Result<(), Cut> {
        self.agent.world.count("a run waits to be confirmed after a sleep");
        let given_up = || Failure::new(FailureClass::Network, "wake", "the PC has slept");
        let waiting = async {
            let told = self.agent.machine.within(&self.agent.world, UNREACHED_MAX, self.agent.confirmation());
            match told.await {
                Some(last) if last.runs.as_ref().is_none_or(|runs| runs.contains(&self.key())) => {
                    self.seen.store(last.wakes, Ordering::Relaxed);
                    Ok(())
                }
                _ => Err(given_up()),
            }
        };
        self.until_cut("wake", waiting).await
    }

    /// A step of Chrome's, which may fail or lose Chrome.
    pub(super) async fn step(
        &self,
        chrome: &Chrome,
        (phase, name): (Phase, &str),
        most: Duration,
    ) -> Result<(), Failure> {
        self.tell(phase, name, StepStatus::Started);
        let world = &self.agent.world;
        let time = world.exec.between(Duration::from_millis(20), most);
        let crashed = || Failure::new(FailureClass::BrowserCrashed, name, "Chrome ended");
        let done = match select(Box::pin(chrome.gone()), Box::pin(self.agent.pause(time))).await {
            Either::Left(_) => Err(crashed()),
            Either::Right(_) if world.fault("Chrome ends during a step", world.plan.chrome_fails / 2.0) => {
                chrome.kill(world);
                Err(crashed())
            }
            Either::Right(_) if self.slept() => {
                Err(Failure::new(FailureClass::Network, name, "the PC has slept"))
            }
            Either::Right(_) if lock(&world.site).is_down => {
                world.count("a step finds the site unusable");
                Err(Failure::new(FailureClass::PageUnknown, name, "the page is none that is known"))
            }
            Either::Right(_) if world.fault("a step fails", world.plan.chrome_fails) => {
                Err(Failure::new(FailureClass::ElementMissing, name, "the page is another"))
            }
            Either::Right(_) => Ok(()),
        };
        self.tell(phase, name, if done.is_ok() { StepStatus::Succeeded } else { StepStatus::Failed });
        done
    }

    fn tell(&self, phase: Phase, name: &str, status: StepStatus) {
        let report = StepReport {
            seq: self.steps.fetch_add(1, Ordering::Relaxed) + 1,
            phase,
            name: name.to_owned(),
            status,
            detail: String::new(),
            duration: None,
            index: 0,
            total: 0,
        };
        self.agent.local(Local::Step(self.key(), report));
    }

    async fn start_chrome(&self) -> Arc<Chrome> {
        let agent = &self.agent;
        let chrome = Chrome::start(&agent.world, &agent.machine);
        agent.journal.append(Record::ProcessesStarted { processes: vec![chrome.process] }).await;
        agent.pause(agent.world.exec.between(Duration::from_millis(200), Duration::from_secs(2))).await;
        chrome
    }

    /// Closes Chrome and sees that it is dead.
    pub(super) async fn leave(&self, chrome: &Chrome) {
        chrome.kill(&self.agent.world);
        self.agent.journal.append(Record::ProcessesEnded { processes: vec![chrome.process] }).await;
    }

    fn signed_in(&self) -> Result<(), Failure> {
        if lock(&self.agent.world.site).is_signed_in(self.dispatch.account.id) {
            return Ok(());
        }
        self.agent.world.count("a run finds nobody signed in");
        Err(Failure::new(FailureClass::NeedsLogin, "login_check", "nobody is signed in; sign in"))
    }

    /// The account's own listings; false when the list was not read to its end.
    pub(super) fn own_listings(&self) -> (Vec<Item>, bool) {
        let world = &self.agent.world;
        let mut items = lock(&world.site).own(self.dispatch.account.id, world.now());
        let partial = world.fault("a list is read in part", world.plan.partial_list);
        if partial {
            items.truncate(world.exec.below(items.len() + 1));
        }
        (items, !partial)
    }

    async fn login(&self) -> Result<Ending, Cut> {
        let chrome = self.start_chrome().await;
        let signing = self.step(&chrome, (Phase::Start, "Sign in"), Duration::from_secs(20));
        let done = self.until_cut("login", signing).await;
        if done.is_ok() {
            lock(&self.agent.world.site).sign(self.dispatch.account.id, true);
        }
        self.leave(&chrome).await;
        done.map(|()| Ending::Succeeded)
    }

    async fn look(&self) -> Result<Ending, Cut> {
        let Some(task) = self.dispatch.publish.clone() else {
            return Err(Failure::new(FailureClass::Internal, "scan", "no task").into());
        };
        let chrome = self.start_chrome().await;
        let scanning = async {
            self.signed_in()?;
            self.step(&chrome, (Phase::Reconcile, "Read the own listings"), Duration::from_secs(5)).await
        };
        let done = self.until_cut("scan", scanning).await;
        // A seller may be signed out while the list is read.
        let done = done.and_then(|()| self.signed_in().map_err(Cut::Failed));
        let looked = done.map(|()| {
            let (mut items, mut whole) = self.own_listings();
            if self.agent.world.has(Bug::FirstPageIsWhole) {
                items.truncate(2);
                whole = true;
            }
            let seen = |item: &Item| SeenItem {
                item_id: item.id.clone(),
                url: url(&item.id),
                matches: item.title == task.content.title && item.price == task.content.price.decimal(),
            };
            let (total, items) = (items.len(), items.iter().map(seen).collect());
            Ending::Looked(Look { items, whole, total, ..Look::default() })
        });
        self.leave(&chrome).await;
        looked
    }

    async fn publish(&self) -> Result<Ending, Cut> {
        let Some(task) = self.dispatch.publish.clone() else {
            return Err(Failure::new(FailureClass::Internal, "start", "no task").into());
        };
        let chrome = self.start_chrome().await;
        match self.prepare_awake(&chrome, &task).await {
            Ok((baseline, fingerprint)) => {
                click::publish(self, Ready { chrome, task, baseline, fingerprint }).await
            }
            Err(cut) => {
                self.leave(&chrome).await;
                Err(cut)
            }
        }
    }

    /// Fills the form; begins anew, once the controller has confirmed the run, when the PC has slept over it.
    async fn prepare_awake(&self, chrome: &Chrome, task: &PublishTask) -> Result<(Vec<String>, String), Cut> {
        for _ in 0..5 {
            let filled = self.prepare(chrome, task).await;
            if !self.slept() || matches!(filled, Err(Cut::Abandoned)) {
                return filled;
            }
            self.confirmed().await?;
        }
        Err(Failure::new(FailureClass::TimedOut, "prepare", "the PC fell asleep again and again").into())
    }

    async fn prepare(&self, chrome: &Chrome, task: &PublishTask) -> Result<(Vec<String>, String), Cut> {
        let reading = async {
            self.signed_in()?;
            self.step(chrome, (Phase::Prepare, "Read the own listings"), Duration::from_secs(3)).await
        };
        self.until_cut("baseline", reading).await?;
        let (items, whole) = self.own_listings();
        if !whole {
            let message = "the own listings could not be read to their end";
            return Err(Failure::new(FailureClass::PageUnknown, "baseline", message).into());
        }
        let baseline: Vec<String> = items.into_iter().map(|item| item.id).collect();
        let filling = self.step(chrome, (Phase::Prepare, "Fill the form"), Duration::from_secs(15));
        self.until_cut("prepare", filling).await?;
        let price = task.content.price.decimal();
        let fingerprint =
            reconcile::fingerprint([("title", task.content.title.as_str()), ("price", price.as_str())]);
        let saving = self.while_reachable("save", self.record(task, &baseline, &fingerprint));
        self.until_cut("save", saving).await?;
        Ok((baseline, fingerprint))
    }

    async fn record(
        &self,
        task: &PublishTask,
        baseline: &[String],
        fingerprint: &str,
    ) -> Result<(), Failure> {
        let mut delay = Duration::from_millis(250);
        loop {
            let epoch = self.agent.epoch().await;
            let report = PreparedReport {
                run: self.key(),
                intent: task.intent,
                epoch,
                baseline: baseline.to_vec(),
                fingerprint: fingerprint.to_owned(),
            };
            match self.agent.link.record_prepared(report).await {
                Ok(()) => return Ok(()),
                Err(error) if self.may_pass(epoch, &error) => self.back_off(&mut delay).await,
                Err(error) => return Err(self.refused("save", &error)),
            }
        }
    }

    pub(super) async fn back_off(&self, delay: &mut Duration) {
        self.agent.pause(delay.mul_f64(self.agent.ids.unit())).await;
        *delay = (*delay * 2).min(Duration::from_secs(4));
    }

    /// Gives up on `work`, which waits for the controller, when it takes too long.
    pub(super) async fn while_reachable<T>(
        &self,
        step: &str,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        let done = self.agent.machine.within(&self.agent.world, UNREACHED_MAX, work).await;
        done.unwrap_or_else(|| {
            Err(Failure::new(FailureClass::Network, step, "the controller does not answer"))
        })
    }

    /// Whether the same request may be answered otherwise later.
    pub(super) fn may_pass(&self, epoch: SessionEpoch, error: &LinkError) -> bool {
        error.is_passing() || error.reason == STALE && self.agent.epoch_now() != Some(epoch)
    }

    /// What a refusal means for the run.
    pub(super) fn refused(&self, step: &str, error: &LinkError) -> Failure {
        self.agent.world.count("the controller refuses a step towards the click");
        let class = match (error.reason.as_str(), error.fault) {
            (STALE | WRONG_STATE, _) if self.stop.is_cancelled() => FailureClass::Cancelled,
            (STALE | WRONG_STATE | ACCOUNT_BUSY, _) | (_, LinkFault::Identity) => FailureClass::Network,
            _ => FailureClass::Internal,
        };
        Failure::new(class, step, error.message.clone())
    }
}

/// The address of a listing.
pub(super) fn url(id: &str) -> String {
    format!("https://market.example.com/item/{id}")
}
