//! `tradepost agents …`.

use std::time::Duration;

use clap::Subcommand;

use super::Limit;

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// List agents
    #[command(visible_alias = "ls")]
    List(Limit),
    /// Show an agent
    Show {
        /// Id, unique beginning of the id, or name
        agent: String,
    },
    /// Refuse an agent from now on; its jobs wait
    Revoke {
        /// Id, unique beginning of the id, or name
        agent: String,
    },
    /// Let an agent in again that waits for approval: its data directory was copied, or it was away for too long
    ///
    /// Of two copies, end one and remove its data directory first: the first to come is let in, and the other one locks the
    /// agent again.
    Approve {
        /// Id, unique beginning of the id, or name
        agent: String,
    },
    /// Invitations for new agents
    #[command(subcommand, visible_alias = "enroll-token")]
    EnrolToken(EnrolTokenCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum EnrolTokenCommand {
    /// Make a single-use string for `tradepost-agent enrol`
    ///
    /// The string alone goes to standard output, so that it can be piped.
    Create {
        /// How long the string works, at most 24h
        #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = super::duration)]
        ttl: Duration,
    },
}
