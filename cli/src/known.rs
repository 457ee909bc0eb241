//! The keys of agents that this person has sealed a password to: trusted on first use, and compared ever after.
//!
//! ```text
//! <config>/tradepost/known-agents.toml    agent id = "fingerprint of its key"    0600
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::args::Global;
use crate::config::{plain, write_private};
use crate::error::{Error, Result};

/// The file of known keys.
pub(crate) struct KnownAgents {
    path: PathBuf,
    keys: BTreeMap<String, String>,
}

/// What is known of an agent's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    Same,
    New,
    Other(String),
}

impl KnownAgents {
    pub(crate) fn load(global: &Global) -> Result<Self> {
        let path = global.config_dir()?.join("known-agents.toml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(Error::failed(format!("cannot read {}: {}", path.display(), plain(&error))));
            }
        };
        let keys = toml::from_str(&text).map_err(|_| {
            Error::usage(format!("{} is damaged", path.display()))
                .hint("mend it, or remove it; each agent's key is then compared anew")
        })?;
        Ok(Self { path, keys })
    }

    pub(crate) fn look(&self, agent: &str, fingerprint: &str) -> Known {
        match self.keys.get(agent) {
            None => Known::New,
            Some(known) if known == fingerprint => Known::Same,
            Some(known) => Known::Other(known.clone()),
        }
    }

    pub(crate) fn keep(&mut self, agent: &str, fingerprint: &str) -> Result<()> {
        self.keys.insert(agent.to_owned(), fingerprint.to_owned());
        let text = toml::to_string(&self.keys)
            .map_err(|error| Error::failed(format!("cannot write the known agents: {error}")))?;
        write_private(&self.path, text.as_bytes())
    }
}
