//! `tradepost postings`.

use std::collections::HashMap;

use tradepost_domain::posting::State;

use super::{find, resolve, tell_rest, watch};
use crate::args::Format;
use crate::args::postings::{CreatePosting, ListPostings, PostingsCommand};
use crate::client::Client;
use crate::error::{Error, Exit, Result};
use crate::model::{EvidenceRef, FieldCheck, Item, Posting, Receipt, Step, Wait, Witness};
use crate::output::{Output, Table, Tone, faint, plain, text};

pub(super) async fn run(command: PostingsCommand, client: &Client, output: &Output) -> Result<Exit> {
    match command {
        PostingsCommand::Create(arguments) => return create(arguments, client, output).await,
        PostingsCommand::List(arguments) => list(arguments, client, output).await?,
        PostingsCommand::Show(argument) => {
            let posting = find::posting(client, &argument.posting).await?;
            show(client, output, &posting).await?;
        }
        PostingsCommand::Watch { posting, wait } => {
            let posting = find::posting(client, &posting.posting).await?;
            return watch::watch(client, output, posting.id, wait.wait, &[]).await;
        }
        PostingsCommand::Cancel(argument) => {
            let posting = find::posting(client, &argument.posting).await?;
            let posting = client.cancel_posting(posting.id).await?;
            if posting.state == State::Cancelled {
                output.message("The posting is cancelled.");
            } else {
                output.message("The posting is being cancelled: its run ends before the click.");
            }
            show(client, output, &posting).await?;
        }
        PostingsCommand::Retry { posting, watch, wait } => {
            let posting = find::posting(client, &posting.posting).await?;
            let ended = if watch {
                vec![(posting.job_id.clone(), client.list_steps(posting.job_id).await?)]
            } else {
                Vec::new()
            };
            let posting = client.retry_posting(posting.id).await?;
            return follow(watch, wait.wait, posting, &ended, client, output).await;
        }
        PostingsCommand::Look { posting, watch, wait } => {
            let posting = find::posting(client, &posting.posting).await?;
            let posting = client.request_look(posting.id).await?;
            output.message("The agent looks as soon as it can. Do not post it by hand meanwhile.");
            return follow(watch, wait.wait, posting, &[], client, output).await;
        }
        PostingsCommand::Resolve(arguments) => resolve::run(arguments, client, output).await?,
        PostingsCommand::Why(argument) => {
            let posting = find::posting(client, &argument.posting).await?;
            let wait = client.get_wait(posting.id).await?;
            output.one(&wait, &wait.posting_id, || why(output, &wait))?;
        }
        PostingsCommand::Prioritize { posting, priority } => {
            let posting = find::posting(client, &posting.posting).await?;
            let posting = client.prioritize_posting(posting.id, priority).await?;
            show(client, output, &posting).await?;
        }
        PostingsCommand::Receipt(argument) => {
            let posting = find::posting(client, &argument.posting).await?;
            let receipt = client.find_receipt(posting.id.clone()).await?.ok_or_else(|| {
                Error::not_found("the posting has no receipt: it is not published")
                    .hint(format!("`tradepost postings show {}` tells how it stands", posting.id))
            })?;
            output.one(&receipt, &posting.id, || receipt_text(output, &posting, &receipt))?;
        }
    }
    Ok(Exit::Ok)
}

async fn create(arguments: CreatePosting, client: &Client, output: &Output) -> Result<Exit> {
    let CreatePosting { listing, all, account, priority, again, watch, wait } = arguments;
    let account = find::account(client, &account).await?;
    let mut listings = Vec::with_capacity(listing.len());
    if all {
        let every = client.list_listings(usize::MAX).await?;
        listings.extend(every.items.into_iter().map(|listing| listing.id));
    }
    for one in &listing {
        listings.push(find::listing(client, one).await?.id);
    }
    if let [listing] = listings.as_slice() {
        let posting = client.create_posting(listing.clone(), account.id, priority, again).await?;
        return follow(watch, wait.wait, posting, &[], client, output).await;
    }
    if watch {
        return Err(Error::usage("--watch follows one posting, and there are several listings")
            .hint("leave --watch away, then: tradepost postings list"));
    }
    if listings.is_empty() {
        return Err(
            Error::usage("there are no listings to post").hint("tradepost listings create --file FILE")
        );
    }
    let postings = client.create_postings(&listings, &account.id, priority, again).await?;
    let names = if output.format == Format::Table && !output.quiet {
        names(client, &postings).await?
    } else {
        Names::default()
    };
    output.many(&postings, |posting| &posting.id, || output.table(&table(&postings, &names)))?;
    Ok(Exit::Ok)
}

