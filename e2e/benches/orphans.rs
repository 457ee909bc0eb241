//! `make orphans LOOPS=200`: kill -9 of a working agent; nothing of Chrome may be left five seconds later.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tradepost_e2e::{chaos, orphans};

/// Loops without LOOPS.
const LOOPS: usize = 200;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done =
        runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(until_ended(loops())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            chaos::say(&format!("orphans: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Ends early when it is asked to; what was started ends with it.
async fn until_ended(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        done = work => done,
        asked = tradepost_runtime::tasks::termination_requested() => {
            asked?;
            anyhow::bail!("ended before its end")
        }
    }
}

/// `--loops N --seed N`; each may be absent or empty.
async fn loops() -> Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = words.iter().position(|word| word == name)?;
        words.get(place + 1).filter(|value| !value.is_empty() && !value.starts_with("--")).cloned()
    };
    let loops = value("--loops").map_or(Ok(LOOPS), |n| n.parse()).context("LOOPS is a number")?;
    let drawn = u64::from(std::process::id());
    let seed = value("--seed").map_or(Ok(drawn), |n| n.parse()).context("SEED is a number")?;
    chaos::say(&format!("seed {seed}: {loops} loops"));
    let report = orphans::run(loops, seed, &chaos::say).await?;
    let orphans::Report { loops, with_driver, with_chrome, processes, slowest } = report;
    let text = format!(
        "seed {seed}: {loops} kills of the agent, {with_driver} while chromedriver ran, {with_chrome} while Chrome ran, \
         {processes} processes of theirs in all: 0 left within 5 s, the slowest gone after {:.2} s",
        slowest.as_secs_f64()
    );
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}
