//! The composition of a running agent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tradepost_domain::failure::Failure;
use tradepost_domain::id::{BootId, SessionEpoch};
use tradepost_runtime::clock::SystemClock;
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::{Drained, Tasks, termination_requested};

use crate::browser::Programs;
use crate::config::Settings;
use crate::credentials::sealed::SealedCredentials;
use crate::credentials::{self, Credentials};
use crate::evidence::Spool;
use crate::identity::{self, IdentityStore};
use crate::journal::{self, Journal, Record};
use crate::photos::Photos;
use crate::platform::clock::SystemClocks;
use crate::platform::files::{self, Lock, LockError};
use crate::platform::processes::{self, StillAlive};
use crate::runner::chrome::LocalChrome;
use crate::runner::{Kit, Runner};
use crate::session::keeper::{Keeper, OpenError};
use crate::session::link::{ControllerLink, LinkError};
use crate::session::live::Live;
use crate::session::remote::RemoteController;
use crate::session::settler::Settler;
use crate::session::state;
use crate::wake::{Confirmed, Wake};

/// Events of runs that wait for the session.
const EVENTS: usize = 1024;
/// How long Chrome of an earlier process may take to end.
const LEFTOVERS_WITHIN: Duration = Duration::from_secs(10);
/// Pause before the key for sealed credentials is told again, after an answer that did not come.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// How long the first stream waits for what the journal still has to report.
const RECOVER_BEFORE_STREAM: Duration = Duration::from_secs(10);

