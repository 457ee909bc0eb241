//! The lives of the database, and what looks saw.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::json;
use tradepost_domain::event::{Kind, NewEvent, Subject};
use tradepost_domain::fleet::{Fleet, FleetEpoch};
use tradepost_domain::id::{
    AccountId, AgentId, DatabaseId, IntentId, PermitId, PostingId, RunLease, SessionEpoch, WorkspaceId,
};
use tradepost_domain::posting::State;
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::reconcile::LookRecord;
use tradepost_domain::time::Timestamp;
use uuid::Uuid;

use super::{Model, Tables, Tx};
use crate::{ChangeLook, Error, Fleets, Looks, NewFleetEpoch, Owed};

/// Every model is the same database: what is compared is how far it has come.
const DATABASE: DatabaseId = DatabaseId(Uuid::from_u128(1));
/// Looks of one posting that are listed.
const LISTED: usize = 200;

/// A life that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    begun_at: Timestamp,
    known_lease: RunLease,
    agent: Option<AgentId>,
}

#[async_trait]
impl Fleets for Model {
    async fn fleet(&self) -> Result<Fleet, Error> {
        Ok(self.read(Tables::fleet))
    }

    async fn begin_fleet_epoch(&self, new: NewFleetEpoch, now: Timestamp) -> Result<Fleet, Error> {
        self.write(|tx| begin(tx, &new, now))
    }

    async fn find_owed(&self, agent: AgentId) -> Result<Option<Owed>, Error> {
        Ok(self.read(|tables| {
            let told = tables.agents.get(agent).map(|_| tables.recounted(agent))?;
            let owed = tables.lives.from(FleetEpoch(told.0 + 1));
            let owed = owed.filter(|(_, life)| life.agent.is_none_or(|concerned| concerned == agent));
            owed.map(|(epoch, life)| Owed {
                epoch: *epoch,
                known_lease: life.known_lease,
                begun_at: life.begun_at,
            })
            .reduce(|one, other| Owed {
                epoch: one.epoch.max(other.epoch),
                known_lease: one.known_lease.min(other.known_lease),
                begun_at: one.begun_at.max(other.begun_at),
            })
        }))
    }

    async fn permit_states(&self, permits: &[PermitId]) -> Result<HashMap<PermitId, publish::State>, Error> {
        Ok(self.read(|tables| {
            let with_permit = tables.intents.rows().filter_map(|intent| {
                let permit = intent.permit.as_ref()?.id;
                permits.contains(&permit).then_some((permit, intent.state))
            });
            with_permit.collect()
        }))
    }

    async fn record_recount(&self, agent: AgentId, epoch: FleetEpoch) -> Result<(), Error> {
        self.write(|tx| {
            if tx.tables.agents.has(agent) && tx.tables.recounted(agent) < epoch {
                tx.tables.recounted.put(agent, epoch);
            }
            Ok(())
        })
    }

    async fn list_unarmed_intents(
        &self,
        agent: AgentId,
        account: Option<AccountId>,
        before: Timestamp,
        after: Option<IntentId>,
        limit: u32,
    ) -> Result<Vec<(IntentId, WorkspaceId, PostingId)>, Error> {
        let ours = |tables: &Tables, id: AccountId| {
            let bound = tables.accounts.get(id).is_some_and(|bound| bound.agent == Some(agent));
            bound && account.is_none_or(|one| one == id)
        };
        Ok(self.read(|tables| {
            let waiting = tables.postings.rows().filter(|posting| {
                matches!(posting.state, State::Queued | State::Running | State::NeedsHuman)
                    && ours(tables, posting.account)
            });
            let mut found: Vec<_> = waiting
                .filter_map(|posting| tables.intents.get(posting.intent))
                .filter(|intent| {
                    matches!(intent.state, publish::State::Preparing | publish::State::Prepared)
                        && intent.created_at < before
                        && after.is_none_or(|after| intent.id > after)
                })
                .map(|intent| (intent.id, intent.workspace, intent.posting))
                .collect();
            found.sort_unstable();
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            found
        }))
    }

