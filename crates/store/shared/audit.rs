//! The audit log: entries that wait, links of the chains, and how the former become the latter.

use std::collections::{BTreeMap, btree_map};

use async_trait::async_trait;
use tradepost_domain::audit::{Chain, Detail, Entry, Hash, Head, Link, RESTORED};
use tradepost_domain::fleet::FleetEpoch;
use tradepost_domain::id::{AuditEntryId, CallId, ControllerId};
use tradepost_store::audit::Due;
use tradepost_store::{Audit, AuditFilter, Cursor, Error, Listed, PageRequest, Slice, Waiting};
use uuid::Uuid;

use super::{Fault, Tx, page};
use crate::backend::{Backend, Conn};
use crate::entries;
use crate::time::Time;

/// A row of either table, in the columns of [`entries!`].
pub(crate) struct EntryRow {
    id: Uuid,
    chain_id: Uuid,
    seq: Option<i64>,
    hash: Option<Vec<u8>>,
    at: Time,
    actor: String,
    actor_id: Option<Uuid>,
    proof: String,
    proof_id: Option<Uuid>,
    peer: String,
    method: String,
    target: String,
    target_id: Option<Uuid>,
    outcome: String,
    reason: String,
    call_id: Uuid,
    controller_id: Uuid,
    details: String,
}

struct HeadRow {
    chain_id: Uuid,
    count: i64,
    hash: Vec<u8>,
}

struct WaitingRow {
    count: i64,
    oldest: Option<Time>,
}

/// `query_as!` of an [`EntryRow`]: the columns that one table has alone, the text after the columns, then the arguments.
macro_rules! entries {
    ($own:literal, $after:literal $(, $($args:tt)*)?) => {
        sqlx::query_as!(
            EntryRow,
            r#"SELECT id AS "id!: Uuid", chain_id AS "chain_id!: Uuid", at AS "at!: Time", actor AS "actor!",
                      actor_id AS "actor_id?: Uuid", proof AS "proof!", proof_id AS "proof_id?: Uuid", peer AS "peer!",
                      method AS "method!", target AS "target!", target_id AS "target_id?: Uuid",
                      outcome AS "outcome!", reason AS "reason!", call_id AS "call_id!: Uuid",
                      controller_id AS "controller_id!: Uuid", details AS "details!", "# + $own + $after,
            $($($args)*)?
        )
    };
}