/// Why the agent does not run; each is one line with the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory.
    #[error("cannot use the data directory {}: {source}; choose another with --data-dir", path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another agent.
    #[error("another agent runs with the data directory {}; end it, or choose another with --data-dir", .0.display())]
    Running(PathBuf),
    /// By the lock.
    #[error(transparent)]
    Lock(LockError),
    /// By the identity.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// By what uses it.
    #[error(transparent)]
    Keeper(#[from] OpenError),
    /// By the journal.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Chrome is absent or does not fit.
    #[error("{}", .0.message)]
    Chrome(Failure),
    /// Chrome of an earlier process.
    #[error(transparent)]
    Leftovers(#[from] StillAlive),
    /// By the key for sealed credentials.
    #[error(transparent)]
    Credentials(#[from] credentials::Error),
    /// The controller's address.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The operating system.
    #[error("cannot wait for the end: {0}")]
    Signal(#[source] std::io::Error),
}

/// Takes the data directory for this process.
pub fn claim(data: &Path) -> Result<Lock, Error> {
    files::private_dir(data).map_err(|source| Error::Data { path: data.to_owned(), source })?;
    files::lock(&data.join("agent.lock")).map_err(|error| match error {
        LockError::Held { .. } => Error::Running(data.to_owned()),
        LockError::Io { path: _, source } => Error::Data { path: data.to_owned(), source },
    })
}

/// The agent's life, from its start to the end of its last run.
pub async fn run(settings: &Settings, this_program: PathBuf) -> Result<(), Error> {
    let config = &settings.config;
    let data = &config.data_dir;
    let _only_one = claim(data)?;
    let (tasks, ids, clock) = (Tasks::new(), Ids::from_system(), SystemClock::shared());
    // First: without an identity, nothing else matters.
    let keeper = Keeper::open(IdentityStore::new(data), clock.clone(), ids.clone())?;
    let keeper = Arc::new(keeper);
    let identity = keeper.identity();
    let programs = Programs::find(&settings.places).await.map_err(Error::Chrome)?;
    let journal = open_journal(data).await?;
    let link: Arc<dyn ControllerLink> = Arc::new(RemoteController::new(Arc::clone(&keeper))?);
    let version = programs.chrome_version.clone().unwrap_or_default();
    let chrome = Arc::new(LocalChrome { programs, display: config.display(), this_program });
    tracing::info!(agent = %identity.agent, name = identity.name, controller = identity.agents_address,
        chrome = version, slots = config.slots, data = %data.display(), "agent started");

    let settler = Settler { link: Arc::clone(&link), journal: Arc::clone(&journal), ids: ids.clone() };
    recover(&tasks, &journal, &settler).await;
    let io = |source| Error::Data { path: data.clone(), source };
    let spool = Spool::open(data.join("evidence")).map_err(io)?;
    let (events, from_runs) = mpsc::channel(EVENTS);
    let (epoch, epochs) = watch::channel(None);
    let (refusal, refusals) = watch::channel(None);
    let (confirmed, confirmations) = watch::channel(Confirmed::default());
    let clocks = SystemClocks::shared();
    let wake = Wake::new(Arc::clone(&clocks));
    let boot = BootId(ids.uuid(clocks.wall()));
    let sealed = Arc::new(SealedCredentials::open(data, identity.agent, &ids)?);
    let kit = Kit {
        agent: identity.agent,
        data: data.clone(),
        link: Arc::clone(&link),
        journal: Arc::clone(&journal),
        settler,
        spool: Arc::clone(&spool),
        photos: Photos::open(data).map_err(io)?,
        credentials: Credentials::new(data),
        sealed: Arc::clone(&sealed),
        chrome,
        epoch: epochs.clone(),
        refusal: refusals.clone(),
        events,
        clocks,
        wake: wake.clone(),
        confirmed: confirmations,
        ids: ids.clone(),
        tasks: tasks.clone(),
    };
    let shutdown = tasks.shutdown_token();
    let uploads = Arc::clone(&spool).upload_all(Arc::clone(&link), ids.clone(), shutdown.clone());
    tasks.spawn("evidence", uploads);
    let runs = Arc::new(Runner::new(Arc::new(kit)));
    let state = state::State::new(boot, config.slots);
    tasks.spawn("certificate", keeper.keep(shutdown.clone()));
    tasks.spawn("standing", note_standing(IdentityStore::new(data), refusals));
    let telling = tell_credential_key(Arc::clone(&link), sealed.public_key(), epochs, shutdown.clone());
    tasks.spawn("credential-key", telling);
    tasks.spawn("wake", wake.clone().watch(shutdown.clone()));
    let live = Live {
        link,
        runs,
        state,
        events: from_runs,
        epoch,
        refusal,
        journal,
        wake,
        confirmed,
        ids,
        shutdown,
    };
    tasks.spawn("session", live.run());

    termination_requested().await.map_err(Error::Signal)?;
    tracing::info!("ending; runs past their click are finished first");
    match tasks.drain(config.drain).await {
        Drained::Clean => tracing::info!("ended"),
        Drained::TimedOut(left) => tracing::warn!(left, "ended with work left; the journal has it"),
    }
    Ok(())
}

/// Keeps for `status` whether the controller accepts this agent, until the session ends.
async fn note_standing(store: IdentityStore, mut refusals: watch::Receiver<Option<String>>) {
    while refusals.changed().await.is_ok() {
        let refusal = refusals.borrow_and_update().clone();
        if let Err(error) = store.note_refusal(refusal.as_deref()) {
            tracing::warn!(%error, "what the controller says of this agent is not kept for `status`");
        }
    }
}

/// Tells the key for sealed credentials at the beginning of each stream: the controller's database may be an older copy.
async fn tell_credential_key(
    link: Arc<dyn ControllerLink>,
    public_key: [u8; 32],
    mut epochs: watch::Receiver<Option<SessionEpoch>>,
    shutdown: CancellationToken,
) {
    loop {
        let epoch = *epochs.borrow_and_update();
        let told = match epoch {
            Some(_) => link.tell_credential_key(public_key).await,
            None => Ok(()),
        };
        // A controller of an earlier version takes none; one that could not answer is asked again.
        let again = match told {
            Err(error) if error.is_passing() => TELL_AGAIN,
            Err(error) => {
                tracing::warn!(%error, "the controller does not take this agent's key for sealed credentials");
                Duration::MAX
            }
            Ok(()) => Duration::MAX,
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = epochs.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(again) => {}
        }
    }
}

/// Opens the journal and ends what an earlier process has left running.
async fn open_journal(data: &Path) -> Result<Arc<Journal>, Error> {
    let journal = Arc::new(Journal::open(&data.join("journal"))?);
    let leftovers = journal.state().processes();
    if !leftovers.is_empty() {
        processes::end_all(&leftovers, LEFTOVERS_WITHIN).await?;
        journal.append_async(Record::ProcessesEnded { processes: leftovers }).await?;
    }
    for run in journal.state().runs() {
        journal.append_async(Record::RunEnded { run }).await?;
    }
    Ok(journal)
}

/// Reports what the journal has, before the first stream if the controller answers soon: it then knows what became of the
/// last run when it hears that the run is gone.
async fn recover(tasks: &Tasks, journal: &Journal, settler: &Settler) {
    let recoveries = journal.state().recovery();
    if recoveries.is_empty() {
        return;
    }
    tracing::info!(open = recoveries.len(), "finishing what the last process has left");
    let reporting = recoveries.into_iter().map(|recovery| {
        let settler = settler.clone();
        tasks.spawn("recovery", async move {
            if let Err(error) = settler.recover(recovery).await {
                tracing::error!(%error, "what the last process has left is not reported");
            }
        })
    });
    if tokio::time::timeout(RECOVER_BEFORE_STREAM, futures::future::join_all(reporting)).await.is_err() {
        tracing::warn!("the controller does not answer yet; what is left is reported later");
    }
}
