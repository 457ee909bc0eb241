//! Finding out what the click did, and comparing the published page with the listing.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tradepost_domain::failure::{Failure, FailureClass};

use super::failure::until_said;
use super::scan::capture;
use super::{Confirmation, FieldCheck, Phase, ReadBack, Session, path_of, photos};
use crate::locate::Condition;
use crate::normal::{self, Compare};
use crate::page::{Column, Extraction, PageError, Sighting};
use crate::schema::{Confirm, Fence, Job, Proof, Published};

/// How long the published page may take.
const PAGE_DEADLINE: Duration = Duration::from_secs(20);
/// Name of the step that waits for the site's answer.
const ANSWER: &str = "Wait for the site's answer";
/// Name of the step that compares the published page.
const COMPARE: &str = "Compare the published page";

/// What the page showed after the click.
enum Answer {
    Published {
        item_id: String,
        url: String,
        strategy: String,
    },
    Rejected(Failure),
    /// The own items have to tell; with what the page said meanwhile.
    Look {
        why: String,
        limit: Option<Failure>,
    },
}

impl Session {
    /// Finds out what the click did. Read-only; never clicks.
    ///
    /// In order: the recipe's proofs on the page that comes, the form's own complaints, then the difference between
    /// the own items and the baseline. Whatever stays open is [`Confirmation::Uncertain`].
    pub async fn confirm(&mut self) -> Confirmation {
        let Ok(recipe) = self.recipe(Job::Publish) else {
            return Confirmation::Uncertain("there is no publish recipe".to_owned());
        };
        let Some(confirm) = &recipe.body.confirm else {
            return Confirmation::Uncertain("the recipe does not say how to confirm".to_owned());
        };
        let step = self.begin(Phase::Confirm, 1, 2, ANSWER);
        // Proofs come before everything: a limit notice beside the published listing refuses nothing.
        self.page.watch(Vec::new());
        let answer = self.answer(confirm).await;
        let outcome = match &answer {
            Answer::Published { strategy, .. } => Ok(((), format!("proved by {strategy}"))),
            Answer::Rejected(failure) => Err(failure.clone()),
            Answer::Look { why, .. } => Ok(((), why.clone())),
        };
        let _told = self.end(step, outcome);
        match answer {
            Answer::Published { item_id, url, strategy } => {
                Confirmation::Published { item_id, url, strategy }
            }
            Answer::Rejected(failure) => Confirmation::Rejected(failure),
            Answer::Look { why, limit } => self.by_difference(why, limit).await,
        }
    }

    async fn answer(&mut self, confirm: &Confirm) -> Answer {
        let look = |why: String| Answer::Look { why, limit: None };
        let proofs = confirm.proofs.iter().map(|proof| &proof.when);
        let own = proofs.chain(&confirm.rejected).chain(&confirm.look);
        let resolved: Result<Vec<Condition>, Failure> =
            own.map(|when| self.resolve_condition(ANSWER, when)).collect();
        let (mut conditions, interruptions) = match (resolved, self.interruptions(&[])) {
            (Ok(conditions), Ok(interruptions)) => (conditions, interruptions),
            (Err(failure), _) | (_, Err(failure)) => return look(failure.message),
        };
        let (rejected_from, look_from) =
            (confirm.proofs.len(), confirm.proofs.len() + confirm.rejected.len());
        let interrupted_from = conditions.len();
        conditions.extend(interruptions);
        let seen = match self.page.wait(&conditions, confirm.within()).await {
            Ok(seen) => seen,
            Err(PageError::NotReached { at }) => {
                return self.complained_or_look(format!("the site shows {at}")).await;
            }
            Err(error) => return look(error.to_string()),
        };
        if let Some(proof) = confirm.proofs.get(seen.index) {
            return self.proved(proof, &seen);
        }
        if (rejected_from..look_from).contains(&seen.index) {
            return self
                .complained_or_look(format!("the site is back at its form: {}", normal::line(&seen.text)))
                .await;
        }
        if let Some(interruption) =
            self.site.pack.interruptions.get(seen.index.wrapping_sub(interrupted_from))
        {
            let refusal = matches!(
                interruption.class,
                FailureClass::LimitReached | FailureClass::TemporarilyBlocked | FailureClass::ListingRejected
            );
            let failure = until_said(
                Failure::new(interruption.class, ANSWER, interruption.message.clone()),
                &seen.text,
            );
            return Answer::Look { why: interruption.message.clone(), limit: refusal.then_some(failure) };
        }
        // The click has only just led here: the list need not be loaded again.
        self.fresh = Some((seen.url.clone(), Instant::now()));
        look(format!("the site went to {}", path_of(&seen)))
    }

