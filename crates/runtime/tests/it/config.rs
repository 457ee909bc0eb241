//! Layers, types, and what a person is told about a mistake.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tradepost_runtime::config::{self, Sources};

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Config {
    database: String,
    api: Api,
    #[serde(with = "config::size")]
    photo_limit: u64,
    mode: Mode,
    tags: Vec<String>,
    rates: BTreeMap<String, u32>,
    token: Option<SecretString>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Api {
    listen: SocketAddr,
    #[serde(with = "config::duration")]
    drain: Duration,
    reflection: bool,
    streams: Option<u32>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Visible,
    Headless,
}

#[derive(Debug, Deserialize)]
struct Strict {
    #[expect(dead_code, reason = "it is never set")]
    server: Inner,
}

#[derive(Debug, Deserialize)]
struct Inner {
    #[expect(dead_code, reason = "it is never set")]
    address: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: "sqlite:tradepost.db".to_owned(),
            api: Api::default(),
            photo_limit: 20 << 20,
            mode: Mode::Visible,
            tags: Vec::new(),
            rates: BTreeMap::new(),
            token: None,
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 7443).into(),
            drain: Duration::from_secs(10),
            reflection: true,
            streams: None,
        }
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(toml: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("c.toml", toml);
        folder
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn sources(&self) -> Sources {
        Sources::new("controller").file(self.0.path().join("c.toml"))
    }

    /// The error, with the folder's path left out.
    fn error(&self, sources: &Sources) -> String {
        let error = config::load::<Config>(sources).unwrap_err().to_string();
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn later_layers_win_key_by_key() {
    let folder = Folder::new(
        "database = 'from-file'\nmode = 'headless'\nphoto_limit = '1 MiB'\n[api]\nlisten = '127.0.0.1:1'\ndrain = '1m 30s'\n[rates]\na = 1\n",
    );
    let sources = folder
        .sources()
        .optional_file("/nonexistent/tradepost.toml")
        .environment(env(&[
            ("TRADEPOST_CONTROLLER__API__LISTEN", "127.0.0.1:2"),
            ("TRADEPOST_CONTROLLER__API__REFLECTION", "false"),
            ("TRADEPOST_CONTROLLER__API__STREAMS", "40"),
            ("TRADEPOST_CONTROLLER__DATABASE", "123"),
            ("TRADEPOST_CONTROLLER__TAGS", "a, b"),
            ("TRADEPOST_AGENT__NAME", "not ours"),
            ("TRADEPOST_TEST_POSTGRES", "not ours"),
        ]))
        .flag("--listen", "api.listen", Some("127.0.0.1:3"))
        .flag("--database", "database", None::<String>);
    let config: Config = sources.load().unwrap();
    assert_eq!(config.database, "123");
    assert_eq!(config.api.listen.port(), 3);
    assert_eq!(config.api.drain, Duration::from_secs(90));
    assert_eq!((config.api.reflection, config.api.streams), (false, Some(40)));
    assert_eq!((config.photo_limit, config.mode), (1 << 20, Mode::Headless));
    assert_eq!(config.tags, ["a", "b"]);
    assert_eq!(config.rates["a"], 1);
}

#[test]
fn every_unknown_key_is_refused_with_its_path_and_origin() {
    let folder = Folder::new("databse = 'x'\n[api]\nlistn = 'y'\n");
    let sources = folder.sources().environment(env(&[("TRADEPOST_CONTROLLER__WEB__PORT", "1")]));
    let error = folder.error(&sources);
    for expected in [
        "c.toml: api.listn: unknown key; did you mean listen?",
        "c.toml: databse: unknown key; did you mean database?",
        "environment variable TRADEPOST_CONTROLLER__WEB__PORT: web: unknown key; known here: database, api, ",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn wrong_values_name_their_source_key_and_mend() {
    for (toml, variable, expected) in [
        ("[api]\nlisten = 'here'", None, "c.toml: api.listen: invalid socket address syntax"),
        ("[api]\ndrain = 10", None, "c.toml: api.drain: invalid type: integer `10`, expected a string"),
        (
            "",
            Some(("TRADEPOST_CONTROLLER__API__DRAIN", "soon")),
            "environment variable TRADEPOST_CONTROLLER__API__DRAIN: api.drain: \"soon\" is not a duration \
             (expected number at 0); write for example \"30s\" or \"1h 30m\"",
        ),
        ("mode = 'hidden'", None, "c.toml: mode: \"hidden\" is not one of visible, headless"),
        (
            "photo_limit = '5 parsecs'",
            None,
            "c.toml: photo_limit: \"5 parsecs\" is not a size; write for example",
        ),
        ("[rates]\nb = 'x'", None, "c.toml: rates.b: invalid type: string \"x\", expected u32"),
        ("tags = [1]", None, "c.toml: tags[0]: invalid type: integer `1`, expected a string"),
        ("a = 1\nb = = 2", None, "c.toml:2: not valid TOML: "),
        (
            "",
            Some(("TRADEPOST_CONTROLLER__API__STREAMS", "many")),
            "environment variable TRADEPOST_CONTROLLER__API__STREAMS: api.streams: invalid type: string \"many\"",
        ),
    ] {
        let folder = Folder::new(toml);
        let sources = folder.sources().environment(env(variable.as_slice()));
        let error = folder.error(&sources);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn missing_file_and_missing_key_say_what_to_do() {
    let error = config::load::<Config>(&Sources::new("agent").file("/nonexistent/a.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/a.toml: cannot read this file: "), "{error}");
    let sources = Sources::new("agent").environment(env(&[("TRADEPOST_AGENT__SERVER__ADDRES", "x")]));
    let error = config::load::<Strict>(&sources).unwrap_err().to_string();
    assert!(error.contains("server.addres: unknown key; did you mean address?"), "{error}");
    let expected = "server.address: is required; set it in the configuration file or as TRADEPOST_AGENT__SERVER__ADDRESS";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn secret_is_read_from_its_file_and_not_shown() {
    let folder = Folder::new("token_file = 'token.txt'");
    folder.write("token.txt", "hunter2\n");
    let config: Config = folder.sources().secret("token").load().unwrap();
    assert_eq!(config.token.as_ref().unwrap().expose_secret(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));

    folder.write("c.toml", "token_file = 'token.txt'\ntoken = 'x'");
    let error = folder.error(&folder.sources().secret("token"));
    assert_eq!(error, "c.toml: token_file: token is set as well; keep one of the two");

    folder.write("c.toml", "token_file = 'gone.txt'");
    let error = folder.error(&folder.sources().secret("token"));
    assert!(error.starts_with("c.toml: token_file: cannot read gone.txt: "), "{error}");
}
