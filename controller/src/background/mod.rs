//! Background tasks: each works from the full state, takes no input, and may run anywhere, any number of times.
//!
//! To add one: its round in `service`, its line in [`start`].

pub mod dispatch;
mod driver;
pub mod hints;
mod retention;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tradepost_runtime::clock::disciplined::{DisciplinedClock, SAMPLE_EVERY};
use tradepost_runtime::tasks::Tasks;

use self::driver::Driver;
use crate::checkpoints::Checkpoints;
use crate::config::Retention;
use crate::service::{Core, People};
use crate::session::Sessions;
use crate::{metric, timekeeping};

/// Agents that were heard of are recorded this often, and streams of revoked ones ended: within five seconds, jitter and
/// the round itself included, even when every hint was lost.
const TOUCH: Duration = Duration::from_secs(4);
/// Without a hint, jobs that became ready are looked for this often.
const DISPATCH: Duration = Duration::from_secs(1);
/// Leases and permits whose time has passed are looked for this often.
const SWEEP: Duration = Duration::from_secs(1);
/// After a start, agents get this long to come back with their runs before leases are ended. Short, as a lease that has ended
/// is 30 seconds old already and a job must not seem to run for longer than 35; an agent that comes later takes its parked run
/// up again.
const GRACE: Duration = Duration::from_secs(2);
/// Windows of accounts that have ended are looked for this often.
const WINDOWS: Duration = Duration::from_secs(1);
/// What is old is let go this often.
const RETENTION: Duration = Duration::from_secs(3600);
/// Jobs are counted this often.
const COUNT: Duration = Duration::from_secs(10);
/// Entries of the audit log get their places this often.
const SEAL: Duration = Duration::from_secs(1);
/// Ended sessions and counters are deleted this often.
const PURGE: Duration = Duration::from_secs(3600);

// A dead agent's job leaves Running at most 35 s after the last sign of life, whenever a controller runs or is started: at
// the end of its lease, and one (late) round of the sweep or the grace after a start later; the rest is for the round itself.
const _: () = {
    let longest_round = SWEEP.as_millis() * 11 / 10;
    let later = if longest_round > GRACE.as_millis() { longest_round } else { GRACE.as_millis() };
    assert!(tradepost_domain::job::LEASE.as_millis() + later <= 33_000);
};

/// When leases of a time before this process may be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// After agents had time to come back.
    ForAgents,
    /// At once: tests.
    None,
}

/// Starts every background task.
pub fn start(
    core: &Core,
    people: &People,
    sessions: &Sessions,
    tasks: &Tasks,
    grace: Grace,
    kept: Retention,
) {
    let driver = Driver { tasks: tasks.clone(), ids: core.ids.clone() };
    let wake = Arc::new(Notify::new());
    hints::start(core, sessions, tasks, &wake);
    let grace = if grace == Grace::None { Duration::ZERO } else { GRACE };
    let (core_, sessions_) = (core.clone(), sessions.clone());
    driver.spawn("dispatch", Duration::ZERO, DISPATCH, wake, move || {
        let (core, sessions) = (core_.clone(), sessions_.clone());
        async move { dispatch::round(&core, &sessions).await }
    });
    let core_ = core.clone();
    driver.spawn("leases", grace, SWEEP, Arc::default(), move || {
        let core = core_.clone();
        async move { core.sweep_leases().await.map(drop) }
    });
    let core_ = core.clone();
    driver.spawn("overdue-permits", Duration::ZERO, SWEEP, Arc::default(), move || {
        let core = core_.clone();
        async move { core.sweep_overdue().await.map(drop) }
    });
    let core_ = core.clone();
    driver.spawn("windows", Duration::ZERO, WINDOWS, Arc::default(), move || {
        let core = core_.clone();
        async move { core.roll_windows().await.map(drop) }
    });
    let (core_, sessions_) = (core.clone(), sessions.clone());
    driver.spawn("touch", Duration::ZERO, TOUCH, Arc::default(), move || {
        let (core, sessions) = (core_.clone(), sessions_.clone());
        async move { dispatch::touch(&core, &sessions).await }
    });
    let core_ = core.clone();
    driver.spawn("retention", grace, RETENTION, Arc::default(), move || {
        let core = core_.clone();
        async move { retention::round(&core, kept).await }
    });
    let (core_, sessions_) = (core.clone(), sessions.clone());
    driver.spawn("counts", Duration::ZERO, COUNT, Arc::default(), move || {
        let (core, sessions) = (core_.clone(), sessions_.clone());
        async move {
            metric::jobs(&core.store.count_jobs().await?);
            metric::attached(sessions.count());
            Ok(())
        }
    });
    let people = people.clone();
    driver.spawn("purge-sessions", Duration::ZERO, PURGE, Arc::default(), move || {
        let people = people.clone();
        async move { people.purge().await.map(drop) }
    });
}

/// Gives the audit log's entries their places, and takes checkpoints.
pub fn keep_audit_log(core: &Core, tasks: &Tasks, checkpoints: &Arc<Checkpoints>) {
    let driver = Driver { tasks: tasks.clone(), ids: core.ids.clone() };
    let checkpoints = Arc::clone(checkpoints);
    driver.spawn("audit-log", Duration::ZERO, SEAL, Arc::default(), move || {
        let checkpoints = Arc::clone(&checkpoints);
        async move { checkpoints.round().await }
    });
}

/// Keeps `clock` at the database's.
pub fn keep_time(core: &Core, tasks: &Tasks, clock: Arc<DisciplinedClock>) {
    let driver = Driver { tasks: tasks.clone(), ids: core.ids.clone() };
    let core = core.clone();
    driver.spawn("clock", SAMPLE_EVERY, SAMPLE_EVERY, Arc::default(), move || {
        let (core, clock) = (core.clone(), Arc::clone(&clock));
        async move { timekeeping::follow(core.store.as_ref(), &clock).await }
    });
}
