//! Publications as they were at their dispatch: what the acknowledgement is decided on without reading again.
//!
//! Only a first guess. The write is a compare-and-set on the versions; where the guess is old, the decision is made anew on
//! what is stored. Used for acknowledgements alone: they change the job only, and mean the same whatever its intent is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tradepost_domain::posting::Publication;

use super::run::Run;

/// Most guesses kept; beyond it the oldest half goes.
const KEPT: usize = 8_192;

/// Guesses by run; clones share them.
#[derive(Clone, Default)]
pub struct Recent {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    count: u64,
    by_run: HashMap<Run, (u64, Publication)>,
}

impl Recent {
    /// Keeps what a run's dispatch was made from.
    pub fn put(&self, run: Run, publication: &Publication) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        let count = kept.count;
        if kept.by_run.len() >= KEPT {
            let oldest = count.saturating_sub(u64::try_from(KEPT / 2).unwrap_or(0));
            kept.by_run.retain(|_, (at, _)| *at > oldest);
        }
        kept.by_run.insert(run, (count, publication.clone()));
    }

    /// Takes it, once.
    pub fn take(&self, run: Run) -> Option<Publication> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_run.remove(&run).map(|(_, publication)| publication)
    }
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}
