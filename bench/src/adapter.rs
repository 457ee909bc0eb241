//! Our system behind the small command line of the peers' harness.
//!
//! A job is a posting, asked for by the API's own call. The worker is a set of agents with real streams; a run starts when
//! its dispatch arrives (that is what is logged), and ends as rejected by the site before the click, which is the shortest
//! way through the engine that leaves nothing open: posting, intent, job, two writes of the run, the feed.
//!
//! When a job was asked for travels beside it: a file has a place for each pair of account and listing, and the dispatch
//! names both.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use tradepost_proto::v1;
use tradepost_runtime::tasks;

use crate::args::{Adapter, Surroundings};
use crate::controller::{Controller, Place};
use crate::fleet::{Fleet, Observer, Work, complain};
use crate::seller::{Seller, Shop, Size};

/// Runs at once: agents × accounts. Enough that no job waits for its account while others are taken.
const SIZE: Size = Size { agents: 16, accounts_per_agent: 64, listings: 16 };
/// Calls that a client has under way in the bulk step.
const SLOTS: u32 = 64;

/// What `setup` leaves for the other commands.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    place: Place,
    shop: Shop,
}

/// When each pair was asked for last, by the pair's number.
struct Asked(File);

struct Client {
    seller: Seller,
    shop: Shop,
    asked: Asked,
    first: usize,
    run: String,
}

struct Log {
    accounts: HashMap<String, usize>,
    asked: Asked,
    log: File,
}

