//! What every use case needs: the store, the time, fresh ids, and who this controller is.

use std::fmt;
use std::sync::Arc;

use tradepost_domain::audit::{Actor, Chain};
use tradepost_domain::id::{AuditEntryId, CallId, ControllerId};
use tradepost_domain::reconcile::Schedule;
use tradepost_domain::time::Timestamp;
use tradepost_runtime::clock::SharedClock;
use tradepost_runtime::ids::Ids;
use tradepost_store::audit::{Author, Scope};
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

    /// Who does something that no call of the API asks for, to be told in the audit log: in the system's chain, unless the
    /// effect says otherwise.
    pub fn author(&self, actor: Actor, method: &str) -> Author {
        Author {
            chain: Chain::SYSTEM,
            actor,
            proof: None,
            peer: String::new(),
            method: method.to_owned(),
            call: CallId(self.id()),
            controller: self.controller,
            at: self.now(),
            first_entry: AuditEntryId(self.id()),
        }
    }

    /// What is done within it is told in the audit log as the deed of `actor`.
    pub fn scope(&self, actor: Actor, method: &str) -> Scope {
        Scope::new(self.author(actor, method))
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
