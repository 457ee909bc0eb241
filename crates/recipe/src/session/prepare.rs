//! Filling the form, looking once more, and the one click.

use std::time::Duration;

use tokio::time::Instant;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::money::Currency;

use super::failure::{not_kept, until_said};
use super::steps::left;
use super::{Clicked, Filled, Hold, Phase, Prepared, Session, fingerprint};
use crate::locate::Target;
use crate::normal;
use crate::page::{Commit, Control, FormError, PageError, Press};
use crate::schema::{Fence, Job};

/// How long the fence may take to be ready.
const READY: Duration = Duration::from_secs(10);
/// Name of the step that looks at the form as a whole.
const CHECK_FORM: &str = "Check the filled form";

impl Session {
    /// Fills the form and stops before the fence. Can be repeated.
    pub async fn prepare(&mut self) -> Result<Prepared, Failure> {
        let recipe = self.recipe(Job::Publish)?;
        if self.input.listing.is_none() {
            return Err(Failure::new(FailureClass::Internal, "prepare", "there is no listing to publish"));
        }
        self.open_fields.clear();
        self.left_fields.clear();
        self.absent_fields.clear();
        self.prepared = None;
        self.watch(&[])?;
        let steps = &recipe.body.steps;
        let total = steps.len() + 1;
        self.run_steps(Phase::Prepare, steps, total).await?;
        let step = self.begin(Phase::Prepare, total, total, CHECK_FORM);
        let outcome = self.check_form().await;
        let prepared = self.end(step, outcome)?;
        self.prepared = Some(prepared.clone());
        Ok(prepared)
    }

    async fn check_form(&mut self) -> Result<(Prepared, String), Failure> {
        let note = self.hold_fields(CHECK_FORM, Instant::now() + READY).await?;
        let fields = self.read_fields();
        Ok((Prepared { fingerprint: fingerprint(&fields), fields }, note))
    }

    /// Everything that was read back, on earlier pages of the form and on this one.
    fn read_fields(&self) -> Vec<(String, String)> {
        let open = self.open_fields.iter().map(|filled| (filled.field.clone(), filled.read.clone()));
        self.left_fields.iter().cloned().chain(open).collect()
    }

    /// Looks at the form once more, right before the click: the fence's button is there and enabled, nothing forbids it,
    /// and the fields show what was read back when the form was prepared.
    pub async fn revalidate(&mut self) -> Result<(), Failure> {
        let recipe = self.recipe(Job::Publish)?;
        let step = self.begin(Phase::Revalidate, 1, 1, "Look once more before the click");
        let outcome = match &recipe.body.fence {
            Some(fence) => self.look_at_fence(fence).await,
            None => Err(no_fence()),
        };
        self.end(step, outcome.map(|()| ((), String::new())))
    }

    async fn look_at_fence(&mut self, fence: &Fence) -> Result<(), Failure> {
        let name = fence.name.as_str();
        let Some(prepared) = self.prepared.clone() else {
            return Err(Failure::new(
                FailureClass::Internal,
                name,
                "the form was not prepared in this session",
            ));
        };
        let mut targets = vec![self.resolve_target(name, None, &fence.target)?];
        targets.extend(self.open_fields.iter().map(|filled| filled.target.clone()));
        let fields = targets.len();
        for condition in &fence.blocked {
            let visible = condition.visible.as_ref().map(|target| self.resolve_target(name, None, target));
            targets.extend(visible.transpose()?);
        }
        let read = self.page.read(&targets).await.map_err(|error| self.failure(name, None, error))?;
        match read.first() {
            Some(Some(button)) if button.enabled && button.count == 1 => {}
            Some(Some(button)) if button.enabled => {
                let error = PageError::Ambiguous {
                    looked_for: fence.target.to_string(),
                    count: button.count,
                    at: "with the filled form".to_owned(),
                };
                return Err(self.failure(name, None, error));
            }
            Some(Some(_)) => return Err(self.disabled_fence(fence).await),
            _ => {
                let at = "with the filled form".to_owned();
                return Err(self.failure(
                    name,
                    None,
                    PageError::Missing { looked_for: fence.target.to_string(), at },
                ));
            }
        }
        if let Some(Some(block)) = read.iter().skip(fields).find(|control| control.is_some()) {
            let message = format!("{} says: {}", self.site.pack.title, normal::line(&block.value));
            return Err(until_said(Failure::new(FailureClass::LimitReached, name, message), &block.value));
        }
        let currency = self.currency();
        for (filled, control) in self.open_fields.iter_mut().zip(read.into_iter().skip(1)) {
            filled.read = filled.hold.normal(&control.unwrap_or_default(), currency);
        }
        let now = self.read_fields();
        if fingerprint(&now) == prepared.fingerprint {
            return Ok(());
        }
        let changed = prepared.fields.iter().zip(&now).find(|(then, now)| then != now);
        let (then, now) = changed.unwrap_or((&prepared.fields[0], &now[0]));
        Err(not_kept(name, &then.0, &then.1, &now.1))
    }

    async fn disabled_fence(&self, fence: &Fence) -> Failure {
        let errors = self.form_errors(&fence.name, fence.errors.as_ref()).await;
        self.complaint(&fence.name, &errors).unwrap_or_else(|| {
            let error = PageError::Disabled {
                looked_for: fence.target.to_string(),
                at: "with the filled form".to_owned(),
            };
            self.failure(&fence.name, None, error)
        })
    }

