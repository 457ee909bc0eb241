//! What looks for uncertain listings saw.

use async_trait::async_trait;
use serde_json::Value;
use tradepost_domain::id::{PostingId, WorkspaceId};
use tradepost_domain::reconcile::LookRecord;
use tradepost_store::{ChangeLook, Error, Looks};

use super::Fault;
use super::rows::unstorable;
use crate::backend::{Backend, Conn};
use crate::time::Time;

#[async_trait]
impl Looks for Backend {
    async fn list_looks(&self, workspace: WorkspaceId, posting: PostingId) -> Result<Vec<LookRecord>, Error> {
        self.read(async |conn| {
            let mut rows = sqlx::query_scalar!(
                r#"SELECT look AS "look!: Value" FROM looks
                   WHERE posting_id = $1 AND workspace_id = $2 ORDER BY taken_at DESC LIMIT 200"#,
                posting.0,
                workspace.0,
            )
            .fetch_all(&mut *conn)
            .await?;
            rows.reverse();
            rows.into_iter()
                .map(|value| {
                    serde_json::from_value(value)
                        .map_err(|error| Fault::inconsistent("looks.look", posting, error))
                })
                .collect()
        })
        .await
    }
}

/// Keeps the first report of a look.
pub(super) async fn insert(conn: &mut Conn, change: &ChangeLook) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO looks (intent_id, seq, workspace_id, posting_id, job_id, look, taken_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (intent_id, seq) DO NOTHING",
        change.intent.0,
        i64::from(change.look.seq),
        change.workspace.0,
        change.posting.0,
        change.look.job.0,
        serde_json::to_value(&change.look).map_err(unstorable)?,
        Time(change.look.at),
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}
