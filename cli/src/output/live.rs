//! A posting on its way, step by step: drawn over itself on a terminal, a line per event elsewhere.
//!
//! [`Progress`] finds what is new in a snapshot (pure); [`View`] shows it.

use std::collections::HashSet;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Output, Tone, text};
use crate::args::Format;
use crate::model::{Phase, Step, StepStatus, Time};

/// Columns of a step's name.
const NAME_WIDTH: usize = 32;

/// What is new.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// The state, or what is waited for.
    State {
        standing: Standing,
        /// Told before, but for the time that is left.
        countdown: bool,
    },
    /// A further run began.
    Run { number: usize },
    /// A step began or ended.
    Step(Step),
}

/// How the watched thing stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// What it is: `posting`, or a kind of job.
    pub(crate) subject: &'static str,
    pub(crate) state: &'static str,
    /// Empty when it waits for nothing.
    pub(crate) waiting_for: String,
    pub(crate) at: Option<Time>,
    pub(crate) is_running: bool,
}

/// What has been told already.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Option<(&'static str, String)>,
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
    /// Counts `steps` as told: they belong to runs that ended before the watch.
    pub(crate) fn skip(&mut self, steps: &[(String, Vec<Step>)]) {
        drop(self.step_news(steps));
    }

    /// What `standing` and the `steps` of the jobs tell that was not told before.
    pub(crate) fn news(&mut self, standing: Standing, steps: &[(String, Vec<Step>)]) -> Vec<News> {
        let mut news = self.step_news(steps);
        let state = (standing.state, standing.waiting_for.clone());
        if self.state.as_ref() != Some(&state) {
            let countdown = self.state.as_ref().is_some_and(|(told, waiting_for)| {
                *told == state.0 && timeless(waiting_for) == timeless(&state.1)
            });
            self.state = Some(state);
            // A posting begins before its steps and settles after them.
            let first = self.seen.is_empty() || standing.is_running;
            news.insert(if first { 0 } else { news.len() }, News::State { standing, countdown });
        }
        news
    }

    fn step_news(&mut self, steps: &[(String, Vec<Step>)]) -> Vec<News> {
        let mut news = Vec::new();
        let mut steps: Vec<(&String, &Step)> =
            steps.iter().flat_map(|(job, steps)| steps.iter().map(move |step| (job, step))).collect();
        // Leases grow, so that a run's steps stay together and before those of the next run.
        steps.sort_by_key(|(_, step)| (step.run_lease, step.seq));
        for (job, step) in steps {
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
        news
    }
}

/// A text without the time it counts down: `next look in 29s`, `next look now`.
fn timeless(text: &str) -> String {
    let is_time = |word: &&str| {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        matches!(word, "in" | "now") || word.starts_with(|c: char| c.is_ascii_digit())
    };
    text.split_whitespace().filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ")
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
            self.say(&format!("{warning} lost the controller; the work goes on, trying to come back"));
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
            News::State { standing: Standing { state, waiting_for, is_running, .. }, .. } => {
                bar.set_message(match (waiting_for.as_str(), is_running) {
                    ("", _) => text::words(state),
                    (waiting_for, true) => waiting_for.to_owned(),
                    (waiting_for, false) => format!("{} · {waiting_for}", text::words(state)),
                });
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
                let name = text::short(&text::words(&step.name), NAME_WIDTH);
                let line = format!(
                    "  {} {:>6}{name:<NAME_WIDTH$} {took:>6}  {detail}",
                    paint(mark, tone),
                    place(step)
                );
                bar.println(line.trim_end());
            }
        }
    }

    fn line(&self, news: &News) {
        match news {
            News::State { countdown: true, .. } => {}
            News::State { standing, .. } => {
                let Standing { subject, state, waiting_for, at, .. } = standing;
                let waiting = if waiting_for.is_empty() { String::new() } else { format!(": {waiting_for}") };
                self.output.message(&format!(
                    "{} {subject} {}{waiting}",
                    text::clock(*at),
                    text::words(state)
                ));
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

    fn standing(state: &'static str, waiting_for: &str) -> Standing {
        let waiting_for = waiting_for.to_owned();
        Standing { subject: "posting", state, waiting_for, at: None, is_running: state == "running" }
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
        let running = || standing("running", "");
        let first = progress.news(running(), &[("job".into(), vec![step(1, 1)])]);
        assert!(matches!(first.as_slice(), [News::State { .. }, News::Step(_)]), "{first:?}");
        assert!(progress.news(running(), &[("job".into(), vec![step(1, 1)])]).is_empty());
        let steps = vec![step(1, 1), step(2, 1)];
        let last = progress.news(standing("published", ""), &[("job".into(), steps)]);
        assert!(
            matches!(last.as_slice(), [News::Run { number: 2 }, News::Step(_), News::State { .. }]),
            "{last:?}"
        );
    }

    #[test]
    fn steps_of_ended_runs_are_not_told_after_a_retry() {
        let mut progress = Progress::default();
        progress.skip(&[("job".into(), vec![step(1, 1)])]);
        let news = progress.news(standing("running", ""), &[("job".into(), vec![step(1, 1), step(2, 1)])]);
        assert!(
            matches!(news.as_slice(), [News::State { .. }, News::Run { number: 2 }, News::Step(_)]),
            "{news:?}"
        );
    }

    #[test]
    fn a_countdown_is_no_new_state() {
        let mut progress = Progress::default();
        let told = ["in 29s", "in 14s", "now", "when the agent \"pc\" is online"].map(|when| {
            let waiting_for = format!("finding out (next look {when}); do not post it by hand");
            let news = progress.news(standing("uncertain", &waiting_for), &[]);
            matches!(news.as_slice(), [News::State { countdown: false, .. }])
        });
        assert_eq!(told, [true, false, false, true]);
    }
}
