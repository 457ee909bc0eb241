//! `tradepost workspaces`.

use super::{connect, find, tell_rest};
use crate::args::Global;
use crate::args::people::WorkspacesCommand;
use crate::config::Contexts;
use crate::error::Result;
use crate::model::Workspace;
use crate::output::{Output, Table, Tone, plain, text};

pub(super) async fn run(command: WorkspacesCommand, global: &Global, output: &Output) -> Result<()> {
    let client = connect(global).await?;
    match command {
        WorkspacesCommand::List(limit) => {
            let listed = client.list_workspaces(limit.count()).await?;
            output.many(&listed.items, |own| &own.id, || output.table(&table(&listed.items)))?;
            tell_rest(output, &listed, "workspaces");
        }
        WorkspacesCommand::Create { name } => {
            let made = client.create_workspace(name).await?;
            show(output, &made)?;
            output.hint(&format!("work in it: tradepost workspaces use {:?}", made.name));
        }
        WorkspacesCommand::Use { name } => {
            let name = client.switch_workspace(name).await?;
            let mut contexts = Contexts::load(global)?;
            contexts.set_workspace(global.context.as_deref(), &name)?;
            output.message(&format!("Your session works in {name:?} from now on."));
        }
        WorkspacesCommand::Join { invitation } => {
            let joined = client.join_workspace(invitation).await?;
            show(output, &joined)?;
            output.hint(&format!("work in it: tradepost workspaces use {:?}", joined.name));
        }
        WorkspacesCommand::Leave => {
            client.leave_workspace().await?;
            output.message("You are no longer a member.");
        }
        WorkspacesCommand::Transfer { member } => {
            let member = find::member(&client, &member).await?;
            let owner = client.transfer_ownership(member.user_id).await?;
            output.message(&format!("{} owns the workspace now; you are an editor.", owner.email));
        }
    }
    Ok(())
}

fn table(workspaces: &[Workspace]) -> Table {
    let mut table = Table::new(&["ID", "IN USE", "NAME", "ROLE"]);
    for own in workspaces {
        let mark = if own.current { ("yes".to_owned(), Tone::Good) } else { plain("") };
        table.row([plain(&own.id), mark, plain(&own.name), plain(own.role)]);
    }
    table
}

fn show(output: &Output, own: &Workspace) -> Result<()> {
    output.one(own, &own.id, || {
        text::record(
            output,
            &[("id", own.id.clone()), ("name", own.name.clone()), ("role", own.role.to_owned())],
        )
    })
}
