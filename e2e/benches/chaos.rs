//! `make chaos`: a long series of faults on real processes, drawn from a seed, with the sites' own records as the judge.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tradepost_e2e::chaos::case::{self, Case};
use tradepost_e2e::chaos::{self, table};
use tradepost_testkit::workspace_root;

/// Cases of a series without ROUNDS.
const ROUNDS: usize = 120;
/// With fewer cases inside the commit, a share says nothing.
const ENOUGH: usize = 20;
/// Share in percent of them that must be decided without a person.
const RESOLVED: f64 = 95.0;

struct Wishes {
    seed: u64,
    cases: Vec<Case>,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done =
        runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(until_ended(series())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            chaos::say(&format!("chaos: {error:#}"));
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

/// `--seed N --rounds N|all --only N[,N…]`; each may be absent or empty.
fn wishes() -> Result<Wishes> {
    let words: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = words.iter().position(|word| word == name)?;
        words.get(place + 1).filter(|value| !value.is_empty() && !value.starts_with("--")).cloned()
    };
    let seed = match value("--seed") {
        Some(seed) => seed.parse().context("SEED is a number")?,
        None => {
            let mut bytes = [0_u8; 4];
            tradepost_runtime::ids::Ids::from_system().fill(&mut bytes);
            u64::from(u32::from_le_bytes(bytes))
        }
    };
    let mut cases = case::draw(seed);
    if let Some(only) = value("--only") {
        let only: Vec<usize> = only
            .split(',')
            .map(|n| n.trim().parse())
            .collect::<Result<_, _>>()
            .context("ONLY has numbers")?;
        cases.retain(|case| only.contains(&case.number));
    } else {
        match value("--rounds").as_deref() {
            Some("all") => {}
            Some(rounds) => cases.truncate(rounds.parse().context("ROUNDS is a number or all")?),
            None => cases.truncate(ROUNDS),
        }
    }
    Ok(Wishes { seed, cases })
}

async fn series() -> Result<()> {
    let Wishes { seed, cases } = wishes()?;
    let directory = workspace_root().join("target/chaos").join(seed.to_string());
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    std::fs::create_dir_all(&directory)?;
    chaos::say(&format!("seed {seed}: {} cases", cases.len()));
    let verdicts = chaos::run(&cases, &directory).await?;
    let text = table::render(&verdicts);
    std::fs::write(directory.join("table.txt"), &text)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    let failing: Vec<String> =
        verdicts.iter().filter(|v| !v.is_clean()).map(|v| v.case.number.to_string()).collect();
    if !failing.is_empty() {
        writeln!(out, "kept: {}", directory.display())?;
        bail!(
            "{} of {} cases failed; replay: make chaos SEED={seed} ONLY={}",
            failing.len(),
            verdicts.len(),
            failing.join(",")
        );
    }
    let inside = verdicts.iter().filter(|verdict| verdict.case.point.in_commit()).count();
    if let Some(share) = table::resolved_in_commit(&verdicts).filter(|_| inside >= ENOUGH)
        && share < RESOLVED
    {
        bail!("only {share:.1} % of {inside} faults inside the commit were decided without a person");
    }
    writeln!(out, "seed {seed}: {} cases, 0 duplicates, 0 losses", verdicts.len())?;
    Ok(())
}
