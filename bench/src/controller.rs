//! A real controller process on a database of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tradepost_testkit::Spawned;

const START_WITHIN: Duration = Duration::from_secs(60);

/// How to reach a controller and speak for its operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) api: String,
    pub(crate) agents: String,
    pub(crate) root_pem: String,
    pub(crate) token: String,
}

/// The running process, killed when dropped.
pub(crate) struct Controller {
    pub(crate) process: Spawned,
    pub(crate) place: Place,
}

/// The binary beside this one: the same profile.
fn program() -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name("controller");
    ensure!(path.exists(), "{} is missing; build it with the same profile", path.display());
    Ok(path)
}

impl Controller {
    /// Starts one on `database` with its files in `folder`, and makes an operator.
    pub(crate) async fn start(folder: &Path, database: &str) -> Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut command = Command::new(program()?);
        command.args(["--database", database, "--metrics-listen", "", "--log", "warn"]);
        command.args(["--api-listen", &any.to_string(), "--agents-listen", &any.to_string()]);
        command.arg("--data-dir").arg(folder.join("data"));
        // One token makes all calls here: its limit is not what is measured.
        command.env("TRADEPOST_CONTROLLER__USERS__CALLS_PER_MINUTE", "0");
        let mut process = Spawned::start_with_logs("controller", command, folder)?;
        let pattern = r"controller ready api=https://(\S+) agents=(\S+) ca=(\S+)";
        let ready = process.wait_for_line(pattern, START_WITHIN).await?;
        let part = |at: usize| ready.get(at).cloned().context("the ready line has changed");
        let mut create = Command::new(program()?);
        create.args([
            "--database",
            database,
            "--log",
            "warn",
            "admin",
            "create",
            "--email",
            "bench@example.com",
        ]);
        let made = create.arg("--data-dir").arg(folder.join("data")).stdin(Stdio::null()).output()?;
        ensure!(made.status.success(), "no operator: {}", String::from_utf8_lossy(&made.stderr));
        let place = Place {
            api: part(1)?,
            agents: part(2)?,
            root_pem: std::fs::read_to_string(part(3)?)?,
            token: String::from_utf8(made.stdout)?.trim().to_owned(),
        };
        Ok(Self { process, place })
    }
}
