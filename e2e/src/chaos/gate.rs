//! Gates in the agent's journal: the agent stands still exactly behind a record until it is let go.
//!
//! See `gate.c`. Only the thread that writes the journal stands; the rest of the agent goes on, as behind a slow disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use tradepost_testkit::wait;

const SOURCE: &str = include_str!("gate.c");

/// The gates of one agent.
#[derive(Debug, Clone)]
pub struct Gates {
    directory: PathBuf,
}

/// A gate that waits for the agent. Dropping it takes the gate away.
#[derive(Debug)]
pub struct Gate {
    fifo: PathBuf,
}

/// The agent stands at a gate. Dropping it lets the agent go on.
#[derive(Debug)]
pub struct Standing {
    _writer: File,
}

/// Builds the library to be named by `LD_PRELOAD`, in `directory`.
pub fn build_library(directory: &Path) -> Result<PathBuf> {
    let source = directory.join("gate.c");
    std::fs::write(&source, SOURCE)?;
    let library = directory.join("gate.so");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .output()
        .context("cannot run the C compiler (cc)")?;
    ensure!(output.status.success(), "gate.c: {}", String::from_utf8_lossy(&output.stderr));
    Ok(library)
}

// === impl Gates ===

impl Gates {
    /// Those of the agent with this data directory.
    pub fn of(data: &Path) -> Result<Self> {
        let directory = data.join("gates");
        std::fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// Closes the gate behind the next record of this name, such as `will_click`.
    pub fn close(&self, record: &str) -> Result<Gate> {
        let fifo = self.directory.join(record);
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .with_context(|| format!("cannot make {}", fifo.display()))?;
        Ok(Gate { fifo })
    }
}

// === impl Gate ===

impl Gate {
    /// Waits until the agent stands at the gate.
    pub async fn reached(self, deadline: Duration) -> Result<Standing> {
        let what = format!("the agent to stand at {}", self.fifo.display());
        let writer = wait::until(&what, deadline, || async {
            // Fails until somebody has it open for reading.
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::open(&self.fifo, flags, Mode::empty()).map_err(|error| error.to_string())
        })
        .await?;
        Ok(Standing { _writer: File::from(writer) })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // One stop a gate: the next record of this name passes.
        drop(std::fs::remove_file(&self.fifo));
    }
}
