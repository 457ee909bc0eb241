//! Letting go of what is old.

use async_trait::async_trait;
use tradepost_domain::id::WorkspaceId;
use tradepost_domain::time::Timestamp;
use tradepost_store::{Error, Retention};
use uuid::Uuid;

use super::{Fault, Tx};
use crate::backend::{Backend, Conn};
use crate::dialect;
use crate::time::Time;

struct Place {
    seq: i64,
    stored_at: Time,
}

#[async_trait]
impl Retention for Backend {
    async fn next_workspace(&self, after: Option<WorkspaceId>) -> Result<Option<WorkspaceId>, Error> {
        let after = after.map_or(Uuid::nil(), |workspace| workspace.0);
        self.read(async |conn| {
            let next = sqlx::query_scalar!(
                r#"SELECT id AS "id!: Uuid" FROM workspaces WHERE id > $1 ORDER BY id LIMIT 1"#,
                after,
            )
            .fetch_optional(conn)
            .await?;
            Ok(next.map(WorkspaceId))
        })
        .await
    }

    async fn forget_events(
        &self,
        workspace: WorkspaceId,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, Error> {
        self.write(move |tx| Box::pin(forget_events(tx, workspace, before, limit))).await
    }

    async fn forget_steps(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write(move |tx| {
            Box::pin(async move { dialect::forget_steps(tx.conn, Time(before), i64::from(limit)).await })
        })
        .await
    }

    async fn forget_evidence(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let contents = sqlx::query_scalar!(
                    r#"DELETE FROM evidence WHERE id IN (
                           SELECT e.id FROM evidence e JOIN jobs j ON j.id = e.job_id
                           WHERE e.created_at < $1 AND j.state IN ('succeeded', 'failed', 'cancelled')
                           ORDER BY e.created_at LIMIT $2)
                       RETURNING content_hash AS "content!""#,
                    Time(before),
                    i64::from(limit),
                )
                .fetch_all(&mut *tx.conn)
                .await?;
                let forgotten = u64::try_from(contents.len()).unwrap_or(u64::MAX);
                drop_contents(tx.conn, contents).await?;
                Ok(forgotten)
            })
        })
        .await
    }

    async fn forget_jobs(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write(move |tx| Box::pin(forget_jobs(tx, before, limit))).await
    }
}

/// Places are in the order of time, so the old ones are the first ones: no index on the time is needed, which every event
/// would pay for.
async fn forget_events(
    tx: Tx<'_>,
    workspace: WorkspaceId,
    before: Timestamp,
    limit: u32,
) -> Result<u64, Fault> {
    let oldest = sqlx::query_as!(
        Place,
        r#"SELECT seq AS "seq!", stored_at AS "stored_at!: Time" FROM events
           WHERE workspace_id = $1 ORDER BY seq LIMIT $2"#,
        workspace.0,
        i64::from(limit),
    )
    .fetch_all(&mut *tx.conn)
    .await?;
    let mut old = oldest.iter().take_while(|place| place.stored_at.0 < before).map(|place| place.seq);
    let Some(first) = old.next() else { return Ok(0) };
    // Between two places, so that the planner knows that it is a small part.
    let forgotten = sqlx::query!(
        "DELETE FROM events WHERE workspace_id = $1 AND seq >= $2 AND seq <= $3",
        workspace.0,
        first,
        old.last().unwrap_or(first),
    )
    .execute(&mut *tx.conn)
    .await?;
    Ok(forgotten.rows_affected())
}

async fn forget_jobs(tx: Tx<'_>, before: Timestamp, limit: u32) -> Result<u64, Fault> {
    let jobs = sqlx::query_scalar!(
        r#"SELECT id AS "id!: Uuid" FROM jobs
           WHERE kind <> 'publish' AND state IN ('succeeded', 'failed', 'cancelled') AND updated_at < $1
           ORDER BY updated_at LIMIT $2"#,
        Time(before),
        i64::from(limit),
    )
    .fetch_all(&mut *tx.conn)
    .await?;
    let mut forgotten = 0;
    for job in jobs {
        sqlx::query!("DELETE FROM run_steps WHERE job_id = $1", job).execute(&mut *tx.conn).await?;
        let contents = sqlx::query_scalar!(
            r#"DELETE FROM evidence WHERE job_id = $1 RETURNING content_hash AS "content!""#,
            job,
        )
        .fetch_all(&mut *tx.conn)
        .await?;
        drop_contents(tx.conn, contents).await?;
        let deleted = sqlx::query!("DELETE FROM jobs WHERE id = $1", job).execute(&mut *tx.conn).await?;
        forgotten += deleted.rows_affected();
    }
    Ok(forgotten)
}

/// Contents that nothing has any more. One that is being stored again meanwhile is held by its foreign key: the batch then
/// fails as a whole, and the next round does it.
async fn drop_contents(conn: &mut Conn, mut contents: Vec<Vec<u8>>) -> Result<(), Fault> {
    contents.sort_unstable();
    contents.dedup();
    for content in contents {
        sqlx::query!(
            "DELETE FROM blobs WHERE sha256 = $1
               AND NOT EXISTS (SELECT 1 FROM evidence WHERE content_hash = $1)
               AND NOT EXISTS (SELECT 1 FROM photos WHERE content_hash = $1)",
            content,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
