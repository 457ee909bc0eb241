//! The runs: each in a task of its own, with its own Chrome in its account's profile.
//!
//! - [`chrome`]: the seam over the browser.
//! - `desk`: Chrome, profile lock and recipe session of one run, and their orderly end.
//! - `report`: steps as reports and spans.
//! - `watched`: nothing is done after the PC has slept before the run is confirmed and its page seen anew.
//! - `sign_in`, `publish`, `click`, `reconcile`: the kinds of work.
//!
//! Invariants:
//! - A run that is asked to end, is late, or loses its Chrome ends at once, but only before its click.
//! - From the record `WillClick` until the outcome is journalled, nothing interrupts a run but the end of the process.
//! - The click is sent once: [`tradepost_recipe::session::Session::commit`] is called in one place, once per permit.

pub mod chrome;
mod click;
mod desk;
mod publish;
mod reconcile;
mod report;
mod sign_in;
mod watched;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::{AgentId, SessionEpoch};
use tradepost_domain::job::Kind;
use tradepost_recipe::catalogue::Site;
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::Tasks;
use tradepost_runtime::telemetry;

use self::chrome::Chrome;
use self::report::Reporter;
use self::watched::Guard;
use crate::credentials::Credentials;
use crate::credentials::sealed::SealedCredentials;
use crate::evidence::Spool;
use crate::journal::{Journal, Record};
use crate::photos::Photos;
use crate::platform::clock::SharedClocks;
use crate::session::frame::{Dispatch, Ending, RunKey};
use crate::session::link::ControllerLink;
use crate::session::live::Runs;
use crate::session::settler::Settler;
use crate::session::state::Local;
use crate::wake::{Confirmed, Wake};

/// How long the end of a run waits for its evidence to be uploaded.
const EVIDENCE_WITHIN: Duration = Duration::from_secs(10);
/// What a run that was asked to end reports.
const CANCELLED: &str = "cancelled before the click; nothing was published";

/// What runs need; shared by all of them.
pub struct Kit {
    /// Who this agent is.
    pub agent: AgentId,
    /// The agent's data directory.
    pub data: PathBuf,
    /// The controller.
    pub link: Arc<dyn ControllerLink>,
    /// The journal.
    pub journal: Arc<Journal>,
    /// Tells outcomes.
    pub settler: Settler,
    /// Keeps evidence.
    pub spool: Arc<Spool>,
    /// Keeps photos.
    pub photos: Photos,
    /// Credentials of this PC.
    pub credentials: Credentials,
    /// Credentials that sellers have sealed to this agent.
    pub sealed: Arc<SealedCredentials>,
    /// Chrome.
    pub chrome: Arc<dyn Chrome>,
    /// The stream's number while there is one.
    pub epoch: watch::Receiver<Option<SessionEpoch>>,
    /// Why the controller does not accept this agent; none while it does.
    pub refusal: watch::Receiver<Option<String>>,
    /// To the session.
    pub events: mpsc::Sender<Local>,
    /// Both clocks.
    pub clocks: SharedClocks,
    /// Whether the PC has slept.
    pub wake: Wake,
    /// Which runs the controller has confirmed.
    pub confirmed: watch::Receiver<Confirmed>,
    /// Ids.
    pub ids: Ids,
    /// Tasks; their shutdown makes runs end before their click.
    pub tasks: Tasks,
}

/// Starts and stops runs.
pub struct Runner {
    kit: Arc<Kit>,
    stops: Arc<Mutex<BTreeMap<RunKey, CancellationToken>>>,
}

/// One run under way.
struct Run {
    kit: Arc<Kit>,
    dispatch: Dispatch,
    site: Arc<Site>,
    reporter: Arc<Reporter>,
    stop: CancellationToken,
    deadline: Instant,
    guard: Arc<Guard>,
}

/// Why a run ended without its work.
enum Cut {
    /// With a failure to report.
    Failed(Failure),
    /// The agent ends; the run is taken up again later.
    Abandoned,
}

/// The agent ends; the run is taken up again later.
struct Abandoned;

impl From<Failure> for Cut {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Runner {
    /// Without runs.
    pub fn new(kit: Arc<Kit>) -> Self {
        Self { kit, stops: Arc::default() }
    }
}

impl Runs for Runner {
    fn start(&self, dispatch: Dispatch) {
        let key = dispatch.run;
        let stop = self.kit.tasks.shutdown_token().child_token();
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).insert(key, stop.clone());
        let (kit, stops) = (Arc::clone(&self.kit), Arc::clone(&self.stops));
        let kind = match dispatch.kind {
            Kind::Login => "login",
            Kind::Publish => "publish",
            Kind::Reconcile => "reconcile",
        };
        let span =
            tracing::info_span!("run", job = %key.job, lease = key.lease.0, kind, attempt = dispatch.attempt);
        telemetry::set_parent(&span, &dispatch.traceparent);
        self.kit.tasks.spawn("run", async move {
            let ended = execute(&kit, dispatch, stop).instrument(span).await;
            stops.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            // The session outlives the runs, so somebody listens.
            drop(kit.events.send(ended).await);
        });
    }

