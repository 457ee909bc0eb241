//! The pure core of the session: which runs there are, and what a frame or an event makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::fleet::{FleetEpoch, Knowledge};
use tradepost_domain::id::{AccountId, BootId, JobId, SessionEpoch};

use super::frame::{Dispatch, Ending, Hello, Inbound, Outbound, RunKey, StepReport};

/// Step reports of one run that are kept for repetition; the oldest are dropped beyond.
const STEPS_KEPT: usize = 500;

/// What the agent has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say this, when there is a stream.
    Send(Outbound),
    /// Begin the run.
    Start(Box<Dispatch>),
    /// Ask the run to end, if its click has not been sent.
    Stop(RunKey),
    /// A new stream.
    Welcomed {
        /// Its number.
        epoch: SessionEpoch,
        /// How often to report being alive.
        heartbeat: Duration,
        /// The life of the controller's database.
        fleet: FleetEpoch,
        /// The runs that go on, if the controller tells.
        kept: Option<BTreeSet<RunKey>>,
    },
    /// Tell every permit that the journal knows of, before anything else.
    Recount,
    /// End the stream and come back after this time.
    Leave {
        /// The delay.
        retry_after: Duration,
        /// Why, for the log.
        reason: String,
    },
}

/// What happens in the agent itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Local {
    /// A step of a run began or ended.
    Step(RunKey, StepReport),
    /// A run has ended.
    Ended(RunKey, Ending),
    /// A run was put off without a report: the agent ends.
    Abandoned(RunKey),
    /// It is time to report being alive.
    HeartbeatDue,
    /// The controller does not accept this agent any more.
    Refused,
    /// The agent is to end: take nothing new.
    Draining,
}

/// The runs of this process.
#[derive(Debug)]
pub struct State {
    boot: BootId,
    slots: usize,
    draining: bool,
    runs: BTreeMap<JobId, Run>,
}

#[derive(Debug)]
struct Run {
    key: RunKey,
    account: Option<AccountId>,
    stage: Stage,
    /// Reports to repeat on the next stream.
    steps: Vec<StepReport>,
    /// The controller does not want to hear its end.
    forgotten: bool,
}

#[derive(Debug)]
enum Stage {
    Active,
    Ended(Ending),
}

impl State {
    /// Without runs.
    pub fn new(boot: BootId, slots: usize) -> Self {
        Self { boot, slots, draining: false, runs: BTreeMap::new() }
    }

    /// The first words of the next stream.
    pub fn hello(&self, knowledge: Knowledge) -> Hello {
        let slots = u32::try_from(self.slots).unwrap_or(u32::MAX);
        Hello { boot: self.boot, runs: self.keys(), slots, knowledge }
    }

    /// Whether runs are in progress.
    pub fn is_idle(&self) -> bool {
        self.active() == 0
    }

    /// Whether ends of runs are still to be stored by the controller.
    pub fn owes_reports(&self) -> bool {
        self.runs.values().any(|run| matches!(run.stage, Stage::Ended(_)))
    }

    fn active(&self) -> usize {
        self.runs.values().filter(|run| matches!(run.stage, Stage::Active)).count()
    }

    fn keys(&self) -> Vec<RunKey> {
        self.runs.values().filter(|run| !run.forgotten).map(|run| run.key).collect()
    }

    fn run(&self, key: RunKey) -> Option<&Run> {
        self.runs.get(&key.job).filter(|run| run.key == key)
    }
}

/// Decides on a frame of the controller.
pub fn on_frame(state: &mut State, frame: Inbound) -> Vec<Action> {
    match frame {
        Inbound::Welcome { epoch, heartbeat, fleet, recount, kept } => {
            let mut actions = vec![Action::Welcomed { epoch, heartbeat, fleet, kept }];
            actions.extend(recount.then_some(Action::Recount));
            for run in state.runs.values().filter(|run| !run.forgotten) {
                actions
                    .extend(run.steps.iter().map(|step| Action::Send(Outbound::Step(run.key, step.clone()))));
                if let Stage::Ended(ending) = &run.stage {
                    actions.push(Action::Send(Outbound::Ended(run.key, ending.clone())));
                }
            }
            actions
        }
        Inbound::Dispatch(dispatch) => on_dispatch(state, dispatch),
        Inbound::Undecodable(run, problem) => {
            let message = format!(
                "the controller asks for something that this agent does not understand ({problem}); update the agent"
            );
            let failure = Failure::new(FailureClass::Internal, "start", message);
            let ending = Ending::Failed(failure);
            let ended = Stage::Ended(ending.clone());
            state.runs.insert(
                run.job,
                Run { key: run, account: None, stage: ended, steps: Vec::new(), forgotten: false },
            );
            vec![Action::Send(Outbound::Acknowledge(run)), Action::Send(Outbound::Ended(run, ending))]
        }
        Inbound::Cancel(key) => match state.run(key) {
            Some(run) if matches!(run.stage, Stage::Active) => vec![Action::Stop(key)],
            _ => Vec::new(),
        },
        Inbound::Forget(key) => forget(state, key),
        Inbound::EndStored(key) => {
            if state.run(key).is_some_and(|run| matches!(run.stage, Stage::Ended(_))) {
                state.runs.remove(&key.job);
            }
            Vec::new()
        }
        Inbound::GoAway { retry_after, reason } => vec![Action::Leave { retry_after, reason }],
    }
}

