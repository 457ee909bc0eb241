//! Messages to this program's types. A value that this version does not know is an error that says so.

mod audit;
mod people;

use std::collections::BTreeMap;

use prost_types::value::Kind;
use serde_json::Value;
use tradepost_domain::listing::Condition;
use tradepost_domain::money::{Currency, Money};
use tradepost_domain::{agent, job, posting};
use tradepost_proto::v1;

use crate::error::{Error, Result};
use crate::model;

pub(super) use self::audit::audit_entry;
pub(super) use self::people::{
    invitation, member, role, session, session_secrets, token, user, user_state, workspace,
};

/// The message that an answer must carry.
pub(super) fn present<T>(message: Option<T>, what: &str) -> Result<T> {
    message.ok_or_else(|| Error::failed(format!("the controller's answer lacks the {what}")).hint(UPDATE))
}

const UPDATE: &str = "controller and tradepost may be of different versions: see `tradepost version`";

fn unknown(what: &str, number: i32) -> Error {
    Error::failed(format!("the controller sent a {what} that this version does not know ({number})"))
        .hint(UPDATE)
}

pub(super) fn time(timestamp: Option<prost_types::Timestamp>) -> Option<model::Time> {
    let prost_types::Timestamp { seconds, nanos } = timestamp?;
    jiff::Timestamp::new(seconds, nanos).ok().map(model::Time)
}

pub(super) fn identity(answer: v1::WhoAmIResponse) -> model::Identity {
    let role = answer.role();
    let v1::WhoAmIResponse {
        user_id,
        email,
        workspace_id,
        workspace_name,
        role: _,
        controller_version,
        operator,
        second_factor,
        second_factor_missing,
    } = answer;
    let role = role_name(role);
    model::Identity {
        user_id,
        email,
        workspace_id,
        workspace_name,
        role,
        operator,
        second_factor,
        second_factor_missing,
        controller_version,
    }
}

fn role_name(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Operator => "operator",
        v1::Role::Owner => "owner",
        v1::Role::Editor => "editor",
        v1::Role::Viewer => "viewer",
        v1::Role::Unspecified => "none",
    }
}

pub(super) fn agent(message: v1::Agent) -> Result<model::Agent> {
    let presence = match message.presence() {
        v1::Presence::Online => agent::Presence::Online,
        v1::Presence::Offline => agent::Presence::Offline,
        v1::Presence::Revoked => agent::Presence::Revoked,
        v1::Presence::NeedsApproval => agent::Presence::NeedsApproval,
        v1::Presence::Unspecified => return Err(unknown("presence", message.presence)),
    };
    let v1::Agent {
        id,
        name,
        platform,
        version,
        presence: _,
        last_seen_at,
        created_at,
        controller_id,
        locked_because,
    } = message;
    Ok(model::Agent {
        id,
        name,
        platform,
        version,
        presence,
        last_seen_at: time(last_seen_at),
        created_at: time(created_at),
        controller_id,
        locked_because,
    })
}

pub(super) fn enrolment_token(message: v1::CreateEnrolmentTokenResponse) -> model::EnrolmentToken {
    let v1::CreateEnrolmentTokenResponse { enrolment_string, expires_at } = message;
    model::EnrolmentToken { enrolment_string, expires_at: time(expires_at) }
}

pub(super) fn account(message: v1::Account) -> model::Account {
    let v1::Account {
        id,
        name,
        site,
        site_url,
        sign_in_name,
        currency_code,
        agent_id,
        created_at,
        etag,
        auto_republish,
    } = message;
    model::Account {
        id,
        name,
        site,
        site_url,
        sign_in_name,
        currency_code,
        agent_id,
        created_at: time(created_at),
        etag,
        auto_republish,
    }
}

pub(super) fn look(message: v1::Look) -> model::Look {
    let v1::Look { seq, generation, job_id, at, whole, total, before, known_seen, new_items, verdict } =
        message;
    model::Look {
        seq,
        generation,
        job_id,
        at: time(at),
        whole,
        total,
        before,
        known_seen,
        new_items: new_items
            .into_iter()
            .map(|v1::NewItem { item_id, url, matches }| model::NewItem { item_id, url, matches })
            .collect(),
        verdict,
    }
}

