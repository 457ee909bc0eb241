//! What users, members and secrets are managed with.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Limit;

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Looks only
    Viewer,
    /// Changes listings and postings
    Editor,
    /// Runs the workspace
    Owner,
}

/// How a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UserState {
    /// Waits for an operator
    Pending,
    /// May sign in
    Active,
    /// Shut out by an operator
    Suspended,
}

#[derive(Debug, Args)]
pub(crate) struct RegisterArguments {
    /// Your e-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: String,
    /// The invitation's string; with it the account is active at once
    #[arg(long, value_name = "STRING")]
    pub(crate) invitation: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PasswordCommand {
    /// Change it; your other sessions end
    Change,
    /// Set a new one with the string that an operator gave you
    Reset {
        /// The string
        reset: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecondFactorCommand {
    /// Set up an authenticator: shows a QR code, asks for a code, gives recovery codes
    SetUp,
    /// Make ten new recovery codes; the old ones work no more
    RecoveryCodes,
    /// Remove it
    Remove,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List those that go on; the one in use is marked
    #[command(visible_alias = "ls")]
    List(Limit),
    /// End one
    Revoke {
        /// Its id
        session: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Make one; the token alone goes to standard output, this once
    Create {
        /// What it is for
        name: String,
        /// What it may do: NOUN:read, NOUN:write, NOUN:* or *; may be repeated
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// How long it works, up to 366 days
        #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = super::duration)]
        ttl: Duration,
    },
    /// List them, newest first
    #[command(visible_alias = "ls")]
    List(Limit),
    /// Refuse one from now on
    Revoke {
        /// Its id
        token: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkspacesCommand {
    /// List yours; the one in use is marked
    #[command(visible_alias = "ls")]
    List(Limit),
    /// Make one and own it
    Create {
        /// Its name
        name: String,
    },
    /// Let your session work in another one from now on
    Use {
        /// Id or name
        #[arg(value_name = "WORKSPACE")]
        name: String,
    },
    /// Become a member by an invitation
    Join {
        /// The invitation's string
        invitation: String,
    },
    /// Leave the one in use
    Leave,
    /// Make another member the owner in your place; you become an editor
    Transfer {
        /// E-mail address or id of the member
        member: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// List them
    #[command(visible_alias = "ls")]
    List(Limit),
    /// Change what one may do
    Role {
        /// E-mail address or id
        member: String,
        /// What they may do
        role: Role,
    },
    /// Take one out of the workspace
    #[command(visible_alias = "rm")]
    Remove {
        /// E-mail address or id
        member: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InvitationsCommand {
    /// Invite somebody; the string alone goes to standard output, this once
    Create {
        /// Who may accept it; without it, whoever has the string
        #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
        email: String,
        /// What they may do
        #[arg(long, value_enum, default_value = "editor")]
        role: Role,
        /// How long it works, up to 30 days
        #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = super::duration)]
        ttl: Duration,
    },
    /// List them, newest first
    #[command(visible_alias = "ls")]
    List(Limit),
    /// Make one void
    Revoke {
        /// Its id
        invitation: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List them
    #[command(visible_alias = "ls")]
    List {
        /// Only those who stand so
        #[arg(long, value_enum)]
        state: Option<UserState>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one
    Show {
        /// E-mail address or id
        user: String,
    },
    /// Let a registered user in
    Approve {
        /// E-mail address or id
        user: String,
        /// Also make a workspace of this name that they own
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        new_workspace: String,
    },
    /// Shut a user out: sessions and API tokens end
    Suspend {
        /// E-mail address or id
        user: String,
    },
    /// Let a suspended user in again
    Reinstate {
        /// E-mail address or id
        user: String,
    },
    /// Make a user an operator
    Operator {
        /// E-mail address or id
        user: String,
        /// Make them an ordinary user again
        #[arg(long)]
        remove: bool,
    },
    /// Make a string with which a user sets a new password; it alone goes to standard output, this once
    ResetPassword {
        /// E-mail address or id
        user: String,
        /// How long it works, up to 24h
        #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = super::duration)]
        ttl: Duration,
    },
    /// Remove the second factor of a user who has lost it; their sessions end
    ResetSecondFactor {
        /// E-mail address or id
        user: String,
    },
}
