//! `tradepost sessions` and `tradepost tokens`.

use super::tell_rest;
use crate::args::people::{SessionsCommand, TokensCommand};
use crate::client::Client;
use crate::error::Result;
use crate::model::{Session, Token};
use crate::output::{Output, Table, Tone, faint, plain, text};

pub(super) async fn sessions(command: SessionsCommand, client: &Client, output: &Output) -> Result<()> {
    match command {
        SessionsCommand::List(limit) => {
            let listed = client.list_sessions(limit.count()).await?;
            output.many(
                &listed.items,
                |session| &session.id,
                || output.table(&session_table(&listed.items)),
            )?;
            tell_rest(output, &listed, "sessions");
        }
        SessionsCommand::Revoke { session } => {
            client.revoke_session(session).await?;
            output.message("The session has ended.");
        }
    }
    Ok(())
}

pub(super) async fn tokens(command: TokensCommand, client: &Client, output: &Output) -> Result<()> {
    match command {
        TokensCommand::Create { name, scopes, ttl } => {
            let made = client.create_token(name, scopes, ttl).await?;
            output.one(&made, &made.secret, || made.secret.clone())?;
            output.message(&format!(
                "It works in the workspace {:?} until {}, and is shown this once.",
                made.token.workspace_name,
                text::absolute(made.token.expires_at)
            ));
        }
        TokensCommand::List(limit) => {
            let listed = client.list_tokens(limit.count()).await?;
            output.many(&listed.items, |token| &token.id, || output.table(&token_table(&listed.items)))?;
            tell_rest(output, &listed, "API tokens");
        }
        TokensCommand::Revoke { token } => {
            client.revoke_token(token).await?;
            output.message("The API token is refused from now on.");
        }
    }
    Ok(())
}

fn session_table(sessions: &[Session]) -> Table {
    let mut table = Table::new(&["ID", "IN USE", "CLIENT", "FROM", "BEGAN", "REFRESHED", "ENDS"]);
    for session in sessions {
        let mark = if session.current { ("yes".to_owned(), Tone::Good) } else { plain("") };
        table.row([
            plain(&session.id),
            mark,
            plain(&session.client),
            plain(&session.address),
            plain(text::relative(session.created_at)),
            plain(text::relative(session.refreshed_at)),
            faint(text::relative(session.expires_at)),
        ]);
    }
    table
}

fn token_table(tokens: &[Token]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "SCOPES", "WORKSPACE", "MADE", "LAST USED", "STATE"]);
    for token in tokens {
        let now = Output::now();
        let ended = token.expires_at.is_some_and(|at| at.0 <= now);
        let state = match (token.revoked_at, token.expires_at) {
            (Some(_), _) => (String::from("revoked"), Tone::Faint),
            (None, _) if ended => (String::from("expired"), Tone::Faint),
            (None, None) => (String::from("works"), Tone::Good),
            (None, at) => (format!("ends {}", text::relative(at)), Tone::Good),
        };
        table.row([
            plain(&token.id),
            plain(&token.name),
            plain(token.scopes.join(" ")),
            plain(&token.workspace_name),
            plain(text::relative(token.created_at)),
            plain(text::relative(token.last_used_at)),
            state,
        ]);
    }
    table
}
