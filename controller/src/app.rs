//! The composition root: the only file that names a database engine.
//!
//! [`App::build`] opens the database, makes or loads the identity and binds every socket; nothing runs yet, so tests
//! learn the ports. [`App::run`] serves until told to end, then drains.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::TryStreamExt;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::server::HealthReporter;
use tradepost_domain::id::ControllerId;
use tradepost_runtime::clock::disciplined::DisciplinedClock;
use tradepost_runtime::clock::{SharedClock, SystemClock};
use tradepost_runtime::ids::Ids;
use tradepost_runtime::signature::{self, Signer};
use tradepost_runtime::tasks::{Drained, Tasks};
use tradepost_runtime::telemetry::{self, Metrics};
use tradepost_runtime::tls::{Incoming, ListenerOptions, Plaintext, ReloadingServerConfig, TlsListener};
use tradepost_store::Database;

use crate::background::{self, Grace};
use crate::certificates::{self, Listening};
use crate::checkpoints::Checkpoints;
use crate::config::{self, Config};
use crate::grpc::connection::Connection;
use crate::grpc::layers::{Gate, Side};
use crate::grpc::{self, Addresses, Api};
use crate::identity::{self, Identity};
use crate::memory::Memory;
use crate::seal::{self, Ring, Sealer};
use crate::service::keys::Keys;
use crate::service::recent::Recent;
use crate::service::{AuditLog, Core, People};
use crate::session::Sessions;
use crate::{metric, timekeeping, web};

/// HTTP/2 pings to silent peers, and how long their answer may take.
const PING: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(10);
/// A connection lives this long, ± 10 %.
const CONNECTION_AGE: Duration = Duration::from_secs(3600);
/// Then its calls get this long to end.
const CONNECTION_GRACE: Duration = Duration::from_secs(30);
/// Calls at once on one connection.
const STREAMS_MAX: u32 = 200;
/// Headers of one call, in bytes.
const HEADERS_MAX: u32 = 16 * 1024;
/// Connections to PostgreSQL; readers of SQLite.
const PG_CONNECTIONS: u32 = 16;
const SQLITE_READERS: u32 = 4;
/// The file in the identity folder of the key that signs checkpoints.
pub const AUDIT_KEY: &str = "audit.key";

