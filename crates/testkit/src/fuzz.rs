//! Hostile input for decoders: samples of good input, changed in the ways that break parsers, from a printed seed.
//!
//! A short run belongs to every test run; `make fuzz` runs the same tests for longer by `TRADEPOST_FUZZ_ROUNDS`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, bail};
use tradepost_runtime::config;
use tradepost_runtime::ids::Ids;

/// How many inputs one decoder gets.
pub const ROUNDS_VARIABLE: &str = "TRADEPOST_FUZZ_ROUNDS";
/// Without the variable.
const ROUNDS: u64 = 2_000;
/// Longest input, but for those that one decoder's samples make longer.
const LONGEST: usize = 256 * 1024;
/// A decoder may have this much more memory than before at its peak.
const MEMORY_KIB: u64 = 512 * 1024;

/// Gives `decode` the samples and thousands of changes of them. Fails with the input when it panics, and when it takes more
/// memory than any input justifies. What it answers does not matter.
pub fn attack(name: &str, seed: u64, samples: &[Vec<u8>], decode: impl Fn(&[u8])) -> Result<()> {
    let rounds = config::process_env()
        .find(|(variable, _)| variable == ROUNDS_VARIABLE)
        .map(|(_, value)| value.parse().context(ROUNDS_VARIABLE))
        .transpose()?
        .unwrap_or(ROUNDS);
    let before = peak_kib();
    let mut chance = Chance(Ids::seeded(seed));
    for round in 0..rounds {
        let input = match samples.get(usize::try_from(round)?) {
            Some(sample) => sample.clone(),
            None => changed(&mut chance, samples),
        };
        if catch_unwind(AssertUnwindSafe(|| decode(&input))).is_err() {
            bail!("{name} panicked in round {round} of seed {seed} at the input {}", hex::encode(&input));
        }
    }
    if let (Some(before), Some(after)) = (before, peak_kib())
        && after.saturating_sub(before) > MEMORY_KIB
    {
        bail!("{name} took {} KiB more memory at its peak (seed {seed}, {rounds} rounds)", after - before);
    }
    Ok(())
}

struct Chance(Ids);

impl Chance {
    fn below(&self, limit: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        // A remainder is random enough here.
        usize::try_from(u64::from_le_bytes(bytes) % u64::try_from(limit.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn byte(&self) -> u8 {
        let mut byte = [0];
        self.0.fill(&mut byte);
        byte[0]
    }
}

/// A sample after one to eight changes.
fn changed(chance: &mut Chance, samples: &[Vec<u8>]) -> Vec<u8> {
    let pick = |chance: &Chance| samples.get(chance.below(samples.len())).cloned().unwrap_or_default();
    let mut input = pick(chance);
    for _ in 0..=chance.below(8) {
        let at = chance.below(input.len() + 1);
        match chance.below(9) {
            0 => input.truncate(at),
            1 => drop(input.drain(..at)),
            2 if at < input.len() => input[at] ^= 1 << chance.below(8),
            3 if at < input.len() => input[at] = chance.byte(),
            // Lengths and numbers at their ends.
            4 => {
                let ends: [&[u8]; 5] = [
                    &[0xff; 10],
                    &[0],
                    &[0x80; 12],
                    &[0x7f, 0xff, 0xff, 0xff],
                    &[0xff, 0xff, 0xff, 0xff, 0x0f],
                ];
                drop(input.splice(at..at, ends[chance.below(ends.len())].iter().copied()));
            }
            5 => {
                let random: Vec<u8> = (0..chance.below(32)).map(|_| chance.byte()).collect();
                drop(input.splice(at..at, random));
            }
            // A part of another sample, or of itself.
            6 => {
                let other = pick(chance);
                let from = chance.below(other.len() + 1);
                let until = from + chance.below(other.len() - from + 1);
                drop(input.splice(at..at, other[from..until].iter().copied()));
            }
            // Nesting and repetition.
            7 => {
                let until = at + chance.below((input.len() - at).min(64) + 1);
                let part = input[at..until].to_vec();
                let times = 1 + chance.below(200);
                drop(input.splice(at..at, part.repeat(times)));
            }
            _ => {
                let words: [&[u8]; 8] = [
                    b"[",
                    b"{",
                    b"\"",
                    b"\n",
                    b"-----BEGIN CERTIFICATE-----\n",
                    b"&a [*a,*a]",
                    b"\\u0000",
                    "\u{202e}".as_bytes(),
                ];
                drop(input.splice(at..at, words[chance.below(words.len())].repeat(1 + chance.below(50))));
            }
        }
        input.truncate(LONGEST);
    }
    input
}

/// The most memory that this process ever had; none where the system does not tell.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_is_found_with_its_input() {
        let decode = |input: &[u8]| assert!(input.len() < 4 || input[3] != 0xff);
        let error = attack("a sample", 1, &[b"abcdef".to_vec()], decode).unwrap_err().to_string();
        assert!(error.contains("panicked in round") && error.contains("of seed 1"), "{error}");
        assert!(attack("a sample", 1, &[b"abcdef".to_vec()], |_| {}).is_ok());
    }
}
