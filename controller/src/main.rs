//! The controller's program: arguments, configuration, telemetry, build, run, drain.

mod commands;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use secrecy::SecretString;
use tradepost_controller::app::{self, App, Opener, Surroundings};
use tradepost_controller::args::{
    Admin, Args, AuditCommand, Command, ConfigCommand, FleetEpochCommand, Trust,
};
use tradepost_controller::config::{Config, EXAMPLE, env_example};
use tradepost_controller::identity::rotation::{self, Scope, Step};
use tradepost_controller::maintenance::{self, Restored};
use tradepost_controller::verify;
use tradepost_domain::audit::Actor;
use tradepost_domain::fleet::FleetEpoch;
use tradepost_domain::trust::Phase;
use tradepost_runtime::clock::{Clock, SystemClock};
use tradepost_runtime::tasks::{self, Drained};
use tradepost_runtime::{telemetry, tls};
use tradepost_store::audit;

use self::commands::{complain, remark, say};

/// Wrong arguments or configuration; 1 is for everything else.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    tls::install_provider();
    let args = Args::parse();
    match args.command {
        Some(Command::Config(ConfigCommand::Example { env: false })) => return say(EXAMPLE.trim_end()),
        Some(Command::Config(ConfigCommand::Example { env: true })) => return say(env_example().trim_end()),
        _ => {}
    }
    let config = match Config::load(&args) {
        Ok(config) => config,
        Err(error) => {
            for problem in error.problems() {
                complain(problem);
            }
            return ExitCode::from(USAGE);
        }
    };
    let problems = config.problems();
    if !problems.is_empty() {
        for problem in &problems {
            complain(problem);
        }
        return ExitCode::from(USAGE);
    }
    if let Some(Command::Config(ConfigCommand::Check)) = args.command {
        return commands::config::check(&args, &config);
    }
    let guard = match telemetry::init(&config.telemetry()) {
        Ok(guard) => guard,
        Err(error) => return complain(error),
    };
    let place = config.same_database(&args);
    let code = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(perform(args.command.unwrap_or(Command::Serve), config, &place));
            // A blocking call that hangs must not keep the process.
            runtime.shutdown_timeout(Duration::from_secs(2));
            code
        }
        Err(error) => complain(format_args!("cannot start the runtime: {error}")),
    };
    drop(guard);
    code
}

async fn perform(command: Command, config: Config, place: &str) -> ExitCode {
    let performed = match command {
        Command::Serve => serve(config, place).await,
        Command::Admin(Admin::Create { email, workspace, password }) => {
            create(&config, &email, &workspace, password).await
        }
        Command::Backup { to } => backup(&config, &to).await,
        Command::Restore { from } => restore(&config, &from).await,
        Command::FleetEpoch(FleetEpochCommand::Bump { after, reason }) => {
            bump(&config, FleetEpoch(after), &reason).await
        }
        Command::Audit(AuditCommand::Verify { checkpoints, public_key }) => {
            return verify(&config, &checkpoints, public_key.as_deref()).await.unwrap_or_else(complain);
        }
        Command::Trust(command) => return trust(&config, command).await.unwrap_or_else(complain),
        Command::Keys(command) => commands::keys::run(&config, command).await,
        // This was answered before telemetry began.
        Command::Config(_) => Ok(ExitCode::SUCCESS),
    };
    performed.unwrap_or_else(complain)
}

async fn serve(config: Config, place: &str) -> Result<ExitCode, app::Error> {
    let metrics = telemetry::install_metrics().map_err(|error| app::Error::Metrics(error.to_string()))?;
    let app =
        App::build(config, Surroundings { metrics: Some(metrics), ..Surroundings::of_system() }).await?;
    tracing::info!(api = %app.api_address(), agents = %app.agents_address(), metrics = ?app.metrics_address(), "serving");
    hint(&app, place);
    let end = async {
        if let Err(error) = tasks::termination_requested().await {
            tracing::error!(%error, "cannot listen to signals; ending");
        }
    };
    Ok(match app.run(end).await? {
        Drained::Clean => ExitCode::SUCCESS,
        Drained::TimedOut(left) => {
            complain(format_args!("{left} tasks did not end in time and were cut off"))
        }
    })
}

async fn create(
    config: &Config,
    email: &str,
    workspace: &str,
    with_password: bool,
) -> Result<ExitCode, app::Error> {
    let password = if with_password {
        match read_password() {
            Ok(password) => Some(password),
            Err(error) => return Ok(complain(format_args!("cannot read the password: {error}"))),
        }
    } else {
        None
    };
    let new_file = config.database_file().filter(|file| !file.exists());
    let people = app::open_people(config, &Surroundings::of_system(), Opener::Command).await?;
    let core = people.core.clone();
    if let Some(file) = new_file {
        remark(format_args!(
            "made a new database at {}; if a controller runs already, it uses another one: name it with --data-dir or \
             --database",
            file.display()
        ));
    }
    let created = async {
        // A password that breaks the rules shall leave no half-made user behind.
        if let Some(password) = &password {
            people.check_password_on_host(email, password)?;
        }
        let created = core.create_operator(email, workspace).await?;
        if let Some(password) = &password {
            people.set_password_on_host(email, password).await?;
        }
        Ok::<_, app::Error>(created)
    };
    // One entry in the audit log, with the user and the token.
    let told = core.scope(Actor::Host, "controller/admin_create");
    let created = audit::scope(told, created).await;
    core.store.close().await;
    let (principal, token) = created?;
    remark(format_args!(
        "{} is {} of the workspace {:?}; the API token below is shown this once",
        principal.email,
        principal.role.name(),
        principal.workspace_name
    ));
    Ok(say(&token))
}

