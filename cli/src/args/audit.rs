//! The audit log.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueHint};

use super::Limit;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List entries, newest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        which: Which,
        /// Only by this user or agent
        #[arg(long, value_name = "ID")]
        actor: Option<String>,
        /// Only of this method, e.g. CreatePosting
        #[arg(long, value_name = "METHOD")]
        method: Option<String>,
        /// Only about the thing of this id: a posting, a user, an agent…
        #[arg(long, value_name = "ID")]
        target: Option<String>,
        /// Not before this: 2026-11-25, 2026-11-25T14:00:00Z, or how long ago: 2h, 3d
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<SystemTime>,
        /// Before this; likewise
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<SystemTime>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Write the whole log as lines of JSON, with its hashes and a signed checkpoint at the end
    ///
    /// `tradepost audit verify --file` checks such a file without a controller.
    Export {
        #[command(flatten)]
        which: Which,
        /// The new file; standard output without it
        #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Read the whole log and check it here: nothing edited, removed, moved or cut off
    ///
    /// Ends with 1 when something is wrong, and names the first place. A tail that was cut off, and a log that was written
    /// anew, are found by checkpoints that were kept elsewhere: give them with --checkpoints.
    Verify {
        #[command(flatten)]
        which: Which,
        /// Check an export instead of asking the controller
        #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, conflicts_with = "system")]
        file: Option<PathBuf>,
        /// Also check against the checkpoints of this file; may be repeated
        #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
        checkpoints: Vec<PathBuf>,
        /// The key that signs checkpoints, as hex or a file with it (audit.pub in the controller's identity folder)
        #[arg(long, value_name = "KEY")]
        public_key: Option<String>,
    },
    /// Print a signed word about how long the log is and how it ends; keep it elsewhere
    Checkpoint {
        #[command(flatten)]
        which: Which,
    },
}

/// Whose log.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// All logs instead of the workspace's; for operators
    #[arg(long)]
    pub(crate) system: bool,
}

/// A point in time, or how long ago.
fn time(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return now().checked_sub(ago).ok_or_else(|| String::from("is too long ago"));
    }
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    humantime::parse_rfc3339_weak(&whole).map_err(|_| {
        String::from("not a time; write 2026-11-25, 2026-11-25T14:00:00Z, or how long ago: 2h, 3d")
    })
}

fn now() -> SystemTime {
    let micros = crate::output::Output::now().as_microsecond();
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_instants_or_ages() {
        let seconds =
            |text: &str| time(text).map(|at| at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs());
        assert_eq!(seconds("2026-11-25"), Ok(1_795_564_800));
        assert_eq!(seconds("2026-11-25T14:00:00Z"), Ok(1_795_615_200));
        let age = time("2h").expect("an age");
        assert!(now().duration_since(age).expect("past") >= Duration::from_secs(7200));
        assert!(time("soon").is_err());
    }
}
