//! Data keys, and what is sealed under them.

use async_trait::async_trait;
use tradepost_domain::time::Timestamp;
use tradepost_store::{Conflict, DataKey, Error, Reseal, Scope, Sealed, SealedColumn, SealedRow, Secrets};
use uuid::Uuid;

use super::{Fault, Tx};
use crate::backend::Backend;
use crate::dialect;
use crate::time::Time;

struct KeyRow {
    scope_id: Uuid,
    version: i64,
    wrapped: Vec<u8>,
    superseded_at: Option<Time>,
}

/// Of the system.
struct SeedRow {
    id: Uuid,
    key_version: i64,
    content: Vec<u8>,
}

/// Of a workspace.
struct ValueRow {
    id: Uuid,
    workspace_id: Uuid,
    key_version: i64,
    content: Vec<u8>,
}

impl From<SeedRow> for SealedRow {
    fn from(row: SeedRow) -> Self {
        let SeedRow { id, key_version, content } = row;
        Self { id, scope: Scope::System, sealed: Sealed { key_version, content } }
    }
}

impl From<ValueRow> for SealedRow {
    fn from(row: ValueRow) -> Self {
        let ValueRow { id, workspace_id, key_version, content } = row;
        Self { id, scope: Scope::of(workspace_id), sealed: Sealed { key_version, content } }
    }
}

struct CountRow {
    key_version: i64,
    count: i64,
}

impl KeyRow {
    fn into_key(self) -> DataKey {
        let Self { scope_id, version, wrapped, superseded_at } = self;
        DataKey {
            scope: Scope::of(scope_id),
            version,
            wrapped,
            superseded_at: superseded_at.map(|time| time.0),
        }
    }
}

macro_rules! keys {
    ($after:literal, $($args:tt)*) => {
        sqlx::query_as!(
            KeyRow,
            r#"SELECT scope_id AS "scope_id!: Uuid", version AS "version!", wrapped AS "wrapped!",
                      superseded_at AS "superseded_at?: Time" FROM data_keys "# + $after,
            $($args)*
        )
    };
}

#[async_trait]
impl Secrets for Backend {
    async fn data_keys(&self) -> Result<Vec<DataKey>, Error> {
        self.read(async |conn| {
            let rows = keys!("WHERE version > $1 ORDER BY version, scope_id", 0_i64).fetch_all(conn).await?;
            Ok(rows.into_iter().map(KeyRow::into_key).collect())
        })
        .await
    }

    async fn find_data_key(&self, scope: Scope, version: i64) -> Result<Option<DataKey>, Error> {
        self.read(async |conn| {
            let row = keys!("WHERE scope_id = $1 AND version = $2", scope.id(), version)
                .fetch_optional(conn)
                .await?;
            Ok(row.map(KeyRow::into_key))
        })
        .await
    }

    async fn present_data_key(&self, scope: Scope) -> Result<Option<DataKey>, Error> {
        self.read(async |conn| {
            let row = keys!(
                "WHERE scope_id = $1 AND superseded_at IS NULL ORDER BY version DESC LIMIT 1",
                scope.id()
            )
            .fetch_optional(conn)
            .await?;
            Ok(row.map(KeyRow::into_key))
        })
        .await
    }

    async fn begin_data_key(
        &self,
        scope: Scope,
        version: i64,
        wrapped: Vec<u8>,
        now: Timestamp,
    ) -> Result<DataKey, Error> {
        self.write(move |tx| Box::pin(begin(tx, scope, version, wrapped, now))).await
    }

    async fn sealed_rows(
        &self,
        column: SealedColumn,
        below: i64,
        after: Option<(i64, Uuid)>,
        limit: u32,
    ) -> Result<Vec<SealedRow>, Error> {
        let (version, id) = after.unwrap_or((0, Uuid::nil()));
        self.read(async |conn| {
            Ok(match column {
                SealedColumn::SecondFactorSeed => {
                    let rows = sqlx::query_as!(
                        SeedRow,
                        r#"SELECT user_id AS "id!: Uuid", key_version AS "key_version!", sealed_seed AS "content!"
                           FROM second_factors WHERE key_version < $1 AND (key_version, user_id) > ($2, $3)
                           ORDER BY key_version, user_id LIMIT $4"#,
                        below,
                        version,
                        id,
                        i64::from(limit),
                    );
                    rows.fetch_all(conn).await?.into_iter().map(SealedRow::from).collect()
                }
                SealedColumn::AccountCredential => {
                    let rows = sqlx::query_as!(
                        ValueRow,
                        r#"SELECT account_id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid",
                                  key_version AS "key_version!", sealed AS "content!"
                           FROM account_credentials
                           WHERE sealed IS NOT NULL AND key_version < $1 AND (key_version, account_id) > ($2, $3)
                           ORDER BY key_version, account_id LIMIT $4"#,
                        below,
                        version,
                        id,
                        i64::from(limit),
                    );
                    rows.fetch_all(conn).await?.into_iter().map(SealedRow::from).collect()
                }
            })
        })
        .await
    }

