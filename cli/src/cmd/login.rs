//! `tradepost login` and `tradepost context`.

use std::io::{self, IsTerminal, Read};

use secrecy::SecretString;
use serde::Serialize;

use super::sign_in;
use crate::args::{ContextCommand, Global, LoginArguments};
use crate::client::Client;
use crate::config::{self, Context, Contexts, Credential, Settings};
use crate::error::{Error, Exit, Result};
use crate::output::{Output, Table, Tone, plain, text};
use crate::vault::Secret;

/// Name of the context where none is given.
const DEFAULT: &str = "default";

/// A context as it is printed.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    current: bool,
    server: &'a str,
    workspace: &'a str,
    user: &'a str,
}

pub(super) async fn login(arguments: LoginArguments, global: &Global, output: &Output) -> Result<()> {
    let mut contexts = Contexts::load(global)?;
    let name = context_name(&contexts, global);
    let mut settings = Settings::for_anyone(global, &contexts, &name)?;
    let secret = if let Some(email) = &arguments.email {
        let client = Client::connect(&settings, global.timeout).await?;
        Secret::Session(sign_in::session(&client, email).await?)
    } else {
        Secret::Token(token(&arguments, global, &settings.server)?)
    };
    // The secrets in hand say who it is; nothing is kept before they do.
    settings.credential = Credential::Token(match &secret {
        Secret::Token(token) => token.clone(),
        Secret::Session(session) => SecretString::from(session.access_token.as_str()),
    });
    settings.workspace.clone_from(&global.workspace);
    let client = Client::connect(&settings, global.timeout).await?;
    let mut identity = client.who_am_i().await?;
    if let (Secret::Session(_), Some(workspace)) = (&secret, &global.workspace) {
        identity.workspace_name = client.switch_workspace(workspace.clone()).await?;
    }
    let Settings { server, ca_pem, .. } = settings;
    let (user, workspace) = (identity.email.clone(), identity.workspace_name.clone());
    let place = if workspace.is_empty() {
        String::from("no workspace yet")
    } else {
        format!("workspace {workspace}")
    };
    output.message(&format!("Logged in to {server} as {user}, {place}; context {name:?} is in use."));
    if identity.second_factor_missing {
        output.hint("operators need a second factor here: tradepost second-factor set-up");
    }
    contexts.store(&name, Context { server, user, workspace }, &secret, &ca_pem)
}

/// The context that a login is about.
pub(super) fn context_name(contexts: &Contexts, global: &Global) -> String {
    global.context.clone().or_else(|| contexts.current.clone()).unwrap_or_else(|| DEFAULT.to_owned())
}

/// Ends a session; an API token is only forgotten, since programs may use it as well.
pub(super) async fn logout(global: &Global, output: &Output) -> Result<()> {
    let contexts = Contexts::load(global)?;
    let name = global.context.clone().or_else(|| contexts.current.clone());
    let name = name.ok_or_else(|| Error::not_found("no context is in use"))?;
    contexts.get(&name)?;
    let vault = contexts.vault(&name);
    match vault.load()? {
        Secret::Session(_) => {
            match Client::connect(&Settings::load(global)?, global.timeout).await?.logout().await {
                Ok(()) => output.message("The session has ended."),
                // It is over either way.
                Err(error) if error.exit == Exit::Denied => output.message("The session had ended already."),
                Err(error) => return Err(error),
            }
        }
        Secret::Token(_) => {
            output.message("The API token is forgotten here.");
            output.hint("it still works: `tradepost tokens revoke` ends it");
        }
    }
    vault.remove()
}

fn token(arguments: &LoginArguments, global: &Global, server: &str) -> Result<SecretString> {
    let text = if arguments.token_stdin {
        let mut text = String::new();
        io::stdin()
            .take(64 * 1024)
            .read_to_string(&mut text)
            .map_err(|error| Error::usage(format!("cannot read the token from standard input: {error}")))?;
        text
    } else if let Some(token) = config::token_given(global)? {
        return Ok(token);
    } else if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("API token for {server} (not shown): "))
            .map_err(|error| Error::usage(format!("cannot read the token from the terminal: {error}")))?
    } else {
        return Err(Error::usage("no API token is given, and there is no terminal to ask on")
            .hint("pipe it in with --token-stdin, or name its file with --token-file"));
    };
    let token = text.trim();
    if token.is_empty() {
        return Err(
            Error::new(Exit::Usage, "the API token is empty").hint("`controller admin create` makes one")
        );
    }
    Ok(SecretString::from(token))
}

pub(super) fn context(command: ContextCommand, global: &Global, output: &Output) -> Result<()> {
    let mut contexts = Contexts::load(global)?;
    match command {
        ContextCommand::List => {
            let shown: Vec<_> =
                contexts.by_name.iter().map(|(name, context)| shown(&contexts, name, context)).collect();
            if shown.is_empty() {
                output.message("There are no contexts: log in with `tradepost login`.");
            }
            output.many(&shown, |context| context.name, || output.table(&table(&shown)))
        }
        ContextCommand::Use { name } => {
            contexts.make_current(&name)?;
            output.message(&format!("Context {name:?} is in use."));
            Ok(())
        }
        ContextCommand::Show { name } => {
            let name = name.or_else(|| global.context.clone()).or_else(|| contexts.current.clone());
            let name = name.ok_or_else(|| {
                Error::not_found("no context is in use").hint("choose one with `tradepost context use NAME`")
            })?;
            let shown = shown(&contexts, &name, contexts.get(&name)?);
            output.one(&shown, &name, || {
                text::record(
                    output,
                    &[
                        ("name", name.clone()),
                        ("server", shown.server.to_owned()),
                        ("workspace", shown.workspace.to_owned()),
                        ("user", shown.user.to_owned()),
                        ("in use", if shown.current { "yes" } else { "no" }.to_owned()),
                        ("authority", contexts.ca_path(&name).display().to_string()),
                    ],
                )
            })
        }
        ContextCommand::Remove { name } => {
            contexts.remove(&name)?;
            output.message(&format!("Context {name:?} and its token are removed."));
            Ok(())
        }
    }
}

fn shown<'a>(contexts: &Contexts, name: &'a str, context: &'a Context) -> Shown<'a> {
    let Context { server, user, workspace } = context;
    Shown { name, current: contexts.current.as_deref() == Some(name), server, workspace, user }
}

fn table(shown: &[Shown<'_>]) -> Table {
    let mut table = Table::new(&["NAME", "IN USE", "SERVER", "WORKSPACE", "USER"]);
    for context in shown {
        let mark = if context.current { ("yes".to_owned(), Tone::Good) } else { plain("") };
        table.row([
            plain(context.name),
            mark,
            plain(context.server),
            plain(context.workspace),
            plain(context.user),
        ]);
    }
    table
}
