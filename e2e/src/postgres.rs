//! A PostgreSQL server of one test's own: one that may be killed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use tradepost_testkit::process::{Signal, signal};
use tradepost_testkit::{wait, workspace_root};

use crate::processes;

/// How long the processes of a killed server may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// The server; stopped and deleted when dropped. What it has confirmed survives its end by any signal: its commits wait
/// for the disk.
#[derive(Debug)]
pub struct PrivatePostgres {
    home: PathBuf,
    _parent: TempDir,
}

impl PrivatePostgres {
    /// Makes and starts one.
    pub async fn start() -> Result<Self> {
        // Its path is short, as that of a socket must be; the server's own user has to get in.
        let parent = TempDir::with_prefix_in("tp-pg-", "/tmp")?;
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(parent.path(), open)?;
        let server = Self { home: parent.path().join("server"), _parent: parent };
        server.run("start").await?;
        Ok(server)
    }

    /// Starts it again after a kill, with its data.
    pub async fn start_again(&self) -> Result<()> {
        self.run("start").await
    }

    async fn run(&self, command: &str) -> Result<()> {
        let script = workspace_root().join("deploy/postgres.sh");
        let output =
            Command::new(&script).args([command, "--durable", "--home"]).arg(&self.home).output().await;
        let output = output.with_context(|| format!("cannot run {}", script.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "a private PostgreSQL did not {command}: {said}");
        Ok(())
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.home.join(".s.PGSQL.5432")
    }

    /// Every process of it, the main one first.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let file = self.home.join("data/postmaster.pid");
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let main: u32 = text.lines().next().unwrap_or_default().trim().parse()?;
        let mut all = vec![main];
        all.extend(processes::children(main));
        Ok(all)
    }

    /// Kills all of it with SIGKILL, and waits until it is gone.
    pub async fn kill(&self) -> Result<()> {
        let all = self.processes()?;
        for pid in &all {
            // Some end with the main one, by themselves.
            drop(signal(*pid, Signal::Kill));
        }
        wait::until("PostgreSQL's processes to be gone", GONE_WITHIN, || async {
            let left: Vec<&u32> =
                all.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let script = workspace_root().join("deploy/postgres.sh");
        let mut command = std::process::Command::new(script);
        drop(command.args(["stop", "--durable", "--home"]).arg(&self.home).output());
    }
}