pub(super) fn listing(message: v1::Listing) -> Result<model::Listing> {
    let v1::Listing { id, content: message, created_at, updated_at, etag } = message;
    let message = present(message, "content of the listing")?;
    Ok(model::Listing {
        id,
        content: content(message)?,
        created_at: time(created_at),
        updated_at: time(updated_at),
        etag,
    })
}

fn content(message: v1::ListingContent) -> Result<model::Content> {
    let condition = match message.condition() {
        v1::Condition::New => Condition::New,
        v1::Condition::LikeNew => Condition::LikeNew,
        v1::Condition::Good => Condition::Good,
        v1::Condition::Fair => Condition::Fair,
        v1::Condition::Unspecified => return Err(unknown("condition", message.condition)),
    };
    let v1::ListingContent {
        title,
        description,
        price,
        category,
        condition: _,
        location,
        sku,
        attributes,
        photo_ids,
    } = message;
    let price = price.and_then(|v1::Money { minor_units, currency_code }| {
        let currency = currency_code.parse::<Currency>().ok()?;
        Money::from_minor(minor_units, currency).ok()
    });
    let attributes: BTreeMap<_, _> = attributes.into_iter().collect();
    Ok(model::Content {
        title,
        description,
        price,
        category,
        condition,
        location,
        sku,
        attributes,
        photo_ids,
    })
}

pub(super) fn content_message(content: &model::Content) -> v1::ListingContent {
    let model::Content {
        title,
        description,
        price,
        category,
        condition,
        location,
        sku,
        attributes,
        photo_ids,
    } = content.clone();
    let condition = match condition {
        Condition::New => v1::Condition::New,
        Condition::LikeNew => v1::Condition::LikeNew,
        Condition::Good => v1::Condition::Good,
        Condition::Fair => v1::Condition::Fair,
    };
    v1::ListingContent {
        title,
        description,
        price: price.map(|price| v1::Money {
            minor_units: price.minor(),
            currency_code: price.currency().code().to_owned(),
        }),
        category,
        condition: condition.into(),
        location,
        sku,
        attributes: attributes.into_iter().collect(),
        photo_ids,
    }
}

pub(super) fn photo(message: v1::Photo) -> model::Photo {
    let v1::Photo { id, file_name, sha256, media_type, size_bytes, width_pixels, height_pixels, created_at } =
        message;
    model::Photo {
        id,
        file_name,
        sha256,
        media_type,
        size_bytes,
        width_pixels,
        height_pixels,
        created_at: time(created_at),
    }
}

fn failure(message: v1::Failure) -> model::Failure {
    let v1::Failure { class, step, field, message, until } = message;
    model::Failure { class, step, field, message, until }
}

pub(super) fn pacing(message: v1::Pacing) -> model::Pacing {
    let v1::Pacing {
        account_id,
        rules,
        own,
        paused_at,
        cool_down_until,
        cool_down_class,
        next_at,
        waiting_for,
        used_last_hour,
        used_last_day,
    } = message;
    model::Pacing {
        account_id,
        rules: rules.map(policy).unwrap_or_default(),
        own: own.map(policy).unwrap_or_default(),
        paused_at: time(paused_at),
        cool_down_until: time(cool_down_until),
        cool_down_class,
        next_at: time(next_at),
        waiting_for,
        used_last_hour,
        used_last_day,
    }
}

fn policy(message: v1::PacingPolicy) -> model::Policy {
    let v1::PacingPolicy {
        per_hour,
        per_day,
        min_gap,
        logins_per_hour,
        looks_per_hour,
        quiet_hours,
        time_zone,
        new_days,
        new_per_day,
    } = message;
    model::Policy {
        per_hour,
        per_day,
        min_gap_seconds: min_gap.and_then(|gap| u64::try_from(gap.seconds).ok()),
        logins_per_hour,
        looks_per_hour,
        quiet_hours,
        time_zone,
        new_days,
        new_per_day,
    }
}

