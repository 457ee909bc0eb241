//! No secret is where it may not be: a system at work, with everything logged that can be, and everything it leaves behind
//! looked through for secrets in every way of writing.

use std::collections::BTreeSet;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use totp_rs::{Builder, Secret};
use tradepost_e2e::POSTING_DEADLINE;
use tradepost_e2e::canary::{Canary, Leak, Search};
use tradepost_e2e::cli::{self, Cli};
use tradepost_e2e::postgres::PrivatePostgres;
use tradepost_e2e::sites::{Kind, Site};
use tradepost_e2e::system::{Controller, System};
use tradepost_testkit::collector::Collector;
use tradepost_testkit::process::{Stream, binary};
use tradepost_testkit::{wait, workspace_root};

const PASSWORD: &str = "canary / correct+horse battery=staple";
const MARKETPLACE: &str = "canary / marketplace+password 4711";
const NAME: &str = "canary.sign-in-name.4711@example.com";
const EXIF: &str = "canary-exif-gps-52.5200N-13.4050E";

/// Secrets as they come to be.
#[derive(Default)]
struct Nest {
    canaries: Vec<Canary>,
}

impl Nest {
    fn add(&mut self, name: &'static str, bytes: impl AsRef<[u8]>, homes: &[&'static str]) {
        self.canaries.push(Canary { name, bytes: bytes.as_ref().to_vec(), homes: homes.to_vec() });
    }
}

#[tokio::test]
async fn no_secret_is_left_anywhere_on_sqlite() -> Result<()> {
    let stage = Stage::set(None).await?;
    stage.play().await
}

#[tokio::test]
async fn no_secret_is_left_anywhere_on_postgres() -> Result<()> {
    let server = PrivatePostgres::start().await?;
    let stage = Stage::set(Some(server)).await?;
    stage.play().await
}

struct Stage {
    system: System,
    collector: Collector,
    postgres: Option<PrivatePostgres>,
    database: String,
    nest: Nest,
}

impl Stage {
    async fn set(postgres: Option<PrivatePostgres>) -> Result<Self> {
        let collector = Collector::start().await?;
        let endpoint = collector.endpoint();
        let system = System::new(&[
            ("TRADEPOST_CONTROLLER__LOG__FILTER", "trace"),
            ("TRADEPOST_AGENT__LOG__FILTER", "trace"),
            ("TRADEPOST_LOG", "trace"),
            ("TRADEPOST_CONTROLLER__TRACES__OTLP_ENDPOINT", &endpoint),
            ("TRADEPOST_AGENT__TRACES__OTLP_ENDPOINT", &endpoint),
            ("TRADEPOST_OTLP_ENDPOINT", &endpoint),
            ("RUST_BACKTRACE", "full"),
        ])?;
        let database = match &postgres {
            Some(server) => {
                let home = server.socket();
                let home = home.parent().context("a folder")?.display().to_string();
                format!("postgres://postgres@localhost/postgres?host={home}")
            }
            None => system.sqlite(),
        };
        Ok(Self { system, collector, postgres, database, nest: Nest::default() })
    }

    async fn play(mut self) -> Result<()> {
        let site = Site::start(Kind::Sandbox, self.system.path()).await?;
        let mut controller = self.system.start_controller("controller", &self.database).await?;
        let token = self.system.make_operator(&controller).await?;
        self.system.log_in_at(&self.system.cli, &controller.api, token.trim()).await?;
        self.nest.add("API token", token.trim(), &["cli/contexts/default.token"]);
        self.people(&controller).await?;
        self.sell(&site).await?;
        self.rotate().await?;
        self.keep_metrics(&controller).await?;
        self.back_up().await?;
        // Ends that nobody planned: what was in memory goes nowhere.
        controller.process.kill()?;
        self.system.restart_controller(&mut controller).await?;
        drop(controller);
        self.look()
    }

