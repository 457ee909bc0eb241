//! Command line of the practice marketplace.

use std::path::PathBuf;

/// The practice marketplace: a realistic site to post to, on this machine only.
#[derive(Debug, clap::Parser)]
#[command(name = "sandbox", version)]
pub(crate) struct Args {
    /// Folder for the ledger and the photos; it is made when missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Port on 127.0.0.1; 0 takes a free one, and the printed line names it.
    #[arg(long, default_value_t = 8800)]
    pub(crate) port: u16,
    /// How many sellers exist: seller1@example.com with the password "correct horse 1", and so on.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) sellers: u32,
    /// Log each request to stderr.
    #[arg(long, short)]
    pub(crate) verbose: bool,
}
