//! The controller's configuration. The comment of each key is its reference.

mod audit;
pub mod check;
mod retention;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tradepost_domain::reconcile;
use tradepost_domain::standing::MAX_OFFLINE;
use tradepost_runtime::config::{self, Sources};
use tradepost_runtime::telemetry::{self, LogFormat};

use crate::args::Args;
use crate::seal::ring;
use crate::seal::{Own, Source};
use crate::service::people::Policy;

pub use self::audit::Audit;
pub use self::check::env_example;
pub use self::retention::{Keep, Retention};

/// Keys that hold secrets: each can be given as `<key>_file` as well, and is never shown.
pub const SECRETS: [&str; 2] = ["database.url", "secrets.keys"];
/// Variables of the present folder.
pub const DOTENV: &str = ".env";

/// A thousand agents are back within five seconds of a restart, at a third of one core.
const ACCEPTS_PER_SECOND: u32 = 250;

/// Everything that can be configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where the controller keeps its files. Default: the user's data directory.
    pub data_dir: PathBuf,
    /// Folder of the certificate authority; controllers on one database share one. Default: `identity` in `data_dir`.
    pub identity_dir: Option<PathBuf>,
    /// The database.
    pub database: Database,
    /// The listener for people, tools and browsers.
    pub api: Api,
    /// The listener for agents.
    pub agents: Agents,
    /// Users.
    pub users: Users,
    /// The keys that secrets in the database are sealed under.
    pub secrets: Secrets,
    /// The listener for metrics.
    pub metrics: Metrics,
    /// Finding out what became of uncertain publications.
    pub reconcile: Reconcile,
    /// Logs.
    pub log: Log,
    /// Traces.
    pub traces: Traces,
    /// How long things are kept.
    pub retention: Retention,
    /// The audit log.
    pub audit: Audit,
    /// How long a shutdown may take before what is left is cut off.
    #[serde(with = "config::duration")]
    pub drain: Duration,
}

/// The database.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://…`. Default: `tradepost.db` in `data_dir`. May be given as `url_file`.
    pub url: Option<SecretString>,
}

/// The listener for people, tools and browsers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Api {
    /// Address and port.
    pub listen: SocketAddr,
    /// What clients are told to reach it by, as host:port. Default: the address it listens on.
    pub public_address: Option<String>,
    /// Further names and addresses in its certificate, beside localhost, this host's name and the listening address.
    pub names: Vec<String>,
    /// Networks of reverse proxies, e.g. `10.0.0.0/8`, whose `X-Forwarded-For` says where a call comes from. Everybody
    /// else's is ignored.
    pub trusted_proxies: Vec<IpNet>,
    /// A certificate of one's own for people and browsers, leaf first, PEM. Default: one of the controller's authority.
    pub certificate_file: Option<PathBuf>,
    /// Its key, PEM, without a passphrase.
    pub key_file: Option<PathBuf>,
    /// Also serve connections without TLS, for a reverse proxy on this machine that ends it. On loopback alone.
    pub plaintext: bool,
}

/// Users.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default)]
pub struct Users {
    /// Operators must have a second factor before they act as such in a session. API tokens that
    /// `controller admin create` makes are not asked.
    pub operators_need_second_factor: bool,
    /// Calls of one token in a minute, over all controllers. 0: no limit.
    pub calls_per_minute: u32,
}

/// The listener for agents.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Agents {
    /// Address and port.
    pub listen: SocketAddr,
    /// What agents are told to reach it by, as host:port. Default: the address it listens on.
    pub public_address: Option<String>,
    /// An agent that was not heard of for longer waits for a person's approval.
    #[serde(with = "config::duration")]
    pub max_offline: Duration,
    /// How many connections are taken in a second, so that a restart is no stampede.
    pub accepts_per_second: u32,
}

