//! The protocol explored, and mistakes that must be found.

mod bugs;
mod explore;

use std::time::Instant;

use tradepost_model::configuration::Configuration;
use tradepost_model::explorer::{Report, explore};
use tradepost_model::model::Model;

/// More states than any configuration of the tests has: reaching it is a failure.
const LIMIT: usize = 8_000_000;

/// Explores a configuration, and prints what it found and how long it took.
#[expect(clippy::disallowed_methods, reason = "how long it took is printed, nothing is decided by it")]
fn explored(configuration: Configuration) -> (Report, Model) {
    let (name, bug) = (configuration.name, configuration.bug);
    let mut model = Model::new(configuration);
    let begun = Instant::now();
    let report = explore(&mut model, LIMIT);
    let with = bug.map_or_else(String::new, |bug| format!(" with {bug:?}"));
    println!("{name}{with}: {report}, {:.1} s", begun.elapsed().as_secs_f64());
    (report, model)
}
