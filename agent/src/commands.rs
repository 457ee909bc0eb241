//! The commands beside `run`; each prints for a person.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use secrecy::SecretString;
use tradepost_domain::agent::NAME_MAX;
use tradepost_proto::enrolment::EnrolmentString;
use tradepost_runtime::clock::{Clock, SystemClock};

use crate::agent::{self, claim};
use crate::args;
use crate::browser::Programs;
use crate::config::Settings;
use crate::credentials::Credentials;
use crate::identity::{Identity, IdentityStore};
use crate::platform;
use crate::platform::files;
use crate::session::enrol;

/// Enrols this PC.
pub async fn enrol(settings: &Settings, string: &str, name: Option<String>) -> anyhow::Result<String> {
    let string: EnrolmentString = string.parse()?;
    let name = name.unwrap_or_else(platform::host_name);
    let length = name.trim().chars().count();
    ensure!((1..=NAME_MAX).contains(&length), "--name has {length} characters; use 1 to {NAME_MAX}");
    let data = &settings.config.data_dir;
    let _only_one = claim(data)?;
    let identity = enrol::enrol(&IdentityStore::new(data), &string, name.trim()).await?;
    Ok(format!(
        "Enrolled as {} ({}) with the controller at {}; its key is {}.\nStart it with: tradepost-agent run\n",
        identity.name,
        identity.agent,
        identity.agents_address,
        IdentityStore::new(data).fingerprint()?
    ))
}

/// Who this agent is, whether it runs, and what it still has to report; and whether its identity is good.
pub fn status(settings: &Settings) -> anyhow::Result<(String, bool)> {
    let data = &settings.config.data_dir;
    let mut text = String::new();
    let Some(identity) = IdentityStore::new(data).find()? else {
        bail!(crate::identity::Error::NotEnrolled);
    };
    writeln!(text, "agent        {} ({})", identity.name, identity.agent)?;
    writeln!(text, "controller   {}", identity.agents_address)?;
    // In red where a person looks.
    let (red, plain) = if std::io::stdout().is_terminal() { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
    let refusal = IdentityStore::new(data).refusal()?;
    let lasts = identity.lasts(SystemClock.now()).is_some();
    let good = refusal.is_none() && lasts;
    if let Some(why) = refusal {
        writeln!(text, "standing     {red}refused by the controller: {why}{plain}")?;
    }
    let (red, plain) = if lasts { ("", "") } else { (red, plain) };
    writeln!(text, "certificate  {red}{}{plain}", certificate(&identity))?;
    writeln!(text, "key          {}", IdentityStore::new(data).fingerprint()?)?;
    writeln!(text, "data         {}", data.display())?;
    let running = matches!(claim(data), Err(agent::Error::Running(_)));
    writeln!(text, "process      {}", if running { "running" } else { "not running" })?;
    let (open, damaged) = open_permits(data)?;
    let note = if damaged { " (the journal is damaged; it is mended at the next start)" } else { "" };
    writeln!(text, "unreported   {open} publication(s){note}")?;
    writeln!(text, "passwords    {} account(s)", Credentials::new(data).list()?.len())?;
    Ok((text, good))
}

fn open_permits(data: &Path) -> anyhow::Result<(usize, bool)> {
    let path = data.join("journal");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let state = crate::journal::State::of(crate::journal::read(&bytes));
    Ok((state.open().count(), state.damaged()))
}

fn certificate(identity: &Identity) -> String {
    if identity.validity().is_none() {
        return String::from("not readable; enrol this PC again");
    }
    match identity.lasts(SystemClock.now()) {
        Some(left) => format!("valid for {} hours more; it is renewed by itself", left.as_secs() / 3600),
        None => {
            String::from("ended; the agent gets a new one by itself when it runs and reaches the controller")
        }
    }
}

/// What the agent needs: the report, and whether all of it is there.
pub async fn check(settings: &Settings) -> anyhow::Result<(String, bool)> {
    let mut text = String::new();
    let mut fine = true;
    let mut line = |name: &str, result: Result<String, String>| {
        let (mark, said) = match &result {
            Ok(said) => ("ok  ", said),
            Err(said) => ("FAIL", said),
        };
        fine &= result.is_ok();
        writeln!(text, "{mark}  {name:<12} {said}")
    };
    let data = &settings.config.data_dir;
    let probe = data.join("check.tmp");
    let writable = files::private_dir(data)
        .and_then(|()| files::replace_private(&probe, b"x"))
        .and_then(|()| std::fs::remove_file(&probe))
        .map(|()| data.display().to_string())
        .map_err(|error| format!("{}: {error}; choose another with --data-dir", data.display()));
    line("data", writable)?;
    match Programs::find(&settings.places).await {
        Ok(programs) => {
            let version = programs.chrome_version.unwrap_or_else(|| String::from("of unknown version"));
            line("Chrome", Ok(format!("{version} ({})", programs.chrome.display())))?;
            let driver = format!("{} ({})", programs.chromedriver_version, programs.chromedriver.display());
            line("chromedriver", Ok(driver))?;
        }
        Err(failure) => line("Chrome", Err(failure.message))?,
    }
    let identity = match IdentityStore::new(data).load() {
        Ok((identity, _)) => {
            let valid = identity.lasts(SystemClock.now()).is_some();
            let said =
                format!("{} ({}); certificate {}", identity.name, identity.agent, certificate(&identity));
            match IdentityStore::new(data).refusal() {
                Ok(Some(why)) => Err(format!("{said}; refused by the controller: {why}")),
                Err(error) => Err(error.to_string()),
                Ok(None) if valid => Ok(said),
                Ok(None) => Err(said),
            }
        }
        Err(error) => Err(error.to_string()),
    };
    line("identity", identity)?;
    Ok((text, fine))
}

/// Stored passwords.
pub fn credentials(settings: &Settings, command: &args::Credentials) -> anyhow::Result<String> {
    let data = &settings.config.data_dir;
    let credentials = Credentials::new(data);
    Ok(match command {
        args::Credentials::Set { account, username } => {
            ensure!(!username.trim().is_empty(), "--username is empty; give the name to sign in with");
            let password = read_password(username)?;
            credentials.set(*account, username.trim(), &password)?;
            format!("Stored for account {account}. It stays on this PC.\n")
        }
        args::Credentials::List => {
            let all = credentials.list()?;
            if all.is_empty() {
                String::from("No passwords are stored.\n")
            } else {
                all.iter().map(|(account, username)| [account, "  ", username, "\n"].concat()).collect()
            }
        }
        args::Credentials::Remove { account } => {
            ensure!(credentials.remove(*account)?, "no password is stored for account {account}");
            format!("Removed for account {account}.\n")
        }
    })
}

fn read_password(username: &str) -> anyhow::Result<SecretString> {
    let stdin = std::io::stdin();
    let password = if stdin.is_terminal() {
        rpassword::prompt_password(format!("Password of {username}: ")).context("cannot read the password")?
    } else {
        let mut line = String::new();
        stdin.lock().read_line(&mut line).context("cannot read the password from standard input")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    ensure!(!password.is_empty(), "the password is empty; type it, or pipe it in as one line");
    Ok(password.into())
}
