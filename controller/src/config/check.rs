//! Whether a configuration makes sense and is kept safe, and its example as environment variables.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tradepost_runtime::config::Problem;
use tradepost_runtime::config::Setting;

use super::{Config, DOTENV, EXAMPLE, SECRETS};
use crate::seal::{Own, Ring, Source};

/// Before every variable.
const PREFIX: &str = "TRADEPOST_CONTROLLER__";

impl Config {
    /// Values beyond their limits, each with the limit and the mend.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut say = |key: &str, message: String| {
            found.push(Problem { origin: None, key: key.to_owned(), message });
        };
        let ratio = self.traces.sample_ratio;
        if !(0.0..=1.0).contains(&ratio) {
            say("traces.sample_ratio", format!("is {ratio}; use 0 (no traces) to 1 (every trace)"));
        }
        if self.agents.accepts_per_second == 0 {
            say("agents.accepts_per_second", "is 0, so no agent could connect; use 1 or more".into());
        }
        for (key, span) in [("drain", self.drain), ("agents.max_offline", self.agents.max_offline)] {
            if span.is_zero() {
                say(key, "is 0; use a time span such as \"10s\" or \"90days\"".into());
            }
        }
        if self.reconcile.schedule().is_none() {
            let message = "needs one delay or more, and neither they nor reconcile.horizon may be zero; leave both out for the usual \
                           schedule";
            say("reconcile.looks", message.into());
        }
        if self.api.certificate_file.is_some() != self.api.key_file.is_some() {
            say("api.certificate_file", "and api.key_file belong together; give both or neither".into());
        }
        if let Some(message) = self.problem() {
            say("api.plaintext", message);
        }
        let (api, agents) = (self.api.listen, self.agents.listen);
        if api == agents && api.port() != 0 {
            say("agents.listen", format!("is {agents}, as api.listen; each needs a port of its own"));
        }
        if self.secrets.keys.is_some() && self.secrets.keys_file.is_some() {
            say("secrets.keys", "and secrets.keys_file are both set; keep one of the two".into());
        } else if let Err(error) = Ring::load(self.keys()) {
            let key = if self.secrets.keys.is_some() { "secrets.keys" } else { "secrets.keys_file" };
            say(key, error.to_string().trim_start_matches("secrets: ").to_owned());
        }
        found
    }

    /// What works, and puts secrets at risk. `settings` tell where each comes from.
    pub fn risks(&self, settings: &[Setting], config_file: Option<&Path>) -> Vec<String> {
        let mut risks = Vec::new();
        let written = |origin: &str| {
            let file = config_file.map(|file| file.display().to_string());
            file.is_some_and(|file| origin == file)
        };
        let harmless = |setting: &&Setting| setting.key == "database.url" && !self.database_has_password();
        let secrets = settings.iter().filter(|setting| SECRETS.contains(&setting.key.as_str()));
        let secrets: Vec<_> = secrets.filter(|setting| !harmless(setting)).collect();
        for setting in &secrets {
            if written(&setting.origin) {
                let (key, variable) = (&setting.key, variable(&setting.key));
                risks.push(format!(
                    "{key} stands in the configuration file; move it to {variable}, or to a file of its own that {key}_file names"
                ));
            }
        }
        let mut files =
            vec![self.identity_folder().join("ca.key"), self.identity_folder().join("agents-ca.key")];
        files.extend(self.api.key_file.clone());
        if let Source::File { path, own: _ } = self.keys() {
            files.push(path);
        }
        if settings.iter().any(|setting| setting.origin.starts_with(&format!("{DOTENV}:"))) {
            files.push(PathBuf::from(DOTENV));
        }
        // A secret that comes from a file, its own or the configuration, has that file as its origin.
        files.extend(
            secrets.iter().map(|setting| PathBuf::from(&setting.origin)).filter(|path| path.is_file()),
        );
        files.sort();
        files.dedup();
        for file in files {
            // A container's secret is mounted read only, its mode is not ours.
            let given = matches!(self.keys(), Source::File { ref path, own: Own::Given } if *path == file);
            if let Some(mode) = open_to_others(&file) {
                let mend = if given { "mount it with mode 0400" } else { "chmod 600 it" };
                risks.push(format!("{} can be read by other users (mode {mode:o}); {mend}", file.display()));
            }
        }
        risks
    }

    fn database_has_password(&self) -> bool {
        let Some(url) = &self.database.url else { return false };
        let parsed = url::Url::parse(url.expose_secret());
        parsed.is_ok_and(|url| {
            url.password().is_some() || url.query().is_some_and(|query| query.contains("password"))
        })
    }
}

/// The file's mode when others than its owner may read it.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o044 != 0).then_some(mode)
}

/// Elsewhere folders decide who may read.
#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<u32> {
    None
}

