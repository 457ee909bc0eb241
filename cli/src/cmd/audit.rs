//! `tradepost audit`. What is verified is verified here, from what the controller sends: its word is not taken for it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use tradepost_domain::audit::checkpoint::{Book, Signed};
use tradepost_domain::audit::verify::{Finding, Mark, Restore, Verdict, Verifier};
use tradepost_domain::audit::{Chain, Link, line};
use tradepost_runtime::clock::{Clock, SystemClock};
use tradepost_runtime::signature::is_signed_by;

use super::{connect, tell_rest};
use crate::args::Global;
use crate::args::audit::AuditCommand;
use crate::client::{AuditEnd, AuditFilter, AuditPart, Client};
use crate::error::{Error, Result};
use crate::model::{AuditEntry, Time};
use crate::output::{Output, Table, Tone, faint, plain, text};

pub(super) async fn run(command: AuditCommand, global: &Global, output: &Output) -> Result<()> {
    match command {
        AuditCommand::List { which, actor, method, target, since, until, limit } => {
            let client = connect(global).await?;
            let filter = AuditFilter {
                actor_id: actor.unwrap_or_default(),
                method: method.unwrap_or_default(),
                target_id: target.unwrap_or_default(),
                since,
                until,
            };
            let listed = client.list_audit_entries(which.system, &filter, limit.count()).await?;
            output.many(
                &listed.items,
                |entry| &entry.id,
                || output.table(&table(&listed.items, which.system)),
            )?;
            tell_rest(output, &listed, "entries");
            Ok(())
        }
        AuditCommand::Export { which, file } => {
            export(&connect(global).await?, which.system, file.as_deref(), output).await
        }
        AuditCommand::Verify { which, file, checkpoints, public_key } => {
            let key = public_key.map(|given| key(&given)).transpose()?;
            let mut book = Book::default();
            for path in &checkpoints {
                read_book(&mut book, path, key.as_deref())?;
            }
            let mut check = Check::new(book, !which.system);
            let began = SystemClock.now();
            match file {
                Some(path) => check.read_file(&path, key.as_deref())?,
                None => check.read_from(&connect(global).await?, which.system, key.as_deref()).await?,
            }
            let micros = SystemClock.now().since(began).as_micros().max(1);
            let report = check.finish(key.is_some());
            let rate = u128::from(report.entries) * 1_000_000 / micros;
            output.message(&format!("Checked {} entries, {rate} a second.", report.entries));
            tell(output, &report)
        }
        AuditCommand::Checkpoint { which } => {
            output.data(&connect(global).await?.audit_checkpoint(which.system).await?)
        }
    }
}

async fn export(client: &Client, system: bool, file: Option<&Path>, output: &Output) -> Result<()> {
    let mut to: Box<dyn Write + Send> = match file {
        Some(path) => Box::new(BufWriter::new(create(path)?)),
        None => Box::new(BufWriter::new(io::stdout())),
    };
    let mut stream = client.stream_audit_entries(system).await?;
    let (mut entries, mut ended) = (0_u64, None);
    while let Some(part) = client.next_audit_part(&mut stream).await? {
        match part {
            AuditPart::Links(links) => {
                for link in &links {
                    writeln!(to, "{}", line::of(link))?;
                }
                entries += links.len() as u64;
            }
            AuditPart::End(end) => {
                writeln!(to, "{}", end.checkpoint)?;
                ended = Some(end);
            }
        }
    }
    to.flush()?;
    let end = ended.ok_or_else(broken_off)?;
    output.message(&format!("{entries} entries, and a signed checkpoint."));
    tell_waiting(output, &end);
    Ok(())
}

fn create(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        Error::failed(format!("cannot make {}: {error}", path.display()))
            .hint("name a file that is not there yet")
    })
}

fn broken_off() -> Error {
    Error::failed("the log broke off before its end").hint("try again; what came is not the whole log")
}

fn tell_waiting(output: &Output, end: &AuditEnd) {
    if end.waiting > 0 {
        let since = text::relative(end.waiting_since);
        output.message(&format!(
            "{} entries wait for their places in the log, the oldest from {since}; they are not part of it yet.",
            end.waiting
        ));
    }
}

/// As hex, or a file with it.
fn key(given: &str) -> Result<Vec<u8>> {
    let text = match hex::decode(given) {
        Ok(_) => given.to_owned(),
        Err(_) => std::fs::read_to_string(given).map_err(|error| {
            Error::usage(format!("--public-key: {given:?} is no hex and no file: {error}"))
        })?,
    };
    let key = hex::decode(text.trim()).ok().filter(|key| key.len() == 32);
    key.ok_or_else(|| Error::usage("--public-key: an Ed25519 key has 32 bytes, 64 characters of hex"))
}

fn read_book(book: &mut Book, path: &Path, key: Option<&[u8]>) -> Result<()> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read {}: {error}", path.display())))?;
    book.read(&text, key, is_signed_by).map_err(|doubtful| {
        Error::failed(format!("the checkpoints in {} cannot be relied on", path.display()))
            .details([doubtful.to_string()])
    })
}

