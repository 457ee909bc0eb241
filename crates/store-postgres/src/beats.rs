//! What agents' beats and greetings ask for: their runs, and longer leases; for all agents who beat at that moment by one
//! statement each.

use std::collections::{HashMap, HashSet};

use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;
use tradepost_domain::id::{AgentId, JobId, RunLease};
use tradepost_domain::job::{self, Job};
use tradepost_domain::time::Timestamp;
use tradepost_store::Error;
use uuid::Uuid;

use crate::backend::Backend;
use crate::coalesce;
use crate::shared::{Fault, jobs};
use crate::time::Time;

/// A run that its agent still works on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beat {
    agent: AgentId,
    job: JobId,
    run_lease: RunLease,
    until: Timestamp,
}

struct Extended {
    job: Uuid,
    run_lease: i64,
    agent: Uuid,
}

impl Backend {
    /// See `Work::list_agent_runs`.
    pub(crate) async fn runs_of(&self, agent: AgentId) -> Result<Vec<Job>, Error> {
        let counter = self.queues().map(|queues| queues.agent_runs);
        Ok(coalesce::ask(counter, vec![agent]).await?.pop().unwrap_or_default())
    }

    /// See `Work::extend_leases`.
    pub(crate) async fn commit_beat(
        &self,
        agent: AgentId,
        runs: &[(JobId, RunLease)],
        now: Timestamp,
    ) -> Result<Vec<(JobId, RunLease)>, Error> {
        let counter = self.queues().map(|queues| queues.beats);
        let until = now + job::LEASE;
        let beat = |&(job, run_lease): &(JobId, RunLease)| Beat { agent, job, run_lease, until };
        let extended = coalesce::ask(counter, runs.iter().map(beat).collect()).await?;
        let over = runs.iter().zip(extended).filter(|(_, is_extended)| !is_extended);
        Ok(over.map(|(run, _)| *run).collect())
    }
}

/// For [`coalesce::serve`]: the Leased, Running and Parked jobs of each agent, the oldest first.
pub(crate) fn load_agent_runs<'c>(
    conn: &'c mut PgConnection,
    agents: &'c [AgentId],
) -> BoxFuture<'c, Result<Vec<Vec<Job>>, Fault>> {
    Box::pin(async move {
        let ids: Vec<Uuid> = agents.iter().map(|agent| agent.0).collect();
        let rows = jobs!(
            "SELECT",
            "FROM jobs WHERE agent_id = ANY($1) AND state IN ('leased', 'running', 'parked') ORDER BY created_at, id",
            &ids
        )
        .fetch_all(conn)
        .await?;
        let mut runs: HashMap<AgentId, Vec<Job>> = HashMap::new();
        for row in rows {
            let job = row.into_job()?;
            runs.entry(job.agent).or_default().push(job);
        }
        Ok(agents.iter().map(|agent| runs.get(agent).cloned().unwrap_or_default()).collect())
    })
}

/// For [`coalesce::serve`]: extends the leases of those runs that are current, and tells which are. Doing it twice is doing
/// it once, but for the version.
pub(crate) fn extend<'c>(
    conn: &'c mut PgConnection,
    beats: &'c [Beat],
) -> BoxFuture<'c, Result<Vec<bool>, Fault>> {
    Box::pin(async move {
        let rows = sqlx::query_as!(
            Extended,
            r#"WITH held AS MATERIALIZED (
                   SELECT j.id AS held_job, w.run_lease AS held_lease, w.agent AS held_agent, w.until
                   FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::timestamptz[]) AS w (job, run_lease, agent, until)
                       JOIN jobs j ON j.id = w.job AND (j.agent_id = w.agent AND j.run_lease = w.run_lease) IS TRUE
                   ORDER BY j.id FOR NO KEY UPDATE OF j
               )
               UPDATE jobs SET lease_until = until, version = version + 1 FROM held
               WHERE id = held_job
                 AND (run_lease = held_lease AND agent_id = held_agent AND state = 'running') IS TRUE
               RETURNING id AS "job!: Uuid", run_lease AS "run_lease!", held_agent AS "agent!: Uuid""#,
            &beats.iter().map(|beat| beat.job.0).collect::<Vec<_>>(),
            &beats.iter().map(|beat| beat.run_lease.0).collect::<Vec<_>>(),
            &beats.iter().map(|beat| beat.agent.0).collect::<Vec<_>>(),
            &beats.iter().map(|beat| Time(beat.until)).collect::<Vec<_>>() as &[Time],
        )
        .fetch_all(conn)
        .await?;
        // With the agent: another may have told of the same run at the same moment.
        let extended: HashSet<(Uuid, i64, Uuid)> =
            rows.into_iter().map(|row| (row.job, row.run_lease, row.agent)).collect();
        let is_extended = |beat: &Beat| extended.contains(&(beat.job.0, beat.run_lease.0, beat.agent.0));
        Ok(beats.iter().map(is_extended).collect())
    })
}
