//! Jobs together with their publication: what decisions about runs are made on, read by one statement.

use serde_json::Value;
use tradepost_domain::posting::Publication;
use tradepost_store::FoundRun;
use uuid::Uuid;

use super::Fault;
use super::rows::{IntentRow, JobRow, PostingRow};
use crate::time::Time;

/// A job, its posting if it is that posting's publish job, and the posting's newest intent.
pub(crate) struct RunRow {
    pub(crate) j_id: Uuid,
    pub(crate) j_workspace_id: Uuid,
    pub(crate) j_kind: String,
    pub(crate) j_agent_id: Uuid,
    pub(crate) j_account_id: Uuid,
    pub(crate) j_posting_id: Option<Uuid>,
    pub(crate) j_intent_id: Option<Uuid>,
    pub(crate) j_state: String,
    pub(crate) j_priority: i64,
    pub(crate) j_attempt: i64,
    pub(crate) j_run_lease: Option<i64>,
    pub(crate) j_lease_until: Option<Time>,
    pub(crate) j_run_started_at: Option<Time>,
    pub(crate) j_run_after: Time,
    pub(crate) j_cancel_requested: bool,
    pub(crate) j_failure: Option<Value>,
    pub(crate) j_discarded_at: Option<Time>,
    pub(crate) j_trace_context: Option<String>,
    pub(crate) j_created_at: Time,
    pub(crate) j_updated_at: Time,
    pub(crate) j_version: i64,
    pub(crate) p_id: Option<Uuid>,
    pub(crate) p_workspace_id: Option<Uuid>,
    pub(crate) p_listing_id: Option<Uuid>,
    pub(crate) p_account_id: Option<Uuid>,
    pub(crate) p_generation: Option<i64>,
    pub(crate) p_state: Option<String>,
    pub(crate) p_job_id: Option<Uuid>,
    pub(crate) p_intent_id: Option<Uuid>,
    pub(crate) p_item_id: Option<String>,
    pub(crate) p_item_url: Option<String>,
    pub(crate) p_item_strategy: Option<String>,
    pub(crate) p_failure: Option<Value>,
    pub(crate) p_created_at: Option<Time>,
    pub(crate) p_updated_at: Option<Time>,
    pub(crate) p_version: Option<i64>,
    pub(crate) i_id: Option<Uuid>,
    pub(crate) i_workspace_id: Option<Uuid>,
    pub(crate) i_posting_id: Option<Uuid>,
    pub(crate) i_account_id: Option<Uuid>,
    pub(crate) i_generation: Option<i64>,
    pub(crate) i_state: Option<String>,
    pub(crate) i_fingerprint: Option<String>,
    pub(crate) i_permit_id: Option<Uuid>,
    pub(crate) i_permit_request: Option<String>,
    pub(crate) i_permit_run_lease: Option<i64>,
    pub(crate) i_permit_epoch: Option<i64>,
    pub(crate) i_armed_at: Option<Time>,
    pub(crate) i_report_by: Option<Time>,
    pub(crate) i_item_id: Option<String>,
    pub(crate) i_item_url: Option<String>,
    pub(crate) i_item_strategy: Option<String>,
    pub(crate) i_reason: Option<String>,
    pub(crate) i_looks_taken: Option<i64>,
    pub(crate) i_looks_clean: Option<i64>,
    pub(crate) i_first_clean_at: Option<Time>,
    pub(crate) i_created_at: Option<Time>,
    pub(crate) i_updated_at: Option<Time>,
    pub(crate) i_version: Option<i64>,
    pub(crate) i_baseline: Option<Value>,
}

