//! Real binaries under a test: their output in files, lines awaited with a deadline, and their end by signal.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use regex::Regex;
use tempfile::TempDir;

use crate::wait;

/// How much of each log a failure shows.
const SHOWN_LINES: usize = 60;

/// A process of its own, killed when this value is dropped.
#[derive(Debug)]
pub struct Spawned {
    name: String,
    child: Child,
    logs: Logs,
}

/// The two streams of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

#[derive(Debug)]
struct Logs {
    directory: PathBuf,
    _temporary: Option<TempDir>,
}

/// A TCP port of 127.0.0.1 that was free a moment ago. Prefer port 0 wherever the program can report what it got.
pub fn free_port() -> Result<u16> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot bind a port")?;
    Ok(socket.local_addr()?.port())
}

/// The binary `name` of this workspace, in the profile that the running test was built with. Cargo builds binaries for
/// tests of their own package only; for others, build first (`make test` and nextest on the workspace do).
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("cannot find this test's own file")?;
    // target/<profile>/deps/<test>
    let profile = test.ancestors().nth(2).context("this test lies outside a target directory")?;
    let path = profile.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        bail!("{} is missing; build it first: cargo build --workspace --bins", path.display());
    }
    Ok(path)
}

// === impl Spawned ===

impl Spawned {
    /// Starts `command` with its output in a temporary directory; `name` is what failures call it.
    pub fn start(name: &str, command: Command) -> Result<Self> {
        let directory = TempDir::with_prefix(format!("tradepost-{name}-"))?;
        let path = directory.path().to_owned();
        Self::start_in(name, command, Logs { directory: path, _temporary: Some(directory) })
    }

    /// Starts `command` with its output in `directory`, as `<name>.out` and `<name>.err`, where it stays. The output of
    /// an earlier start of that name is kept as `<name>.1.out` and so on.
    pub fn start_with_logs(name: &str, command: Command, directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let logs = Logs { directory: directory.to_owned(), _temporary: None };
        logs.put_aside(name)?;
        Self::start_in(name, command, logs)
    }

    fn start_in(name: &str, mut command: Command, logs: Logs) -> Result<Self> {
        let file = |stream: Stream| File::create(logs.path(name, stream));
        command.stdin(Stdio::null()).stdout(file(Stream::Out)?).stderr(file(Stream::Err)?);
        let program = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot start {}", display(&program)))?;
        Ok(Self { name: name.to_owned(), child, logs })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where a stream is written.
    pub fn log_path(&self, stream: Stream) -> PathBuf {
        self.logs.path(&self.name, stream)
    }

    /// What a stream holds so far.
    pub fn output(&self, stream: Stream) -> String {
        let bytes = std::fs::read(self.log_path(stream)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of both streams, for the message of a failure.
    pub fn tail(&self) -> String {
        let mut text = String::new();
        for (stream, title) in [(Stream::Out, "stdout"), (Stream::Err, "stderr")] {
            let output = self.output(stream);
            let lines: Vec<&str> = output.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            text.extend(["--- ", &self.name, " ", title, " ---\n", &shown.join("\n"), "\n"]);
        }
        text
    }

    /// Waits until a whole line of either stream matches `pattern`, and returns its captures (the whole match first).
    /// Fails with the logs when `deadline` passes or the process ends first.
    pub async fn wait_for_line(&mut self, pattern: &str, deadline: Duration) -> Result<Vec<String>> {
        let regex = Regex::new(pattern)?;
        let find = |text: &str| {
            // A last line without its end may be half written.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            whole.lines().find_map(|line| regex.captures(line)).map(|captures| {
                captures.iter().map(|group| group.map_or("", |group| group.as_str()).to_owned()).collect()
            })
        };
        let end = tokio::time::Instant::now() + deadline;
        loop {
            let ended = self.child.try_wait()?;
            if let Some(captures) =
                find(&self.output(Stream::Out)).or_else(|| find(&self.output(Stream::Err)))
            {
                return Ok(captures);
            }
            if let Some(status) = ended {
                bail!("{} ended ({status}) before a line matched {pattern:?}\n{}", self.name, self.tail());
            }
            if tokio::time::Instant::now() >= end {
                bail!("{}: no line matched {pattern:?} within {deadline:?}\n{}", self.name, self.tail());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the process to end by itself.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let Self { name, child, .. } = self;
        let ended = wait::until(&format!("the end of {name}"), deadline, || {
            let state = child.try_wait();
            async move {
                match state {
                    Ok(Some(status)) => Ok(Ok(status)),
                    Ok(None) => Err("still running".to_owned()),
                    Err(error) => Ok(Err(error)),
                }
            }
        })
        .await;
        match ended {
            Ok(status) => Ok(status?),
            Err(error) => bail!("{error}\n{}", self.tail()),
        }
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it without a chance to clean up, as a crash would (`kill -9` by its pid), and reaps it.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        Ok(self.child.wait()?)
    }

    /// Asks it to end (SIGTERM), and waits for that.
    #[cfg(unix)]
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        if self.is_running() {
            signal(self.pid(), Signal::Terminate)?;
        }
        self.wait(deadline).await
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // It may have ended already; either way it is reaped here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

// === impl Logs ===

impl Logs {
    /// Makes room for another start of the same name.
    fn put_aside(&self, name: &str) -> Result<()> {
        for stream in [Stream::Out, Stream::Err] {
            let path = self.path(name, stream);
            if path.exists() {
                let free = (1..)
                    .map(|number| self.path(&format!("{name}.{number}"), stream))
                    .find(|path| !path.exists());
                std::fs::rename(&path, free.context("no free name")?)?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &str, stream: Stream) -> PathBuf {
        let extension = match stream {
            Stream::Out => "out",
            Stream::Err => "err",
        };
        self.directory.join(format!("{name}.{extension}"))
    }
}

fn display(program: &OsStr) -> String {
    program.to_string_lossy().into_owned()
}

/// What can be sent to any process, such as a browser that the test did not start itself.
#[cfg(unix)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`.
    Terminate,
    /// `SIGKILL`.
    Kill,
    /// `SIGSTOP`: it stands still, as on a computer that sleeps.
    Stop,
    /// `SIGCONT`.
    Continue,
}

/// Sends a signal to the process `pid`.
#[cfg(unix)]
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    use rustix::process::{Pid, Signal as Native, kill_process};
    let native = match signal {
        Signal::Terminate => Native::TERM,
        Signal::Kill => Native::KILL,
        Signal::Stop => Native::STOP,
        Signal::Continue => Native::CONT,
    };
    let target = i32::try_from(pid).ok().and_then(Pid::from_raw).context("not a process id")?;
    kill_process(target, native).with_context(|| format!("cannot send {signal:?} to process {pid}"))
}
