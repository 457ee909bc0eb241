//! Reading the account's own items.

use std::collections::BTreeSet;
use std::time::Duration;

use regex::Regex;
use tokio::time::Instant;
use tradepost_domain::failure::{Failure, FailureClass};

use super::failure::unset;
use super::steps::left;
use super::{ListReport, OwnItem, Phase, Scan, Session};
use crate::locate::{Condition, Target};
use crate::page::{Column, Extraction, Row};
use crate::schema::{Job, List, Reveal};

/// Longest time for one list.
const LIST_DEADLINE: Duration = Duration::from_secs(120);
/// Longest time for one page of a list to come.
const PAGE_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time for the dialog of one row to open or close.
const DIALOG: Duration = Duration::from_secs(5);
/// Scrolling ends after this many rounds without a new row (lazy lists pause).
const IDLE_ROUNDS: u32 = 3;
/// Most pages of one list.
const PAGES_MAX: usize = 500;

/// What was read of one list.
struct ReadList {
    items: Vec<OwnItem>,
    report: ListReport,
}

impl Session {
    /// Reads every list of the scan recipe.
    pub(super) async fn scan_lists(&mut self, phase: Phase) -> Result<Scan, Failure> {
        let recipe = self.recipe(Job::Scan)?;
        self.watch(&[])?;
        let total = recipe.body.steps.len() + recipe.body.lists.len();
        self.run_steps(phase, &recipe.body.steps, total).await?;
        let mut scan = Scan::default();
        for (n, list) in recipe.body.lists.iter().enumerate() {
            let name = format!("Read own items: {}", list.name);
            let step = self.begin(phase, recipe.body.steps.len() + n + 1, total, &name);
            let outcome = match tokio::time::timeout(LIST_DEADLINE, self.read_list(&name, list)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::new(
                    FailureClass::TimedOut,
                    &name,
                    format!("the list did not end within {} s; try again", LIST_DEADLINE.as_secs()),
                )),
            };
            let outcome = outcome.map(|read| {
                let note = format!("{} items", read.report.found);
                (read, note)
            });
            let read = self.end(step, outcome)?;
            scan.items.extend(read.items);
            scan.lists.push(read.report);
        }
        Ok(scan)
    }

    async fn read_list(&mut self, step: &str, list: &List) -> Result<ReadList, Failure> {
        let until = Instant::now() + LIST_DEADLINE;
        let path = list.goto.render(&self.values).map_err(|missing| unset(step, None, &missing))?;
        self.open(step, &path).await?;
        self.expect(step, Some(&list.expect), Instant::now() + PAGE_DEADLINE).await?;
        let extraction = self.extraction(step, list)?;
        let counted = self.site_count(step, list).await?;
        let mut ended = true;
        let mut rows = if self.has_rows(step, list, &extraction).await? {
            self.page.extract(&extraction).await.map_err(|error| self.failure(step, None, error))?
        } else {
            Vec::new()
        };
        if let Some(batch) = list.batch
            && !rows.is_empty()
        {
            rows = self.scroll_to_end(step, &extraction, rows, batch, until).await?;
        }
        if let Some(next) = &list.next {
            ended = self.follow_pages(step, list, next, &extraction, &mut rows).await?;
        }
        if let Some(reveal) = &list.reveal {
            self.reveal(step, reveal, &extraction.rows, &mut rows, until).await?;
        }
        let mut seen = BTreeSet::new();
        let found = rows.len();
        let items: Vec<OwnItem> = rows
            .into_iter()
            .filter_map(|row| self.own_item(&list.name, row))
            .filter(|item| seen.insert(item.id.clone()))
            .collect();
        // A row without an id is an item that the baseline cannot know.
        let complete = ended && items.len() == found && counted.is_none_or(|counted| counted == found);
        Ok(ReadList { items, report: ListReport { name: list.name.clone(), found, counted, complete } })
    }

    /// Waits until rows, or the notice that there are none, are there.
    async fn has_rows(&self, step: &str, list: &List, extraction: &Extraction) -> Result<bool, Failure> {
        let Some(empty) = &list.empty else { return Ok(true) };
        let conditions = [Condition::visible(extraction.rows.clone()), self.resolve_condition(step, empty)?];
        let seen = self.page.wait(&conditions, PAGE_DEADLINE).await;
        Ok(seen.map_err(|error| self.failure(step, None, error))?.index == 0)
    }

    fn extraction(&self, step: &str, list: &List) -> Result<Extraction, Failure> {
        let rows = self.resolve_target(step, None, &list.rows)?;
        let columns = list
            .columns
            .iter()
            .map(|column| {
                let target = column
                    .target
                    .as_ref()
                    .map(|target| self.resolve_target(step, None, target))
                    .transpose()?;
                Ok(Column {
                    name: column.name.clone(),
                    target,
                    attribute: column.attribute.clone(),
                    pattern: column.pattern.clone(),
                })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Extraction { rows, columns })
    }

    /// How many items the site says there are.
    async fn site_count(&self, step: &str, list: &List) -> Result<Option<usize>, Failure> {
        let Some(count) = &list.count else { return Ok(None) };
        let target = self.resolve_target(step, None, &count.target)?;
        let column = Column {
            name: "count".to_owned(),
            target: None,
            attribute: Some("textContent".to_owned()),
            pattern: Some(count.pattern.replace("(?<count>", "(?<value>")),
        };
        let rows = self.page.extract(&Extraction { rows: target, columns: vec![column] }).await;
        let rows = rows.map_err(|error| self.failure(step, None, error))?;
        let text = rows.into_iter().find_map(|mut row| row.remove("count"));
        Ok(text.and_then(|text| text.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok()))
    }

    async fn scroll_to_end(
        &self,
        step: &str,
        extraction: &Extraction,
        mut rows: Vec<Row>,
        batch: usize,
        until: Instant,
    ) -> Result<Vec<Row>, Failure> {
        let mut idle = 0;
        let mut known = rows.len();
        while idle < IDLE_ROUNDS && known.is_multiple_of(batch) && !left(until).is_zero() {
            let now = self.page.scroll_on(&extraction.rows, known, left(until).min(PAGE_DEADLINE)).await;
            let now = now.map_err(|error| self.failure(step, None, error))?;
            idle = if now > known { 0 } else { idle + 1 };
            known = known.max(now);
        }
        if known > rows.len() {
            rows = self.page.extract(extraction).await.map_err(|error| self.failure(step, None, error))?;
        }
        Ok(rows)
    }

    /// Opens, for each row without an id, the dialog that has its link.
    async fn reveal(
        &mut self,
        step: &str,
        reveal: &Reveal,
        all: &Target,
        rows: &mut [Row],
        until: Instant,
    ) -> Result<(), Failure> {
        let fail = |session: &Self, error| session.failure(step, None, error);
        let click = self.resolve_target(step, None, &reveal.click)?;
        let link = self.resolve_target(step, None, &reveal.link)?;
        let close = self.resolve_target(step, None, &reveal.close)?;
        let (open, gone) =
            (Condition::visible(link.clone()), Condition { absent: Some(link), ..Condition::default() });
        for (n, row) in rows.iter_mut().enumerate().filter(|(_, row)| !row.contains_key("id")) {
            // What was read is no fresh page any more.
            self.fresh = None;
            let patience = || left(until).min(DIALOG);
            let opener = click.clone().inside(&all.at(n));
            self.page.click(&opener, patience()).await.map_err(|error| fail(self, error))?;
            let seen = self.page.wait(std::slice::from_ref(&open), patience()).await;
            let href = seen.map_err(|error| fail(self, error))?.href.unwrap_or_default();
            if let Some(id) = capture(&reveal.pattern, &href, "id") {
                row.insert("id".to_owned(), id);
                row.insert("url".to_owned(), href);
            }
            self.page.click(&close, patience()).await.map_err(|error| fail(self, error))?;
            let closed = self.page.wait(std::slice::from_ref(&gone), patience()).await;
            closed.map_err(|error| fail(self, error))?;
        }
        Ok(())
    }

    /// Follows the links to further pages; answers whether the last one was reached.
    async fn follow_pages(
        &mut self,
        step: &str,
        list: &List,
        next: &Target,
        extraction: &Extraction,
        rows: &mut Vec<Row>,
    ) -> Result<bool, Failure> {
        let next = self.resolve_target(step, None, next)?;
        let column = Column {
            name: "href".to_owned(),
            target: None,
            attribute: Some("href".to_owned()),
            pattern: None,
        };
        let link = Extraction { rows: next, columns: vec![column] };
        for _ in 0..PAGES_MAX {
            let links = self.page.extract(&link).await.map_err(|error| self.failure(step, None, error))?;
            let Some(href) = links.into_iter().find_map(|mut row| row.remove("href")) else {
                return Ok(true);
            };
            self.open(step, &href).await?;
            self.expect(step, Some(&list.expect), Instant::now() + PAGE_DEADLINE).await?;
            rows.extend(
                self.page.extract(extraction).await.map_err(|error| self.failure(step, None, error))?,
            );
        }
        Ok(false)
    }

    fn own_item(&self, list: &str, mut row: Row) -> Option<OwnItem> {
        let id = row.remove("id").filter(|id| !id.is_empty())?;
        let mut take = |name: &str| row.remove(name).unwrap_or_default();
        let url = take("url");
        let url = if url.is_empty() { url } else { self.absolute(&url) };
        Some(OwnItem {
            id,
            title: take("title"),
            price: take("price"),
            url,
            state: take("state"),
            list: list.to_owned(),
        })
    }

    /// An address of the site, absolute.
    pub(super) fn absolute(&self, href: &str) -> String {
        self.input.site_url.join(href).map_or_else(|_| href.to_owned(), Into::into)
    }
}

/// The named group of the first match.
pub(crate) fn capture(pattern: &str, text: &str, group: &str) -> Option<String> {
    let captures = Regex::new(pattern).ok()?.captures(text)?.name(group)?.as_str().to_owned();
    (!captures.is_empty()).then_some(captures)
}