/// Watches a posting that was just set going, without the steps of `ended` runs, or shows it.
async fn follow(
    watched: bool,
    wait: Option<std::time::Duration>,
    posting: Posting,
    ended: &[(String, Vec<Step>)],
    client: &Client,
    output: &Output,
) -> Result<Exit> {
    if watched {
        output.message(&format!("Posting {}", output.message_tone(&posting.id, Tone::Strong)));
        return watch::watch(client, output, posting.id, wait, ended).await;
    }
    // The answer to a change names the first thing that it waits for; asked again, the controller weighs all of them. The
    // change is made either way.
    let posting = match posting.waiting_for.as_str() {
        "" => posting,
        _ => client.get_posting(posting.id.clone()).await.unwrap_or(posting),
    };
    show(client, output, &posting).await?;
    output.hint(&format!("follow it: tradepost postings watch {}", posting.id));
    Ok(Exit::Ok)
}

async fn list(arguments: ListPostings, client: &Client, output: &Output) -> Result<()> {
    let ListPostings { account, state, limit } = arguments;
    let account = match account {
        Some(account) => Some(find::account(client, &account).await?.id),
        None => None,
    };
    let listed = client.list_postings(limit.count(), account, state.map(State::from)).await?;
    let names = if output.format == Format::Table && !output.quiet {
        names(client, &listed.items).await?
    } else {
        Names::default()
    };
    output.many(&listed.items, |posting| &posting.id, || output.table(&table(&listed.items, &names)))?;
    tell_rest(output, &listed, "postings");
    Ok(())
}

/// Titles of listings and names of accounts by id.
#[derive(Debug, Default)]
pub(super) struct Names {
    titles: HashMap<String, String>,
    accounts: HashMap<String, String>,
}

/// Looks up what the postings are about. A listing that is gone has no title.
pub(super) async fn names(client: &Client, postings: &[Posting]) -> Result<Names> {
    let mut names = Names::default();
    if postings.is_empty() {
        return Ok(names);
    }
    let accounts = client.list_accounts(usize::MAX).await?;
    names.accounts = accounts.items.into_iter().map(|account| (account.id, account.name)).collect();
    let listings = client.list_listings(200).await?;
    names.titles = listings.items.into_iter().map(|listing| (listing.id, listing.content.title)).collect();
    for posting in postings {
        if names.titles.contains_key(&posting.listing_id) {
            continue;
        }
        let title = match client.get_listing(posting.listing_id.clone()).await {
            Ok(listing) => listing.content.title,
            Err(error) if error.exit == Exit::NotFound => String::from("(deleted)"),
            Err(error) => return Err(error),
        };
        names.titles.insert(posting.listing_id.clone(), title);
    }
    Ok(names)
}

pub(super) fn table(postings: &[Posting], names: &Names) -> Table {
    let mut table = Table::new(&["ID", "STATE", "LISTING", "ACCOUNT", "CHANGED", "NOTE"]);
    for posting in postings {
        let name = |map: &HashMap<String, String>, id: &String| map.get(id).unwrap_or(id).clone();
        table.row([
            plain(&posting.id),
            (text::words(posting.state.name()), text::posting_tone(posting.state)),
            plain(text::short(&name(&names.titles, &posting.listing_id), 36)),
            plain(name(&names.accounts, &posting.account_id)),
            plain(text::relative(posting.updated_at)),
            faint(note(posting)),
        ]);
    }
    table
}

/// The one thing worth telling of a posting in a table.
fn note(posting: &Posting) -> String {
    match (&posting.item, &posting.failure) {
        (Some(item), _) => item.url.clone(),
        (None, _) if !posting.waiting_for.is_empty() => text::short(&posting.waiting_for, 70),
        (None, Some(failure)) => text::short(&failure.message, 70),
        (None, None) => String::new(),
    }
}

pub(super) async fn show(client: &Client, output: &Output, posting: &Posting) -> Result<()> {
    let names = if output.format == Format::Table && !output.quiet {
        names(client, std::slice::from_ref(posting)).await?
    } else {
        Names::default()
    };
    output.one(posting, &posting.id, || posting_text(output, posting, &names))
}

fn posting_text(output: &Output, posting: &Posting, names: &Names) -> String {
    let with_id = |map: &HashMap<String, String>, id: &String| match map.get(id) {
        Some(name) => format!("{name} ({id})"),
        None => id.clone(),
    };
    let (item, url) =
        posting.item.as_ref().map_or_else(Default::default, |item| (item_text(item), item.url.clone()));
    let generation = if posting.generation > 1 { posting.generation.to_string() } else { String::new() };
    text::record(
        output,
        &[
            ("id", posting.id.clone()),
            ("state", output.tone(&text::words(posting.state.name()), text::posting_tone(posting.state))),
            ("waits for", posting.waiting_for.clone()),
            ("why", posting.failure.as_ref().map(text::failure).unwrap_or_default()),
            ("url", url),
            ("item", item),
            ("listing", with_id(&names.titles, &posting.listing_id)),
            ("account", with_id(&names.accounts, &posting.account_id)),
            ("job", posting.job_id.clone()),
            ("attempt", generation),
            ("created", text::absolute(posting.created_at)),
            ("changed", text::absolute(posting.updated_at)),
        ],
    )
}