    /// Somebody registers, signs in rightly and wrongly, and uses every kind of secret string.
    async fn people(&mut self, controller: &Controller) -> Result<()> {
        self.nest.add("password", PASSWORD, &[]);
        let ca = self.system.path().join("identity/ca.pem").display().to_string();
        let desk = |name: &str| {
            Cli::new(&self.system.path().join(name))
                .with_environment("TRADEPOST_SERVER", &controller.api)
                .with_environment("TRADEPOST_CA_FILE", &ca)
                .with_environment("TRADEPOST_LOG", "trace")
        };
        let ada = desk("ada");
        let password = format!("{PASSWORD}\n");
        self.run(&ada, &["register", "--email", "ada@example.com"], &password, 0).await?;
        self.run(&ada, &["login", "--email", "ada@example.com"], &password, 4).await?;
        self.system
            .cli
            .text(&["users", "approve", "ada@example.com", "--new-workspace", "Ada's shop"])
            .await?;
        self.run(&ada, &["login", "--email", "ada@example.com"], &format!("{PASSWORD} not\n"), 4).await?;
        self.run(&ada, &["login", "--email", "ada@example.com"], &password, 0).await?;
        let ada = ada.with_environment("TRADEPOST_CONTEXT", "default");
        let invitation = ada.text(&["invitations", "create", "--role", "viewer"]).await?;
        self.nest.add("invitation", invitation.trim(), &[]);
        let eve = desk("eve");
        let register = ["register", "--email", "eve@example.com", "--invitation", invitation.trim()];
        self.run(&eve, &register, &password, 0).await?;
        let reset = self.system.cli.text(&["users", "reset-password", "eve@example.com"]).await?;
        self.nest.add("reset string", reset.trim(), &[]);
        self.run(&eve, &["password", "reset", "tpw_wrong"], &password, 2).await?;
        self.run(&eve, &["password", "reset", reset.trim()], &password, 0).await?;
        self.second_factor(&ada).await?;
        let session: Value =
            serde_json::from_slice(&std::fs::read(self.system.path().join("ada/contexts/default.session"))?)?;
        for (name, field) in [("access token", "access_token"), ("refresh token", "refresh_token")] {
            let secret = session[field].as_str().context("no token in the session's file")?.to_owned();
            self.nest.add(name, secret, &["ada/contexts/default.session"]);
        }
        Ok(())
    }

    /// Runs a command, which must succeed when `code` is 0, and fail otherwise; what it says is kept with the logs.
    async fn run(&self, cli: &Cli, arguments: &[&str], input: &str, code: i32) -> Result<()> {
        let done = cli.run_with_input(arguments, input).await?;
        let name = format!("cli-{}-{}.err", arguments.first().unwrap_or(&"x"), done.stderr.len());
        std::fs::write(
            self.system.path().join("logs").join(name),
            format!("{}{}", done.stdout, done.stderr),
        )?;
        ensure!((done.code == 0) == (code == 0), "{arguments:?}: {done:?}");
        Ok(())
    }

