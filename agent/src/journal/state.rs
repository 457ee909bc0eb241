//! What a journal's records add up to.

use std::collections::{BTreeMap, BTreeSet};

use tradepost_domain::fence::{self, Traces};
use tradepost_domain::id::{AccountId, PermitId};

use super::{Contents, Outcome, PermitRequest, Record, Requests, RunKey};
use crate::platform::processes::ProcessRef;

/// The sum of a journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    requests: Requests,
    runs: BTreeMap<RunKey, AccountId>,
    processes: BTreeSet<ProcessRef>,
    damaged: bool,
}

/// One permit, from its request until its settlement.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// The request.
    pub request: PermitRequest,
    /// The permit, once given.
    pub permit: Option<PermitId>,
    /// A click was announced.
    pub will_click: bool,
    /// The outcome, once known.
    pub outcome: Option<Outcome>,
}

/// What to do about an open permit after a restart, once Chrome is proven dead.
#[derive(Debug, Clone, PartialEq)]
pub enum Recovery {
    /// The permit may have been given without our knowing it: repeat the request, and give the permit back.
    AskAgain(PermitRequest),
    /// Report this.
    Settle {
        /// The permit.
        permit: PermitId,
        /// The request it was given for.
        request: PermitRequest,
        /// What became of it.
        outcome: Outcome,
    },
}

impl State {
    /// The sum of what was read.
    pub fn of(contents: Contents) -> Self {
        let mut state = Self { damaged: contents.damaged, ..Self::default() };
        for record in contents.records {
            state.apply(record);
        }
        state
    }

    /// Takes in one more record. Records about something unknown change nothing.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::RunStarted { run, account } => {
                self.runs.insert(run, account);
            }
            Record::RunEnded { run } => {
                self.runs.remove(&run);
            }
            Record::PermitRequested(request) => {
                let open = Open { request, permit: None, will_click: false, outcome: None };
                self.requests.entry(open.request.request.clone()).or_insert(open);
            }
            Record::PermitDenied { request } => {
                self.requests.remove(&request);
            }
            Record::Permit { request, permit, ttl: _ } => {
                if let Some(open) = self.requests.get_mut(&request) {
                    open.permit = Some(permit);
                }
            }
            Record::WillClick { permit } | Record::Clicked { permit } => {
                if let Some(open) = self.holding(permit) {
                    open.will_click = true;
                }
            }
            Record::Outcome { permit, outcome } => {
                if let Some(open) = self.holding(permit) {
                    open.outcome = Some(outcome);
                }
            }
            Record::Settled { permit } => self.requests.retain(|_, open| open.permit != Some(permit)),
            Record::ProcessesStarted { processes } => self.processes.extend(processes),
            Record::ProcessesEnded { processes } => {
                for process in processes {
                    self.processes.remove(&process);
                }
            }
        }
    }

    fn holding(&mut self, permit: PermitId) -> Option<&mut Open> {
        self.requests.values_mut().find(|open| open.permit == Some(permit))
    }

    /// What to do about each open permit. Holds after a restart only: a living run decides about its own permit.
    pub fn recovery(&self) -> Vec<Recovery> {
        self.requests.values().map(|open| self.recover(open)).collect()
    }

    fn recover(&self, open: &Open) -> Recovery {
        match open.permit {
            None => Recovery::AskAgain(open.request.clone()),
            Some(permit) => {
                Recovery::Settle { permit, request: open.request.clone(), outcome: self.outcome(open) }
            }
        }
    }

    /// What the records say of a permit whose run is no more, by [`fence::after_restart`].
    fn outcome(&self, open: &Open) -> Outcome {
        let traces = Traces {
            permit: open.permit.is_some(),
            will_click: open.will_click,
            outcome: open.outcome.is_some(),
            damaged: self.damaged,
        };
        match (fence::after_restart(traces), &open.outcome) {
            (fence::Recovery::ReportOutcome, Some(outcome)) => outcome.clone(),
            (fence::Recovery::ReportNotClicked, _) => {
                Outcome::NotClicked(String::from("the agent ended before the click"))
            }
            // The record of the click may be among the broken lines.
            (fence::Recovery::ReportDamaged, _) => Outcome::Uncertain(String::from(
                "the agent's journal is damaged: it does not tell whether the click was sent",
            )),
            _ => Outcome::Uncertain(String::from("the agent ended between the click and its confirmation")),
        }
    }

    /// A line before the last was broken, so that the absence of a record proves nothing.
    pub fn damaged(&self) -> bool {
        self.damaged
    }

    /// The broken lines are gone, and nothing depended on them.
    pub(super) fn mend(&mut self) {
        self.damaged = false;
    }

    /// Requests and permits that are not settled.
    pub fn open(&self) -> impl Iterator<Item = &Open> {
        self.requests.values()
    }

    /// Processes that were started and not yet proven dead.
    pub fn processes(&self) -> Vec<ProcessRef> {
        self.processes.iter().copied().collect()
    }

    /// Runs that have begun and not ended.
    pub fn runs(&self) -> Vec<RunKey> {
        self.runs.keys().copied().collect()
    }

    /// Nothing is open but what [`State::records`] says in full.
    pub(super) fn is_settled(&self) -> bool {
        self.requests.is_empty()
    }

    /// The records that make up a settled state.
    pub(super) fn records(&self) -> Vec<Record> {
        let runs = self.runs.iter().map(|(run, account)| Record::RunStarted { run: *run, account: *account });
        let processes =
            (!self.processes.is_empty()).then(|| Record::ProcessesStarted { processes: self.processes() });
        runs.chain(processes).collect()
    }
}
