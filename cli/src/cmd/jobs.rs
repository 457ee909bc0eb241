//! `tradepost jobs` and `tradepost events`.

use std::collections::BTreeSet;
use std::path::Path;

use tradepost_domain::job::State;

use super::{dead_letters, find, tell_rest};
use crate::args::Format;
use crate::args::jobs::{EventFilter, EventsCommand, JobsCommand, ListJobs};
use crate::client::{Client, Feed, Next, Remedy};
use crate::config::write_private;
use crate::error::{Exit, Result};
use crate::model::{Event, EvidenceFile, FeedItem, Job, Step, StepStatus};
use crate::output::{Output, Table, Tone, faint, plain, text};

pub(super) async fn run(command: JobsCommand, client: &Client, output: &Output) -> Result<()> {
    match command {
        JobsCommand::List(ListJobs { account, state, limit }) => {
            let account = match account {
                Some(account) => Some(find::account(client, &account).await?.id),
                None => None,
            };
            let listed = client.list_jobs(limit.count(), account, state.map(State::from)).await?;
            output.many(&listed.items, |job| &job.id, || output.table(&jobs_table(&listed.items)))?;
            tell_rest(output, &listed, "jobs");
            Ok(())
        }
        JobsCommand::Show { job } => {
            let job = find::job(client, &job).await?;
            output.one(&job, &job.id, || job_text(output, &job))
        }
        JobsCommand::DeadLetters(arguments) => dead_letters::list(arguments, client, output).await,
        JobsCommand::Retry(arguments) => dead_letters::treat(arguments, Remedy::Retry, client, output).await,
        JobsCommand::Discard(arguments) => {
            dead_letters::treat(arguments, Remedy::Discard, client, output).await
        }
        JobsCommand::Steps { job } => {
            let job = find::job(client, &job).await?;
            let steps = client.list_steps(job.id).await?;
            if steps.is_empty() {
                output.message("The job has no steps yet.");
            }
            output.many(&steps, |step| &step.name, || output.table(&steps_table(&steps)))
        }
        JobsCommand::Evidence { job, save } => {
            let job = find::job(client, &job).await?;
            let files = client.list_evidence(job.id.clone()).await?;
            let steps = client.list_steps(job.id).await?;
            if files.is_empty() {
                output.message("The job has no evidence yet.");
            }
            let runs = Runs::of(&steps, &files);
            if let Some(folder) = &save {
                save_evidence(client, output, folder, &files, &runs).await?;
            }
            output.many(&files, |file| &file.id, || output.table(&evidence_table(&files, &runs)))
        }
    }
}

/// The runs of one job, counted from 1 as people do. Leases grow with every run of every job, so their order is the
/// order of the runs.
#[derive(Debug)]
struct Runs {
    leases: Vec<i64>,
}

impl Runs {
    fn of(steps: &[Step], files: &[EvidenceFile]) -> Self {
        let of_steps = steps.iter().map(|step| step.run_lease);
        let leases: BTreeSet<i64> = of_steps.chain(files.iter().map(|file| file.run_lease)).collect();
        Self { leases: leases.into_iter().collect() }
    }

    fn number(&self, run_lease: i64) -> usize {
        self.leases.partition_point(|lease| *lease < run_lease) + 1
    }
}

/// A file's name from an evidence's: names come from agents, and nothing leaves the folder.
pub(super) fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    name.trim_start_matches('.').chars().map(plain).collect()
}

async fn save_evidence(
    client: &Client,
    output: &Output,
    folder: &Path,
    files: &[EvidenceFile],
    runs: &Runs,
) -> Result<()> {
    for file in files {
        let path = folder.join(format!("run{}_{}", runs.number(file.run_lease), file_name(&file.name)));
        let content = client.download_evidence(file).await?;
        write_private(&path, &content)?;
        output.message(&format!("Saved {}", path.display()));
    }
    Ok(())
}

pub(super) fn jobs_table(jobs: &[Job]) -> Table {
    let mut table = Table::new(&["ID", "KIND", "STATE", "RUNS", "CHANGED", "NOTE"]);
    for job in jobs {
        let note = job.failure.as_ref().map(|failure| text::short(&failure.message, 70)).unwrap_or_default();
        table.row([
            plain(&job.id),
            plain(job.kind.name()),
            (text::words(job.state.name()), text::job_tone(job.state)),
            plain(job.attempt.to_string()),
            plain(text::relative(job.updated_at)),
            faint(note),
        ]);
    }
    table
}

pub(super) fn job_text(output: &Output, job: &Job) -> String {
    let waits = job.run_after.filter(|at| at.0 > Output::now() && !job.state.is_terminal());
    text::record(
        output,
        &[
            ("id", job.id.clone()),
            ("kind", job.kind.name().to_owned()),
            ("state", output.tone(&text::words(job.state.name()), text::job_tone(job.state))),
            ("why", job.failure.as_ref().map(text::failure).unwrap_or_default()),
            ("cancelling", if job.cancel_requested { "yes".to_owned() } else { String::new() }),
            ("not before", waits.map(|at| text::absolute(Some(at))).unwrap_or_default()),
            ("runs", job.attempt.to_string()),
            ("priority", if job.priority == 0 { String::new() } else { job.priority.to_string() }),
            ("account", job.account_id.clone()),
            ("agent", job.agent_id.clone()),
            ("posting", job.posting_id.clone()),
            ("put aside", job.discarded_at.map(|at| text::absolute(Some(at))).unwrap_or_default()),
            ("created", text::absolute(job.created_at)),
            ("changed", text::absolute(job.updated_at)),
        ],
    )
}

