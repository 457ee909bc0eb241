//! The audit log: sealing, checkpoints, reading, and what was refused.
//!
//! How entries come into the log stands in [`tradepost_store::audit`]; what they look like and how a chain is verified in
//! [`tradepost_domain::audit`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tradepost_domain::audit::checkpoint::{Checkpoint, Signed};
use tradepost_domain::audit::verify::{Mark, Verdict, Verifier};
use tradepost_domain::audit::{Actor, Chain, Entry, Head, Link, Outcome};
use tradepost_domain::throttle::Window;
use tradepost_runtime::signature::Signer;
use tradepost_store::audit::Author;
use tradepost_store::{AuditFilter, Database, Listed, Waiting};

use super::core::Core;
use super::error::{Error, Result};
use super::page::{Page, Query};

/// Entries that get their places in one transaction.
const BATCH: u32 = 1_000;
/// Links read at once.
pub const LINKS: u32 = 500;
/// Ends of chains read at once.
const HEADS: u32 = 1_000;
/// Refusals of one caller, or of one network where nobody is known, that are told.
const REFUSED: Window = Window { limit: 30, period: Duration::from_secs(3600) };
/// Refusals of all callers that are told: an attacker with many addresses shall not fill the disk.
const REFUSED_ALL: Window = Window { limit: 3_000, period: Duration::from_secs(3600) };

/// Use cases of the audit log; cheap to clone.
#[derive(Clone)]
pub struct AuditLog {
    core: Core,
    store: Arc<dyn Database>,
    signer: Arc<Signer>,
}

impl AuditLog {
    /// On a database; `signer` signs checkpoints.
    pub fn new(core: Core, store: Arc<dyn Database>, signer: Signer) -> Self {
        Self { core, store, signer: Arc::new(signer) }
    }

    /// Tells that a call was refused, unless too many were of late. `caller` names who is counted.
    pub async fn refused(&self, author: Author, caller: &str, reason: &str) -> Result<()> {
        let now = self.core.now();
        let own = format!("audit:refused:{caller}");
        for (key, window) in [(own.as_str(), REFUSED), ("audit:refused", REFUSED_ALL)] {
            if self.store.hit(key, 1, window, now).await?.is_some() {
                metrics::counter!("tradepost_audit_refusals_untold_total").increment(1);
                return Ok(());
            }
        }
        let mut entry = author.entry(Outcome::Refused);
        reason.clone_into(&mut entry.reason);
        Ok(self.store.add_audit_entry(entry).await?)
    }

    /// Stores an entry by itself: of what is done outside the database.
    pub async fn add(&self, entry: Entry) -> Result<()> {
        Ok(self.store.add_audit_entry(entry).await?)
    }

    /// The author of what is done beside the API.
    pub fn author(&self, actor: Actor, method: &str) -> Author {
        self.core.author(actor, method)
    }

    /// Ends the database's connections: after a short command.
    pub async fn close(&self) {
        self.core.store.close().await;
    }

    /// Gives all waiting entries their places in the chains. Returns how many.
    pub async fn seal(&self) -> Result<u64> {
        let mut sealed = 0;
        loop {
            let batch = self.store.seal_audit(BATCH).await?;
            sealed += batch;
            if batch < u64::from(BATCH) {
                return Ok(sealed);
            }
        }
    }

    /// What waits, of one chain or of all.
    pub async fn waiting(&self, chain: Option<Chain>) -> Result<Waiting> {
        Ok(self.store.audit_waiting(chain).await?)
    }

    /// Newest first.
    pub async fn entries(&self, filter: AuditFilter, query: &Query) -> Result<Page<Listed>> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-' | '_');
        if filter.method.as_ref().is_some_and(|method| !method.chars().all(plain) || method.len() > 200) {
            return Err(Error::field("method", "is no method; write it as the log does, e.g. CreatePosting"));
        }
        let list = format!("audit {filter:?}");
        let slice = self.store.list_audit_entries(filter, query.request(&list)?).await?;
        Ok(Page::new(&list, slice))
    }

    /// Links of a chain after a position, in their order, at most [`LINKS`].
    pub async fn links(&self, chain: Chain, after: i64) -> Result<Vec<Link>> {
        Ok(self.store.list_audit_links(chain, after, LINKS).await?)
    }

    /// Where a chain ends.
    pub async fn head(&self, chain: Chain) -> Result<Head> {
        Ok(self.store.audit_head(chain).await?)
    }

    /// Where all chains end.
    pub async fn heads(&self) -> Result<Vec<Head>> {
        let mut heads: Vec<Head> = Vec::new();
        loop {
            let page = self.store.list_audit_heads(heads.last().map(|head| head.chain), HEADS).await?;
            let is_last = page.len() < usize::try_from(HEADS).unwrap_or(usize::MAX);
            heads.extend(page);
            if is_last {
                return Ok(heads);
            }
        }
    }

    /// Signs where chains end.
    pub fn checkpoint(&self, heads: Vec<Head>) -> Signed {
        let checkpoint = Checkpoint { at: self.core.now(), controller: self.core.controller, heads };
        let signature = self.signer.sign(&checkpoint.signed_bytes());
        Signed { checkpoint, public_key: self.signer.public_key().to_vec(), signature }
    }

    /// Reads a chain from its beginning, and says what is wrong with it.
    pub async fn verify(&self, chain: Chain, marks: Vec<Mark>) -> Result<Verdict> {
        let mut verifier = Verifier::new(chain, marks);
        let mut after = i64::MIN;
        loop {
            let links = self.links(chain, after).await?;
            for link in &links {
                verifier.push(link);
            }
            if let Some(last) = links.last() {
                after = last.seq;
                continue;
            }
            // What was sealed since the last page is read, too.
            let head = self.head(chain).await?;
            if self.links(chain, after).await?.is_empty() {
                return Ok(verifier.finish(Some(head)));
            }
        }
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("signer", &self.signer).finish_non_exhaustive()
    }
}
