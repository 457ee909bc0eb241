//! `tradepost agents`.

use tradepost_domain::agent::Presence;

use super::{find, tell_rest};
use crate::args::agents::{AgentsCommand, EnrolTokenCommand};
use crate::client::Client;
use crate::error::Result;
use crate::model::{Agent, presence_name};
use crate::output::{Output, Table, faint, plain, text};

pub(super) async fn run(command: AgentsCommand, client: &Client, output: &Output) -> Result<()> {
    match command {
        AgentsCommand::List(limit) => {
            let listed = client.list_agents(limit.count()).await?;
            output.many(&listed.items, |agent| &agent.id, || output.table(&table(&listed.items)))?;
            tell_rest(output, &listed, "agents");
            Ok(())
        }
        AgentsCommand::Show { agent } => show(output, &find::agent(client, &agent).await?),
        AgentsCommand::Revoke { agent } => {
            let agent = find::agent(client, &agent).await?;
            let revoked = client.revoke_agent(agent.id).await?;
            output.message(&format!("Agent {:?} is refused from now on; its jobs wait.", revoked.name));
            show(output, &revoked)
        }
        AgentsCommand::Approve { agent } => {
            let agent = find::agent(client, &agent).await?;
            if agent.presence != Presence::NeedsApproval {
                output.message(&format!("Agent {:?} does not wait for approval.", agent.name));
                return show(output, &agent);
            }
            let approved = client.approve_agent(agent.id).await?;
            output.message(&format!("Agent {:?} may come back; it tries every minute.", approved.name));
            show(output, &approved)
        }
        AgentsCommand::EnrolToken(EnrolTokenCommand::Create { ttl }) => {
            let token = client.create_enrolment_token(ttl).await?;
            output.one(&token, &token.enrolment_string, || token.enrolment_string.clone())?;
            output.hint("on the seller's computer, run: tradepost-agent enrol STRING");
            output.message(&format!("It works once, until {}.", text::absolute(token.expires_at)));
            Ok(())
        }
    }
}

fn table(agents: &[Agent]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "PRESENCE", "LAST SEEN", "PLATFORM", "VERSION"]);
    for agent in agents {
        table.row([
            plain(&agent.id),
            plain(&agent.name),
            (presence_name(agent.presence).to_owned(), text::presence_tone(agent.presence)),
            plain(text::relative(agent.last_seen_at)),
            faint(&agent.platform),
            faint(&agent.version),
        ]);
    }
    table
}

/// Why an agent waits for approval, in words.
fn waits_because(reason: &str) -> &str {
    match reason {
        "cloned" => "its data directory is in use twice: it was copied, or restored from an older backup",
        "away" => "it was not heard of for too long",
        other => other,
    }
}

fn show(output: &Output, agent: &Agent) -> Result<()> {
    output.one(agent, &agent.id, || {
        text::record(
            output,
            &[
                ("id", agent.id.clone()),
                ("name", agent.name.clone()),
                ("presence", output.tone(presence_name(agent.presence), text::presence_tone(agent.presence))),
                ("waits because", waits_because(&agent.locked_because).to_owned()),
                ("last seen", text::absolute(agent.last_seen_at)),
                ("platform", agent.platform.clone()),
                ("version", agent.version.clone()),
                ("controller", agent.controller_id.clone()),
                ("enrolled", text::absolute(agent.created_at)),
            ],
        )
    })
}
