//! Fleets from seeds: nothing is lost, nothing is doubled, everything comes to rest; and bugs that are put in are found.

use std::path::{Path, PathBuf};

use tradepost_simulation::campaign::{Outcome, keep_trace, run_all, table};
use tradepost_simulation::plan::Bug;
use tradepost_simulation::simulate::run;
use tradepost_simulation::world::Tracing;

/// Faults and paths that must have happened in the seeds of every test run, so that they prove something.
const MUST_HAPPEN: &[&str] = &[
    "Chrome ends during a step",
    "Chrome takes long from the click to the request",
    "a Chrome outlives its agent",
    "a call arrives late",
    "a call arrives twice",
    "a call has no answer",
    "a call or its answer is lost",
    "a click is confirmed at once",
    "a click is refused by the page",
    "a click stays uncertain",
    "a controller dies at a store call",
    "a controller is killed",
    "a controller loses its database",
    "a controller sends an agent away",
    "a job is parked",
    "a journal settles an uncertain click",
    "a list is read in part",
    "a look cannot settle a click",
    "a look finds several new listings",
    "a machine is stopped",
    "a machine sleeps",
    "a machine's wall clock jumps",
    "a new listing is hidden for hours",
    "a parked run goes on",
    "a permit is given back",
    "a permit is not used",
    "a permit runs out before the click",
    "a person cancels",
    "a person resolves a posting",
    "a person retries",
    "a person signs in",
    "a posting ends cancelled",
    "a posting ends failed",
    "a posting ends published",
    "a posting ends with a question to a person",
    "a power cut loses records of a journal",
    "a request for a permit is repeated",
    "a request for a posting is repeated",
    "a restarted agent asks for a permit again",
    "a restarted agent gives a permit back",
    "a restarted agent reports a confirmed click",
    "a restarted agent reports an uncertain click",
    "a run finds nobody signed in",
    "a run is asked to end before its click",
    "a run is put off by its agent's end",
    "a sign-in is lost",
    "a step fails",
    "a store call fails before its effect",
    "a store call takes seconds",
    "a stream ends without a word",
    "an account is bound to another agent",
    "an agent dies at its journal",
    "an agent is cloned",
    "an agent is ended in good order",
    "an agent is killed",
    "an agent recounts its journal",
    "an armed intent becomes unknown",
    "an older copy of the database is put back",
    "an unanswered request for a permit is followed up",
    "an uncertain click is confirmed by a look",
    "an uncertain click is proven absent",
    "the answer is lost after the effect",
    "the answer of a write is lost",
    "the controller refuses a step towards the click",
    "the feed tells of a publication that a restored copy has forgotten",
    "the network of a machine is cut",
    "the power of a machine fails",
    "the seller posts by hand",
    "the site answers with an error and does nothing",
    "the site refuses a form",
    "the site takes a new listing down",
    "the site works on a form for minutes",
    "what an agent has left is reported after its stream began",
];

/// Seeds that went wrong once. What each of them found has a test of its own, too.
const REGRESSIONS: &[u64] = &[256, 4030];

fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/simulation")
}

/// What went wrong, with its traces kept and the way to see it again.
fn told(outcome: &Outcome, bug: Option<Bug>) -> String {
    let broken = outcome.broken.iter().map(|(seed, report)| {
        let file = keep_trace(&traces(), *seed, bug)
            .map_or_else(|error| error.to_string(), |(file, _)| file.display().to_string());
        format!("seed {seed}: {:#?}\n  replay: make sim SEED={seed}\n  trace: {file}\n", report.violations)
    });
    broken.collect()
}

#[test]
fn two_hundred_seeds_lose_nothing_and_double_nothing() {
    let outcome = run_all(1, 200, None, 3, |_, _| {});
    assert!(outcome.broken.is_empty(), "\n{}", told(&outcome, None));
    println!("{}", table(&outcome.counts));
    println!("{} seeds, {} simulated hours", outcome.seeds, outcome.hours);
    let missing: Vec<_> = MUST_HAPPEN.iter().filter(|what| !outcome.counts.contains_key(*what)).collect();
    assert!(missing.is_empty(), "these never happened, so nothing is shown about them: {missing:#?}");
}

#[test]
fn seeds_that_went_wrong_once_go_well() {
    for seed in REGRESSIONS {
        let outcome = run_all(*seed, 1, None, 1, |_, _| {});
        assert!(outcome.broken.is_empty(), "\n{}", told(&outcome, None));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in [3, 11, 42, 77] {
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(move || run(seed, None, Tracing::On));
            (run(seed, None, Tracing::On), other.join().expect("the other run ended"))
        });
        assert!(one.traced.text.lines().count() > 200, "seed {seed} has next to no trace");
        let difference =
            one.traced.text.lines().zip(other.traced.text.lines()).find(|(one, other)| one != other);
        assert_eq!(difference, None, "seed {seed}");
        assert_eq!(one.traced.text, other.traced.text, "seed {seed}");
        assert_eq!(one.traced.hash, other.traced.hash);
        assert_eq!((one.counts, one.violations), (other.counts, other.violations));
        // Without its lines it goes the same way.
        let silent = run(seed, None, Tracing::Off);
        assert_eq!((silent.counts, silent.simulated), (run(seed, None, Tracing::On).counts, one.simulated));
    }
    assert_ne!(run(3, None, Tracing::On).traced.hash, run(4, None, Tracing::On).traced.hash);
}

#[test]
fn bugs_that_are_put_in_are_found() {
    let mut hidden = Vec::new();
    for bug in Bug::ALL {
        // It ends with the first that shows the bug, most within 50. A stream's guard has less to do since copies of an agent
        // are locked by their join counter.
        let outcome = run_all(1, 1_000, Some(bug), 1, |_, _| {});
        match outcome.broken.first_key_value() {
            Some((seed, report)) => {
                println!("{bug:?}: seed {seed}, after {} seeds: {}", outcome.seeds, report.violations[0]);
            }
            None => hidden.push(bug),
        }
    }
    assert!(hidden.is_empty(), "not found in 1,000 seeds: {hidden:?}");
}
