//! When accounts may act, and the order of their jobs.

use std::time::Duration;

use tradepost_domain::id::{AccountId, AgentId, WorkspaceId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::{CoolDown, LIMIT_MAX, Pacing, Policy, Window};
use tradepost_domain::time::Timestamp;

use super::commit::is_open_errand;
use super::{Tables, unless};
use crate::Error;

/// The longest span that a rule looks back.
const SPAN: Duration = Duration::from_secs(24 * 3600);

/// The pacing that is stored with an account.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    own: Policy,
    paused_at: Option<Timestamp>,
    cool_down: Option<CoolDown>,
    window: Window,
    version: i64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            own: Policy::default(),
            paused_at: None,
            cool_down: None,
            window: Window { from: Timestamp::EPOCH, until: None },
            version: 1,
        }
    }
}

impl Tables {
    fn pace(&self, account: AccountId) -> Pace {
        self.paces.get(account).cloned().unwrap_or_default()
    }

    pub(super) fn is_paused(&self, account: AccountId) -> bool {
        self.pace(account).paused_at.is_some()
    }

    /// Whether publications may begin.
    pub(super) fn is_in_window(&self, account: AccountId, now: Timestamp) -> bool {
        let Window { from, until } = self.pace(account).window;
        from <= now && until.is_none_or(|until| until > now)
    }

    pub(super) fn pacing(&self, workspace: WorkspaceId, id: AccountId, now: Timestamp) -> Option<Pacing> {
        let account = self.accounts.get(id).filter(|account| account.workspace == workspace)?;
        let Pace { own, paused_at, cool_down, window, version } = self.pace(id);
        let of_account = self.intents.rows().filter(|intent| {
            intent.account == id && intent.state != tradepost_domain::publish::State::NotClicked
        });
        let mut uses: Vec<_> = of_account
            .filter_map(|intent| intent.permit.as_ref().map(|permit| permit.armed_at))
            .filter(|at| *at > now - SPAN)
            .collect();
        uses.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        uses.truncate(usize::try_from(LIMIT_MAX).unwrap_or(usize::MAX));
        Some(Pacing {
            account: id,
            workspace,
            site: account.site.clone(),
            added_at: account.created_at,
            own,
            paused_at,
            cool_down,
            window,
            uses,
            version,
        })
    }

    /// Returns the agent that may have work now.
    pub(super) fn update_pacing(&mut self, pacing: Pacing) -> Result<Option<AgentId>, Error> {
        let Pacing { account, workspace, own, paused_at, cool_down, window, version, .. } = pacing;
        let stored = self.accounts.get(account).filter(|stored| stored.workspace == workspace);
        let agent = stored.ok_or(Error::Stale)?.agent;
        unless(self.pace(account).version != version, Error::Stale)?;
        self.paces.put(account, Pace { own, paused_at, cool_down, window, version: version + 1 });
        Ok(agent)
    }

    pub(super) fn ended_windows(&self, now: Timestamp, limit: u32) -> Vec<(WorkspaceId, AccountId)> {
        let ended = self.accounts.rows().filter_map(|account| {
            let until = self.pace(account.id).window.until?;
            (until <= now).then_some((until, account.workspace, account.id))
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable();
        ended.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        ended.into_iter().map(|(_, workspace, account)| (workspace, account)).collect()
    }

    pub(super) fn run_starts(&self, account: AccountId, kind: job::Kind, since: Timestamp) -> Vec<Timestamp> {
        let runs = self
            .jobs
            .rows()
            .filter(|job| job.account == account && job.kind == kind && kind != job::Kind::Publish);
        let mut runs: Vec<_> = runs
            .filter_map(|job| Some((job.run_started_at?, job.attempt)))
            .filter(|(at, _)| *at > since)
            .collect();
        runs.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        runs.truncate(usize::try_from(LIMIT_MAX).unwrap_or(usize::MAX));
        let times = |attempt: u32| usize::try_from(attempt.max(1)).unwrap_or(1);
        runs.into_iter().flat_map(|(at, attempt)| std::iter::repeat_n(at, times(attempt))).collect()
    }

    pub(super) fn count_ahead(&self, job: &Job, now: Timestamp) -> u32 {
        let ahead = self.jobs.rows().filter(|other| {
            other.account == job.account
                && other.state == job::State::Queued
                && (other.turn(), other.id) < (job.turn(), job.id)
                && other.run_after <= now
        });
        u32::try_from(ahead.count()).unwrap_or(LIMIT_MAX).min(LIMIT_MAX)
    }

    pub(super) fn open_errand(&self, is_it: impl Fn(&Job) -> bool) -> Option<Job> {
        self.jobs.rows().find(|job| is_open_errand(job) && is_it(job)).cloned()
    }
}
