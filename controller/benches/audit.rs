//! How fast the audit log is verified: `make bench-audit`. Three ways, on both engines: the chain alone in memory, from the
//! database on the controller's host, and over gRPC as `tradepost audit verify` does it. Also what telling costs.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]
#![expect(clippy::expect_used, reason = "a failed expectation is a failed measurement")]
#![expect(dead_code, reason = "the tests' people can do more than is needed here")]

#[path = "../tests/it/person.rs"]
mod person;
#[path = "../tests/it/raw.rs"]
mod raw;
#[path = "../tests/it/system.rs"]
mod system;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tradepost_controller::app::{self, Opener};
use tradepost_controller::service::AuditLog;
use tradepost_domain::audit::verify::Verifier;
use tradepost_domain::audit::{Actor, Chain, Head, Link, Outcome, Target};
use tradepost_proto::v1;
use tradepost_runtime::tls;
use tradepost_testkit::{TestDatabase, wait};
use v1::audit_service_client::AuditServiceClient;

use crate::system::System;

/// Entries of one log.
const ENTRIES: usize = 100_000;
/// Entries that are stored at once.
const WRITERS: usize = 64;
/// The least that is asked of a verification, entries a second.
const WANTED: f64 = 100_000.0;
/// Repetitions; the median counts.
const TIMES: usize = 3;

fn main() -> ExitCode {
    tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<()> {
    let mut slowest = f64::INFINITY;
    for (engine, database) in
        [("SQLite", TestDatabase::sqlite()?), ("PostgreSQL", TestDatabase::empty_postgres().await?)]
    {
        let system = System::start_on(database).await?;
        let log = app::open_audit_log(&system.config(), &system.surroundings(), Opener::Command).await?;
        fill(engine, &log).await?;
        let links = read(&log).await?;
        let alone = median(&rates(|| async { in_memory(&links) }).await?);
        let host = median(&rates(|| async { from_database(&log).await }).await?);
        let remote = median(&rates(|| async { over_grpc(&system).await }).await?);
        println!(
            "{engine:<11} verify, entries a second: {alone:>9.0} in memory  {host:>9.0} from the database  {remote:>9.0} over gRPC"
        );
        slowest = slowest.min(alone).min(host).min(remote);
        log.close().await;
    }
    ensure!(slowest >= WANTED, "{slowest:.0} entries a second; {WANTED:.0} are wanted (PROFILE=measured?)");
    Ok(())
}

async fn fill(engine: &str, log: &AuditLog) -> Result<()> {
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let log = log.clone();
        writers.spawn(async move {
            for n in (writer..ENTRIES).step_by(WRITERS) {
                let mut entry = log.author(Actor::Host, "controller/bench").entry(Outcome::Done);
                entry.set_target(Target::Posting, uuid::Uuid::from_u128(n as u128));
                log.add(entry).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    let stored = began.elapsed();
    wait::until("all entries to have their places", Duration::from_secs(300), || async {
        let waiting = log.waiting(None).await.map_err(|error| error.to_string())?;
        if waiting.count == 0 { Ok(()) } else { Err(format!("{waiting:?}")) }
    })
    .await?;
    println!(
        "{engine:<11} {ENTRIES} entries: {:.0} a second stored alone by {WRITERS} callers, sealed {:.1} s after the last",
        rate(ENTRIES, stored),
        began.elapsed().saturating_sub(stored).as_secs_f64()
    );
    Ok(())
}

async fn read(log: &AuditLog) -> Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    loop {
        let page = log.links(Chain::SYSTEM, links.last().map_or(0, |link| link.seq)).await?;
        if page.is_empty() {
            return Ok(links);
        }
        links.extend(page);
    }
}

fn in_memory(links: &[Link]) -> Result<usize> {
    let mut verifier = Verifier::new(Chain::SYSTEM, Vec::new());
    for link in links {
        verifier.push(link);
    }
    let verdict = verifier.finish(None::<Head>);
    ensure!(verdict.is_whole(), "{verdict:?}");
    Ok(links.len())
}

async fn from_database(log: &AuditLog) -> Result<usize> {
    let verdict = log.verify(Chain::SYSTEM, Vec::new()).await?;
    ensure!(verdict.is_whole(), "{verdict:?}");
    Ok(usize::try_from(verdict.read)?)
}

async fn over_grpc(system: &System) -> Result<usize> {
    let operator = system.user().await?;
    let request = operator.request(v1::StreamSystemAuditEntriesRequest { chain: String::from("system") });
    let mut stream = AuditServiceClient::new(operator.channel.clone())
        .stream_system_audit_entries(request)
        .await?
        .into_inner();
    let mut verifier = Verifier::new(Chain::SYSTEM, Vec::new());
    while let Some(part) = stream.message().await? {
        for entry in part.entries {
            verifier.push(&Link::try_from(entry)?);
        }
    }
    let verdict = verifier.finish(None);
    ensure!(verdict.is_whole(), "{verdict:?}");
    Ok(usize::try_from(verdict.read)?)
}

async fn rates<F: Future<Output = Result<usize>>>(run: impl Fn() -> F) -> Result<Vec<f64>> {
    let mut rates = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        rates.push(rate(run().await?, began.elapsed()));
    }
    Ok(rates)
}

#[expect(clippy::cast_precision_loss, reason = "a rate is told to a few digits")]
fn rate(entries: usize, time: Duration) -> f64 {
    entries as f64 / time.as_secs_f64().max(1e-9)
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
