//! Sweeps: what time alone brings about. Each works from the full state and may run anywhere, any number of times.

use tradepost_domain::job;
use tradepost_domain::publish;

use super::core::Core;
use super::error::{Reason, Result};

/// Rows of one round.
const ROUND: u32 = 200;

impl Core {
    /// Ends leases that were not prolonged. Returns how many.
    pub async fn sweep_leases(&self) -> Result<usize> {
        let expired = self.store.list_expired_leases(self.now(), ROUND).await?;
        let mut ended = 0;
        for job in expired {
            match self.apply(&job, job::Event::LeaseExpired).await {
                Ok(()) => {
                    tracing::info!(job = %job.id, agent = %job.agent, was = job.state.name(), "a lease ended without a sign of life");
                    ended += 1;
                }
                // Another controller was quicker, or the agent is back.
                Err(error) if is_settled(error.reason) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    /// Marks clicks that nobody reported on as unknown. Returns how many.
    pub async fn sweep_overdue(&self) -> Result<usize> {
        let overdue = self.store.list_overdue_intents(self.now(), ROUND).await?;
        let mut marked = 0;
        for intent in overdue {
            let decided = self
                .decide(intent.workspace, intent.posting, |publication, _| {
                    let due = publication.intent.id == intent.id
                        && publication.intent.state == publish::State::Armed;
                    Ok(due.then(|| publish::Event::ReportOverdue.into()))
                })
                .await;
            match decided {
                Ok(_) => {
                    tracing::warn!(intent = %intent.id, posting = %intent.posting, "nobody reported what became of a click");
                    marked += 1;
                }
                Err(error) if is_settled(error.reason) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(marked)
    }
}

fn is_settled(reason: Reason) -> bool {
    matches!(reason, Reason::WrongState | Reason::StaleRun | Reason::Contention)
}
