//! The chromedriver process.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tradepost_domain::failure::{Failure, FailureClass};

/// How long chromedriver may take to listen.
const LISTEN_DEADLINE: Duration = Duration::from_secs(10);

/// Makes commands whose process, and whatever it starts, dies with this process.
///
/// The command's standard input is kept open as long as the program is to run: closing it, or killing the child, ends
/// everything. The agent passes `platform::containment::command`.
pub trait Containment: Send + Sync {
    /// The command that runs `program`, ready for arguments.
    fn command(&self, program: &Path) -> std::process::Command;
}

impl<F: Fn(&Path) -> std::process::Command + Send + Sync> Containment for F {
    fn command(&self, program: &Path) -> std::process::Command {
        self(program)
    }
}

/// How long chromedriver may take to end when it is asked to.
const POLITE_DEADLINE: Duration = Duration::from_millis(700);
/// How long the contained processes may take to end.
const END_DEADLINE: Duration = Duration::from_secs(3);

/// A running chromedriver.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    pid: u32,
    port: u16,
}

impl Driver {
    /// Starts chromedriver on a free port and waits until it listens.
    pub async fn start(program: &Path, containment: &dyn Containment) -> Result<Self, Failure> {
        let failed =
            |message: String| Failure::new(FailureClass::BrowserCrashed, "Start chromedriver", message);
        let mut command = Command::from(containment.command(program));
        command
            .args(["--port=0", "--log-level=WARNING"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| failed(format!("{} does not start: {error}", program.display())))?;
        let pid = child.id().unwrap_or_default();
        let listening = async {
            let mut lines = BufReader::new(child.stdout.take()?).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(port) = port_in(&line) {
                    return Some(port);
                }
            }
            None
        };
        match tokio::time::timeout(LISTEN_DEADLINE, listening).await {
            Ok(Some(port)) => Ok(Self { child, pid, port }),
            Ok(None) => Err(failed(format!("{} ended before it listened; try again", program.display()))),
            Err(_) => Err(failed(format!(
                "chromedriver did not listen within {} s; try again",
                LISTEN_DEADLINE.as_secs()
            ))),
        }
    }

    /// The process id of the contained command: chromedriver's, or its guard's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it with everything it started, and reaps it.
    pub async fn end(mut self) {
        // Asked politely, chromedriver ends at once; closing the pipe has the containment end what is left.
        let ended = async {
            drop(self.ask_to_end().await);
            self.child.wait().await
        };
        if tokio::time::timeout(POLITE_DEADLINE, ended).await.is_ok() {
            return;
        }
        drop(self.child.stdin.take());
        if tokio::time::timeout(END_DEADLINE, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }

    async fn ask_to_end(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await
    }
}

/// The port in "ChromeDriver was started successfully on port 41234."
fn port_in(line: &str) -> Option<u16> {
    let (_, after) = line.split_once("successfully on port ")?;
    after.trim_end_matches(['.', '\r', ' ']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_drivers_greeting() {
        assert_eq!(port_in("ChromeDriver was started successfully on port 41234."), Some(41234));
        assert_eq!(port_in("Starting ChromeDriver 156.0.8078.79 on port 0"), None);
    }
}
