//! `tradepost accounts`.

use std::collections::HashMap;

use serde_json::json;
use tradepost_domain::job::State;

use super::{find, pacing, tell_rest, watch};
use crate::args::Format;
use crate::args::accounts::{AccountsCommand, AddAccount, Switch};
use crate::client::Client;
use crate::error::{Exit, Result};
use crate::model::{Account, NewAccount};
use crate::output::{Output, Table, Tone, faint, plain, text};

pub(super) async fn run(command: AccountsCommand, client: &Client, output: &Output) -> Result<Exit> {
    match command {
        AccountsCommand::Add(account) => add(account, client, output).await?,
        AccountsCommand::List(limit) => {
            let listed = client.list_accounts(limit.count()).await?;
            let agents = agent_names(client).await?;
            output.many(
                &listed.items,
                |account| &account.id,
                || output.table(&table(&listed.items, &agents)),
            )?;
            tell_rest(output, &listed, "accounts");
        }
        AccountsCommand::Show { account } => {
            let account = find::account(client, &account).await?;
            show(client, output, &account).await?;
        }
        AccountsCommand::Bind { account, agent } => {
            let account = find::account(client, &account).await?;
            let agent = find::agent(client, &agent).await?;
            let bound = client.bind_account(account, agent.id).await?;
            output.message(&format!("Account {:?} is bound to agent {:?}.", bound.name, agent.name));
            show(client, output, &bound).await?;
        }
        AccountsCommand::Set { account, auto_republish } => {
            let account = find::account(client, &account).await?;
            let changed = client.set_auto_republish(account, auto_republish == Switch::On).await?;
            show(client, output, &changed).await?;
        }
        AccountsCommand::Login { account, watch } => {
            let account = find::account(client, &account).await?;
            return login(account, watch, client, output).await;
        }
        // Done before a client is passed on.
        AccountsCommand::Credentials(_) => {}
        AccountsCommand::Pacing(arguments) => pacing::pacing(arguments, client, output).await?,
        AccountsCommand::Pause { account } => pacing::pause(&account, client, output).await?,
        AccountsCommand::Resume { account, end_rest } => {
            pacing::resume(&account, end_rest, client, output).await?;
        }
    }
    Ok(Exit::Ok)
}

async fn login(account: Account, watched: bool, client: &Client, output: &Output) -> Result<Exit> {
    let id = client.login_account(account.id.clone()).await?;
    let window = "complete what the site asks for in the Chrome window on the agent's PC; a headless agent needs a sealed \
                  password: tradepost accounts credentials set";
    let window = format!("{window} {:?}", account.name);
    if !watched {
        output.one(&json!({ "jobId": id }), &id, || id.clone())?;
        output.hint(&window);
        output.hint(&format!("`tradepost jobs show {id}` tells how it stands"));
        return Ok(Exit::Ok);
    }
    output.hint(&window);
    let Some(job) = watch::watch_job(client, output, id.clone()).await? else {
        output.message(&format!(
            "Stopped watching; the sign-in goes on. `tradepost jobs show {id}` tells how it stands."
        ));
        return Ok(Exit::Interrupted);
    };
    let name = &account.name;
    let why = job.failure.as_ref().map(|failure| format!(": {}", text::failure(failure))).unwrap_or_default();
    let (told, tone, exit) = match job.state {
        State::Succeeded => (format!("✓ {name} is signed in"), Tone::Good, Exit::Ok),
        State::NeedsHuman => {
            (format!("! {name} is not signed in yet"), Tone::Warning, Exit::PostingNeedsHuman)
        }
        State::Cancelled => {
            (format!("– The sign-in of {name} was cancelled"), Tone::Faint, Exit::PostingCancelled)
        }
        _ => (format!("✗ {name} is not signed in"), Tone::Bad, Exit::Failed),
    };
    match output.format {
        Format::Table if output.quiet => output.data(&id)?,
        Format::Table => output.say(&format!("{}{why}", output.message_tone(&told, tone))),
        Format::Json | Format::Jsonl => output.one(&json!({ "job": job }), &id, String::new)?,
    }
    if exit != Exit::Ok {
        output.hint(&format!("what it looked like: tradepost jobs evidence {id} --save DIR"));
        output.hint(&format!("then again: tradepost accounts login {} --watch", account.id));
    }
    Ok(exit)
}

async fn add(account: AddAccount, client: &Client, output: &Output) -> Result<()> {
    let AddAccount { name, site, site_url, sign_in_name, currency, agent } = account;
    let agent_id = match agent {
        Some(agent) => find::agent(client, &agent).await?.id,
        None => String::new(),
    };
    let unbound = agent_id.is_empty();
    let account = NewAccount { name, site, site_url, sign_in_name, currency_code: currency, agent_id };
    let account = client.create_account(account).await?;
    output.message(&format!("Account {:?} is added.", account.name));
    show(client, output, &account).await?;
    if unbound {
        output.hint(&format!("bind it to an agent: tradepost accounts bind {:?} AGENT", account.name));
    }
    Ok(())
}

/// Names of agents by id.
pub(super) async fn agent_names(client: &Client) -> Result<HashMap<String, String>> {
    let listed = client.list_agents(usize::MAX).await?;
    Ok(listed.items.into_iter().map(|agent| (agent.id, agent.name)).collect())
}

fn table(accounts: &[Account], agents: &HashMap<String, String>) -> Table {
    let mut table = Table::new(&["ID", "NAME", "SITE", "ADDRESS", "AGENT", "CURRENCY"]);
    for account in accounts {
        table.row([
            plain(&account.id),
            plain(&account.name),
            plain(&account.site),
            plain(&account.site_url),
            match (account.agent_id.as_str(), agents.get(&account.agent_id)) {
                ("", _) => ("none".to_owned(), Tone::Warning),
                (_, Some(name)) => plain(name),
                (id, None) => plain(id),
            },
            faint(&account.currency_code),
        ]);
    }
    table
}

async fn show(client: &Client, output: &Output, account: &Account) -> Result<()> {
    let agent = match account.agent_id.as_str() {
        "" => "none".to_owned(),
        id => client
            .get_agent(id.to_owned())
            .await
            .map_or_else(|_| id.to_owned(), |agent| format!("{} ({id})", agent.name)),
    };
    let when_absent =
        if account.auto_republish { "posted again by itself, twice at most" } else { "you are asked" };
    output.one(account, &account.id, || {
        text::record(
            output,
            &[
                ("id", account.id.clone()),
                ("name", account.name.clone()),
                ("site", account.site.clone()),
                ("address", account.site_url.clone()),
                ("signs in as", account.sign_in_name.clone()),
                ("currency", account.currency_code.clone()),
                ("agent", agent),
                ("when absent", when_absent.to_owned()),
                ("added", text::absolute(account.created_at)),
            ],
        )
    })
}