fn forget(state: &mut State, key: RunKey) -> Vec<Action> {
    let Some(run) = state.runs.get_mut(&key.job).filter(|run| run.key == key) else { return Vec::new() };
    if matches!(run.stage, Stage::Ended(_)) {
        state.runs.remove(&key.job);
        return Vec::new();
    }
    run.forgotten = true;
    vec![Action::Stop(key)]
}

fn on_dispatch(state: &mut State, dispatch: Box<Dispatch>) -> Vec<Action> {
    let key = dispatch.run;
    let refuse = |why: &str| vec![Action::Send(Outbound::Refuse(key, why.to_owned()))];
    let mut stop = None;
    if let Some(known) = state.runs.get(&key.job) {
        match &known.stage {
            // A repeat: what was said may have been lost.
            Stage::Active if known.key == key => return vec![Action::Send(Outbound::Acknowledge(key))],
            Stage::Ended(ending) if known.key == key => {
                return vec![Action::Send(Outbound::Ended(key, ending.clone()))];
            }
            _ if known.key.lease > key.lease => return refuse("a newer run of this job is known"),
            Stage::Active => stop = Some(known.key),
            // Nobody asks for the older run's end any more.
            Stage::Ended(_) => {}
        }
    }
    if let Some(older) = stop {
        if let Some(run) = state.runs.get_mut(&older.job) {
            run.forgotten = true;
        }
        let mut actions = refuse("an earlier run of this job is still ending");
        actions.push(Action::Stop(older));
        return actions;
    }
    if state.draining {
        return refuse("the agent is being ended");
    }
    if state.active() >= state.slots {
        return refuse("no slot is free");
    }
    let account = dispatch.account.id;
    if state.runs.values().any(|run| matches!(run.stage, Stage::Active) && run.account == Some(account)) {
        return refuse("the account's Chrome profile is in use");
    }
    let run = Run { key, account: Some(account), stage: Stage::Active, steps: Vec::new(), forgotten: false };
    state.runs.insert(key.job, run);
    vec![Action::Send(Outbound::Acknowledge(key)), Action::Start(dispatch)]
}

/// Decides on something that happened in the agent.
pub fn on_local(state: &mut State, event: Local) -> Vec<Action> {
    match event {
        Local::HeartbeatDue => vec![Action::Send(Outbound::Heartbeat(state.keys()))],
        Local::Draining => {
            state.draining = true;
            Vec::new()
        }
        Local::Refused => {
            let active = state.runs.values_mut().filter(|run| matches!(run.stage, Stage::Active));
            active
                .map(|run| {
                    run.forgotten = true;
                    Action::Stop(run.key)
                })
                .collect()
        }
        Local::Step(key, step) => {
            let Some(run) = state.runs.get_mut(&key.job).filter(|run| run.key == key) else {
                return Vec::new();
            };
            if run.steps.len() >= STEPS_KEPT {
                run.steps.remove(0);
            }
            run.steps.push(step.clone());
            if run.forgotten { Vec::new() } else { vec![Action::Send(Outbound::Step(key, step))] }
        }
        Local::Abandoned(key) => {
            if state.run(key).is_some() {
                state.runs.remove(&key.job);
            }
            Vec::new()
        }
        Local::Ended(key, ending) => {
            let Some(run) = state.runs.get_mut(&key.job).filter(|run| run.key == key) else {
                return Vec::new();
            };
            if run.forgotten {
                state.runs.remove(&key.job);
                return Vec::new();
            }
            run.stage = Stage::Ended(ending.clone());
            vec![Action::Send(Outbound::Ended(key, ending))]
        }
    }
}
