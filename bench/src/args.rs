//! The command line, and what the peers' harness says in the environment.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Measurements of Tradepost's engine.
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enqueueing, whole lifecycles and latency, on one engine.
    Queue {
        /// The database: a PostgreSQL server whose databases may be made and dropped, or `sqlite`.
        #[arg(long)]
        database: String,
        /// Jobs of a throughput measurement.
        #[arg(long, default_value_t = 3_000)]
        jobs: usize,
        /// Repetitions.
        #[arg(long, default_value_t = 3)]
        reps: usize,
        /// Seconds of the latency measurement.
        #[arg(long, default_value_t = 10)]
        seconds: usize,
        /// Only these: enqueue, lifecycle, publication, latency.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
    /// One side of the peers' harness: see the README beside it.
    #[command(subcommand)]
    Adapter(Adapter),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Adapter {
    /// Starts a controller that ends with the scratch folder, and makes a shop.
    Setup,
    /// Keeps the controller of `setup`.
    #[command(hide = true)]
    Keep,
    /// One caller, one job a call.
    Enqueue { jobs: usize },
    /// Some callers at once.
    #[command(name = "enqueue_conc")]
    EnqueueConc { jobs: usize, callers: usize },
    /// Many jobs a call.
    Bulk { jobs: usize, at_once: usize },
    /// So many jobs a second, for some seconds.
    Pace { rate: f64, seconds: f64 },
    /// Agents that write a line for each job.
    Worker,
}

/// What the harness says.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) scratch: PathBuf,
    pub(crate) work_log: PathBuf,
    /// None: SQLite in the scratch folder.
    pub(crate) postgres: Option<String>,
}

impl Surroundings {
    /// From the environment.
    #[expect(clippy::disallowed_methods, reason = "this is the benchmarks' home of the environment")]
    pub(crate) fn of_environment() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
        Ok(Self {
            scratch: variable("SCRATCH")?.into(),
            work_log: variable("WORK_LOG")?.into(),
            postgres: std::env::var("PG_URL").ok().filter(|url| !url.is_empty()),
        })
    }
}