    /// A proof holds: the item's id, if the page gives it away and it was not there before.
    fn proved(&self, proof: &Proof, seen: &Sighting) -> Answer {
        let by_link = proof.link.as_deref().zip(seen.href.as_deref());
        let by_link =
            by_link.and_then(|(pattern, href)| Some((capture(pattern, href, "id")?, self.absolute(href))));
        let by_url = || {
            let id = capture(proof.when.url.as_deref()?, &path_of(seen), "id")?;
            Some((id, seen.url.clone()))
        };
        let Some((item_id, url)) = by_link.or_else(by_url) else {
            return Answer::Look { why: format!("{} shows no id", path_of(seen)), limit: None };
        };
        let known = self.baseline.as_ref().is_some_and(|baseline| baseline.items.contains(&item_id));
        if known {
            return Answer::Look {
                why: format!("the site shows item {item_id}, which is older"),
                limit: None,
            };
        }
        Answer::Published { item_id, url, strategy: proof.strategy.clone() }
    }

    /// Still at the form: its complaints are a definite refusal. A limit text there refuses too, unless the own items show
    /// that this click was the last one within the limit. Without either, the own items have to tell.
    async fn complained_or_look(&self, why: String) -> Answer {
        let fence = self.recipe(Job::Publish).ok().and_then(|recipe| recipe.body.fence.clone());
        let also = fence.as_ref().and_then(|fence| fence.errors.as_ref());
        let errors = self.form_errors(ANSWER, also).await;
        if let Some(failure) = self.complaint(ANSWER, &errors) {
            return Answer::Rejected(failure);
        }
        let limit = match &fence {
            Some(fence) => self.blocked(ANSWER, fence).await,
            None => None,
        };
        let why = limit.as_ref().map_or(why, |limit| limit.message.clone());
        Answer::Look { why, limit }
    }

    /// What the form shows that forbids publishing, e.g. a limit text; nothing when it cannot be asked.
    async fn blocked(&self, step: &str, fence: &Fence) -> Option<Failure> {
        let visible = fence.blocked.iter().filter_map(|condition| condition.visible.as_ref());
        let targets: Vec<_> =
            visible.filter_map(|target| self.resolve_target(step, None, target).ok()).collect();
        if targets.is_empty() {
            return None;
        }
        let shown = self.page.read(&targets).await.ok()?.into_iter().flatten().next()?;
        let message = format!("{} says: {}", self.site.pack.title, normal::line(&shown.value));
        Some(Failure::new(FailureClass::LimitReached, step, message))
    }

    /// The last strategy: which own item is new, and is it this listing.
    async fn by_difference(&mut self, why: String, limit: Option<Failure>) -> Confirmation {
        let Some(baseline) = self.baseline.clone() else {
            return Confirmation::Uncertain(format!("{why}, and there is no baseline to compare with"));
        };
        let scan = match self.scan_lists(Phase::Confirm).await {
            Ok(scan) => scan,
            Err(failure) => return Confirmation::Uncertain(format!("{why}; {}", failure.message)),
        };
        if !baseline.complete {
            return Confirmation::Uncertain(format!("{why}, and the baseline was not complete"));
        }
        let new: Vec<_> = scan.new_since(&baseline.items).collect();
        match new.as_slice() {
            [] if scan.complete() && scan.shows_known(&baseline.items) => match limit {
                Some(failure) => Confirmation::Rejected(failure),
                None => Confirmation::Uncertain(format!("{why}, and no new item is listed yet")),
            },
            [] => Confirmation::Uncertain(format!("{why}, and the own items could not be read in full")),
            [item] if self.is_this_listing(&item.title, &item.price) => Confirmation::Published {
                item_id: item.id.clone(),
                url: item.url.clone(),
                strategy: "baseline_difference".to_owned(),
            },
            [item] => {
                Confirmation::Uncertain(format!("{why}, and the one new item, {:?}, is another", item.title))
            }
            several => Confirmation::Uncertain(format!("{why}, and {} new items are listed", several.len())),
        }
    }

    /// Whether a row of the own items can be the session's listing: same title, and same price where both show one.
    fn is_this_listing(&self, title: &str, price: &str) -> bool {
        self.input.listing.as_ref().is_some_and(|listing| {
            let currency = Some(listing.price.currency());
            let priced = price.chars().any(|c| c.is_ascii_digit());
            // Some lists show every price with one sign: the amount counts.
            let amounts_equal =
                normal::price(price, currency) == normal::price(&listing.price.decimal(), currency);
            Compare::Text.same(title, &listing.title, None) && (!priced || amounts_equal)
        })
    }

