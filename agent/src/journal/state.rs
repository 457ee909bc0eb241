//! What a journal's records add up to.

use std::collections::{BTreeMap, BTreeSet};

use tradepost_domain::fence::{self, Traces};
use tradepost_domain::fleet::{Knowledge, KnownPermit, PERMITS_TOLD};
use tradepost_domain::id::{AccountId, PermitId};

use super::history::{History, Marks, Past, Told};
use super::{Contents, Outcome, PermitRequest, Record, Requests, RunKey};
use crate::platform::processes::ProcessRef;

/// The sum of a journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    requests: Requests,
    runs: BTreeMap<RunKey, AccountId>,
    processes: BTreeSet<ProcessRef>,
    history: History,
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

/// Whether a journal that keeps no marks yet is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// It is empty.
    New,
    /// An earlier version began it, and may have dropped what was settled.
    Older,
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
                self.history.saw(run.lease);
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
            Record::Settled { permit } => self.settle(permit, true),
            Record::Refused { permit } => self.settle(permit, false),
            Record::Welcomed { fleet_epoch, session_epoch } => {
                self.history.welcomed(fleet_epoch, session_epoch);
            }
            Record::Past(past) => self.history.add(*past),
            Record::Marks(marks) => self.history.mark(marks),
            Record::ProcessesStarted { processes } => self.processes.extend(processes),
            Record::ProcessesEnded { processes } => {
                for process in processes {
                    self.processes.remove(&process);
                }
            }
        }
    }

    /// The permit becomes part of the history.
    fn settle(&mut self, permit: PermitId, taken: bool) {
        let settled = self.requests.values().find(|open| open.permit == Some(permit)).cloned();
        let Some(open) = settled else { return };
        self.requests.remove(&open.request.request);
        let outcome = self.outcome(&open);
        let decided = taken && !matches!(outcome, Outcome::Uncertain(_));
        self.history.add(Past { request: open.request, permit, outcome, decided });
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

    /// What the journal knows of the numbers that controllers gave out.
    pub fn knowledge(&self) -> Knowledge {
        let mut history = self.history.clone();
        if self.damaged || !history.marked {
            history.lost();
        }
        let open = self.requests.values().filter_map(|open| {
            let run_lease = open.request.run.lease;
            open.permit.map(|permit| KnownPermit { permit, run_lease, decided: false })
        });
        let permits: Vec<KnownPermit> = history.known().chain(open).collect();
        let newest = permits.len().saturating_sub(PERMITS_TOLD);
        let Marks { fleet_epoch, session_epoch, run_lease, whole_since } = history.marks;
        let permits = permits.into_iter().skip(newest).collect();
        Knowledge { fleet_epoch, session_epoch, run_lease, permits, whole_since }
    }

    /// Every permit that the journal knows of, oldest first.
    pub fn told(&self) -> Vec<Told> {
        let past = self.history.past.iter().map(|past| Told {
            request: past.request.clone(),
            permit: past.permit,
            outcome: Some(past.outcome.clone()),
        });
        let open = self.requests.values().filter_map(|open| {
            let (request, outcome) = (open.request.clone(), open.outcome.clone());
            open.permit.map(|permit| Told { request, permit, outcome })
        });
        past.chain(open).collect()
    }

    /// Whether the journal says since when it is whole.
    pub(super) fn is_marked(&self) -> bool {
        self.history.marked
    }

    /// The marks of a journal that begins to keep them; it has held everything only if it is new.
    pub(super) fn first_marks(&self, age: Age) -> Marks {
        let mut history = self.history.clone();
        if age == Age::Older {
            history.lost();
        }
        history.marks
    }

    /// A line before the last was broken, so that the absence of a record proves nothing.
    pub fn damaged(&self) -> bool {
        self.damaged
    }

    /// The broken lines are gone, and nothing depended on them.
    pub(super) fn mend(&mut self) {
        if self.damaged {
            self.history.lost();
        }
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
        let past = self.history.past.iter().cloned().map(|past| Record::Past(Box::new(past)));
        // After the history, which does not know what was forgotten of it.
        let marks = std::iter::once(Record::Marks(self.history.marks));
        runs.chain(processes).chain(past).chain(marks).collect()
    }
}
