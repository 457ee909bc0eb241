//! The `tradepost` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tradepost_cli::main()
}
