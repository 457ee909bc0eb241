//! Starts the practice marketplace: arguments, logging, sandbox, shutdown.

mod args;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tradepost_runtime::tasks::termination_requested;
use tradepost_sandbox::{Config, Sandbox};

use crate::args::Args;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the one line a person reads when the start fails")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(if args.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN })
        .init();
    let sandbox = Sandbox::bind(Config::new(args.data, args.port, args.sellers)).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "sandbox on {}", sandbox.url()).context("cannot write to stdout")?;
    stdout.flush().context("cannot write to stdout")?;
    sandbox.serve(async { drop(termination_requested().await) }).await?;
    Ok(())
}
