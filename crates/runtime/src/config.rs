//! Layered configuration of a process.
//!
//! Later layers win, key by key: the `Default`s of the target type, TOML files in the order given, a `.env` file, the
//! environment, flags.
//! Environment variables are called `TRADEPOST_<PROGRAM>__<SECTION>__<KEY>`; their text becomes whatever type the key has.
//! A key that the target type does not know is refused, and every problem found is reported with where the value came
//! from, its path, and the mend.
//!
//! ```
//! # use tradepost_runtime::config::{self, Sources};
//! #[derive(Debug, serde::Deserialize)]
//! #[serde(default)]
//! struct Config {
//!     listen: std::net::SocketAddr,
//!     #[serde(with = "config::duration")]
//!     drain: std::time::Duration,
//! }
//! # impl Default for Config {
//! #     fn default() -> Self {
//! #         Self { listen: ([127, 0, 0, 1], 7443).into(), drain: std::time::Duration::from_secs(10) }
//! #     }
//! # }
//! let environment = [("TRADEPOST_CONTROLLER__DRAIN".to_owned(), "30s".to_owned())];
//! let config: Config = Sources::new("controller").environment(environment).load()?;
//! assert_eq!(config.drain.as_secs(), 30);
//! # Ok::<(), config::Error>(())
//! ```
//!
//! A target type uses `#[serde(default)]` and plain structs, string enums, lists and maps; `#[serde(flatten)]` would hide
//! its keys from the check for unknown ones.

mod tree;
pub mod units;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use self::tree::{Node, Problems};
pub use self::units::{duration, size};

/// Where a program's configuration comes from.
#[derive(Clone)]
pub struct Sources {
    prefix: String,
    files: Vec<File>,
    dotenv: Option<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Vec<Flag>,
    secrets: BTreeSet<String>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct Error {
    problems: Vec<Problem>,
}

/// What stands in place of a secret.
pub const MASK: &str = "********";

/// One key and what holds for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The path, such as `api.listen`.
    pub key: String,
    /// The value as it is written.
    pub value: String,
    /// The file, variable or flag; `default` when nobody set it.
    pub origin: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, variable or flag; `None` when no source set the key.
    pub origin: Option<String>,
    /// The path of the key, such as `api.listen`; empty when the source as a whole is at fault.
    pub key: String,
    /// What is wrong, and the mend.
    pub message: String,
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    presence: Presence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

#[derive(Clone)]
struct Flag {
    name: &'static str,
    key: &'static str,
    value: String,
}

/// The environment of this process: the one place that reads it. Variables that are not UTF-8 are left out.
pub fn process_env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Loads `T` from `sources`.
pub fn load<T: DeserializeOwned>(sources: &Sources) -> Result<T, Error> {
    let mut problems = Problems::default();
    let tree = sources.merged(&mut problems);
    let value = tree::deserialize(tree, &sources.prefix, &mut problems);
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(Error { problems: problems.into_vec() }),
    }
}

// === impl Sources ===

impl fmt::Debug for Sources {
    /// Without the values of variables and flags: they hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        formatter
            .debug_struct("Sources")
            .field("files", &self.files)
            .field("environment", &names)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// The sources of `program` (such as `controller`); none is set yet.
    pub fn new(program: &str) -> Self {
        Self {
            prefix: format!("TRADEPOST_{}__", program.to_uppercase().replace('-', "_")),
            files: Vec::new(),
            dotenv: None,
            environment: Vec::new(),
            flags: Vec::new(),
            secrets: BTreeSet::new(),
        }
    }