/// The variable that sets a key.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// The example as a `.env` file: every key as a variable, commented out.
pub fn env_example() -> String {
    let mut text = String::from(
        "# The configuration of the Tradepost controller as environment variables, each at its default. Copy this file to .env in the\n\
         # folder that the controller is started in, take the # away where you change something, and chmod 600 it. The\n\
         # environment itself counts more than this file, and this file more than a configuration file.\n\
         # Every secret can be given as …_FILE instead: the path of a file that holds it.\n",
    );
    let mut section = String::new();
    for line in EXAMPLE.lines().skip_while(|line| line.starts_with('#')) {
        let plain = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, value)) = assignment(plain) {
            let key = format!("{section}{key}");
            let value = value.trim_matches('"');
            let value = if value.starts_with('[') { format!("'{value}'") } else { value.to_owned() };
            text.extend(["# ", &variable(&key), "=", &value, "\n"]);
            if SECRETS.contains(&key.as_str()) && key != "secrets.keys" {
                text.extend(["# ", &variable(&key), "_FILE=/run/secrets/", &key.replace('.', "-"), "\n"]);
            }
        } else {
            text.extend([line, "\n"]);
        }
    }
    text
}

/// A line of TOML that sets a key.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(" = ")?;
    let name = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    name.then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradepost_runtime::config::Sources;

    #[test]
    fn the_example_of_variables_is_the_shipped_file_and_the_default() {
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/.env.example");
        let text = std::fs::read_to_string(shipped).expect("deploy/.env.example");
        assert_eq!(text, env_example(), "run `controller config example --env > deploy/.env.example`");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(".env");
        // With every variable taken up.
        let all: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TRADEPOST_"))
            .filter(|line| {
                !line.contains("_FILE=") && !line.contains("SECRETS__KEYS") && !line.contains("__DATABASE__")
            })
            .map(|line| format!("TRADEPOST_{line}\n"))
            .collect();
        let all = all.concat();
        std::fs::write(&file, &all).expect("written");
        let loaded: Config =
            Sources::new("controller").dotenv(&file).load().unwrap_or_else(|error| panic!("{error}\n{all}"));
        let default = Config::default();
        assert_eq!((loaded.drain, loaded.api.listen), (default.drain, default.api.listen));
        assert_eq!(loaded.reconcile.schedule(), default.reconcile.schedule());
        assert_eq!(loaded.retention, default.retention);
        for secret in SECRETS {
            assert!(text.contains(&format!("{}_FILE=", variable(secret))), "{secret}");
        }
    }

    #[test]
    fn values_beyond_their_limits_are_named_with_limit_and_mend() {
        let mut config = Config { data_dir: "/nowhere".into(), ..Config::default() };
        assert!(config.problems().is_empty(), "{:?}", config.problems());
        config.traces.sample_ratio = 1.5;
        config.agents.accepts_per_second = 0;
        config.drain = std::time::Duration::ZERO;
        config.api.key_file = Some("/x.key".into());
        config.agents.listen = config.api.listen;
        config.secrets.keys = Some(String::from("v1 c2hvcnQ=").into());
        let said: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
        for part in [
            "traces.sample_ratio: is 1.5; use 0 (no traces) to 1",
            "agents.accepts_per_second: is 0",
            "drain: is 0",
            "belong together",
            "a port of its own",
            "secrets.keys: the setting secrets.keys, entry 1 is no key",
        ] {
            assert!(said.iter().any(|line| line.contains(part)), "{part}: {said:?}");
        }
        assert!(!said.iter().any(|line| line.contains("c2hvcnQ")), "{said:?}");
    }

    #[cfg(unix)]
    #[test]
    fn secrets_in_the_file_and_keys_that_others_can_read_are_told() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("controller.toml");
        std::fs::write(&file, "[database]\nurl = \"postgres://me:hunter2@db/x\"\n").expect("written");
        let mut sources = Sources::new("controller").file(&file);
        for secret in SECRETS {
            sources = sources.secret(secret);
        }
        let mut config: Config = sources.load().unwrap_or_else(|error| panic!("{error}"));
        config.data_dir = folder.path().to_owned();
        let key = folder.path().join("identity").join("secrets.key");
        std::fs::create_dir_all(folder.path().join("identity")).expect("made");
        std::fs::write(&key, "").expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("set");
        let settings = sources.settings(EXAMPLE);
        let risks = config.risks(&settings, Some(&file)).join("\n");
        assert!(risks.contains("database.url stands in the configuration file"), "{risks}");
        assert!(risks.contains("secrets.key can be read by other users (mode 644)"), "{risks}");
        let shown = format!("{settings:?} {config:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let secret = || std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&key, secret()).expect("set");
        std::fs::set_permissions(&file, secret()).expect("set");
        assert_eq!(config.risks(&settings, Some(&file)).len(), 1);
    }
}
