//! The fence around the click: prepared forms, permits, settlements. Asked by agents only.

use std::time::Duration;

use tradepost_domain::audit::{Detail, Target};
use tradepost_domain::id::{AgentId, ContentHash, IntentId, PermitId, SessionEpoch};
use tradepost_domain::posting::{Publication, Receipt};
use tradepost_domain::publish::{self, Intent};
use tradepost_store::{EpochGuard, audit};

use super::core::Core;
use super::error::{Error, Reason, Result};
use super::recount::ToldPermit;
use super::run::Run;
use super::work::Decision;

/// A form that is filled and waits for its permit.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The run that filled it.
    pub run: Run,
    /// The intent it serves.
    pub intent: IntentId,
    /// The stream the agent works on.
    pub epoch: SessionEpoch,
    /// Own listings before the click.
    pub baseline: Vec<String>,
    /// Hash of what was read back from the form.
    pub fingerprint: String,
}

/// A request for a permit.
#[derive(Debug, Clone)]
pub struct PermitRequest {
    /// The agent's own name of it.
    pub request: String,
    /// The asking run.
    pub run: Run,
    /// The intent.
    pub intent: IntentId,
    /// The intent's number.
    pub generation: u32,
    /// The stream the agent works on.
    pub epoch: SessionEpoch,
    /// Hash of the baseline the agent holds.
    pub baseline_hash: ContentHash,
    /// The fingerprint the agent holds.
    pub fingerprint: String,
}

/// A permit that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Its id.
    pub permit: PermitId,
    /// What is left of its life.
    pub ttl: Duration,
}

/// What became of a click.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// The listing is there.
    Confirmed(Box<Receipt>),
    /// No click was sent.
    NotClicked(String),
    /// The effect is not known.
    Uncertain(String),
}

impl Settlement {
    fn name(&self) -> &'static str {
        match self {
            Self::Confirmed(_) => "confirmed",
            Self::NotClicked(_) => "not_clicked",
            Self::Uncertain(_) => "uncertain",
        }
    }
}

/// Most own listings in a baseline.
const BASELINE_MAX: usize = 20_000;

impl Core {
    /// Saves the baseline and the fingerprint of a filled form.
    pub async fn record_prepared(&self, agent: AgentId, prepared: Prepared) -> Result<()> {
        if prepared.baseline.len() > BASELINE_MAX {
            let message = format!("are {}; at most {BASELINE_MAX} can be handled", prepared.baseline.len());
            return Err(Error::field("baseline_item_ids", message));
        }
        let (intent, guess) = self.intent_of(agent, prepared.run, prepared.intent).await?;
        let guard = Some(EpochGuard { agent, epoch: prepared.epoch });
        self.decide_from(guess, intent.workspace, intent.posting, |publication, _| {
            present(publication, agent, prepared.run, prepared.intent)?;
            let event = publish::Event::Prepared {
                run_lease: prepared.run.1,
                baseline: prepared.baseline.clone(),
                fingerprint: prepared.fingerprint.clone(),
            };
            Ok(Some(Decision { guard, ..event.into() }))
        })
        .await
        .map(drop)
    }

    /// Gives the single-use permit; the same one for a repeated request.
    pub async fn acquire_permit(&self, agent: AgentId, wanted: PermitRequest) -> Result<Granted> {
        let (intent, guess) = self.intent_of(agent, wanted.run, wanted.intent).await?;
        let guard = Some(EpochGuard { agent, epoch: wanted.epoch });
        let fresh = PermitId(self.id());
        audit::about(Target::Posting, intent.posting.0);
        let publication = self
            .decide_from(guess, intent.workspace, intent.posting, |publication, _| {
                present(publication, agent, wanted.run, wanted.intent)?;
                if publication.posting.generation != wanted.generation {
                    return Err(Error::stale_run());
                }
                let event = publish::Event::Arm {
                    permit: fresh,
                    request: wanted.request.clone(),
                    run_lease: wanted.run.1,
                    epoch: wanted.epoch,
                    baseline_hash: wanted.baseline_hash,
                    fingerprint: wanted.fingerprint.clone(),
                };
                Ok(Some(Decision { guard, ..event.into() }))
            })
            .await;
        if let Err(error) = &publication
            && error.reason == Reason::Paced
        {
            // The claim believed that it may begin: what it reads is mended, so that no form is filled in vain again.
            audit::aside(self.roll_window(intent.workspace, intent.account)).await?;
        }
        let publication = publication?;
        let permit = publication
            .intent
            .permit
            .ok_or_else(|| Error::internal(format!("armed intent {} has no permit", wanted.intent)))?;
        // The answer to an old request may come when nothing may be clicked any more.
        let ttl = match publication.intent.state {
            publish::State::Armed => publish::PERMIT_TTL.saturating_sub(self.now().since(permit.armed_at)),
            _ => Duration::ZERO,
        };
        Ok(Granted { permit: permit.id, ttl })
    }

