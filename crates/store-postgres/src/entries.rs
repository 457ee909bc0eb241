//! Rows of the audit log, many by one statement.

use tradepost_domain::audit::{Entry, Link};
use uuid::Uuid;

use crate::backend::Conn;
use crate::shared::Fault;
use crate::time::Time;

/// The advisory lock of whoever gives entries their places: "audit" in ASCII.
const CHAINS: i64 = 0x61_75_64_69_74;

/// A column of all rows.
macro_rules! column {
    ($rows:expr, $value:expr) => {
        &$rows.iter().map($value).collect::<Vec<_>>()
    };
}

/// Whether nobody else gives entries their places until the transaction ends.
pub(crate) async fn hold_chains(conn: &mut Conn) -> Result<bool, Fault> {
    let held = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "held!""#, CHAINS)
        .fetch_one(conn)
        .await?;
    Ok(held)
}

/// Stores entries that wait for their places.
pub(crate) async fn insert(conn: &mut Conn, entries: &[&Entry]) -> Result<(), Fault> {
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO audit_waiting
             (id, chain_id, at, actor, actor_id, proof, proof_id, peer, method, target, target_id, outcome, reason,
              call_id, controller_id, details)
         SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::uuid[], $6::text[],
             $7::uuid[], $8::text[], $9::text[], $10::text[], $11::uuid[], $12::text[], $13::text[], $14::uuid[],
             $15::uuid[], $16::text[])",
        column!(entries, |entry| entry.id.0),
        column!(entries, |entry| entry.chain.key()),
        column!(entries, |entry| Time(entry.at)) as &[Time],
        column!(entries, |entry| entry.actor.clone()),
        column!(entries, |entry| entry.actor_id) as &[Option<Uuid>],
        column!(entries, |entry| entry.proof.clone()),
        column!(entries, |entry| entry.proof_id) as &[Option<Uuid>],
        column!(entries, |entry| entry.peer.clone()),
        column!(entries, |entry| entry.method.clone()),
        column!(entries, |entry| entry.target.clone()),
        column!(entries, |entry| entry.target_id) as &[Option<Uuid>],
        column!(entries, |entry| entry.outcome.clone()),
        column!(entries, |entry| entry.reason.clone()),
        column!(entries, |entry| entry.call.0),
        column!(entries, |entry| entry.controller.0),
        column!(entries, |entry| entry.details_text()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores links.
pub(crate) async fn insert_links(conn: &mut Conn, links: &[Link]) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO audit_links
             (chain_id, seq, hash, id, at, actor, actor_id, proof, proof_id, peer, method, target, target_id, outcome,
              reason, call_id, controller_id, details)
         SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bytea[], $4::uuid[], $5::timestamptz[], $6::text[],
             $7::uuid[], $8::text[], $9::uuid[], $10::text[], $11::text[], $12::text[], $13::uuid[], $14::text[],
             $15::text[], $16::uuid[], $17::uuid[], $18::text[])",
        column!(links, |link| link.entry.chain.key()),
        column!(links, |link| link.seq),
        column!(links, |link| link.hash.0.to_vec()),
        column!(links, |link| link.entry.id.0),
        column!(links, |link| Time(link.entry.at)) as &[Time],
        column!(links, |link| link.entry.actor.clone()),
        column!(links, |link| link.entry.actor_id) as &[Option<Uuid>],
        column!(links, |link| link.entry.proof.clone()),
        column!(links, |link| link.entry.proof_id) as &[Option<Uuid>],
        column!(links, |link| link.entry.peer.clone()),
        column!(links, |link| link.entry.method.clone()),
        column!(links, |link| link.entry.target.clone()),
        column!(links, |link| link.entry.target_id) as &[Option<Uuid>],
        column!(links, |link| link.entry.outcome.clone()),
        column!(links, |link| link.entry.reason.clone()),
        column!(links, |link| link.entry.call.0),
        column!(links, |link| link.entry.controller.0),
        column!(links, |link| link.entry.details_text()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes out what has its place.
pub(crate) async fn remove_waiting(conn: &mut Conn, links: &[Link]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = links.iter().map(|link| link.entry.id.0).collect();
    sqlx::query!("DELETE FROM audit_waiting WHERE id = ANY($1)", &ids).execute(conn).await?;
    Ok(())
}
