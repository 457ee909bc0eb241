//! What SQLite's errors mean at the seam.

use sqlx::error::DatabaseError;
use tradepost_store::Error;

use crate::shared::conflict_of;

/// SQLite does not name the violated index, only its columns; these are the unique indexes of several columns or under a
/// condition, by the columns that it reports.
const INDEXES: [(&str, &str); 17] = [
    ("users.email", "users_email"),
    ("api_tokens.hash", "api_tokens_hash"),
    ("invitations.hash", "invitations_hash"),
    ("agents.key_hash", "agents_key"),
    ("enrolment_tokens.hash", "enrolment_tokens_hash"),
    ("accounts.workspace_id, accounts.name", "accounts_name"),
    ("photos.workspace_id, photos.content_hash", "photos_content_hash"),
    ("postings.listing_id, postings.account_id", "postings_open"),
    ("postings.job_id", "postings_job"),
    ("intents.account_id", "intents_one_armed"),
    ("intents.account_id, intents.item_id", "intents_item"),
    ("intents.permit_id", "intents_permit"),
    ("intents.posting_id, intents.generation", "intents_generation"),
    ("jobs.account_id", "jobs_one_run"),
    ("jobs.account_id, jobs.kind", "jobs_one_login"),
    ("jobs.intent_id", "jobs_one_look"),
    ("evidence.job_id, evidence.run_lease, evidence.name, evidence.content_hash", "evidence_file"),
];

/// The seam's error for one of the driver.
pub(crate) fn translate(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Database(cause) => {
            if let Some(known) = violated(cause.as_ref()).and_then(|constraint| conflict_of(&constraint)) {
                return known;
            }
            if is_passing(cause.as_ref()) {
                return Error::Unavailable(Box::new(error));
            }
        }
        sqlx::Error::ColumnDecode { index, source } => {
            return Error::Inconsistent(format!("column {index}: {source}"));
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => {
            return Error::Unavailable(Box::new(error));
        }
        _ => {}
    }
    Error::Internal(Box::new(error))
}

/// The unique index or primary key that refused the write.
fn violated(error: &dyn DatabaseError) -> Option<String> {
    let columns = error.message().strip_prefix("UNIQUE constraint failed: ")?;
    if let Some((_, index)) = INDEXES.iter().find(|(known, _)| *known == columns) {
        return Some((*index).to_owned());
    }
    let table = columns.split('.').next()?;
    Some(format!("{table}_pk"))
}

/// Busy, locked, out of space, input/output error: another try may do.
fn is_passing(error: &dyn DatabaseError) -> bool {
    let primary = error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    matches!(primary, Some(5 | 6 | 10 | 13))
}