    /// Stores what became of the click. Late and repeated settlements are accepted and change nothing.
    pub async fn settle(
        &self,
        agent: AgentId,
        intent: IntentId,
        permit: PermitId,
        run: Run,
        settlement: Settlement,
    ) -> Result<()> {
        let (intent, guess) = self.intent_of(agent, run, intent).await?;
        if intent.permit.as_ref().map(|held| held.id) == Some(permit) {
            return self.settle_known(guess, &intent, permit, &settlement).await;
        }
        let epoch = self.store.find_agent(agent).await?.map_or(SessionEpoch(0), |row| row.epoch);
        let told = ToldPermit {
            permit,
            request: permit.to_string(),
            run,
            intent: intent.id,
            epoch,
            baseline: None,
            outcome: Some(settlement),
        };
        self.settle_forgotten(agent, &intent, told).await
    }

    /// Stores what became of a permit that the intent has. A publication that was read a moment ago saves reading it.
    pub(super) async fn settle_known(
        &self,
        guess: Option<Publication>,
        intent: &Intent,
        permit: PermitId,
        settlement: &Settlement,
    ) -> Result<()> {
        match self.settle_with(guess, intent, permit, settlement).await {
            Err(error) if error.reason == Reason::ItemTaken => {
                let reason = "the listing that was recognised belongs to another posting already".to_owned();
                self.settle_with(None, intent, permit, &Settlement::Uncertain(reason)).await
            }
            settled => settled,
        }
    }

    async fn settle_with(
        &self,
        guess: Option<Publication>,
        intent: &Intent,
        permit: PermitId,
        settlement: &Settlement,
    ) -> Result<()> {
        audit::about(Target::Posting, intent.posting.0);
        audit::detail(Detail::To, settlement.name());
        self.decide_from(guess, intent.workspace, intent.posting, |publication, now| {
            if publication.intent.id != intent.id {
                tracing::warn!(intent = %intent.id, ?settlement, "a settlement of an older intent changes nothing");
                return Ok(None);
            }
            let (event, receipt) = match settlement {
                Settlement::Confirmed(receipt) => {
                    (publish::Event::Confirm { permit, item: receipt.item.clone() }, Some(receipt.as_ref().clone()))
                }
                Settlement::NotClicked(reason) => {
                    (publish::Event::NotClicked { permit, reason: reason.clone() }, None)
                }
                Settlement::Uncertain(reason) => (publish::Event::Uncertain { permit, reason: reason.clone() }, None),
            };
            match publish::step(&publication.intent, event.clone(), now) {
                Ok(after) if after.state == publication.intent.state => Ok(None),
                Err(publish::Rejected::State(state)) => {
                    tracing::warn!(intent = %intent.id, ?state, "a late settlement changes nothing");
                    Ok(None)
                }
                Err(rejected) => Err(rejected.into()),
                Ok(_) => Ok(Some(Decision { receipt, ..event.into() })),
            }
        })
        .await
        .map(drop)
    }

    /// An intent of a job of this agent, with its publication where the run says which that is.
    async fn intent_of(
        &self,
        agent: AgentId,
        run: Run,
        id: IntentId,
    ) -> Result<(Intent, Option<Publication>)> {
        let found = self.store.find_run(agent, run.0).await?.and_then(|found| found.publication);
        if let Some(publication) = found.filter(|publication| publication.intent.id == id) {
            return Ok((publication.intent.clone(), Some(publication)));
        }
        self.older_intent_of(agent, id).await.map(|intent| (intent, None))
    }

    async fn older_intent_of(&self, agent: AgentId, id: IntentId) -> Result<Intent> {
        let missing = || {
            Error::new(
                Reason::IntentNotFound,
                format!("this agent has no intent {id}; end the run without a click"),
            )
        };
        let intent = self.store.find_intent(id).await?.ok_or_else(missing)?;
        let posting = self.store.find_posting(intent.workspace, intent.posting).await?.ok_or_else(missing)?;
        let job = self.store.find_agent_job(agent, posting.job).await?;
        if job.is_some() { Ok(intent) } else { Err(missing()) }
    }
}

/// Only the present run of the present intent may go towards the click.
fn present(publication: &Publication, agent: AgentId, run: Run, intent: IntentId) -> Result<()> {
    let job = &publication.job;
    let same = job.agent == agent && job.id == run.0 && publication.intent.id == intent;
    if same { Ok(()) } else { Err(Error::stale_run()) }
}
