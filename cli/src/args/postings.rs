//! `tradepost postings …`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use tradepost_domain::job;
use tradepost_domain::posting::State;

use super::Limit;

#[derive(Debug, Subcommand)]
pub(crate) enum PostingsCommand {
    /// Post one or more listings on an account
    ///
    /// Several are asked for together: all of them are posted one after the other, or, if one cannot be, none is.
    Create(CreatePosting),
    /// List postings, newest first
    #[command(visible_alias = "ls")]
    List(ListPostings),
    /// Show a posting
    Show(PostingArgument),
    /// Follow a posting step by step until it ends
    ///
    /// Ctrl-C ends the watching only: the posting goes on. The exit code tells how the posting ended, see
    /// `tradepost help exit-codes`.
    Watch {
        #[command(flatten)]
        posting: PostingArgument,
        #[command(flatten)]
        wait: Wait,
    },
    /// End a posting before its click
    Cancel(PostingArgument),
    /// Try again: after an end without a listing, or when what a person had to do is done
    Retry {
        #[command(flatten)]
        posting: PostingArgument,
        /// Follow it until it ends
        #[arg(long, short)]
        watch: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Look now for an uncertain posting's listing, and not only at the next planned time
    Look {
        #[command(flatten)]
        posting: PostingArgument,
        /// Follow it until it is settled
        #[arg(long, short)]
        watch: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Say what you found on the site about an uncertain posting; shows first what is known of it
    ///
    /// Either --published URL, or --not-published. What each look saw is shown before, and the screenshots are saved.
    Resolve(ResolvePosting),
    /// Say what a posting waits for, and until when
    Why(PostingArgument),
    /// Give a posting another place in its account's queue
    Prioritize {
        #[command(flatten)]
        posting: PostingArgument,
        /// high, normal, low, or a number from -100 to 100
        #[arg(allow_hyphen_values = true, value_parser = priority)]
        priority: i32,
    },
    /// Show the proof of publication
    Receipt(PostingArgument),
}

#[derive(Debug, Args)]
pub(crate) struct PostingArgument {
    /// Id of the posting, or its unique beginning
    pub(crate) posting: String,
}

/// How long to watch.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Wait {
    /// Watch for at most this long; the posting goes on after it
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct CreatePosting {
    /// The listing: id, or its unique beginning; may be given several times
    #[arg(long, short, required_unless_present = "all")]
    pub(crate) listing: Vec<String>,
    /// Every listing of the workspace
    #[arg(long, conflicts_with = "listing")]
    pub(crate) all: bool,
    /// The account: id, unique beginning of the id, or name
    #[arg(long, short)]
    pub(crate) account: String,
    /// high, normal, low, or a number from -100 to 100; higher goes first
    #[arg(long, default_value = "normal", allow_hyphen_values = true, value_parser = priority)]
    pub(crate) priority: i32,
    /// Post although the listing is on this account already
    #[arg(long)]
    pub(crate) again: bool,
    /// Follow it until it ends
    #[arg(long, short)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct ListPostings {
    /// Only of this account
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Only in this state
    #[arg(long, value_enum)]
    pub(crate) state: Option<StateArgument>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct ResolvePosting {
    #[command(flatten)]
    pub(crate) posting: PostingArgument,
    /// It is published: the listing's address on the site
    #[arg(long, value_name = "URL")]
    pub(crate) published: Option<String>,
    /// The listing's id on the site, where its address does not tell it
    #[arg(long, value_name = "ITEM_ID", requires = "published")]
    pub(crate) item: Option<String>,
    /// It is not published
    #[arg(long, conflicts_with = "published")]
    pub(crate) not_published: bool,
    /// Folder for the screenshots [default: tradepost-evidence-ID in the current folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) save: Option<std::path::PathBuf>,
}

/// A priority by its name or number.
fn priority(text: &str) -> Result<i32, String> {
    match text {
        "high" => Ok(job::HIGH),
        "normal" => Ok(0),
        "low" => Ok(-job::HIGH),
        number => number
            .parse()
            .ok()
            .filter(|number| job::PRIORITIES.contains(number))
            .ok_or_else(|| String::from("use high, normal, low, or a number from -100 to 100")),
    }
}

/// A posting's state as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum StateArgument {
    Queued,
    Running,
    Published,
    Uncertain,
    NeedsHuman,
    Failed,
    Cancelled,
}

impl From<StateArgument> for State {
    fn from(state: StateArgument) -> Self {
        match state {
            StateArgument::Queued => Self::Queued,
            StateArgument::Running => Self::Running,
            StateArgument::Published => Self::Published,
            StateArgument::Uncertain => Self::Uncertain,
            StateArgument::NeedsHuman => Self::NeedsHuman,
            StateArgument::Failed => Self::Failed,
            StateArgument::Cancelled => Self::Cancelled,
        }
    }
}
