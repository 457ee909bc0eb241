//! The commands beside `serve` that talk to a person at length.

pub(crate) mod config;
pub(crate) mod keys;

use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "for people at the terminal")]
pub(crate) fn remark(words: impl std::fmt::Display) {
    eprintln!("{words}");
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn say(words: &str) -> ExitCode {
    println!("{words}");
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "one clear line for people at the terminal")]
pub(crate) fn complain(words: impl std::fmt::Display) -> ExitCode {
    eprintln!("controller: {words}");
    ExitCode::FAILURE
}
