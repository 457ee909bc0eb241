//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

/// The Tradepost controller.
#[derive(Debug, Parser)]
#[command(name = "controller", version = VERSION.as_str(), about, disable_help_subcommand = true)]
pub struct Args {
    /// A configuration file (TOML); see `controller config example`.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// sqlite:PATH or postgres://… [default: tradepost.db in the data directory]
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
    /// Where the controller keeps its files [default: the user's data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Folder of the certificate authority, shared by controllers on one database [default: identity in the data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub identity_dir: Option<PathBuf>,
    /// Address for people and tools [default: 127.0.0.1:7443]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub api_listen: Option<SocketAddr>,
    /// Address for agents [default: 127.0.0.1:7444]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub agents_listen: Option<SocketAddr>,
    /// Also serve people and tools without TLS, for a reverse proxy on this machine; on loopback alone
    #[arg(long, global = true)]
    pub api_plaintext: bool,
    /// Address for metrics; empty for none [default: 127.0.0.1:7445]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub metrics_listen: Option<String>,
    /// Which log lines, e.g. info or warn,tradepost_controller=debug [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until told to end.
    Serve,
    /// Manage this installation.
    #[command(subcommand)]
    Admin(Admin),
    /// Replace the certificate authority step by step, while controllers and agents run.
    #[command(subcommand)]
    Trust(Trust),
    /// The keys that secrets in the database are sealed under.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Copy the embedded database to a file, while a controller may be running.
    Backup {
        /// The new file.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a backup of the embedded database in its place; the controller must not be running.
    ///
    /// The file that is there is kept beside it. The database begins a new fleet epoch: clicks that were under way become
    /// uncertain and are looked for, and each agent tells what it did after the backup was made before it gets work again.
    Restore {
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// The lives of the database.
    #[command(subcommand)]
    FleetEpoch(FleetEpochCommand),
    /// The audit log, read from the database.
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// The audit log.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Check all chains: nothing edited, removed, moved or cut off. Ends with 1 when something is wrong.
    Verify {
        /// Checkpoints to check against; may be repeated [default: the configured file, if it is there]
        #[arg(long, value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// The file with the public key that signed them [default: audit.pub in the identity folder]
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
    },
}

/// The keys that secrets in the database are sealed under.
///
/// All of it goes on beside running controllers. To change the key: `add`, copy the key to every controller that has a file
/// of its own, `rotate`, `verify`, `retire` the old one.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum KeysCommand {
    /// Show which keys there are, and what is sealed under each.
    List,
    /// Make a new key; it opens at once, and seals after `rotate`.
    Add {
        /// Print the key in place of writing it, for keys that come from the environment or from a container's secret
        #[arg(long)]
        print: bool,
    },
    /// Seal everything under the newest key. It may be ended with Ctrl-C, or killed, and begun again.
    Rotate {
        /// Secrets of one transaction
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..10_000))]
        batch: u32,
    },
    /// Open every secret, and say which cannot be opened.
    Verify,
    /// Let go of an old key. Refused while anything needs it.
    Retire {
        /// Its version, e.g. 1
        version: i64,
    },
}

/// The lives of the database.
#[derive(Debug, Clone, Subcommand)]
pub enum FleetEpochCommand {
    /// Begin a new one, after a database was restored by other means than `controller restore`; no controller may be running.
    Bump {
        /// Begin one that comes after this one, too.
        #[arg(long, value_name = "EPOCH", default_value_t = 0, hide_default_value = true,
            value_parser = clap::value_parser!(i64).range(0..1_000_000))]
        after: i64,
        /// Why, for the feeds.
        #[arg(long, default_value = "the database was restored from a backup")]
        reason: String,
    },
}

/// Replace the certificate authority.
///
/// Works on the identity folder; running controllers follow within seconds, attached agents within half a minute, and agents
/// that sleep when they come back. Stay in each phase until the agents that matter have followed.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Trust {
    /// Show where a rotation stands, and what the next step does.
    Status,
    /// Begin a rotation: make a new root and agents CA, and make them known.
    Begin {
        /// Replace the agents CA alone, under the same root.
        #[arg(long)]
        agents_ca_only: bool,
    },
    /// Take the next step: sign with the new ones; then trust them alone; then destroy the old keys.
    Advance,
    /// Take the last step back.
    Rollback,
}

/// Manage this installation.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Make an operator, or one more token for an existing user; prints the API token once.
    Create {
        /// The user's e-mail address.
        #[arg(long)]
        email: String,
        /// The workspace: an existing one of that name is joined, else it is made.
        #[arg(long, default_value = "default")]
        workspace: String,
        /// Also set the user's password: asked for on the terminal, or read from standard input
        #[arg(long)]
        password: bool,
    },
}

/// Look at the configuration.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// Read it, print what holds (secrets masked), and say what is wrong or risky.
    Check,
    /// Print a commented example.
    Example {
        /// As environment variables, for a .env file, in place of TOML
        #[arg(long)]
        env: bool,
    },
}

/// Version and commit.
static VERSION: LazyLock<String> = LazyLock::new(tradepost_runtime::build::describe);

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
