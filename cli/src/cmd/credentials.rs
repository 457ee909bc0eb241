//! `tradepost accounts credentials`: passwords that only an agent can open.

use secrecy::ExposeSecret;
use tradepost_domain::credential::TEXT_MAX;
use tradepost_runtime::clock::{Clock, SystemClock};
use tradepost_runtime::credential::{Login, Place, fingerprint, is_signed};

use super::{accounts, find};
use crate::args::Global;
use crate::args::accounts::CredentialsCommand;
use crate::client::Client;
use crate::error::{Error, Exit, Result};
use crate::known::{Known, KnownAgents};
use crate::model::{Account, Credential, SealingKey, StoredCredential};
use crate::output::{Output, Tone, text};
use crate::prompt;

pub(super) async fn run(
    command: CredentialsCommand,
    global: &Global,
    client: &Client,
    output: &Output,
) -> Result<()> {
    match command {
        CredentialsCommand::Set { account, agent_key } => {
            let account = find::account(client, &account).await?;
            set(&account, agent_key.as_deref(), global, client, output).await
        }
        CredentialsCommand::Show { account } => {
            let account = find::account(client, &account).await?;
            let StoredCredential { credential, .. } = client.credential(account.id.clone()).await?;
            match credential {
                Some(credential) => show(&account, &credential, client, output).await,
                None => Err(Error::new(
                    Exit::NotFound,
                    format!("account {:?} has no sealed password", account.name),
                )
                .hint(format!("set one: tradepost accounts credentials set {:?}", account.name))),
            }
        }
        CredentialsCommand::Remove { account } => {
            let account = find::account(client, &account).await?;
            client.remove_credential(account.id.clone()).await?;
            output.message(&format!("The sealed password of {:?} is removed.", account.name));
            output.hint("the account stays signed in where it is; sign out in the agent's Chrome if that shall end, too");
            Ok(())
        }
    }
}

async fn set(
    account: &Account,
    agent_key: Option<&str>,
    global: &Global,
    client: &Client,
    output: &Output,
) -> Result<()> {
    let StoredCredential { credential, key, workspace_id } = client.credential(account.id.clone()).await?;
    let Some(key) = key else {
        let error =
            Error::failed(format!("the agent of account {:?} has told no key to seal to", account.name));
        return Err(if account.agent_id.is_empty() {
            error.hint(format!("bind it to an agent first: tradepost accounts bind {:?} AGENT", account.name))
        } else {
            error.hint("the agent tells it when it is connected: start it, or update it if it is of an earlier version")
        });
    };
    let place = place(account, &key, &workspace_id, credential.as_ref())?;
    let id = account.agent_id.clone();
    let agent = client.get_agent(id.clone()).await.map_or(id, |agent| agent.name);
    trust(&agent, &key, place, agent_key, global, output)?;
    let origin = url::Url::parse(&account.site_url)
        .map_err(|_| Error::failed(format!("{:?} is no address", account.site_url)))?
        .origin()
        .ascii_serialization();
    output.message(&format!(
        "The password will be typed on {origin} alone, by agent {agent:?}; nobody else can open it, the controller included."
    ));
    let username = prompt::text("Name or e-mail address to sign in with")?;
    let password = prompt::secret("Password")?;
    for (what, length) in
        [("name", username.chars().count()), ("password", password.expose_secret().chars().count())]
    {
        if length > TEXT_MAX {
            return Err(Error::usage(format!(
                "the {what} has {length} characters; at most {TEXT_MAX} are taken"
            )));
        }
    }
    let login = Login { username: username.into(), password, site: account.site.clone(), origin };
    let set = client.set_credential(place, &key, &login).await?;
    drop(login);
    output.message(&format!("The password of {:?} is sealed to agent {:?}.", account.name, agent));
    show(account, &set, client, output).await?;
    output.hint(&format!("try it: tradepost accounts login {:?} --watch", account.name));
    Ok(())
}

/// What the credential is bound to. Generations grow with the time, so that one that is set after the database was put back
/// from a backup still comes after all earlier ones.
fn place(
    account: &Account,
    key: &SealingKey,
    workspace: &str,
    present: Option<&Credential>,
) -> Result<Place> {
    let wrong = |_| Error::failed("the controller's answer holds an id that is none");
    let seconds = SystemClock.now().as_micros() / 1_000_000;
    Ok(Place {
        workspace: workspace.parse().map_err(wrong)?,
        account: account.id.parse().map_err(wrong)?,
        agent: key.agent_id.parse().map_err(wrong)?,
        generation: seconds.max(present.map_or(0, |present| present.generation) + 1),
    })
}

/// Sees that the key is the agent's own: signed by its identity, and that identity the same as ever.
fn trust(
    name: &str,
    key: &SealingKey,
    place: Place,
    given: Option<&str>,
    global: &Global,
    output: &Output,
) -> Result<()> {
    let SealingKey { agent_id, public_key, identity_key, signature } = key;
    if !is_signed(identity_key, place.agent, public_key, signature) {
        return Err(Error::new(Exit::Denied, format!("the key to seal to is not signed by agent {name:?}"))
            .hint("somebody may have put another key in its place: tell whoever runs the controller, and set nothing"));
    }
    let shown = fingerprint(identity_key);
    let mut known = KnownAgents::load(global)?;
    match (known.look(agent_id, &shown), given) {
        (_, Some(given)) if given.trim().eq_ignore_ascii_case(&shown) => {}
        (_, Some(given)) => {
            return Err(Error::new(Exit::Denied, format!("agent {name:?} has the key {shown}, not {given}"))
                .hint("read it on the agent's PC: tradepost-agent status"));
        }
        (Known::Same, None) => return Ok(()),
        (Known::New, None) => {
            output.message(&format!(
                "Agent {name:?} has the key {shown}. Compare it with what `tradepost-agent status` shows on its PC."
            ));
            if prompt::has_terminal() && !prompt::yes("Is it the same? (y/n)")? {
                return Err(Error::new(Exit::Denied, "nothing was set").hint(
                    "somebody may have put another key in its place: tell whoever runs the controller",
                ));
            }
        }
        (Known::Other(before), None) => {
            return Err(Error::new(
                Exit::Denied,
                format!("agent {name:?} has the key {shown}; it was {before} the last time"),
            )
            .hint(
                "was the PC enrolled anew? compare with `tradepost-agent status` there, then add --agent-key",
            )
            .hint(
                "if not, somebody may have put another key in its place: tell whoever runs the controller",
            ));
        }
    }
    known.keep(agent_id, &shown)
}

async fn show(account: &Account, credential: &Credential, client: &Client, output: &Output) -> Result<()> {
    let agents = accounts::agent_names(client).await?;
    let Credential { account_id, agent_id, generation, state, set_at, changed_at, used_at } = credential;
    let (tone, words) = match *state {
        "ready" => (Tone::Good, "ready: the agent signs in with it when nobody is signed in"),
        "refused" => (Tone::Bad, "refused by the site: set the right one; the wrong one is not tried again"),
        "moved" => (Tone::Warning, "gone: the account was bound to another agent; set it again"),
        _ => (Tone::Faint, "removed"),
    };
    output.one(credential, account_id, || {
        text::record(
            output,
            &[
                ("account", format!("{} ({account_id})", account.name)),
                ("state", output.tone(words, tone)),
                ("since", text::absolute(*changed_at)),
                ("sealed to", agents.get(agent_id).unwrap_or(agent_id).clone()),
                ("set", text::absolute(*set_at)),
                ("last used", text::absolute(*used_at)),
                ("generation", generation.to_string()),
            ],
        )
    })
}
