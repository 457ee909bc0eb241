//! Steps as they happen: reports for the controller, spans for the trace.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Span;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_recipe::session::{Observer, Phase as RecipePhase, StepEvent, StepInfo};

use crate::session::frame::{Phase, RunKey, StepReport, StepStatus};
use crate::session::state::Local;

/// Tells the steps of one run.
pub(super) struct Reporter {
    run: RunKey,
    events: mpsc::Sender<Local>,
    seq: AtomicU32,
    login_follows: AtomicBool,
    run_span: Span,
    open: Mutex<OpenSpans>,
}

#[derive(Default)]
struct OpenSpans {
    phase: Option<(Phase, Span)>,
    step: Option<Span>,
}

/// A step's place.
struct Place<'a> {
    phase: Phase,
    name: &'a str,
    index: u32,
    total: u32,
}

impl Reporter {
    pub(super) fn new(run: RunKey, events: mpsc::Sender<Local>, run_span: Span) -> Self {
        let (seq, login_follows) = (AtomicU32::new(0), AtomicBool::new(false));
        Self { run, events, seq, login_follows, run_span, open: Mutex::default() }
    }

    /// From now on, that nobody is signed in ends a step as skipped: the run signs in by itself next.
    pub(super) fn login_follows(&self, follows: bool) {
        self.login_follows.store(follows, Ordering::Relaxed);
    }

    /// Does a step of the runner itself, and tells its beginning and end.
    pub(super) async fn step<T>(
        &self,
        phase: Phase,
        name: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let place = Place { phase, name, index: 0, total: 0 };
        self.started(&place);
        let begun = Instant::now();
        let done = work.await;
        self.finished(&place, begun.elapsed(), "", done.as_ref().err());
        done
    }

    fn started(&self, place: &Place<'_>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.step = None;
        let phase = match &open.phase {
            Some((phase, span)) if *phase == place.phase => span.clone(),
            _ => {
                let name = phase_name(place.phase);
                let span =
                    tracing::info_span!(parent: &self.run_span, "phase", otel.name = name, phase = name);
                open.phase = Some((place.phase, span.clone()));
                span
            }
        };
        open.step =
            Some(tracing::info_span!(parent: &phase, "step", otel.name = place.name, step = place.name));
        drop(open);
        self.send(place, StepStatus::Started, String::new(), None);
    }

    fn finished(&self, place: &Place<'_>, duration: Duration, note: &str, failure: Option<&Failure>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).step = None;
        let (status, detail) = match failure {
            None => (StepStatus::Succeeded, note.to_owned()),
            Some(failure)
                if failure.class == FailureClass::NeedsLogin
                    && self.login_follows.load(Ordering::Relaxed) =>
            {
                (StepStatus::Skipped, "nobody is signed in yet".to_owned())
            }
            Some(failure) => (StepStatus::Failed, failure.message.clone()),
        };
        self.send(place, status, detail, Some(duration));
    }

    fn send(&self, place: &Place<'_>, status: StepStatus, detail: String, duration: Option<Duration>) {
        let report = StepReport {
            seq: self.seq.fetch_add(1, Ordering::Relaxed) + 1,
            phase: place.phase,
            name: place.name.to_owned(),
            status,
            detail,
            duration,
            index: place.index,
            total: place.total,
        };
        // Reports are for people to follow; a run does not wait for them.
        if self.events.try_send(Local::Step(self.run, report)).is_err() {
            tracing::debug!("a step report was dropped: the session is behind");
        }
    }
}

impl Observer for Reporter {
    fn observe(&self, event: StepEvent) {
        match event {
            StepEvent::Started(step) => self.started(&place(&step)),
            StepEvent::Finished { step, duration, note, result } => {
                self.finished(&place(&step), duration, &note, result.as_ref().err());
            }
        }
    }
}

fn place(step: &StepInfo) -> Place<'_> {
    let phase = match step.phase {
        RecipePhase::LoginCheck | RecipePhase::Login => Phase::Start,
        RecipePhase::Baseline | RecipePhase::Prepare => Phase::Prepare,
        RecipePhase::Revalidate | RecipePhase::Commit => Phase::Commit,
        RecipePhase::Confirm | RecipePhase::ReadBack => Phase::Confirm,
        RecipePhase::Scan => Phase::Reconcile,
    };
    let number = |n: usize| u32::try_from(n).unwrap_or(0);
    Place { phase, name: &step.name, index: number(step.index), total: number(step.total) }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Start => "start",
        Phase::Prepare => "prepare",
        Phase::Commit => "commit",
        Phase::Confirm => "confirm",
        Phase::Reconcile => "reconcile",
    }
}