/// From the terminal, twice; or the first line of standard input.
fn read_password() -> std::io::Result<SecretString> {
    use std::io::IsTerminal;
    let text = if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("New password (not shown): ")?;
        if rpassword::prompt_password("The same again: ")? != first {
            return Err(std::io::Error::other("the two differ"));
        }
        first
    } else {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    Ok(SecretString::from(text))
}

async fn backup(config: &Config, to: &Path) -> Result<ExitCode, app::Error> {
    let bytes = app::backup(config, to).await?;
    remark(format_args!("the backup is whole and checked: {bytes} bytes"));
    remark(format_args!(
        "keep a copy of the identity folder {} with it: without it every agent has to be enrolled anew",
        config.identity_folder().display()
    ));
    Ok(say(&to.display().to_string()))
}

async fn restore(config: &Config, from: &Path) -> Result<ExitCode, app::Error> {
    let Restored { fleet, kept } = maintenance::restore(config, &Surroundings::of_system(), from).await?;
    if let Some(kept) = kept {
        remark(format_args!("the database that was here before is kept as {}", kept.display()));
    }
    remark(format_args!(
        "fleet epoch {} begins: clicks that were under way are looked for, and each agent tells first what it did after the \
         backup was made; start the controller now",
        fleet.epoch.0
    ));
    Ok(say(&format!("restored from {}", from.display())))
}

async fn bump(config: &Config, after: FleetEpoch, reason: &str) -> Result<ExitCode, app::Error> {
    let fleet = maintenance::bump_fleet_epoch(config, &Surroundings::of_system(), after, reason).await?;
    remark(
        "clicks that were under way are looked for, and each agent tells first what it did; start the controllers now",
    );
    Ok(say(&format!("fleet epoch {}", fleet.epoch.0)))
}

async fn verify(
    config: &Config,
    checkpoints: &[PathBuf],
    public_key: Option<&Path>,
) -> Result<ExitCode, verify::Error> {
    let report = verify::verify(config, &Surroundings::of_system(), checkpoints, public_key).await?;
    let mut whole = true;
    for verdict in &report.verdicts {
        let agree = verdict.agreeing;
        let end = if verdict.is_whole() { "whole" } else { "NOT WHOLE" };
        say(&format!("{}  {} entries, {agree} checkpoints agree: {end}", verdict.chain, verdict.read));
        for finding in &verdict.findings {
            complain(format_args!("{}, entry {}: {}", verdict.chain, finding.seq, finding.what));
        }
        if verdict.more > 0 {
            complain(format_args!("{}: and {} more", verdict.chain, verdict.more));
        }
        for restore in &verdict.restores {
            remark(format_args!(
                "{}: a backup with {} entries was restored (entry {}){}",
                verdict.chain,
                restore.kept,
                restore.seq,
                restore.had.map_or_else(String::new, |had| format!("; a checkpoint knows of {had}"))
            ));
        }
        whole &= verdict.is_whole();
    }
    if report.waiting.count > 0 {
        remark(format_args!("{} entries wait for their places", report.waiting.count));
    }
    if report.checkpoints == 0 {
        remark(
            "there were no checkpoints: a log that was written anew, or cut off with its end, is not found without",
        );
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn trust(config: &Config, command: Trust) -> Result<ExitCode, app::Error> {
    let folder = config.identity_folder();
    let now = Clock::now(&SystemClock);
    maintenance::tell_trust(config, &Surroundings::of_system(), command).await;
    let phase = match command {
        Trust::Status => rotation::phase(&folder)?,
        Trust::Begin { agents_ca_only } => {
            let scope = if agents_ca_only { Scope::AgentsCa } else { Scope::Root };
            rotation::begin(&folder, scope, now)?
        }
        Trust::Advance => rotation::step(&folder, Step::Advance)?,
        Trust::Rollback => rotation::step(&folder, Step::Rollback)?,
    };
    let (stands, next) = match phase {
        Phase::Stable { present } => (
            format!("generation {present} signs and is trusted; no rotation is under way"),
            "`controller trust begin` makes the next generation known",
        ),
        Phase::Announced { old, new } => (
            format!("generation {old} signs; generations {old} and {new} are trusted"),
            "`controller trust advance` signs with the new one",
        ),
        Phase::Switched { old, new } => (
            format!("generation {new} signs; generations {new} and {old} are trusted"),
            "`controller trust advance` trusts the new one alone; best a day from now, when every running agent has a new certificate",
        ),
        Phase::Retired { old, new } => (
            format!(
                "generation {new} signs and is trusted; the keys of generation {old} are kept for a way back"
            ),
            "`controller trust advance` destroys the old keys, for good",
        ),
    };
    let back =
        if matches!(phase, Phase::Stable { .. }) { "" } else { "\nback      `controller trust rollback`" };
    Ok(say(&format!(
        "phase     {}\nstands    {stands}\nnext      {next}{back}\nfolder    {}",
        phase.name(),
        folder.display()
    )))
}

#[expect(clippy::print_stderr, reason = "for people at the terminal")]
fn hint(app: &App, place: &str) {
    eprintln!(
        "controller ready api=https://{api} agents={agents} ca={ca} (a first API token: `controller admin create --email you@example.com{place}`)",
        api = app.api_address(),
        agents = app.agents_address(),
        ca = app.root_file().display()
    );
}
