//! What the controller answers, as this program uses and prints it.
//!
//! Field names in JSON are those of the API's JSON mapping and are stable. States and kinds are the short stable names
//! (`needs_human`), times RFC 3339 in UTC, durations and 64-bit numbers plain numbers with the unit in the name.

mod audit;
mod credentials;
mod people;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use tradepost_domain::money::Money;
use tradepost_domain::{agent, job, listing, posting};

pub(crate) use self::audit::AuditEntry;
pub(crate) use self::credentials::{Credential, SealingKey, StoredCredential};
pub(crate) use self::people::{
    Invitation, Member, NewInvitation, NewToken, PasswordReset, Role, Session, Token, User, UserState,
    Workspace,
};

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) jiff::Timestamp);

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) user_id: String,
    pub(crate) email: String,
    pub(crate) workspace_id: String,
    pub(crate) workspace_name: String,
    pub(crate) role: &'static str,
    /// Whether they run the system.
    pub(crate) operator: bool,
    pub(crate) second_factor: bool,
    /// Whether they must set one up before acting as operator.
    #[serde(skip)]
    pub(crate) second_factor_missing: bool,
    pub(crate) controller_version: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) platform: String,
    pub(crate) version: String,
    #[serde(serialize_with = "names::presence")]
    pub(crate) presence: agent::Presence,
    pub(crate) last_seen_at: Option<Time>,
    pub(crate) created_at: Option<Time>,
    pub(crate) controller_id: String,
    pub(crate) locked_because: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnrolmentToken {
    pub(crate) enrolment_string: String,
    pub(crate) expires_at: Option<Time>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) site: String,
    pub(crate) site_url: String,
    pub(crate) sign_in_name: String,
    pub(crate) currency_code: String,
    pub(crate) agent_id: String,
    pub(crate) created_at: Option<Time>,
    pub(crate) etag: String,
    pub(crate) auto_republish: bool,
}

/// How often an account may act.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pacing {
    pub(crate) account_id: String,
    pub(crate) rules: Policy,
    pub(crate) own: Policy,
    pub(crate) paused_at: Option<Time>,
    pub(crate) cool_down_until: Option<Time>,
    pub(crate) cool_down_class: String,
    pub(crate) next_at: Option<Time>,
    pub(crate) waiting_for: String,
    pub(crate) used_last_hour: u32,
    pub(crate) used_last_day: u32,
}

/// Limits; what is not given is left out.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Policy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_hour: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_day: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_gap_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logins_per_hour: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) looks_per_hour: Option<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) quiet_hours: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) time_zone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new_per_day: Option<u32>,
}

/// What a posting waits for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wait {
    pub(crate) posting_id: String,
    #[serde(serialize_with = "names::posting_state")]
    pub(crate) state: posting::State,
    pub(crate) reason: String,
    pub(crate) waiting_for: String,
    pub(crate) until: Option<Time>,
    pub(crate) time_zone: String,
    pub(crate) priority: i32,
    pub(crate) ahead: u32,
    pub(crate) failure: Option<Failure>,
}

/// What became of many dead letters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Treated {
    pub(crate) matched: u32,
    pub(crate) done: u32,
    pub(crate) refused: Vec<RefusedJob>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefusedJob {
    pub(crate) job_id: String,
    pub(crate) message: String,
}

/// An account as a person wants it.
#[derive(Debug, Clone)]
pub(crate) struct NewAccount {
    pub(crate) name: String,
    pub(crate) site: String,
    pub(crate) site_url: String,
    pub(crate) sign_in_name: String,
    pub(crate) currency_code: String,
    pub(crate) agent_id: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Content {
    pub(crate) title: String,
    pub(crate) description: String,
    #[serde(serialize_with = "names::money")]
    pub(crate) price: Option<Money>,
    pub(crate) category: String,
    #[serde(serialize_with = "names::condition")]
    pub(crate) condition: listing::Condition,
    pub(crate) location: String,
    pub(crate) sku: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) photo_ids: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listing {
    pub(crate) id: String,
    pub(crate) content: Content,
    pub(crate) created_at: Option<Time>,
    pub(crate) updated_at: Option<Time>,
    pub(crate) etag: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Photo {
    pub(crate) id: String,
    pub(crate) file_name: String,
    pub(crate) sha256: String,
    pub(crate) media_type: String,
    pub(crate) size_bytes: i64,
    pub(crate) width_pixels: u32,
    pub(crate) height_pixels: u32,
    pub(crate) created_at: Option<Time>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    pub(crate) class: String,
    pub(crate) step: String,
    pub(crate) field: String,
    pub(crate) message: String,
    /// Until when the site says to wait; left out where it says nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) until: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Posting {
    pub(crate) id: String,
    pub(crate) listing_id: String,
    pub(crate) account_id: String,
    pub(crate) generation: u32,
    #[serde(serialize_with = "names::posting_state")]
    pub(crate) state: posting::State,
    pub(crate) job_id: String,
    pub(crate) item: Option<Item>,
    pub(crate) failure: Option<Failure>,
    pub(crate) created_at: Option<Time>,
    pub(crate) updated_at: Option<Time>,
    pub(crate) waiting_for: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the API's names")]
pub(crate) struct Item {
    pub(crate) item_id: String,
    pub(crate) url: String,
    pub(crate) strategy: String,
}

/// A person's finding about an uncertain posting.
#[derive(Debug, Clone)]
pub(crate) enum Finding {
    Published { item_id: String, url: String },
    NotPublished,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(crate) item: Option<Item>,
    pub(crate) baseline_count: u32,
    pub(crate) read_back: Vec<FieldCheck>,
    pub(crate) evidence: Vec<EvidenceRef>,
    pub(crate) recipe: String,
    pub(crate) agent_id: String,
    pub(crate) prepare_ms: u64,
    pub(crate) permit_ms: u64,
    pub(crate) confirm_ms: u64,
    pub(crate) witness: Witness,
    pub(crate) new_item_ids: Vec<String>,
    pub(crate) count_after: Option<u32>,
    pub(crate) resolution: Option<Resolution>,
}

/// Who saw the listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Witness {
    Run,
    Look,
    Person,
}

/// A person's word.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resolution {
    pub(crate) by: String,
    pub(crate) at: Option<Time>,
    pub(crate) looks: u32,
    pub(crate) question: String,
}

/// What one look saw.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Look {
    pub(crate) seq: u32,
    pub(crate) generation: u32,
    pub(crate) job_id: String,
    pub(crate) at: Option<Time>,
    pub(crate) whole: bool,
    pub(crate) total: u32,
    pub(crate) before: u32,
    pub(crate) known_seen: u32,
    pub(crate) new_items: Vec<NewItem>,
    pub(crate) verdict: String,
}

