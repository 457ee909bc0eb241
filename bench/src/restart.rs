//! `restart`: the database server is killed in the middle of the work and started again. How fast is the throughput back,
//! and is anything lost?

use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::Row;
use tokio::time::Instant;
use tradepost_testkit::workspace_root;

use crate::database;
use crate::fleet::{Fleet, Work};
use crate::queue::{Bench, Watch, request};
use crate::stats;

/// Seconds before the kill and after it.
const BEFORE: usize = 10;
const AFTER: usize = 30;
const CALLERS: usize = 16;
/// What is left gets this long to end: leases of lost runs among it.
const SETTLE: Duration = Duration::from_secs(120);

/// Kills the server of `server` (a private one of this checkout) and prints a line per second.
pub(crate) async fn measure(server: &str) -> Result<()> {
    let bench = Bench::open(server, "restart", 16).await?;
    let watch = Arc::new(Watch::default());
    let enrolled = bench.shop.agents.clone();
    let fleet = Fleet::start(&bench.controller.place, &enrolled, 64, Work::Steps(5), watch.clone()).await?;
    let (stop, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let answered: Mutex<HashSet<String>> = Mutex::new(HashSet::new());
    let (this, stop_, refused_, answered_) = (&bench, &stop, &refused, &answered);
    let callers = (0..CALLERS).map(|caller| async move {
        for number in (caller..).step_by(CALLERS) {
            let Some((listing, account)) = this.shop.pair(number) else { return };
            // A call without an answer is repeated under its own name.
            while !stop_.load(Ordering::Relaxed) {
                match this.seller.post(request(number), listing, account).await {
                    Ok(posting) => {
                        answered_.lock().unwrap_or_else(PoisonError::into_inner).insert(posting.id);
                        break;
                    }
                    Err(_) => {
                        refused_.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
            if stop_.load(Ordering::Relaxed) {
                return;
            }
        }
    });
    let observe = async {
        let curve = curve(&watch).await;
        stop.store(true, Ordering::Relaxed);
        curve
    };
    let (_, curve) = tokio::join!(futures::future::join_all(callers), observe);
    let curve = curve?;
    tell(&curve, refused.load(Ordering::Relaxed))?;
    let answered = answered.into_inner().unwrap_or_else(PoisonError::into_inner);
    let lost = lost(&bench, &answered).await?;
    fleet.stop().await;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} postings answered; {} of them lost or not ended", answered.len(), lost)?;
    bench.close().await;
    ensure!(lost == 0, "postings were lost");
    Ok(())
}

/// Ends of runs per second.
async fn curve(watch: &Watch) -> Result<Vec<usize>> {
    let start = Instant::now();
    let mut seconds = Vec::new();
    let mut before = watch.stored.seen();
    let mut crash = None;
    for second in 1..=BEFORE + AFTER {
        tokio::time::sleep_until(start + Duration::from_secs(u64::try_from(second)?)).await;
        let now = watch.stored.seen();
        seconds.push(now - before);
        before = now;
        if second == BEFORE {
            let script = workspace_root().join("deploy/postgres.sh");
            crash = Some(std::process::Command::new(script).args(["crash", "--durable"]).spawn()?);
        }
    }
    let crashed = crash.context("no kill")?.wait()?;
    ensure!(crashed.success(), "the server was not started again");
    Ok(seconds)
}

fn tell(curve: &[usize], refused: usize) -> Result<()> {
    let (before, after) = curve.split_at(BEFORE);
    let values: Vec<f64> = before.iter().skip(2).map(|ends| stats::count(*ends)).collect();
    let usual = stats::median(&values);
    let mut out = std::io::stdout().lock();
    writeln!(out, "ends of runs per second; the server is killed after second {BEFORE}")?;
    for (second, ends) in (1..).zip(curve) {
        writeln!(out, "{second:>4} {ends:>6} {}", "#".repeat(ends / 50))?;
    }
    // Three seconds together, so that one lucky second does not count.
    let back = after.windows(3).position(|three| {
        let mean = stats::count(three.iter().sum::<usize>()) / 3.0;
        mean >= 0.95 * usual
    });
    let back =
        back.map_or_else(|| String::from("not within the measurement"), |second| format!("after {second} s"));
    writeln!(
        out,
        "usual {usual:.0} per second; 95 % of it back {back}; {refused} calls were refused meanwhile"
    )?;
    Ok(())
}

/// Postings that were answered and are not there, or have not ended.
async fn lost(bench: &Bench, answered: &HashSet<String>) -> Result<usize> {
    let end = Instant::now() + SETTLE;
    loop {
        let mut conn = database::connect(&bench.database.url).await?;
        let rows =
            sqlx::query("SELECT id::text FROM postings WHERE state = 'failed'").fetch_all(&mut conn).await?;
        let ended: HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
        let lost = answered.difference(&ended).count();
        if lost == 0 || Instant::now() > end {
            return Ok(lost);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
