//! Walking a chain and saying what is wrong with it.
//!
//! [`Verifier::push`] takes the links in the order of their positions. Each hash is computed from what is stored of the
//! predecessor, so that one edited link is one finding and not a finding for everything behind it. Memory does not grow
//! with the chain: what is kept is the last hash, at most [`FINDINGS`] findings, and the checkpoints that were given.

use super::{Chain, Detail, Hash, Head, Link, RESTORED, encoding};
use crate::time::Timestamp;

/// Findings that are kept; further ones are counted.
pub const FINDINGS: usize = 20;
/// How many links behind a mismatch are tried for the one that belongs there.
const TRIED: u32 = 100_000;

/// What a checkpoint says of one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// How long it was.
    pub count: i64,
    /// Its last hash.
    pub hash: Hash,
    /// When.
    pub at: Timestamp,
}

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The first position that it concerns.
    pub seq: i64,
    /// What it is.
    pub what: What,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The entry does not match its hash, or its hash its predecessor: it or the one before it was edited.
    Edited,
    /// Another entry stands in this place; the right one stands at the other position: the order was changed.
    Moved {
        /// Where the right one was found.
        found_at: i64,
    },
    /// There are no entries from here through this position.
    Missing {
        /// The last one.
        through: i64,
    },
    /// A position that had come already, or that is smaller than the one before it.
    OutOfOrder,
    /// An entry of another chain.
    OtherChain {
        /// Which one it says.
        chain: Chain,
    },
    /// The chain ends before here, and is known to have gone on through this position: its tail was cut off.
    Truncated {
        /// How long it was, at least.
        through: i64,
    },
    /// Here the chain is not what a checkpoint, or its noted end, says: it was written anew.
    Rewritten {
        /// The time of the checkpoint; none when it is the noted end.
        checkpoint: Option<Timestamp>,
    },
}

/// A restored backup, as an entry tells it, and what checkpoints know besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    /// The position of the entry that tells it.
    pub seq: i64,
    /// When it was restored.
    pub at: Timestamp,
    /// How long the chain was in the backup.
    pub kept: i64,
    /// How long the chain had been before, as far as a checkpoint knows: what lies between is gone.
    pub had: Option<i64>,
}

/// What is to be said of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The chain.
    pub chain: Chain,
    /// Links that were read.
    pub read: u64,
    /// Its end.
    pub head: Head,
    /// The first links are not there; a checkpoint vouches for the end of them. How many.
    pub pruned: i64,
    /// What is wrong, the first position first.
    pub findings: Vec<Finding>,
    /// Findings beside those.
    pub more: u64,
    /// Checkpoints that agree with the chain.
    pub agreeing: u64,
    /// Backups that were restored.
    pub restores: Vec<Restore>,
}

/// Walks one chain.
#[derive(Debug)]
pub struct Verifier {
    chain: Chain,
    /// The position and stored hash of the last link.
    last: i64,
    hash: Hash,
    read: u64,
    pruned: i64,
    /// In the order of their lengths.
    marks: Vec<Mark>,
    /// The first mark that is not passed yet.
    next_mark: usize,
    /// Marks that the chain does not agree with, for [`Verifier::finish`].
    disagreeing: Vec<Mark>,
    agreeing: u64,
    findings: Vec<Finding>,
    more: u64,
    vacancy: Option<Vacancy>,
    restores: Vec<Restore>,
    buffer: Vec<u8>,
}

/// A place where something else stands than belongs there.
#[derive(Debug, Clone, Copy)]
struct Vacancy {
    seq: i64,
    before: Hash,
    stored: Hash,
    left: u32,
}

impl Verifier {
    /// For a chain of which checkpoints say this.
    pub fn new(chain: Chain, mut marks: Vec<Mark>) -> Self {
        marks.retain(|mark| mark.count > 0);
        marks.sort_by_key(|mark| (mark.count, mark.at));
        Self {
            chain,
            last: 0,
            hash: Hash::ZERO,
            read: 0,
            pruned: 0,
            marks,
            next_mark: 0,
            disagreeing: Vec::new(),
            agreeing: 0,
            findings: Vec::new(),
            more: 0,
            vacancy: None,
            restores: Vec::new(),
            buffer: Vec::with_capacity(1024),
        }
    }

    /// Takes the next link.
    pub fn push(&mut self, link: &Link) {
        self.read += 1;
        if link.entry.chain != self.chain {
            self.find(link.seq, What::OtherChain { chain: link.entry.chain });
            return;
        }
        if self.read == 1 && link.seq > 1 {
            self.begin_behind(link.seq - 1);
        }
        if link.seq <= self.last {
            self.find(link.seq, What::OutOfOrder);
            return;
        }
        let follows = link.seq == self.last + 1;
        if follows {
            self.check(link);
        } else {
            self.find(self.last + 1, What::Missing { through: link.seq - 1 });
        }
        self.last = link.seq;
        self.hash = link.hash;
        self.compare_marks();
        self.note_restore(link);
    }