pub(super) fn policy_message(policy: crate::args::pacing::PolicyArguments) -> v1::PacingPolicy {
    let crate::args::pacing::PolicyArguments {
        per_hour,
        per_day,
        min_gap,
        quiet_hours,
        time_zone,
        new_days,
        new_per_day,
        logins_per_hour,
        looks_per_hour,
    } = policy;
    v1::PacingPolicy {
        per_hour,
        per_day,
        min_gap: min_gap.map(tradepost_proto::convert::time::duration_to_wire),
        logins_per_hour,
        looks_per_hour,
        quiet_hours: quiet_hours.unwrap_or_default(),
        time_zone: time_zone.unwrap_or_default(),
        new_days,
        new_per_day,
    }
}

pub(super) fn wait(message: v1::GetWaitResponse) -> Result<model::Wait> {
    let v1::GetWaitResponse { posting: waiting, reason, until, time_zone, priority, ahead } = message;
    let waiting = posting(present(waiting, "posting")?)?;
    Ok(model::Wait {
        posting_id: waiting.id,
        state: waiting.state,
        reason,
        waiting_for: waiting.waiting_for,
        until: time(until),
        time_zone,
        priority,
        ahead,
        failure: waiting.failure,
    })
}

pub(super) fn job_kind(kind: job::Kind) -> v1::JobKind {
    match kind {
        job::Kind::Login => v1::JobKind::Login,
        job::Kind::Publish => v1::JobKind::Publish,
        job::Kind::Reconcile => v1::JobKind::Reconcile,
    }
}

fn item(message: v1::PublishedItem) -> model::Item {
    let v1::PublishedItem { item_id, url, strategy } = message;
    model::Item { item_id, url, strategy }
}

pub(super) fn posting_state(state: posting::State) -> v1::PostingState {
    match state {
        posting::State::Queued => v1::PostingState::Queued,
        posting::State::Running => v1::PostingState::Running,
        posting::State::Published => v1::PostingState::Published,
        posting::State::Uncertain => v1::PostingState::Uncertain,
        posting::State::NeedsHuman => v1::PostingState::NeedsHuman,
        posting::State::Failed => v1::PostingState::Failed,
        posting::State::Cancelled => v1::PostingState::Cancelled,
    }
}

pub(super) fn posting(message: v1::Posting) -> Result<model::Posting> {
    let state = posting::State::ALL
        .into_iter()
        .find(|state| posting_state(*state) as i32 == message.state)
        .ok_or_else(|| unknown("state of a posting", message.state))?;
    let v1::Posting {
        id,
        listing_id,
        account_id,
        generation,
        state: _,
        job_id,
        item: published,
        failure: reason,
        created_at,
        updated_at,
        waiting_for,
    } = message;
    Ok(model::Posting {
        id,
        listing_id,
        account_id,
        generation,
        state,
        job_id,
        item: published.map(item),
        failure: reason.map(failure),
        created_at: time(created_at),
        updated_at: time(updated_at),
        waiting_for,
    })
}

pub(super) fn receipt(message: v1::Receipt) -> model::Receipt {
    let v1::Receipt {
        item: published,
        baseline_count,
        read_back,
        evidence,
        recipe,
        agent_id,
        prepare_ms,
        confirm_ms,
        witness,
        new_item_ids,
        count_after,
        permit_ms,
        resolution,
    } = message;
    model::Receipt {
        item: published.map(item),
        baseline_count,
        read_back: read_back
            .into_iter()
            .map(|v1::FieldCheck { field, wanted, found, matches }| model::FieldCheck {
                field,
                wanted,
                found,
                matches,
            })
            .collect(),
        evidence: evidence
            .into_iter()
            .map(|v1::EvidenceRef { name, sha256 }| model::EvidenceRef { name, sha256 })
            .collect(),
        recipe,
        agent_id,
        prepare_ms,
        permit_ms,
        confirm_ms,
        witness: match witness.as_str() {
            "look" => model::Witness::Look,
            "person" => model::Witness::Person,
            _ => model::Witness::Run,
        },
        new_item_ids,
        count_after,
        resolution: resolution.map(|v1::Resolution { by, at, looks, question }| model::Resolution {
            by,
            at: time(at),
            looks,
            question,
        }),
    }
}