/// Why the controller cannot start or end well. Each is one line with the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder cannot be made.
    #[error("cannot create the data directory {path}: {source}; choose another with --data-dir", path = path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("database: {0}")]
    Database(#[from] tradepost_store::Error),
    /// The certificate authority cannot be used.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The schedule of looks makes no sense.
    #[error(
        "reconcile.looks needs one delay or more, and neither they nor reconcile.horizon may be zero; leave both out for \
         the usual schedule"
    )]
    Looks,
    /// Keys of the configuration do not go together.
    #[error("{0}")]
    Configuration(String),
    /// A listener's certificate cannot be used.
    #[error(transparent)]
    Certificates(#[from] certificates::Error),
    /// A socket cannot be bound.
    #[error("cannot listen on {address} for {what}: {source}; choose another with {flag}")]
    Listen {
        /// For whom.
        what: &'static str,
        /// Where.
        address: String,
        /// The flag that changes it.
        flag: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The keys of sealed secrets cannot be used.
    #[error(transparent)]
    Sealer(#[from] seal::Error),
    /// The key of checkpoints, or their file, cannot be used.
    #[error("audit log: {0}")]
    Signer(#[from] signature::Error),
    /// Metrics cannot be recorded.
    #[error("metrics: {0}")]
    Metrics(String),
    /// The services cannot be put together.
    #[error("services: {0}")]
    Services(String),
    /// A use case failed.
    #[error("{}", .0.message)]
    Service(#[from] crate::service::Error),
}

/// What a process brings; tests bring their own.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: SharedClock,
    /// Randomness.
    pub ids: Ids,
    /// How long leases of an earlier process are spared.
    pub grace: Grace,
    /// The recorder behind /metrics; none serves no metrics.
    pub metrics: Option<Metrics>,
    /// Whose time several controllers of one database agree on.
    pub authority: Authority,
}

/// Whose clock is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// The database's, where it has one of its own (I8): the given clock serves until the database is open.
    Database,
    /// The given one: tests.
    Given,
}

/// A controller that is ready to run.
pub struct App {
    core: Core,
    people: People,
    log: AuditLog,
    sessions: Sessions,
    identity: Arc<Identity>,
    tasks: Tasks,
    config: Config,
    addresses: Addresses,
    certificates: certificates::Keeper,
    listening: Listening,
    api: Listener,
    agents: Listener,
    metrics: Option<SocketAddr>,
    memory: Memory,
    grace: Grace,
    disciplined: Option<Arc<DisciplinedClock>>,
}

struct Listener {
    tls: TlsListener,
    address: SocketAddr,
}

impl Surroundings {
    /// Those of a real process.
    pub fn of_system() -> Self {
        Self {
            clock: SystemClock::shared(),
            ids: Ids::from_system(),
            grace: Grace::ForAgents,
            metrics: None,
            authority: Authority::Database,
        }
    }
}

/// Whether a controller or a short command opens the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    /// A controller: the only one on an SQLite file.
    Controller,
    /// A command that may run beside a controller.
    Command,
}

/// Opens the database of `config` and brings its schema up to date.
pub async fn open_core(config: &Config, surroundings: &Surroundings, opener: Opener) -> Result<Core, Error> {
    open(config, surroundings, opener).await.map(|opened| opened.core)
}

/// The same, with the use cases of users.
pub async fn open_people(
    config: &Config,
    surroundings: &Surroundings,
    opener: Opener,
) -> Result<People, Error> {
    let Opened { core, database, .. } = open(config, surroundings, opener).await?;
    let sealer = Sealer::new(Ring::load(config.keys())?, Arc::clone(&database), core.ids.clone());
    Ok(People::new(core, database, sealer, config.policy()))
}

/// The same, with the use cases of keys; beside controllers that may be running.
pub async fn open_keys(config: &Config, surroundings: &Surroundings) -> Result<(Core, Keys), Error> {
    let ring = Ring::load(config.keys())?;
    let Opened { core, database, .. } = open(config, surroundings, Opener::Command).await?;
    let sealer = Sealer::new(ring, Arc::clone(&database), core.ids.clone());
    Ok((core.clone(), Keys::new(core, database, sealer)))
}

/// The same, with the use cases of the audit log. A key is made where there is none yet.
pub async fn open_audit_log(
    config: &Config,
    surroundings: &Surroundings,
    opener: Opener,
) -> Result<AuditLog, Error> {
    let folder = config.identity_folder();
    identity::files::create_private(&folder)
        .map_err(|source| Error::DataDir { path: folder.clone(), source })?;
    let signer = Signer::load_or_create(&folder.join(AUDIT_KEY))?;
    let Opened { core, database, .. } = open(config, surroundings, opener).await?;
    Ok(AuditLog::new(core, database, signer))
}

/// An open database, with the clock that must be kept at its own.
struct Opened {
    core: Core,
    database: Arc<dyn Database>,
    disciplined: Option<Arc<DisciplinedClock>>,
}

async fn open(config: &Config, surroundings: &Surroundings, opener: Opener) -> Result<Opened, Error> {
    let Surroundings { clock, ids, .. } = surroundings.clone();
    let path = config.data_dir.clone();
    identity::files::create_private(&path).map_err(|source| Error::DataDir { path, source })?;
    let controller = ControllerId(ids.uuid(clock.now()));
    let database = open_store(config.database_url(), controller, clock.clone(), opener).await?;
    database.migrate().await?;
    // An SQLite file is on this machine, whose wall clock counts also the time that it sleeps.
    let disciplined = match surroundings.authority {
        Authority::Database if is_postgres(&config.database_url()) => {
            Some(timekeeping::clock_of(database.as_ref(), &clock).await?)
        }
        Authority::Database | Authority::Given => None,
    };
    let clock = disciplined.clone().map_or(clock, |disciplined| disciplined as SharedClock);
    let looks = Arc::new(config.reconcile.schedule().ok_or(Error::Looks)?);
    let store = Arc::clone(&database);
    let core = Core { store, clock, ids, controller, recent: Recent::default(), looks };
    Ok(Opened { core, database, disciplined })
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

async fn open_store(
    url: String,
    controller: ControllerId,
    clock: SharedClock,
    opener: Opener,
) -> Result<Arc<dyn Database>, tradepost_store::Error> {
    if is_postgres(&url) {
        let options = tradepost_store_postgres::Options { url, max_connections: PG_CONNECTIONS, controller };
        tradepost_store_postgres::open(options).await
    } else if url.contains("://") && !url.starts_with("sqlite:") {
        let engine = url.split(':').next().unwrap_or_default();
        let words = format!(
            "there is no engine for {engine}: addresses; write sqlite:PATH or postgres://user@host/name"
        );
        Err(tradepost_store::Error::Setup(words))
    } else {
        let options = tradepost_store_sqlite::Options { url, readers: SQLITE_READERS, clock };
        match opener {
            Opener::Controller => tradepost_store_sqlite::open(options).await,
            Opener::Command => tradepost_store_sqlite::open_beside(options).await,
        }
    }
}

/// Copies the embedded database to a new file, beside a controller that may be running. Returns the copy's size in bytes.
pub async fn backup(config: &Config, to: &Path) -> Result<u64, Error> {
    embedded(config, "make a backup with `pg_dump --format=custom --file FILE URL`")?;
    Ok(tradepost_store_sqlite::backup(&config.database_url(), to).await?)
}

/// Checks a backup of the embedded database and copies it beside the database's place. Refuses while a controller runs.
pub(crate) async fn stage_restore(
    config: &Config,
    from: &Path,
) -> Result<tradepost_store_sqlite::Restoring, Error> {
    let by_tools = "end every controller, restore with `pg_restore --clean --if-exists --dbname URL FILE`, then run `controller \
         fleet-epoch bump`";
    embedded(config, by_tools)?;
    Ok(tradepost_store_sqlite::restore(&config.database_url(), from).await?)
}

fn embedded(config: &Config, instead: &str) -> Result<(), Error> {
    match config.database_file() {
        Some(_) => Ok(()),
        None => Err(tradepost_store::Error::Setup(format!("PostgreSQL has its own tools: {instead}")).into()),
    }
}

impl App {
    /// Opens and binds everything; nothing is served yet.
    pub async fn build(config: Config, surroundings: Surroundings) -> Result<Self, Error> {
        config.problem().map_or(Ok(()), |problem| Err(Error::Configuration(problem)))?;
        let Opened { core, database, disciplined } = open(&config, &surroundings, Opener::Controller).await?;
        // Sockets first: a controller that cannot listen leaves no authority behind.
        let (api, agents) = (bound(Side::Api, &config).await?, bound(Side::Agents, &config).await?);
        let tasks = Tasks::new();
        let metrics = match surroundings.metrics {
            Some(metrics) => serve_metrics(&config.metrics.listen, metrics, &tasks).await?,
            None => None,
        };
        let folder = config.identity_folder();
        let (identity, made) = Identity::load_or_create(&folder, core.now())?;
        if made {
            tracing::info!(folder = %folder.display(), "a certificate authority was made");
        }
        let sealer = Sealer::new(Ring::load(config.keys())?, Arc::clone(&database), core.ids.clone());
        sealer.check().await?;
        let people = People::new(core.clone(), Arc::clone(&database), sealer, config.policy());
        let signer = Signer::load_or_create(&folder.join(AUDIT_KEY))?;
        let log = AuditLog::new(core.clone(), database, signer);
        let memory = Memory::new(&folder);
        memory.check(&core).await?;
        let identity = Arc::new(identity.with_max_offline(config.agents.max_offline));
        let certificates = certificates::Keeper::new(Arc::clone(&identity), core.clone(), &config)?;
        let listening = certificates.listening()?;
        let usual = ListenerOptions::default();
        let paced = ListenerOptions { accepts_per_second: config.agents.accepts_per_second, ..usual };
        let api = Listener::new(api, &listening.api, usual);
        let agents = Listener::new(agents, &listening.agents, paced);
        let addresses = Addresses {
            api: told(config.api.public_address.as_ref(), api.address),
            agents: told(config.agents.public_address.as_ref(), agents.address),
        };
        Ok(Self {
            sessions: Sessions::new(core.clock.clone()),
            core,
            people,
            log,
            identity,
            tasks,
            config,
            addresses,
            certificates,
            listening,
            api,
            agents,
            metrics,
            memory,
            grace: surroundings.grace,
            disciplined,
        })
    }

    /// The bound address for people and tools.
    pub fn api_address(&self) -> SocketAddr {
        self.api.address
    }

    /// The bound address for agents.
    pub fn agents_address(&self) -> SocketAddr {
        self.agents.address
    }

    /// The bound address of the metrics, if they are served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The roots' certificates, PEM: what clients trust.
    pub fn root_pem(&self) -> String {
        self.identity.root_pem()
    }

    /// The file of the root's certificate.
    pub fn root_file(&self) -> PathBuf {
        self.config.identity_folder().join(identity::files::ROOT)
    }

    /// Use cases, for tests and tools beside the services.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Use cases of the audit log, for tests and tools beside the services.
    pub fn audit_log(&self) -> &AuditLog {
        &self.log
    }

    /// Use cases of users, for tests and tools beside the services.
    pub fn people(&self) -> &People {
        &self.people
    }

    /// Serves until `end` resolves, then drains. Says whether everything ended in time.
    pub async fn run(self, end: impl Future<Output = ()>) -> Result<Drained, Error> {
        let api = Api {
            core: self.core.clone(),
            people: self.people.clone(),
            log: self.log.clone(),
            sessions: self.sessions.clone(),
            identity: Arc::clone(&self.identity),
            tasks: self.tasks.clone(),
            addresses: self.addresses,
        };
        let gate = |side| {
            let (core, people, log) = (self.core.clone(), self.people.clone(), self.log.clone());
            Gate::new(core, people, log, &self.config.api.trusted_proxies, side)
        };
        let (router, health) = grpc::api_router(&api, gate(Side::Api))
            .map_err(|status| Error::Services(status.message().to_owned()))?;
        let health_of_certificates = self.certificates.health();
        let router =
            router.merge(web::router(self.core.clone(), health_of_certificates, self.tasks.shutdown_token()));
        let router = web::with_headers(router);
        report(&health, tonic_health::ServingStatus::Serving).await;
        let agents = grpc::agents_router(&api, gate(Side::Agents));
        let kept = self.config.retention;
        background::start(&self.core, &self.people, &self.sessions, &self.tasks, self.grace, kept);
        let checkpoints = Checkpoints::new(
            self.log.clone(),
            self.core.clone(),
            self.config.audit.clone(),
            self.config.checkpoints_file(),
        );
        let checkpoints = Arc::new(checkpoints);
        background::keep_audit_log(&self.core, &self.tasks, &checkpoints);
        if let Some(clock) = self.disciplined {
            background::keep_time(&self.core, &self.tasks, clock);
        }
        self.tasks.spawn("memory", self.memory.follow(self.core.clone(), self.tasks.shutdown_token()));
        let keeping = self.certificates.keep(self.listening, self.sessions.clone(), self.tasks.clone());
        self.tasks.spawn("certificates", keeping);
        let plaintext = if self.config.api.plaintext { Plaintext::Served } else { Plaintext::Refused };
        if plaintext == Plaintext::Served {
            let proxies = self.config.api.trusted_proxies.len();
            tracing::warn!(address = %self.api.address, trusted_proxies = proxies, "the api listener also serves without TLS");
        }
        let incoming = self.api.tls.accept_with(plaintext, &self.tasks);
        serve(&self.tasks, &self.core.ids, "api-server", router, incoming);
        let incoming = self.agents.tls.accept_with(Plaintext::Refused, &self.tasks);
        serve(&self.tasks, &self.core.ids, "agents-server", agents, incoming);
        end.await;
        tracing::info!("draining");
        report(&health, tonic_health::ServingStatus::NotServing).await;
        let ids = self.core.ids.clone();
        self.sessions.drain(|| Duration::from_secs(2).mul_f64(ids.unit()));
        let drained = self.tasks.drain(self.config.drain).await;
        if let Err(error) = checkpoints.finish().await {
            tracing::warn!(%error, "no last checkpoint of the audit log could be taken; entries that wait are sealed at the next start");
        }
        self.core.store.close().await;
        Ok(drained)
    }
}

impl Listener {
    fn new(
        (socket, address): (TcpListener, SocketAddr),
        config: &ReloadingServerConfig,
        options: ListenerOptions,
    ) -> Self {
        Self { tls: TlsListener::from_tcp(socket, config.clone()).with_options(options), address }
    }
}

/// The socket of a side, with its true address.
async fn bound(side: Side, config: &Config) -> Result<(TcpListener, SocketAddr), Error> {
    let (what, flag, address) = match side {
        Side::Api => ("people and tools", "--api-listen", config.api.listen),
        Side::Agents => ("agents", "--agents-listen", config.agents.listen),
    };
    let failed = |source| Error::Listen { what, flag, address: address.to_string(), source };
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}

async fn serve_metrics(listen: &str, metrics: Metrics, tasks: &Tasks) -> Result<Option<SocketAddr>, Error> {
    if listen.is_empty() {
        return Ok(None);
    }
    let failed = |source| Error::Listen {
        what: "metrics",
        flag: "--metrics-listen",
        address: listen.to_owned(),
        source,
    };
    let address: SocketAddr = listen.parse().map_err(|_| {
        failed(io::Error::new(io::ErrorKind::InvalidInput, "not an address such as 127.0.0.1:7445"))
    })?;
    metric::describe();
    telemetry::metrics_server(address, metrics, tasks).await.map(Some).map_err(failed)
}

/// What clients are told: the public address, else the bound one; a wildcard becomes this host's name.
fn told(public: Option<&String>, bound: SocketAddr) -> String {
    match public {
        Some(public) => public.clone(),
        None if bound.ip().is_unspecified() => {
            let host = config::host_name().unwrap_or_else(|| "localhost".to_owned());
            format!("{host}:{}", bound.port())
        }
        None => bound.to_string(),
    }
}

async fn report(health: &HealthReporter, status: tonic_health::ServingStatus) {
    health.set_service_status("", status).await;
    for service in ["tradepost.v1.PostingService", "tradepost.v1.AgentSessionService"] {
        health.set_service_status(service, status).await;
    }
}

fn serve(tasks: &Tasks, ids: &Ids, name: &'static str, router: Router, incoming: Incoming) {
    let server = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PING_ANSWER))
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADERS_MAX)
        .max_connection_age(CONNECTION_AGE.mul_f64(0.9 + 0.2 * ids.unit()))
        .max_connection_age_grace(CONNECTION_GRACE)
        .add_routes(Routes::from(router));
    let incoming = incoming.map_ok(Connection);
    let shutdown = tasks.shutdown_token().cancelled_owned();
    tasks.spawn(name, async move {
        if let Err(error) = server.serve_with_incoming_shutdown(incoming, shutdown).await {
            tracing::error!(%error, server = name, "a server ended");
        }
    });
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("api", &self.api.address)
            .field("agents", &self.agents.address)
            .finish_non_exhaustive()
    }
}
