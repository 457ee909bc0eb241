//! When accounts may act, and the order of their jobs.

use std::time::Duration;

use tradepost_domain::id::{AccountId, WorkspaceId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::{CoolDown, LIMIT_MAX, Pacing, Policy, Window};
use tradepost_domain::publish;
use tradepost_domain::time::Timestamp;

use super::{Tables, Tx};
use crate::{Error, Hint};

/// The longest span that a rule looks back.
const SPAN: Duration = Duration::from_secs(24 * 3600);

/// What is stored of an account's pacing; an account without a row has none of its own.
#[derive(Debug, Clone)]
pub(super) struct Paced {
    own: Policy,
    pub(super) paused_at: Option<Timestamp>,
    cool_down: Option<CoolDown>,
    pub(super) window: Window,
    version: i64,
}

impl Default for Paced {
    fn default() -> Self {
        Self { own: Policy::default(), paused_at: None, cool_down: None, window: Window::ALWAYS, version: 1 }
    }
}

impl Tables {
    pub(super) fn paced(&self, account: AccountId) -> Paced {
        self.pacing.get(account).cloned().unwrap_or_default()
    }

    pub(super) fn find_pacing(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        now: Timestamp,
    ) -> Option<Pacing> {
        let stored = self.accounts.get(account).filter(|stored| stored.workspace == workspace)?;
        let counts = self
            .intents
            .rows()
            .filter(|intent| intent.account == account && intent.state != publish::State::NotClicked);
        let armed = counts.filter_map(|intent| intent.permit.as_ref()).map(|permit| permit.armed_at);
        let mut uses: Vec<Timestamp> = armed.filter(|at| *at > now - SPAN).collect();
        uses.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        uses.truncate(usize::try_from(LIMIT_MAX).unwrap_or(usize::MAX));
        let Paced { own, paused_at, cool_down, window, version } = self.paced(account);
        Some(Pacing {
            account,
            workspace,
            site: stored.site.clone(),
            added_at: stored.created_at,
            own,
            paused_at,
            cool_down,
            window,
            uses,
            version,
        })
    }

    pub(super) fn ended_windows(&self, now: Timestamp) -> Vec<(WorkspaceId, AccountId)> {
        let mut ended: Vec<_> = self
            .accounts
            .rows()
            .filter_map(|account| {
                let until = self.paced(account.id).window.until.filter(|until| *until <= now)?;
                Some((until, account.workspace, account.id))
            })
            .collect();
        ended.sort_unstable();
        ended.into_iter().map(|(_, workspace, account)| (workspace, account)).collect()
    }

    pub(super) fn run_starts(&self, account: AccountId, kind: job::Kind, since: Timestamp) -> Vec<Timestamp> {
        let ours = self.jobs.rows().filter(|job| job.account == account && job.kind == kind);
        let mut starts: Vec<(Timestamp, u32)> = ours
            .filter_map(|job| Some((job.run_started_at.filter(|at| *at > since)?, job.attempt)))
            .collect();
        starts.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        let times = |attempt: u32| usize::try_from(attempt).unwrap_or(usize::MAX).max(1);
        starts.into_iter().flat_map(|(at, attempt)| std::iter::repeat_n(at, times(attempt))).collect()
    }

    pub(super) fn ahead(&self, job: &Job, now: Timestamp) -> u32 {
        let before = self.jobs.rows().filter(|other| {
            other.account == job.account
                && other.state == job::State::Queued
                && other.run_after <= now
                && (other.turn(), other.id) < (job.turn(), job.id)
        });
        u32::try_from(before.count()).unwrap_or(u32::MAX).min(LIMIT_MAX)
    }
}

/// Writes what changed, at the version that was read.
pub(super) fn update(tx: &mut Tx<'_>, pacing: Pacing) -> Result<(), Error> {
    let Pacing { account, workspace, own, paused_at, cool_down, window, version, .. } = pacing;
    let stored = tx.tables.accounts.get(account).filter(|stored| stored.workspace == workspace);
    let Some(stored) = stored.filter(|_| tx.tables.paced(account).version == version) else {
        return Err(Error::Stale);
    };
    tx.hints.extend(stored.agent.map(Hint::Agent));
    let next = Paced { own, paused_at, cool_down, window, version: version + 1 };
    tx.tables.pacing.put(account, next);
    Ok(())
}

/// Whether a job has not ended and is of a kind of which one is open at a time.
pub(super) fn is_open(job: &Job) -> bool {
    use job::State::{Leased, NeedsHuman, Parked, Queued, Running};
    matches!(job.state, Queued | Leased | Running | Parked | NeedsHuman)
}
