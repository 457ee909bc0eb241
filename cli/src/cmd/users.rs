//! `tradepost users`, for operators.

use super::{find, tell_rest};
use crate::args::people::UsersCommand;
use crate::client::Client;
use crate::error::Result;
use crate::model::User;
use crate::output::{Output, Table, Tone, faint, plain, text};

pub(super) async fn run(command: UsersCommand, client: &Client, output: &Output) -> Result<()> {
    match command {
        UsersCommand::List { state, limit } => {
            let listed = client.list_users(limit.count(), state).await?;
            output.many(&listed.items, |user| &user.id, || output.table(&table(&listed.items)))?;
            tell_rest(output, &listed, "users");
            Ok(())
        }
        UsersCommand::Show { user } => show(output, &find::user(client, &user).await?),
        UsersCommand::Approve { user, new_workspace } => {
            let user = find::user(client, &user).await?;
            show(output, &client.approve_user(user.id, new_workspace).await?)
        }
        UsersCommand::Suspend { user } => {
            let user = find::user(client, &user).await?;
            show(output, &client.suspend_user(user.id).await?)
        }
        UsersCommand::Reinstate { user } => {
            let user = find::user(client, &user).await?;
            show(output, &client.reinstate_user(user.id).await?)
        }
        UsersCommand::Operator { user, remove } => {
            let user = find::user(client, &user).await?;
            show(output, &client.set_operator(user.id, !remove).await?)
        }
        UsersCommand::ResetPassword { user, ttl } => {
            let user = find::user(client, &user).await?;
            let made = client.create_password_reset(user.id, ttl).await?;
            output.one(&made, &made.secret, || made.secret.clone())?;
            output.message(&format!("It works once, until {}.", text::absolute(made.expires_at)));
            output.hint("the user runs: tradepost password reset STRING");
            Ok(())
        }
        UsersCommand::ResetSecondFactor { user } => {
            let user = find::user(client, &user).await?;
            show(output, &client.reset_second_factor(user.id).await?)
        }
    }
}

fn tone(state: &str) -> Tone {
    match state {
        "active" => Tone::Good,
        "suspended" => Tone::Bad,
        _ => Tone::Plain,
    }
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn table(users: &[User]) -> Table {
    let mut table =
        Table::new(&["ID", "E-MAIL", "STATE", "OPERATOR", "SECOND FACTOR", "REGISTERED", "LAST LOGIN"]);
    for user in users {
        table.row([
            plain(&user.id),
            plain(&user.email),
            (user.state.to_owned(), tone(user.state)),
            plain(yes(user.operator)),
            plain(yes(user.second_factor)),
            plain(text::relative(user.created_at)),
            faint(text::relative(user.last_login_at)),
        ]);
    }
    table
}

fn show(output: &Output, user: &User) -> Result<()> {
    output.one(user, &user.id, || {
        text::record(
            output,
            &[
                ("id", user.id.clone()),
                ("e-mail", user.email.clone()),
                ("state", output.tone(user.state, tone(user.state))),
                ("operator", yes(user.operator)),
                ("second factor", yes(user.second_factor)),
                ("registered", text::absolute(user.created_at)),
                ("last login", text::absolute(user.last_login_at)),
            ],
        )
    })
}
