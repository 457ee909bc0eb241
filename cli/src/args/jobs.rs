//! `tradepost jobs …` and `tradepost events …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use tradepost_domain::job::{Kind, State};

use super::Limit;

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first
    #[command(visible_alias = "ls")]
    List(ListJobs),
    /// Show a job
    Show {
        /// Id, or its unique beginning
        job: String,
    },
    /// List dead letters: jobs that were given up and not put aside
    DeadLetters(ListDeadLetters),
    /// Try again a job that was given up or waits for a person, or many dead letters
    Retry(Treat),
    /// Put aside a dead letter, or many: they are kept, but no longer listed as such
    Discard(Treat),
    /// Show the steps of a job's runs
    Steps {
        /// Id, or its unique beginning
        job: String,
    },
    /// List the evidence of a job (screenshots, page snapshots), or save it
    Evidence {
        /// Id, or its unique beginning
        job: String,
        /// Save the files in this folder, checked against their hashes
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        save: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ListJobs {
    /// Only of this account: id, unique beginning of the id, or name
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Only in this state
    #[arg(long, value_enum)]
    pub(crate) state: Option<StateArgument>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct ListDeadLetters {
    /// Only of this account: id, unique beginning of the id, or name
    #[arg(long)]
    pub(crate) account: Option<String>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct Treat {
    /// Id of a job, or its unique beginning
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) job: Option<String>,
    /// All dead letters that fit; counts them only, unless --yes is given
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) filter: DeadLetterFilter,
    /// Do it, not only count
    #[arg(long, short, requires = "all")]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeadLetterFilter {
    /// Only of this account: id, unique beginning of the id, or name
    #[arg(long, requires = "all")]
    pub(crate) account: Option<String>,
    /// Only of this kind
    #[arg(long, value_enum, requires = "all")]
    pub(crate) kind: Option<KindArgument>,
    /// Only those that failed by this class, e.g. network
    #[arg(long, value_name = "CLASS", requires = "all")]
    pub(crate) class: Option<String>,
}

/// A kind of jobs as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum KindArgument {
    Login,
    Publish,
    Reconcile,
}

impl From<KindArgument> for Kind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Login => Self::Login,
            KindArgument::Publish => Self::Publish,
            KindArgument::Reconcile => Self::Reconcile,
        }
    }
}

/// A job's state as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum StateArgument {
    Queued,
    Leased,
    Running,
    Parked,
    NeedsHuman,
    Uncertain,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<StateArgument> for State {
    fn from(state: StateArgument) -> Self {
        match state {
            StateArgument::Queued => Self::Queued,
            StateArgument::Leased => Self::Leased,
            StateArgument::Running => Self::Running,
            StateArgument::Parked => Self::Parked,
            StateArgument::NeedsHuman => Self::NeedsHuman,
            StateArgument::Uncertain => Self::Uncertain,
            StateArgument::Succeeded => Self::Succeeded,
            StateArgument::Failed => Self::Failed,
            StateArgument::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List events as they stand
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: EventFilter,
        /// Show at most this many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Follow events as they happen, until Ctrl-C
    Follow {
        #[command(flatten)]
        filter: EventFilter,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EventFilter {
    /// Only events after this number; 0 shows all. By default, `list` begins with the first and `follow` with what
    /// happens from now on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) after: Option<i64>,
    /// Only events about this posting
    #[arg(long)]
    pub(crate) posting: Option<String>,
}