    async fn count_sealed(&self, column: SealedColumn) -> Result<Vec<(i64, u64)>, Error> {
        self.read(async |conn| {
            let rows = match column {
                SealedColumn::SecondFactorSeed => {
                    sqlx::query_as!(
                        CountRow,
                        r#"SELECT key_version AS "key_version!", COUNT(*) AS "count!: i64" FROM second_factors
                           WHERE key_version > $1 GROUP BY key_version ORDER BY key_version"#,
                        0_i64,
                    )
                    .fetch_all(conn)
                    .await?
                }
                SealedColumn::AccountCredential => {
                    sqlx::query_as!(
                        CountRow,
                        r#"SELECT key_version AS "key_version!", COUNT(*) AS "count!: i64" FROM account_credentials
                           WHERE sealed IS NOT NULL AND key_version > $1 GROUP BY key_version ORDER BY key_version"#,
                        0_i64,
                    )
                    .fetch_all(conn)
                    .await?
                }
            };
            Ok(rows
                .into_iter()
                .map(|row| (row.key_version, u64::try_from(row.count).unwrap_or_default()))
                .collect())
        })
        .await
    }

    async fn reseal(&self, column: SealedColumn, rows: Vec<Reseal>) -> Result<u64, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let mut changed = 0;
                for Reseal { id, from, to } in rows {
                    let done = match column {
                        SealedColumn::SecondFactorSeed => {
                            sqlx::query!(
                                "UPDATE second_factors SET sealed_seed = $4, key_version = $5
                                 WHERE user_id = $1 AND key_version = $2 AND sealed_seed = $3",
                                id,
                                from.key_version,
                                from.content,
                                to.content,
                                to.key_version,
                            )
                            .execute(&mut *tx.conn)
                            .await?
                        }
                        SealedColumn::AccountCredential => {
                            sqlx::query!(
                                "UPDATE account_credentials SET sealed = $4, key_version = $5
                                 WHERE account_id = $1 AND key_version = $2 AND sealed = $3",
                                id,
                                from.key_version,
                                from.content,
                                to.content,
                                to.key_version,
                            )
                            .execute(&mut *tx.conn)
                            .await?
                        }
                    };
                    changed += done.rows_affected();
                }
                if changed == 0 {
                    tx.unchanged();
                }
                Ok(changed)
            })
        })
        .await
    }

    async fn retire_data_keys(&self, version: i64) -> Result<(), Error> {
        self.write(move |tx| Box::pin(retire(tx, version))).await
    }
}

async fn begin(
    mut tx: Tx<'_>,
    scope: Scope,
    version: i64,
    wrapped: Vec<u8>,
    now: Timestamp,
) -> Result<DataKey, Fault> {
    let newer = sqlx::query_scalar!(
        r#"SELECT version AS "version!" FROM data_keys WHERE version > $1 LIMIT 1"#,
        version
    )
    .fetch_optional(&mut *tx.conn)
    .await?;
    if newer.is_some() {
        return Err(Error::Stale.into());
    }
    let begun = sqlx::query!(
        "INSERT INTO data_keys (scope_id, version, wrapped, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (scope_id, version) DO NOTHING",
        scope.id(),
        version,
        wrapped,
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    if begun.rows_affected() == 0 {
        tx.unchanged();
    }
    // Waits for writers that hold an older one; those that come later find that it is superseded.
    sqlx::query!(
        "UPDATE data_keys SET superseded_at = $3 WHERE scope_id = $1 AND version < $2 AND superseded_at IS NULL",
        scope.id(),
        version,
        Time(now),
    )
    .execute(&mut *tx.conn)
    .await?;
    let stored =
        keys!("WHERE scope_id = $1 AND version = $2", scope.id(), version).fetch_one(&mut *tx.conn).await?;
    Ok(stored.into_key())
}

async fn retire(mut tx: Tx<'_>, version: i64) -> Result<(), Fault> {
    // Waits for writers that hold one, so that what they wrote is counted below.
    let gone =
        sqlx::query!("DELETE FROM data_keys WHERE version = $1 AND superseded_at IS NOT NULL", version)
            .execute(&mut *tx.conn)
            .await?;
    let used = sqlx::query_scalar!(
        r#"SELECT CAST(1 AS bigint) AS "one!: i64" WHERE EXISTS (SELECT 1 FROM data_keys WHERE version = $1)
               OR EXISTS (SELECT 1 FROM second_factors WHERE key_version = $1)
               OR EXISTS (SELECT 1 FROM account_credentials WHERE sealed IS NOT NULL AND key_version = $1)"#,
        version,
    )
    .fetch_optional(&mut *tx.conn)
    .await?;
    if used.is_some() {
        return Err(Conflict::KeyInUse.into());
    }
    if gone.rows_affected() == 0 {
        tx.unchanged();
    }
    Ok(())
}

/// Fails unless the data key is in use; it stays so until the transaction ends.
pub(super) async fn hold_data_key(tx: &mut Tx<'_>, scope: Scope, version: i64) -> Result<(), Fault> {
    if dialect::hold_data_key(tx.conn, scope.id(), version).await? {
        Ok(())
    } else {
        Err(Conflict::KeySuperseded.into())
    }
}
