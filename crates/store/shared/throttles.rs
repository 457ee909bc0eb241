//! Counters that hold attackers back. Each begins with an upsert, which holds the row: hits at once are counted one after the other. None is an effect of the call that is
//! counted, so none is told in the audit log.

use async_trait::async_trait;
use std::time::Duration;
use tradepost_domain::throttle::{Backoff, Window};
use tradepost_domain::time::Timestamp;
use tradepost_store::audit::aside;
use tradepost_store::{Error, Throttles};

use crate::backend::Backend;

/// Marks outlive their time a little: deletion is only tidying.
const TIDY: Duration = Duration::from_secs(3600);

struct Counted {
    hits: i64,
    until_us: i64,
}

#[async_trait]
impl Throttles for Backend {
    async fn hit(
        &self,
        key: &str,
        hits: u32,
        window: Window,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let key = key.to_owned();
        aside(self.write(move |tx| {
            Box::pin(async move {
                let end = (now + window.period).as_micros();
                let counted = sqlx::query_as!(
                    Counted,
                    r#"INSERT INTO throttles (key, hits, until_us, forget_us) VALUES ($1, $2, $4, $4)
                       ON CONFLICT (key) DO UPDATE SET
                           hits = CASE WHEN throttles.until_us <= $3 THEN $2 ELSE throttles.hits + $2 END,
                           until_us = CASE WHEN throttles.until_us <= $3 THEN $4 ELSE throttles.until_us END,
                           forget_us = CASE WHEN throttles.until_us <= $3 THEN $4 ELSE throttles.forget_us END
                       RETURNING hits AS "hits!", until_us AS "until_us!""#,
                    key,
                    i64::from(hits),
                    now.as_micros(),
                    end,
                )
                .fetch_one(&mut *tx.conn)
                .await?;
                let over = counted.hits > i64::from(window.limit);
                Ok(over.then(|| Timestamp::from_micros(counted.until_us)))
            })
        }))
        .await
    }

    async fn try_now(&self, key: &str, backoff: Backoff, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let key = key.to_owned();
        aside(self.write(move |tx| {
            Box::pin(async move {
                let tried = sqlx::query_scalar!(
                    r#"INSERT INTO throttles (key, hits, until_us, forget_us) VALUES ($1, 1, $2, $3)
                       ON CONFLICT (key) DO UPDATE SET
                           hits = CASE WHEN throttles.forget_us <= $2 THEN 1 ELSE throttles.hits + 1 END,
                           forget_us = $3
                       WHERE throttles.until_us <= $2
                       RETURNING hits AS "hits!""#,
                    key,
                    now.as_micros(),
                    (now + backoff.forget).as_micros(),
                )
                .fetch_optional(&mut *tx.conn)
                .await?;
                let Some(hits) = tried else {
                    let until = sqlx::query_scalar!(
                        r#"SELECT until_us AS "until_us!" FROM throttles WHERE key = $1"#,
                        key
                    )
                    .fetch_optional(&mut *tx.conn)
                    .await?;
                    return Ok(until.map(Timestamp::from_micros));
                };
                // The row is ours until the commit.
                let delay = backoff.delay(u32::try_from(hits).unwrap_or(u32::MAX));
                sqlx::query!(
                    "UPDATE throttles SET until_us = $2 WHERE key = $1",
                    key,
                    (now + delay).as_micros(),
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok(None)
            })
        }))
        .await
    }

    async fn waits_until(&self, key: &str, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        self.read(async |conn| {
            let until = sqlx::query_scalar!(
                r#"SELECT until_us AS "until_us!" FROM throttles WHERE key = $1 AND until_us > $2"#,
                key,
                now.as_micros(),
            )
            .fetch_optional(&mut *conn)
            .await?;
            Ok(until.map(Timestamp::from_micros))
        })
        .await
    }

    async fn mark(&self, key: &str, until: Timestamp) -> Result<(), Error> {
        let key = key.to_owned();
        aside(self.write(move |tx| {
            Box::pin(async move {
                sqlx::query!(
                    "INSERT INTO throttles (key, hits, until_us, forget_us) VALUES ($1, 1, $2, $3)
                     ON CONFLICT (key) DO UPDATE SET until_us = $2, forget_us = $3",
                    key,
                    until.as_micros(),
                    (until + TIDY).as_micros(),
                )
                .execute(&mut *tx.conn)
                .await?;
                Ok(())
            })
        }))
        .await
    }

    async fn forget(&self, key: &str) -> Result<(), Error> {
        let key = key.to_owned();
        aside(self.write(move |tx| {
            Box::pin(async move {
                sqlx::query!("DELETE FROM throttles WHERE key = $1", key).execute(&mut *tx.conn).await?;
                Ok(())
            })
        }))
        .await
    }
}
