//! `tradepost login` and `tradepost context`.

use std::io::{self, IsTerminal, Read};

use secrecy::SecretString;
use serde::Serialize;

use crate::args::{ContextCommand, Global, LoginArguments};
use crate::client::Client;
use crate::config::{self, Context, Contexts, Settings};
use crate::error::{Error, Exit, Result};
use crate::output::{Output, Table, Tone, plain, text};

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
    let name =
        global.context.clone().or_else(|| contexts.current.clone()).unwrap_or_else(|| DEFAULT.to_owned());
    let known = contexts.by_name.get(&name);
    let server = match (&global.server, known) {
        (Some(server), _) => config::server_address(server)?,
        (None, Some(context)) => context.server.clone(),
        (None, None) => {
            return Err(Error::usage("the address of the controller is missing").hint(
                "write for example: tradepost login --server https://127.0.0.1:7443 --ca-file ca.pem",
            ));
        }
    };
    let ca_file = match (&global.ca_file, known) {
        (Some(path), _) => path.clone(),
        (None, Some(_)) => contexts.ca_path(&name),
        (None, None) => return Err(config::no_authority()),
    };
    let ca_pem = config::read_ca(&ca_file)?;
    let token = token(&arguments, global, &server)?;
    let settings = Settings { context: None, server, ca_file, ca_pem, token };
    let identity = Client::connect(&settings, global.timeout).await?.who_am_i().await?;
    let Settings { server, ca_pem, token, .. } = settings;
    let (user, workspace) = (identity.email.clone(), identity.workspace_name.clone());
    output.message(&format!(
        "Logged in to {server} as {user}, workspace {workspace}; context {name:?} is in use."
    ));
    contexts.store(&name, Context { server, user, workspace }, &token, &ca_pem)
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
