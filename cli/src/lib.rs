//! The `tradepost` command line: everything a person does with Tradepost, over gRPC.
//!
//! ```text
//! args (clap, environment) → cmd/<noun> → client (the only user of tonic) → model
//!                                       → output (the only one that prints)
//! ```
//!
//! Invariants
//! - Standard output carries data only (a table, JSON or JSON lines); messages, progress and errors go to standard error.
//! - Colour and symbols only repeat what words say. JSON field names are those of the API's JSON.
//! - Every failure is an [`error::Error`]: one line, its details, the mend, and a stable exit code.
//!
//! To add a noun: its call in `client/calls.rs` and its type in `model.rs`, its arguments in `args/`, its commands in `cmd/`.

mod args;
mod client;
mod cmd;
mod config;
mod error;
mod known;
mod listing_file;
mod model;
mod output;
mod prompt;
mod vault;

use std::process::ExitCode;

use clap::Parser;
use tracing::Instrument;
use tradepost_runtime::{telemetry, tls};

use crate::args::{Arguments, Global};
use crate::error::{Error, Exit};
use crate::output::Output;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    tls::install_provider();
    let arguments = Arguments::parse();
    let output = Output::new(&arguments.global);
    let Some(command) = arguments.command else {
        output.say(args::short_help().trim_end());
        return Exit::Usage.into();
    };
    let result = with_telemetry(&arguments.global, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::failed(format!("cannot start: {error}")))?;
        // The root of the trace that goes on in the controller and on the agent.
        let span = tracing::info_span!("command");
        let running = cmd::run(command, &arguments.global, &output).instrument(span);
        let exit = runtime.block_on(Box::pin(running));
        // A prompt or a name lookup may still hold a thread: nobody waits for it.
        runtime.shutdown_background();
        exit
    });
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            output.error(&error);
            error.exit.into()
        }
    }
}

fn with_telemetry(global: &Global, body: impl FnOnce() -> Result<Exit, Error>) -> Result<Exit, Error> {
    let options = telemetry::Options {
        filter: global.log.clone(),
        otlp_endpoint: global.otlp_endpoint.clone(),
        ..telemetry::Options::new("tradepost")
    };
    let guard = telemetry::init(&options).map_err(|error| Error::usage(error.to_string()))?;
    let result = body();
    drop(guard);
    result
}
