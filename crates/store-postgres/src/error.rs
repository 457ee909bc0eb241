//! What PostgreSQL's errors mean at the seam.

use tradepost_store::Error;

use crate::shared::conflict_of;

/// The seam's error for one of the driver.
pub(crate) fn translate(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Database(cause) => {
            let known = cause.constraint().filter(|_| cause.is_unique_violation()).and_then(conflict_of);
            if let Some(known) = known {
                return known;
            }
            if cause.code().is_some_and(|code| is_passing(&code)) {
                return Error::Unavailable(Box::new(error));
            }
        }
        sqlx::Error::ColumnDecode { index, source } => {
            return Error::Inconsistent(format!("column {index}: {source}"));
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => {
            return Error::Unavailable(Box::new(error));
        }
        _ => {}
    }
    Error::Internal(Box::new(error))
}

/// Another try may do: connection lost (08), rolled back by deadlock or serialisation (40), out of resources (53), stopped
/// by a time limit or an operator (57), lock not available (55P03), storage failed (58).
fn is_passing(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "40" | "53" | "57" | "58")) || code == "55P03"
}
