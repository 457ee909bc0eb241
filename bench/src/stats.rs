//! Medians, percentiles, and what processes cost.

use std::time::Duration;

use anyhow::{Context, Result};

/// The middle value; the mean of the two middle ones of an even number.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The value that `percent` of 100 lie below or at, between neighbours by their distance.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let last = f64::from(u32::try_from(last).unwrap_or(u32::MAX));
    let place = percent / 100.0 * last;
    let at = |place: f64| sorted.get(whole(place)).copied().unwrap_or(f64::NAN);
    let (below, above) = (at(place.floor()), at(place.ceil()));
    below + (above - below) * place.fract()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list, never negative"
)]
fn whole(place: f64) -> usize {
    place as usize
}

/// A number of things, for arithmetic.
pub(crate) fn count(things: usize) -> f64 {
    f64::from(u32::try_from(things).unwrap_or(u32::MAX))
}

/// Things per second.
pub(crate) fn rate(things: usize, took: Duration) -> f64 {
    count(things) / took.as_secs_f64()
}

/// Processor seconds of a process and of its children that live, by `/proc`.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let mut total = own_cpu(pid);
    for child in children(pid) {
        total += own_cpu(child);
    }
    total
}

/// Processor seconds of this process alone: what it measures is among its children.
pub(crate) fn this_process() -> f64 {
    times(std::process::id()).take(2).sum::<f64>() / TICKS
}

/// Processor seconds that the whole machine has spent working since its start.
pub(crate) fn machine_cpu() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let first = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<f64> = first.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Ok((ticks.iter().take(8).sum::<f64>() - idle) / TICKS)
}

/// Clock ticks of `/proc` per second: 100 on every Linux that we know.
const TICKS: f64 = 100.0;

/// User and system time of a process with that of its children that were waited for.
fn own_cpu(pid: u32) -> f64 {
    times(pid).sum::<f64>() / TICKS
}

/// User and system time, then those of children that were waited for, in ticks; nothing of a process that is gone.
fn times(pid: u32) -> impl Iterator<Item = f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold spaces; behind its bracket, fields 3 and on.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(4).filter_map(|word| word.parse().ok()).collect();
    ticks.into_iter()
}

/// The processes whose parent is `pid`.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    tasks.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert!((median(&values) - 2.5).abs() < 1e-9);
        assert!((percentile(&values, 100.0) - 4.0).abs() < 1e-9);
        assert!((percentile(&values, 0.0) - 1.0).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn this_process_has_spent_time() {
        let mut sum = 0_u64;
        let before = this_process();
        while this_process() <= before {
            sum = sum.wrapping_add(1);
        }
        assert!(cpu_seconds(std::process::id()) > before);
        assert!(sum > 0 && machine_cpu().expect("/proc/stat") > 0.0);
    }
}