/// The keys that secrets in the database are sealed under. Default: `secrets.key` in the folder of the certificate
/// authority, made at the first start.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default)]
pub struct Secrets {
    /// The keys themselves, `v1 BASE64`, separated by commas or line breaks. Better in the environment than in a file.
    pub keys: Option<SecretString>,
    /// A file that holds them, one a line, which is read again when a version is not known; this program does not write it.
    pub keys_file: Option<PathBuf>,
}

/// The listener for metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Address and port; without authentication, so keep it on this machine. Empty: no metrics are served.
    pub listen: String,
}

/// Finding out what became of uncertain publications.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Reconcile {
    /// Delays of the looks at the account's own listings: the first from the moment the publication became uncertain,
    /// each other from the look before it. Default: 30s, 2m, 10m, 1h, 6h, 24h.
    pub looks: Vec<Delay>,
    /// The clean looks must span this time before a listing counts as absent: how long a site may hide a new listing.
    #[serde(with = "config::duration")]
    pub horizon: Duration,
}

/// A time span as people write it, in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Delay(#[serde(with = "config::duration")] pub Duration);

/// Logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Log {
    /// `auto` (pretty on a terminal, else JSON), `pretty` or `json`.
    pub format: LogFormat,
    /// Which lines, e.g. `info` or `warn,tradepost_controller=debug`.
    pub filter: String,
}

/// Traces.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Traces {
    /// OTLP over gRPC, e.g. `http://127.0.0.1:4317`. Default: nothing is exported.
    pub otlp_endpoint: Option<String>,
    /// The share of new traces that is exported, 0 to 1.
    pub sample_ratio: f64,
}

/// A commented example with every key at its default; see `controller config example`.
pub const EXAMPLE: &str = include_str!("config/example.toml");

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            identity_dir: None,
            database: Database::default(),
            api: Api::default(),
            agents: Agents::default(),
            users: Users::default(),
            secrets: Secrets::default(),
            metrics: Metrics::default(),
            reconcile: Reconcile::default(),
            log: Log::default(),
            traces: Traces::default(),
            retention: Retention::default(),
            audit: Audit::default(),
            drain: Duration::from_secs(10),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 7443).into(),
            public_address: None,
            names: Vec::new(),
            trusted_proxies: Vec::new(),
            certificate_file: None,
            key_file: None,
            plaintext: false,
        }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self { operators_need_second_factor: true, calls_per_minute: 6000 }
    }
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 7444).into(),
            public_address: None,
            max_offline: MAX_OFFLINE,
            accepts_per_second: ACCEPTS_PER_SECOND,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: String::from("127.0.0.1:7445") }
    }
}

impl Default for Reconcile {
    fn default() -> Self {
        Self { looks: reconcile::SCHEDULE.map(Delay).to_vec(), horizon: reconcile::HORIZON }
    }
}

impl Reconcile {
    /// The schedule; none when it makes no sense.
    pub fn schedule(&self) -> Option<reconcile::Schedule> {
        reconcile::Schedule::new(self.looks.iter().map(|delay| delay.0).collect(), self.horizon)
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: String::from("info") }
    }
}

impl Default for Traces {
    fn default() -> Self {
        Self { otlp_endpoint: None, sample_ratio: 1.0 }
    }
}

impl Config {
    /// From file, environment and flags.
    pub fn load(args: &Args) -> Result<Self, config::Error> {
        Self::sources(args).load()
    }

    /// Where it comes from: file, `.env` in the present folder, environment, flags.
    pub fn sources(args: &Args) -> Sources {
        let mut sources = Sources::new("controller").dotenv(DOTENV).environment(config::process_env());
        for secret in SECRETS {
            sources = sources.secret(secret);
        }
        if let Some(file) = &args.config {
            sources = sources.file(file);
        }
        let path = |given: &Option<PathBuf>| given.as_ref().map(|path| path.display().to_string());
        sources
            .flag("--database", "database.url", args.database.as_ref())
            .flag("--data-dir", "data_dir", path(&args.data_dir))
            .flag("--identity-dir", "identity_dir", path(&args.identity_dir))
            .flag("--api-listen", "api.listen", args.api_listen)
            .flag("--agents-listen", "agents.listen", args.agents_listen)
            .flag("--api-plaintext", "api.plaintext", args.api_plaintext.then_some(true))
            .flag("--metrics-listen", "metrics.listen", args.metrics_listen.as_ref())
            .flag("--log", "log.filter", args.log.as_ref())
    }