/// The chains as they are read.
struct Check {
    book: Book,
    /// Chains that no entry came of are none of ours.
    own_alone: bool,
    verifiers: BTreeMap<Chain, Verifier>,
    /// What the end says of the chains.
    ends: BTreeMap<Chain, Mark>,
    entries: u64,
    end: Option<AuditEnd>,
}

impl Check {
    fn new(book: Book, own_alone: bool) -> Self {
        Self { book, own_alone, verifiers: BTreeMap::new(), ends: BTreeMap::new(), entries: 0, end: None }
    }

    fn push(&mut self, link: &Link) {
        let chain = link.entry.chain;
        let marks = &self.book.marks;
        let new = || Verifier::new(chain, marks.get(&chain).cloned().unwrap_or_default());
        self.verifiers.entry(chain).or_insert_with(new).push(link);
        self.entries += 1;
    }

    /// The checkpoint at the end speaks for what came before it.
    fn end(&mut self, signed_line: &str, key: Option<&[u8]>) -> Result<()> {
        let mut last = Book::default();
        last.read(&format!("{signed_line}\n"), key, is_signed_by).map_err(|doubtful| {
            Error::failed("the checkpoint at the end cannot be relied on").details([doubtful.what])
        })?;
        for (chain, marks) in last.marks {
            self.ends.extend(marks.into_iter().map(|mark| (chain, mark)));
        }
        self.book.keys.extend(last.keys);
        Ok(())
    }

    async fn read_from(&mut self, client: &Client, system: bool, key: Option<&[u8]>) -> Result<()> {
        let mut stream = client.stream_audit_entries(system).await?;
        while let Some(part) = client.next_audit_part(&mut stream).await? {
            match part {
                AuditPart::Links(links) => links.iter().for_each(|link| self.push(link)),
                AuditPart::End(end) => {
                    self.end(&end.checkpoint, key)?;
                    self.end = Some(end);
                }
            }
        }
        if self.end.is_some() { Ok(()) } else { Err(broken_off()) }
    }

    fn read_file(&mut self, path: &Path, key: Option<&[u8]>) -> Result<()> {
        let failed = |error: io::Error| Error::usage(format!("cannot read {}: {error}", path.display()));
        let lines = BufReader::new(File::open(path).map_err(failed)?).lines();
        // A file may hold a part of what the checkpoints speak of.
        self.own_alone = true;
        for (n, text) in (1_u64..).zip(lines) {
            let text = text.map_err(failed)?;
            if text.trim().is_empty() {
                continue;
            }
            match line::parse(&text) {
                Ok(link) => self.push(&link),
                Err(error) if Signed::of_line(&text).is_err() => {
                    let message = format!("{}, line {n}: {error}", path.display());
                    return Err(
                        Error::failed(message).hint("verify takes what `tradepost audit export` writes")
                    );
                }
                Err(_) => self.end(&text, key)?,
            }
        }
        Ok(())
    }

    fn finish(mut self, pinned: bool) -> Report {
        // What a checkpoint knows of and nothing came of was cut off altogether.
        if !self.own_alone {
            for (chain, marks) in &self.book.marks {
                self.verifiers.entry(*chain).or_insert_with(|| Verifier::new(*chain, marks.clone()));
            }
        }
        for chain in self.ends.keys() {
            let marks = self.book.marks.get(chain).cloned().unwrap_or_default();
            self.verifiers.entry(*chain).or_insert_with(|| Verifier::new(*chain, marks));
        }
        let without_end = self.ends.is_empty();
        let verdict = |(chain, verifier): (Chain, Verifier)| {
            let end = self.ends.get(&chain);
            let head =
                end.map(|end| tradepost_domain::audit::Head { chain, count: end.count, hash: end.hash });
            verifier.finish(head)
        };
        let verdicts: Vec<Verdict> = self.verifiers.into_iter().map(verdict).collect();
        Report {
            whole: verdicts.iter().all(Verdict::is_whole),
            entries: self.entries,
            chains: verdicts.into_iter().map(Into::into).collect(),
            checkpoints: self.book.checkpoints,
            keys: self.book.keys.iter().map(hex::encode).collect(),
            key_given: pinned,
            without_end,
            waiting: self.end.as_ref().map_or(0, |end| end.waiting),
            end: self.end,
        }
    }
}

