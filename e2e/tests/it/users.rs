//! People at the command line: from registration to a workspace of several.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradepost_e2e::cli::{Cli, Finished};
use tradepost_e2e::system::System;

const PASSWORD: &str = "correct horse battery staple\n";

/// A command line of somebody's own, which knows where the controller is.
struct Desk {
    cli: Cli,
}

impl Desk {
    fn new(system: &System, name: &str, api: &str) -> Self {
        let ca = system.path().join("identity/ca.pem").display().to_string();
        let cli = Cli::new(&system.path().join(name))
            .with_environment("TRADEPOST_SERVER", api)
            .with_environment("TRADEPOST_CA_FILE", &ca);
        Self { cli }
    }

    async fn with_password(&self, arguments: &[&str], password: &str) -> Result<Finished> {
        self.cli.run_with_input(arguments, password).await
    }

    async fn sign_in(&self, email: &str) -> Result<()> {
        let finished = self.with_password(&["login", "--email", email], PASSWORD).await?;
        ensure!(finished.code == 0, "{}", finished.stderr);
        Ok(())
    }

    async fn fails(&self, arguments: &[&str], code: i32, words: &str) -> Result<()> {
        // The context's session, not what the environment names.
        let finished = self.cli.run(arguments).await?;
        ensure!(finished.code == code && finished.stderr.contains(words), "{arguments:?}: {finished:?}");
        Ok(())
    }
}

fn private(path: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777 == 0o600)
}

#[tokio::test]
async fn people_register_share_a_workspace_and_leave_nothing_behind() -> Result<()> {
    let system = System::new(&[])?;
    let controller = system.start_controller("controller", &system.sqlite()).await?;
    system.log_in(&controller).await?;
    let operator = &system.cli;
    let with_context = |name: &str| Desk::new(&system, name, &controller.api);
    let (ada, eve) = (with_context("ada"), with_context("eve"));

    let registered = ada.with_password(&["register", "--email", "Ada@example.com"], PASSWORD).await?;
    ensure!(registered.code == 0 && registered.stderr.contains("An operator"), "{registered:?}");
    let early = ada.with_password(&["login", "--email", "ada@example.com"], PASSWORD).await?;
    ensure!(early.code == 4 && early.stderr.contains("not approved"), "{early:?}");
    let pending = operator.json(&["users", "list", "--state", "pending"]).await?;
    ensure!(pending.pointer("/0/email").and_then(Value::as_str) == Some("ada@example.com"), "{pending}");
    operator.text(&["users", "approve", "ada@example.com", "--new-workspace", "Ada's shop"]).await?;
    ada.sign_in("ada@example.com").await?;
    let kept = system.path().join("ada/contexts/default.session");
    ensure!(private(&kept)?, "the session can be read by others");

    let ada_cli = ada.cli.clone().with_environment("TRADEPOST_CONTEXT", "default");
    let who = ada_cli.json(&["whoami"]).await?;
    ensure!(who["workspaceName"] == "Ada's shop" && who["role"] == "owner", "{who}");
    let invitation = ada_cli.text(&["invitations", "create", "--role", "viewer"]).await?;
    let joined = eve
        .with_password(
            &["register", "--email", "eve@example.com", "--invitation", invitation.trim()],
            PASSWORD,
        )
        .await?;
    ensure!(joined.code == 0 && joined.stderr.contains("Ada's shop"), "{joined:?}");
    eve.sign_in("eve@example.com").await?;
    let eve = Desk { cli: eve.cli.clone().with_environment("TRADEPOST_CONTEXT", "default") };
    eve.fails(&["invitations", "create"], 4, "needs the role owner").await?;
    ada_cli.text(&["members", "role", "eve@example.com", "editor"]).await?;
    let members = ada_cli.json(&["members", "list"]).await?;
    ensure!(members.pointer("/1/role").and_then(Value::as_str) == Some("editor"), "{members}");
    let ada = Desk { cli: ada_cli.clone() };
    ada.fails(&["workspaces", "leave"], 1, "without an active owner").await?;
    ada.fails(&["users", "list"], 4, "operators").await?;
    ada.fails(&["--workspace", "default", "members", "list"], 3, "member of no workspace").await?;

    let token = ada_cli.text(&["tokens", "create", "ci", "--scope", "listings:read"]).await?;
    let file = system.path().join("token");
    std::fs::write(&file, token.trim())?;
    let file = file.display().to_string();
    ada_cli.text(&["listings", "list", "--token-file", &file]).await?;
    ada.fails(&["members", "list", "--token-file", &file], 4, "no scope").await?;
    let id = ada_cli.json(&["tokens", "list"]).await?;
    let id = id.pointer("/0/id").and_then(Value::as_str).context("no token is listed")?.to_owned();
    ada_cli.text(&["tokens", "revoke", &id]).await?;

    let reset = operator.text(&["users", "reset-password", "eve@example.com"]).await?;
    let set =
        eve.with_password(&["password", "reset", reset.trim()], "another horse battery staple\n").await?;
    ensure!(set.code == 0, "{set:?}");
    let refused = eve.with_password(&["login", "--email", "eve@example.com"], PASSWORD).await?;
    ensure!(refused.code == 4 && refused.stderr.contains("is wrong"), "{refused:?}");

    ada_cli.text(&["logout"]).await?;
    ensure!(!kept.exists(), "the session's secrets are left");
    ada.fails(&["whoami"], 4, "log in again").await?;
    Ok(())
}
