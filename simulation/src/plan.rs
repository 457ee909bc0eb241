//! What can go wrong in one seed, and how often. Each seed draws its own mixture: some are quiet but for one fault, some have
//! everything at once.

use std::time::Duration;

use crate::executor::Handle;

/// A bug that is put in on purpose, to show that the simulation finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The store does not look whether the asking stream is the agent's newest.
    IgnoreEpochGuard,
    /// The store writes rows whatever their version is.
    IgnoreVersions,
    /// The agent clicks without a word in its journal.
    SkipJournal,
    /// The journal says that a record is on the disk before it is.
    AcknowledgeBeforeFsync,
    /// A click without an answer is sent once more.
    RetryClick,
    /// A click without an answer is reported as not sent.
    LostAnswerIsNotClicked,
    /// The agent looks neither at the permit's age nor for a sleep before the click.
    IgnoreTtl,
    /// After a restart the agent gives permits back without a look into its journal.
    RecoverAsNotClicked,
    /// A look reads the first page of the list and says that it read the whole.
    FirstPageIsWhole,
    /// The agent takes the newest own listing for the one it made.
    ConfirmByNewest,
    /// The agent says that its journal is whole and empty.
    TellNothing,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 11] = [
        Self::IgnoreEpochGuard,
        Self::IgnoreVersions,
        Self::SkipJournal,
        Self::AcknowledgeBeforeFsync,
        Self::RetryClick,
        Self::LostAnswerIsNotClicked,
        Self::IgnoreTtl,
        Self::RecoverAsNotClicked,
        Self::FirstPageIsWhole,
        Self::ConfirmByNewest,
        Self::TellNothing,
    ];
}

/// One seed's world and its faults. Rates are probabilities of one occasion, gaps are mean times between events.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Put in on purpose.
    pub bug: Option<Bug>,
    /// How long faults go on.
    pub storm: Duration,
    /// Controllers on one database.
    pub controllers: usize,
    /// Workspaces.
    pub workspaces: usize,
    /// Agents, each on a machine of its own.
    pub agents: usize,
    /// Accounts of each agent.
    pub accounts: usize,
    /// Postings asked for during the storm.
    pub postings: usize,
    /// A write's outcome is not told, or it does not happen.
    pub store_fails: f64,
    /// A controller dies at a store call.
    pub dies_at_store: f64,
    /// A store call takes seconds.
    pub store_slow: f64,
    /// Between two ends of controllers.
    pub controller_crash: Option<Duration>,
    /// Between two cuts of a controller from its database.
    pub database_cut: Option<Duration>,
    /// Between two ends of agents.
    pub agent_crash: Option<Duration>,
    /// An agent dies at a write of its journal.
    pub dies_at_journal: f64,
    /// Between two power cuts.
    pub power_cut: Option<Duration>,
    /// Between two sleeps or stops of a machine.
    pub suspend: Option<Duration>,
    /// Between two jumps of an agent's wall clock.
    pub clock_jump: Option<Duration>,
    /// Between two cuts of the network.
    pub network_cut: Option<Duration>,
    /// A call or its answer is lost.
    pub call_lost: f64,
    /// A call is held back for up to a minute.
    pub call_late: f64,
    /// A call arrives twice.
    pub call_twice: f64,
    /// Between two clones of an agent.
    pub clone: Option<Duration>,
    /// Chrome fails at a step.
    pub chrome_fails: f64,
    /// The site loses the answer after the effect, or answers with an error after it.
    pub answer_lost: f64,
    /// The site answers with an error and does nothing.
    pub site_error: f64,
    /// The site refuses the form.
    pub site_rejects: f64,
    /// The site shows a new listing hours later.
    pub late_visibility: f64,
    /// The site works for up to two minutes on a form.
    pub site_slow: f64,
    /// The site takes a new listing down at once.
    pub site_removes: f64,
    /// A list is read in part.
    pub partial_list: f64,
    /// Between two posts of the seller by hand.
    pub by_hand: Option<Duration>,
    /// Between two losses of a sign-in.
    pub signed_out: Option<Duration>,
    /// Between two times in which the site cannot be used.
    pub site_down: Option<Duration>,
    /// Between two wishes of people: cancel, retry, post again, rebind.
    pub wishes: Option<Duration>,
    /// Between two times at which an older copy of the database is put back. Such worlds have no clones and no accounts that
    /// move: what a copy cannot know of those is named in ADR 12.
    pub restore: Option<Duration>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64, bug: Option<Bug>) -> Self {
        // A stream of its own, so that a change of the plan's drawing does not change the world's choices.
        let draw = crate::executor::Executor::new(seed ^ 0x5eed_0000_0000_0001).handle();
        let seconds = Duration::from_secs;
        // Each kind of fault is in about half of the seeds.
        let rate = |most: f64| if draw.chance(0.5) { most * draw.unit() } else { 0.0 };
        let gap =
            |least: u64, most: u64| draw.chance(0.5).then(|| draw.between(seconds(least), seconds(most)));
        let plan = Self {
            seed,
            bug,
            storm: draw.between(seconds(120), seconds(420)),
            controllers: 1 + draw.below(3),
            workspaces: 1 + draw.below(2),
            agents: 1 + draw.below(3),
            accounts: 1 + draw.below(3),
            postings: 3 + draw.below(10),
            store_fails: rate(0.02),
            dies_at_store: rate(0.002),
            store_slow: rate(0.01),
            controller_crash: gap(20, 120),
            database_cut: gap(30, 120),
            agent_crash: gap(10, 90),
            dies_at_journal: rate(0.08),
            power_cut: gap(20, 120),
            suspend: gap(15, 90),
            clock_jump: gap(20, 120),
            network_cut: gap(10, 90),
            call_lost: rate(0.2),
            call_late: rate(0.1),
            call_twice: rate(0.15),
            clone: if draw.chance(0.15) { gap(40, 120) } else { None },
            chrome_fails: rate(0.05),
            answer_lost: rate(0.4),
            site_error: rate(0.2),
            site_rejects: rate(0.1),
            late_visibility: rate(0.3),
            site_slow: rate(0.2),
            site_removes: rate(0.1),
            partial_list: rate(0.2),
            by_hand: gap(30, 200),
            signed_out: gap(60, 240),
            site_down: if draw.chance(0.3) { gap(30, 200) } else { None },
            wishes: gap(5, 60),
            restore: if draw.chance(0.3) { gap(60, 240) } else { None },
        };
        match plan.restore {
            Some(_) => Self { clone: None, ..plan },
            None => plan,
        }
    }
}

/// A time until the next event of a kind whose mean gap is `mean`: exponential, so that events also come in bursts.
pub fn until_next(handle: &Handle, mean: Duration) -> Duration {
    let unit = handle.unit().max(1e-6);
    mean.mul_f64(-unit.ln()).min(mean * 6)
}
