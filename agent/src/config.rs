//! The agent's configuration: defaults, `agent.toml`, environment (`TRADEPOST_AGENT__…`), flags; later ones win.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tradepost_runtime::config::{self, Sources, process_env};
use tradepost_runtime::telemetry::{LogFormat, Options};

use crate::args::{Args, Command};
use crate::browser::{Display, SearchPlaces};

/// The agent's configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where the agent keeps its identity, journal and Chrome profiles.
    pub data_dir: PathBuf,
    /// Jobs at once, each with its own Chrome; 1 to 16.
    pub slots: usize,
    /// Chrome without windows.
    pub headless: bool,
    /// Chrome's or Chromium's program; looked for in the usual places when absent.
    pub chrome_path: Option<PathBuf>,
    /// chromedriver's program; looked for in the usual places when absent.
    pub chromedriver_path: Option<PathBuf>,
    /// How long the end of the agent waits for runs past their click.
    #[serde(with = "config::duration")]
    pub drain: Duration,
    /// Logs.
    pub log: Log,
    /// Traces.
    pub traces: Traces,
}

/// Logs, on standard error.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Log {
    /// `auto` (pretty on a terminal), `pretty` or `json`.
    pub format: LogFormat,
    /// Which lines, e.g. `info` or `warn,tradepost_agent=debug`.
    pub filter: String,
}

/// Traces.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Traces {
    /// Where spans go by OTLP over gRPC, e.g. `http://127.0.0.1:4317`; nowhere when absent.
    pub otlp_endpoint: Option<String>,
    /// The share of new traces that is exported, 0 to 1.
    pub sample_ratio: f64,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something in it is wrong.
    #[error(transparent)]
    Sources(#[from] config::Error),
    /// A number is out of its range.
    #[error("slots is {0}; use 1 to 16")]
    Slots(usize),
}

/// Everything the program takes from its surroundings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// Where to look for Chrome.
    pub places: SearchPlaces,
}

/// The environment, as far as the agent reads it.
struct Environment(Vec<(String, String)>);

impl Environment {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    fn home(&self) -> Option<PathBuf> {
        self.get(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(PathBuf::from)
    }

    /// The customary place for data of programs, by system.
    fn data_dir(&self) -> PathBuf {
        let home = self.home().unwrap_or_else(|| PathBuf::from("."));
        if cfg!(windows) {
            let local = self.get("LOCALAPPDATA").map_or_else(|| home.join("AppData/Local"), PathBuf::from);
            local.join("Tradepost").join("agent")
        } else if cfg!(target_os = "macos") {
            home.join("Library/Application Support/Tradepost Agent")
        } else {
            self.get("XDG_DATA_HOME")
                .map_or_else(|| home.join(".local/share"), PathBuf::from)
                .join("tradepost-agent")
        }
    }
}

/// Loads the configuration for a command line.
pub fn load(args: &Args) -> Result<Settings, Error> {
    let environment = Environment(process_env().collect());
    let data_dir = args
        .data_dir
        .clone()
        .or_else(|| environment.get("TRADEPOST_AGENT__DATA_DIR").map(PathBuf::from))
        .unwrap_or_else(|| environment.data_dir());
    let sources = Sources::new("agent");
    let sources = match &args.config {
        Some(file) => sources.file(file),
        None => sources.optional_file(data_dir.join("agent.toml")),
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let programs = args.command.programs();
    let (headless, slots) = match &args.command {
        Command::Run(run) => (run.headless.then_some(true), run.slots),
        _ => (None, None),
    };
    let config: Config = sources
        .environment(environment.0.iter().cloned())
        .flag("--headless", "headless", headless)
        .flag("--slots", "slots", slots)
        .flag("--chrome", "chrome_path", programs.and_then(|programs| path(&programs.chrome)))
        .flag(
            "--chromedriver",
            "chromedriver_path",
            programs.and_then(|programs| path(&programs.chromedriver)),
        )
        .load()?;
    // Chrome wants an absolute profile path.
    let data_dir = if args.data_dir.is_none() && !config.data_dir.as_os_str().is_empty() {
        config.data_dir
    } else {
        data_dir
    };
    let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
    let config = Config { data_dir, ..config };
    if !(1..=16).contains(&config.slots) {
        return Err(Error::Slots(config.slots));
    }
    let places = SearchPlaces {
        chrome: config.chrome_path.clone(),
        chromedriver: config.chromedriver_path.clone(),
        path: environment.get("PATH").map(OsString::from),
        home: environment.home(),
    };
    Ok(Settings { config, places })
}

impl Config {
    /// Logs and traces.
    pub fn telemetry(&self) -> Options {
        Options {
            log_format: self.log.format,
            filter: self.log.filter.clone(),
            otlp_endpoint: self.traces.otlp_endpoint.clone(),
            sample_ratio: self.traces.sample_ratio,
            ..Options::new("tradepost-agent")
        }
    }

    /// Whether a person sees Chrome.
    pub fn display(&self) -> Display {
        if self.headless { Display::Headless } else { Display::Visible }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            slots: 2,
            headless: false,
            chrome_path: None,
            chromedriver_path: None,
            drain: Duration::from_secs(5 * 60),
            log: Log::default(),
            traces: Traces::default(),
        }
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