    /// Compares the published page with the listing. Differences are reported, not failures; fails only when the page
    /// cannot be read.
    pub async fn read_back(&mut self, url: &str) -> Result<ReadBack, Failure> {
        let recipe = self.recipe(Job::Publish)?;
        self.watch(&[])?;
        let step = self.begin(Phase::ReadBack, 1, 1, COMPARE);
        let outcome = self.compare_page(url, &recipe.body.published).await.map(|read_back| {
            let wrong: Vec<&str> = read_back.mismatches().map(|check| check.field.as_str()).collect();
            let note = if wrong.is_empty() {
                format!("{} fields as given", read_back.fields.len())
            } else {
                format!("differs: {}", wrong.join(", "))
            };
            (read_back, note)
        });
        self.end(step, outcome)
    }

    async fn compare_page(&mut self, url: &str, published: &[Published]) -> Result<ReadBack, Failure> {
        let fail = |session: &Self, error| session.failure(COMPARE, None, error);
        // Right after the click the page often is there already: any condition tells where the browser is.
        let here = self
            .page
            .wait(&[Condition::default()], PAGE_DEADLINE)
            .await
            .map_err(|error| fail(self, error))?;
        if here.url != url {
            self.fresh = None;
            self.open(COMPARE, url).await?;
        }
        let checks: Vec<&Published> = published
            .iter()
            .filter(|check| check.only_if.as_ref().is_none_or(|guard| guard.is_set(&self.values)))
            .filter(|check| !self.absent_fields.contains(&check.field))
            .collect();
        self.await_page(&checks).await?;
        let data = if checks.iter().any(|check| check.structured.is_some()) {
            self.page.structured_data().await.map_err(|error| fail(self, error))?
        } else {
            Vec::new()
        };
        let mut fields = Vec::with_capacity(checks.len());
        for check in checks {
            fields.push(self.compare_field(check, &data).await?);
        }
        Ok(ReadBack { fields })
    }

    /// Waits until the first element that is compared is there; pages may build themselves late.
    async fn await_page(&self, checks: &[&Published]) -> Result<(), Failure> {
        let Some(target) = checks.iter().find_map(|check| check.target.as_ref()) else { return Ok(()) };
        let target = self.resolve_target(COMPARE, None, target)?;
        let until = Instant::now() + PAGE_DEADLINE;
        self.expect(COMPARE, Some(&Condition::visible(target)), until).await
    }

    async fn compare_field(&self, check: &Published, data: &[Value]) -> Result<FieldCheck, Failure> {
        let shown = match (&check.structured, &check.target) {
            (Some(path), _) => structured(data, path),
            (None, Some(target)) => {
                let rows = self.resolve_target(COMPARE, Some(&check.field), target)?;
                let column = Column {
                    name: "value".to_owned(),
                    target: None,
                    attribute: check.attribute.clone(),
                    pattern: check.pattern.clone(),
                };
                let rows = self.page.extract(&Extraction { rows, columns: vec![column] }).await;
                let rows = rows.map_err(|error| self.failure(COMPARE, Some(&check.field), error))?;
                rows.into_iter().map(|mut row| row.remove("value").unwrap_or_default()).collect()
            }
            (None, None) => Vec::new(),
        };
        if check.field == "photos" {
            let photos = self.photo_files().await;
            return Ok(FieldCheck {
                field: check.field.clone(),
                wanted: photos::in_words(photos.len()),
                shown: Some(photos::found(&photos, &shown)),
                same: photos::in_order(&photos, &shown),
            });
        }
        let wanted =
            check.value.as_ref().and_then(|value| value.alternatives(&self.values).ok()).unwrap_or_default();
        let currency = self.currency();
        let shown = shown.into_iter().next();
        let rule = check.shows.as_ref().map(|rule| self.resolve_text(COMPARE, Some(&check.field), rule));
        let rule = rule.transpose()?;
        let same = shown.as_ref().is_some_and(|shown| match &rule {
            Some(rule) => rule.fits(shown),
            None => wanted.iter().any(|wanted| check.compare.same(shown, wanted, currency)),
        });
        Ok(FieldCheck {
            field: check.field.clone(),
            wanted: wanted.into_iter().next().unwrap_or_default(),
            shown,
            same,
        })
    }
}

/// The texts at a dotted path of the first structured block that has it.
fn structured(data: &[Value], path: &str) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for block in data {
        let mut at = block;
        let found = path.split('.').all(|key| match at.get(key) {
            Some(value) => {
                at = value;
                true
            }
            None => false,
        });
        if found {
            return match at {
                Value::Array(values) => values.iter().map(text).collect(),
                value => vec![text(value)],
            };
        }
    }
    Vec::new()
}
