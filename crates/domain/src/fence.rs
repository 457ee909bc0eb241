//! The agent's side of the fence: whether a permit may still be used, and what to say of one after a restart.
//!
//! - I3: [`may_click`] has no way to the click but through a written `WILL_CLICK`; after a restart its absence in a whole
//!   journal proves that no click was sent ([`after_restart`]).
//! - I8: a permit's life is a span on the agent's own clocks, counted from before the request was sent, so that the time
//!   on the wire is on the safe side.
//! - I10: after a sleep the form is looked at again before anything is clicked ([`may_click`]).

use std::time::Duration;

use crate::time::Timestamp;

/// A sleep shorter than this cannot be told from the clocks' jitter.
pub const SLEEP_NOTICED: Duration = Duration::from_millis(500);

/// A permit's life, measured on two clocks: one that counts sleep, and the wall clock. Both readings are from before the
/// request for the permit was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The clock that counts sleep.
    pub boottime: Duration,
    /// The wall clock, which may be set.
    pub wall: Timestamp,
    /// How long the life is.
    pub ttl: Duration,
}

impl Life {
    /// Over when either clock says so; a wall clock that was set back by more than the span is as bad.
    pub fn is_over(self, boottime: Duration, wall: Timestamp) -> bool {
        let slept = boottime.saturating_sub(self.boottime);
        let walled = wall.since(self.wall).max(self.wall.since(wall));
        slept >= self.ttl || walled >= self.ttl
    }
}

/// Whether the PC has slept while `passed` went by on a clock that counts sleep and `awake` on one that does not.
pub fn has_slept(passed: Duration, awake: Duration) -> bool {
    passed.saturating_sub(awake) >= SLEEP_NOTICED
}

/// How far a run with a permit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The form has not been looked at since the permit came.
    Granted,
    /// The form was looked at: button enabled, values read again, same browser session.
    LookedAt,
    /// As before, and `WILL_CLICK` is on the disk.
    Announced,
}

/// What to do next with a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Look at the form (again).
    Look,
    /// Write `WILL_CLICK`, and wait until it is on the disk.
    Announce,
    /// Click, at once.
    Click,
    /// Give the permit back: too late.
    GiveBack,
}

/// Decides what to do next with a permit: look, announce, click, in this order (I3), within its life, and with a fresh look
/// after every sleep (I10). `is_over` is [`Life::is_over`] now; `slept` says whether the PC has slept since the form was
/// looked at.
pub fn may_click(is_over: bool, stage: Stage, slept: bool) -> Next {
    match stage {
        _ if is_over => Next::GiveBack,
        Stage::Granted => Next::Look,
        Stage::LookedAt | Stage::Announced if slept => Next::Look,
        Stage::LookedAt => Next::Announce,
        Stage::Announced => Next::Click,
    }
}

/// What a journal tells of one request for a permit, read after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traces {
    /// The permit was given and noted.
    pub permit: bool,
    /// `WILL_CLICK` or `CLICKED` was noted.
    pub will_click: bool,
    /// An outcome was noted.
    pub outcome: bool,
    /// Lines before the last are broken, so that the absence of a record proves nothing.
    pub damaged: bool,
}

/// What to do about an open permit after a restart, once Chrome of the earlier process is proven dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The permit may have been given without our knowing it: repeat the request, and give the permit back unused.
    AskAgain,
    /// Report the outcome that was noted.
    ReportOutcome,
    /// The click was announced and its effect is not known.
    ReportUncertain,
    /// The journal is broken: it does not tell whether the click was announced.
    ReportDamaged,
    /// Nothing was announced, so nothing was clicked (I3).
    ReportNotClicked,
}

/// Decides about an open permit after a restart. A permit is never used by another process than the one that asked for it.
pub fn after_restart(traces: Traces) -> Recovery {
    match traces {
        Traces { permit: false, .. } => Recovery::AskAgain,
        Traces { outcome: true, .. } => Recovery::ReportOutcome,
        Traces { will_click: true, .. } => Recovery::ReportUncertain,
        Traces { damaged: true, .. } => Recovery::ReportDamaged,
        Traces { .. } => Recovery::ReportNotClicked,
    }
}

/// Whether Chrome of a run is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chrome {
    /// Its processes are proven dead.
    Dead,
    /// They could not be ended, or it is not known.
    PerhapsAlive,
}

