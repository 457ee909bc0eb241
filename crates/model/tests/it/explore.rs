//! The protocol as it is: every reachable state of the standard configurations.

use std::collections::BTreeSet;

use tradepost_model::configuration::{self, Configuration};
use tradepost_model::explorer::Report;
use tradepost_model::model::Situation;

use crate::explored;

/// Explores the whole, which must keep every rule and must have been where it matters.
fn holds(configuration: Configuration, least: usize, seen: &[Situation]) -> Report {
    let name = configuration.name;
    let (report, model) = explored(configuration);
    if let Some(broken) = &report.broken {
        panic!("{name}: {broken}");
    }
    assert!(report.complete, "{name}: {report}");
    assert!(
        report.states >= least,
        "{name}: {report}, fewer than {least}: does the model still do what it should?"
    );
    let missed: BTreeSet<_> =
        seen.iter().filter(|situation| !model.situations().contains(situation)).collect();
    assert!(missed.is_empty(), "{name}: never got to {missed:?}");
    report
}

#[test]
fn one_posting_keeps_every_rule_through_any_two_faults() {
    use Situation::*;
    let seen = [
        Armed,
        PermitAskedAgain,
        PermitReturned,
        PermitExpired,
        LookedAfterSleep,
        Clicked,
        ConfirmedByRun,
        ConfirmedByLook,
        ConfirmedByPerson,
        ProvenAbsent,
        PersonAsked,
        UnknownNotClicked,
        ProvenNotClicked,
        StaleWriteRefused,
        OldStreamRefused,
        LateSettlement,
        ReportOverdue,
        FailoverWhileArmed,
        LeaseEndedWhileArmed,
        ParkedAndResumed,
        Stopped,
        ZombieChrome,
        LookGivenUp,
        GivenUp,
        Cancelled,
        FreshGeneration,
    ];
    holds(configuration::one_posting(), 400_000, &seen);
}

#[test]
fn one_posting_keeps_every_rule_through_any_three_failures() {
    use Situation::*;
    holds(
        configuration::three_failures(),
        100_000,
        &[ZombieChrome, FailoverWhileArmed, ProvenNotClicked, ConfirmedByLook],
    );
}

#[test]
fn a_careless_seller_is_asked_and_never_answered_wrongly() {
    holds(configuration::careless_seller(), 10_000, &[Situation::Duplicate, Situation::PersonAsked]);
}

#[test]
fn two_postings_of_one_account_keep_every_rule_through_any_fault() {
    use Situation::*;
    let seen = [
        Armed,
        PermitReturned,
        PermitExpired,
        Clicked,
        ConfirmedByRun,
        ConfirmedByLook,
        ConfirmedByPerson,
        ProvenAbsent,
        PersonAsked,
        ProvenNotClicked,
        OldStreamRefused,
        FailoverWhileArmed,
        ParkedAndResumed,
        ZombieChrome,
    ];
    holds(configuration::two_postings(), 500_000, &seen);
}

#[test]
fn two_postings_of_equal_titles_keep_every_rule_through_any_fault() {
    use Situation::*;
    let seen = [Armed, Clicked, ConfirmedByRun, ConfirmedByLook, ProvenAbsent, PersonAsked, ZombieChrome];
    holds(configuration::two_alike(), 500_000, &seen);
}