    /// The chain begins behind this position: fine where a checkpoint knows how it stood there.
    fn begin_behind(&mut self, position: i64) {
        if let Some(mark) = self.marks.iter().find(|mark| mark.count == position) {
            self.last = position;
            self.hash = mark.hash;
            self.pruned = position;
            self.next_mark = self.marks.partition_point(|mark| mark.count <= position);
            self.agreeing = 1;
        }
    }

    fn check(&mut self, link: &Link) {
        let computed = encoding::hash(self.hash, link.seq, &link.entry, &mut self.buffer);
        let fits = computed == link.hash;
        if let Some(vacancy) = &mut self.vacancy {
            let there = encoding::hash(vacancy.before, vacancy.seq, &link.entry, &mut self.buffer);
            let (seq, belongs) = (vacancy.seq, there == link.hash || there == vacancy.stored);
            vacancy.left -= 1;
            if belongs || vacancy.left == 0 {
                self.vacancy = None;
            }
            if belongs {
                let found = self.findings.iter_mut().find(|finding| finding.seq == seq);
                if let Some(finding) = found {
                    finding.what = What::Moved { found_at: link.seq };
                }
                self.find(link.seq, What::Moved { found_at: seq });
                return;
            }
        }
        if fits {
            return;
        }
        if self.vacancy.is_none() && self.findings.len() < FINDINGS {
            let (seq, before, stored) = (link.seq, self.hash, link.hash);
            self.vacancy = Some(Vacancy { seq, before, stored, left: TRIED });
        }
        self.find(link.seq, What::Edited);
    }

    fn compare_marks(&mut self) {
        while let Some(mark) = self.marks.get(self.next_mark).filter(|mark| mark.count <= self.last) {
            // A mark in a gap says no more than the gap.
            if mark.count == self.last {
                if mark.hash == self.hash {
                    self.agreeing += 1;
                } else {
                    self.disagreeing.push(*mark);
                }
            }
            self.next_mark += 1;
        }
    }

    fn note_restore(&mut self, link: &Link) {
        if link.entry.method == RESTORED {
            let kept = link.entry.details.get(Detail::Kept.name()).and_then(|kept| kept.parse().ok());
            if let Some(kept) = kept {
                let at = link.entry.at;
                self.restores.push(Restore { seq: link.seq, at, kept, had: None });
            }
        }
    }

    fn find(&mut self, seq: i64, what: What) {
        if self.findings.len() < FINDINGS {
            self.findings.push(Finding { seq, what });
        } else {
            self.more += 1;
        }
    }

    /// The chain is read to its end; `noted` is where the database says that it ends.
    pub fn finish(mut self, noted: Option<Head>) -> Verdict {
        let unreached = self.marks.split_off(self.next_mark.min(self.marks.len()));
        let mut longest: Option<Mark> = None;
        for mark in unreached {
            if !self.is_excused(&mark) && longest.is_none_or(|longest| mark.count > longest.count) {
                longest = Some(mark);
            }
        }
        for mark in std::mem::take(&mut self.disagreeing) {
            if !self.is_excused(&mark) {
                self.find(mark.count, What::Rewritten { checkpoint: Some(mark.at) });
            }
        }
        let known = longest.map_or(0, |mark| mark.count).max(noted.map_or(0, |head| head.count));
        if known > self.last {
            self.find(self.last + 1, What::Truncated { through: known });
        } else if let Some(noted) = noted
            && (noted.count != self.last || noted.hash != self.hash)
        {
            self.find(noted.count.max(1), What::Rewritten { checkpoint: None });
        }
        self.findings.sort_by_key(|finding| finding.seq);
        Verdict {
            chain: self.chain,
            read: self.read,
            head: Head { chain: self.chain, count: self.last, hash: self.hash },
            pruned: self.pruned,
            findings: self.findings,
            more: self.more,
            agreeing: self.agreeing,
            restores: self.restores,
        }
    }

    /// Whether a restored backup explains that the chain is not what the mark says: it was taken before, of links that
    /// the backup does not have.
    fn is_excused(&mut self, mark: &Mark) -> bool {
        let explains = |restore: &&mut Restore| mark.at <= restore.at && mark.count > restore.kept;
        match self.restores.iter_mut().find(explains) {
            Some(restore) => {
                restore.had = restore.had.max(Some(mark.count));
                true
            }
            None => false,
        }
    }
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Edited => f.write_str("edited: this entry or the one before it is not what was written"),
            Self::Moved { found_at } => {
                write!(f, "moved: what belongs here stands at position {found_at}, the order was changed")
            }
            Self::Missing { through } => {
                write!(f, "missing: there is nothing from here through position {through}")
            }
            Self::OutOfOrder => f.write_str("out of order: this position had come already"),
            Self::OtherChain { chain } => write!(f, "an entry of another chain: {chain}"),
            Self::Truncated { through } => {
                write!(
                    f,
                    "cut off: the log ends before here, and is known to have gone on through position {through}"
                )
            }
            Self::Rewritten { checkpoint: Some(_) } => {
                f.write_str("written anew: a signed checkpoint knows another entry at this position")
            }
            Self::Rewritten { checkpoint: None } => {
                f.write_str("written anew: the database itself notes another end of this log")
            }
        }
    }
}
