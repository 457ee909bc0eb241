//! Contexts: the controllers a person has logged in to, kept in their own folder.
//!
//! ```text
//! <config>/tradepost/config.toml          which contexts there are, and the current one     0600
//! <config>/tradepost/contexts/NAME.pem    a copy of the authority's certificate
//! ```
//!
//! The secrets, apart from what people may share, are in the [`Vault`].

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::error::{Error, Exit, Result};
use crate::vault::{Secret, Vault};

/// The file of contexts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// Name of the context that is used when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default, rename = "contexts")]
    pub(crate) by_name: BTreeMap<String, Context>,
    #[serde(skip)]
    folder: PathBuf,
    /// Whether secrets may be in a keyring.
    #[serde(skip)]
    keyring: bool,
}

/// One context.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Address of the controller.
    pub(crate) server: String,
    /// Who logged in, for people.
    pub(crate) user: String,
    /// Name of the workspace, for people.
    pub(crate) workspace: String,
}

/// What a connection needs.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Name of the context, if one is used.
    pub(crate) context: Option<String>,
    pub(crate) server: String,
    /// The file that the authority was read from, for messages.
    pub(crate) ca_file: PathBuf,
    pub(crate) ca_pem: Vec<u8>,
    pub(crate) credential: Credential,
    /// Id or name of the workspace that calls work in, where it is not the session's own.
    pub(crate) workspace: Option<String>,
}

/// What calls carry.
#[derive(Debug)]
pub(crate) enum Credential {
    /// Nothing: the call is for anyone.
    None,
    /// An API token.
    Token(SecretString),
    /// A session, kept in the vault.
    Session(Vault),
}

impl Contexts {
    /// Reads the contexts; none when there is no file yet.
    pub(crate) fn load(global: &Global) -> Result<Self> {
        let folder = global.config_dir()?;
        let path = folder.join("config.toml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::failed(format!("cannot read {}: {error}", path.display()))),
        };
        let contexts = toml::from_str::<Self>(&text).map_err(|error| {
            let reason = error.message().lines().collect::<Vec<_>>().join(" ");
            Error::usage(format!("{}: {reason}", path.display()))
                .hint("mend the file, or remove it and log in again with `tradepost login`")
        })?;
        Ok(Self { folder, keyring: global.keyring, ..contexts })
    }

    /// The context of that name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context> {
        self.by_name.get(name).ok_or_else(|| {
            let error = Error::new(Exit::NotFound, format!("there is no context {name:?}"));
            if self.by_name.is_empty() {
                error.hint("log in first: tradepost login --email ADDRESS --server https://HOST:PORT --ca-file ca.pem")
            } else {
                let names: Vec<_> = self.by_name.keys().map(String::as_str).collect();
                error.hint(format!("there are: {}", names.join(", ")))
            }
        })
    }

    /// Stores a context with its secret and authority, and makes it the current one.
    pub(crate) fn store(
        &mut self,
        name: &str,
        context: Context,
        secret: &Secret,
        ca_pem: &[u8],
    ) -> Result<()> {
        check_name(name)?;
        self.vault(name).save(secret)?;
        write_private(&self.ca_path(name), ca_pem)?;
        self.by_name.insert(name.to_owned(), context);
        self.current = Some(name.to_owned());
        self.save()
    }

    /// Makes a context the current one.
    pub(crate) fn make_current(&mut self, name: &str) -> Result<()> {
        self.get(name)?;
        self.current = Some(name.to_owned());
        self.save()
    }

    /// Notes which workspace the session of a context works in, for people.
    pub(crate) fn set_workspace(&mut self, name: Option<&str>, workspace: &str) -> Result<()> {
        let name = name.map(str::to_owned).or_else(|| self.current.clone());
        match name.and_then(|name| self.by_name.get_mut(&name)) {
            Some(context) => workspace.clone_into(&mut context.workspace),
            None => return Ok(()),
        }
        self.save()
    }

    /// Forgets a context, its secret and its authority.
    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        self.get(name)?;
        self.by_name.remove(name);
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        self.save()?;
        self.vault(name).remove()?;
        let path = self.ca_path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::failed(format!("cannot remove {}: {error}", path.display())))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn ca_path(&self, name: &str) -> PathBuf {
        self.folder.join("contexts").join(format!("{name}.pem"))
    }

    /// Where the context's secret is kept.
    pub(crate) fn vault(&self, name: &str) -> Vault {
        Vault::new(&self.folder, name, self.keyring)
    }

    fn save(&self) -> Result<()> {
        let text = toml::to_string_pretty(self)
            .map_err(|error| Error::failed(format!("cannot write the contexts: {error}")))?;
        write_private(&self.folder.join("config.toml"), text.as_bytes())
    }
}

