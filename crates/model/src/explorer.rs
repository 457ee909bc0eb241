//! Breadth-first exploration of a finite system: every reachable state once, shortest traces, and what can still be
//! reached from each state.
//!
//! States are kept as 64-bit fingerprints; the full state lives only while it waits for its turn. With `n` states two of
//! them share a fingerprint with a probability of about `n²/2⁶⁵`: 3·10⁻⁷ for three million states.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Display};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use foldhash::quality::FixedState;

/// A system to explore. Transitions are deterministic: whatever may happen is an action of its own.
pub trait System {
    /// A state, in a canonical form: states that behave alike are equal.
    type State: Clone + Hash;
    /// Something that may happen.
    type Action: Copy + Display;

    /// Where it begins.
    fn initial(&self) -> Self::State;
    /// Everything that may happen in `state`, in a fixed order.
    fn actions(&mut self, state: &Self::State, into: &mut Vec<Self::Action>);
    /// What becomes of `state`; an error when the step itself breaks a rule.
    fn step(&mut self, state: &Self::State, action: Self::Action) -> Result<Self::State, String>;
    /// What is wrong with `state`, if anything is.
    fn check(&mut self, state: &Self::State) -> Result<(), String>;
    /// Whether everything asked for has come to an end in `state`.
    fn is_settled(&self, state: &Self::State) -> bool;
    /// Whether the action belongs to the orderly course: no fault, no person.
    fn is_orderly(&self, action: Self::Action) -> bool;
}

/// Where and how a rule was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which rule.
    pub rule: String,
    /// The shortest way there, one action a line.
    pub trace: Vec<String>,
}

/// What an exploration found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Transitions, those to known states included.
    pub transitions: usize,
    /// Actions on the longest of the shortest ways.
    pub depth: usize,
    /// Whether every reachable state was seen.
    pub complete: bool,
    /// The first broken rule.
    pub broken: Option<Broken>,
    /// States in which everything has come to an end.
    pub settled: usize,
}

/// One step of a way: the state before, and the number of the action in its list.
#[derive(Clone, Copy)]
struct Origin {
    from: u32,
    action: u16,
}

struct Exploration<'a, S: System> {
    system: &'a mut S,
    known: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    origins: Vec<Origin>,
    depths: Vec<u16>,
    settled: Vec<bool>,
    waiting: VecDeque<(u32, S::State)>,
    /// Orderly transitions: from, to.
    orderly: Vec<(u32, u32)>,
    report: Report,
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Explores `system` until a rule is broken, everything was seen, or `limit` states are known.
///
/// When everything was seen and no rule is broken, it is also checked that from each state an end of everything can be
/// reached by orderly actions alone: nothing is stuck, whatever happened before.
pub fn explore<S: System>(system: &mut S, limit: usize) -> Report {
    let initial = system.initial();
    let mut exploration = Exploration {
        system,
        known: HashMap::default(),
        origins: Vec::new(),
        depths: Vec::new(),
        settled: Vec::new(),
        waiting: VecDeque::new(),
        orderly: Vec::new(),
        report: Report::default(),
    };
    exploration.run(initial, limit);
    exploration.report
}

