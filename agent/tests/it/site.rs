//! A practice marketplace in this process.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tradepost_runtime::tasks::Tasks;
use tradepost_sandbox::{Config, Sandbox};

/// The marketplace; it ends with its tasks.
pub(crate) struct Site {
    pub(crate) url: String,
    _tasks: Tasks,
}

impl Site {
    pub(crate) async fn open(folder: &Path) -> Result<Self> {
        let sandbox = Sandbox::bind(Config::new(folder.to_owned(), 0, 4)).await?;
        let (url, tasks) = (sandbox.url(), Tasks::new());
        let shutdown = tasks.shutdown_token();
        tasks.spawn("sandbox", async move { sandbox.serve(async move { shutdown.cancelled().await }).await });
        Ok(Self { url, _tasks: tasks })
    }

    /// Calls for faults.
    pub(crate) async fn control(&self, faults: Value) -> Result<()> {
        self.request("POST", "/__control__", &faults.to_string()).await.map(drop)
    }

    /// How many listings it really has.
    pub(crate) async fn items(&self) -> Result<usize> {
        let ledger: Value = serde_json::from_str(&self.request("GET", "/__ledger__", "").await?)?;
        ledger["items"].as_array().map(Vec::len).context("the ledger has items")
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
        ensure!(head.contains(" 200 "), "{head}\n{body}");
        Ok(body.to_owned())
    }
}