impl Settings {
    /// What options, environment and context say, in this order.
    pub(crate) fn load(global: &Global) -> Result<Self> {
        let contexts = Contexts::load(global)?;
        let name = global.context.clone().or_else(|| contexts.current.clone());
        let context = match &name {
            // A context named by an option must exist; the current one matters only where it is needed.
            Some(name) if global.context.is_some() || global.server.is_none() => Some(contexts.get(name)?),
            _ => None,
        };
        let server = match (&global.server, context) {
            (Some(server), _) => server_address(server)?,
            (None, Some(context)) => context.server.clone(),
            (None, None) => return Err(not_logged_in(&contexts)),
        };
        let name = name.filter(|_| context.is_some());
        let ca_file = match (&global.ca_file, &name) {
            (Some(path), _) => path.clone(),
            (None, Some(name)) => contexts.ca_path(name),
            (None, None) => return Err(no_authority()),
        };
        let ca_pem = read_ca(&ca_file)?;
        let credential = match (token_given(global)?, &name) {
            (Some(token), _) => Credential::Token(token),
            (None, Some(name)) => {
                let vault = contexts.vault(name);
                match vault.load()? {
                    Secret::Token(token) => Credential::Token(token),
                    Secret::Session(_) => Credential::Session(vault),
                }
            }
            (None, None) => {
                return Err(Error::new(Exit::Denied, "no API token is given")
                    .hint("name its file with --token-file, or set TRADEPOST_TOKEN"));
            }
        };
        let workspace = global.workspace.clone();
        Ok(Self { context: name, server, ca_file, ca_pem, credential, workspace })
    }

    /// The controller that options, environment and context name, for calls that anyone may make.
    pub(crate) fn for_anyone(global: &Global, contexts: &Contexts, name: &str) -> Result<Self> {
        let known = contexts.by_name.get(name);
        let server = match (&global.server, known) {
            (Some(server), _) => server_address(server)?,
            (None, Some(context)) => context.server.clone(),
            (None, None) => {
                return Err(Error::usage("the address of the controller is missing")
                    .hint("write for example: --server https://127.0.0.1:7443 --ca-file ca.pem"));
            }
        };
        let ca_file = match (&global.ca_file, known) {
            (Some(path), _) => path.clone(),
            (None, Some(_)) => contexts.ca_path(name),
            (None, None) => return Err(no_authority()),
        };
        let ca_pem = read_ca(&ca_file)?;
        Ok(Self { context: None, server, ca_file, ca_pem, credential: Credential::None, workspace: None })
    }
}

/// The token that options or environment name, if any.
pub(crate) fn token_given(global: &Global) -> Result<Option<SecretString>> {
    match (&global.token_file, &global.token) {
        (Some(path), _) => read_token(path).map(Some),
        (None, token) => Ok(token.clone()),
    }
}

/// Checks an address such as `https://127.0.0.1:7443`.
pub(crate) fn server_address(text: &str) -> Result<String> {
    let mend = "write for example --server https://127.0.0.1:7443";
    let url = url::Url::parse(text)
        .map_err(|_| Error::usage(format!("--server: {text:?} is not an address")).hint(mend))?;
    match url.scheme() {
        "https" if url.host_str().is_some() => Ok(text.trim_end_matches('/').to_owned()),
        "http" => Err(Error::usage(format!("--server: {text:?} must begin with https://")).hint(mend)),
        _ => Err(Error::usage(format!("--server: {text:?} is not an https address")).hint(mend)),
    }
}

/// Reads the authority's certificate.
pub(crate) fn read_ca(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Error::usage(format!("cannot read the authority's certificate {}: {}", path.display(), plain(&error)))
            .hint("--ca-file takes the PEM file that the controller writes in its data directory")
    })
}

pub(crate) fn no_authority() -> Error {
    Error::usage("the authority of the controller's certificate is not known")
        .hint("name its PEM file with --ca-file; the controller writes it in its data directory")
}

fn not_logged_in(contexts: &Contexts) -> Error {
    let error = Error::new(Exit::Denied, "no context is chosen");
    if contexts.by_name.is_empty() {
        error.hint("log in first: tradepost login --server https://HOST:PORT --ca-file ca.pem")
    } else {
        let names: Vec<_> = contexts.by_name.keys().map(String::as_str).collect();
        error.hint(format!("choose one with `tradepost context use NAME`; there are: {}", names.join(", ")))
    }
}

pub(crate) fn read_token(path: &Path) -> Result<SecretString> {
    let text = fs::read_to_string(path).map_err(|error| {
        Error::new(Exit::Denied, format!("cannot read the token {}: {}", path.display(), plain(&error)))
    })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Error::new(Exit::Denied, format!("the token file {} is empty", path.display())));
    }
    Ok(SecretString::from(token))
}

/// The name becomes a file name.
fn check_name(name: &str) -> Result<()> {
    let fine = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !name.starts_with('.');
    if fine {
        Ok(())
    } else {
        Err(Error::usage(format!("{name:?} cannot be the name of a context"))
            .hint("use 1 to 64 letters, digits, \"-\", \"_\" and \".\", not beginning with \".\""))
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        create_private_folder(folder)?;
        let temporary = path.with_extension("tmp");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| Error::failed(format!("cannot write {}: {}", path.display(), plain(&error))))
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The operating system's words without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => String::from("there is no such file"),
        io::ErrorKind::PermissionDenied => String::from("permission denied"),
        io::ErrorKind::IsADirectory => String::from("it is a folder"),
        io::ErrorKind::ReadOnlyFilesystem => String::from("the file system is read-only"),
        io::ErrorKind::StorageFull => String::from("the disk is full"),
        _ => error.to_string(),
    }
}
