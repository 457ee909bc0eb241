//! The two sites, and what they say really happened.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tradepost_testkit::process::binary;
use tradepost_testkit::{Spawned, workspace_root};

use crate::START_DEADLINE;

/// A running site.
#[derive(Debug)]
pub struct Site {
    process: Spawned,
    /// Its address, ending with `/`.
    pub url: String,
    kind: Kind,
}

/// Which site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The classifieds site that nobody here wrote.
    Classified,
    /// The practice marketplace.
    Sandbox,
}

/// One item as the site itself has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrueItem {
    /// Who posted it.
    pub seller: String,
    /// Title.
    pub title: String,
    /// Description, with line feeds as line ends, without trailing white space.
    pub description: String,
    /// SHA-256 of each photo's bytes, in order.
    pub photos: Vec<String>,
    /// Everything, as the site tells it.
    pub raw: Value,
}

impl Kind {
    /// The site's name in Tradepost.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classified => "classified",
            Self::Sandbox => "sandbox",
        }
    }

    /// The seller of the tests, whose currency the example listing for this site has; the password is `correct horse`
    /// and the seller's number.
    pub fn seller(self) -> u32 {
        match self {
            Self::Classified => 1,
            Self::Sandbox => 4,
        }
    }

    /// Two sellers with the same currency as [`Kind::seller`], who is one of them.
    pub fn sellers(self) -> [u32; 2] {
        match self {
            Self::Classified => [1, 2],
            Self::Sandbox => [4, 8],
        }
    }

    /// The currency of that seller.
    pub fn currency(self) -> &'static str {
        match self {
            Self::Classified => "USD",
            Self::Sandbox => "EUR",
        }
    }
}

impl Site {
    /// Starts it with its data and logs below `directory`.
    pub async fn start(kind: Kind, directory: &Path) -> Result<Self> {
        let mut command = match kind {
            Kind::Classified => {
                let mut bash = Command::new("bash");
                bash.arg(workspace_root().join("sites/classified/run.sh"));
                bash
            }
            Kind::Sandbox => Command::new(binary("sandbox")?),
        };
        command.arg("--data").arg(directory.join(kind.name())).args(["--port", "0"]);
        let mut process = Spawned::start_with_logs(kind.name(), command, &directory.join("logs"))?;
        // A first start of the classifieds site builds its Python environment.
        let ready = process.wait_for_line(r"on (http://127\.0\.0\.1:\d+/)", START_DEADLINE * 3).await?;
        Ok(Self { url: ready.get(1).cloned().unwrap_or_default(), process, kind })
    }

    /// Changes the site's faults; see the site's README for the names.
    pub async fn fault(&self, faults: Value) -> Result<()> {
        let path = match self.kind {
            Kind::Classified => "__faults__",
            Kind::Sandbox => "__control__",
        };
        let answer = reqwest::Client::new().post(format!("{}{path}", self.url)).json(&faults).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        anyhow::ensure!(status.is_success(), "the site refused the faults {faults}: {text}");
        Ok(())
    }

    /// Holds the next click on its way to the site: before it is carried out, or before it is answered.
    pub async fn hold(&self, path: &str, when: &str) -> Result<()> {
        self.fault(json!({"hold": {"path": path, "when": when}})).await
    }

    /// Whether a request is held now.
    pub async fn is_holding(&self) -> Result<bool> {
        let path = match self.kind {
            Kind::Classified => "__faults__",
            Kind::Sandbox => "__control__",
        };
        let standing: Value = reqwest::get(format!("{}{path}", self.url)).await?.json().await?;
        Ok(!standing["holding"].is_null())
    }

    /// Every item the site has, oldest first.
    pub async fn items(&self) -> Result<Vec<TrueItem>> {
        let path = match self.kind {
            Kind::Classified => "__items__",
            Kind::Sandbox => "__ledger__",
        };
        let answer: Value = reqwest::get(format!("{}{path}", self.url)).await?.json().await?;
        let items = answer.get("items").and_then(Value::as_array).context("the site lists no items")?;
        items.iter().map(|item| self.true_item(item)).collect()
    }

    fn true_item(&self, item: &Value) -> Result<TrueItem> {
        let fields = item.get("fields").unwrap_or(item);
        let text = |name: &str| {
            let value = fields.get(name).or_else(|| item.get(name)).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let (seller, photos) = match self.kind {
            Kind::Classified => ("seller", "photo_files"),
            Kind::Sandbox => ("account", "photos"),
        };
        let photos = item.get(photos).and_then(Value::as_array).context("the item lists no photos")?;
        Ok(TrueItem {
            seller: text(seller),
            title: text("title"),
            description: text("description").replace("\r\n", "\n").trim_end().to_owned(),
            photos: photos
                .iter()
                .map(|photo| photo.get("sha256").and_then(Value::as_str).unwrap_or_default().to_owned())
                .collect(),
            raw: item.clone(),
        })
    }

    /// What it printed, for the message of a failure.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}
