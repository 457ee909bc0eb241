//! Rows of the audit log. The single writer holds the chains.

use tradepost_domain::audit::{Entry, Link};

use crate::backend::Conn;
use crate::shared::Fault;
use crate::time::Time;

/// Whether nobody else gives entries their places until the transaction ends.
#[expect(clippy::unused_async, reason = "the other engine asks the server")]
pub(crate) async fn hold_chains(_: &mut Conn) -> Result<bool, Fault> {
    Ok(true)
}

/// Stores entries that wait for their places.
pub(crate) async fn insert(conn: &mut Conn, entries: &[&Entry]) -> Result<(), Fault> {
    for entry in entries {
        sqlx::query!(
            "INSERT INTO audit_waiting
                 (id, chain_id, at, actor, actor_id, proof, proof_id, peer, method, target, target_id, outcome, reason,
                  call_id, controller_id, details)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            entry.id.0,
            entry.chain.key(),
            Time(entry.at),
            entry.actor,
            entry.actor_id,
            entry.proof,
            entry.proof_id,
            entry.peer,
            entry.method,
            entry.target,
            entry.target_id,
            entry.outcome,
            entry.reason,
            entry.call.0,
            entry.controller.0,
            entry.details_text(),
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Stores links.
pub(crate) async fn insert_links(conn: &mut Conn, links: &[Link]) -> Result<(), Fault> {
    for Link { seq, hash, entry } in links {
        sqlx::query!(
            "INSERT INTO audit_links
                 (chain_id, seq, hash, id, at, actor, actor_id, proof, proof_id, peer, method, target, target_id,
                  outcome, reason, call_id, controller_id, details)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
            entry.chain.key(),
            *seq,
            &hash.0[..],
            entry.id.0,
            Time(entry.at),
            entry.actor,
            entry.actor_id,
            entry.proof,
            entry.proof_id,
            entry.peer,
            entry.method,
            entry.target,
            entry.target_id,
            entry.outcome,
            entry.reason,
            entry.call.0,
            entry.controller.0,
            entry.details_text(),
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Takes out what has its place.
pub(crate) async fn remove_waiting(conn: &mut Conn, links: &[Link]) -> Result<(), Fault> {
    for link in links {
        sqlx::query!("DELETE FROM audit_waiting WHERE id = $1", link.entry.id.0).execute(&mut *conn).await?;
    }
    Ok(())
}
