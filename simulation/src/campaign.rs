//! Many seeds on all processors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::plan::Bug;
use crate::simulate::{Report, run};
use crate::world::{Tracing, lock};

/// How many seeds went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Seeds run.
    pub seeds: u64,
    /// Those that went wrong, by seed.
    pub broken: BTreeMap<u64, Report>,
    /// What happened how often.
    pub counts: BTreeMap<&'static str, u64>,
    /// Simulated hours.
    pub hours: u64,
}

/// Runs `seeds` seeds from `first` on, until `broken_max` of them went wrong. `progress` is told how many are done.
pub fn run_all(
    first: u64,
    seeds: u64,
    bug: Option<Bug>,
    broken_max: usize,
    progress: impl Fn(u64, usize) + Sync,
) -> Outcome {
    let next = AtomicU64::new(first);
    let outcome = Mutex::new(Outcome::default());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || lock(&outcome).broken.len() >= broken_max {
                        return;
                    }
                    let report = run(seed, bug, Tracing::Off);
                    let mut outcome = lock(&outcome);
                    outcome.seeds += 1;
                    outcome.hours += report.simulated.as_secs() / 3600;
                    for (what, times) in &report.counts {
                        *outcome.counts.entry(what).or_default() += times;
                    }
                    if !report.violations.is_empty() {
                        outcome.broken.insert(seed, report);
                    }
                    progress(outcome.seeds, outcome.broken.len());
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs a seed once more with its trace, and keeps that in `folder`. Returns the file.
pub fn keep_trace(folder: &Path, seed: u64, bug: Option<Bug>) -> std::io::Result<(PathBuf, Report)> {
    let report = run(seed, bug, Tracing::On);
    std::fs::create_dir_all(folder)?;
    let file = folder.join(format!("seed-{seed}.trace"));
    std::fs::write(&file, &report.traced.text)?;
    Ok((file, report))
}

/// The counts as a table.
pub fn table(counts: &BTreeMap<&'static str, u64>) -> String {
    let width = counts.keys().map(|what| what.len()).max().unwrap_or(0);
    let lines = counts.iter().map(|(what, times)| format!("  {what:<width$}  {times:>9}\n"));
    lines.collect()
}
