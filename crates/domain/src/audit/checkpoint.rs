//! Checkpoints: signed words about how long chains are and how they end, kept where the database's owner cannot reach.
//!
//! One is a line of JSON. It is signed with Ed25519 over the bytes of [`Checkpoint::signed_bytes`]; making and checking
//! signatures is the caller's part.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::encoding::{bytes, number, put_chain, uuid};
use super::verify::Mark;
use super::{Chain, Hash, Head};
use crate::id::ControllerId;
use crate::time::Timestamp;

/// The first signed field, and the `format` of the line.
pub const FORMAT: &str = "tradepost.checkpoint.1";

/// How long chains were, and how they ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// When it was taken.
    pub at: Timestamp,
    /// The controller that took it.
    pub controller: ControllerId,
    /// The chains' ends: all of the chains that it speaks for.
    pub heads: Vec<Head>,
}

/// The line in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    format: String,
    at_us: i64,
    controller_id: ControllerId,
    heads: Vec<LineHead>,
    /// Ed25519, hex.
    public_key: String,
    /// Hex.
    signature: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineHead {
    chain: String,
    count: i64,
    hash: String,
}

/// A checkpoint with its signature, which may or may not be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What is said.
    pub checkpoint: Checkpoint,
    /// Who is said to have said it: an Ed25519 public key, 32 bytes.
    pub public_key: Vec<u8>,
    /// 64 bytes.
    pub signature: Vec<u8>,
}

/// A line that is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no checkpoint: {0}")]
pub struct Unreadable(String);

impl Checkpoint {
    /// What is signed: fields as in [`super::encoding`]: the format, the time, the controller, the number of chains, then
    /// of each the chain, its length, and its last hash.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(128 + self.heads.len() * 96);
        bytes(&mut buffer, FORMAT.as_bytes());
        number(&mut buffer, self.at.as_micros());
        uuid(&mut buffer, Some(self.controller.0));
        number(&mut buffer, i64::try_from(self.heads.len()).unwrap_or(i64::MAX));
        for head in &self.heads {
            put_chain(&mut buffer, head.chain);
            number(&mut buffer, head.count);
            bytes(&mut buffer, &head.hash.0);
        }
        buffer
    }

    /// What it says of a chain.
    pub fn mark_of(&self, chain: Chain) -> Option<Mark> {
        let head = self.heads.iter().find(|head| head.chain == chain)?;
        Some(Mark { count: head.count, hash: head.hash, at: self.at })
    }
}

impl Signed {
    /// The line, without its end.
    pub fn to_line(&self) -> String {
        let heads = self.checkpoint.heads.iter().map(|head| LineHead {
            chain: head.chain.to_string(),
            count: head.count,
            hash: head.hash.to_string(),
        });
        let line = Line {
            format: FORMAT.to_owned(),
            at_us: self.checkpoint.at.as_micros(),
            controller_id: self.checkpoint.controller,
            heads: heads.collect(),
            public_key: hex::encode(&self.public_key),
            signature: hex::encode(&self.signature),
        };
        // Texts and numbers always have a JSON form.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// From a line. The signature is not checked.
    pub fn of_line(line: &str) -> Result<Self, Unreadable> {
        let wrong = |what: &dyn std::fmt::Display| Unreadable(what.to_string());
        let Line { format, at_us, controller_id, heads, public_key, signature } =
            serde_json::from_str(line).map_err(|error| wrong(&error))?;
        if format != FORMAT {
            return Err(Unreadable(format!("its format is {format:?}, not {FORMAT:?}")));
        }
        let head = |LineHead { chain, count, hash }: LineHead| {
            let chain: Chain = chain.parse().map_err(|error| wrong(&error))?;
            let hash: Hash = hash.parse().map_err(|error| wrong(&error))?;
            Ok(Head { chain, count, hash })
        };
        Ok(Self {
            checkpoint: Checkpoint {
                at: Timestamp::from_micros(at_us),
                controller: controller_id,
                heads: heads.into_iter().map(head).collect::<Result<_, _>>()?,
            },
            public_key: hex::decode(public_key).map_err(|error| wrong(&error))?,
            signature: hex::decode(signature).map_err(|error| wrong(&error))?,
        })
    }
}

/// Checkpoints that were read from files, each with the right signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// What they say of each chain.
    pub marks: BTreeMap<Chain, Vec<Mark>>,
    /// How many there were.
    pub checkpoints: u64,
    /// The keys that signed them.
    pub keys: BTreeSet<Vec<u8>>,
}

/// A line of a file that cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Doubtful {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Book {
    /// Adds the checkpoints of a file. `is_signed_by` checks a signature: public key, message, signature. With `key`,
    /// others do not count. A last line that was not written to its end, as when the machine lost its power, is left out.
    pub fn read(
        &mut self,
        text: &str,
        key: Option<&[u8]>,
        is_signed_by: impl Fn(&[u8], &[u8], &[u8]) -> bool,
    ) -> Result<(), Doubtful> {
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let torn = &text[whole..];
        let lines = text[..whole].lines().chain(Signed::of_line(torn).is_ok().then_some(torn));
        for (n, line) in (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty()) {
            let doubt = |what: String| Doubtful { line: n, what };
            let signed = Signed::of_line(line).map_err(|error| doubt(error.to_string()))?;
            if key.is_some_and(|key| key != signed.public_key) {
                let other = hex::encode(&signed.public_key);
                return Err(doubt(format!("it is signed with another key: {other}")));
            }
            if !is_signed_by(&signed.public_key, &signed.checkpoint.signed_bytes(), &signed.signature) {
                return Err(doubt(String::from("its signature is wrong: the line was changed")));
            }
            self.add(signed);
        }
        Ok(())
    }

    fn add(&mut self, signed: Signed) {
        let at = signed.checkpoint.at;
        for Head { chain, count, hash } in signed.checkpoint.heads {
            self.marks.entry(chain).or_default().push(Mark { count, hash, at });
        }
        self.checkpoints += 1;
        self.keys.insert(signed.public_key);
    }
}
