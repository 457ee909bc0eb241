//! Tells the controller what became of permits, until it has answered.
//!
//! What is to be told is journalled before: an agent that ends meanwhile goes on at its next start.

use std::sync::Arc;
use std::time::Duration;

use tradepost_domain::id::PermitId;
use tradepost_runtime::backoff::Backoff;
use tradepost_runtime::ids::Ids;

use super::link::{ControllerLink, LinkError, LinkFault};
use crate::journal::{self, Journal, Outcome, PermitRequest, Record, Recovery};

/// First and longest delay between tries, before jitter.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// What the settler needs; cheap to clone.
#[derive(Clone)]
pub struct Settler {
    /// The controller.
    pub link: Arc<dyn ControllerLink>,
    /// The journal.
    pub journal: Arc<Journal>,
    /// For jitter.
    pub ids: Ids,
}

/// How the controller took an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// As it was told.
    Accepted,
    /// It knows better: the permit was decided about otherwise.
    Refused(LinkError),
}

impl Settler {
    /// Tells the outcome of a permit, which the journal holds, until the controller has answered.
    pub async fn settle(
        &self,
        permit: PermitId,
        request: &PermitRequest,
        outcome: &Outcome,
    ) -> Result<Answer, journal::Error> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1, self.ids.clone());
        let answer = loop {
            match self.link.settle(permit, request, outcome).await {
                Ok(()) => break Answer::Accepted,
                Err(error) if error.fault != LinkFault::Refused => {
                    tracing::warn!(error = error.message, "the outcome of a publication is not reported yet");
                    tokio::time::sleep(error.retry_after.unwrap_or_else(|| backoff.next_delay())).await;
                }
                Err(error) => {
                    tracing::error!(
                        reason = error.reason,
                        error = error.message,
                        "the controller does not take the outcome of a publication"
                    );
                    break Answer::Refused(error);
                }
            }
        };
        let record = match &answer {
            Answer::Accepted => Record::Settled { permit },
            Answer::Refused(_) => Record::Refused { permit },
        };
        self.journal.append_async(record).await?;
        Ok(answer)
    }

    /// Does what the journal of an earlier process asks for. Its Chrome must be proven dead before.
    pub async fn recover(&self, recovery: Recovery) -> Result<(), journal::Error> {
        match recovery {
            Recovery::Settle { permit, request, outcome } => {
                self.settle(permit, &request, &outcome).await.map(drop)
            }
            Recovery::AskAgain(request) => self.ask_again(request).await,
        }
    }

    /// Finds out whether a permit was given, and gives it back.
    pub async fn ask_again(&self, request: PermitRequest) -> Result<(), journal::Error> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1, self.ids.clone());
        loop {
            match self.link.acquire_permit(&request).await {
                Ok(granted) => {
                    let name = request.request.clone();
                    let permit = granted.permit;
                    let given = Record::Permit { request: name, permit, ttl: granted.ttl };
                    self.journal.append_async(given).await?;
                    let outcome =
                        Outcome::NotClicked(String::from("the permit's answer was lost; it was not used"));
                    self.journal.append_async(Record::Outcome { permit, outcome: outcome.clone() }).await?;
                    return self.settle(permit, &request, &outcome).await.map(drop);
                }
                Err(error) if error.fault != LinkFault::Refused => {
                    tokio::time::sleep(error.retry_after.unwrap_or_else(|| backoff.next_delay())).await;
                }
                Err(error) => {
                    tracing::info!(reason = error.reason, "no permit was given for an earlier request");
                    return self
                        .journal
                        .append_async(Record::PermitDenied { request: request.request })
                        .await;
                }
            }
        }
    }
}
