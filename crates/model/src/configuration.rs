//! What is explored: how many postings, which faults, how many of them.

use crate::bug::Bug;
use crate::world::{Budget, Fault};

/// Whether the listings of the postings can be told apart by title and price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Titles {
    /// Each has its own.
    Different,
    /// All are the same, and the seller's own listing, too.
    Same,
}

/// When the seller posts by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seller {
    /// Not while a publication of the account is under way, as the seller is told.
    Careful,
    /// At any time.
    Careless,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Every invariant, at every step.
    Invariants,
    /// Only what a seller would notice: duplicates, losses, wrong confirmations, and postings that are stuck.
    Consequences,
}

/// One configuration.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Its name.
    pub name: &'static str,
    /// Postings on the one account: one or two.
    pub postings: usize,
    /// Their titles.
    pub titles: Titles,
    /// When the seller posts by hand.
    pub seller: Seller,
    /// What may go wrong.
    pub budget: Budget,
    /// Whether the database is backed up and restored.
    pub restores: bool,
    /// What is checked.
    pub strictness: Strictness,
    /// The mistake under test.
    pub bug: Option<Bug>,
}

impl Configuration {
    /// `postings` with different titles, and at most `all` of `faults`, each at most as often as it is named.
    pub fn new(name: &'static str, postings: usize, all: u8, faults: &[Fault]) -> Self {
        let mut each = [0; Fault::COUNT];
        for fault in faults {
            each[*fault as usize] += 1;
        }
        Self {
            name,
            postings,
            titles: Titles::Different,
            seller: Seller::Careful,
            budget: Budget { each, all },
            restores: faults.contains(&Fault::Restore),
            strictness: Strictness::Invariants,
            bug: None,
        }
    }

    /// The same with equal titles.
    #[must_use]
    pub fn with_equal_titles(mut self) -> Self {
        self.titles = Titles::Same;
        self
    }

    /// The same with a mistake.
    #[must_use]
    pub fn with_bug(mut self, bug: Bug, strictness: Strictness) -> Self {
        self.bug = Some(bug);
        self.strictness = strictness;
        self
    }

    /// The same with `more` faults in all.
    #[must_use]
    pub fn with_faults(mut self, more: u8) -> Self {
        self.budget.all += more;
        for left in self.budget.each.iter_mut().filter(|left| **left > 0) {
            *left += more;
        }
        self
    }
}

/// Everything that may go wrong, each once.
pub const EVERYTHING: [Fault; 16] = [
    Fault::AgentCrash,
    Fault::ChromeCrash,
    Fault::StreamLost,
    Fault::Lost,
    Fault::Twice,
    Fault::Silence,
    Fault::Sleep,
    Fault::Slow,
    Fault::RunFails,
    Fault::BadLook,
    Fault::SiteFails,
    Fault::ShownLate,
    Fault::SellerDeletes,
    Fault::SellerPosts,
    Fault::Cancel,
    Fault::Retry,
];

/// One posting, and any two faults.
pub fn one_posting() -> Configuration {
    Configuration::new("one posting, two faults of any kind", 1, 2, &EVERYTHING)
}

/// One posting, and any three failures of machines and lines.
pub fn three_failures() -> Configuration {
    let failures = [Fault::AgentCrash, Fault::StreamLost, Fault::Lost, Fault::SiteFails];
    Configuration::new("one posting, three failures", 1, 3, &failures.map(|fault| [fault; 3]).concat())
}

/// One posting of a seller who posts another listing by hand at the worst moment.
pub fn careless_seller() -> Configuration {
    let faults =
        [Fault::SellerPosts, Fault::AgentCrash, Fault::SiteFails, Fault::ShownLate, Fault::SellerDeletes];
    let configuration = Configuration::new("one posting of a careless seller, three faults", 1, 3, &faults);
    Configuration { seller: Seller::Careless, ..configuration }
}

/// Two postings on one account, and any one fault.
pub fn two_postings() -> Configuration {
    Configuration::new("two postings, one fault of any kind", 2, 1, &EVERYTHING)
}

/// The same, with listings that look alike.
pub fn two_alike() -> Configuration {
    Configuration::new("two postings of equal titles, one fault of any kind", 2, 1, &EVERYTHING)
        .with_equal_titles()
}