pub(crate) async fn run(command: Adapter) -> Result<()> {
    let around = Surroundings::of_environment()?;
    match command {
        Adapter::Setup => setup(&around).await,
        Adapter::Keep => keep(&around).await,
        Adapter::Worker => work(&around).await,
        Adapter::Enqueue { jobs } => report(jobs, Client::open(&around, jobs).await?.enqueue(jobs, 1).await?),
        Adapter::EnqueueConc { jobs, callers } => {
            let jobs = jobs / callers * callers;
            report(jobs, Client::open(&around, jobs).await?.enqueue(jobs, callers).await?)
        }
        Adapter::Bulk { jobs, at_once } => {
            let jobs = jobs / at_once * at_once;
            report(jobs, Client::open(&around, jobs).await?.bulk(jobs, at_once).await?)
        }
        Adapter::Pace { rate, seconds } => {
            let jobs = whole(rate * seconds);
            report(jobs, Client::open(&around, jobs).await?.pace(jobs, rate).await?)
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of jobs")]
fn whole(jobs: f64) -> usize {
    jobs as usize
}

fn report(jobs: usize, took: Duration) -> Result<()> {
    let line = json!({ "n": jobs, "secs": took.as_secs_f64() });
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

/// CLOCK_MONOTONIC, as the harness counts: nanoseconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) =
        (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1_000_000_000 + nanos
}

/// Starts the keeper apart from this process, and waits until it is ready.
async fn setup(around: &Surroundings) -> Result<()> {
    let log = File::create(around.scratch.join("keeper.log"))?;
    let mut keeper = Command::new(std::env::current_exe()?);
    keeper.args(["adapter", "keep"]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut keeper = keeper.process_group(0).spawn()?;
    let end = Instant::now() + Duration::from_secs(120);
    while !around.scratch.join("ready").exists() {
        ensure!(keeper.try_wait()?.is_none() && Instant::now() < end, "no controller: {}", said(around));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn said(around: &Surroundings) -> String {
    std::fs::read_to_string(around.scratch.join("keeper.log")).unwrap_or_default()
}

/// Holds the controller until the scratch folder is gone.
async fn keep(around: &Surroundings) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sqlite = format!("sqlite:{}", folder.path().join("tradepost.db").display());
    let database = around.postgres.clone().unwrap_or(sqlite);
    let mut controller = Controller::start(folder.path(), &database).await?;
    let place = controller.place.clone();
    let shop = Seller::connect(&place).await?.furnish(&place, SIZE).await?;
    let kept = serde_json::to_vec(&Kept { place, shop })?;
    std::fs::write(around.scratch.join("kept.json"), kept)?;
    std::fs::write(around.scratch.join("ready"), controller.process.pid().to_string())?;
    while around.scratch.exists() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if controller.process.wait(Duration::ZERO).await.is_ok() {
            complain(&controller.process.tail());
            break;
        }
    }
    Ok(())
}

async fn work(around: &Surroundings) -> Result<()> {
    let Kept { place, shop } = kept(around)?;
    let log = OpenOptions::new().create(true).append(true).open(&around.work_log)?;
    let agents = shop.agents.clone();
    let accounts = shop.accounts.into_iter().enumerate().map(|(number, account)| (account, number)).collect();
    let observer = Arc::new(Log { accounts, asked: Asked::open(around)?, log });
    let fleet = Fleet::start(&place, &agents, SLOTS, Work::Steps(0), observer).await?;
    tasks::termination_requested().await?;
    fleet.stop().await;
    Ok(())
}

fn kept(around: &Surroundings) -> Result<Kept> {
    Ok(serde_json::from_slice(&std::fs::read(around.scratch.join("kept.json"))?)?)
}

impl Asked {
    fn open(around: &Surroundings) -> Result<Self> {
        let path = around.scratch.join("asked");
        Ok(Self(OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?))
    }

    fn put(&self, pair: usize) -> Result<()> {
        Ok(self.0.write_all_at(&now().to_le_bytes(), offset(pair))?)
    }

    fn get(&self, pair: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, offset(pair))?;
        Ok(u64::from_le_bytes(bytes))
    }
}

fn offset(pair: usize) -> u64 {
    u64::try_from(pair).unwrap_or(u64::MAX).saturating_mul(8)
}

/// Takes the next `jobs` numbers, so that several processes in turn use different pairs.
fn take_numbers(folder: &Path, jobs: usize) -> Result<usize> {
    let path = folder.join("next");
    let first = std::fs::read_to_string(&path).ok().and_then(|text| text.parse().ok()).unwrap_or(0_usize);
    std::fs::write(path, (first + jobs).to_string())?;
    Ok(first)
}

impl Client {
    async fn open(around: &Surroundings, jobs: usize) -> Result<Self> {
        let Kept { place, shop } = kept(around)?;
        let seller = Seller::connect(&place).await?;
        let first = take_numbers(&around.scratch, jobs)?;
        Ok(Self { seller, shop, asked: Asked::open(around)?, first, run: now().to_string() })
    }

    async fn one(&self, number: usize) -> Result<()> {
        let number = self.first + number;
        let (listing, account) = self.shop.pair(number).context("no such pair")?;
        self.asked.put(number % self.shop.pairs())?;
        self.seller.post(format!("{}-{number}", self.run), listing, account).await?;
        Ok(())
    }

    async fn enqueue(&self, jobs: usize, callers: usize) -> Result<Duration> {
        let start = Instant::now();
        let all = (0..callers).map(|caller| async move {
            for number in (caller..jobs).step_by(callers) {
                self.one(number).await?;
            }
            anyhow::Ok(())
        });
        futures::future::try_join_all(all).await?;
        Ok(start.elapsed())
    }

    async fn bulk(&self, jobs: usize, at_once: usize) -> Result<Duration> {
        let start = Instant::now();
        for first in (0..jobs).step_by(at_once) {
            let mut pairs = Vec::with_capacity(at_once);
            for number in self.first + first..self.first + first + at_once {
                pairs.push(self.shop.pair(number).context("no such pair")?);
                self.asked.put(number % self.shop.pairs())?;
            }
            self.seller.post_many(format!("{}-{first}", self.run), &pairs).await?;
        }
        Ok(start.elapsed())
    }

    async fn pace(&self, jobs: usize, rate: f64) -> Result<Duration> {
        let start = Instant::now();
        for number in 0..jobs {
            tokio::time::sleep_until(start + Duration::from_secs_f64(crate::stats::count(number) / rate))
                .await;
            self.one(number).await?;
        }
        Ok(start.elapsed())
    }
}

impl Log {
    fn line(&self, dispatch: &v1::Dispatch) -> Result<()> {
        let at = now();
        let account = &dispatch.account.as_ref().context("an account")?.id;
        let task = dispatch.publish.as_ref().context("a publish task")?;
        let title = &task.content.as_ref().context("a content")?.title;
        let listing: usize = title.rsplit(' ').next().unwrap_or_default().parse()?;
        let account = self.accounts.get(account).context("whose account?")?;
        let asked = self.asked.get(listing * self.accounts.len() + account)?;
        let mut log = &self.log;
        Ok(log.write_all(format!("{asked} {at}\n").as_bytes())?)
    }
}

impl Observer for Log {
    fn started(&self, dispatch: &v1::Dispatch) {
        if let Err(error) = self.line(dispatch) {
            complain(&format!("a job was not logged: {error:#}"));
        }
    }

    fn stored(&self, _: &v1::RunRef) {}
}
