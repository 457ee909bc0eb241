//! The commands, a file per noun: arguments → client → output.

mod accounts;
mod agents;
mod audit;
mod credentials;
mod dead_letters;
mod find;
mod jobs;
mod listings;
mod login;
mod members;
mod pacing;
mod postings;
mod resolve;
mod sign_in;
mod status;
mod tokens;
mod users;
mod watch;
mod workspaces;

use serde::Serialize;
use tradepost_runtime::build;

use crate::args::accounts::AccountsCommand;
use crate::args::{Command, Global, completions};
use crate::client::{Client, Listed};
use crate::config::Settings;
use crate::error::{EXIT_CODES, Exit, Result};
use crate::output::{Output, text};

/// Runs one command.
pub(crate) async fn run(command: Command, global: &Global, output: &Output) -> Result<Exit> {
    match command {
        Command::Login(arguments) => login::login(arguments, global, output).await?,
        Command::Context(command) => login::context(command, global, output)?,
        Command::Logout => login::logout(global, output).await?,
        Command::Register(arguments) => sign_in::register(arguments, global, output).await?,
        Command::StepUp => sign_in::step_up(&connect(global).await?, output).await?,
        Command::Password(command) => sign_in::password(command, global, output).await?,
        Command::SecondFactor(command) => {
            sign_in::second_factor(command, &connect(global).await?, output).await?;
        }
        Command::Sessions(command) => tokens::sessions(command, &connect(global).await?, output).await?,
        Command::Tokens(command) => tokens::tokens(command, &connect(global).await?, output).await?,
        Command::Workspaces(command) => workspaces::run(command, global, output).await?,
        Command::Members(command) => members::members(command, &connect(global).await?, output).await?,
        Command::Invitations(command) => {
            members::invitations(command, &connect(global).await?, output).await?;
        }
        Command::Users(command) => users::run(command, &connect(global).await?, output).await?,
        Command::Whoami => whoami(&connect(global).await?, output).await?,
        Command::Status => status::status(&connect(global).await?, output).await?,
        Command::Agents(command) => agents::run(command, &connect(global).await?, output).await?,
        Command::Accounts(AccountsCommand::Credentials(command)) => {
            credentials::run(command, global, &connect(global).await?, output).await?;
        }
        Command::Accounts(command) => return accounts::run(command, &connect(global).await?, output).await,
        // What is wrong with a file is told before a connection is sought.
        Command::Listings(command) => listings::run(command, global, output).await?,
        Command::Photos(command) => listings::photos(command, global, output).await?,
        Command::Postings(command) => return postings::run(command, &connect(global).await?, output).await,
        Command::Jobs(command) => jobs::run(command, &connect(global).await?, output).await?,
        Command::Events(command) => return jobs::events(command, &connect(global).await?, output).await,
        // A file is verified without a controller.
        Command::Audit(command) => audit::run(command, global, output).await?,
        Command::Completions { shell } => Output::raw(&completions(shell))?,
        Command::Version => version(global, output).await?,
        Command::ExitCodes => output.data(EXIT_CODES)?,
    }
    Ok(Exit::Ok)
}

async fn connect(global: &Global) -> Result<Client> {
    Client::connect(&Settings::load(global)?, global.timeout).await
}

async fn whoami(client: &Client, output: &Output) -> Result<()> {
    let identity = client.who_am_i().await?;
    output.one(&identity, &identity.user_id, || {
        text::record(
            output,
            &[
                ("user", identity.email.clone()),
                ("user id", identity.user_id.clone()),
                ("role", identity.role.to_owned()),
                ("operator", if identity.operator { "yes" } else { "no" }.to_owned()),
                ("second factor", if identity.second_factor { "yes" } else { "no" }.to_owned()),
                ("workspace", identity.workspace_name.clone()),
                ("workspace id", identity.workspace_id.clone()),
                ("server", client.server().to_owned()),
            ],
        )
    })
}

async fn version(global: &Global, output: &Output) -> Result<()> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Versions {
        version: String,
        controller_version: Option<String>,
    }
    // Without a controller the own version is still worth telling.
    let controller_version = match connect(global).await {
        Ok(client) => client.who_am_i().await.map(|identity| identity.controller_version),
        Err(error) => Err(error),
    };
    let versions = Versions {
        version: build::describe(),
        controller_version: controller_version.as_ref().ok().cloned(),
    };
    output.one(&versions, build::VERSION, || {
        let controller = match &controller_version {
            Ok(version) => version.clone(),
            Err(error) => format!("unknown ({})", error.message),
        };
        text::record(output, &[("tradepost", versions.version.clone()), ("controller", controller)])
    })
}

/// Says when a list is not the whole one, or is empty.
fn tell_rest<T>(output: &Output, listed: &Listed<T>, nouns: &str) {
    if listed.more {
        output.message(&format!("There are more {nouns}: use --limit or --all."));
    } else if listed.items.is_empty() {
        output.message(&format!("There are no {nouns}."));
    }
}
