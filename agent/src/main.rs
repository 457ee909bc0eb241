//! `tradepost-agent`: see the library's documentation.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use tradepost_agent::args::{Args, Command};
use tradepost_agent::config::{self, Settings};
use tradepost_agent::platform::containment::{self, GUARD};
use tradepost_agent::{agent, commands};
use tradepost_runtime::{telemetry, tls};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == GUARD) {
        return containment::run_guard(&arguments[2..]);
    }
    let args = Args::parse_from(arguments);
    let settings = match config::load(&args) {
        Ok(settings) => settings,
        Err(error) => return fail(&error.to_string()),
    };
    let guard = match telemetry::init(&settings.config.telemetry()) {
        Ok(guard) => guard,
        Err(error) => return fail(&error.to_string()),
    };
    tls::install_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let code = match runtime.block_on(dispatch(&args, &settings)) {
        Ok(code) => code,
        Err(error) => fail(&format!("{error:#}")),
    };
    // What still runs may be stuck in the kernel; the journal has all that counts.
    runtime.shutdown_background();
    drop(guard);
    code
}

async fn dispatch(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Enrol { string, name } => {
            print!("{}", commands::enrol(settings, string, name.clone()).await?);
        }
        Command::Run(_) => agent::run(settings, std::env::current_exe()?).await?,
        Command::Status => {
            let (report, good) = commands::status(settings)?;
            print!("{report}");
            return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Check(_) => {
            let (report, fine) = commands::check(settings).await?;
            print!("{report}");
            return Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Credentials(command) => print!("{}", commands::credentials(settings, command)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn fail(message: &str) -> ExitCode {
    eprintln!("tradepost-agent: {message}");
    ExitCode::FAILURE
}
