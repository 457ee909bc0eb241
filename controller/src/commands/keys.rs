//! `controller keys …`.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use tradepost_controller::app::{self, Surroundings};
use tradepost_controller::args::KeysCommand;
use tradepost_controller::config::Config;
use tradepost_controller::service::keys::{Error, Keys, Progress, Standing, Unopened};
use tradepost_runtime::tasks;
use tradepost_store::audit;

use super::{complain, remark, say};

/// Most lines of secrets that cannot be opened.
const SHOWN: usize = 20;
/// Progress is told this often where no terminal shows it in place.
const EACH: u64 = 1_000;

/// Does the command.
pub(crate) async fn run(config: &Config, command: KeysCommand) -> Result<ExitCode, app::Error> {
    let (core, keys) = app::open_keys(config, &Surroundings::of_system()).await?;
    let done = match command {
        KeysCommand::List => list(&keys).await,
        KeysCommand::Add { print } => add(&keys, print, &core.ids).await,
        KeysCommand::Rotate { batch } => rotate(&keys, batch).await,
        KeysCommand::Verify => verify(&keys).await,
        KeysCommand::Retire { version } => retire(&keys, version, &core.ids).await,
    };
    core.store.close().await;
    Ok(done.unwrap_or_else(complain))
}

async fn list(keys: &Keys) -> Result<ExitCode, Error> {
    let standings = keys.list().await?;
    let sealing =
        standings.iter().filter(|standing| standing.present > 0).map(|standing| standing.version).max();
    let mut text =
        format!("{:<8} {:<12} {:>9} {:>9}  {}", "VERSION", "FINGERPRINT", "DATA KEYS", "SECRETS", "");
    for standing in &standings {
        let Standing { version, fingerprint, present, superseded, values } = standing;
        let fingerprint = fingerprint.as_deref().unwrap_or("missing");
        let said = say_of(standing, sealing);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n{:<8} {fingerprint:<12} {:>9} {values:>9}  {said}",
            format!("v{version}"),
            present + superseded
        );
    }
    if standings.is_empty() {
        text = String::from("There are no keys yet; the first controller to start makes one.");
    }
    remark(format_args!("keys from {}", keys.sealer().ring().place()));
    Ok(say(text.trim_end()))
}

fn say_of(standing: &Standing, sealing: Option<i64>) -> &'static str {
    let needed = standing.present > 0 || standing.values > 0;
    match (standing.fingerprint.is_some(), sealing) {
        (false, _) if needed => "needed, and not here: put its line back",
        (false, _) => "",
        (true, Some(sealing)) if standing.version == sealing => "seals",
        (true, Some(sealing)) if standing.version > sealing => "waits for `controller keys rotate`",
        (true, Some(_)) if needed => "still needed: run `controller keys rotate`",
        (true, Some(_)) => "may be retired",
        (true, None) => "nothing is sealed yet",
    }
}

async fn add(keys: &Keys, print: bool, ids: &tradepost_runtime::ids::Ids) -> Result<ExitCode, Error> {
    let ring = keys.sealer().ring();
    if print {
        let (version, line) = ring.fresh_line(ids);
        remark(format_args!(
            "key v{version}, shown this once; add it to what every controller reads its keys from, beside the older ones, then run \
             `controller keys rotate`"
        ));
        return Ok(say(&line));
    }
    let added = keys.add().await?;
    remark(format_args!(
        "added to {}; controllers with a file of their own need the same line before `controller keys rotate`",
        ring.place()
    ));
    Ok(say(&format!("v{} {}", added.version, added.fingerprint)))
}

async fn rotate(keys: &Keys, batch: u32) -> Result<ExitCode, Error> {
    let stop = CancellationToken::new();
    let rotating = async {
        let told = keys.scope("controller/keys_rotate");
        let rotated = audit::scope(told, keys.rotate(batch, progress("sealed anew"), &stop)).await;
        finish_line();
        rotated
    };
    let interrupted = async {
        if tasks::termination_requested().await.is_ok() {
            stop.cancel();
        }
        std::future::pending::<()>().await;
    };
    let rotated = tokio::select! {
        rotated = rotating => rotated?,
        () = interrupted => return Ok(ExitCode::FAILURE),
    };
    if rotated.cancelled {
        remark(format_args!(
            "ended early with {} secrets sealed anew; nothing is half done: run it again to go on",
            rotated.resealed
        ));
        return Ok(ExitCode::FAILURE);
    }
    if !rotated.unopened.is_empty() {
        tell_unopened(&rotated.unopened);
        return Ok(ExitCode::FAILURE);
    }
    Ok(say(&format!(
        "v{} seals; {} data keys begun, {} secrets sealed anew",
        rotated.version, rotated.data_keys, rotated.resealed
    )))
}

async fn verify(keys: &Keys) -> Result<ExitCode, Error> {
    let verified = keys.verify(progress("opened")).await?;
    finish_line();
    let mut text = String::new();
    for (version, count) in &verified.opened {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "v{version}: {count} secrets open");
    }
    if verified.unopened.is_empty() {
        text.push_str("every secret opens");
        return Ok(say(&text));
    }
    if !text.is_empty() {
        say(text.trim_end());
    }
    tell_unopened(&verified.unopened);
    Ok(ExitCode::FAILURE)
}

async fn retire(keys: &Keys, version: i64, ids: &tradepost_runtime::ids::Ids) -> Result<ExitCode, Error> {
    audit::scope(keys.scope("controller/keys_retire"), keys.retire(version)).await?;
    let ring = keys.sealer().ring();
    if ring.is_ours() {
        ring.remove(version, ids)?;
        remark(format_args!(
            "its line is out of {}; take it out of other controllers' files as well",
            ring.place()
        ));
    } else {
        remark(format_args!("take its line out of {}", ring.place()));
    }
    remark(
        "backups made before the rotation open with the old key alone: keep a copy of it with them, and nowhere else",
    );
    Ok(say(&format!("v{version} is retired")))
}

fn tell_unopened(unopened: &[Unopened]) {
    for Unopened { column, id, version, why } in unopened.iter().take(SHOWN) {
        let (table, name) = column.place();
        remark(format_args!("{table}.{name} of {id} (v{version}): {why}"));
    }
    if let Some(more) = unopened.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        remark(format_args!("… and {more} more"));
    }
    complain(format_args!(
        "{} secrets do not open; put the keys of their versions back, or have them set anew (docs/OPERATIONS.md, Keys)",
        unopened.len()
    ));
}

/// Tells how far it is: in place on a terminal, else a line now and then.
fn progress(verb: &'static str) -> impl FnMut(Progress) {
    let terminal = std::io::stderr().is_terminal();
    let mut told = 0;
    move |Progress { done, total }| {
        if terminal {
            let mut stderr = std::io::stderr();
            // A terminal that went away needs no progress.
            let _ = write!(stderr, "\r{done} of {total} {verb}").and_then(|()| stderr.flush());
        } else if total > 0 && (done >= told + EACH || done == total) && done > told {
            told = done;
            remark(format_args!("{done} of {total} {verb}"));
        }
    }
}

fn finish_line() {
    if std::io::stderr().is_terminal() {
        remark("");
    }
}