    fn stop(&self, run: RunKey) {
        if let Some(stop) = self.stops.lock().unwrap_or_else(PoisonError::into_inner).get(&run) {
            stop.cancel();
        }
    }
}

/// The whole of one run.
async fn execute(kit: &Arc<Kit>, dispatch: Dispatch, stop: CancellationToken) -> Local {
    let key = dispatch.run;
    let begun = Record::RunStarted { run: key, account: dispatch.account.id };
    let ending = match kit.journal.append_async(begun).await {
        Ok(()) => work(kit, dispatch, stop).await,
        Err(error) => Ok(Ending::Failed(Failure::new(FailureClass::Internal, "start", error.to_string()))),
    };
    kit.photos.clear(key);
    if !kit.tasks.shutdown_token().is_cancelled() {
        kit.spool.flush(key, EVIDENCE_WITHIN).await;
    }
    if let Err(error) = kit.journal.append_async(Record::RunEnded { run: key }).await {
        tracing::error!(%error, "the end of a run is not journalled");
    }
    match &ending {
        Ok(Ending::Failed(failure)) => {
            tracing::warn!(class = failure.class.name(), step = failure.step, "run failed");
        }
        Ok(Ending::Succeeded | Ending::Looked(_)) => tracing::info!("run done"),
        Err(Abandoned) => tracing::info!("run put off: the agent ends"),
    }
    ending.map_or(Local::Abandoned(key), |ending| Local::Ended(key, ending))
}

async fn work(kit: &Arc<Kit>, dispatch: Dispatch, stop: CancellationToken) -> Result<Ending, Abandoned> {
    let site = match parse_site(&dispatch) {
        Ok(site) => Arc::new(site),
        Err(failure) => return Ok(Ending::Failed(failure)),
    };
    let reporter = Arc::new(Reporter::new(dispatch.run, kit.events.clone(), tracing::Span::current()));
    let deadline = Instant::now() + dispatch.deadline;
    let guard = Arc::new(Guard::new(kit.wake.clone()));
    let run = Run { kit: Arc::clone(kit), dispatch, site, reporter, stop, deadline, guard };
    let done = match run.dispatch.kind {
        Kind::Login => sign_in::job(&run).await,
        Kind::Publish => Box::pin(publish::job(&run)).await,
        Kind::Reconcile => reconcile::job(&run).await,
    };
    match done {
        Ok(ending) => Ok(ending),
        Err(Cut::Failed(failure)) => Ok(Ending::Failed(failure)),
        Err(Cut::Abandoned) => Err(Abandoned),
    }
}

/// The recipes come with the dispatch; they are checked here once more.
fn parse_site(dispatch: &Dispatch) -> Result<Site, Failure> {
    let wrong = |message: String| Failure::new(FailureClass::Internal, "recipes", message);
    let name = &dispatch.account.site;
    let pack = dispatch.recipes.iter().find(|(name, _)| name == "pack");
    let (_, pack) = pack.ok_or_else(|| wrong(format!("the controller sent no site pack for {name:?}")))?;
    let recipes: Vec<&str> =
        dispatch.recipes.iter().filter(|(name, _)| name != "pack").map(|(_, yaml)| yaml.as_str()).collect();
    let site =
        Site::parse(pack, &recipes).map_err(|error| wrong(format!("the recipes of {name:?}: {error}")))?;
    if site.pack.site == *name {
        Ok(site)
    } else {
        Err(wrong(format!(
            "the controller sent the recipes of {:?} for an account on {name:?}",
            site.pack.site
        )))
    }
}

impl Run {
    fn key(&self) -> RunKey {
        self.dispatch.run
    }

    /// Does `work` unless the run is asked to end or is late.
    async fn until_cut<T>(
        &self,
        step: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Cut> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(self.cut(step)),
            () = tokio::time::sleep_until(self.deadline) => {
                let minutes = self.dispatch.deadline.as_secs().div_ceil(60);
                let message = format!("the run did not end within its {minutes} minutes; it is tried again");
                Err(Failure::new(FailureClass::TimedOut, step, message).into())
            }
            done = work => done.map_err(Cut::Failed),
        }
    }

    fn cut(&self, step: &str) -> Cut {
        if self.kit.tasks.shutdown_token().is_cancelled() {
            Cut::Abandoned
        } else {
            Cut::Failed(Failure::new(FailureClass::Cancelled, step, CANCELLED))
        }
    }
}
