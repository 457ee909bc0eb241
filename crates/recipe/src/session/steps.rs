//! The vocabulary: what each kind of step does.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;
use tradepost_domain::failure::{Failure, FailureClass};

use super::failure::{not_kept, unset};
use super::{Filled, Hold, Phase, Session};
use crate::locate::{Condition, Target};
use crate::normal::{self, Compare};
use crate::page::{Column, Control, Extraction, PageError};
use crate::schema::{Advance, Arm, Fill, Overlay, Pick, Select, Set, Step, Typeahead, Untick};

/// How much longer than its own deadline a step may take before the engine gives up on the page.
const BACKSTOP: Duration = Duration::from_secs(5);
/// How long a page reached earlier in this session counts as just loaded.
const FRESH: Duration = Duration::from_secs(2);
/// How long a button may stay disabled after a complete form.
const ENABLE: Duration = Duration::from_secs(5);

impl Session {
    /// Runs steps in order, as the first of `total` steps of their phase.
    pub(super) async fn run_steps(
        &mut self,
        phase: Phase,
        steps: &[Step],
        total: usize,
    ) -> Result<(), Failure> {
        for (n, step) in steps.iter().enumerate() {
            self.run_numbered(phase, n + 1, total, step).await?;
        }
        Ok(())
    }

