//! Measurements of the engine through its real interfaces: a controller process, its gRPC API, and simulated agents that
//! hold their streams over mutual TLS. No Chrome: what is measured is the queue, the fence and the stream.
//!
//! `queue` measures by itself; `adapter` is one side of a harness that measures other queues in the same way.

mod adapter;
mod args;
mod controller;
mod database;
mod fleet;
mod queue;
mod restart;
mod scale;
mod seller;
mod stats;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(args.command)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fleet::complain(&format!("tradepost-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Queue { database, jobs, reps, seconds, only } => {
            Box::pin(queue::measure(&database, queue::Plan { jobs, reps, seconds, only })).await
        }
        Command::Restart { database } => Box::pin(restart::measure(&database)).await,
        Command::Scale { database, sizes } => Box::pin(scale::measure(&database, &sizes)).await,
        Command::Adapter(command) => Box::pin(adapter::run(command)).await,
    }
}
