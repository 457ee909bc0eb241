//! The practice marketplace: a site that behaves like the real one, with a ledger of truth behind it.
//!
//! Sellers in training and tests post to it through a browser. It keeps every submission it received in an
//! append-only ledger, whatever became of it, so that duplicates, losses and wrong values can be counted exactly.
//!
//! - [`ledger`]: the append-only file; an acknowledged record survives a crash.
//! - [`world`]: what the records add up to: sessions, items, submissions.
//! - [`control`]: faults and variants, set over `POST /__control__`.
//! - [`hold`]: requests that wait until they are let go.
//! - [`photos`]: stored by hash.
//! - `web`: pages, their API and the control API; the pages themselves are in `assets/`.
//! - `connection`: connections that a fault can cut without a reply.
//!
//! Invariants: a record is in the file before its effect can be seen; nothing is ever removed from the file; the
//! site does *not* protect a seller from publishing twice.
//!
//! To add a fault: a field in [`control::Faults`], its group in [`control::Group`], its effect where the group is
//! taken (`web::publish` for most), a test in `tests/it`, a line in README.md.

pub mod account;
pub mod catalog;
pub mod control;
pub mod hold;
pub mod ledger;
pub mod model;
pub mod photos;
pub mod world;

mod assets;
mod connection;
mod web;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tradepost_runtime::clock::{SharedClock, SystemClock};
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::Tasks;

use crate::account::Account;
use crate::connection::CuttableListener;
use crate::photos::PhotoStore;
use crate::web::Site;
use crate::world::World;

/// How long requests under way may take after the shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// What a sandbox needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder for the ledger and the photos.
    pub data: PathBuf,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// How many sellers exist.
    pub sellers: u32,
    /// Time of every record.
    pub clock: SharedClock,
    /// Source of item ids, session tokens and generated class names.
    pub ids: Ids,
}

/// A sandbox with its socket bound and its ledger replayed, not yet serving.
#[derive(Debug)]
pub struct Sandbox {
    listener: CuttableListener,
    address: SocketAddr,
    site: Arc<Site>,
}

/// Why a sandbox could not start or went down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is in use.
    #[error("port {port} is taken; choose another with --port, or 0 for a free one")]
    PortTaken {
        /// The port asked for.
        port: u16,
    },
    /// The socket failed.
    #[error("cannot serve on 127.0.0.1:{port}")]
    Socket {
        /// The port asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data folder or the ledger in it cannot be used.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}

// === impl Config ===

impl Config {
    /// A configuration with the system's clock and randomness.
    pub fn new(data: PathBuf, port: u16, sellers: u32) -> Self {
        Self { data, port, sellers, clock: SystemClock::shared(), ids: Ids::from_system() }
    }
}

// === impl Sandbox ===

impl Sandbox {
    /// Replays the ledger and binds the socket. Nothing is served until [`Sandbox::serve`].
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let Config { data, port, sellers, clock, ids } = config;
        let (ledger, records) = ledger::Ledger::open(&data)?;
        let photos = PhotoStore::open(&data)?;
        let world = World::replay(ledger, records, Account::sellers(sellers));
        let socket = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => Error::PortTaken { port },
            _ => Error::Socket { port, source },
        };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(socket)?;
        let address = listener.local_addr().map_err(socket)?;
        let assets = assets::Assets::new(&ids);
        let (holds, tasks) = (hold::Holds::default(), Tasks::new());
        let site = Site { world: Mutex::new(world), photos, clock, ids, assets, holds, tasks };
        Ok(Self { listener: CuttableListener::new(listener), address, site: Arc::new(site) })
    }

    /// The address of the start page, with a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves until `shutdown` resolves, then lets the requests under way end, for a few seconds at most.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let Self { listener, address, site } = self;
        let app = web::router(site).into_make_service_with_connect_info::<connection::Connection>();
        let asked = CancellationToken::new();
        let begin = asked.clone();
        let served = axum::serve(listener, app).with_graceful_shutdown(async move {
            shutdown.await;
            begin.cancel();
        });
        let overdue = async {
            asked.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            ended = served => ended.map_err(|source| Error::Socket { port: address.port(), source }),
            () = overdue => {
                tracing::warn!("some requests did not end in time; ending without them");
                Ok(())
            }
        }
    }
}