    /// One step, boxed because a branch holds steps again.
    fn run_numbered<'a>(
        &'a mut self,
        phase: Phase,
        index: usize,
        total: usize,
        step: &'a Step,
    ) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>> {
        Box::pin(async move {
            if step.only_if.as_ref().is_some_and(|guard| !guard.is_set(&self.values)) {
                return Ok(());
            }
            if let Some(arms) = &step.branch {
                return self.branch(phase, index, total, step, arms).await;
            }
            let running = self.begin(phase, index, total, &step.name);
            let outcome = self.with_deadline(step).await;
            self.end(running, outcome.map(|note| ((), note)))
        })
    }

    async fn with_deadline(&mut self, step: &Step) -> Result<String, Failure> {
        let limit = step.deadline();
        if let Ok(outcome) = tokio::time::timeout(limit + BACKSTOP, self.act(step)).await {
            return outcome;
        }
        let message = format!(
            "the step did not end within {} s; see the screenshot for what the browser shows, then retry the job",
            limit.as_secs()
        );
        Err(Failure::new(FailureClass::TimedOut, &step.name, message))
    }

    async fn branch(
        &mut self,
        phase: Phase,
        index: usize,
        total: usize,
        step: &Step,
        arms: &[Arm],
    ) -> Result<(), Failure> {
        let running = self.begin(phase, index, total, &step.name);
        let chosen = self.choose_arm(step, arms).await;
        let number = self.end(running, chosen)?;
        for inner in arms.get(number).map(|arm| arm.steps.as_slice()).unwrap_or_default() {
            self.run_numbered(phase, index, total, inner).await?;
        }
        Ok(())
    }

    async fn choose_arm(&self, step: &Step, arms: &[Arm]) -> Result<(usize, String), Failure> {
        let conditions = arms
            .iter()
            .map(|arm| self.resolve_condition(&step.name, &arm.when))
            .collect::<Result<Vec<_>, _>>()?;
        let seen = self.page.wait(&conditions, step.deadline()).await;
        let seen = seen.map_err(|error| self.failure(&step.name, None, error))?;
        let note = conditions.get(seen.index).map(ToString::to_string).unwrap_or_default();
        Ok((seen.index, note))
    }

    /// Does the step's one action, then waits for what it expects. Returns a note on what happened.
    async fn act(&mut self, step: &Step) -> Result<String, Failure> {
        let name = step.name.as_str();
        let until = Instant::now() + step.deadline();
        if let Some(path) = &step.goto {
            let path = path.render(&self.values).map_err(|missing| unset(name, None, &missing))?;
            self.open(name, &path).await?;
            return self.expect(name, step.expect.as_ref(), until).await.map(|()| String::new());
        }
        self.fresh = None;
        let note = if let Some(overlays) = &step.dismiss {
            self.dismiss(name, overlays, until).await?
        } else if let Some(fill) = &step.fill {
            self.fill(name, fill, step.optional, until).await?
        } else if let Some(select) = &step.select {
            self.select(name, select, until).await?
        } else if let Some(pick) = &step.pick {
            self.pick(name, pick, until).await?
        } else if let Some(typeahead) = &step.typeahead {
            self.typeahead(name, typeahead, until).await?
        } else if let Some(set) = &step.set {
            self.set(name, set, until).await?
        } else if let Some(untick) = &step.untick {
            self.untick(name, untick, until).await?
        } else if let Some(upload) = &step.upload {
            self.upload(name, upload, until).await?
        } else if let Some(target) = &step.click {
            let target = self.resolve_target(name, None, target)?;
            let clicked = self.page.click(&target, left(until)).await;
            note_of(&target, &clicked.map_err(|error| self.failure(name, None, error))?)
        } else if let Some(advance) = &step.advance {
            return self.advance(name, advance, step.expect.as_ref(), until).await;
        } else {
            String::new()
        };
        self.expect(name, step.expect.as_ref(), until).await?;
        Ok(note)
    }

    /// Loads a path of the site, unless the session has only just come to it.
    pub(super) async fn open(&mut self, step: &str, path: &str) -> Result<(), Failure> {
        let site = &self.input.site_url;
        let url = site.join(path).ok().filter(|url| url.origin() == site.origin()).ok_or_else(|| {
            let message =
                format!("{path:?} leads away from {site}; the recipe may only stay on the account's site");
            Failure::new(FailureClass::Internal, step, message)
        })?;
        if let Some((at, when)) = &self.fresh
            && at == url.as_str()
            && when.elapsed() < FRESH
        {
            return Ok(());
        }
        self.page.open(url.as_str()).await.map_err(|error| self.failure(step, None, error))?;
        self.fresh = Some((url.into(), Instant::now()));
        Ok(())
    }

    pub(super) async fn expect(
        &self,
        step: &str,
        condition: Option<&Condition>,
        until: Instant,
    ) -> Result<(), Failure> {
        let Some(condition) = condition else { return Ok(()) };
        let condition = self.resolve_condition(step, condition)?;
        match self.page.wait(&[condition], left(until)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(step, None, error)),
        }
    }

    async fn dismiss(&self, step: &str, overlays: &[Overlay], until: Instant) -> Result<String, Failure> {
        let whens = overlays
            .iter()
            .map(|overlay| self.resolve_target(step, None, &overlay.when))
            .collect::<Result<Vec<_>, _>>()?;
        let there = self.page.read(&whens).await.map_err(|error| self.failure(step, None, error))?;
        let mut closed = Vec::new();
        for ((overlay, when), _) in
            overlays.iter().zip(&whens).zip(there).filter(|(_, control)| control.is_some())
        {
            let click = self.resolve_target(step, None, &overlay.click)?;
            match self.page.click(&click, left(until).min(ENABLE)).await {
                // It may have closed by itself meanwhile.
                Ok(_) | Err(PageError::Missing { .. }) => closed.push(when.to_string()),
                Err(error) => return Err(self.failure(step, None, error)),
            }
        }
        Ok(if closed.is_empty() { String::new() } else { format!("clicked {}", closed.join(", ")) })
    }

    async fn fill(
        &mut self,
        step: &str,
        fill: &Fill,
        optional: bool,
        until: Instant,
    ) -> Result<String, Failure> {
        let field = Some(fill.field.as_str());
        let target = self.resolve_target(step, field, &fill.target)?;
        let value = fill.value.render(&self.values).map_err(|missing| unset(step, field, &missing))?;
        if fill.secret {
            let value = zeroize::Zeroizing::new(value);
            return self.type_secret(step, fill, &target, &value, until).await;
        }
        let mut control = match self.page.fill(&target, &value, fill.commit, left(until)).await {
            Ok(control) => control,
            Err(PageError::Missing { .. }) if optional => {
                self.absent_fields.insert(fill.field.clone());
                return Ok("not in this form".to_owned());
            }
            Err(error) => return Err(self.failure(step, field, error)),
        };
        let currency = self.currency();
        if let Some(currency) =
            currency.filter(|_| matches!(fill.compare, Compare::Price | Compare::WholePrice))
            && !normal::sign_fits(&control.value, currency)
        {
            let message = format!(
                "the account's prices on {} are shown as {}; the listing is in {currency}: use the account's currency",
                self.site.pack.title,
                normal::line(&control.value)
            );
            return Err(Failure::new(FailureClass::ListingRejected, step, message).in_field(&fill.field));
        }
        let mut typed = "";
        if !fill.compare.same(&control.value, &value, currency)
            && value.chars().all(|c| u32::from(c) <= 0xffff)
        {
            // The page does not listen to scripted input: type as a person would.
            typed = ", typed key by key";
            let keys = self.page.type_keys(&target, &value, left(until)).await;
            control = keys.map_err(|error| self.failure(step, field, error))?;
        }
        if !fill.compare.same(&control.value, &value, currency) {
            return Err(not_kept(step, &fill.field, &value, &control.value));
        }
        let note = note_of(&target, &control) + typed;
        let hold = Hold::Same { wanted: value, compare: fill.compare };
        self.keep(&fill.field, target, hold, &control);
        Ok(note)
    }

    async fn select(&mut self, step: &str, select: &Select, until: Instant) -> Result<String, Failure> {
        let field = Some(select.field.as_str());
        let target = self.resolve_target(step, field, &select.target)?;
        let option = self.resolve_text(step, field, &select.option)?;
        let control = self.page.select(&target, &option, left(until)).await;
        let control = control.map_err(|error| self.failure(step, field, error))?;
        if !option.fits(&control.value) {
            return Err(not_kept(step, &select.field, &option.to_string(), &control.value));
        }
        let note = note_of(&target, &control);
        self.keep(&select.field, target, Hold::Shows(option), &control);
        Ok(note)
    }

    async fn pick(&mut self, step: &str, pick: &Pick, until: Instant) -> Result<String, Failure> {
        let field = Some(pick.field.as_str());
        let target = self.resolve_target(step, field, &pick.target)?;
        let list = self.resolve_target(step, field, &pick.list)?;
        let option = self.resolve_target(step, field, &pick.option)?.inside(&list);
        let shows = self.resolve_text(step, field, &pick.shows)?;
        let fail = |error| self.failure(step, field, error);
        self.page.click(&target, left(until)).await.map_err(fail)?;
        if let Err(error) = self.page.click(&option, left(until).min(ENABLE)).await {
            return Err(match error {
                PageError::Missing { .. } | PageError::Ambiguous { .. } => {
                    self.no_option(step, &pick.field, &option).await
                }
                other => fail(other),
            });
        }
        self.must_show(step, &pick.field, target, shows, until).await
    }

    async fn typeahead(
        &mut self,
        step: &str,
        typeahead: &Typeahead,
        until: Instant,
    ) -> Result<String, Failure> {
        let field = Some(typeahead.field.as_str());
        let target = self.resolve_target(step, field, &typeahead.target)?;
        let option = self.resolve_target(step, field, &typeahead.option)?;
        let shows = self.resolve_text(step, field, &typeahead.shows)?;
        let value = typeahead.value.render(&self.values).map_err(|missing| unset(step, field, &missing))?;
        let fail = |error| self.failure(step, field, error);
        self.page.type_keys(&target, &value, left(until)).await.map_err(fail)?;
        if let Err(error) = self.page.click(&option, left(until).min(ENABLE)).await {
            return Err(match error {
                PageError::Missing { .. } | PageError::Ambiguous { .. } => {
                    self.no_option(step, &typeahead.field, &option).await
                }
                other => fail(other),
            });
        }
        if let Some(committed) = &typeahead.committed {
            let committed = self.resolve_condition(step, committed)?;
            self.page.wait(&[committed], left(until)).await.map_err(|error| match error {
                PageError::NotReached { .. } => {
                    not_kept(step, &typeahead.field, &value, "a value it did not accept")
                }
                other => self.failure(step, field, other),
            })?;
        }
        self.must_show(step, &typeahead.field, target, shows, until).await
    }

    /// Nothing in the list fits: says what the list has.
    async fn no_option(&self, step: &str, field: &str, option: &Target) -> Failure {
        let mut any = option.clone();
        for locator in &mut any.any {
            locator.name = None;
            locator.having = None;
        }
        any.any.retain(|locator| locator.role.is_some());
        let column = Column { name: "text".into(), target: None, attribute: None, pattern: None };
        let rows =
            self.page.extract(&Extraction { rows: any, columns: vec![column] }).await.unwrap_or_default();
        let available: Vec<String> =
            rows.into_iter().filter_map(|mut row| row.remove("text")).take(12).collect();
        if available.is_empty() {
            let message =
                format!("{} offers nothing for this {field}; change the listing", self.site.pack.title);
            return Failure::new(FailureClass::ListingRejected, step, message).in_field(field);
        }
        self.failure(step, Some(field), PageError::NoOption { available })
    }

    /// Waits until a control shows its choice, and keeps it for later looks.
    async fn must_show(
        &mut self,
        step: &str,
        field: &str,
        target: Target,
        shows: crate::locate::TextMatch,
        until: Instant,
    ) -> Result<String, Failure> {
        let wanted = Condition::visible(target.showing(&shows));
        match self.page.wait(&[wanted], left(until).min(ENABLE)).await {
            Ok(seen) => {
                let control = Control { value: seen.text, ..Control::default() };
                self.keep(field, target, Hold::Shows(shows), &control);
                Ok(String::new())
            }
            Err(PageError::NotReached { .. }) => {
                let read = self.page.read(&[target]).await.unwrap_or_default();
                let control = read.into_iter().next().flatten().unwrap_or_default();
                Err(not_kept(step, field, &shows.to_string(), &normal::line(&control.value)))
            }
            Err(error) => Err(self.failure(step, Some(field), error)),
        }
    }

    async fn set(&mut self, step: &str, set: &Set, until: Instant) -> Result<String, Failure> {
        let target = self.resolve_target(step, Some(&set.field), &set.target)?;
        let control = self.page.set_checked(&target, set.to, left(until)).await;
        let control = control.map_err(|error| self.failure(step, Some(&set.field), error))?;
        if control.checked != Some(set.to) {
            let word = |on: bool| if on { "on" } else { "off" };
            return Err(not_kept(step, &set.field, word(set.to), word(!set.to)));
        }
        let note = note_of(&target, &control);
        self.keep(&set.field, target, Hold::Checked(set.to), &control);
        Ok(note)
    }

    /// Unticks by name what the form had ticked, and keeps watch that nothing is.
    async fn untick(&mut self, step: &str, untick: &Untick, until: Instant) -> Result<String, Failure> {
        let field = Some(untick.field.as_str());
        let boxes = self.resolve_target(step, field, &untick.target)?;
        let ticked = boxes.checked(true);
        let column = |name: &str, attribute: Option<&str>| Column {
            name: name.to_owned(),
            target: None,
            attribute: attribute.map(str::to_owned),
            pattern: None,
        };
        let columns = vec![column("name", Some("aria-label")), column("text", None)];
        let rows = self.page.extract(&Extraction { rows: ticked.clone(), columns }).await;
        let rows = rows.map_err(|error| self.failure(step, field, error))?;
        let mut names = Vec::with_capacity(rows.len());
        for mut row in rows {
            let name = row.remove("name").or_else(|| row.remove("text")).unwrap_or_default();
            let control = self.page.set_checked(&boxes.named(&name), false, left(until)).await;
            if control.map_err(|error| self.failure(step, field, error))?.checked != Some(false) {
                return Err(not_kept(step, &untick.field, "off", &format!("{name} on")));
            }
            names.push(name);
        }
        self.keep(&untick.field, ticked, Hold::NoneTicked, &Control::default());
        Ok(if names.is_empty() { String::new() } else { format!("unticked {}", names.join(", ")) })
    }

    async fn advance(
        &mut self,
        step: &str,
        advance: &Advance,
        expect: Option<&Condition>,
        until: Instant,
    ) -> Result<String, Failure> {
        let mended = self.hold_fields(step, until).await?;
        let target = self.resolve_target(step, None, &advance.target)?;
        let asking = self.signing_in;
        let before = if asking { self.form_errors(step, advance.errors.as_ref()).await } else { Vec::new() };
        match self.page.click(&target, left(until).min(ENABLE)).await {
            Ok(_) => {}
            Err(error @ PageError::Disabled { .. }) => {
                let errors = self.form_errors(step, advance.errors.as_ref()).await;
                return Err(self.complaint(step, &errors).unwrap_or_else(|| self.failure(step, None, error)));
            }
            Err(error) => return Err(self.failure(step, None, error)),
        }
        if let Some(expect) = expect.filter(|_| asking) {
            self.expect_signed_in(step, advance, expect, &before, until).await?;
        } else if let Err(failure) = self.expect(step, expect, until).await {
            let errors = self.form_errors(step, advance.errors.as_ref()).await;
            let unknown = failure.class == FailureClass::PageUnknown;
            return Err(self.complaint(step, &errors).filter(|_| unknown).unwrap_or(failure));
        }
        for filled in self.open_fields.drain(..) {
            self.left_fields.push((filled.field, filled.read));
        }
        Ok(mended)
    }

    /// Remembers a filled control for the looks before each way forward.
    pub(super) fn keep(&mut self, field: &str, target: Target, hold: Hold, control: &Control) {
        let read = hold.normal(control, self.currency());
        self.open_fields.retain(|filled| filled.field != field);
        self.open_fields.push(Filled { field: field.to_owned(), target, hold, read });
    }
}

/// The time left until a deadline.
pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// Says so when it was not the preferred locator that matched.
fn note_of(target: &Target, control: &Control) -> String {
    match (control.matched, target.any.get(control.matched)) {
        (0, _) | (_, None) => String::new(),
        (_, Some(locator)) => format!("found by its fallback, {locator}"),
    }
}
