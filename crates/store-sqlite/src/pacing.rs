//! An account's pacing.

use serde_json::Value;
use tradepost_domain::id::{AccountId, WorkspaceId};
use tradepost_domain::pacing::{LIMIT_MAX, Pacing};
use tradepost_domain::time::Timestamp;

use crate::backend::Conn;
use crate::shared::Fault;
use crate::shared::pacing::{PacingRow, SPAN};
use crate::time::Time;

/// See `Work::find_pacing`.
pub(crate) async fn find(
    conn: &mut Conn,
    workspace: WorkspaceId,
    account: AccountId,
    now: Timestamp,
) -> Result<Option<Pacing>, Fault> {
    let found = sqlx::query_as!(
        PacingRow,
        r#"SELECT site AS "site!", created_at AS "created_at!: Time", pacing AS "pacing!: Value",
                  paused_at AS "paused_at?: Time", cool_down_until AS "cool_down_until?: Time",
                  cool_down_class AS "cool_down_class?", publish_from AS "publish_from!: Time",
                  publish_until AS "publish_until?: Time", pacing_version AS "pacing_version!"
           FROM accounts WHERE id = $1 AND workspace_id = $2"#,
        account.0,
        workspace.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let uses = sqlx::query_scalar!(
        r#"SELECT armed_at AS "armed_at!: Time" FROM intents
           WHERE account_id = $1 AND armed_at > $2 AND armed_at IS NOT NULL AND state <> 'not_clicked'
           ORDER BY armed_at DESC LIMIT $3"#,
        account.0,
        Time(now - SPAN),
        i64::from(LIMIT_MAX),
    )
    .fetch_all(&mut *conn)
    .await?;
    let uses = uses.into_iter().map(|at| at.0).collect();
    row.into_pacing(workspace, account, uses).map(Some)
}
