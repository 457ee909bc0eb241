//! What agents' journals tell of permits that the database may have forgotten.

use serde_json::json;
use tradepost_domain::event::{self, NewEvent, Subject};
use tradepost_domain::fleet::FleetEpoch;
use tradepost_domain::id::{AgentId, ContentHash, IntentId, PermitId, PostingId, SessionEpoch, WorkspaceId};
use tradepost_domain::posting::{Baseline, Event, Fate, Publication, Receipt, Told};
use tradepost_domain::publish::{self, Permit, baseline_hash};
use tradepost_store::Change;

use super::core::Core;
use super::error::{Error, Kind, Reason, Result};
use super::permit::Settlement;
use super::run::Run;
use super::work::Decision;

/// One permit in an agent's journal.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldPermit {
    /// The permit.
    pub permit: PermitId,
    /// The agent's name of its request.
    pub request: String,
    /// The run that asked for it.
    pub run: Run,
    /// The intent it was given for.
    pub intent: IntentId,
    /// The stream it was given over.
    pub epoch: SessionEpoch,
    /// Hash of the baseline it was given for; none when the stored one is known to be it.
    pub baseline: Option<ContentHash>,
    /// What became of it; none while its run goes on.
    pub outcome: Option<Settlement>,
}

impl Core {
    /// Takes in what an agent's journal holds. What the database knows already changes nothing.
    pub async fn told(&self, agent: AgentId, permits: Vec<ToldPermit>) -> Result<()> {
        let Some(row) = self.store.find_agent(agent).await? else { return Ok(()) };
        for told in permits {
            match self.take_in(row.workspace, agent, &told).await {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Internal | Kind::Aborted) => {
                    return Err(error);
                }
                // One that cannot be stored must not keep the agent from all others.
                Err(error) => {
                    tracing::error!(%agent, permit = %told.permit, %error, "what an agent tells of a permit cannot be stored");
                    self.forgotten(row.workspace, agent, &told).await?;
                }
            }
        }
        Ok(())
    }

    async fn take_in(&self, workspace: WorkspaceId, agent: AgentId, told: &ToldPermit) -> Result<()> {
        if let Some(intent) = self.store.find_intent_by_permit(told.permit).await? {
            let ours = intent.workspace == workspace;
            return match &told.outcome {
                Some(settlement) if ours => self.settle_known(None, &intent, told.permit, settlement).await,
                _ => Ok(()),
            };
        }
        if matches!(told.outcome, Some(Settlement::NotClicked(_))) {
            return Ok(());
        }
        match self.posting_of(workspace, told).await? {
            Some(posting) => self.remember(workspace, posting, told).await,
            None => self.forgotten(workspace, agent, told).await,
        }
    }

    /// The posting that a forgotten permit was given for: by its intent, else by its job, as a later attempt's intent may be
    /// forgotten itself.
    async fn posting_of(&self, workspace: WorkspaceId, told: &ToldPermit) -> Result<Option<PostingId>> {
        if let Some(intent) = self.store.find_intent(told.intent).await? {
            return Ok((intent.workspace == workspace).then_some(intent.posting));
        }
        Ok(self.store.find_job(workspace, told.run.0).await?.and_then(|job| job.posting))
    }

    async fn remember(&self, workspace: WorkspaceId, posting: PostingId, told: &ToldPermit) -> Result<()> {
        let (fate, receipt) = fate(told);
        let done = self.remember_as(workspace, posting, told, &fate, receipt, false).await;
        let again = match done {
            Err(error) if error.reason == Reason::AccountBusy => fate,
            Err(error) if error.reason == Reason::ItemTaken => Fate::MayBeClicked(String::from(
                "the listing that was recognised belongs to another posting already",
            )),
            done => return done,
        };
        self.remember_as(workspace, posting, told, &again, None, true).await
    }

    async fn remember_as(
        &self,
        workspace: WorkspaceId,
        posting: PostingId,
        told: &ToldPermit,
        fate: &Fate,
        receipt: Option<Receipt>,
        ask: bool,
    ) -> Result<()> {
        self.decide(workspace, posting, |publication, now| {
            let permit = Permit {
                id: told.permit,
                request: told.request.clone(),
                run_lease: told.run.1,
                epoch: told.epoch,
                armed_at: now,
                report_by: now,
            };
            let baseline = if ask { Baseline::Lost } else { baseline(publication, told) };
            let event = Event::Told(Box::new(Told { permit, fate: fate.clone(), baseline }));
            let receipt = receipt.clone().filter(|_| publication.intent.state != publish::State::Confirmed);
            Ok(Some(Decision { receipt, ..event.into() }))
        })
        .await?;
        tracing::warn!(%posting, permit = %told.permit, "an agent's journal tells of a permit that the restored copy has forgotten");
        Ok(())
    }

    /// The whole posting is forgotten: people are told in the feed.
    async fn forgotten(&self, workspace: WorkspaceId, agent: AgentId, told: &ToldPermit) -> Result<()> {
        let item = match &told.outcome {
            Some(Settlement::Confirmed(receipt)) => Some(&receipt.item),
            _ => None,
        };
        tracing::error!(%agent, permit = %told.permit, item = item.map(|item| item.url.as_str()),
            "an agent published something that the restored copy has no posting for");
        let event = NewEvent {
            workspace,
            kind: event::Kind::PublicationForgotten,
            subject: Subject { agent: Some(agent), ..Subject::default() },
            data: json!({
                "permit": told.permit,
                "item_id": item.map(|item| item.item_id.as_str()),
                "url": item.map(|item| item.url.as_str()),
            }),
        };
        Ok(self.store.commit(Change { events: vec![event], ..Change::default() }, self.now()).await?)
    }

    /// An agent settles a permit that no intent has: if its intent waits for one, the database has forgotten that it gave it.
    pub(super) async fn settle_forgotten(
        &self,
        agent: AgentId,
        intent: &publish::Intent,
        told: ToldPermit,
    ) -> Result<()> {
        let unarmed = matches!(intent.state, publish::State::Preparing | publish::State::Prepared);
        if !unarmed || intent.permit.is_some() {
            return Err(Error::from(publish::Rejected::OtherPermit));
        }
        let what = format!("a permit of run {} for intent {}", told.run.1.0, intent.id);
        self.restored_before(agent, FleetEpoch::of(told.run.1.0), &what).await?;
        self.take_in(intent.workspace, agent, &told).await
    }
}

fn fate(told: &ToldPermit) -> (Fate, Option<Receipt>) {
    match &told.outcome {
        Some(Settlement::Confirmed(receipt)) => {
            (Fate::Confirmed(receipt.item.clone()), Some(receipt.as_ref().clone()))
        }
        Some(Settlement::NotClicked(_)) => (Fate::NotClicked, None),
        Some(Settlement::Uncertain(reason)) => (Fate::MayBeClicked(reason.clone()), None),
        None => (Fate::MayBeClicked(String::from("the click may be under way")), None),
    }
}

fn baseline(publication: &Publication, told: &ToldPermit) -> Baseline {
    let stored = match told.baseline {
        Some(hash) => hash == baseline_hash(&publication.intent.baseline),
        None => {
            publication.intent.state == publish::State::Prepared
                && publication.job.run_lease == Some(told.run.1)
        }
    };
    if stored { Baseline::Stored } else { Baseline::Lost }
}
