//! Rows of jobs, intents, postings and agents as stored, and what they mean. Mapping is strict: an unknown text is
//! reported with its table, column and row, never guessed at.

use serde_json::Value;
use tradepost_domain::agent::Agent;
use tradepost_domain::failure::Failure;
use tradepost_domain::id::{
    AccountId, AgentId, BootId, ControllerId, IntentId, JobId, ListingId, PermitId, PostingId, RunLease,
    SessionEpoch, Version, WorkspaceId,
};
use tradepost_domain::job::{self, Job};
use tradepost_domain::posting::{self, Posting};
use tradepost_domain::publish::{self, Intent, Looks, Permit, PublishedItem};
use tradepost_domain::standing::{LockReason, Locked, Standing};
use uuid::Uuid;

use super::Fault;
use crate::time::Time;

/// A row of `jobs`, in the columns of [`jobs!`].
pub(crate) struct JobRow {
    pub(crate) id: Uuid,
    pub(crate) workspace_id: Uuid,
    pub(crate) kind: String,
    pub(crate) agent_id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) posting_id: Option<Uuid>,
    pub(crate) intent_id: Option<Uuid>,
    pub(crate) state: String,
    pub(crate) priority: i64,
    pub(crate) attempt: i64,
    pub(crate) run_lease: Option<i64>,
    pub(crate) lease_until: Option<Time>,
    pub(crate) run_started_at: Option<Time>,
    pub(crate) run_after: Time,
    pub(crate) cancel_requested: bool,
    pub(crate) failure: Option<Value>,
    pub(crate) discarded_at: Option<Time>,
    pub(crate) trace_context: Option<String>,
    pub(crate) created_at: Time,
    pub(crate) updated_at: Time,
    pub(crate) version: i64,
}

/// `query_as!` of a [`JobRow`]: the text before and after the columns, then the arguments.
macro_rules! jobs {
    ($before:literal, $after:literal $(, $($args:tt)*)?) => {
        sqlx::query_as!(
            $crate::shared::JobRow,
            $before + r#" id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid", kind AS "kind!",
            agent_id AS "agent_id!: Uuid", account_id AS "account_id!: Uuid", posting_id AS "posting_id?: Uuid",
            intent_id AS "intent_id?: Uuid", state AS "state!", priority AS "priority!", attempt AS "attempt!",
            run_lease AS "run_lease?", lease_until AS "lease_until?: Time",
            run_started_at AS "run_started_at?: Time", run_after AS "run_after!: Time",
            cancel_requested AS "cancel_requested!: bool", failure AS "failure?: Value",
            discarded_at AS "discarded_at?: Time", trace_context AS "trace_context?", created_at AS "created_at!: Time", updated_at AS "updated_at!: Time",
            version AS "version!" "# + $after,
            $($($args)*)?
        )
    };
}
pub(crate) use jobs;

/// A row of `postings`, in the columns of [`postings!`].
pub(crate) struct PostingRow {
    pub(crate) id: Uuid,
    pub(crate) workspace_id: Uuid,
    pub(crate) listing_id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) generation: i64,
    pub(crate) state: String,
    pub(crate) job_id: Uuid,
    pub(crate) intent_id: Uuid,
    pub(crate) item_id: Option<String>,
    pub(crate) item_url: Option<String>,
    pub(crate) item_strategy: Option<String>,
    pub(crate) failure: Option<Value>,
    pub(crate) created_at: Time,
    pub(crate) updated_at: Time,
    pub(crate) version: i64,
}

/// `query_as!` of a [`PostingRow`]: the text after the columns, then the arguments.
macro_rules! postings {
    ($after:literal $(, $($args:tt)*)?) => {
        sqlx::query_as!(
            $crate::shared::rows::PostingRow,
            r#"SELECT id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid", listing_id AS "listing_id!: Uuid",
                      account_id AS "account_id!: Uuid", generation AS "generation!", state AS "state!",
                      job_id AS "job_id!: Uuid", intent_id AS "intent_id!: Uuid", item_id AS "item_id?",
                      item_url AS "item_url?", item_strategy AS "item_strategy?", failure AS "failure?: Value",
                      created_at AS "created_at!: Time", updated_at AS "updated_at!: Time", version AS "version!"
               FROM postings "# + $after,
            $($($args)*)?
        )
    };
}
pub(crate) use postings;

/// A row of `intents` with its baseline, in the columns of [`intents!`].
pub(crate) struct IntentRow {
    pub(crate) id: Uuid,
    pub(crate) workspace_id: Uuid,
    pub(crate) posting_id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) generation: i64,
    pub(crate) state: String,
    pub(crate) fingerprint: String,
    pub(crate) permit_id: Option<Uuid>,
    pub(crate) permit_request: Option<String>,
    pub(crate) permit_run_lease: Option<i64>,
    pub(crate) permit_epoch: Option<i64>,
    pub(crate) armed_at: Option<Time>,
    pub(crate) report_by: Option<Time>,
    pub(crate) item_id: Option<String>,
    pub(crate) item_url: Option<String>,
    pub(crate) item_strategy: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) looks_taken: i64,
    pub(crate) looks_clean: i64,
    pub(crate) first_clean_at: Option<Time>,
    pub(crate) created_at: Time,
    pub(crate) updated_at: Time,
    pub(crate) version: i64,
    pub(crate) baseline: Option<Value>,
}