macro_rules! links {
    ($after:literal $(, $($args:tt)*)?) => {
        entries!(r#"seq AS "seq?: i64", hash AS "hash?" FROM audit_links "#, $after $(, $($args)*)?)
    };
}

macro_rules! waiting {
    ($after:literal $(, $($args:tt)*)?) => {
        entries!(
            r#"CAST(NULL AS bigint) AS "seq?: i64", CAST(NULL AS text) AS "hash?: Vec<u8>" FROM audit_waiting "#,
            $after $(, $($args)*)?
        )
    };
}

impl EntryRow {
    fn into_entry(self) -> Entry {
        Entry {
            id: AuditEntryId(self.id),
            at: self.at.0,
            chain: Chain::of_key(self.chain_id),
            actor: self.actor,
            actor_id: self.actor_id,
            proof: self.proof,
            proof_id: self.proof_id,
            peer: self.peer,
            method: self.method,
            target: self.target,
            target_id: self.target_id,
            outcome: self.outcome,
            reason: self.reason,
            call: CallId(self.call_id),
            controller: ControllerId(self.controller_id),
            details: Entry::details_of(&self.details),
        }
    }

    fn into_link(mut self) -> Link {
        let seq = self.seq.unwrap_or_default();
        let hash = Hash::of_stored(&self.hash.take().unwrap_or_default());
        Link { seq, hash, entry: self.into_entry() }
    }

    fn into_listed(mut self) -> Listed {
        let hash = self.hash.take().map(|hash| Hash::of_stored(&hash));
        Listed { seq: self.seq, hash, entry: self.into_entry() }
    }
}

impl HeadRow {
    fn into_head(self) -> Head {
        Head { chain: Chain::of_key(self.chain_id), count: self.count, hash: Hash::of_stored(&self.hash) }
    }
}

/// Writes the entry that a transaction takes with it. Its last statement.
pub(crate) async fn tell(conn: &mut Conn, due: Option<&Due>) -> Result<(), Fault> {
    match due {
        Some(due) => entries::insert(conn, &[&due.entry]).await,
        None => Ok(()),
    }
}

/// Tells the chains of these workspaces, and the system's, that the database is a restored backup: how long the chain was
/// in it. The caller's entry is the pattern of all.
pub(super) async fn tell_restored(
    tx: &mut Tx<'_>,
    workspaces: &[Uuid],
    epoch: FleetEpoch,
) -> Result<(), Fault> {
    let Some(due) = tx.due.as_ref() else { return Ok(()) };
    let mut told = Vec::with_capacity(workspaces.len() + 1);
    for (n, key) in (0_u128..).zip(workspaces.iter().copied().chain([Uuid::nil()])) {
        let mut entry = due.entry.clone();
        entry.id.0 = Uuid::from_u128(entry.id.0.as_u128().wrapping_add(n));
        entry.chain = Chain::of_key(key);
        RESTORED.clone_into(&mut entry.method);
        entry.set_detail(Detail::Kept, head(tx.conn, entry.chain).await?.count);
        entry.set_detail(Detail::FleetEpoch, epoch.0);
        told.push(entry);
    }
    entries::insert(tx.conn, &told.iter().collect::<Vec<_>>()).await?;
    tx.unchanged();
    Ok(())
}

#[async_trait]
impl Audit for Backend {
    async fn add_audit_entry(&self, entry: Entry) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                tx.unchanged();
                entries::insert(tx.conn, &[&entry]).await
            })
        })
        .await
    }

    async fn seal_audit(&self, limit: u32) -> Result<u64, Error> {
        // Most of the time nothing waits, and nobody needs a transaction.
        if self.audit_waiting(None).await?.count == 0 {
            return Ok(0);
        }
        self.write(move |tx| Box::pin(seal(tx, limit))).await
    }

    async fn audit_waiting(&self, chain: Option<Chain>) -> Result<Waiting, Error> {
        self.read(async |conn| {
            let row = sqlx::query_as!(
                WaitingRow,
                r#"SELECT count(*) AS "count!: i64", min(at) AS "oldest?: Time" FROM audit_waiting
                   WHERE id > $1 AND (chain_id = $2 OR $2 IS NULL)"#,
                // All of them, along their key from its beginning.
                Uuid::nil(),
                chain.map(Chain::key),
            )
            .fetch_one(&mut *conn)
            .await?;
            Ok(Waiting {
                count: u64::try_from(row.count).unwrap_or(0),
                oldest: row.oldest.map(|time| time.0),
            })
        })
        .await
    }

    async fn audit_head(&self, chain: Chain) -> Result<Head, Error> {
        self.read(async |conn| head(conn, chain).await).await
    }

    async fn list_audit_heads(&self, after: Option<Chain>, limit: u32) -> Result<Vec<Head>, Error> {
        self.read(async |conn| {
            let limit = i64::from(limit);
            let rows = match after {
                None => {
                    sqlx::query_as!(
                        HeadRow,
                        r#"SELECT chain_id AS "chain_id!: Uuid", count AS "count!", hash AS "hash!" FROM audit_heads
                           WHERE chain_id >= $1 ORDER BY chain_id LIMIT $2"#,
                        Chain::SYSTEM.key(),
                        limit,
                    )
                    .fetch_all(&mut *conn)
                    .await?
                }
                Some(after) => {
                    sqlx::query_as!(
                        HeadRow,
                        r#"SELECT chain_id AS "chain_id!: Uuid", count AS "count!", hash AS "hash!" FROM audit_heads
                           WHERE chain_id > $1 ORDER BY chain_id LIMIT $2"#,
                        after.key(),
                        limit,
                    )
                    .fetch_all(&mut *conn)
                    .await?
                }
            };
            Ok(rows.into_iter().map(HeadRow::into_head).collect())
        })
        .await
    }

    async fn list_audit_links(&self, chain: Chain, after: i64, limit: u32) -> Result<Vec<Link>, Error> {
        self.read(async |conn| {
            let rows = links!(
                "WHERE chain_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
                chain.key(),
                after,
                i64::from(limit)
            )
            .fetch_all(&mut *conn)
            .await?;
            Ok(rows.into_iter().map(EntryRow::into_link).collect())
        })
        .await
    }

    async fn list_audit_entries(
        &self,
        filter: AuditFilter,
        page: PageRequest,
    ) -> Result<Slice<Listed>, Error> {
        self.snapshot(async |conn| {
            let mut rows = list(conn, &filter, &page).await?;
            rows.sort_by_key(|row| std::cmp::Reverse(row.entry.id));
            let place = |row: &Listed| Cursor::Newest(row.entry.at, row.entry.id.0);
            Ok(page::slice(rows, &page, place))
        })
        .await
    }
}

