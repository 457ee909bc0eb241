//! A posting on its way, step by step: drawn over itself on a terminal, a line per event elsewhere.
//!
//! [`Progress`] finds what is new in a snapshot (pure); [`View`] shows it.

use std::collections::HashSet;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tradepost_domain::posting::State;

use super::{Output, Tone, text};
use crate::args::Format;
use crate::model::{Phase, Posting, Step, StepStatus, Time};

/// What is new.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// The posting's state, or what it waits for.
    State { state: State, waiting_for: String, at: Option<Time> },
    /// A further run began.
    Run { number: usize },
    /// A step began or ended.
    Step(Step),
}

/// What has been told already.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Option<(State, String)>,
    seen: HashSet<(String, i64, u32)>,
    runs: Vec<(String, i64)>,
}

/// Shows news of one posting.
#[derive(Debug)]
pub(crate) struct View {
    output: Output,
    kind: Kind,
    phase: Option<Phase>,
    /// Whether the loss of the connection has been told and not yet its return.
    lost: bool,
}

#[derive(Debug)]
enum Kind {
    /// A spinner at the bottom, ended steps above it.
    Live(ProgressBar),
    Lines,
    JsonLines,
    Silent,
}

impl Progress {
    /// What `posting` and the `steps` of its job tell that was not told before.
    pub(crate) fn news(&mut self, posting: &Posting, steps: &[(String, Vec<Step>)]) -> Vec<News> {
        let mut news = Vec::new();
        for (job, steps) in steps {
            for step in steps {
                if !self.seen.insert((job.clone(), step.run_lease, step.seq)) {
                    continue;
                }
                let run = (job.clone(), step.run_lease);
                if !self.runs.contains(&run) {
                    self.runs.push(run);
                    if self.runs.len() > 1 {
                        news.push(News::Run { number: self.runs.len() });
                    }
                }
                news.push(News::Step(step.clone()));
            }
        }
        let state = (posting.state, posting.waiting_for.clone());
        if self.state.as_ref() != Some(&state) {
            let told = News::State { state: state.0, waiting_for: state.1.clone(), at: posting.updated_at };
            self.state = Some(state);
            // A posting begins before its steps and settles after them.
            let first = self.seen.is_empty() || posting.state == State::Running;
            news.insert(if first { 0 } else { news.len() }, told);
        }
        news
    }
}

impl View {
    pub(crate) fn new(output: &Output) -> Self {
        let kind = match output.format {
            Format::Jsonl => Kind::JsonLines,
            _ if output.quiet => Kind::Silent,
            _ if output.is_live() => Kind::Live(spinner()),
            _ => Kind::Lines,
        };
        Self { output: output.clone(), kind, phase: None, lost: false }
    }

    pub(crate) fn show(&mut self, news: &[News]) -> crate::error::Result<()> {
        for item in news {
            match &self.kind {
                Kind::Live(_) => self.draw(item),
                Kind::Lines => self.line(item),
                Kind::JsonLines => {
                    if let News::Step(step) = item {
                        self.output.json_line(&serde_json::json!({ "step": step }))?;
                    }
                }
                Kind::Silent => {}
            }
        }
        Ok(())
    }

    /// The connection is gone; told once until it is back.
    pub(crate) fn lost(&mut self) {
        if !self.lost {
            self.lost = true;
            let warning = self.output.message_tone("warning:", Tone::Warning);
            self.say(&format!("{warning} lost the controller; the posting goes on, trying to come back"));
        }
    }

    /// The connection is back.
    pub(crate) fn found(&mut self) {
        if self.lost {
            self.lost = false;
            self.say("The controller is back.");
        }
    }

