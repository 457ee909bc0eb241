//! The audit log against somebody who owns the database: real binaries, both engines, statements behind their backs.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradepost_e2e::cli::{self, Finished};
use tradepost_e2e::system::{Controller, System};
use tradepost_testkit::database::execute_at;
use tradepost_testkit::{TestDatabase, wait, workspace_root};

const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// A change of the log, how it is undone, and what a verifier says of it.
struct Mutation {
    name: &'static str,
    change: String,
    undo: String,
    says: &'static str,
    /// Only checkpoints outside the database tell.
    needs_checkpoints: bool,
}

struct Scene {
    system: System,
    controller: Controller,
    url: String,
    /// The workspace's chain, as a literal of the engine.
    chain: String,
    checkpoints: String,
    key: String,
}

impl Scene {
    /// A workspace with some history; the controller was killed in the middle of it.
    async fn set(url: String) -> Result<Self> {
        let system = System::new(&[])?;
        let mut controller = system.start_controller("controller", &url).await?;
        system.log_in(&controller).await?;
        for n in 0..12 {
            system.cli.text(&["invitations", "create", "--email", &format!("guest-{n}@example.com")]).await?;
        }
        // Whatever was answered is told, whether it had its place yet or not.
        controller.process.kill()?;
        system.restart_controller(&mut controller).await?;
        system.cli.text(&["invitations", "create", "--email", "last@example.com"]).await?;
        let workspace = system.cli.field(&["whoami"], "workspaceId").await?;
        let hex = workspace.replace('-', "");
        let chain = if url.starts_with("sqlite") { format!("x'{hex}'") } else { format!("'{workspace}'") };
        let checkpoints = system.path().join("kept.jsonl").display().to_string();
        let key = system.path().join("identity/audit.pub").display().to_string();
        let scene = Self { system, controller, url, chain, checkpoints, key };
        scene.settle().await?;
        let line = scene.system.cli.text(&["audit", "checkpoint", "--system"]).await?;
        std::fs::write(&scene.checkpoints, line)?;
        Ok(scene)
    }

    /// Waits until every entry has its place.
    async fn settle(&self) -> Result<()> {
        wait::until("all entries to have their places", DEADLINE, || async {
            let report = self.system.cli.json(&["audit", "verify", "--system"]).await;
            match report.map_err(|error| error.to_string())? {
                report if report["waiting"] == 0 => Ok(()),
                report => Err(report.to_string()),
            }
        })
        .await
    }

    async fn verify(&self, with_checkpoints: bool) -> Result<Finished> {
        let mut arguments = vec!["audit", "verify", "--system", "-o", "json"];
        if with_checkpoints {
            arguments.extend(["--checkpoints", &self.checkpoints, "--public-key", &self.key]);
        }
        self.system.cli.run(&arguments).await
    }

    async fn on_host(&self) -> Result<Finished> {
        let data = self.system.path().join("controller").display().to_string();
        let identity = self.system.path().join("identity").display().to_string();
        let arguments = [
            "audit",
            "verify",
            "--checkpoints",
            &self.checkpoints,
            "--database",
            &self.url,
            "--data-dir",
            &data,
            "--identity-dir",
            &identity,
        ];
        cli::run("controller", &arguments, &[], "").await
    }

    fn mutations(&self) -> Vec<Mutation> {
        let chain = &self.chain;
        let here = |seq: &str| format!("chain_id = {chain} AND seq {seq}");
        let swap = format!(
            "UPDATE audit_links SET seq = -1 WHERE {five}; UPDATE audit_links SET seq = 5 WHERE {six};
             UPDATE audit_links SET seq = 6 WHERE {aside}",
            five = here("= 5"),
            six = here("= 6"),
            aside = here("= -1"),
        );
        let take = |which: &str| {
            let which = here(which);
            format!(
                "CREATE TABLE aside AS SELECT * FROM audit_links WHERE {which}; DELETE FROM audit_links WHERE {which}"
            )
        };
        let put = "INSERT INTO audit_links SELECT * FROM aside; DROP TABLE aside";
        let shorten = format!(
            "CREATE TABLE ends AS SELECT * FROM audit_heads WHERE chain_id = {chain};
             UPDATE audit_heads SET count = 9, hash = (SELECT hash FROM audit_links WHERE {nine}) WHERE chain_id = {chain}",
            nine = here("= 9"),
        );
        let lengthen = format!(
            "UPDATE audit_heads SET count = (SELECT count FROM ends), hash = (SELECT hash FROM ends) WHERE chain_id = {chain};
             DROP TABLE ends"
        );
        vec![
            Mutation {
                name: "an edited entry",
                change: format!("UPDATE audit_links SET peer = '203.0.113.9' WHERE {}", here("= 5")),
                undo: format!("UPDATE audit_links SET peer = '127.0.0.1' WHERE {}", here("= 5")),
                says: "entry 5: edited",
                needs_checkpoints: false,
            },
            Mutation {
                name: "a removed entry",
                change: take("= 7"),
                undo: put.to_owned(),
                says: "entry 7: missing",
                needs_checkpoints: false,
            },
            Mutation {
                name: "two entries in each other's place",
                change: swap.clone(),
                undo: swap,
                says: "entry 5: moved",
                needs_checkpoints: false,
            },
            Mutation {
                name: "a tail that was cut off",
                change: take("> 9"),
                undo: put.to_owned(),
                says: "entry 10: cut off",
                needs_checkpoints: false,
            },
            Mutation {
                name: "a tail that was cut off with what the database notes of it",
                change: format!("{}; {shorten}", take("> 9")),
                undo: format!("{put}; {lengthen}"),
                says: "entry 10: cut off",
                needs_checkpoints: true,
            },
        ]
    }

