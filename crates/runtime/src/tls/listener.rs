//! The accept loop in front of a server.
//!
//! Each connection shakes hands in a task of its own, so a slow or hostile client holds up nobody; how many may do so at
//! once is bounded, and the rest wait in the kernel's queue. Nothing but the shutdown ends the loop: running out of file
//! descriptors, say, is logged and tried again.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::ReloadingServerConfig;
use crate::tasks::Tasks;

/// Pause after a failed accept: an error such as "too many open files" lasts a while, and must not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A dead peer is noticed after about a minute of silence even where the application sends nothing.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// A connection's first byte with TLS: the type of a record of handshakes (RFC 8446, 5.1). No method of HTTP begins with it.
const HANDSHAKE_RECORD: u8 = 22;

/// Limits of a [`TlsListener`].
#[derive(Debug, Clone, Copy)]
pub struct ListenerOptions {
    /// How long a client may take for its handshake.
    pub handshake_timeout: Duration,
    /// How many clients may shake hands at once.
    pub concurrent_handshakes: usize,
    /// How many connections are taken in a second, after a first burst of as many; the rest wait in the kernel's queue.
    pub accepts_per_second: u32,
}

/// When the next connection may be taken.
struct Pace {
    interval: Duration,
    /// When the pace's account is even; never more than a second ago.
    even_at: Instant,
}

/// A bound socket and the TLS configuration of its connections; nothing is accepted until [`TlsListener::accept`].
#[derive(Debug)]
pub struct TlsListener {
    tcp: TcpListener,
    config: ReloadingServerConfig,
    options: ListenerOptions,
}

/// One that shook hands, or one without TLS.
pub type Connection = Either<TlsStream<TcpStream>, TcpStream>;

/// Whether connections without TLS are served as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plaintext {
    /// No: what does not begin with a handshake of TLS is closed.
    Refused,
    /// Yes; the first byte tells them apart. For loopback alone, behind a proxy that ends TLS.
    Served,
}

/// The connections whose handshake succeeded; ends when the process shuts down. Feed it to tonic's
/// `serve_with_incoming_shutdown`, whose requests then know their `peer_certs()`.
#[derive(Debug)]
pub struct TlsIncoming {
    connections: Incoming,
}

/// The same, and those without TLS where they are served.
#[derive(Debug)]
pub struct Incoming {
    connections: mpsc::Receiver<Connection>,
}

/// What each connection's task needs.
#[derive(Clone)]
struct Handshakes {
    config: ReloadingServerConfig,
    timeout: Duration,
    plaintext: Plaintext,
    done: mpsc::Sender<Connection>,
    shutdown: CancellationToken,
}

/// Sends small frames at once, and notices dead peers.
pub(super) fn tune(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

// === impl ListenerOptions ===

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            concurrent_handshakes: 256,
            accepts_per_second: 5_000,
        }
    }
}

// === impl TlsListener ===

impl TlsListener {
    /// Binds `address`; port 0 takes a free one (see [`TlsListener::local_addr`]).
    pub async fn bind(address: impl ToSocketAddrs, config: ReloadingServerConfig) -> std::io::Result<Self> {
        Ok(Self::from_tcp(TcpListener::bind(address).await?, config))
    }

    /// Uses a socket that is bound already.
    pub fn from_tcp(tcp: TcpListener, config: ReloadingServerConfig) -> Self {
        Self { tcp, config, options: ListenerOptions::default() }
    }

    /// Sets other limits than the defaults.
    #[must_use]
    pub fn with_options(mut self, options: ListenerOptions) -> Self {
        self.options = options;
        self
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Starts accepting, in a task of `tasks`, until their shutdown begins.
    pub fn accept(self, tasks: &Tasks) -> TlsIncoming {
        TlsIncoming { connections: self.accept_with(Plaintext::Refused, tasks) }
    }

    /// The same, perhaps without TLS.
    pub fn accept_with(self, plaintext: Plaintext, tasks: &Tasks) -> Incoming {
        // One place each: a handshake is done when the server takes its connection.
        let (done, connections) = mpsc::channel(1);
        let handshakes = Handshakes {
            config: self.config,
            timeout: self.options.handshake_timeout,
            plaintext,
            done,
            shutdown: tasks.shutdown_token(),
        };
        let places = Arc::new(Semaphore::new(self.options.concurrent_handshakes));
        let turns = Pace::new(self.options.accepts_per_second);
        tasks.spawn("tls-accept", accept_loop(self.tcp, places, turns, handshakes, tasks.clone()));
        Incoming { connections }
    }
}

impl Pace {
    const BURST: Duration = Duration::from_secs(1);

    fn new(per_second: u32) -> Self {
        let now = Instant::now();
        let even_at = now.checked_sub(Self::BURST).unwrap_or(now);
        Self { interval: Self::BURST / per_second.max(1), even_at }
    }

    /// Waits for the turn of one more connection.
    async fn next(&mut self) {
        let now = Instant::now();
        self.even_at = self.even_at.max(now.checked_sub(Self::BURST).unwrap_or(now)) + self.interval;
        tokio::time::sleep_until(self.even_at).await;
    }
}

async fn accept_loop(
    tcp: TcpListener,
    places: Arc<Semaphore>,
    mut turns: Pace,
    handshakes: Handshakes,
    tasks: Tasks,
) {
    let shutdown = handshakes.shutdown.clone();
    loop {
        let next = async {
            // The place is taken before the connection: a full house leaves the others in the kernel's queue.
            let place = Arc::clone(&places).acquire_owned().await;
            turns.next().await;
            (place, tcp.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = shutdown.cancelled() => return,
            () = handshakes.done.closed() => return,
            next = next => next,
        };
        match accepted {
            Ok((connection, peer)) => {
                let handshakes = handshakes.clone();
                tasks.spawn("tls-handshake", async move {
                    handshakes.run(connection, peer).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

// === impl Handshakes ===

impl Handshakes {
    async fn run(self, connection: TcpStream, peer: SocketAddr) {
        if let Err(error) = tune(&connection) {
            tracing::debug!(%peer, %error, "cannot set the options of a connection");
        }
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            result = tokio::time::timeout(self.timeout, self.opened(connection)) => match result {
                // An error only says that the server has stopped taking connections.
                Ok(Ok(opened)) => drop(self.done.send(opened).await),
                Ok(Err(error)) => tracing::info!(%peer, %error, "TLS handshake failed"),
                Err(_) => tracing::info!(%peer, "TLS handshake took too long"),
            }
        }
    }

    async fn opened(&self, connection: TcpStream) -> std::io::Result<Connection> {
        if self.plaintext == Plaintext::Served {
            let mut first = [0];
            if connection.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
                return Ok(Either::Right(connection));
            }
        }
        TlsAcceptor::from(self.config.load()).accept(connection).await.map(Either::Left)
    }
}

// === impl TlsIncoming ===

impl Stream for TlsIncoming {
    type Item = std::io::Result<TlsStream<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(self.connections.connections.poll_recv(context)) {
                Some(Either::Left(connection)) => return Poll::Ready(Some(Ok(connection))),
                // None is made where plaintext is refused.
                Some(Either::Right(_)) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

// === impl Incoming ===

impl Stream for Incoming {
    type Item = std::io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(context).map(|connection| connection.map(Ok))
    }
}
