//! `tradepost postings resolve`: what is known of an uncertain posting, and a person's word on it.

use std::path::{Path, PathBuf};

use tradepost_domain::posting::State;

use super::jobs::file_name;
use super::{find, postings};
use crate::args::Format;
use crate::args::postings::ResolvePosting;
use crate::client::Client;
use crate::config::write_private;
use crate::error::{Error, Result};
use crate::model::{Finding, Look, Posting};
use crate::output::{Output, Table, Tone, faint, plain, text};

/// Shows what is known, then tells the controller what the person found.
pub(super) async fn run(arguments: ResolvePosting, client: &Client, output: &Output) -> Result<()> {
    let ResolvePosting { posting, published, item, not_published, save } = arguments;
    let posting = find::posting(client, &posting.posting).await?;
    if output.format == Format::Table && !output.quiet {
        tell(client, output, &posting, save).await?;
    }
    let finding = match (published, not_published) {
        (Some(url), _) => Finding::Published { item_id: item.unwrap_or_default(), url },
        (None, true) => Finding::NotPublished,
        (None, false) => {
            let resolve = format!("tradepost postings resolve {}", posting.id);
            return Err(Error::usage("say what you found on the site: the listing, or that it is not there")
                .hint(format!("{resolve} --published URL"))
                .hint(format!("{resolve} --not-published")));
        }
    };
    let resolved = client.resolve_posting(posting.id, finding).await?;
    if resolved.state == State::Failed {
        output.message(&format!(
            "Noted: it is not published. Post it again with: tradepost postings retry {} --watch",
            resolved.id
        ));
    }
    postings::show(client, output, &resolved).await
}

/// The evidence, on standard error: data is the posting after it.
async fn tell(client: &Client, output: &Output, posting: &Posting, save: Option<PathBuf>) -> Result<()> {
    let listing = client.get_listing(posting.listing_id.clone()).await.ok();
    let account = client.list_accounts(usize::MAX).await?;
    let account = account.items.into_iter().find(|account| account.id == posting.account_id);
    let title = listing.map_or_else(|| "(deleted)".to_owned(), |listing| listing.content.title);
    let (name, address) = account.map(|account| (account.name, account.site_url)).unwrap_or_default();
    if matches!(posting.state, State::Uncertain | State::NeedsHuman) {
        output.warning("do not post it by hand now: a second listing could not be told from the first");
    }
    if let Some(failure) = &posting.failure {
        output.say(&format!("{} {}", output.message_tone("why:", Tone::Strong), text::failure(failure)));
    }
    let looks = client.list_looks(posting.id.clone()).await?;
    if looks.is_empty() {
        output.say("No look has been taken yet.");
    } else {
        output.say(output.table(&table(&looks)).trim_end());
        for look in &looks {
            for item in &look.new_items {
                let fits = if item.matches { "title and price as wanted" } else { "another title or price" };
                let tone = if item.matches { Tone::Good } else { Tone::Warning };
                output.say(&format!(
                    "look {}: new listing {} {} ({})",
                    look.seq,
                    item.item_id,
                    item.url,
                    output.message_tone(fits, tone)
                ));
            }
        }
    }
    let folder = save.unwrap_or_else(|| {
        let short: String = posting.id.chars().take(13).collect();
        PathBuf::from(format!("tradepost-evidence-{short}"))
    });
    save_all(client, output, posting, &looks, &folder).await?;
    output.say(&output.message_tone("What to check by hand:", Tone::Strong));
    output.say(&format!("  1. Open {address} as the account {name:?}, and go to its own listings: active, in review, sold, drafts."));
    output.say(&format!(
        "  2. Look for {title:?} with the price of the listing, made at about {}.",
        text::absolute(posting.updated_at)
    ));
    output.say("  3. Is it there: copy the address of its own page. Is it there twice: delete one of them on the site first.");
    Ok(())
}

/// Saves the pictures of the run that clicked and of every look, and prints where they are.
async fn save_all(
    client: &Client,
    output: &Output,
    posting: &Posting,
    looks: &[Look],
    folder: &Path,
) -> Result<()> {
    let runs = std::iter::once(("run".to_owned(), posting.job_id.clone()));
    let all = runs.chain(looks.iter().map(|look| (format!("look{}", look.seq), look.job_id.clone())));
    let mut saved = 0_u32;
    for (what, job) in all {
        for file in client.list_evidence(job).await? {
            let path = folder.join(format!("{what}_{}_{}", file.run_lease, file_name(&file.name)));
            let content = client.download_evidence(&file).await?;
            write_private(&path, &content)?;
            output.say(&format!("saved {}", path.display()));
            saved += 1;
        }
    }
    if saved == 0 {
        output.say("There are no screenshots.");
    }
    Ok(())
}

fn table(looks: &[Look]) -> Table {
    let mut table = Table::new(&["LOOK", "TAKEN", "LISTINGS", "KNOWN", "NEW", "WHOLE", "VERDICT"]);
    for look in looks {
        table.row([
            plain(look.seq.to_string()),
            plain(text::relative(look.at)),
            plain(format!("{} (before: {})", look.total, look.before)),
            plain(look.known_seen.to_string()),
            plain(look.new_items.len().to_string()),
            if look.whole { plain("yes") } else { ("no".to_owned(), Tone::Warning) },
            faint(&look.verdict),
        ]);
    }
    table
}