fn steps_table(steps: &[Step]) -> Table {
    let runs = Runs::of(steps, &[]);
    let mut table = Table::new(&["STEP", "PHASE", "PLACE", "STATUS", "TOOK", "RUN", "DETAIL"]);
    for step in steps {
        let ended = |other: &Step| {
            other.run_lease == step.run_lease
                && other.seq > step.seq
                && other.phase == step.phase
                && other.name == step.name
        };
        // A start is told by its end.
        if step.status == StepStatus::Started && steps.iter().any(ended) {
            continue;
        }
        let tone = match step.status {
            StepStatus::Started => Tone::Active,
            StepStatus::Succeeded => Tone::Good,
            StepStatus::Failed => Tone::Bad,
            StepStatus::Skipped => Tone::Faint,
        };
        let place = if step.total == 0 { String::new() } else { format!("{}/{}", step.index, step.total) };
        table.row([
            plain(&step.name),
            plain(step.phase.name()),
            faint(place),
            (step.status.name().to_owned(), tone),
            plain(step.duration_ms.map(text::millis).unwrap_or_default()),
            faint(runs.number(step.run_lease).to_string()),
            faint(text::short(&step.detail, 70)),
        ]);
    }
    table
}

fn evidence_table(files: &[EvidenceFile], runs: &Runs) -> Table {
    let mut table = Table::new(&["ID", "NAME", "RUN", "SIZE", "TYPE", "TAKEN"]);
    for file in files {
        table.row([
            plain(&file.id),
            plain(&file.name),
            faint(runs.number(file.run_lease).to_string()),
            plain(text::size(file.size_bytes)),
            faint(&file.media_type),
            plain(text::relative(file.created_at)),
        ]);
    }
    table
}

pub(super) async fn events(command: EventsCommand, client: &Client, output: &Output) -> Result<Exit> {
    match command {
        EventsCommand::List { filter, limit } => {
            let (after, posting_id) = event_filter(client, filter, 0).await?;
            let events = client.list_events(after, i32::from(limit), posting_id).await?;
            let told = || events.iter().map(|event| event_line(output, event) + "\n").collect();
            output.many(&events, |event| &event.kind, told)?;
            match events.last() {
                Some(last) if events.len() == usize::from(limit) => {
                    output.message(&format!("There may be more: use --after {}.", last.seq));
                }
                None => output.message("There are no events."),
                Some(_) => {}
            }
            Ok(Exit::Ok)
        }
        EventsCommand::Follow { filter } => {
            let (after, posting_id) = event_filter(client, filter, -1).await?;
            tokio::select! {
                signal = tokio::signal::ctrl_c() => signal?,
                ended = follow(client, output, Feed::new(client.clone(), posting_id, after)) => ended?,
            }
            Ok(Exit::Ok)
        }
    }
}

async fn event_filter(client: &Client, filter: EventFilter, default: i64) -> Result<(i64, String)> {
    let EventFilter { after, posting } = filter;
    let posting_id = match posting {
        Some(posting) => find::posting(client, &posting).await?.id,
        None => String::new(),
    };
    Ok((after.unwrap_or(default), posting_id))
}

async fn follow(client: &Client, output: &Output, mut feed: Feed) -> Result<()> {
    let mut lost = false;
    loop {
        match feed.next().await? {
            Next::Opened if lost => {
                lost = false;
                output.message("The controller is back.");
            }
            Next::Item(FeedItem::Event(event)) => match output.format {
                Format::Table if output.quiet => output.data(&event.seq.to_string())?,
                Format::Table => output.data(&event_line(output, &event))?,
                // A document that never ends is no document: a line each.
                Format::Json | Format::Jsonl => output.json_line(&event)?,
            },
            Next::Lost { delay } => {
                if !lost {
                    lost = true;
                    output.warning(&format!("lost {}; trying to come back", client.server()));
                }
                tokio::time::sleep(delay).await;
            }
            Next::Opened | Next::Item(FeedItem::Quiet(_)) => {}
        }
    }
}

/// One event in one line.
fn event_line(output: &Output, event: &Event) -> String {
    let Event { seq, at, kind, account_id, listing_id, posting_id, job_id, agent_id, data } = event;
    let subjects = [
        ("posting", posting_id),
        ("listing", listing_id),
        ("account", account_id),
        ("agent", agent_id),
        ("job", job_id),
    ];
    // The narrowest subject is enough; the others follow from it.
    let subject = subjects.iter().find(|(_, id)| !id.is_empty());
    let subject = subject.map(|(name, id)| format!(" {name} {id}")).unwrap_or_default();
    let details = match data {
        serde_json::Value::Object(fields) => {
            let told: Vec<_> = fields
                .iter()
                .filter_map(|(name, value)| match value {
                    serde_json::Value::String(text) if text.is_empty() => None,
                    serde_json::Value::String(text) => Some(format!("{name}={}", text::short(text, 60))),
                    serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                        None
                    }
                    value => Some(format!("{name}={value}")),
                })
                .collect();
            told.join(" ")
        }
        _ => String::new(),
    };
    let line = format!(
        "{seq:>6} {} {:<17}{subject} {}",
        output.tone(&text::clock(*at), Tone::Faint),
        output.tone(kind, Tone::Active),
        output.tone(&details, Tone::Faint)
    );
    line.trim_end().to_owned()
}
