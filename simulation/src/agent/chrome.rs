//! A Chrome of one run: a process of its own, which may outlive its agent, and whose click becomes a request to the site.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use tokio::sync::Notify;
use tradepost_agent::platform::processes::ProcessRef;

use super::Machine;
use crate::executor::{ProcessId, WORLD};
use crate::site::{Answer, Form, Maker};
use crate::world::{World, lock};

/// One Chrome.
#[derive(Debug)]
pub struct Chrome {
    /// As the journal names it.
    pub process: ProcessRef,
    /// Its tasks.
    pub tasks: ProcessId,
    alive: AtomicBool,
    gone: Notify,
}

impl Chrome {
    /// Starts one on a machine.
    pub fn start(world: &World, machine: &Machine) -> Arc<Self> {
        let tasks = world.exec.process();
        let pid = u32::try_from(tasks.0).unwrap_or(u32::MAX);
        let process = ProcessRef { pid, started: tasks.0 };
        let chrome = Arc::new(Self { process, tasks, alive: AtomicBool::new(true), gone: Notify::new() });
        lock(&machine.chromes).push(Arc::clone(&chrome));
        chrome
    }

    /// Ends it.
    pub fn kill(&self, world: &World) {
        if self.alive.swap(false, Ordering::Relaxed) {
            world.exec.kill(self.tasks);
            self.gone.notify_waiters();
            world.say(|| format!("chrome {}: is dead", self.process.pid));
        }
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Resolves when it is no more.
    pub async fn gone(&self) {
        loop {
            let told = self.gone.notified();
            if !self.is_alive() {
                return;
            }
            told.await;
        }
    }

    /// Clicks the last button of a filled form. The answer never comes when Chrome or the way to the site is lost.
    pub fn click(&self, world: &Arc<World>, form: Form) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let world = Arc::clone(world);
        world.exec.clone().spawn(self.tasks, async move {
            let slow = world.fault("Chrome takes long from the click to the request", 0.05);
            let most = if slow { Duration::from_secs(20) } else { Duration::from_millis(150) };
            world.exec.sleep(world.exec.between(Duration::from_millis(1), most)).await;
            lock(&world.site).under_way += 1;
            let site = submitted(Arc::clone(&world), form, answer);
            world.exec.spawn(WORLD, site);
        });
        answered
    }
}

/// What the site makes of a form, whatever becomes of the Chrome that sent it.
async fn submitted(world: Arc<World>, form: Form, answer: oneshot::Sender<Answer>) {
    let (exec, plan) = (&world.exec, &world.plan);
    let slow = world.fault("the site works on a form for minutes", plan.site_slow);
    let most = if slow { Duration::from_secs(120) } else { Duration::from_millis(1500) };
    exec.sleep(exec.between(Duration::from_millis(20), most)).await;
    let told = if world.fault("the site refuses a form", plan.site_rejects) {
        Some(Answer::Rejected)
    } else if world.fault("the site answers with an error and does nothing", plan.site_error) {
        Some(Answer::Broken)
    } else {
        let id = publish(&world, &form);
        if !world.fault("the answer is lost after the effect", plan.answer_lost) {
            Some(Answer::Made(id))
        } else if exec.chance(0.5) {
            Some(Answer::Broken)
        } else {
            None
        }
    };
    lock(&world.site).under_way -= 1;
    exec.sleep(exec.between(Duration::from_millis(5), Duration::from_millis(300))).await;
    if let Some(told) = told {
        // Chrome may be gone.
        drop(answer.send(told));
    }
}

fn publish(world: &Arc<World>, form: &Form) -> String {
    let (exec, plan) = (&world.exec, &world.plan);
    let hidden_for = if world.fault("a new listing is hidden for hours", plan.late_visibility) {
        exec.between(Duration::from_secs(30), Duration::from_secs(20 * 3600))
    } else {
        exec.between(Duration::ZERO, Duration::from_secs(3))
    };
    let (text, maker) = ((form.title.clone(), form.price.clone()), Maker::Us(form.clone()));
    let id = lock(&world.site).make(form.account, text, maker, world.now(), hidden_for);
    world.say(|| format!("site: made {id} for {} on {}", form.posting, form.account));
    world.count("a listing is made");
    if world.fault("the site takes a new listing down", plan.site_removes) {
        let (world, id) = (Arc::clone(world), id.clone());
        world.exec.clone().spawn(WORLD, async move {
            world.exec.sleep(world.exec.between(Duration::ZERO, Duration::from_secs(60))).await;
            lock(&world.site).remove(&id, world.now());
            world.say(|| format!("site: took {id} down"));
        });
    }
    id
}
