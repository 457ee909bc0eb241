//! `bench-queue` on one engine: enqueueing, whole lifecycles at some fleet sizes, latency at a low rate.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;
use tradepost_proto::v1;

use crate::controller::Controller;
use crate::database::Database;
use crate::fleet::{Counter, Fleet, Observer, Work};
use crate::seller::{Seller, Shop, Size};
use crate::stats;

/// No measurement takes longer.
const DEADLINE: Duration = Duration::from_secs(300);
/// Jobs a second in the latency measurement, as in the peers' harness.
const LOW_RATE: u32 = 50;
/// Step reports of a run.
const STEPS: u32 = 5;
/// Callers at once while agents work.
const CALLERS: usize = 64;
/// Accounts of a shop: how many runs there can be at once.
const ACCOUNTS: usize = 1024;
const LISTINGS: usize = 16;

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) jobs: usize,
    pub(crate) reps: usize,
    pub(crate) seconds: usize,
    pub(crate) only: Vec<String>,
}

/// What a fleet tells while it is measured.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) stored: Counter,
    began: Mutex<HashMap<String, Instant>>,
}

/// A fresh database with a controller and a furnished shop.
pub(crate) struct Bench {
    pub(crate) database: Database,
    pub(crate) controller: Controller,
    pub(crate) seller: Seller,
    pub(crate) shop: Shop,
    next: usize,
    _folder: tempfile::TempDir,
}

/// One repetition's figures by name.
type Figures = Vec<(String, f64)>;

impl Observer for Watch {
    fn started(&self, dispatch: &v1::Dispatch) {
        let Some(task) = &dispatch.publish else { return };
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        began.insert(task.posting_id.clone(), Instant::now());
    }

    fn stored(&self, _: &v1::RunRef) {
        self.stored.add();
    }
}

/// Measures, and prints a line per figure: its name, the median, the least and the greatest.
pub(crate) async fn measure(database: &str, plan: Plan) -> Result<()> {
    let mut all: Vec<Figures> = Vec::new();
    for rep in 0..plan.reps {
        let mut figures = Figures::new();
        let busy = stats::machine_cpu()?;
        let start = Instant::now();
        let ours = Box::pin(repetition(database, &plan, rep, &mut figures)).await?;
        let foreign = (stats::machine_cpu()? - busy - ours).max(0.0) / start.elapsed().as_secs_f64();
        figures.push(("cores used by others meanwhile".into(), foreign));
        all.push(figures);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<56} {:>10} {:>10} {:>10}", "", "median", "least", "greatest")?;
    let names: Vec<&String> = all.first().into_iter().flatten().map(|(name, _)| name).collect();
    for name in names {
        let values: Vec<f64> =
            all.iter().flatten().filter(|(other, _)| other == name).map(|(_, value)| *value).collect();
        let (least, greatest) = (stats::percentile(&values, 0.0), stats::percentile(&values, 100.0));
        writeln!(out, "{name:<56} {:>10.2} {least:>10.2} {greatest:>10.2}", stats::median(&values))?;
    }
    Ok(())
}

/// Returns the processor seconds that the measured processes spent.
async fn repetition(database: &str, plan: &Plan, rep: usize, figures: &mut Figures) -> Result<f64> {
    let wanted = |part: &str| plan.only.is_empty() || plan.only.iter().any(|only| only == part);
    let (mut spent, before) = (0.0, stats::this_process());
    if wanted("enqueue") {
        let mut bench = Bench::open(database, &format!("enqueue_{rep}"), 16).await?;
        for callers in [1, 16, 64] {
            let jobs = if callers == 1 { plan.jobs / 4 } else { plan.jobs };
            let (took, slowest) = bench.enqueue(jobs, callers).await?;
            figures.push((format!("enqueue/s, {callers} callers"), stats::rate(jobs, took)));
            figures.push((format!("enqueue p99 ms, {callers} callers"), slowest));
        }
        for at_once in [100, 1000] {
            let jobs = plan.jobs / at_once * at_once;
            let took = bench.bulk(jobs, at_once).await?;
            figures.push((format!("bulk rows/s, {at_once} a call"), stats::rate(jobs, took)));
        }
        spent += bench.close().await;
    }
    for (part, work) in [("lifecycle", Work::Steps(STEPS)), ("publication", Work::Publish(STEPS))] {
        let sizes: &[usize] = if part == "lifecycle" { &[1, 8, 64] } else { &[64] };
        for agents in sizes.iter().filter(|_| wanted(part)) {
            let mut bench = Bench::open(database, &format!("{part}_{agents}_{rep}"), *agents).await?;
            bench.lifecycle(part, work, plan.jobs, figures).await?;
            spent += bench.close().await;
        }
    }
    if wanted("latency") {
        let mut bench = Bench::open(database, &format!("latency_{rep}"), 16).await?;
        bench.latency(plan.seconds, figures).await?;
        spent += bench.close().await;
    }
    Ok(spent + stats::this_process() - before)
}

impl Bench {
    pub(crate) async fn open(server: &str, name: &str, agents: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let database = Database::fresh(server, &format!("bench_{name}"), folder.path()).await?;
        let controller = Controller::start(folder.path(), &database.url).await?;
        let seller = Seller::connect(&controller.place).await?;
        let size = Size { agents, accounts_per_agent: ACCOUNTS / agents, listings: LISTINGS };
        let shop = seller.furnish(&controller.place, size).await?;
        Ok(Self { database, controller, seller, shop, next: 0, _folder: folder })
    }

    /// Ends it all; returns what controller and database server spent.
    pub(crate) async fn close(self) -> f64 {
        let spent = stats::cpu_seconds(self.controller.process.pid()) + self.database.spent();
        drop(self.controller);
        self.database.drop().await;
        spent
    }