/// A listing that was not there before the click.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewItem {
    pub(crate) item_id: String,
    pub(crate) url: String,
    pub(crate) matches: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct FieldCheck {
    pub(crate) field: String,
    pub(crate) wanted: String,
    pub(crate) found: String,
    pub(crate) matches: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct EvidenceRef {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    pub(crate) id: String,
    #[serde(serialize_with = "names::job_kind")]
    pub(crate) kind: job::Kind,
    pub(crate) agent_id: String,
    pub(crate) account_id: String,
    pub(crate) posting_id: String,
    #[serde(serialize_with = "names::job_state")]
    pub(crate) state: job::State,
    pub(crate) priority: i32,
    pub(crate) attempt: u32,
    pub(crate) run_lease: i64,
    pub(crate) run_after: Option<Time>,
    pub(crate) cancel_requested: bool,
    pub(crate) failure: Option<Failure>,
    pub(crate) discarded_at: Option<Time>,
    pub(crate) created_at: Option<Time>,
    pub(crate) updated_at: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Start,
    Prepare,
    Commit,
    Confirm,
    Reconcile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepStatus {
    Started,
    Succeeded,
    Failed,
    Skipped,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Step {
    pub(crate) run_lease: i64,
    pub(crate) seq: u32,
    pub(crate) phase: Phase,
    pub(crate) name: String,
    pub(crate) status: StepStatus,
    pub(crate) detail: String,
    /// In milliseconds; none while it runs.
    pub(crate) duration_ms: Option<u64>,
    pub(crate) index: u32,
    pub(crate) total: u32,
    pub(crate) at: Option<Time>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EvidenceFile {
    pub(crate) id: String,
    pub(crate) run_lease: i64,
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) size_bytes: i64,
    pub(crate) sha256: String,
    pub(crate) created_at: Option<Time>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    pub(crate) seq: i64,
    pub(crate) at: Option<Time>,
    pub(crate) kind: String,
    pub(crate) account_id: String,
    pub(crate) listing_id: String,
    pub(crate) posting_id: String,
    pub(crate) job_id: String,
    pub(crate) agent_id: String,
    pub(crate) data: serde_json::Value,
}

/// One item of the event feed.
#[derive(Debug, Clone)]
pub(crate) enum FeedItem {
    Event(Box<Event>),
    /// Nothing happened up to this number.
    Quiet(i64),
}

impl Phase {
    /// The stable name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Prepare => "prepare",
            Self::Commit => "commit",
            Self::Confirm => "confirm",
            Self::Reconcile => "reconcile",
        }
    }

    /// What happens in it, for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Start => "Start Chrome and sign in",
            Self::Prepare => "Fill in the form",
            Self::Commit => "Publish",
            Self::Confirm => "Find the listing and read it back",
            Self::Reconcile => "Look for the listing",
        }
    }
}

impl StepStatus {
    /// The stable name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// The stable name.
pub(crate) fn presence_name(presence: agent::Presence) -> &'static str {
    match presence {
        agent::Presence::Online => "online",
        agent::Presence::Offline => "offline",
        agent::Presence::Revoked => "revoked",
        agent::Presence::NeedsApproval => "needs_approval",
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// How serde writes the domain's types here.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::ref_option,
    reason = "serde passes references to the field"
)]
mod names {
    use super::{Money, Serialize, Serializer, agent, job, listing, posting, presence_name};

    pub(super) fn presence<S: Serializer>(
        presence: &agent::Presence,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(presence_name(*presence))
    }

    pub(super) fn condition<S: Serializer>(
        condition: &listing::Condition,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(condition.name())
    }

    pub(super) fn posting_state<S: Serializer>(
        state: &posting::State,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.name())
    }

    pub(super) fn job_state<S: Serializer>(state: &job::State, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.name())
    }

    pub(super) fn job_kind<S: Serializer>(kind: &job::Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.name())
    }

    pub(super) fn money<S: Serializer>(money: &Option<Money>, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            minor_units: i64,
            currency_code: &'a str,
        }
        match money {
            Some(money) => {
                let currency = money.currency();
                Fields { minor_units: money.minor(), currency_code: currency.code() }.serialize(serializer)
            }
            None => serializer.serialize_none(),
        }
    }
}
