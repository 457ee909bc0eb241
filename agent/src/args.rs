//! The command line.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};
use tradepost_domain::id::AccountId;

static VERSION: LazyLock<String> = LazyLock::new(tradepost_runtime::build::describe);

/// Takes posting jobs from a Tradepost controller and drives this PC's Chrome.
#[derive(Debug, Parser)]
#[command(name = "tradepost-agent", version = VERSION.as_str(), max_term_width = 100)]
pub struct Args {
    /// Where the agent keeps its identity, journal and Chrome profiles.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Configuration file [default: agent.toml in the data directory, if it is there].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this PC an agent, with the string that `tradepost agents enrol-token create` prints.
    Enrol {
        /// The enrolment string; it begins with "tp1.".
        string: String,
        /// What to call this agent [default: the PC's name].
        #[arg(long)]
        name: Option<String>,
    },
    /// Take jobs until ended with Ctrl-C or SIGTERM.
    Run(Run),
    /// Show who this agent is, whether it runs, and what it still has to report.
    Status,
    /// See whether everything is there that the agent needs, and what to do if not.
    Check(Programs),
    /// Passwords kept on this PC, for sites whose recipe can sign in by itself.
    #[command(subcommand)]
    Credentials(Credentials),
}

/// How to run.
#[derive(Debug, Default, clap::Args)]
pub struct Run {
    /// Chrome without windows.
    #[arg(long)]
    pub headless: bool,
    /// Jobs at once, each with its own Chrome [default: 2].
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// Which Chrome.
    #[command(flatten)]
    pub programs: Programs,
}

/// Where the programs are.
#[derive(Debug, Default, clap::Args)]
pub struct Programs {
    /// Chrome's or Chromium's program [default: looked for in the usual places].
    #[arg(long, value_name = "PATH")]
    pub chrome: Option<PathBuf>,
    /// chromedriver's program [default: looked for in the usual places].
    #[arg(long, value_name = "PATH")]
    pub chromedriver: Option<PathBuf>,
}

/// Stored passwords.
#[derive(Debug, Subcommand)]
pub enum Credentials {
    /// Store an account's password; it is read from the terminal, or from standard input.
    Set {
        /// The account's id, as `tradepost accounts list` shows it.
        #[arg(long)]
        account: AccountId,
        /// The name or e-mail address to sign in with.
        #[arg(long)]
        username: String,
    },
    /// Show for which accounts a password is stored.
    List,
    /// Forget an account's password.
    Remove {
        /// The account's id.
        #[arg(long)]
        account: AccountId,
    },
}

impl Command {
    /// The options of the programs, where the command has them.
    pub fn programs(&self) -> Option<&Programs> {
        match self {
            Self::Run(run) => Some(&run.programs),
            Self::Check(programs) => Some(programs),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    /// Arguments of the same name in a command and in all commands, and the like.
    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Args::command().debug_assert();
    }
}
