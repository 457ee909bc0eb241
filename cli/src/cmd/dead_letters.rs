//! `tradepost jobs dead-letters`, `retry` and `discard`.

use serde_json::json;

use super::{find, tell_rest};
use crate::args::jobs::{DeadLetterFilter, ListDeadLetters, Treat};
use crate::client::{Client, DeadLetters, Remedy};
use crate::error::{Error, Result};
use crate::output::{Output, text};

pub(super) async fn list(arguments: ListDeadLetters, client: &Client, output: &Output) -> Result<()> {
    let ListDeadLetters { account, limit } = arguments;
    let account = match account {
        Some(account) => Some(find::account(client, &account).await?.id),
        None => None,
    };
    let listed = client.list_dead_letters(limit.count(), account).await?;
    if listed.items.is_empty() {
        output.message("There are no dead letters.");
    }
    output.many(&listed.items, |job| &job.id, || output.table(&super::jobs::jobs_table(&listed.items)))?;
    tell_rest(output, &listed, "dead letters");
    if !listed.items.is_empty() {
        output.hint("try one again: tradepost jobs retry JOB; put one aside: tradepost jobs discard JOB");
    }
    Ok(())
}

pub(super) async fn treat(arguments: Treat, remedy: Remedy, client: &Client, output: &Output) -> Result<()> {
    let Treat { job, all, filter, yes } = arguments;
    match (job, all) {
        (Some(job), false) => one(&job, remedy, client, output).await,
        (None, true) => many(filter, yes, remedy, client, output).await,
        _ => Err(Error::usage("name a job, or use --all with or without filters")),
    }
}

async fn one(job: &str, remedy: Remedy, client: &Client, output: &Output) -> Result<()> {
    let job = find::job(client, job).await?;
    let job = match remedy {
        Remedy::Discard => client.discard_job(job.id).await?,
        Remedy::Retry | Remedy::Count => client.retry_job(job.id).await?,
    };
    output.message(match remedy {
        Remedy::Discard => "The job is put aside; it is kept, but no longer listed as a dead letter.",
        Remedy::Retry | Remedy::Count => "The job is tried again.",
    });
    output.one(&job, &job.id, || super::jobs::job_text(output, &job))
}

/// Without `--yes` it is counted only: a preview.
async fn many(
    filter: DeadLetterFilter,
    yes: bool,
    remedy: Remedy,
    client: &Client,
    output: &Output,
) -> Result<()> {
    let DeadLetterFilter { account, kind, class } = filter;
    let account_id = match account {
        Some(account) => find::account(client, &account).await?.id,
        None => String::new(),
    };
    let wanted = DeadLetters { account_id, kind: kind.map(Into::into), class: class.unwrap_or_default() };
    let used = if yes { remedy } else { Remedy::Count };
    let treated = client.treat_dead_letters(&wanted, used).await?;
    let (matched, done, refused) = (treated.matched, treated.done, treated.refused.len());
    let told = match (yes, remedy) {
        (false, _) => format!("{} fit; nothing is done yet.", letters(matched)),
        (true, Remedy::Discard) => format!("{} of {} put aside.", done, letters(matched)),
        (true, _) => format!("{} of {} tried again.", done, letters(matched)),
    };
    let value = json!({ "matched": matched, "done": done, "refused": treated.refused, "preview": !yes });
    output.one(&value, &done.to_string(), || format!("{told}\n"))?;
    for refusal in treated.refused.iter().take(20) {
        output.warning(&format!("{}: {}", refusal.job_id, text::short(&refusal.message, 160)));
    }
    if refused > 20 {
        output.warning(&format!("and {} more were refused", refused - 20));
    }
    if !yes && matched > 0 {
        output.hint("add --yes to do it");
    }
    Ok(())
}

fn letters(count: u32) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}
