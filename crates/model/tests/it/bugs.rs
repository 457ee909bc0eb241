//! Mistakes that an implementation might make: each is found, with the shortest way to it, and the protocol as it is keeps
//! its rules within the same bounds.

use tradepost_model::bug::Bug;
use tradepost_model::configuration::Strictness::{Consequences, Invariants};
use tradepost_model::configuration::{Configuration, Strictness};
use tradepost_model::world::Fault;

use crate::explored;

/// The mistake is found as a breach of `rule`, and without the mistake there is none.
fn finds(bug: Bug, strictness: Strictness, rule: &str, configuration: Configuration) {
    let right = Configuration { strictness, ..configuration.clone() };
    let (report, _) = explored(right);
    assert!(
        report.complete && report.broken.is_none(),
        "the protocol as it is: {report}: {:?}",
        report.broken
    );

    let (report, _) = explored(configuration.with_bug(bug, strictness));
    let broken = report.broken.unwrap_or_else(|| panic!("{bug:?} was not found in {} states", report.states));
    println!("{bug:?}: {broken}");
    assert!(broken.rule.contains(rule), "{bug:?} was found as something else than {rule}: {broken}");
    assert!(!broken.trace.is_empty(), "a way leads there");
}

fn one(faults: &[Fault]) -> Configuration {
    let all = u8::try_from(faults.len()).expect("few");
    Configuration::new("one posting", 1, all, faults)
}

fn two(faults: &[Fault]) -> Configuration {
    let all = u8::try_from(faults.len()).expect("few");
    Configuration::new("two postings", 2, all, faults)
}

#[test]
fn a_click_without_a_permit() {
    finds(Bug::DropFence, Consequences, "LOST", one(&[Fault::AgentCrash]));
    finds(Bug::DropFence, Invariants, "I3", one(&[]));
}

#[test]
fn a_permit_for_an_older_run() {
    finds(Bug::SkipRunLease, Invariants, "I1", one(&[Fault::ChromeCrash]));
}

#[test]
fn a_permit_over_an_older_stream() {
    finds(Bug::SkipEpochCheck, Invariants, "I1", one(&[Fault::StreamLost]));
}

#[test]
fn a_click_before_its_record_is_on_the_disk() {
    finds(Bug::ClickBeforeFsync, Invariants, "I3", one(&[]));
    finds(Bug::ClickBeforeFsync, Consequences, "DUPLICATE", one(&[Fault::AgentCrash]));
}

#[test]
fn a_permit_that_outlives_its_process() {
    finds(Bug::ReusePermitAfterRestart, Consequences, "LOST", one(&[Fault::AgentCrash]));
}

#[test]
fn a_baseline_of_an_earlier_preparation() {
    let faults = [Fault::ChromeCrash, Fault::SellerPosts, Fault::SiteFails];
    finds(Bug::StaleBaseline, Consequences, "WRONG", one(&faults).with_equal_titles());
}

#[test]
fn a_second_click_when_the_first_is_not_answered() {
    finds(Bug::RetryClick, Consequences, "DUPLICATE", one(&[]));
}

#[test]
fn an_empty_page_that_counts_as_a_clean_look() {
    finds(Bug::SkipPositiveControl, Consequences, "LOST", one(&[Fault::BadLook]));
}

#[test]
fn back_to_prepared_when_the_report_is_overdue() {
    finds(Bug::BackToPrepared, Invariants, "I4", one(&[Fault::Silence]));
    finds(Bug::BackToPrepared, Consequences, "DUPLICATE", one(&[Fault::AgentCrash]));
}

#[test]
fn a_click_denied_without_proof() {
    finds(Bug::DenyUnprovenClick, Consequences, "DUPLICATE", one(&[Fault::AgentCrash]));
}

#[test]
fn a_click_after_a_sleep_without_a_look() {
    finds(Bug::SkipLookAfterSleep, Invariants, "I10", one(&[Fault::Sleep]));
}

#[test]
fn a_click_after_the_permits_life() {
    finds(Bug::IgnorePermitLife, Invariants, "I8", one(&[Fault::Slow]));
}

#[test]
fn a_listing_recognised_by_its_title_alone() {
    finds(Bug::ConfirmByTitle, Invariants, "I6", two(&[Fault::SiteFails]).with_equal_titles());
}

#[test]
fn a_second_permit_while_the_first_is_unsettled() {
    finds(Bug::ForgetAccountMutex, Invariants, "I2", two(&[]));
}

#[test]
fn absence_after_one_look() {
    finds(Bug::AbsentAtOnce, Consequences, "LOST", one(&[]));
}

#[test]
fn a_look_that_is_given_up_and_nobody_is_asked() {
    finds(Bug::ForgetLook, Invariants, "I7", one(&[Fault::RunFails, Fault::RunFails]));
    finds(Bug::ForgetLook, Consequences, "no orderly way", one(&[Fault::RunFails, Fault::RunFails]));
}
