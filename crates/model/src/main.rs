//! Explores the publication protocol further than the tests do: `tradepost-model [MORE_FAULTS] [LIMIT]`.

#![expect(clippy::print_stdout, reason = "a report is what this program is for")]

use std::process::ExitCode;
use std::time::Instant;

use tradepost_model::configuration;
use tradepost_model::explorer::explore;
use tradepost_model::model::Model;

/// States of one configuration before it is given up, about 3 GB of memory.
const LIMIT: usize = 30_000_000;

#[expect(clippy::disallowed_methods, reason = "how long it took is printed, nothing is decided by it")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (more, limit) = (arguments.next(), arguments.next());
    let more = more.map_or(Ok(1), |text| text.parse::<u8>());
    let limit = limit.map_or(Ok(LIMIT), |text| text.parse::<usize>());
    let (Ok(more), Ok(limit)) = (more, limit) else {
        println!("usage: tradepost-model [MORE_FAULTS] [LIMIT]");
        return ExitCode::from(2);
    };
    for configuration in configuration::all() {
        let name = configuration.name;
        let mut model = Model::new(configuration.with_faults(more));
        let begun = Instant::now();
        let report = explore(&mut model, limit);
        println!("{name}, and {more} more: {report}, {:.1} s", begun.elapsed().as_secs_f64());
        if let Some(broken) = report.broken {
            println!("{broken}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
