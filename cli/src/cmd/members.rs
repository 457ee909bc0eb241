//! `tradepost members` and `tradepost invitations`.

use super::{find, tell_rest};
use crate::args::people::{InvitationsCommand, MembersCommand};
use crate::client::Client;
use crate::error::Result;
use crate::model::{Invitation, Member};
use crate::output::{Output, Table, Tone, faint, plain, text};

pub(super) async fn members(command: MembersCommand, client: &Client, output: &Output) -> Result<()> {
    match command {
        MembersCommand::List(limit) => {
            let listed = client.list_members(limit.count()).await?;
            output.many(
                &listed.items,
                |member| &member.user_id,
                || output.table(&member_table(&listed.items)),
            )?;
            tell_rest(output, &listed, "members");
        }
        MembersCommand::Role { member, role } => {
            let member = find::member(client, &member).await?;
            let member = client.set_member_role(member.user_id, role).await?;
            output.message(&format!("{} is {} from now on.", member.email, member.role));
        }
        MembersCommand::Remove { member } => {
            let member = find::member(client, &member).await?;
            client.remove_member(member.user_id).await?;
            output.message(&format!("{} is no longer a member.", member.email));
        }
    }
    Ok(())
}

pub(super) async fn invitations(command: InvitationsCommand, client: &Client, output: &Output) -> Result<()> {
    match command {
        InvitationsCommand::Create { email, role, ttl } => {
            let made = client.create_invitation(email, role, ttl).await?;
            output.one(&made, &made.secret, || made.secret.clone())?;
            output.message(&format!("It works once, until {}.", text::absolute(made.invitation.expires_at)));
            output.hint("who has no account: tradepost register --email ADDRESS --invitation STRING");
            output.hint("who has one: tradepost workspaces join STRING");
        }
        InvitationsCommand::List(limit) => {
            let listed = client.list_invitations(limit.count()).await?;
            let table = || output.table(&invitation_table(&listed.items));
            output.many(&listed.items, |invitation| &invitation.id, table)?;
            tell_rest(output, &listed, "invitations");
        }
        InvitationsCommand::Revoke { invitation } => {
            client.revoke_invitation(invitation).await?;
            output.message("The invitation is void.");
        }
    }
    Ok(())
}

fn member_table(members: &[Member]) -> Table {
    let mut table = Table::new(&["ID", "E-MAIL", "ROLE", "SECOND FACTOR", "MEMBER SINCE", "STATE"]);
    for member in members {
        let factor = if member.second_factor { ("yes".to_owned(), Tone::Good) } else { faint("no") };
        let state = if member.suspended {
            ("suspended".to_owned(), Tone::Bad)
        } else {
            ("active".to_owned(), Tone::Good)
        };
        table.row([
            plain(&member.user_id),
            plain(&member.email),
            plain(member.role),
            factor,
            plain(text::relative(member.joined_at)),
            state,
        ]);
    }
    table
}

fn invitation_table(invitations: &[Invitation]) -> Table {
    let mut table = Table::new(&["ID", "FOR", "ROLE", "BY", "MADE", "STATE"]);
    for invitation in invitations {
        let ended = invitation.expires_at.is_some_and(|at| at.0 <= Output::now());
        let state = match (invitation.accepted_at, invitation.revoked_at) {
            (Some(at), _) => (format!("accepted {}", text::relative(Some(at))), Tone::Good),
            (None, Some(_)) => (String::from("revoked"), Tone::Faint),
            (None, None) if ended => (String::from("expired"), Tone::Faint),
            (None, None) => (format!("open, ends {}", text::relative(invitation.expires_at)), Tone::Plain),
        };
        let meant = if invitation.email.is_empty() { "anyone" } else { &invitation.email };
        table.row([
            plain(&invitation.id),
            plain(meant),
            plain(invitation.role),
            plain(&invitation.created_by),
            plain(text::relative(invitation.created_at)),
            state,
        ]);
    }
    table
}
