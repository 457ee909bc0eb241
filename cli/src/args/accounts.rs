//! `tradepost accounts …`.

use clap::{Args, Subcommand, ValueEnum};

use super::Limit;
use super::pacing::PacingArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum AccountsCommand {
    /// Add a marketplace account
    Add(AddAccount),
    /// List accounts
    #[command(visible_alias = "ls")]
    List(Limit),
    /// Show an account
    Show {
        /// Id, unique beginning of the id, or name
        account: String,
    },
    /// Bind an account to an agent: its Chrome profile lives there from now on
    Bind {
        /// Id, unique beginning of the id, or name
        account: String,
        /// The agent: id, unique beginning of the id, or name
        agent: String,
    },
    /// Change what an account does by itself
    Set {
        /// Id, unique beginning of the id, or name
        account: String,
        /// Post a listing again without asking when looking for a day has proven that its click had no effect, twice at most;
        /// off: you are asked
        #[arg(long, value_enum)]
        auto_republish: Switch,
    },
    /// Have an account signed in on its agent; you complete what the site asks for
    Login {
        /// Id, unique beginning of the id, or name
        account: String,
        /// Follow it until the account is signed in
        #[arg(long, short)]
        watch: bool,
    },
    /// A password that only the account's agent can open, so that it signs in by itself
    #[command(subcommand, visible_alias = "credential")]
    Credentials(CredentialsCommand),
    /// Show or change how often an account may publish
    ///
    /// Without options it shows what holds, what is used of it, and what a publication waits for now.
    Pacing(PacingArguments),
    /// Stop all work of an account until it is resumed
    Pause {
        /// Id, unique beginning of the id, or name
        account: String,
    },
    /// Let a paused account go on
    Resume {
        /// Id, unique beginning of the id, or name
        account: String,
        /// End the rest after what the site answered, too: its cause is gone
        #[arg(long)]
        end_rest: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialsCommand {
    /// Set it: name and password are asked for, or read from standard input, a line each
    ///
    /// They are sealed here to the key of the account's agent. The controller keeps what it cannot open, and the agent types it
    /// into the site's own sign-in form, nowhere else. Codes, consents and CAPTCHAs stay yours.
    Set {
        /// Id, unique beginning of the id, or name
        account: String,
        /// The agent's key as `tradepost-agent status` shows it on its PC, to be sure of it without being asked
        #[arg(long, value_name = "FINGERPRINT")]
        agent_key: Option<String>,
    },
    /// Show how it stands; never the password
    Show {
        /// Id, unique beginning of the id, or name
        account: String,
    },
    /// Remove it
    #[command(visible_alias = "rm")]
    Remove {
        /// Id, unique beginning of the id, or name
        account: String,
    },
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct AddAccount {
    /// What you call it; unique in the workspace
    pub(crate) name: String,
    /// Which marketplace, e.g. sandbox or classified
    #[arg(long)]
    pub(crate) site: String,
    /// Address of the marketplace, e.g. https://www.example.com/
    #[arg(long, value_name = "URL", visible_alias = "url")]
    pub(crate) site_url: String,
    /// The name that the site shows when the right account is signed in
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) sign_in_name: String,
    /// Currency of its listings
    #[arg(long, value_name = "CODE", default_value = "EUR")]
    pub(crate) currency: String,
    /// The agent that posts for it: id, unique beginning of the id, or name
    #[arg(long)]
    pub(crate) agent: Option<String>,
}