/// The newest of both tables: of each as many as one page has.
async fn list(conn: &mut Conn, filter: &AuditFilter, page: &PageRequest) -> Result<Vec<Listed>, Fault> {
    let AuditFilter { chain, actor, method, target, since, until } = filter;
    let (_, before, limit) = page::newest(page)?;
    let method = method.as_ref().map(|method| format!("%{method}"));
    let (since, until) = (since.map(Time), until.map(Time));
    let waiting = waiting!(
        "WHERE id < $1 AND (chain_id = $2 OR $2 IS NULL) AND (actor_id = $3 OR $3 IS NULL)
             AND (method LIKE $4 OR $4 IS NULL) AND (target_id = $5 OR $5 IS NULL) AND (at >= $6 OR $6 IS NULL)
             AND (at < $7 OR $7 IS NULL) ORDER BY id DESC LIMIT $8",
        before,
        chain.map(Chain::key),
        *actor,
        method,
        *target,
        since,
        until,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let links = match chain {
        Some(chain) => {
            links!(
                "WHERE id < $1 AND chain_id = $2 AND (actor_id = $3 OR $3 IS NULL)
                     AND (method LIKE $4 OR $4 IS NULL) AND (target_id = $5 OR $5 IS NULL)
                     AND (at >= $6 OR $6 IS NULL) AND (at < $7 OR $7 IS NULL) ORDER BY id DESC LIMIT $8",
                before,
                chain.key(),
                *actor,
                method,
                *target,
                since,
                until,
                limit
            )
            .fetch_all(&mut *conn)
            .await?
        }
        None => {
            links!(
                "WHERE id < $1 AND (actor_id = $2 OR $2 IS NULL) AND (method LIKE $3 OR $3 IS NULL)
                     AND (target_id = $4 OR $4 IS NULL) AND (at >= $5 OR $5 IS NULL) AND (at < $6 OR $6 IS NULL)
                 ORDER BY id DESC LIMIT $7",
                before,
                *actor,
                method,
                *target,
                since,
                until,
                limit
            )
            .fetch_all(&mut *conn)
            .await?
        }
    };
    Ok(waiting.into_iter().chain(links).map(EntryRow::into_listed).collect())
}

async fn head(conn: &mut Conn, chain: Chain) -> Result<Head, Fault> {
    let row = sqlx::query_as!(
        HeadRow,
        r#"SELECT chain_id AS "chain_id!: Uuid", count AS "count!", hash AS "hash!" FROM audit_heads
           WHERE chain_id = $1"#,
        chain.key(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    Ok(row.map_or(Head::empty(chain), HeadRow::into_head))
}

/// Moves the waiting entries with the smallest ids into their chains: links, ends and the emptied places in one commit, so
/// that after a crash an entry either waits still or has its place.
async fn seal(mut tx: Tx<'_>, limit: u32) -> Result<u64, Fault> {
    tx.unchanged();
    if !entries::hold_chains(tx.conn).await? {
        return Ok(0);
    }
    let waiting = waiting!("WHERE id > $1 ORDER BY id LIMIT $2", Uuid::nil(), i64::from(limit))
        .fetch_all(&mut *tx.conn)
        .await?;
    let mut heads: BTreeMap<Chain, (Head, Head)> = BTreeMap::new();
    let (mut buffer, mut links) = (Vec::new(), Vec::with_capacity(waiting.len()));
    for row in waiting {
        let entry = row.into_entry();
        let chain = entry.chain;
        let (_, head) = match heads.entry(chain) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(place) => {
                let found = head(tx.conn, chain).await?;
                place.insert((found, found))
            }
        };
        links.push(head.append(entry, &mut buffer));
    }
    entries::insert_links(tx.conn, &links).await?;
    for (before, after) in heads.values() {
        // Only somebody who does not hold the chains can have changed it: then nothing of this is kept.
        let moved = sqlx::query!(
            "INSERT INTO audit_heads (chain_id, count, hash) VALUES ($1, $2, $3)
             ON CONFLICT (chain_id) DO UPDATE SET count = $2, hash = $3 WHERE audit_heads.count = $4",
            after.chain.key(),
            after.count,
            &after.hash.0[..],
            before.count,
        )
        .execute(&mut *tx.conn)
        .await?;
        if moved.rows_affected() == 0 {
            return Err(Error::Stale.into());
        }
    }
    entries::remove_waiting(tx.conn, &links).await?;
    Ok(u64::try_from(links.len()).unwrap_or(u64::MAX))
}
