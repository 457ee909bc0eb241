//! `tradepost status`: where everything stands, and what waits for a person.

use serde::Serialize;
use tradepost_domain::agent::Presence;
use tradepost_domain::posting::State;

use super::postings;
use crate::client::Client;
use crate::error::Result;
use crate::model::{Account, Agent, Identity, Posting};
use crate::output::{Output, Tone, text};

/// How many of the newest postings are looked at.
const POSTINGS: usize = 200;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    server: String,
    identity: Identity,
    agents: Vec<Agent>,
    accounts: Vec<Account>,
    /// Of the newest postings, those that are under way or wait for a person.
    open_postings: Vec<Posting>,
    /// Postings by state, of the newest 200.
    posting_counts: std::collections::BTreeMap<&'static str, usize>,
}

pub(super) async fn status(client: &Client, output: &Output) -> Result<()> {
    let identity = client.who_am_i().await?;
    let agents = client.list_agents(usize::MAX).await?.items;
    let accounts = client.list_accounts(usize::MAX).await?.items;
    let newest = client.list_postings(POSTINGS, None, None).await?;
    let mut posting_counts = std::collections::BTreeMap::new();
    for posting in &newest.items {
        *posting_counts.entry(posting.state.name()).or_insert(0) += 1;
    }
    let is_open =
        |posting: &Posting| !matches!(posting.state, State::Published | State::Failed | State::Cancelled);
    let open_postings: Vec<_> = newest.items.into_iter().filter(is_open).collect();
    let names = postings::names(client, &open_postings).await?;
    let server = client.server().to_owned();
    let overview = Overview { server, identity, agents, accounts, open_postings, posting_counts };
    output.one(&overview, &overview.identity.workspace_id, || {
        let mut told = summary(output, &overview);
        if !overview.open_postings.is_empty() {
            told.push('\n');
            told.push_str(&output.table(&postings::table(&overview.open_postings, &names)));
        }
        told
    })?;
    advise(output, &overview);
    Ok(())
}

fn summary(output: &Output, overview: &Overview) -> String {
    let Overview { server, identity, agents, accounts, posting_counts, .. } = overview;
    let mut agent_lines: Vec<String> = agents
        .iter()
        .filter(|agent| agent.presence != Presence::Revoked)
        .map(|agent| {
            let presence = crate::model::presence_name(agent.presence);
            let seen = match agent.presence {
                Presence::Online => String::new(),
                _ => format!(", last seen {}", text::relative(agent.last_seen_at)),
            };
            format!("{} {}{seen}", agent.name, output.tone(presence, text::presence_tone(agent.presence)))
        })
        .collect();
    if agent_lines.is_empty() {
        agent_lines.push("none".to_owned());
    }
    let mut account_lines: Vec<String> = accounts
        .iter()
        .map(|account| {
            let agent = agents.iter().find(|agent| agent.id == account.agent_id);
            match agent {
                Some(agent) if agent.presence == Presence::Revoked => format!(
                    "{} on {}, by agent {} {}",
                    account.name,
                    account.site,
                    agent.name,
                    output.tone("(revoked)", Tone::Warning)
                ),
                Some(agent) => format!("{} on {}, by agent {}", account.name, account.site, agent.name),
                None => format!(
                    "{} on {}, {}",
                    account.name,
                    account.site,
                    output.tone("no agent", Tone::Warning)
                ),
            }
        })
        .collect();
    if account_lines.is_empty() {
        account_lines.push("none".to_owned());
    }
    let counts: Vec<String> = State::ALL
        .into_iter()
        .filter_map(|state| {
            let count = posting_counts.get(state.name())?;
            Some(output.tone(&format!("{count} {}", text::words(state.name())), text::posting_tone(state)))
        })
        .collect();
    let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    text::record(
        output,
        &[
            ("controller", format!("{server}, version {}", identity.controller_version)),
            ("workspace", format!("{}, as {} ({})", identity.workspace_name, identity.email, identity.role)),
            ("agents", agent_lines.join("\n")),
            ("accounts", account_lines.join("\n")),
            ("postings", counts),
        ],
    )
}

/// The next thing to do for a workspace that cannot post yet, or where a person is needed.
fn advise(output: &Output, overview: &Overview) {
    let live = overview.agents.iter().filter(|agent| agent.presence != Presence::Revoked);
    if live.count() == 0 {
        output.hint("invite an agent: tradepost agents enrol-token create");
    } else if overview.accounts.is_empty() {
        output.hint("add an account: tradepost accounts add NAME --site SITE --site-url URL --agent AGENT");
    } else if let Some(posting) =
        overview.open_postings.iter().find(|posting| posting.state == State::NeedsHuman)
    {
        output.hint(&format!("a person is needed: tradepost postings show {}", posting.id));
    }
}
