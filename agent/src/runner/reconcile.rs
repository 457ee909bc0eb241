//! A read-only look at the account's own listings.

use std::collections::BTreeSet;

use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::listing::Content;
use tradepost_domain::reconcile::{Look, ReadPage, SeenItem};
use tradepost_recipe::normal::Compare;
use tradepost_recipe::session::{OwnItem, Scan};

use super::click::{checks, version};
use super::desk::Desk;
use super::publish::listing;
use super::sign_in::sign_in;
use super::{Cut, Run};
use crate::photos::FETCH;
use crate::session::frame::{Ending, Phase, PublishTask};

/// Known listings that are reported as a control; frames are small.
const CONTROLS: usize = 20;
/// New listings that are reported; more than one is a duplicate already.
const NEW_MAX: usize = 50;

/// What the controller takes, in characters.
const ID_MAX: usize = 200;
const URL_MAX: usize = 2_000;

/// A reconcile job: tells what the account's lists show.
pub(super) async fn job(run: &Run) -> Result<Ending, Cut> {
    let Some(task) = &run.dispatch.publish else {
        let message = "the controller did not say what to look for";
        return Err(Failure::new(FailureClass::Internal, "scan", message).into());
    };
    // The photos' files are needed to see that the found listing shows them in order.
    let photos = run.kit.photos.lay_out(run.kit.link.as_ref(), run.key(), &task.photos);
    let photos = run.until_cut("start", run.reporter.step(Phase::Start, FETCH, photos)).await?;
    let tools = run.until_cut("start", run.start_chrome()).await?;
    let mut desk = run.sit_down(tools, Some(listing(task, photos))).await?;
    let looked = match sign_in(run, &mut desk).await {
        Ok(_) => desk.until_cut(run, "scan", async |session| session.scan().await).await,
        Err(cut) => Err(cut),
    };
    match looked {
        Ok(scan) => {
            let mut look = look(&scan, task);
            look.evidence = desk.keep_evidence(run, "look").await;
            read_found(run, &mut desk, task, &mut look).await;
            desk.leave(run).await;
            Ok(Ending::Looked(look))
        }
        Err(cut) => {
            desk.give_up(run, &cut).await;
            Err(cut)
        }
    }
}

/// Reads the page of the one new listing back, if it is the one that is looked for: its receipt is then as whole as that of a
/// run. What cannot be read is left out; the look counts all the same.
async fn read_found(run: &Run, desk: &mut Desk, task: &PublishTask, look: &mut Look) {
    let mut new = look.items.iter().filter(|item| !task.baseline.contains(&item.item_id));
    let (Some(only), None) = (new.next(), new.next()) else { return };
    if !only.matches || only.url.is_empty() {
        return;
    }
    let (item_id, url) = (only.item_id.clone(), only.url.clone());
    match desk.until_cut(run, "read_back", async |session| session.read_back(&url).await).await {
        Ok(read) => {
            let recipe = version(desk);
            look.page = Some(Box::new(ReadPage { item_id, read_back: checks(read), recipe }));
            look.evidence.extend(desk.keep_evidence(run, "found").await);
        }
        Err(Cut::Failed(failure)) => tracing::warn!(%failure, "the found listing was not read back"),
        Err(Cut::Abandoned) => tracing::warn!("the found listing was not read back: the agent ends"),
    }
}

fn look(scan: &Scan, task: &PublishTask) -> Look {
    let baseline: BTreeSet<&str> = task.baseline.iter().map(String::as_str).collect();
    let named = scan.items.iter().filter(|item| (1..=ID_MAX).contains(&item.id.chars().count()));
    let (known, new): (Vec<_>, Vec<_>) = named.partition(|item| baseline.contains(item.id.as_str()));
    let items = new.into_iter().take(NEW_MAX).chain(known.into_iter().take(CONTROLS));
    let items = items
        .map(|item| SeenItem {
            item_id: item.id.clone(),
            url: if item.url.chars().count() <= URL_MAX { item.url.clone() } else { String::new() },
            matches: is_the_listing(item, &task.content),
        })
        .collect();
    Look { items, whole: scan.complete(), total: scan.items.len(), ..Look::default() }
}

/// Whether title and price are the listing's, however the list writes them. A list without prices is told by its titles.
fn is_the_listing(item: &OwnItem, content: &Content) -> bool {
    let wanted = content.price.decimal();
    let currency = Some(content.price.currency());
    let price = item.price.trim().is_empty()
        || Compare::Price.same(&wanted, &item.price, currency)
        || Compare::WholePrice.same(&wanted, &item.price, currency) && !item.price.contains(['.', ',']);
    price && same_title(&item.title, &content.title)
}

/// Lists may cut long titles.
fn same_title(shown: &str, wanted: &str) -> bool {
    let (shown, wanted) = (Compare::Text.normal(shown, None), Compare::Text.normal(wanted, None));
    let cut = shown.strip_suffix('…').or_else(|| shown.strip_suffix("...")).map(str::trim_end);
    shown == wanted
        || cut.is_some_and(|beginning| beginning.chars().count() >= 10 && wanted.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use tradepost_domain::listing::Condition;
    use tradepost_domain::money::Money;

    use super::*;

    fn content() -> Content {
        Content {
            title: "Oak chair – four legs".into(),
            description: String::new(),
            price: Money::parse("1250.50", "EUR".parse().expect("known")).expect("valid"),
            category: "Home".into(),
            condition: Condition::Good,
            location: "Berlin".into(),
            sku: String::new(),
            attributes: std::collections::BTreeMap::new(),
            photos: Vec::new(),
        }
    }

    fn item(title: &str, price: &str) -> OwnItem {
        OwnItem { title: title.into(), price: price.into(), ..OwnItem::default() }
    }

    #[test]
    fn the_listing_is_recognised_however_the_site_writes_it() {
        let content = content();
        for (title, price) in [
            ("Oak chair - four legs", "1.250,50 €"),
            ("Oak chair – four legs", "€1,250.50"),
            ("Oak  chair – four…", "1250.5"),
            ("Oak chair – four legs", ""),
            ("Oak chair – four legs", "1250 EUR"),
        ] {
            assert!(is_the_listing(&item(title, price), &content), "{title} {price}");
        }
        for (title, price) in
            [("Oak chair", "1250.50"), ("Oak chair – four legs", "1250.60"), ("Oak…", "1250.50")]
        {
            assert!(!is_the_listing(&item(title, price), &content), "{title} {price}");
        }
    }
}
