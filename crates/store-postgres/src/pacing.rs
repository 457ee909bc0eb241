//! How accounts' pacing stands: for all permits that are asked for at that moment by one statement.

use std::collections::HashMap;

use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;
use tradepost_domain::id::{AccountId, WorkspaceId};
use tradepost_domain::pacing::{LIMIT_MAX, Pacing};
use tradepost_domain::time::Timestamp;
use tradepost_store::Error;
use uuid::Uuid;

use crate::backend::Backend;
use crate::coalesce;
use crate::shared::Fault;
use crate::shared::pacing::{PacingRow, SPAN};
use crate::time::Time;

/// An account whose pacing is wanted, as of a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paced {
    workspace: WorkspaceId,
    account: AccountId,
    now: Timestamp,
}

struct UsedRow {
    place: i64,
    site: String,
    created_at: Time,
    pacing: Value,
    paused_at: Option<Time>,
    cool_down_until: Option<Time>,
    cool_down_class: Option<String>,
    publish_from: Time,
    publish_until: Option<Time>,
    pacing_version: i64,
    uses: Vec<Time>,
}

impl Backend {
    /// See `Work::find_pacing`.
    pub(crate) async fn pacing_of(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Option<Pacing>, Error> {
        let counter = self.queues().map(|queues| queues.pacing);
        Ok(coalesce::ask(counter, vec![Paced { workspace, account, now }]).await?.pop().flatten())
    }
}

/// For [`coalesce::serve`]: row and uses of each account, as of one moment.
pub(crate) fn load<'c>(
    conn: &'c mut PgConnection,
    wanted: &'c [Paced],
) -> BoxFuture<'c, Result<Vec<Option<Pacing>>, Fault>> {
    Box::pin(async move {
        let rows = sqlx::query_as!(
            UsedRow,
            r#"SELECT w.place AS "place!", a.site AS "site!", a.created_at AS "created_at!: Time",
                      a.pacing AS "pacing!: Value", a.paused_at AS "paused_at?: Time",
                      a.cool_down_until AS "cool_down_until?: Time", a.cool_down_class AS "cool_down_class?",
                      a.publish_from AS "publish_from!: Time", a.publish_until AS "publish_until?: Time",
                      a.pacing_version AS "pacing_version!",
                      ARRAY(SELECT i.armed_at FROM intents i
                            WHERE i.account_id = a.id AND i.armed_at > w.since AND i.armed_at IS NOT NULL
                              AND i.state <> 'not_clicked'
                            ORDER BY i.armed_at DESC LIMIT $4) AS "uses!: Vec<Time>"
               FROM UNNEST($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY
                       AS w (workspace, account, since, place)
                   JOIN accounts a ON a.id = w.account AND (a.workspace_id = w.workspace) IS TRUE"#,
            &wanted.iter().map(|one| one.workspace.0).collect::<Vec<Uuid>>(),
            &wanted.iter().map(|one| one.account.0).collect::<Vec<Uuid>>(),
            &wanted.iter().map(|one| Time(one.now - SPAN)).collect::<Vec<_>>() as &[Time],
            i64::from(LIMIT_MAX),
        )
        .fetch_all(conn)
        .await?;
        let mut found: HashMap<i64, UsedRow> = rows.into_iter().map(|row| (row.place, row)).collect();
        (1..)
            .zip(wanted)
            .map(|(place, one)| {
                found.remove(&place).map(|row| row.into_pacing(one.workspace, one.account)).transpose()
            })
            .collect()
    })
}

impl UsedRow {
    fn into_pacing(self, workspace: WorkspaceId, account: AccountId) -> Result<Pacing, Fault> {
        let row = PacingRow {
            site: self.site,
            created_at: self.created_at,
            pacing: self.pacing,
            paused_at: self.paused_at,
            cool_down_until: self.cool_down_until,
            cool_down_class: self.cool_down_class,
            publish_from: self.publish_from,
            publish_until: self.publish_until,
            pacing_version: self.pacing_version,
        };
        row.into_pacing(workspace, account, self.uses.into_iter().map(|at| at.0).collect())
    }
}