    fn take(&mut self, jobs: usize) -> usize {
        let first = self.next;
        self.next += jobs;
        first
    }

    /// `jobs` calls from `callers` at once: how long, and the 99th percentile of a call in milliseconds.
    pub(crate) async fn enqueue(&mut self, jobs: usize, callers: usize) -> Result<(Duration, f64)> {
        let first = self.take(jobs);
        let start = Instant::now();
        let this = &*self;
        let all = (0..callers).map(|caller| async move {
            let mut took = Vec::new();
            for number in (first + caller..first + jobs).step_by(callers) {
                let start = Instant::now();
                let (listing, account) = this.shop.pair(number).context("no such pair")?;
                this.seller.post(request(number), listing, account).await?;
                took.push(start.elapsed().as_secs_f64() * 1e3);
            }
            anyhow::Ok(took)
        });
        let took = futures::future::try_join_all(all).await?;
        let elapsed = start.elapsed();
        Ok((elapsed, stats::percentile(&took.concat(), 99.0)))
    }

    async fn bulk(&mut self, jobs: usize, at_once: usize) -> Result<Duration> {
        let first = self.take(jobs);
        let start = Instant::now();
        for batch in (first..first + jobs).step_by(at_once) {
            let numbers = batch..(batch + at_once).min(first + jobs);
            let pairs: Vec<_> = numbers.filter_map(|number| self.shop.pair(number)).collect();
            self.seller.post_many(request(batch), &pairs).await?;
        }
        Ok(start.elapsed())
    }

    /// First while callers ask for jobs one by one, then from a backlog.
    async fn lifecycle(&mut self, part: &str, work: Work, jobs: usize, figures: &mut Figures) -> Result<()> {
        let agents = self.shop.agents.len();
        // A publication's calls wait for each other on one connection: more at once would only wait longer.
        let most = if matches!(work, Work::Publish(_)) { 4 } else { 64 };
        let slots = u32::try_from((ACCOUNTS / agents).min(most)).unwrap_or(64);
        let watch = Arc::new(Watch::default());
        let enrolled = self.shop.agents.clone();
        let place = self.controller.place.clone();
        let fleet = Fleet::start(&place, &enrolled, slots, work, watch.clone()).await?;
        let before = self.spent();
        let start = Instant::now();
        self.enqueue(jobs, CALLERS).await?;
        watch.stored.reaches(jobs, DEADLINE).await?;
        let live = start.elapsed();
        let after = self.spent();
        fleet.stop().await;
        figures
            .push((format!("{part}/s, {agents} agents, jobs asked for one by one"), stats::rate(jobs, live)));
        for ((who, before), (_, after)) in before.into_iter().zip(after) {
            let each = (after - before) * 1e6 / stats::count(jobs);
            figures.push((format!("  {part}, {agents} agents: processor µs a job, {who}"), each));
        }
        self.bulk(jobs / 1000 * 1000, 1000).await?;
        let start = Instant::now();
        let fleet = Fleet::start(&place, &enrolled, slots, work, watch.clone()).await?;
        watch.stored.reaches(jobs + jobs / 1000 * 1000, DEADLINE).await?;
        let drained = start.elapsed();
        fleet.stop().await;
        let name = format!("{part}/s, {agents} agents, from a backlog");
        figures.push((name, stats::rate(jobs / 1000 * 1000, drained)));
        Ok(())
    }

    pub(crate) fn spent(&self) -> [(&'static str, f64); 3] {
        [
            ("controller", stats::cpu_seconds(self.controller.process.pid())),
            ("PostgreSQL", self.database.spent()),
            ("client and agents", stats::this_process()),
        ]
    }

    /// Jobs at a low rate: from the call, and from its answer (the commit is before it), until the agent has the job.
    async fn latency(&mut self, seconds: usize, figures: &mut Figures) -> Result<()> {
        let watch = Arc::new(Watch::default());
        let enrolled = self.shop.agents.clone();
        let fleet =
            Fleet::start(&self.controller.place, &enrolled, 64, Work::Steps(0), watch.clone()).await?;
        let jobs = seconds * usize::try_from(LOW_RATE)?;
        let first = self.take(jobs);
        let start = Instant::now();
        let mut asked = Vec::with_capacity(jobs);
        for number in 0..jobs {
            let due = Duration::from_secs(1) / LOW_RATE * u32::try_from(number)?;
            tokio::time::sleep_until(start + due).await;
            let (listing, account) = self.shop.pair(first + number).context("no such pair")?;
            let call = Instant::now();
            let posting = self.seller.post(request(first + number), listing, account).await?;
            asked.push((posting.id, call, Instant::now()));
        }
        watch.stored.reaches(jobs, DEADLINE).await?;
        fleet.stop().await;
        let began = watch.began.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut from_call, mut from_answer) = (Vec::new(), Vec::new());
        for (posting, call, answer) in &asked {
            let at = began.get(posting).context("a job that no agent had")?;
            from_call.push(at.duration_since(*call).as_secs_f64() * 1e3);
            from_answer.push(at.saturating_duration_since(*answer).as_secs_f64() * 1e3);
        }
        for (what, values) in [("call", from_call), ("answer", from_answer)] {
            for percent in [50.0, 99.0] {
                let name = format!("enqueue's {what} to the agent, p{percent} ms at {LOW_RATE}/s");
                figures.push((name, stats::percentile(&values, percent)));
            }
        }
        Ok(())
    }
}

pub(crate) fn request(number: usize) -> String {
    format!("bench-{number}")
}
