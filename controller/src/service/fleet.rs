//! The lives of the database: restored backups, recognised and made harmless (invariant I9).
//!
//! A restored copy has forgotten permits. Whoever was given one knows: before an agent gets work from such a copy, it
//! recounts its journal ([`Core::told`]), and what nobody vouches for waits for a person ([`Core::recounted`]).

use std::time::Duration;

use tradepost_domain::agent::Agent;
use tradepost_domain::audit::{Actor, RESTORED, Target};
use tradepost_domain::fleet::{Fleet, FleetEpoch, Knowledge};
use tradepost_domain::id::{AccountId, AgentId};
use tradepost_domain::posting::Event;
use tradepost_domain::publish;
use tradepost_store::{NewFleetEpoch, Owed, audit};

use super::core::Core;
use super::error::{Error, Kind, Reason, Result};

/// No open permit's report is due later; generous, as the clock may have been set back since.
const REPORTS_DUE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Rows of one round.
const ROUND: u32 = 200;

impl Core {
    /// The database is an older copy, for this reason: a new life begins after the given one, all open permits become
    /// uncertain, and every agent recounts.
    pub async fn restored(&self, by: Actor, after: FleetEpoch, reason: &str) -> Result<Fleet> {
        self.begin(by, NewFleetEpoch { after, agent: None, reason: reason.to_owned() }).await
    }

    /// The same, as far as one agent is concerned: it knows of something that the database has forgotten.
    pub(super) async fn restored_before(
        &self,
        agent: AgentId,
        known: FleetEpoch,
        what: &str,
    ) -> Result<Fleet> {
        tracing::error!(%agent, what, "the database is older than what an agent knows: it was restored from a backup");
        let reason = format!("an agent knows of more than the database: {what}");
        self.begin(Actor::Agent(agent), NewFleetEpoch { after: known, agent: Some(agent), reason }).await
    }

    async fn begin(&self, by: Actor, new: NewFleetEpoch) -> Result<Fleet> {
        let agent = new.agent;
        let scope = self.scope(by, RESTORED);
        let database = self.store.fleet().await?.database;
        let begun = audit::scope(scope, async {
            audit::about(Target::Database, database.0);
            self.store.begin_fleet_epoch(new.clone(), self.now()).await
        });
        let fleet = begun.await?;
        tracing::warn!(epoch = fleet.epoch.0, reason = new.reason, "a new fleet epoch began");
        loop {
            // Nobody's report is due later than this.
            let report_by = self.now() + REPORTS_DUE;
            let armed = self.store.list_armed_before(fleet.epoch, agent, report_by, ROUND).await?;
            let mut settled = 0;
            for intent in &armed {
                let decided = self
                    .decide(intent.workspace, intent.posting, |publication, _| {
                        let open = publication.intent.id == intent.id
                            && publication.intent.state == publish::State::Armed;
                        Ok(open.then(|| Event::Restored.into()))
                    })
                    .await;
                match decided {
                    Ok(_) => settled += 1,
                    // What is left is found by the report's deadline.
                    Err(error) => {
                        tracing::warn!(intent = %intent.id, %error, "an open permit of an older copy waits");
                    }
                }
            }
            if armed.len() < usize::try_from(ROUND).unwrap_or(usize::MAX) || settled == 0 {
                return Ok(fleet);
            }
        }
    }

    /// Compares what a greeting agent knows with the database. Returns the present life.
    pub(super) async fn recognise(&self, agent: AgentId, known: &Knowledge) -> Result<FleetEpoch> {
        let (epoch, run_lease) = self.store.newest_numbers().await?;
        // Who may not attach is told so by the attachment.
        let Some(Agent { epoch: given, .. }) = self.store.find_agent(agent).await? else {
            return Ok(epoch);
        };
        if !known.is_plausible(epoch) {
            return Err(Error::new(
                Reason::AgentAhead,
                format!(
                    "this agent's numbers (fleet epoch {}, run lease {}, stream {}) cannot come from this database, which is \
                     in fleet epoch {}",
                    known.fleet_epoch.0, known.run_lease.0, known.session_epoch.0, epoch.0
                ),
            ));
        }
        let permits: Vec<_> = known.permits.iter().map(|known| known.permit).collect();
        let stored = self.store.permit_states(&permits).await?;
        let owes_recount = self.store.find_owed(agent).await?.is_some();
        let since = known.unvouched_since(epoch, owes_recount);
        if known.exceeds(epoch, run_lease, given, since, |permit| stored.get(&permit).copied()) {
            let what = format!(
                "fleet epoch {}, run lease {}, stream {}, {} permits; the database has fleet epoch {}, run lease {}, stream {}",
                known.fleet_epoch.0,
                known.run_lease.0,
                known.session_epoch.0,
                known.permits.len(),
                epoch.0,
                run_lease.0,
                given.0,
            );
            return Ok(self.restored_before(agent, known.newest_epoch(), &what).await?.epoch);
        }
        Ok(epoch)
    }

    /// The agent has told all that its journal holds.
    pub async fn recounted(&self, agent: AgentId, known: &Knowledge) -> Result<()> {
        let Some(owed) = self.store.find_owed(agent).await? else { return Ok(()) };
        if known.vouches_since(owed.known_lease) {
            tracing::info!(%agent, epoch = owed.epoch.0, "an agent's journal vouches for what the restored copy has forgotten");
        } else {
            let why =
                "the database was restored from a backup, and this agent's journal does not reach back to it";
            self.doubt(agent, None, &owed, why).await?;
        }
        Ok(self.store.record_recount(agent, owed.epoch).await?)
    }

    /// An account leaves an agent that has not recounted: nobody else can vouch for its publications.
    pub(super) async fn leaves_agent(&self, agent: AgentId, account: AccountId) -> Result<()> {
        let Some(owed) = self.store.find_owed(agent).await? else { return Ok(()) };
        let why = "the database was restored from a backup, and the account's earlier agent has not been back since";
        self.doubt(agent, Some(account), &owed, why).await
    }

    async fn doubt(&self, agent: AgentId, account: Option<AccountId>, owed: &Owed, why: &str) -> Result<()> {
        let question = format!(
            "{why}, so that nobody can tell whether it was published after the backup was made: look on the site"
        );
        let mut after = None;
        loop {
            let round = self.store.list_unarmed_intents(agent, account, owed.begun_at, after, ROUND).await?;
            for (intent, workspace, posting) in &round {
                let decided = self
                    .decide(*workspace, *posting, |publication, _| {
                        let same = publication.intent.id == *intent;
                        Ok(same.then(|| Event::Doubted(question.clone()).into()))
                    })
                    .await;
                match decided {
                    Ok(_) => {
                        tracing::warn!(%posting, %agent, "a posting of a restored copy waits for a person");
                    }
                    Err(error) if error.kind() == Kind::FailedPrecondition => {}
                    Err(error) => return Err(error),
                }
            }
            match round.last() {
                Some((last, ..)) => after = Some(*last),
                None => return Ok(()),
            }
        }
    }
}