/// `query_as!` of a [`RunRow`]: the text after the joined tables (`j` is the job, `p` its posting), then the arguments.
macro_rules! runs {
    ($after:literal $(, $($args:tt)*)?) => {
        sqlx::query_as!(
            $crate::shared::RunRow,
            r#"SELECT j.id AS "j_id!: Uuid", j.workspace_id AS "j_workspace_id!: Uuid", j.kind AS "j_kind!",
                      j.agent_id AS "j_agent_id!: Uuid", j.account_id AS "j_account_id!: Uuid",
                      j.posting_id AS "j_posting_id?: Uuid", j.intent_id AS "j_intent_id?: Uuid", j.state AS "j_state!",
                      j.priority AS "j_priority!", j.attempt AS "j_attempt!", j.run_lease AS "j_run_lease?",
                      j.lease_until AS "j_lease_until?: Time", j.run_started_at AS "j_run_started_at?: Time",
                      j.run_after AS "j_run_after!: Time", j.cancel_requested AS "j_cancel_requested!: bool",
                      j.failure AS "j_failure?: Value", j.discarded_at AS "j_discarded_at?: Time",
                      j.trace_context AS "j_trace_context?",
                      j.created_at AS "j_created_at!: Time", j.updated_at AS "j_updated_at!: Time", j.version AS "j_version!",
                      p.id AS "p_id?: Uuid", p.workspace_id AS "p_workspace_id?: Uuid", p.listing_id AS "p_listing_id?: Uuid",
                      p.account_id AS "p_account_id?: Uuid", p.generation AS "p_generation?", p.state AS "p_state?",
                      p.job_id AS "p_job_id?: Uuid", p.intent_id AS "p_intent_id?: Uuid", p.item_id AS "p_item_id?",
                      p.item_url AS "p_item_url?", p.item_strategy AS "p_item_strategy?", p.failure AS "p_failure?: Value",
                      p.created_at AS "p_created_at?: Time", p.updated_at AS "p_updated_at?: Time", p.version AS "p_version?",
                      i.id AS "i_id?: Uuid", i.workspace_id AS "i_workspace_id?: Uuid", i.posting_id AS "i_posting_id?: Uuid",
                      i.account_id AS "i_account_id?: Uuid", i.generation AS "i_generation?", i.state AS "i_state?",
                      i.fingerprint AS "i_fingerprint?", i.permit_id AS "i_permit_id?: Uuid",
                      i.permit_request AS "i_permit_request?", i.permit_run_lease AS "i_permit_run_lease?",
                      i.permit_epoch AS "i_permit_epoch?", i.armed_at AS "i_armed_at?: Time",
                      i.report_by AS "i_report_by?: Time", i.item_id AS "i_item_id?", i.item_url AS "i_item_url?",
                      i.item_strategy AS "i_item_strategy?", i.reason AS "i_reason?", i.looks_taken AS "i_looks_taken?",
                      i.looks_clean AS "i_looks_clean?", i.first_clean_at AS "i_first_clean_at?: Time",
                      i.created_at AS "i_created_at?: Time", i.updated_at AS "i_updated_at?: Time", i.version AS "i_version?",
                      b.item_ids AS "i_baseline?: Value"
               FROM jobs j LEFT JOIN postings p ON p.job_id = j.id LEFT JOIN intents i ON i.id = p.intent_id
                   LEFT JOIN intent_baselines b ON b.intent_id = i.id "# + $after,
            $($($args)*)?
        )
    };
}
pub(crate) use runs;

impl RunRow {
    /// The job, with its publication if it has one.
    pub(crate) fn into_run(mut self) -> Result<FoundRun, Fault> {
        let (posting, intent) = (self.posting(), self.intent());
        let job = self.job().into_job()?;
        let publication = match (posting, intent) {
            (Some(posting), Some(intent)) => Some(Publication {
                posting: posting.into_posting()?,
                job: job.clone(),
                intent: intent.into_intent()?,
            }),
            (Some(posting), None) => {
                return Err(Fault::inconsistent("postings.intent_id", posting.id, posting.intent_id));
            }
            (None, _) => None,
        };
        Ok(FoundRun { job, publication })
    }

    fn posting(&mut self) -> Option<PostingRow> {
        Some(PostingRow {
            id: self.p_id?,
            workspace_id: self.p_workspace_id?,
            listing_id: self.p_listing_id?,
            account_id: self.p_account_id?,
            generation: self.p_generation?,
            state: self.p_state.take()?,
            job_id: self.p_job_id?,
            intent_id: self.p_intent_id?,
            item_id: self.p_item_id.take(),
            item_url: self.p_item_url.take(),
            item_strategy: self.p_item_strategy.take(),
            failure: self.p_failure.take(),
            created_at: self.p_created_at?,
            updated_at: self.p_updated_at?,
            version: self.p_version?,
        })
    }

    fn intent(&mut self) -> Option<IntentRow> {
        Some(IntentRow {
            id: self.i_id?,
            workspace_id: self.i_workspace_id?,
            posting_id: self.i_posting_id?,
            account_id: self.i_account_id?,
            generation: self.i_generation?,
            state: self.i_state.take()?,
            fingerprint: self.i_fingerprint.take()?,
            permit_id: self.i_permit_id,
            permit_request: self.i_permit_request.take(),
            permit_run_lease: self.i_permit_run_lease,
            permit_epoch: self.i_permit_epoch,
            armed_at: self.i_armed_at,
            report_by: self.i_report_by,
            item_id: self.i_item_id.take(),
            item_url: self.i_item_url.take(),
            item_strategy: self.i_item_strategy.take(),
            reason: self.i_reason.take(),
            looks_taken: self.i_looks_taken?,
            looks_clean: self.i_looks_clean?,
            first_clean_at: self.i_first_clean_at,
            created_at: self.i_created_at?,
            updated_at: self.i_updated_at?,
            version: self.i_version?,
            baseline: self.i_baseline.take(),
        })
    }

    fn job(self) -> JobRow {
        JobRow {
            id: self.j_id,
            workspace_id: self.j_workspace_id,
            kind: self.j_kind,
            agent_id: self.j_agent_id,
            account_id: self.j_account_id,
            posting_id: self.j_posting_id,
            intent_id: self.j_intent_id,
            state: self.j_state,
            priority: self.j_priority,
            attempt: self.j_attempt,
            run_lease: self.j_run_lease,
            lease_until: self.j_lease_until,
            run_started_at: self.j_run_started_at,
            run_after: self.j_run_after,
            cancel_requested: self.j_cancel_requested,
            failure: self.j_failure,
            discarded_at: self.j_discarded_at,
            trace_context: self.j_trace_context,
            created_at: self.j_created_at,
            updated_at: self.j_updated_at,
            version: self.j_version,
        }
    }
}
