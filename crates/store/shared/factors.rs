//! Second factors and recovery codes.

use async_trait::async_trait;
use tradepost_domain::id::{SessionId, UserId};
use tradepost_domain::time::Timestamp;
use tradepost_store::audit::aside;
use tradepost_store::{Error, Factor, Factors, Scope, Sealed};

use super::secrets::hold_data_key;
use super::{Fault, Tx, users};
use crate::backend::Backend;
use crate::time::Time;

struct FactorRow {
    sealed_seed: Vec<u8>,
    key_version: i64,
    last_step: i64,
    confirmed_at: Option<Time>,
}

#[async_trait]
impl Factors for Backend {
    async fn begin_factor(&self, user: UserId, seed: Sealed, now: Timestamp) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                hold_data_key(&mut tx, Scope::System, seed.key_version).await?;
                let begun = sqlx::query!(
                    "INSERT INTO second_factors (user_id, sealed_seed, key_version, created_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (user_id) DO UPDATE SET sealed_seed = $2, key_version = $3, created_at = $4
                     WHERE second_factors.confirmed_at IS NULL",
                    user.0,
                    seed.content,
                    seed.key_version,
                    Time(now),
                )
                .execute(&mut *tx.conn)
                .await?;
                if begun.rows_affected() == 0 { Err(Error::Stale.into()) } else { Ok(()) }
            })
        })
        .await
    }

    async fn find_factor(&self, user: UserId) -> Result<Option<Factor>, Error> {
        self.read(async |conn| {
            let row = sqlx::query_as!(
                FactorRow,
                r#"SELECT sealed_seed AS "sealed_seed!", key_version AS "key_version!", last_step AS "last_step!",
                          confirmed_at AS "confirmed_at?: Time"
                   FROM second_factors WHERE user_id = $1"#,
                user.0,
            )
            .fetch_optional(&mut *conn)
            .await?;
            Ok(row.map(|row| Factor {
                seed: Sealed { key_version: row.key_version, content: row.sealed_seed },
                last_step: row.last_step,
                confirmed_at: row.confirmed_at.map(|time| time.0),
            }))
        })
        .await
    }

    async fn confirm_factor(
        &self,
        user: UserId,
        step: i64,
        codes: Vec<[u8; 32]>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let confirmed = sqlx::query!(
                    "UPDATE second_factors SET confirmed_at = $3, last_step = $2
                     WHERE user_id = $1 AND confirmed_at IS NULL AND last_step < $2",
                    user.0,
                    step,
                    Time(now),
                )
                .execute(&mut *tx.conn)
                .await?;
                if confirmed.rows_affected() == 0 {
                    return Err(Error::Stale.into());
                }
                replace_codes(&mut tx, user, &codes).await
            })
        })
        .await
    }

    async fn use_step(&self, user: UserId, step: i64) -> Result<bool, Error> {
        // What the code is used for is told.
        aside(self.write(move |tx| {
            Box::pin(async move {
                let changed = sqlx::query!(
                    "UPDATE second_factors SET last_step = $2
                     WHERE user_id = $1 AND last_step < $2 AND confirmed_at IS NOT NULL",
                    user.0,
                    step,
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok(changed.rows_affected() > 0)
            })
        }))
        .await
    }

    async fn use_recovery_code(&self, user: UserId, hash: [u8; 32], now: Timestamp) -> Result<bool, Error> {
        // What the code is used for is told.
        aside(self.write(move |tx| {
            Box::pin(async move {
                let changed = sqlx::query!(
                    "UPDATE recovery_codes SET used_at = $3 WHERE hash = $2 AND user_id = $1 AND used_at IS NULL",
                    user.0,
                    &hash[..],
                    Time(now),
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok(changed.rows_affected() > 0)
            })
        }))
        .await
    }

    async fn replace_recovery_codes(&self, user: UserId, codes: Vec<[u8; 32]>) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                let held = sqlx::query!(
                    "UPDATE second_factors SET last_step = last_step WHERE user_id = $1 AND confirmed_at IS NOT NULL",
                    user.0,
                )
                .execute(&mut *tx.conn)
                .await?;
                if held.rows_affected() == 0 {
                    return Err(Error::Stale.into());
                }
                replace_codes(&mut tx, user, &codes).await
            })
        })
        .await
    }

    async fn remove_factor(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                replace_codes(&mut tx, user, &[]).await?;
                let removed = sqlx::query!("DELETE FROM second_factors WHERE user_id = $1", user.0)
                    .execute(&mut *tx.conn)
                    .await?;
                if removed.rows_affected() == 0 {
                    tx.unchanged();
                    return Ok(false);
                }
                users::end_sessions(tx.conn, user, keep, now).await?;
                Ok(true)
            })
        })
        .await
    }
}

async fn replace_codes(tx: &mut Tx<'_>, user: UserId, codes: &[[u8; 32]]) -> Result<(), Fault> {
    sqlx::query!("DELETE FROM recovery_codes WHERE user_id = $1", user.0).execute(&mut *tx.conn).await?;
    for code in codes {
        sqlx::query!("INSERT INTO recovery_codes (hash, user_id) VALUES ($1, $2)", &code[..], user.0)
            .execute(&mut *tx.conn)
            .await?;
    }
    Ok(())
}