/// One sentence: what the posting waits for, or that it does not wait.
fn why(output: &Output, wait: &Wait) -> String {
    let sentence = match (wait.waiting_for.as_str(), wait.state) {
        ("", State::Running) => "The posting does not wait: its agent works on it now.".to_owned(),
        ("", State::Published) => "The posting does not wait: it is published.".to_owned(),
        ("", State::Cancelled) => "The posting does not wait: it was cancelled.".to_owned(),
        ("", _) => {
            let why = wait.failure.as_ref().map(text::failure).unwrap_or_default();
            format!("The posting does not wait: it was given up. {why}")
        }
        (waits, _) => format!("The posting waits for {waits}."),
    };
    format!("{}\n", output.tone(sentence.trim(), text::posting_tone(wait.state)))
}

/// How an item was found that a person named.
const PERSON: &str = "person";

/// The id on the site, and how it was found.
fn item_text(item: &Item) -> String {
    if item.strategy == PERSON {
        format!("{} (named by a person)", item.item_id)
    } else {
        format!("{} (found by {})", item.item_id, item.strategy)
    }
}

/// A receipt for people: where it is, what was read back, what proves it.
pub(super) fn receipt_text(output: &Output, posting: &Posting, receipt: &Receipt) -> String {
    let Receipt { item, read_back, evidence, recipe, agent_id, resolution, .. } = receipt;
    let (url, found) =
        item.as_ref().map_or_else(Default::default, |item| (item.url.clone(), item_text(item)));
    let by_person = receipt.witness == Witness::Person;
    let matching = read_back.iter().filter(|check| check.matches).count();
    let (verdict, tone) = match (read_back.len(), receipt.witness) {
        (0, Witness::Person) => ("on a person's word".to_owned(), Tone::Warning),
        (0, Witness::Look) => ("not read back (found by a later look)".to_owned(), Tone::Warning),
        (0, Witness::Run) => ("not read back (the page could not be read)".to_owned(), Tone::Warning),
        (all, _) => (
            format!("{matching} of {all} {} as wanted", if all == 1 { "field" } else { "fields" }),
            if matching == all { Tone::Good } else { Tone::Warning },
        ),
    };
    let (by, question) = resolution.as_ref().map_or_else(Default::default, |resolution| {
        let looks = text::count(resolution.looks, "look", "looks");
        let by = format!("{}, {}, after {looks}", resolution.by, text::absolute(resolution.at));
        (by, resolution.question.clone())
    });
    let mut told = text::record(
        output,
        &[
            ("url", output.tone(&url, Tone::Strong)),
            ("item", found),
            ("posting", posting.id.clone()),
            ("agent", agent_id.clone()),
            ("recipe", if by_person { String::new() } else { recipe.clone() }),
            ("took", took(receipt)),
            ("listings", difference(receipt)),
            ("resolved by", by),
            ("it had been", question),
            ("evidence", evidence.iter().map(evidence_line).collect::<Vec<_>>().join("\n")),
            ("read back", output.tone(&verdict, tone)),
        ],
    );
    if !read_back.is_empty() {
        told.push('\n');
        told.push_str(&output.table(&checks_table(read_back)));
    }
    told
}

/// The times that were measured.
fn took(receipt: &Receipt) -> String {
    let parts = [
        (receipt.prepare_ms, "to fill in"),
        (receipt.permit_ms, "for the permit"),
        (receipt.confirm_ms, "from the click to the confirmation"),
    ];
    let told: Vec<_> = parts
        .iter()
        .filter(|(millis, _)| *millis > 0)
        .map(|(millis, what)| format!("{} {what}", text::millis(*millis)))
        .collect();
    told.join(", ")
}

/// The account's own listings before and after, and which are new: `3 before, 4 after; new: 8812`.
fn difference(receipt: &Receipt) -> String {
    let after = receipt.count_after.map(|count| format!(", {count} after")).unwrap_or_default();
    let new = match receipt.new_item_ids.as_slice() {
        [] => String::new(),
        ids => format!("; new: {}", ids.join(", ")),
    };
    format!("{} before the click{after}{new}", receipt.baseline_count)
}

/// A file's name, and enough of its hash to tell it from others; JSON has all of it.
fn evidence_line(file: &EvidenceRef) -> String {
    let short: String = file.sha256.chars().take(16).collect();
    format!("{} (sha256 {short}…)", file.name)
}

fn checks_table(read_back: &[FieldCheck]) -> Table {
    let mut table = Table::new(&["FIELD", "CHECK", "ON THE PAGE"]);
    for check in read_back {
        let verdict =
            if check.matches { ("ok".to_owned(), Tone::Good) } else { ("differs".to_owned(), Tone::Bad) };
        let found = if check.matches {
            text::short(&check.found, 60)
        } else {
            format!("{} (wanted: {})", text::short(&check.found, 60), text::short(&check.wanted, 60))
        };
        table.row([plain(&check.field), verdict, plain(found)]);
    }
    table
}