    /// What else is wrong, that no single key shows: one line with the mend.
    pub fn problem(&self) -> Option<String> {
        let open = self.api.plaintext && !self.api.listen.ip().to_canonical().is_loopback();
        open.then(|| {
            format!(
                "api.plaintext (--api-plaintext) serves without TLS, and so on this machine alone; {} can be reached from \
                 elsewhere: set api.listen to 127.0.0.1 or [::1], or leave api.plaintext out",
                self.api.listen
            )
        })
    }

    /// The database's address.
    pub fn database_url(&self) -> String {
        match &self.database.url {
            Some(url) => url.expose_secret().to_owned(),
            None => format!("sqlite:{}", self.data_dir.join("tradepost.db").display()),
        }
    }

    /// The file of an embedded database; none with a server.
    pub fn database_file(&self) -> Option<PathBuf> {
        let url = self.database_url();
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(&url);
        (!path.contains("://") && !path.starts_with("postgres")).then(|| PathBuf::from(path))
    }

    /// The arguments with which another command finds the same database: none where all is at its default. Never shows
    /// a password.
    pub fn same_database(&self, args: &Args) -> String {
        let mut words = String::new();
        let mut add = |flag: &str, value: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@\\=".contains(c);
            let value = if value.chars().all(plain) { value.to_owned() } else { format!("'{value}'") };
            words.extend([" --", flag, " ", &value]);
        };
        if let Some(file) = &args.config {
            add("config", &file.display().to_string());
        }
        if self.data_dir != Self::default().data_dir {
            add("data-dir", &self.data_dir.display().to_string());
        }
        if let Some(url) = &args.database {
            match url::Url::parse(url) {
                Ok(parsed) if parsed.password().is_some() => add("database", "URL"),
                _ => add("database", url),
            }
        }
        words
    }

    /// The folder of the certificate authority.
    pub fn identity_folder(&self) -> PathBuf {
        self.identity_dir.clone().unwrap_or_else(|| self.data_dir.join("identity"))
    }

    /// Where the keys come from that secrets are sealed under.
    pub fn keys(&self) -> Source {
        match (&self.secrets.keys, &self.secrets.keys_file) {
            (Some(keys), _) => Source::Setting(keys.clone()),
            (None, Some(path)) => Source::File { path: path.clone(), own: Own::Given },
            (None, None) => Source::File { path: self.identity_folder().join(ring::FILE), own: Own::Ours },
        }
    }

    /// The file of the audit log's checkpoints.
    pub fn checkpoints_file(&self) -> PathBuf {
        let configured = self.audit.checkpoints_file.clone();
        configured.unwrap_or_else(|| self.data_dir.join("audit-checkpoints.jsonl"))
    }

    /// What use cases of users go by.
    pub fn policy(&self) -> Policy {
        let Users { operators_need_second_factor, calls_per_minute } = self.users;
        Policy { operators_need_second_factor, calls_per_minute }
    }

    /// The telemetry of the process.
    pub fn telemetry(&self) -> telemetry::Options {
        telemetry::Options {
            log_format: self.log.format,
            filter: self.log.filter.clone(),
            otlp_endpoint: self.traces.otlp_endpoint.clone(),
            sample_ratio: self.traces.sample_ratio,
            ..telemetry::Options::new("tradepost-controller")
        }
    }

    /// Every name and address of the servers' certificates.
    pub fn certificate_names(&self) -> Vec<String> {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        names.extend(host_name());
        for address in [self.api.listen, self.agents.listen] {
            if !address.ip().is_unspecified() {
                names.push(address.ip().to_string());
            }
        }
        for public in [&self.api.public_address, &self.agents.public_address].into_iter().flatten() {
            let host = public.rsplit_once(':').map_or(public.as_str(), |(host, _)| host);
            names.push(host.trim_start_matches('[').trim_end_matches(']').to_owned());
        }
        names.extend(self.api.names.iter().cloned());
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
        names
    }
}