/// What came out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    whole: bool,
    entries: u64,
    chains: Vec<ChainReport>,
    /// Checkpoints that were given.
    checkpoints: u64,
    /// Who signed them.
    keys: Vec<String>,
    key_given: bool,
    /// No checkpoint stands at the end of the file.
    without_end: bool,
    /// Entries that have no place yet.
    waiting: u64,
    #[serde(skip)]
    end: Option<AuditEnd>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChainReport {
    chain: String,
    entries: u64,
    /// Its last position.
    length: i64,
    hash: String,
    /// First entries that are not kept; a checkpoint vouches for them.
    pruned: i64,
    agreeing_checkpoints: u64,
    findings: Vec<FindingReport>,
    further_findings: u64,
    restores: Vec<RestoreReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingReport {
    position: i64,
    what: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestoreReport {
    position: i64,
    at: Option<Time>,
    kept: i64,
    /// How long the log had been, as far as a checkpoint knows.
    had: Option<i64>,
}

impl From<Verdict> for ChainReport {
    fn from(verdict: Verdict) -> Self {
        let Verdict { chain, read, head, pruned, findings, more, agreeing, restores } = verdict;
        let finding = |Finding { seq, what }| FindingReport { position: seq, what: what.to_string() };
        let restore = |Restore { seq, at, kept, had }| RestoreReport {
            position: seq,
            at: jiff::Timestamp::from_microsecond(at.as_micros()).ok().map(Time),
            kept,
            had,
        };
        Self {
            chain: chain.to_string(),
            entries: read,
            length: head.count,
            hash: head.hash.to_string(),
            pruned,
            agreeing_checkpoints: agreeing,
            findings: findings.into_iter().map(finding).collect(),
            further_findings: more,
            restores: restores.into_iter().map(restore).collect(),
        }
    }
}

fn tell(output: &Output, report: &Report) -> Result<()> {
    output
        .one(report, if report.whole { "whole" } else { "not whole" }, || output.table(&verdicts(report)))?;
    for chain in &report.chains {
        for restore in &chain.restores {
            let lost = match restore.had {
                Some(had) => {
                    format!("entries {} to {had}, which a checkpoint knows of, are gone", restore.kept + 1)
                }
                None => String::from("what was told between backup and restore is gone"),
            };
            output.warning(&format!(
                "{}: a backup was restored {} (entry {}): {lost}. Make sure that somebody of yours did that.",
                chain.chain,
                text::absolute(restore.at),
                restore.position
            ));
        }
    }
    if let Some(end) = &report.end {
        tell_waiting(output, end);
    }
    if report.without_end {
        output.warning("no checkpoint stands at the end of the file: whether more followed is not known");
    }
    if report.checkpoints == 0 {
        output.hint(
            "a log that somebody wrote anew is found by checkpoints kept elsewhere: --checkpoints FILE",
        );
    } else if !report.key_given {
        output.hint(&format!(
            "the checkpoints are signed by {}; compare it with audit.pub, or give it with --public-key",
            report.keys.join(", ")
        ));
    }
    if report.whole {
        return Ok(());
    }
    let details = report.chains.iter().flat_map(|chain| {
        let more = (chain.further_findings > 0)
            .then(|| format!("{}: and {} more", chain.chain, chain.further_findings));
        let each = chain
            .findings
            .iter()
            .map(|finding| format!("{}, entry {}: {}", chain.chain, finding.position, finding.what));
        each.chain(more)
    });
    Err(Error::failed("the audit log is not whole")
        .details(details.collect::<Vec<_>>())
        .hint("docs/SECURITY.md, \"Audit\", says what each means and what to do"))
}

fn verdicts(report: &Report) -> Table {
    let mut table = Table::new(&["LOG", "ENTRIES", "CHECKPOINTS", "VERDICT", "LAST HASH"]);
    for chain in &report.chains {
        let (verdict, tone) = match chain.findings.first() {
            None => (String::from("whole"), Tone::Good),
            Some(first) => (format!("wrong at entry {}", first.position), Tone::Bad),
        };
        table.row([
            plain(&chain.chain),
            plain(chain.entries.to_string()),
            plain(format!("{} agree", chain.agreeing_checkpoints)),
            (verdict, tone),
            faint(&chain.hash[..16.min(chain.hash.len())]),
        ]);
    }
    table
}

fn table(entries: &[AuditEntry], system: bool) -> Table {
    let header: &[&str] = if system {
        &["ENTRY", "WHEN", "LOG", "WHO", "FROM", "WHAT", "ABOUT", "OUTCOME", "DETAILS"]
    } else {
        &["ENTRY", "WHEN", "WHO", "FROM", "WHAT", "ABOUT", "OUTCOME", "DETAILS"]
    };
    let mut table = Table::new(header);
    for entry in entries {
        let mut row = vec![
            plain(entry.seq.map_or_else(|| String::from("…"), |seq| seq.to_string())),
            plain(text::relative(entry.at)),
        ];
        if system {
            row.push(faint(&entry.chain));
        }
        let named = |kind: &str, id: &str| {
            if id.is_empty() { kind.to_owned() } else { format!("{kind} {id}") }
        };
        let done = entry.outcome == "done";
        let outcome =
            if done { entry.outcome.clone() } else { format!("{} {}", entry.outcome, entry.reason) };
        let details: Vec<String> =
            entry.details.iter().map(|(name, value)| format!("{name}={value}")).collect();
        row.extend([
            plain(named(&entry.actor, &entry.actor_id)),
            plain(&entry.peer),
            plain(entry.method.rsplit('/').next().unwrap_or(&entry.method)),
            plain(named(&entry.target, &entry.target_id)),
            (outcome, if done { Tone::Plain } else { Tone::Warning }),
            faint(details.join(" ")),
        ]);
        table.row(row);
    }
    table
}