    async fn list_armed_before(
        &self,
        epoch: FleetEpoch,
        agent: Option<AgentId>,
        limit: u32,
    ) -> Result<Vec<Intent>, Error> {
        Ok(self.read(|tables| {
            let of_agent = |intent: &Intent| {
                let posting = tables.postings.get(intent.posting);
                let job = posting.and_then(|posting| tables.jobs.get(posting.job));
                job.is_some_and(|job| agent.is_none_or(|agent| job.agent == agent))
            };
            let mut armed: Vec<_> = tables
                .intents
                .rows()
                .filter_map(|intent| Some((intent.permit.as_ref()?, intent)))
                .filter(|(permit, intent)| {
                    intent.state == publish::State::Armed
                        && permit.run_lease.0 < epoch.first_number()
                        && of_agent(intent)
                })
                .map(|(permit, intent)| (permit.report_by, tables.with_baseline(intent)))
                .collect();
            armed.sort_by_key(|(report_by, intent)| (*report_by, intent.id));
            armed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            armed.into_iter().map(|(_, intent)| intent).collect()
        }))
    }
}

#[async_trait]
impl Looks for Model {
    async fn list_looks(&self, workspace: WorkspaceId, posting: PostingId) -> Result<Vec<LookRecord>, Error> {
        Ok(self.read(|tables| {
            let ours =
                tables.looks.rows().filter(|look| look.posting == posting && look.workspace == workspace);
            let mut looks: Vec<_> = ours.map(|look| look.look.clone()).collect();
            looks.sort_by_key(|look| look.at);
            looks.split_off(looks.len().saturating_sub(LISTED))
        }))
    }
}

impl Tables {
    fn fleet(&self) -> Fleet {
        Fleet {
            database: DATABASE,
            epoch: self.newest_epoch(),
            run_lease: RunLease(self.run_leases),
            events: self.workspaces.rows().map(|workspace| workspace.event_seq).sum(),
        }
    }

    /// The newest life; the first one needs no row.
    pub(super) fn newest_epoch(&self) -> FleetEpoch {
        self.lives.from(FleetEpoch(0)).map(|(epoch, _)| *epoch).last().unwrap_or_default()
    }

    fn recounted(&self, agent: AgentId) -> FleetEpoch {
        self.recounted.get(agent).copied().unwrap_or_default()
    }

    /// Keeps the first report of a look.
    pub(super) fn insert_look(&mut self, look: ChangeLook) {
        let key = (look.intent, look.look.seq);
        if !self.looks.has(key) {
            self.looks.put(key, look);
        }
    }
}

fn begin(tx: &mut Tx<'_>, new: &NewFleetEpoch, now: Timestamp) -> Result<Fleet, Error> {
    let epoch = tx.tables.newest_epoch().after(new.after);
    let known_lease = RunLease(tx.tables.run_leases);
    tx.tables.lives.put(epoch, Life { begun_at: now, known_lease, agent: new.agent });
    tx.tables.run_leases = tx.tables.run_leases.max(epoch.first_number());
    let mut concerned: Vec<_> = match new.agent.and_then(|agent| tx.tables.agents.get(agent)) {
        Some(agent) => vec![agent.workspace],
        None => tx.tables.workspaces.rows().map(|workspace| workspace.id).collect(),
    };
    if new.agent.is_none() {
        let first = SessionEpoch(epoch.first_number());
        let behind: Vec<_> = tx.tables.agents.rows().filter(|agent| agent.epoch < first).cloned().collect();
        for mut agent in behind {
            agent.epoch = first;
            tx.tables.agents.put(agent.id, agent);
        }
    }
    concerned.sort_unstable();
    let told = concerned.into_iter().map(|workspace| NewEvent {
        workspace,
        kind: Kind::FleetRestored,
        subject: Subject { agent: new.agent, ..Subject::default() },
        data: json!({ "epoch": epoch.0, "reason": new.reason }),
    });
    let told: Vec<_> = told.collect();
    tx.append_events(&told, now)?;
    Ok(tx.tables.fleet())
}
