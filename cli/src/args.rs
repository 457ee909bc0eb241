//! The command line and the environment. The only module (with its parts) that reads either.

pub(crate) mod accounts;
pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod jobs;
pub(crate) mod listings;
pub(crate) mod pacing;
pub(crate) mod people;
pub(crate) mod postings;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use secrecy::SecretString;
use tradepost_runtime::build;

use self::accounts::AccountsCommand;
use self::agents::AgentsCommand;
use self::audit::AuditCommand;
use self::jobs::{EventsCommand, JobsCommand};
use self::listings::{ListingsCommand, PhotosCommand};
use self::postings::PostingsCommand;
use crate::error::{Error, Result};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Post listings to marketplaces, and watch it happen.
#[derive(Debug, Parser)]
#[command(name = "tradepost", version = build::VERSION, styles = STYLES, max_term_width = 110)]
#[command(
    after_help = "Begin with `tradepost login --email ADDRESS` (`tradepost register` if you are new); then `tradepost status` shows where things stand.\n\
                        `tradepost help COMMAND` explains a command, `tradepost help exit-codes` the exit codes."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Use this context instead of the current one
    #[arg(long, global = true, value_name = "NAME", env = "TRADEPOST_CONTEXT", hide_env_values = true)]
    pub(crate) context: Option<String>,
    /// Address of the controller, e.g. https://127.0.0.1:7443; the current context is then left aside
    #[arg(long, global = true, value_name = "URL", env = "TRADEPOST_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// PEM file of the authority that the controller's certificate comes from
    #[arg(long, global = true, value_name = "PATH", env = "TRADEPOST_CA_FILE", hide_env_values = true)]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,
    /// File that holds the API token, instead of the context's token
    #[arg(long, global = true, value_name = "PATH", env = "TRADEPOST_TOKEN_FILE", hide_env_values = true)]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Workspace that the command works in, by id or name, instead of the session's own
    #[arg(
        long,
        global = true,
        value_name = "WORKSPACE",
        env = "TRADEPOST_WORKSPACE",
        hide_env_values = true
    )]
    pub(crate) workspace: Option<String>,
    /// Whether secrets may be kept in the operating system's keyring.
    #[arg(skip = keyring_of_environment())]
    pub(crate) keyring: bool,
    /// The API token itself; from the environment only, so that no process list shows it.
    #[arg(skip = token_of_environment())]
    pub(crate) token: Option<SecretString>,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "TRADEPOST_OUTPUT",
        hide_env_values = true
    )]
    pub(crate) output: Format,
    /// When to use colour; NO_COLOR is respected
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Colour,
    /// Print no messages or progress, and ids alone instead of tables
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Longest time one call may take
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    #[arg(env = "TRADEPOST_TIMEOUT", hide_env_values = true)]
    pub(crate) timeout: Duration,
    /// Where contexts are kept.
    #[arg(long, global = true, hide = true, env = "TRADEPOST_CONFIG_DIR", hide_env_values = true)]
    pub(crate) config_dir: Option<PathBuf>,
    /// Log lines on standard error, for the search of faults.
    #[arg(
        long,
        global = true,
        hide = true,
        env = "TRADEPOST_LOG",
        hide_env_values = true,
        default_value = "off"
    )]
    pub(crate) log: String,
    /// Where spans are exported (OTLP over gRPC).
    #[arg(long, global = true, hide = true, env = "TRADEPOST_OTLP_ENDPOINT", hide_env_values = true)]
    pub(crate) otlp_endpoint: Option<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal
    #[default]
    Auto,
    /// Also into files and pipes
    Always,
    /// Not at all
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log in to a controller and remember it as a context
    Login(LoginArguments),
    /// End the session and forget its secrets
    Logout,
    /// Ask for an account, or make one by an invitation
    Register(people::RegisterArguments),
    /// Prove anew that it is you, for what needs a fresh proof
    StepUp,
    /// Your password
    #[command(subcommand)]
    Password(people::PasswordCommand),
    /// Your second factor: an authenticator, and recovery codes
    #[command(subcommand, visible_alias = "2fa")]
    SecondFactor(people::SecondFactorCommand),
    /// Your sessions
    #[command(subcommand, visible_alias = "session")]
    Sessions(people::SessionsCommand),
    /// Your API tokens, for programs
    #[command(subcommand, visible_alias = "token")]
    Tokens(people::TokensCommand),
    /// Workspaces
    #[command(subcommand, visible_alias = "workspace")]
    Workspaces(people::WorkspacesCommand),
    /// Members of the workspace
    #[command(subcommand, visible_alias = "member")]
    Members(people::MembersCommand),
    /// Invitations to the workspace
    #[command(subcommand, visible_alias = "invitation")]
    Invitations(people::InvitationsCommand),
    /// Users of the system, for operators
    #[command(subcommand, visible_alias = "user")]
    Users(people::UsersCommand),
    /// Show who you are to the controller
    Whoami,
    /// Show where everything stands
    Status,
    /// Contexts: the controllers you have logged in to
    #[command(subcommand, visible_alias = "contexts")]
    Context(ContextCommand),
    /// Agents: the programs on sellers' PCs that drive Chrome
    #[command(subcommand, visible_alias = "agent")]
    Agents(AgentsCommand),
    /// Marketplace accounts
    #[command(subcommand, visible_alias = "account")]
    Accounts(AccountsCommand),
    /// Listings: what is for sale
    #[command(subcommand, visible_alias = "listing")]
    Listings(ListingsCommand),
    /// Photos
    #[command(subcommand, visible_alias = "photo")]
    Photos(PhotosCommand),
    /// Postings: one listing on one account
    #[command(subcommand, visible_alias = "posting")]
    Postings(PostingsCommand),
    /// Jobs: the work of agents, step by step, with evidence
    #[command(subcommand, visible_alias = "job")]
    Jobs(JobsCommand),
    /// Events: what happens, in order
    #[command(subcommand, visible_alias = "event")]
    Events(EventsCommand),
    /// The audit log: who changed what, from where, and whether nobody changed the log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the completion script of a shell
    ///
    /// For example: tradepost completions bash > ~/.local/share/bash-completion/completions/tradepost
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Show the versions of this program and of the controller
    Version,
    /// Show what the exit codes mean
    #[command(long_about = crate::error::EXIT_CODES, help_template = "{about}")]
    ExitCodes,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArguments {
    /// Sign in with this e-mail address and its password, which is asked for, instead of an API token
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["token_stdin", "token_file"])]
    pub(crate) email: Option<String>,
    /// Read the token from standard input
    #[arg(long, conflicts_with = "token_file")]
    pub(crate) token_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List contexts; the current one is marked
    #[command(visible_alias = "ls")]
    List,
    /// Make a context the current one
    Use {
        /// Name of the context
        name: String,
    },
    /// Show a context, the current one by default
    Show {
        /// Name of the context
        name: Option<String>,
    },
    /// Forget a context and its token
    #[command(visible_alias = "rm")]
    Remove {
        /// Name of the context
        name: String,
    },
}