/// `query_as!` of an [`IntentRow`]: the text after the joined tables (`i` is the intent), then the arguments.
macro_rules! intents {
    ($after:literal $(, $($args:tt)*)?) => {
        sqlx::query_as!(
            $crate::shared::IntentRow,
            r#"SELECT i.id AS "id!: Uuid", i.workspace_id AS "workspace_id!: Uuid",
                      i.posting_id AS "posting_id!: Uuid", i.account_id AS "account_id!: Uuid",
                      i.generation AS "generation!", i.state AS "state!", i.fingerprint AS "fingerprint!",
                      i.permit_id AS "permit_id?: Uuid", i.permit_request AS "permit_request?",
                      i.permit_run_lease AS "permit_run_lease?", i.permit_epoch AS "permit_epoch?",
                      i.armed_at AS "armed_at?: Time", i.report_by AS "report_by?: Time", i.item_id AS "item_id?",
                      i.item_url AS "item_url?", i.item_strategy AS "item_strategy?", i.reason AS "reason?",
                      i.looks_taken AS "looks_taken!", i.looks_clean AS "looks_clean!",
                      i.first_clean_at AS "first_clean_at?: Time", i.created_at AS "created_at!: Time",
                      i.updated_at AS "updated_at!: Time", i.version AS "version!", b.item_ids AS "baseline?: Value"
               FROM intents i LEFT JOIN intent_baselines b ON b.intent_id = i.id "# + $after,
            $($($args)*)?
        )
    };
}
pub(crate) use intents;

/// A row of `agents`, in the columns of [`agents!`].
pub(crate) struct AgentRow {
    pub(crate) id: Uuid,
    pub(crate) workspace_id: Uuid,
    pub(crate) name: String,
    pub(crate) key_hash: String,
    pub(crate) platform: String,
    pub(crate) program_version: String,
    pub(crate) session_epoch: i64,
    pub(crate) boot_id: Option<Uuid>,
    pub(crate) controller_id: Option<Uuid>,
    pub(crate) last_seen_at: Option<Time>,
    pub(crate) created_at: Time,
    pub(crate) revoked_at: Option<Time>,
    pub(crate) join_counter: i64,
    pub(crate) join_boot_id: Option<Uuid>,
    pub(crate) suspect_boot_id: Option<Uuid>,
    pub(crate) locked_at: Option<Time>,
    pub(crate) lock_reason: Option<String>,
    pub(crate) approved_at: Option<Time>,
    pub(crate) challenge_at: Option<Time>,
}

/// `query_as!` of an [`AgentRow`]: the text before and after the columns, then the arguments.
macro_rules! agents {
    ($before:literal, $after:literal $(, $($args:tt)*)?) => {
        sqlx::query_as!(
            $crate::shared::AgentRow,
            $before + r#" id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid", name AS "name!",
            key_hash AS "key_hash!", platform AS "platform!", program_version AS "program_version!",
            session_epoch AS "session_epoch!", boot_id AS "boot_id?: Uuid", controller_id AS "controller_id?: Uuid",
            last_seen_at AS "last_seen_at?: Time", created_at AS "created_at!: Time",
            revoked_at AS "revoked_at?: Time", join_counter AS "join_counter!",
            join_boot_id AS "join_boot_id?: Uuid", suspect_boot_id AS "suspect_boot_id?: Uuid",
            locked_at AS "locked_at?: Time", lock_reason AS "lock_reason?", approved_at AS "approved_at?: Time",
            challenge_at AS "challenge_at?: Time" "# + $after,
            $($($args)*)?
        )
    };
}
pub(crate) use agents;

impl JobRow {
    pub(crate) fn into_job(self) -> Result<Job, Fault> {
        Ok(Job {
            id: JobId(self.id),
            workspace: WorkspaceId(self.workspace_id),
            kind: job::Kind::from_name(&self.kind)
                .ok_or_else(|| Fault::inconsistent("jobs.kind", self.id, &self.kind))?,
            agent: AgentId(self.agent_id),
            account: AccountId(self.account_id),
            posting: self.posting_id.map(PostingId),
            intent: self.intent_id.map(IntentId),
            state: job::State::from_name(&self.state)
                .ok_or_else(|| Fault::inconsistent("jobs.state", self.id, &self.state))?,
            priority: i32::try_from(self.priority)
                .map_err(|_| Fault::inconsistent("jobs.priority", self.id, self.priority))?,
            attempt: count("jobs.attempt", self.id, self.attempt)?,
            run_lease: self.run_lease.map(RunLease),
            lease_until: self.lease_until.map(|time| time.0),
            run_started_at: self.run_started_at.map(|time| time.0),
            run_after: self.run_after.0,
            cancel_requested: self.cancel_requested,
            failure: failure("jobs.failure", self.id, self.failure)?,
            discarded_at: self.discarded_at.map(|time| time.0),
            trace_context: self.trace_context,
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
            version: Version(self.version),
        })
    }
}