impl<S: System> Exploration<'_, S> {
    fn run(&mut self, initial: S::State, limit: usize) {
        self.meet(initial, Origin { from: u32::MAX, action: 0 }, 0);
        if let Err(rule) = self.first_check() {
            self.broken(rule, 0, None);
            return;
        }
        let mut actions = Vec::new();
        while let Some((number, state)) = self.waiting.pop_front() {
            if self.origins.len() >= limit {
                self.finish(false);
                return;
            }
            actions.clear();
            self.system.actions(&state, &mut actions);
            for (index, action) in actions.iter().enumerate() {
                self.report.transitions += 1;
                let next = match self.system.step(&state, *action) {
                    Ok(next) => next,
                    Err(rule) => return self.broken(rule, number, Some(*action)),
                };
                let origin = Origin { from: number, action: u16::try_from(index).unwrap_or(u16::MAX) };
                let depth = self.depths[number as usize] + 1;
                let (known, fresh) = self.meet(next, origin, depth);
                if self.system.is_orderly(*action) {
                    self.orderly.push((number, known));
                }
                if fresh && let Err(rule) = self.last_check() {
                    return self.broken(rule, number, Some(*action));
                }
            }
        }
        self.finish(true);
    }

    /// The number of a state, and whether it is new.
    fn meet(&mut self, state: S::State, origin: Origin, depth: u16) -> (u32, bool) {
        let print = FixedState::with_seed(0).hash_one(&state);
        let next = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        match self.known.entry(print) {
            std::collections::hash_map::Entry::Occupied(entry) => (*entry.get(), false),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(next);
                self.origins.push(origin);
                self.depths.push(depth);
                self.settled.push(self.system.is_settled(&state));
                self.waiting.push_back((next, state));
                (next, true)
            }
        }
    }

    fn first_check(&mut self) -> Result<(), String> {
        self.waiting.front().map_or(Ok(()), |(_, state)| self.system.check(state))
    }

    fn last_check(&mut self) -> Result<(), String> {
        self.waiting.back().map_or(Ok(()), |(_, state)| self.system.check(state))
    }

    fn finish(&mut self, complete: bool) {
        self.count(complete);
        if !complete {
            return;
        }
        if let Some(stuck) = self.first_stuck() {
            self.broken(String::from("no orderly way leads from here to an end or to a person"), stuck, None);
        }
    }

    fn count(&mut self, complete: bool) {
        self.report.states = self.origins.len();
        self.report.complete = complete;
        self.report.depth = self.depths.iter().copied().max().map_or(0, usize::from);
        self.report.settled = self.settled.iter().filter(|settled| **settled).count();
    }

    /// The first state from which no settled state is reached by orderly actions.
    fn first_stuck(&mut self) -> Option<u32> {
        let count = self.origins.len();
        // Predecessors of each state, as one array with offsets.
        let mut offsets = vec![0_u32; count + 1];
        for (_, to) in &self.orderly {
            offsets[*to as usize + 1] += 1;
        }
        for at in 0..count {
            offsets[at + 1] += offsets[at];
        }
        let mut filled = offsets.clone();
        let mut before = vec![0_u32; self.orderly.len()];
        for (from, to) in self.orderly.drain(..) {
            let slot = &mut filled[to as usize];
            before[*slot as usize] = from;
            *slot += 1;
        }
        let mut reaches = self.settled.clone();
        let mut queue: Vec<u32> = (0..).zip(&self.settled).filter(|(_, is)| **is).map(|(at, _)| at).collect();
        while let Some(at) = queue.pop() {
            let range = offsets[at as usize] as usize..offsets[at as usize + 1] as usize;
            for from in &before[range] {
                if !std::mem::replace(&mut reaches[*from as usize], true) {
                    queue.push(*from);
                }
            }
        }
        reaches.iter().position(|reaches| !reaches).and_then(|at| u32::try_from(at).ok())
    }

    fn broken(&mut self, rule: String, at: u32, last: Option<S::Action>) {
        self.count(false);
        let mut way = Vec::new();
        let mut number = at;
        while let Some(origin) = self.origins.get(number as usize).filter(|origin| origin.from != u32::MAX) {
            way.push(origin.action);
            number = origin.from;
        }
        let mut state = self.system.initial();
        let mut trace = Vec::new();
        for index in way.into_iter().rev() {
            let mut actions = Vec::new();
            self.system.actions(&state, &mut actions);
            let Some(action) = actions.get(usize::from(index)) else { break };
            trace.push(action.to_string());
            let Ok(next) = self.system.step(&state, *action) else { break };
            state = next;
        }
        trace.extend(last.map(|action| action.to_string()));
        self.report.broken = Some(Broken { rule, trace });
    }
}

impl Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.rule)?;
        for (number, action) in (1..).zip(&self.trace) {
            writeln!(f, "{number:>4}  {action}")?;
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, depth, complete, settled, broken: _ } = self;
        let all = if *complete { "all of them" } else { "not all" };
        write!(
            f,
            "{states} distinct states ({all}), {settled} settled, {transitions} transitions, depth {depth}"
        )
    }
}