pub(super) fn job_state(state: job::State) -> v1::JobState {
    match state {
        job::State::Queued => v1::JobState::Queued,
        job::State::Leased => v1::JobState::Leased,
        job::State::Running => v1::JobState::Running,
        job::State::Parked => v1::JobState::Parked,
        job::State::NeedsHuman => v1::JobState::NeedsHuman,
        job::State::Uncertain => v1::JobState::Uncertain,
        job::State::Succeeded => v1::JobState::Succeeded,
        job::State::Failed => v1::JobState::Failed,
        job::State::Cancelled => v1::JobState::Cancelled,
    }
}

pub(super) fn job(message: v1::Job) -> Result<model::Job> {
    let state = job::State::ALL
        .into_iter()
        .find(|state| job_state(*state) as i32 == message.state)
        .ok_or_else(|| unknown("state of a job", message.state))?;
    let kind = match message.kind() {
        v1::JobKind::Login => job::Kind::Login,
        v1::JobKind::Publish => job::Kind::Publish,
        v1::JobKind::Reconcile => job::Kind::Reconcile,
        v1::JobKind::Unspecified => return Err(unknown("kind of job", message.kind)),
    };
    let v1::Job {
        id,
        kind: _,
        agent_id,
        account_id,
        posting_id,
        state: _,
        priority,
        attempt,
        run_lease,
        run_after,
        cancel_requested,
        failure: reason,
        created_at,
        updated_at,
        discarded_at,
    } = message;
    Ok(model::Job {
        id,
        kind,
        agent_id,
        account_id,
        posting_id,
        state,
        priority,
        attempt,
        run_lease,
        run_after: time(run_after),
        cancel_requested,
        failure: reason.map(failure),
        discarded_at: time(discarded_at),
        created_at: time(created_at),
        updated_at: time(updated_at),
    })
}

pub(super) fn step(message: v1::Step) -> Result<model::Step> {
    let phase = match message.phase() {
        v1::Phase::Start => model::Phase::Start,
        v1::Phase::Prepare => model::Phase::Prepare,
        v1::Phase::Commit => model::Phase::Commit,
        v1::Phase::Confirm => model::Phase::Confirm,
        v1::Phase::Reconcile => model::Phase::Reconcile,
        v1::Phase::Unspecified => return Err(unknown("phase", message.phase)),
    };
    let status = match message.status() {
        v1::StepStatus::Started => model::StepStatus::Started,
        v1::StepStatus::Succeeded => model::StepStatus::Succeeded,
        v1::StepStatus::Failed => model::StepStatus::Failed,
        v1::StepStatus::Skipped => model::StepStatus::Skipped,
        v1::StepStatus::Unspecified => return Err(unknown("status of a step", message.status)),
    };
    let v1::Step { run_lease, seq, phase: _, name, status: _, detail, duration, index, total, at } = message;
    let duration_ms = duration.map(|duration| {
        let millis =
            duration.seconds.saturating_mul(1000).saturating_add(i64::from(duration.nanos / 1_000_000));
        u64::try_from(millis).unwrap_or(0)
    });
    Ok(model::Step { run_lease, seq, phase, name, status, detail, duration_ms, index, total, at: time(at) })
}

pub(super) fn evidence_file(message: v1::EvidenceFile) -> model::EvidenceFile {
    let v1::EvidenceFile { id, run_lease, name, media_type, size_bytes, sha256, created_at } = message;
    model::EvidenceFile { id, run_lease, name, media_type, size_bytes, sha256, created_at: time(created_at) }
}

pub(super) fn event(message: v1::Event) -> model::Event {
    let v1::Event { seq, at, kind, account_id, listing_id, posting_id, job_id, agent_id, data } = message;
    let data = data.map_or(Value::Null, object);
    model::Event { seq, at: time(at), kind, account_id, listing_id, posting_id, job_id, agent_id, data }
}

fn object(message: prost_types::Struct) -> Value {
    Value::Object(message.fields.into_iter().map(|(name, field)| (name, value(field))).collect())
}

fn value(message: prost_types::Value) -> Value {
    match message.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => whole(number),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(value).collect()),
        Some(Kind::StructValue(fields)) => object(fields),
    }
}

/// A number as people write it: `3`, not `3.0`.
fn whole(number: f64) -> Value {
    let text = format!("{number}");
    text.parse::<i64>().map_or_else(|_| Value::from(number), Value::from)
}
