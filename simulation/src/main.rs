//! `simulate`: runs seeds, prints what happened and how to replay what went wrong.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tradepost_simulation::campaign::{keep_trace, run_all, table};

/// Simulates fleets of controllers, agents and marketplaces, each from a seed.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// This seed alone, with its trace.
    #[arg(long)]
    seed: Option<u64>,
    /// Where traces are kept.
    #[arg(long, default_value = "target/sim")]
    traces: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match simulate(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing more can be told when even this fails.
            let _ = writeln!(std::io::stderr(), "simulate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well.
fn simulate(args: &Args) -> std::io::Result<bool> {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    if let Some(seed) = args.seed {
        let (file, report) = keep_trace(&args.traces, seed, None)?;
        writeln!(out, "{}", table(&report.counts))?;
        for violation in &report.violations {
            writeln!(out, "{violation}")?;
        }
        writeln!(out, "seed {seed}: trace {} in {}", report.traced.hash, file.display())?;
        return Ok(report.violations.is_empty());
    }
    let outcome = run_all(args.first, args.seeds, None, 10, |done, broken| {
        if done % 50 == 0 || done == args.seeds {
            // Progress is only for people.
            let _ = write!(std::io::stderr(), "\r{done} of {} seeds, {broken} went wrong ", args.seeds);
        }
    });
    writeln!(err)?;
    writeln!(out, "{}", table(&outcome.counts))?;
    for (seed, report) in &outcome.broken {
        let (file, _) = keep_trace(&args.traces, *seed, None)?;
        writeln!(out, "seed {seed} went wrong; its trace is in {}", file.display())?;
        for violation in &report.violations {
            writeln!(out, "  {violation}")?;
        }
        writeln!(out, "  replay: make sim SEED={seed}")?;
    }
    writeln!(
        out,
        "{} seeds, {} simulated hours: {} went wrong",
        outcome.seeds,
        outcome.hours,
        outcome.broken.len()
    )?;
    Ok(outcome.broken.is_empty())
}