    /// Sets up an authenticator the way a person does, and uses codes, right and wrong.
    async fn second_factor(&mut self, ada: &Cli) -> Result<()> {
        let mut child = Command::new(binary("tradepost")?)
            .args(["second-factor", "set-up"])
            .env("TRADEPOST_CONFIG_DIR", self.system.path().join("ada"))
            .env("TRADEPOST_KEYRING", "off")
            .env("TRADEPOST_CONTEXT", "default")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("piped")?).lines();
        let seed = loop {
            let line = lines.next_line().await?.context("the set-up ended early")?;
            if let Some((_, seed)) = line.split_once("type in: ") {
                break seed.replace(' ', "");
            }
        };
        let totp = Builder::new().with_secret(Secret::try_from_base32(&seed)?).build()?;
        let mut stdin = child.stdin.take().context("piped")?;
        stdin.write_all(format!("{}\n", totp.generate_current()).as_bytes()).await?;
        drop(stdin);
        // Read on, so that it does not wait for a reader.
        let reading = async { while let Ok(Some(_)) = lines.next_line().await {} };
        let (output, ()) = tokio::join!(child.wait_with_output(), reading);
        let output = output?;
        ensure!(output.status.success(), "the second factor is not set up");
        self.nest.add("TOTP seed", seed.as_bytes(), &[]);
        self.nest.add("TOTP seed, its bytes", Secret::try_from_base32(&seed)?.as_bytes(), &[]);
        let shown = String::from_utf8_lossy(&output.stdout);
        for code in shown.lines().map(str::trim).filter(|line| line.len() == 19) {
            self.nest.add("recovery code", code, &[]);
        }
        ensure!(
            self.nest.canaries.iter().filter(|canary| canary.name == "recovery code").count() == 10,
            "{shown}"
        );
        self.run(ada, &["password", "change"], &format!("wrong {PASSWORD}\n{PASSWORD}!\n"), 4).await?;
        Ok(())
    }

    /// An agent signs in with a password that the site refuses, and a photo with a place in it is uploaded.
    async fn sell(&mut self, site: &Site) -> Result<()> {
        let cli = self.system.cli.clone();
        let string = cli.text(&["agents", "enrol-token", "create"]).await?;
        self.nest.add("enrolment string", string.trim(), &[]);
        let inside = URL_SAFE_NO_PAD.decode(string.trim().trim_start_matches("tp1."))?;
        let inside: Value = serde_json::from_slice(&inside)?;
        self.nest.add("enrolment secret", inside["s"].as_str().context("no secret in the string")?, &[]);
        let agent = self.system.start_agent("agent").await?;
        let identity = agent.data.join("identity");
        let key = std::fs::read_to_string(identity.join("key.pem"))?;
        let key: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
        self.nest.add("agent's key", STANDARD.decode(&key)?, &["agent/identity/key.pem"]);
        let seed = STANDARD.decode(std::fs::read_to_string(identity.join("credential.key"))?.trim())?;
        self.nest.add("agent's key for credentials", seed, &["agent/identity/credential.key"]);
        let account = self.system.add_account("shop", site, Kind::Sandbox, &agent).await?;
        self.nest.add("marketplace password", MARKETPLACE, &[]);
        // Chrome may remember what was typed into a field that is no password, in its own profile.
        self.nest.add("marketplace sign-in name", NAME, &["agent/profiles/"]);
        let set = ["accounts", "credentials", "set", &account];
        wait::until("the agent's key to be told", POSTING_DEADLINE, || async {
            let done = cli.run_with_input(&set, &format!("{NAME}\n{MARKETPLACE}\n")).await;
            match done.map_err(|error| error.to_string())? {
                done if done.code == 0 => Ok(()),
                failed => Err(failed.stderr),
            }
        })
        .await?;
        let job = cli.field(&["accounts", "login", &account], "jobId").await?;
        let asked = wait::until("the site to refuse the password", POSTING_DEADLINE, || async {
            let shown = cli.json(&["jobs", "show", &job]).await.map_err(|error| error.to_string())?;
            if shown["state"] == "needs_human" { Ok(shown) } else { Err(shown.to_string()) }
        })
        .await
        .with_context(|| self.system.logs())?;
        ensure!(asked.to_string().contains("is not tried again"), "{asked}");
        let evidence = self.system.path().join("evidence").display().to_string();
        cli.text(&["jobs", "evidence", &job, "--save", &evidence]).await?;
        self.nest.add("place in a photo", EXIF, &["with-exif.jpg"]);
        let photo = self.system.path().join("with-exif.jpg");
        std::fs::write(
            &photo,
            with_exif(&std::fs::read(workspace_root().join("examples/bicycle/1-side.jpg"))?),
        )?;
        cli.text(&["photos", "upload", &photo.display().to_string()]).await?;
        Ok(())
    }

    /// The key-encryption key is changed; both are looked for.
    async fn rotate(&mut self) -> Result<()> {
        let identity = self.system.path().join("identity").display().to_string();
        let data = self.system.path().join("controller").display().to_string();
        let command = async |words: &[&str]| {
            let place = ["--database", &self.database, "--data-dir", &data, "--identity-dir", &identity];
            let environment = [(String::from("TRADEPOST_CONTROLLER__LOG__FILTER"), String::from("trace"))];
            let done = cli::run("controller", &[words, &place].concat(), &environment, "").await?;
            let name = format!("controller-{}.err", words.join("-"));
            std::fs::write(
                self.system.path().join("logs").join(name),
                format!("{}{}", done.stdout, done.stderr),
            )?;
            ensure!(done.code == 0, "{words:?}: {done:?}");
            Ok(())
        };
        command(&["keys", "add"]).await?;
        command(&["keys", "rotate"]).await?;
        command(&["keys", "verify"]).await?;
        command(&["keys", "list"]).await?;
        command(&["config", "check"]).await?;
        let text = std::fs::read_to_string(self.system.path().join("identity/secrets.key"))?;
        for line in text.lines() {
            let key = line.split_once(' ').context("a line of keys")?.1;
            self.nest.add("key-encryption key", STANDARD.decode(key)?, &["identity/secrets.key"]);
        }
        Ok(())
    }

    async fn keep_metrics(&self, controller: &Controller) -> Result<()> {
        let log = controller.process.output(Stream::Err);
        let address = regex::Regex::new(r"metrics[^0-9]{1,40}(127\.0\.0\.1:\d+)")?;
        let address = address.captures(&log).context("no address of metrics in the log")?[1].to_owned();
        let text = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
        ensure!(text.contains("# TYPE"), "no metrics: {text}");
        std::fs::write(self.system.path().join("metrics.txt"), text)?;
        let spans = self.collector.spans();
        ensure!(!spans.is_empty(), "no spans were exported");
        std::fs::write(self.system.path().join("spans.txt"), format!("{spans:?}"))?;
        Ok(())
    }

    /// The database's own backup, and on PostgreSQL a dump: what the server keeps compressed is plain there.
    async fn back_up(&self) -> Result<()> {
        let to = self.system.path().join("backup").display().to_string();
        if self.postgres.is_none() {
            let arguments = ["backup", "--to", &to, "--database", &self.database];
            let done = cli::run("controller", &arguments, &[], "").await?;
            ensure!(done.code == 0, "{done:?}");
            return Ok(());
        }
        let find = "ls /usr/lib/postgresql/*/bin/pg_dump | sort -V | tail -n 1";
        let program = Command::new("bash").args(["-c", find]).output().await?;
        let program = String::from_utf8(program.stdout)?;
        let done = Command::new(program.trim()).args(["--file", &to, &self.database]).output().await?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let psql = program.trim().replace("pg_dump", "psql");
        let done = Command::new(psql).args(["-c", "checkpoint", &self.database]).output().await?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// Looks through everything; then plants a secret to see that it would have been found.
    fn look(self) -> Result<()> {
        let search = Search::new(self.nest.canaries.clone())?;
        let mut leaks = BTreeSet::new();
        // The site is somebody else's: it is told the password.
        let mut bytes = search.walk(self.system.path(), &["sandbox"], &mut leaks)?;
        if let Some(postgres) = &self.postgres {
            let home = postgres.socket();
            bytes += search.walk(home.parent().context("a folder")?, &[], &mut leaks)?;
        }
        ensure!(leaks.is_empty(), "secrets where none may be:\n{}", told(&leaks));
        ensure!(bytes > 1_000_000, "only {bytes} bytes were looked through");
        let planted = self.system.path().join("logs").join("planted.err");
        std::fs::write(&planted, format!("a line with {} in it", STANDARD.encode(format!("x{PASSWORD}y"))))?;
        search.walk(self.system.path(), &["sandbox"], &mut leaks)?;
        let found: Vec<_> = leaks.iter().map(|leak| (leak.name, leak.path.as_path())).collect();
        ensure!(
            found == [("password", planted.as_path())],
            "the planted one is not found:\n{}",
            told(&leaks)
        );
        Ok(())
    }
}

fn told(leaks: &BTreeSet<Leak>) -> String {
    let lines: Vec<_> = leaks
        .iter()
        .map(|Leak { name, encoding, path }| format!("  {name} ({encoding}) in {}", path.display()))
        .collect();
    lines.join("\n")
}

/// A JPEG with a segment that names a place, as phones write it.
fn with_exif(jpeg: &[u8]) -> Vec<u8> {
    let content = [b"Exif\0\0".as_slice(), EXIF.as_bytes()].concat();
    let length = u16::try_from(content.len() + 2).unwrap_or_default().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &content, &jpeg[2..]].concat()
}
