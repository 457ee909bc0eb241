//! The network between agents and controllers: cuts, delays, losses; ordered streams and single calls.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::Notify;

use crate::world::{World, lock};

/// Which pairs do not reach each other.
#[derive(Debug, Default)]
pub struct Network {
    cut: BTreeSet<(usize, usize)>,
}

/// A machine and the controller it talks to.
pub type Route = (usize, usize);

impl Network {
    /// Cuts or mends the way between a machine and a controller.
    pub fn set(&mut self, route: Route, cut: bool) {
        if cut {
            self.cut.insert(route);
        } else {
            self.cut.remove(&route);
        }
    }

    /// Everybody reaches everybody.
    pub fn mend(&mut self) {
        self.cut.clear();
    }

    /// Whether the way is cut.
    pub fn is_cut(&self, route: Route) -> bool {
        self.cut.contains(&route)
    }
}

/// How long one hop takes.
pub fn hop(world: &World) -> Duration {
    let most = if world.exec.chance(0.05) { 400 } else { 20 };
    world.exec.between(Duration::from_micros(300), Duration::from_millis(most))
}

/// One direction of a stream: frames arrive in order, and not while the way is cut.
struct Pipe<T> {
    frames: VecDeque<(Duration, T)>,
    /// When the other end learns that this one is gone; never if the word of it is lost.
    ended: Option<Duration>,
    /// Nobody reads any more.
    unread: bool,
}

/// The end that frames go into.
pub struct Outlet<T> {
    world: Arc<World>,
    pipe: Arc<(Mutex<Pipe<T>>, Notify)>,
}

/// The end that frames come out of.
pub struct Inlet<T> {
    world: Arc<World>,
    route: Route,
    pipe: Arc<(Mutex<Pipe<T>>, Notify)>,
}

/// A direction of a stream along `route`.
pub fn pipe<T>(world: &Arc<World>, route: Route) -> (Outlet<T>, Inlet<T>) {
    let pipe =
        Arc::new((Mutex::new(Pipe { frames: VecDeque::new(), ended: None, unread: false }), Notify::new()));
    let outlet = Outlet { world: Arc::clone(world), pipe: Arc::clone(&pipe) };
    (outlet, Inlet { world: Arc::clone(world), route, pipe })
}

impl<T> Outlet<T> {
    /// Sends; false when the other end is known to be gone.
    pub fn send(&self, frame: T) -> bool {
        let arrives = self.world.exec.now() + hop(&self.world);
        let mut pipe = lock(&self.pipe.0);
        if pipe.unread {
            return false;
        }
        let after = pipe.frames.back().map_or(Duration::ZERO, |(at, _)| *at);
        pipe.frames.push_back((arrives.max(after), frame));
        drop(pipe);
        self.pipe.1.notify_one();
        true
    }
}

impl<T> Drop for Outlet<T> {
    fn drop(&mut self) {
        // A crash or a cut cable does not say good-bye.
        let silent = self.world.fault("a stream ends without a word", 0.3);
        let at = self.world.exec.now() + hop(&self.world);
        lock(&self.pipe.0).ended = (!silent).then_some(at);
        self.pipe.1.notify_one();
    }
}

impl<T> Inlet<T> {
    /// The next frame; none when the stream has ended. Waits for ever when the other end is silent.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            let now = self.world.exec.now();
            let cut = lock(&self.world.network).is_cut(self.route);
            let wait = {
                let mut pipe = lock(&self.pipe.0);
                let first = pipe.frames.front().map(|(at, _)| *at);
                match (first, pipe.ended) {
                    _ if cut => Some(Duration::from_millis(250)),
                    (Some(at), _) if at <= now => return pipe.frames.pop_front().map(|(_, frame)| frame),
                    (Some(at), _) => Some(at - now),
                    (None, Some(at)) if at <= now => return None,
                    (None, Some(at)) => Some(at - now),
                    (None, None) => None,
                }
            };
            let told = self.pipe.1.notified();
            match wait {
                Some(wait) => {
                    select(Box::pin(told), self.world.exec.sleep(wait)).await;
                }
                None => told.await,
            }
        }
    }
}

impl<T> Drop for Inlet<T> {
    fn drop(&mut self) {
        lock(&self.pipe.0).unread = true;
    }
}

/// Gives up on `work` after `limit`.
pub async fn within<T>(world: &World, limit: Duration, work: impl Future<Output = T> + Send) -> Option<T> {
    match select(Box::pin(work), world.exec.sleep(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}