    /// Ends the drawing.
    pub(crate) fn end(&self) {
        if let Kind::Live(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.kind {
            Kind::Live(bar) => bar.println(text),
            _ => self.output.message(text),
        }
    }

    fn draw(&mut self, news: &News) {
        let Kind::Live(bar) = &self.kind else { return };
        let paint = |text: &str, tone| self.output.message_tone(text, tone);
        match news {
            News::State { state, waiting_for, .. } if *state == State::Running => {
                bar.set_message(if waiting_for.is_empty() {
                    "running".to_owned()
                } else {
                    waiting_for.clone()
                });
            }
            News::State { state, waiting_for, .. } => {
                let waiting =
                    if waiting_for.is_empty() { String::new() } else { format!(" · {waiting_for}") };
                bar.set_message(format!("{}{waiting}", text::words(state.name())));
            }
            News::Run { number } => {
                bar.println(paint(&format!("Run {number}"), Tone::Warning));
                self.phase = None;
            }
            News::Step(step) => {
                if self.phase != Some(step.phase) {
                    self.phase = Some(step.phase);
                    bar.println(paint(step.phase.title(), Tone::Strong));
                }
                let (mark, tone) = match step.status {
                    StepStatus::Started => {
                        bar.set_message(format!("{}{}", place(step), text::words(&step.name)));
                        return;
                    }
                    StepStatus::Succeeded => ("✓", Tone::Good),
                    StepStatus::Failed => ("✗", Tone::Bad),
                    StepStatus::Skipped => ("–", Tone::Faint),
                };
                let took = step.duration_ms.map(text::millis).unwrap_or_default();
                let detail = match step.status {
                    StepStatus::Failed => step.detail.clone(),
                    StepStatus::Skipped if step.detail.is_empty() => "skipped".to_owned(),
                    _ => paint(&text::short(&step.detail, 60), Tone::Faint),
                };
                let name = text::words(&step.name);
                let line =
                    format!("  {} {:>5} {name:<24} {took:>6}  {detail}", paint(mark, tone), place(step));
                bar.println(line.trim_end());
            }
        }
    }

    fn line(&self, news: &News) {
        match news {
            News::State { state, waiting_for, at } => {
                let waiting = if waiting_for.is_empty() { String::new() } else { format!(": {waiting_for}") };
                let state = text::words(state.name());
                self.output.message(&format!("{} posting {state}{waiting}", text::clock(*at)));
            }
            News::Run { number } => self.output.message(&format!("{} run {number}", text::clock(None))),
            News::Step(step) if step.status == StepStatus::Started => {}
            News::Step(step) => {
                let took = step.duration_ms.map(|ms| format!(" in {}", text::millis(ms))).unwrap_or_default();
                let detail = if step.detail.is_empty() {
                    String::new()
                } else {
                    format!(": {}", text::short(&step.detail, 200))
                };
                self.output.message(&format!(
                    "{} {} {}{} {}{took}{detail}",
                    text::clock(step.at),
                    step.phase.name(),
                    place(step),
                    step.name,
                    step.status.name(),
                ));
            }
        }
    }
}

/// The step's place in its phase: `3/9 `.
fn place(step: &Step) -> String {
    match (step.index, step.total) {
        (0, _) | (_, 0) => String::new(),
        (index, total) => format!("{index}/{total} "),
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg}") {
        bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posting(state: State) -> Posting {
        Posting {
            id: String::new(),
            listing_id: String::new(),
            account_id: String::new(),
            generation: 1,
            state,
            job_id: "job".into(),
            item: None,
            failure: None,
            created_at: None,
            updated_at: None,
            waiting_for: String::new(),
        }
    }

    fn step(run_lease: i64, seq: u32) -> Step {
        Step {
            run_lease,
            seq,
            phase: Phase::Prepare,
            name: "price".into(),
            status: StepStatus::Succeeded,
            detail: String::new(),
            duration_ms: Some(3),
            index: 1,
            total: 2,
            at: None,
        }
    }

    #[test]
    fn each_thing_is_told_once_and_the_end_comes_last() {
        let mut progress = Progress::default();
        let first = progress.news(&posting(State::Running), &[("job".into(), vec![step(1, 1)])]);
        assert!(matches!(first.as_slice(), [News::State { .. }, News::Step(_)]), "{first:?}");
        assert!(progress.news(&posting(State::Running), &[("job".into(), vec![step(1, 1)])]).is_empty());
        let steps = vec![step(1, 1), step(2, 1)];
        let last = progress.news(&posting(State::Published), &[("job".into(), steps)]);
        assert!(
            matches!(last.as_slice(), [News::Run { number: 2 }, News::Step(_), News::State { .. }]),
            "{last:?}"
        );
    }
}
