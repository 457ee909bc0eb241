//! Handing ready jobs to attached agents, and keeping their streams current.

use tradepost_domain::id::AgentId;
use tradepost_store::Claim;

use crate::metric;
use crate::service::{Core, Result};
use crate::session::{Sessions, convert};

/// Jobs claimed at once.
const CLAIM: u32 = 256;

/// Claims what the attached agents can take, and sends it to them. A job whose dispatch is lost comes back by its lease.
/// Only agents are asked for to whom something happened; now and then all of them, as hints may be lost.
pub async fn round(core: &Core, sessions: &Sessions) -> Result<()> {
    loop {
        let agents = sessions.due();
        if agents.is_empty() {
            return Ok(());
        }
        let asked: Vec<AgentId> = agents.iter().map(|(agent, ..)| *agent).collect();
        let claimed = match core.store.claim_jobs(Claim { agents, limit: CLAIM }, core.now()).await {
            Ok(claimed) => claimed,
            Err(error) => {
                sessions.wake(&asked);
                return Err(error.into());
            }
        };
        if claimed.len() >= usize::try_from(CLAIM).unwrap_or(usize::MAX) {
            // Whose turn did not come is not known.
            sessions.wake(&asked);
        }
        for assignment in core.assignments(claimed).await? {
            let (agent, id, kind) = (assignment.job.agent, assignment.job.id, assignment.job.kind);
            let run = (id, assignment.run_lease);
            if let Some(task) = &assignment.task {
                core.recent.put(run, &task.publication);
            }
            match sessions.dispatch(agent, run, convert::dispatch(assignment)) {
                Ok(()) => {
                    tracing::info!(job = %id, %agent, run_lease = run.1.0, kind = kind.name(), "a job was dispatched");
                    metric::dispatched(kind.name());
                }
                Err(reason) => {
                    tracing::info!(job = %id, %agent, ?reason, "a dispatch was not sent; its lease ends soon");
                }
            }
        }
    }
}

/// Records that the attached agents live, and ends the streams that are not their agents' newest.
pub async fn touch(core: &Core, sessions: &Sessions) -> Result<()> {
    let attached = sessions.attached();
    if attached.is_empty() {
        return Ok(());
    }
    for agent in core.store.touch_agents(&attached, core.now()).await? {
        sessions.cut(agent, "the agent is attached elsewhere, or was revoked");
    }
    Ok(())
}

/// Tells an agent of runs whose end a person wishes.
pub async fn cancel_wishes(core: &Core, sessions: &Sessions, agent: AgentId) -> Result<()> {
    for job in core.store.list_agent_runs(agent).await? {
        if let (true, Some(run_lease)) = (job.cancel_requested, job.run_lease)
            && let Err(reason) = sessions.send(agent, convert::cancel((job.id, run_lease)))
        {
            tracing::debug!(%agent, ?reason, "a wish to cancel was not sent; the next beat tells it");
        }
    }
    Ok(())
}

/// Ends the stream of an agent that attached elsewhere or was revoked.
pub async fn check_session(core: &Core, sessions: &Sessions, agent: AgentId) -> Result<()> {
    let Some((_, epoch)) = sessions.attached().into_iter().find(|(attached, _)| *attached == agent) else {
        return Ok(());
    };
    let stale = core.store.touch_agents(&[(agent, epoch)], core.now()).await?;
    if stale.contains(&agent) {
        sessions.cut(agent, "the agent is attached elsewhere, or was revoked");
    }
    Ok(())
}
