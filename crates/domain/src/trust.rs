//! The rotation of the authority that agents and servers trust, as a state machine.
//!
//! A *generation* is a root with the CA that signs agents. Normally there is one. A rotation brings the next one in through
//! phases, and from each of them there is a way back:
//!
//! ```text
//! Stable(1) ─begin→ Announced(1,2) ─advance→ Switched(1,2) ─advance→ Retired(1,2) ─advance→ Stable(2)
//!     ↑───rollback───┘      ↑───────rollback───┘   ↑──────rollback──────┘
//! ```
//!
//! | phase | signs | agents are told to trust | agents are accepted from |
//! |---|---|---|---|
//! | Stable | the one | the one | the one |
//! | Announced | the old | both | both |
//! | Switched | the new | both | both |
//! | Retired | the new | the new | the new |
//!
//! The old keys are destroyed by the step from Retired to Stable, the new ones by the step back to Stable: only then a
//! phase cannot be returned to. Old and new root sign each other at the beginning, so whoever slept through any of it finds a
//! chain from the root that it knows.

use serde::{Deserialize, Serialize};

/// The number of a generation, counted from 1.
pub type Number = u32;

/// Where a rotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// No rotation is under way.
    Stable {
        /// The generation.
        present: Number,
    },
    /// The new generation is made known; the old one signs.
    Announced {
        /// The old generation.
        old: Number,
        /// The new one.
        new: Number,
    },
    /// The new generation signs; both are trusted.
    Switched {
        /// The old generation.
        old: Number,
        /// The new one.
        new: Number,
    },
    /// The old generation is not trusted any more; its keys are kept for a way back.
    Retired {
        /// The old generation.
        old: Number,
        /// The new one.
        new: Number,
    },
}

/// Why a step is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// A second rotation.
    #[error("a rotation is under way already; advance it to its end or roll it back first")]
    UnderWay,
    /// Nothing to move.
    #[error("no rotation is under way; begin one first")]
    None,
}

impl Phase {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stable { .. } => "stable",
            Self::Announced { .. } => "announced",
            Self::Switched { .. } => "switched",
            Self::Retired { .. } => "retired",
        }
    }

    /// The generation that signs servers and agents.
    pub fn signer(self) -> Number {
        match self {
            Self::Stable { present } => present,
            Self::Announced { old, .. } => old,
            Self::Switched { new, .. } | Self::Retired { new, .. } => new,
        }
    }

    /// The generations whose roots are trusted and whose agents are accepted; the signer first.
    pub fn trusted(self) -> Vec<Number> {
        match self {
            Self::Stable { present } => vec![present],
            Self::Announced { old, new } => vec![old, new],
            Self::Switched { old, new } => vec![new, old],
            Self::Retired { new, .. } => vec![new],
        }
    }

    /// The generations whose keys are needed in this phase or in the next one on either side.
    pub fn kept(self) -> Vec<Number> {
        match self {
            Self::Stable { present } => vec![present],
            Self::Announced { old, new } | Self::Switched { old, new } | Self::Retired { old, new } => {
                vec![old, new]
            }
        }
    }

    /// Begins a rotation to generation `new`.
    pub fn begin(self, new: Number) -> Result<Self, Rejected> {
        match self {
            Self::Stable { present } => Ok(Self::Announced { old: present, new }),
            _ => Err(Rejected::UnderWay),
        }
    }

    /// The next phase.
    pub fn advance(self) -> Result<Self, Rejected> {
        match self {
            Self::Stable { .. } => Err(Rejected::None),
            Self::Announced { old, new } => Ok(Self::Switched { old, new }),
            Self::Switched { old, new } => Ok(Self::Retired { old, new }),
            Self::Retired { new, .. } => Ok(Self::Stable { present: new }),
        }
    }

    /// The phase before.
    pub fn rollback(self) -> Result<Self, Rejected> {
        match self {
            Self::Stable { .. } => Err(Rejected::None),
            Self::Announced { old, .. } => Ok(Self::Stable { present: old }),
            Self::Switched { old, new } => Ok(Self::Announced { old, new }),
            Self::Retired { old, new } => Ok(Self::Switched { old, new }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neighbouring phases overlap: whoever is one step behind is still understood, in both directions.
    #[test]
    fn every_step_overlaps_with_its_neighbour_and_can_be_taken_back() {
        let mut phase = Phase::Stable { present: 1 }.begin(2).expect("begins");
        assert_eq!(phase.rollback(), Ok(Phase::Stable { present: 1 }));
        loop {
            let next = phase.advance().expect("goes on");
            for (ahead, behind) in [(next, phase), (phase, next)] {
                assert!(ahead.trusted().contains(&behind.signer()) || ahead.signer() == behind.signer());
                assert!(ahead.trusted().contains(&ahead.signer()), "{ahead:?} trusts its own signer");
            }
            assert!(next.kept().contains(&next.signer()));
            if let Phase::Stable { present } = next {
                assert_eq!(present, 2);
                break;
            }
            assert_eq!(next.rollback(), Ok(phase));
            assert_eq!(next.begin(3), Err(Rejected::UnderWay));
            phase = next;
        }
        assert_eq!(Phase::Stable { present: 2 }.advance(), Err(Rejected::None));
        assert_eq!(Phase::Stable { present: 2 }.rollback(), Err(Rejected::None));
    }
}
