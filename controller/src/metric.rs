//! The metrics of this process. Labels are from small fixed sets.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tradepost_domain::job::State;

const RPCS: &str = "controller_rpcs_total";
const RPC_SECONDS: &str = "controller_rpc_seconds";
const JOBS: &str = "controller_jobs";
const AGENTS: &str = "controller_attached_agents";
const ROUNDS: &str = "controller_background_rounds_total";
const FORGOTTEN: &str = "controller_forgotten_total";
const CERTIFICATE: &str = "controller_certificate_seconds_left";
const DISPATCHES: &str = "controller_dispatches_total";
const CLOCK_STEP: &str = "controller_clock_step_seconds";

/// Describes every metric.
pub fn describe() {
    describe_counter!(RPCS, Unit::Count, "Calls by method and code.");
    describe_histogram!(
        RPC_SECONDS,
        Unit::Seconds,
        "Time until a call is answered, or until a stream begins."
    );
    describe_gauge!(JOBS, Unit::Count, "Jobs that have not ended, by state.");
    describe_gauge!(AGENTS, Unit::Count, "Agents attached to this controller.");
    describe_counter!(ROUNDS, Unit::Count, "Rounds of background tasks by task and outcome.");
    describe_counter!(FORGOTTEN, Unit::Count, "Rows let go because of their age, by what they were.");
    describe_gauge!(CERTIFICATE, Unit::Seconds, "Until the end of the api listener's certificate.");
    describe_counter!(DISPATCHES, Unit::Count, "Jobs handed to agents by kind.");
    describe_gauge!(
        CLOCK_STEP,
        Unit::Seconds,
        "How far this process's clock was set at its last comparison with the database's."
    );
}

/// One call was answered.
pub fn rpc(method: &'static str, code: &'static str, took: Duration) {
    counter!(RPCS, "method" => method, "code" => code).increment(1);
    histogram!(RPC_SECONDS, "method" => method).record(took.as_secs_f64());
}

/// Jobs by state; states without a job are zero.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^52")]
pub fn jobs(counts: &[(State, u64)]) {
    for state in State::ALL.into_iter().filter(|state| !state.is_terminal()) {
        let count = counts.iter().find(|(counted, _)| *counted == state).map_or(0, |(_, count)| *count);
        gauge!(JOBS, "state" => state.name()).set(count as f64);
    }
}

/// Agents attached here.
pub fn attached(count: usize) {
    gauge!(AGENTS).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

/// How long the api listener's certificate lasts.
pub fn certificate_ends_in(left: Duration) {
    gauge!(CERTIFICATE).set(left.as_secs_f64());
}

/// One round of a background task.
pub fn round(task: &'static str, outcome: &'static str) {
    counter!(ROUNDS, "task" => task, "outcome" => outcome).increment(1);
}

/// Rows were let go because of their age.
pub fn forgotten(what: &'static str, rows: u64) {
    counter!(FORGOTTEN, "what" => what).increment(rows);
}

/// One job was handed to its agent.
pub fn dispatched(kind: &'static str) {
    counter!(DISPATCHES, "kind" => kind).increment(1);
}

/// The clock was set by so many microseconds.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub fn clock_step(micros: i64) {
    gauge!(CLOCK_STEP).set(micros as f64 / 1e6);
}