    /// The one click that cannot be undone. Call it with a journalled permit in hand, after [`Session::revalidate`].
    ///
    /// Never repeats itself: a second call answers `NotClicked` without touching the page.
    pub async fn commit(&mut self) -> Clicked {
        let name = "Publish";
        let step = self.begin(Phase::Commit, 1, 1, name);
        let clicked = self.click_once().await;
        let outcome = match &clicked {
            Clicked::Sent => Ok(((), String::new())),
            Clicked::NotClicked(failure) => Err(failure.clone()),
        };
        // The observer is told; the click's own outcome goes to the caller.
        let _told = self.end(step, outcome);
        clicked
    }

    async fn click_once(&mut self) -> Clicked {
        let refuse =
            |message: &str| Clicked::NotClicked(Failure::new(FailureClass::Internal, "Publish", message));
        if self.committed {
            return refuse("this session has clicked already; look for the outcome instead");
        }
        let Ok(recipe) = self.recipe(Job::Publish) else { return refuse("there is no publish recipe") };
        let Some(fence) = &recipe.body.fence else { return Clicked::NotClicked(no_fence()) };
        let target = match self.resolve_target(&fence.name, None, &fence.target) {
            Ok(target) => target,
            Err(failure) => return Clicked::NotClicked(failure),
        };
        // Set before the click: a caller that drops this future half-way must not click again.
        self.committed = true;
        self.fresh = None;
        match self.page.press_once(&target).await {
            Press::Sent => Clicked::Sent,
            Press::NotSent(error) => Clicked::NotClicked(self.failure(&fence.name, None, error)),
        }
    }

    /// Re-reads every field of the form's present page. A field that a re-render has emptied is filled once more; one
    /// that still differs fails the step. Returns a note on what was mended.
    pub(super) async fn hold_fields(&mut self, step: &str, until: Instant) -> Result<String, Failure> {
        let mut mended = Vec::new();
        for round in 0..2 {
            let targets: Vec<Target> = self.open_fields.iter().map(|filled| filled.target.clone()).collect();
            if targets.is_empty() {
                break;
            }
            let read = self.page.read(&targets).await.map_err(|error| self.failure(step, None, error))?;
            let currency = self.currency();
            let mut lost = Vec::new();
            for (filled, control) in self.open_fields.iter_mut().zip(read) {
                // A control that is gone was taken back by the form: its value cannot count.
                let control = control.unwrap_or_default();
                if filled.hold.holds(&control, currency) {
                    filled.read = filled.hold.normal(&control, currency);
                } else {
                    lost.push((filled.clone(), control));
                }
            }
            let Some((first, control)) = lost.first() else { break };
            if round == 1 {
                return Err(not_kept(step, &first.field, &first.hold.wanted(), &control.value));
            }
            for (filled, control) in &lost {
                self.refill(step, filled, control, until).await?;
                mended.push(filled.field.clone());
            }
        }
        Ok(if mended.is_empty() { String::new() } else { format!("filled again: {}", mended.join(", ")) })
    }

    async fn refill(
        &self,
        step: &str,
        filled: &Filled,
        control: &Control,
        until: Instant,
    ) -> Result<(), Failure> {
        let again = match &filled.hold {
            Hold::Same { wanted, .. } if filled.field != "photos" => {
                self.page.fill(&filled.target, wanted, Commit::Blur, left(until)).await
            }
            Hold::Checked(wanted) => self.page.set_checked(&filled.target, *wanted, left(until)).await,
            _ => return Err(not_kept(step, &filled.field, &filled.hold.wanted(), &control.value)),
        };
        again.map(|_| ()).map_err(|error| self.failure(step, Some(&filled.field), error))
    }

    /// What the form complains about; nothing when it cannot be asked.
    pub(super) async fn form_errors(&self, step: &str, also: Option<&Target>) -> Vec<FormError> {
        let targets: Vec<Target> = self.open_fields.iter().map(|filled| filled.target.clone()).collect();
        let also = also.and_then(|target| self.resolve_target(step, None, target).ok());
        self.page.form_errors(&targets, also.as_ref()).await.unwrap_or_default()
    }
}

fn no_fence() -> Failure {
    Failure::new(FailureClass::Internal, "Publish", "the recipe has no fence")
}

// === impl Hold ===

impl Hold {
    /// Whether the control still shows what it should.
    fn holds(&self, control: &Control, currency: Option<Currency>) -> bool {
        match self {
            Self::Same { wanted, compare } => compare.same(&control.value, wanted, currency),
            Self::Shows(shows) => shows.fits(&control.value),
            Self::Checked(wanted) => control.checked == Some(*wanted),
            Self::Count(wanted) => control.count == *wanted,
            Self::NoneTicked => control.count == 0,
        }
    }

    /// What the control shows, in the form that goes into the fingerprint.
    pub(super) fn normal(&self, control: &Control, currency: Option<Currency>) -> String {
        match self {
            Self::Same { compare, .. } => compare.normal(&control.value, currency),
            Self::Shows(_) => normal::line(&control.value),
            Self::Checked(_) => {
                control.checked.map(|on| if on { "on" } else { "off" }).unwrap_or_default().to_owned()
            }
            Self::Count(_) | Self::NoneTicked => control.count.to_string(),
        }
    }

    /// What the control should show, for people.
    fn wanted(&self) -> String {
        match self {
            Self::Same { wanted, .. } => wanted.clone(),
            Self::Shows(shows) => shows.to_string(),
            Self::Checked(wanted) => if *wanted { "on" } else { "off" }.to_owned(),
            Self::Count(wanted) => format!("{wanted} photos"),
            Self::NoneTicked => "nothing ticked".to_owned(),
        }
    }
}
