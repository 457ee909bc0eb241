//! What every use case needs: the store, the time, fresh ids, and who this controller is.

use std::fmt;
use std::sync::Arc;

use tradepost_domain::id::ControllerId;
use tradepost_domain::reconcile::Schedule;
use tradepost_domain::time::Timestamp;
use tradepost_runtime::clock::SharedClock;
use tradepost_runtime::ids::Ids;
use tradepost_store::{Principal, Store};
use uuid::Uuid;

use super::recent::Recent;

/// How often a write that finds its rows changed meanwhile is decided anew.
pub const TRIES: u32 = 5;

/// The surroundings of use cases; cheap to clone.
#[derive(Clone)]
pub struct Core {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// Random ids and jitter.
    pub ids: Ids,
    /// This process.
    pub controller: ControllerId,
    /// What runs were dispatched from.
    pub recent: Recent,
    /// When to look for uncertain publications.
    pub looks: Arc<Schedule>,
}

/// Who asks: a token's owner in their workspace.
pub type Caller = Principal;

impl Core {
    /// The present.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A fresh id.
    pub fn id(&self) -> Uuid {
        self.ids.uuid(self.now())
    }

    /// Fresh random bytes for a secret.
    pub fn secret(&self) -> [u8; 32] {
        let mut bytes = [0_u8; 32];
        self.ids.fill(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("controller", &self.controller).finish_non_exhaustive()
    }
}