    /// Adds a TOML file that must exist: one that the user named.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(File { path: path.into(), presence: Presence::Required });
        self
    }

    /// Adds a TOML file that may be absent: one at a customary place.
    #[must_use]
    pub fn optional_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(File { path: path.into(), presence: Presence::Optional });
        self
    }

    /// Adds the environment, usually [`process_env`]; variables of other programs are passed over.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables.into_iter().filter(|(name, _)| name.starts_with(&self.prefix)));
        self
    }

    /// Adds a file of `NAME=value` lines, usually `.env`, if it is there. The environment itself counts more.
    #[must_use]
    pub fn dotenv(mut self, path: impl Into<PathBuf>) -> Self {
        self.dotenv = Some(path.into());
        self
    }

    /// Sets `key` (a path such as `api.listen`) from a flag, when it was given; `name` is named in errors.
    #[must_use]
    pub fn flag(mut self, name: &'static str, key: &'static str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.flags.push(Flag { name, key, value: value.to_string() });
        }
        self
    }

    /// Lets the secret at `key` be given as `<key>_file` too: a file whose content, less its last line break, is the value.
    /// The target holds it as `secrecy::SecretString`.
    #[must_use]
    pub fn secret(mut self, key: impl Into<String>) -> Self {
        self.secrets.insert(key.into());
        self
    }

    /// The same as [`load`].
    pub fn load<T: DeserializeOwned>(&self) -> Result<T, Error> {
        load(self)
    }

    /// All layers in one tree.
    fn merged(&self, problems: &mut Problems) -> Node {
        let mut tree = Node::empty_table();
        for file in &self.files {
            if let Some(mut layer) = read_file(file, problems) {
                self.read_secrets(&mut layer, file.path.parent(), problems);
                tree.merge(layer);
            }
        }
        if let Some(path) = &self.dotenv {
            let variables = read_dotenv(path, problems).into_iter();
            let ours = variables.filter(|(name, _)| name.starts_with(&self.prefix));
            tree.merge(self.variables(ours, &|name| format!("{}: {name}", path.display()), problems));
        }
        let variables = self.environment.iter().cloned();
        tree.merge(self.variables(variables, &|name| format!("environment variable {name}"), problems));
        let mut layer = Node::empty_table();
        for flag in &self.flags {
            let path: Vec<&str> = flag.key.split('.').collect();
            layer.insert(&path, Node::text(&flag.value, flag.name), problems);
        }
        self.read_secrets(&mut layer, None, problems);
        tree.merge(layer);
        tree
    }

    fn variables(
        &self,
        variables: impl Iterator<Item = (String, String)>,
        origin: &dyn Fn(&str) -> String,
        problems: &mut Problems,
    ) -> Node {
        let mut layer = Node::empty_table();
        for (name, value) in variables {
            let key = name.trim_start_matches(&self.prefix).to_lowercase();
            let path: Vec<&str> = key.split("__").collect();
            layer.insert(&path, Node::text(&value, &origin(&name)), problems);
        }
        self.read_secrets(&mut layer, None, problems);
        layer
    }

    /// What holds, key by key, over `defaults` (TOML), each with where it comes from. Secrets are masked.
    pub fn settings(&self, defaults: &str) -> Vec<Setting> {
        let mut problems = Problems::default();
        let table = defaults.parse::<toml::Table>().unwrap_or_default();
        let mut tree = Node::from_toml(toml::Value::Table(table), "default");
        tree.merge(self.merged(&mut problems));
        let mut settings = tree.leaves();
        for setting in settings.iter_mut().filter(|setting| self.secrets.contains(&setting.key)) {
            MASK.clone_into(&mut setting.value);
        }
        settings
    }

    /// Replaces each `<secret>_file` of one layer by the content of the file; relative paths start at `base`.
    fn read_secrets(&self, layer: &mut Node, base: Option<&Path>, problems: &mut Problems) {
        for key in &self.secrets {
            let twin = format!("{key}_file");
            let twin_path: Vec<&str> = twin.split('.').collect();
            let Some(node) = layer.remove(&twin_path) else { continue };
            let key_path: Vec<&str> = key.split('.').collect();
            let origin = node.origin().to_owned();
            let Some(file) = node.as_str() else {
                problems.add(Some(&origin), &twin, "must be the path of a file");
                continue;
            };
            if layer.contains(&key_path) {
                problems.add(Some(&origin), &twin, format!("{key} is set as well; keep one of the two"));
                continue;
            }
            let path = base.map_or_else(|| PathBuf::from(file), |base| base.join(file));
            match std::fs::read_to_string(&path) {
                Ok(content) => {
                    let secret = content.strip_suffix('\n').unwrap_or(&content);
                    let secret = secret.strip_suffix('\r').unwrap_or(secret);
                    layer.insert(&key_path, Node::text(secret, &path.display().to_string()), problems);
                }
                Err(error) => {
                    problems.add(Some(&origin), &twin, format!("cannot read {}: {error}", path.display()));
                }
            }
        }
    }
}

/// The lines of a file of variables. What cannot be read is named by its place alone: it may hold a secret.
fn read_dotenv(path: &Path, problems: &mut Problems) -> Vec<(String, String)> {
    let origin = path.display().to_string();
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(dotenvy::Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(_) => {
            problems.add(Some(&origin), "", "cannot read this file");
            return Vec::new();
        }
    };
    let mut variables = Vec::new();
    for line in lines {
        match line {
            Ok(variable) => variables.push(variable),
            Err(_) => problems.add(
                Some(&origin),
                "",
                format!(
                    "entry {} is not NAME=value; put quotes around a value with spaces",
                    variables.len() + 1
                ),
            ),
        }
    }
    variables
}

fn read_file(file: &File, problems: &mut Problems) -> Option<Node> {
    let origin = file.path.display().to_string();
    let text = match std::fs::read_to_string(&file.path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.presence == Presence::Optional => {
            return None;
        }
        Err(error) => {
            problems.add(Some(&origin), "", format!("cannot read this file: {error}"));
            return None;
        }
    };
    match text.parse::<toml::Table>() {
        Ok(table) => Some(Node::from_toml(toml::Value::Table(table), &origin)),
        Err(error) => {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            let message = error.message().trim().replace('\n', ", ");
            problems.add(Some(&format!("{origin}:{line}")), "", format!("not valid TOML: {message}"));
            None
        }
    }
}

// === impl Error ===

impl Error {
    /// Each problem found, at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                formatter.write_str("; ")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(formatter, "{origin}: ")?;
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)
    }
}