/// `$XDG_DATA_HOME/tradepost`, or the platform's like.
fn default_data_dir() -> PathBuf {
    let variables: std::collections::HashMap<String, String> = config::process_env().collect();
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").or_else(|| set("USERPROFILE"));
    let base = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        set("XDG_DATA_HOME").or_else(|| home().map(|home| home.join(".local/share")))
    };
    base.unwrap_or_else(|| PathBuf::from(".")).join("tradepost").join("controller")
}

/// This machine's name, where it can be found without asking a network.
pub fn host_name() -> Option<String> {
    let of_environment = config::process_env()
        .find(|(name, _)| matches!(name.as_str(), "HOSTNAME" | "COMPUTERNAME"))
        .map(|(_, value)| value);
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).ok().or(of_environment)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let name = name.trim().to_owned();
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_the_default() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("example.toml");
        std::fs::write(&file, EXAMPLE).expect("written");
        let loaded: Config =
            Sources::new("controller").file(&file).load().unwrap_or_else(|error| panic!("{error}"));
        let default = Config::default();
        assert_eq!((loaded.api.listen, loaded.agents.listen), (default.api.listen, default.agents.listen));
        assert_eq!(loaded.metrics.listen, default.metrics.listen);
        assert_eq!(loaded.api.trusted_proxies, default.api.trusted_proxies);
        assert_eq!((loaded.api.plaintext, loaded.problem()), (default.api.plaintext, None));
        assert_eq!(
            (loaded.users.operators_need_second_factor, loaded.users.calls_per_minute),
            (default.users.operators_need_second_factor, default.users.calls_per_minute)
        );
        assert_eq!(loaded.reconcile.schedule(), Some(reconcile::Schedule::default()));
        assert_eq!(loaded.retention, default.retention);
        assert_eq!(loaded.audit, default.audit);
        assert_eq!((loaded.drain, loaded.log.filter), (default.drain, default.log.filter));
    }

    #[test]
    fn plaintext_is_for_loopback_alone() {
        let problem = |listen: &str, plaintext| {
            let mut config = Config::default();
            config.api.listen = listen.parse().expect("an address");
            config.api.plaintext = plaintext;
            config.problem()
        };
        for loopback in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(problem(loopback, true), None, "{loopback}");
        }
        for open in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"]
        {
            assert_eq!(problem(open, false), None, "{open}");
            assert!(problem(open, true).is_some_and(|it| it.contains("on this machine alone")), "{open}");
        }
    }

    #[test]
    fn other_commands_are_told_which_database_without_its_password() {
        use clap::Parser;
        let told = |words: &str| {
            let args = Args::parse_from(words.split(' '));
            let mut config = Config::default();
            config.data_dir = args.data_dir.clone().unwrap_or(config.data_dir);
            config.same_database(&args)
        };
        assert_eq!(told("controller"), "");
        assert_eq!(told("controller --data-dir /srv/x"), " --data-dir /srv/x");
        assert_eq!(told("controller --database sqlite:/srv/a.db"), " --database sqlite:/srv/a.db");
        assert_eq!(told("controller --database postgres://me:secret@host/db"), " --database URL");
    }

    #[test]
    fn certificate_names_hold_what_clients_are_told() {
        let mut config = Config::default();
        config.api.public_address = Some("post.example.com:443".into());
        config.agents.public_address = Some("[2001:db8::1]:7444".into());
        let names = config.certificate_names();
        for name in ["localhost", "127.0.0.1", "post.example.com", "2001:db8::1"] {
            assert!(names.iter().any(|known| known == name), "{name} is missing in {names:?}");
        }
    }
}