impl PostingRow {
    pub(super) fn into_posting(self) -> Result<Posting, Fault> {
        Ok(Posting {
            id: PostingId(self.id),
            workspace: WorkspaceId(self.workspace_id),
            listing: ListingId(self.listing_id),
            account: AccountId(self.account_id),
            generation: count("postings.generation", self.id, self.generation)?,
            state: posting::State::from_name(&self.state)
                .ok_or_else(|| Fault::inconsistent("postings.state", self.id, &self.state))?,
            job: JobId(self.job_id),
            intent: IntentId(self.intent_id),
            item: item(self.item_id, self.item_url, self.item_strategy),
            failure: failure("postings.failure", self.id, self.failure)?,
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
            version: Version(self.version),
        })
    }
}

impl IntentRow {
    pub(crate) fn into_intent(mut self) -> Result<Intent, Fault> {
        let baseline = self.baseline.take().map_or_else(
            || Ok(Vec::new()),
            |value| {
                serde_json::from_value(value)
                    .map_err(|error| Fault::inconsistent("intent_baselines.item_ids", self.id, error))
            },
        )?;
        Ok(Intent {
            id: IntentId(self.id),
            workspace: WorkspaceId(self.workspace_id),
            posting: PostingId(self.posting_id),
            account: AccountId(self.account_id),
            generation: count("intents.generation", self.id, self.generation)?,
            state: publish::State::from_name(&self.state)
                .ok_or_else(|| Fault::inconsistent("intents.state", self.id, &self.state))?,
            baseline,
            permit: self.take_permit(),
            fingerprint: self.fingerprint,
            item: item(self.item_id, self.item_url, self.item_strategy),
            reason: self.reason,
            looks: Looks {
                taken: count("intents.looks_taken", self.id, self.looks_taken)?,
                clean: count("intents.looks_clean", self.id, self.looks_clean)?,
                first_clean_at: self.first_clean_at.map(|time| time.0),
            },
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
            version: Version(self.version),
        })
    }

    /// The permit; a constraint holds its columns together.
    fn take_permit(&mut self) -> Option<Permit> {
        Some(Permit {
            id: PermitId(self.permit_id?),
            request: self.permit_request.take()?,
            run_lease: RunLease(self.permit_run_lease?),
            epoch: SessionEpoch(self.permit_epoch?),
            armed_at: self.armed_at?.0,
            report_by: self.report_by?.0,
        })
    }
}

impl AgentRow {
    pub(crate) fn into_agent(self) -> Result<Agent, Fault> {
        let locked = match (self.locked_at, self.lock_reason) {
            (Some(at), Some(name)) => {
                let why = LockReason::from_name(&name)
                    .ok_or_else(|| Fault::inconsistent("agents.lock_reason", self.id, &name))?;
                Some(Locked { at: at.0, why })
            }
            _ => None,
        };
        Ok(Agent {
            id: AgentId(self.id),
            workspace: WorkspaceId(self.workspace_id),
            name: self.name,
            key_hash: self.key_hash,
            platform: self.platform,
            program_version: self.program_version,
            epoch: SessionEpoch(self.session_epoch),
            boot: self.boot_id.map(BootId),
            controller: self.controller_id.map(ControllerId),
            last_seen_at: self.last_seen_at.map(|time| time.0),
            created_at: self.created_at.0,
            revoked_at: self.revoked_at.map(|time| time.0),
            standing: Standing {
                join_counter: self.join_counter,
                join_boot: self.join_boot_id.map(BootId),
                suspect: self.suspect_boot_id.map(BootId),
                locked,
                approved_at: self.approved_at.map(|time| time.0),
                challenge_at: self.challenge_at.map(|time| time.0),
            },
        })
    }
}

/// The marketplace's listing; a constraint holds its columns together.
fn item(item_id: Option<String>, url: Option<String>, strategy: Option<String>) -> Option<PublishedItem> {
    Some(PublishedItem { item_id: item_id?, url: url?, strategy: strategy? })
}

/// A stored number that counts something.
pub(super) fn count(column: &str, row: impl std::fmt::Display, stored: i64) -> Result<u32, Fault> {
    u32::try_from(stored).map_err(|_| Fault::inconsistent(column, row, stored))
}

fn failure(column: &str, row: Uuid, stored: Option<Value>) -> Result<Option<Failure>, Fault> {
    stored
        .map(|value| serde_json::from_value(value).map_err(|error| Fault::inconsistent(column, row, error)))
        .transpose()
}

/// A failure as it is stored.
pub(crate) fn failure_value(failure: Option<&Failure>) -> Result<Option<Value>, Fault> {
    failure.map(|failure| serde_json::to_value(failure).map_err(unstorable)).transpose()
}

/// A value that has no JSON form; a fault of ours.
pub(crate) fn unstorable(error: serde_json::Error) -> Fault {
    Fault(tradepost_store::Error::Internal(Box::new(error)))
}