/// How much of a list is shown.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Limit {
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Show all
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

impl Limit {
    /// How many items to fetch at most.
    pub(crate) fn count(self) -> usize {
        if self.all { usize::MAX } else { self.limit as usize }
    }
}

impl Global {
    /// The folder of contexts: `$XDG_CONFIG_HOME/tradepost`, by default `~/.config/tradepost`; on Windows
    /// `%APPDATA%\tradepost`.
    pub(crate) fn config_dir(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.config_dir {
            return Ok(folder.clone());
        }
        let base = if cfg!(windows) {
            path_of_environment("APPDATA")
        } else {
            path_of_environment("XDG_CONFIG_HOME")
                .filter(|path| path.is_absolute())
                .or_else(|| path_of_environment("HOME").map(|home| home.join(".config")))
        };
        base.map(|base| base.join("tradepost")).ok_or_else(|| {
            Error::usage("there is no home directory to keep contexts in")
                .hint("set HOME, or TRADEPOST_CONFIG_DIR to a folder of your own")
        })
    }
}

/// The script that completes `tradepost` in `shell`.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tradepost", &mut script);
    script
}

/// What `tradepost --help` shows, in short.
pub(crate) fn short_help() -> String {
    Arguments::command().render_help().to_string()
}

/// A duration such as `90s` or `10m`; more than nothing.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|_| String::from("not a duration; write for example 30s, 10m or 2h"))?;
    if duration.is_zero() { Err(String::from("must be more than 0")) } else { Ok(duration) }
}

#[expect(clippy::disallowed_methods, reason = "the home of the environment in this program")]
fn path_of_environment(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// On Linux and the like a keyring is behind the session's bus; without one nobody is asked to unlock anything.
#[expect(clippy::disallowed_methods, reason = "the home of the environment in this program")]
fn keyring_of_environment() -> bool {
    let off = std::env::var("TRADEPOST_KEYRING").is_ok_and(|value| value == "off");
    let has_bus =
        cfg!(any(windows, target_os = "macos")) || std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some();
    has_bus && !off
}

/// This computer's name, for the list of sessions.
#[expect(clippy::disallowed_methods, reason = "the home of the environment in this program")]
pub(crate) fn host_name() -> Option<String> {
    let of_system = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let of_environment = || std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok();
    of_system.or_else(of_environment).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "the home of the environment in this program")]
fn token_of_environment() -> Option<SecretString> {
    std::env::var("TRADEPOST_TOKEN").ok().filter(|token| !token.is_empty()).map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    /// Arguments of the same name in a command and in all commands, and the like.
    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }
}
