//! What a stream's frames mean. Pure: the task in [`super::connection`] does what the actions say.

use tradepost_domain::id::{JobId, RunLease};
use tradepost_store::Step;

use crate::service::run::{Outcome, Run};
use crate::service::stream::Greeting;

/// Steps kept together until they are stored in one write.
pub const BATCH: usize = 32;

/// One frame of an agent, checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The first frame.
    Hello(Greeting),
    /// The agent and these runs live.
    Heartbeat(Vec<Run>),
    /// The run is taken.
    Acknowledge(Run),
    /// The run is not taken now.
    Refuse(Run, String),
    /// A step began or ended.
    Step(Run, Step),
    /// The run's end.
    Ended(Run, Outcome),
}

/// What is to be done about a frame, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Record the stream, answer with its number, reconcile all runs, take part in dispatch.
    Attach(Greeting),
    /// Prolong leases and reconcile.
    Beat(Vec<Run>),
    /// Store that the run is taken.
    Acknowledge(Run),
    /// Store that the run is not taken.
    Refuse(Run, String),
    /// Store these steps.
    StoreSteps(Run, Vec<Step>),
    /// Store the run's end, then say so.
    End(Run, Outcome),
    /// End the stream: the agent does not keep to the protocol.
    Break(&'static str),
}

/// What a stream remembers.
#[derive(Debug, Default)]
pub struct State {
    greeted: bool,
    steps: Option<(Run, Vec<Step>)>,
}

/// Takes one frame.
pub fn on_frame(state: &mut State, frame: Frame) -> Vec<Action> {
    if let Frame::Hello(greeting) = frame {
        if state.greeted {
            return vec![Action::Break("a second Hello on one stream")];
        }
        state.greeted = true;
        return vec![Action::Attach(greeting)];
    }
    if !state.greeted {
        return vec![Action::Break("the first frame must be Hello")];
    }
    match frame {
        Frame::Hello(_) => Vec::new(),
        Frame::Heartbeat(runs) => then(state.take_steps(), Action::Beat(runs)),
        Frame::Acknowledge(run) => vec![Action::Acknowledge(run)],
        Frame::Refuse(run, reason) => vec![Action::Refuse(run, reason)],
        Frame::Step(run, step) => state.add_step(run, step),
        // A run's steps are stored before its end.
        Frame::Ended(run, outcome) => then(state.take_steps(), Action::End(run, outcome)),
    }
}

fn then(first: Option<Action>, second: Action) -> Vec<Action> {
    first.into_iter().chain([second]).collect()
}

impl State {
    /// Whether steps wait to be stored.
    pub fn has_steps(&self) -> bool {
        self.steps.is_some()
    }

    /// The action that stores the waiting steps.
    pub fn take_steps(&mut self) -> Option<Action> {
        self.steps.take().map(|(run, steps)| Action::StoreSteps(run, steps))
    }

    fn add_step(&mut self, run: (JobId, RunLease), step: Step) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.steps.as_ref().is_some_and(|(waiting, _)| *waiting != run) {
            actions.extend(self.take_steps());
        }
        let (_, steps) = self.steps.get_or_insert_with(|| (run, Vec::new()));
        steps.push(step);
        if steps.len() >= BATCH {
            actions.extend(self.take_steps());
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use tradepost_domain::id::BootId;
    use tradepost_store::StepStatus;
    use uuid::Uuid;

    use super::*;

    fn greeting() -> Greeting {
        Greeting {
            boot: BootId(Uuid::from_u128(1)),
            version: String::new(),
            platform: String::new(),
            runs: Vec::new(),
            slots: 1,
            join_counter: 0,
        }
    }

    fn run(job: u128) -> Run {
        (JobId(Uuid::from_u128(job)), RunLease(1))
    }

    fn step(seq: u32) -> Step {
        Step {
            seq,
            phase: "prepare".into(),
            name: "title".into(),
            status: StepStatus::Started,
            detail: String::new(),
            duration: None,
            index: 0,
            total: 0,
        }
    }

    #[test]
    fn a_stream_begins_with_one_hello() {
        let mut state = State::default();
        assert!(matches!(on_frame(&mut state, Frame::Heartbeat(Vec::new()))[..], [Action::Break(_)]));
        assert!(matches!(on_frame(&mut state, Frame::Hello(greeting()))[..], [Action::Attach(_)]));
        assert!(matches!(on_frame(&mut state, Frame::Hello(greeting()))[..], [Action::Break(_)]));
    }

    #[test]
    fn steps_are_stored_together_in_order_and_before_their_runs_end() {
        let mut state = State { greeted: true, ..State::default() };
        assert!(on_frame(&mut state, Frame::Step(run(1), step(1))).is_empty());
        let other = on_frame(&mut state, Frame::Step(run(2), step(1)));
        assert_eq!(other, vec![Action::StoreSteps(run(1), vec![step(1)])]);
        let end = on_frame(&mut state, Frame::Ended(run(2), Outcome::Succeeded));
        assert_eq!(
            end,
            vec![Action::StoreSteps(run(2), vec![step(1)]), Action::End(run(2), Outcome::Succeeded)]
        );
        let mut stored = 0;
        for seq in 0..u32::try_from(BATCH * 2).expect("small") {
            stored += on_frame(&mut state, Frame::Step(run(1), step(seq))).len();
        }
        assert_eq!((stored, state.has_steps()), (2, false));
    }
}
