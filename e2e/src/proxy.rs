//! A TCP proxy whose connections can be held and cut: the network between two programs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tradepost_runtime::tasks::Tasks;

/// What a proxy leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An address of this machine.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// How the way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// What the target says is kept back.
    RepliesHeld,
    /// What the target says comes this much later.
    RepliesLate(Duration),
    /// There is no connection, and none can be made.
    Cut,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Shared {
    targets: Mutex<Targets>,
    way: watch::Sender<Way>,
    /// Ends the connections that there are.
    connections: Mutex<CancellationToken>,
}

#[derive(Debug, Default)]
struct Targets {
    all: Vec<Target>,
    last: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToTarget,
    FromTarget,
}

// === impl Proxy ===

impl Proxy {
    /// Listens on a free port of 127.0.0.1; it has no target yet.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            targets: Mutex::default(),
            way: watch::Sender::new(Way::Open),
            connections: Mutex::new(CancellationToken::new()),
        });
        let tasks = Tasks::new();
        tasks.spawn("proxy", accept(listener, Arc::clone(&shared), tasks.clone()));
        Ok(Self { address, shared, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections to the first of these that takes them, beginning with the last that did.
    pub fn lead_to(&self, targets: Vec<Target>) {
        *lock(&self.shared.targets) = Targets { all: targets, last: 0 };
    }

    /// The number of the target that the newest connection leads to.
    pub fn last_target(&self) -> usize {
        lock(&self.shared.targets).last
    }

    /// Changes how the way is. What was held passes when the way is open again, unless its connection was cut.
    pub fn set(&self, way: Way) {
        self.shared.way.send_replace(way);
        if way == Way::Cut {
            self.cut();
        }
    }

    /// Ends every connection; new ones can be made.
    pub fn cut(&self) {
        std::mem::take(&mut *lock(&self.shared.connections)).cancel();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.tasks.begin_shutdown();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: Tasks) {
    let shutdown = tasks.shutdown_token();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        // An error here is of one connection that went away.
        let Ok((client, _)) = accepted else { continue };
        if *shared.way.borrow() == Way::Cut {
            continue;
        }
        let (shared, end) = (Arc::clone(&shared), lock(&shared.connections).clone());
        tasks.spawn("proxied", async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = carry(client, &shared) => {}
            }
        });
    }
}

/// One connection to its end.
async fn carry(client: TcpStream, shared: &Shared) {
    let (from_client, to_client) = client.into_split();
    let (targets, last) = {
        let targets = lock(&shared.targets);
        (targets.all.clone(), targets.last)
    };
    for step in 0..targets.len() {
        let number = (last + step) % targets.len();
        let connected = match &targets[number] {
            Target::Tcp(address) => TcpStream::connect(address).await.map(|stream| {
                let (read, write) = stream.into_split();
                (boxed_read(read), boxed_write(write))
            }),
            Target::Unix(path) => UnixStream::connect(path).await.map(|stream| {
                let (read, write) = stream.into_split();
                (boxed_read(read), boxed_write(write))
            }),
        };
        let Ok((from_target, to_target)) = connected else { continue };
        lock(&shared.targets).last = number;
        let way = shared.way.subscribe();
        tokio::join!(
            pump(from_client, to_target, Direction::ToTarget, way.clone()),
            pump(from_target, to_client, Direction::FromTarget, way),
        );
        return;
    }
}

fn boxed_read(read: impl AsyncRead + Send + Unpin + 'static) -> Box<dyn AsyncRead + Send + Unpin> {
    Box::new(read)
}

fn boxed_write(write: impl AsyncWrite + Send + Unpin + 'static) -> Box<dyn AsyncWrite + Send + Unpin> {
    Box::new(write)
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut way: watch::Receiver<Way>,
) {
    let mut buffer = vec![0_u8; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let held = |way: &Way| direction == Direction::FromTarget && *way == Way::RepliesHeld;
        let now = *way.borrow();
        if let (Direction::FromTarget, Way::RepliesLate(by)) = (direction, now) {
            tokio::time::sleep(by).await;
        }
        if way.wait_for(|way| !held(way)).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    // The other direction may still have something to say.
    drop(to.shutdown().await);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each byte with the next one.
    async fn counter(listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Ok(byte) = stream.read_u8().await {
                if stream.write_u8(byte + 1).await.is_err() {
                    break;
                }
            }
        }
    }

    #[tokio::test]
    async fn replies_are_held_and_connections_are_cut() -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let target = Target::Tcp(listener.local_addr()?);
        let tasks = Tasks::new();
        tasks.spawn("counter", counter(listener));
        let proxy = Proxy::start().await?;
        let nobody = Target::Unix(PathBuf::from("/nonexistent/socket"));
        proxy.lead_to(vec![nobody, target]);

        let mut client = TcpStream::connect(proxy.address()).await?;
        client.write_u8(1).await?;
        assert_eq!(client.read_u8().await?, 2);
        assert_eq!(proxy.last_target(), 1);

        proxy.set(Way::RepliesHeld);
        client.write_u8(5).await?;
        tokio::select! {
            biased;
            byte = client.read_u8() => panic!("{byte:?} was not held"),
            () = tokio::task::yield_now() => {}
        }
        proxy.set(Way::Open);
        assert_eq!(client.read_u8().await?, 6);

        proxy.set(Way::Cut);
        assert!(client.read_u8().await.is_err(), "the connection goes on");
        let mut refused = TcpStream::connect(proxy.address()).await?;
        assert!(refused.read_u8().await.is_err(), "a connection was made");
        proxy.set(Way::Open);
        let mut again = TcpStream::connect(proxy.address()).await?;
        again.write_u8(7).await?;
        assert_eq!(again.read_u8().await?, 8);
        Ok(())
    }
}