/// Whether "no click was sent" may be told: only when nothing is left that could still send one. A filled form in a living
/// Chrome is such a thing.
pub fn may_deny_click(chrome: Chrome) -> bool {
    chrome == Chrome::Dead
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_permit_is_over_when_either_clock_says_so() {
        let wall = Timestamp::from_micros(1_000_000_000);
        let life = Life { boottime: second(100), wall, ttl: second(15) };
        assert!(!life.is_over(second(114), wall + second(14)));
        assert!(life.is_over(second(115), wall), "asleep, and the wall clock was set back");
        assert!(life.is_over(second(100), wall + second(15)), "the wall clock went on");
        assert!(life.is_over(second(101), wall - second(20)), "the wall clock was set back far");
        assert!(life.is_over(second(101), wall + second(86_400)), "the wall clock was set a day ahead");
    }

    #[test]
    fn each_stage_has_its_one_next_step() {
        use Next::{Announce, Click, GiveBack, Look};
        for (stage, awake, slept) in
            [(Stage::Granted, Look, Look), (Stage::LookedAt, Announce, Look), (Stage::Announced, Click, Look)]
        {
            assert_eq!(may_click(false, stage, false), awake);
            assert_eq!(may_click(false, stage, true), slept);
            assert_eq!(may_click(true, stage, false), GiveBack);
            assert_eq!(may_click(true, stage, true), GiveBack);
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Happening {
        Awake(u64),
        Asleep(u64),
        WallSet(i64),
        Act,
    }

    fn any_happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            (0_u64..6_000).prop_map(Happening::Awake),
            (0_u64..20_000).prop_map(Happening::Asleep),
            (-90_000_i64..90_000).prop_map(Happening::WallSet),
            Just(Happening::Act),
            Just(Happening::Act),
        ]
    }

    proptest! {
        /// A run that does what it is told, on a PC that sleeps and whose clock is set, clicks in time and after a look at
        /// what it clicks.
        #[test]
        fn no_order_of_sleeps_and_settings_lets_a_late_or_blind_click_through(
            happenings in prop::collection::vec(any_happening(), 1..40),
        ) {
            let ttl = second(15);
            let mut wall = Timestamp::from_micros(1_000_000_000_000);
            let life = Life { boottime: Duration::ZERO, wall, ttl };
            let (mut boottime, mut awake) = (Duration::ZERO, Duration::ZERO);
            let (mut stage, mut looked, mut announced) = (Stage::Granted, None, false);
            for happening in happenings {
                match happening {
                    Happening::Awake(millis) => {
                        let passed = Duration::from_millis(millis);
                        (boottime, awake, wall) = (boottime + passed, awake + passed, wall + passed);
                    }
                    Happening::Asleep(millis) => {
                        let passed = Duration::from_millis(millis);
                        (boottime, wall) = (boottime + passed, wall + passed);
                    }
                    Happening::WallSet(seconds) => {
                        let span = second(seconds.unsigned_abs());
                        wall = if seconds < 0 { wall - span } else { wall + span };
                    }
                    Happening::Act => {
                        let slept = looked.is_some_and(|(then, was_awake)| has_slept(boottime - then, awake - was_awake));
                        match may_click(life.is_over(boottime, wall), stage, slept) {
                            Next::Look => (stage, looked) = (Stage::LookedAt, Some((boottime, awake))),
                            Next::Announce => (stage, announced) = (Stage::Announced, true),
                            Next::Click => {
                                prop_assert!(announced, "I3");
                                prop_assert!(boottime < ttl, "late on the clock that counts sleep");
                                let (then, was_awake) = looked.expect("looked at");
                                prop_assert!(boottime - then < awake - was_awake + SLEEP_NOTICED, "I10");
                                break;
                            }
                            Next::GiveBack => break,
                        }
                    }
                }
            }
        }

        #[test]
        fn not_clicked_is_said_only_from_a_whole_journal_without_an_announcement(
            permit: bool, will_click: bool, outcome: bool, damaged: bool,
        ) {
            let traces = Traces { permit, will_click, outcome, damaged };
            let said = after_restart(traces) == Recovery::ReportNotClicked;
            prop_assert_eq!(said, permit && !will_click && !outcome && !damaged);
        }
    }
}
