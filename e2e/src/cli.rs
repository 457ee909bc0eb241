//! The `tradepost` command line as a user runs it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tradepost_testkit::process::binary;

/// What a finished command printed, and its exit code.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit code; -1 when ended by a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command line with contexts of its own.
#[derive(Debug, Clone)]
pub struct Cli {
    config: PathBuf,
    environment: Vec<(String, String)>,
}

/// Runs a program of the workspace to its end, with `input` on its standard input.
pub async fn run(
    program: &str,
    arguments: &[&str],
    environment: &[(String, String)],
    input: &str,
) -> Result<Finished> {
    let mut command = Command::new(binary(program)?);
    command.args(arguments).envs(environment.iter().cloned()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input may end first; that is its right.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    let output = child.wait_with_output().await?;
    Ok(Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

// === impl Cli ===

impl Cli {
    /// A command line that keeps its contexts below `directory`.
    pub fn new(directory: &Path) -> Self {
        Self { config: directory.to_owned(), environment: Vec::new() }
    }

    /// The same with one more environment variable.
    #[must_use]
    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it, whatever comes out.
    pub async fn run(&self, arguments: &[&str]) -> Result<Finished> {
        self.run_with_input(arguments, "").await
    }

    /// Runs it with something on its standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<Finished> {
        let mut environment = self.environment.clone();
        environment.push((String::from("TRADEPOST_CONFIG_DIR"), self.config.display().to_string()));
        // Tests leave the tester's own keyring alone.
        environment.push((String::from("TRADEPOST_KEYRING"), String::from("off")));
        run("tradepost", arguments, &environment, input).await
    }

    /// Runs it and expects success; the output as text.
    pub async fn text(&self, arguments: &[&str]) -> Result<String> {
        let finished = self.run(arguments).await?;
        ensure!(
            finished.code == 0,
            "tradepost {arguments:?} ended with {}:\n{}",
            finished.code,
            finished.stderr
        );
        Ok(finished.stdout)
    }

    /// Runs it with `-o json` and expects success.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let text = self.text(&all).await?;
        serde_json::from_str(&text)
            .with_context(|| format!("tradepost {arguments:?} printed no JSON: {text}"))
    }

    /// A text field of the JSON object that a command prints.
    pub async fn field(&self, arguments: &[&str], name: &str) -> Result<String> {
        let value = self.json(arguments).await?;
        match value.get(name).and_then(Value::as_str) {
            Some(text) => Ok(text.to_owned()),
            None => bail!("tradepost {arguments:?} printed no {name}: {value}"),
        }
    }
}
