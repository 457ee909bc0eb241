//! What a stream's frames mean. Pure: the task in [`super::connection`] does what the actions say.

use std::collections::HashMap;

use tradepost_domain::id::{JobId, RunLease};
use tradepost_store::Step;

use crate::service::recount::ToldPermit;
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
    /// Permits in the agent's journal, and whether these are the last.
    Recount(Vec<ToldPermit>, Part),
}

/// Whether more of a recount follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// More follows.
    More,
    /// This was all.
    Last,
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
    /// Store what the agent's journal tells; after the last part it may get work.
    Recount(Vec<ToldPermit>, Part),
    /// End the stream: the agent does not keep to the protocol.
    Break(&'static str),
}

/// What a stream remembers.
#[derive(Debug, Default)]
pub struct State {
    greeted: bool,
    /// In the order of the runs' first steps, so that a flush is in their order.
    steps: Vec<(Run, Vec<Step>)>,
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
        Frame::Recount(permits, part) => vec![Action::Recount(permits, part)],
        Frame::Step(run, step) => state.add_step(run, step),
        // A run's steps are stored before its end.
        Frame::Ended(run, outcome) => then(state.take_steps_of(run), Action::End(run, outcome)),
    }
}

fn then(first: impl IntoIterator<Item = Action>, last: Action) -> Vec<Action> {
    first.into_iter().chain([last]).collect()
}

/// Parts of `actions` that are done one after the other. Within a part, each list is of one run and is done in its order,
/// beside the other lists: runs do not wait for each other. What is about the stream as a whole is a part of its own.
pub fn schedule(actions: Vec<Action>) -> Vec<Vec<Vec<Action>>> {
    let mut parts: Vec<Vec<Vec<Action>>> = Vec::new();
    let mut of_runs: Vec<(Run, Vec<Action>)> = Vec::new();
    let close = |of_runs: &mut Vec<(Run, Vec<Action>)>, parts: &mut Vec<Vec<Vec<Action>>>| {
        if !of_runs.is_empty() {
            parts.push(std::mem::take(of_runs).into_iter().map(|(_, actions)| actions).collect());
        }
    };
    let mut places: HashMap<Run, usize> = HashMap::new();
    for action in actions {
        let Some(run) = action.run() else {
            close(&mut of_runs, &mut parts);
            places.clear();
            parts.push(vec![vec![action]]);
            continue;
        };
        let place = *places.entry(run).or_insert_with(|| {
            of_runs.push((run, Vec::new()));
            of_runs.len() - 1
        });
        if let Some((_, actions)) = of_runs.get_mut(place) {
            actions.push(action);
        }
    }
    close(&mut of_runs, &mut parts);
    parts
}

impl Action {
    /// The run it is about; none for what is about the stream.
    fn run(&self) -> Option<Run> {
        match self {
            Self::Acknowledge(run) | Self::Refuse(run, _) | Self::StoreSteps(run, _) | Self::End(run, _) => {
                Some(*run)
            }
            Self::Attach(_) | Self::Beat(_) | Self::Recount(..) | Self::Break(_) => None,
        }
    }
}

impl State {
    /// Whether steps wait to be stored.
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The actions that store the waiting steps.
    pub fn take_steps(&mut self) -> Vec<Action> {
        self.steps.drain(..).map(|(run, steps)| Action::StoreSteps(run, steps)).collect()
    }

    fn take_steps_of(&mut self, run: Run) -> Option<Action> {
        let place = self.steps.iter().position(|(waiting, _)| *waiting == run)?;
        let (run, steps) = self.steps.remove(place);
        Some(Action::StoreSteps(run, steps))
    }

    fn add_step(&mut self, run: (JobId, RunLease), step: Step) -> Vec<Action> {
        let place = self.steps.iter().position(|(waiting, _)| *waiting == run);
        let waiting = if let Some((_, steps)) = place.and_then(|place| self.steps.get_mut(place)) {
            steps.push(step);
            steps.len()
        } else {
            self.steps.push((run, vec![step]));
            1
        };
        if waiting >= BATCH { self.take_steps_of(run).into_iter().collect() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use tradepost_domain::fleet::Knowledge;
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
            knowledge: Knowledge::fresh(),
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
        assert!(on_frame(&mut state, Frame::Step(run(2), step(1))).is_empty());
        let end = on_frame(&mut state, Frame::Ended(run(2), Outcome::Succeeded));
        assert_eq!(
            end,
            vec![Action::StoreSteps(run(2), vec![step(1)]), Action::End(run(2), Outcome::Succeeded)]
        );
        assert_eq!(state.take_steps(), vec![Action::StoreSteps(run(1), vec![step(1)])]);
        let mut stored = 0;
        for seq in 0..u32::try_from(BATCH * 2).expect("small") {
            stored += on_frame(&mut state, Frame::Step(run(1), step(seq))).len();
        }
        assert_eq!((stored, state.has_steps()), (2, false));
    }

    #[test]
    fn runs_do_not_wait_for_each_other_and_beats_wait_for_all() {
        let (ack, end) = (Action::Acknowledge, |run| Action::End(run, Outcome::Succeeded));
        let beat = Action::Beat(Vec::new());
        let given = vec![ack(run(1)), ack(run(2)), end(run(1)), beat.clone(), ack(run(1)), end(run(2))];
        let parts = schedule(given);
        assert_eq!(
            parts,
            vec![
                vec![vec![ack(run(1)), end(run(1))], vec![ack(run(2))]],
                vec![vec![beat]],
                vec![vec![ack(run(1))], vec![end(run(2))]],
            ]
        );
    }
}