    /// What the database itself refuses, and how its owner gets around that.
    async fn drop_guards(&self) -> Result<()> {
        for statement in [
            "UPDATE audit_links SET peer = ''",
            "DELETE FROM audit_links",
            "DELETE FROM audit_heads",
            "UPDATE audit_heads SET count = count - 1",
        ] {
            let refused = execute_at(&self.url, statement).await.err().context(statement)?;
            ensure!(format!("{refused:#}").contains("append-only"), "{statement}: {refused:#}");
        }
        let guards = if self.url.starts_with("sqlite") {
            ["audit_links_edited", "audit_links_deleted", "audit_heads_deleted", "audit_heads_shrunk"]
                .map(|trigger| format!("DROP TRIGGER {trigger};"))
                .concat()
        } else {
            String::from(
                "ALTER TABLE audit_links DISABLE TRIGGER USER; ALTER TABLE audit_heads DISABLE TRIGGER USER",
            )
        };
        execute_at(&self.url, &guards).await
    }
}

#[tokio::test]
async fn whoever_changes_the_log_of_an_sqlite_database_is_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("tradepost.db").display());
    whoever_changes_the_log_is_found(url).await
}

#[tokio::test]
async fn whoever_changes_the_log_of_a_postgresql_database_is_found() -> Result<()> {
    let database = TestDatabase::empty_postgres().await?;
    whoever_changes_the_log_is_found(database.url().to_owned()).await
}

async fn whoever_changes_the_log_is_found(url: String) -> Result<()> {
    let scene = Scene::set(url).await?;
    let whole = scene.verify(true).await?;
    ensure!(whole.code == 0, "{whole:?}");
    let report: Value = serde_json::from_str(&whole.stdout)?;
    let chains = report["chains"].as_array().context("chains")?;
    ensure!(report["whole"] == true && chains.len() == 2, "{report}");
    ensure!(chains.iter().all(|chain| chain["agreeingCheckpoints"] == 1), "{report}");
    let on_host = scene.on_host().await?;
    ensure!(on_host.code == 0 && on_host.stdout.contains("whole"), "{on_host:?}");

    scene.drop_guards().await?;
    for mutation in scene.mutations() {
        let Mutation { name, change, undo, says, needs_checkpoints } = mutation;
        execute_at(&scene.url, &change).await.context(name)?;
        let found = scene.verify(true).await?;
        ensure!(found.code == 1 && found.stderr.contains(says), "{name}: {found:?}");
        let alone = scene.verify(false).await?;
        ensure!((alone.code == 0) == needs_checkpoints, "{name}, without checkpoints: {alone:?}");
        let on_host = scene.on_host().await?;
        ensure!(on_host.code == 1 && on_host.stderr.contains(says), "{name}: {on_host:?}");
        execute_at(&scene.url, &undo).await.context(name)?;
        let whole = scene.verify(true).await?;
        ensure!(whole.code == 0, "{name}, undone: {whole:?}");
    }
    a_changed_checkpoint_does_not_count(&scene).await?;
    an_export_can_be_checked_by_others(&scene).await?;
    drop(scene.controller);
    Ok(())
}

async fn a_changed_checkpoint_does_not_count(scene: &Scene) -> Result<()> {
    let line = std::fs::read_to_string(&scene.checkpoints)?;
    let forged = scene.system.path().join("forged.jsonl");
    std::fs::write(&forged, line.replacen("\"count\":", "\"count\":1", 1))?;
    let forged = forged.display().to_string();
    let refused = scene.system.cli.run(&["audit", "verify", "--system", "--checkpoints", &forged]).await?;
    ensure!(refused.code == 1 && refused.stderr.contains("signature is wrong"), "{refused:?}");
    let other = "ab".repeat(32);
    let arguments =
        ["audit", "verify", "--system", "--checkpoints", &scene.checkpoints, "--public-key", &other];
    let refused = scene.system.cli.run(&arguments).await?;
    ensure!(refused.code == 1 && refused.stderr.contains("another key"), "{refused:?}");
    Ok(())
}

/// The export with our own verifier, and with the program of docs/SECURITY.md.
async fn an_export_can_be_checked_by_others(scene: &Scene) -> Result<()> {
    let export = scene.system.path().join("log.jsonl");
    let file = export.display().to_string();
    scene.system.cli.text(&["audit", "export", "--system", "--file", &file]).await?;
    let whole = scene.system.cli.run(&["audit", "verify", "--file", &file]).await?;
    ensure!(whole.code == 0, "{whole:?}");
    let docs = std::fs::read_to_string(workspace_root().join("docs/SECURITY.md"))?;
    let (_, rest) = docs.split_once("```python\n").context("a program in docs/SECURITY.md")?;
    let program = rest.split("```").next().unwrap_or_default();
    let theirs = || Command::new("python3").args(["-c", program, &file]).output();
    let output = theirs()?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(String::from_utf8_lossy(&output.stdout).contains("whole"), "{output:?}");
    let text = std::fs::read_to_string(&export)?;
    std::fs::write(&export, text.replacen("\"role\":\"editor\"", "\"role\":\"owner\"", 1))?;
    let found = scene.system.cli.run(&["audit", "verify", "--file", &file]).await?;
    ensure!(found.code == 1 && found.stderr.contains("edited"), "{found:?}");
    ensure!(!theirs()?.status.success(), "the program in docs/SECURITY.md finds nothing");
    let lines: Vec<&str> = text.lines().collect();
    let cut = [&lines[..lines.len() - 3], &lines[lines.len() - 1..]].concat().join("\n");
    std::fs::write(&export, cut)?;
    let found = scene.system.cli.run(&["audit", "verify", "--file", &file]).await?;
    ensure!(found.code == 1 && found.stderr.contains("cut off"), "{found:?}");
    Ok(())
}
