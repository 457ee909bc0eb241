//! When accounts may act: shown, changed and paused by people, and kept in step with what happens to their work.
//!
//! The decision stands in `tradepost_domain::pacing`. Here it is loaded, decided and stored in the transaction of what it
//! belongs to: a permit counts in the commit that arms it, one that was given back is given back in the commit that says
//! so. Claims read what was stored (the window); the permit is decided on the rows themselves.

use serde_json::json;
use tradepost_domain::account::Site;
use tradepost_domain::audit::Target;
use tradepost_domain::event::{self, NewEvent, Subject};
use tradepost_domain::id::{AccountId, WorkspaceId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::{self, Action, Event, Pacing, Policy, Rejected, Rules, Wait};
use tradepost_domain::posting::Publication;
use tradepost_domain::publish;
use tradepost_domain::time::Timestamp;
use tradepost_recipe::catalogue;
use tradepost_store::{Change, Error as StoreError, audit};

use super::core::{Caller, Core, TRIES};
use super::error::{Error, Reason, Result};

/// Rows of one round.
const ROUND: u32 = 200;
/// Sign-ins and looks are counted over this span.
const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

/// An account's pacing, for people.
#[derive(Debug, Clone)]
pub struct Shown {
    /// How it stands.
    pub pacing: Pacing,
    /// The rules in force.
    pub rules: Rules,
    /// What a publication would wait for now, apart from a pause.
    pub wait: Option<Wait>,
    /// When this was.
    pub now: Timestamp,
}

/// What a person changes of an account's own policy.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// Begin from the site's defaults.
    pub reset: bool,
    /// These values are set; the others stay.
    pub set: Policy,
}

impl Core {
    /// How an account's pacing stands.
    pub async fn pacing(&self, caller: &Caller, account: AccountId) -> Result<Shown> {
        let now = self.now();
        let pacing = self.find_pacing(caller.workspace, account, now).await?;
        shown(pacing, now)
    }

    /// Changes an account's own policy.
    pub async fn change_pacing(&self, caller: &Caller, account: AccountId, patch: Patch) -> Result<Shown> {
        let mut violations = tradepost_domain::field::Violations::new();
        patch.set.check(&mut violations);
        if !violations.0.is_empty() {
            return Err(violations.into());
        }
        let change = |pacing: &Pacing| {
            let before = if patch.reset { Policy::default() } else { pacing.own.clone() };
            Event::Change(merged(before, patch.set.clone()))
        };
        self.pace(caller.workspace, account, Some(caller), change).await
    }

    /// Stops all work of an account; what is past its click goes on to its end.
    pub async fn pause_account(&self, caller: &Caller, account: AccountId) -> Result<Shown> {
        self.pace(caller.workspace, account, Some(caller), |_| Event::Pause).await
    }

    /// Lets an account go on; ends its cool-down, too, if the person says so.
    pub async fn resume_account(
        &self,
        caller: &Caller,
        account: AccountId,
        end_cool_down: bool,
    ) -> Result<Shown> {
        let shown = self.pace(caller.workspace, account, Some(caller), |_| Event::Resume).await?;
        if end_cool_down && shown.pacing.cool_down.is_some() {
            return self.pace(caller.workspace, account, Some(caller), |_| Event::EndCoolDown).await;
        }
        Ok(shown)
    }

    /// Decides anew on accounts whose window has ended. Returns how many.
    pub async fn roll_windows(&self) -> Result<usize> {
        let ended = self.store.list_ended_windows(self.now(), ROUND).await?;
        let mut rolled = 0;
        for (workspace, account) in ended {
            match self.pace(workspace, account, None, |_| Event::Roll).await {
                Ok(_) => rolled += 1,
                // Another controller was quicker.
                Err(error) if error.reason == Reason::Contention => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rolled)
    }

    /// Decides anew on an account's window: after it was added, or when its window was found to be wrong.
    pub(super) async fn roll_window(&self, workspace: WorkspaceId, account: AccountId) -> Result<()> {
        self.pace(workspace, account, None, |_| Event::Roll).await.map(drop)
    }

    /// Loads the pacing, decides on an event of its own and stores what becomes of it.
    async fn pace<F>(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        by: Option<&Caller>,
        event: F,
    ) -> Result<Shown>
    where
        F: Fn(&Pacing) -> Event + Send + Sync,
    {
        if by.is_some() {
            audit::about(Target::Account, account.0);
        }
        for _ in 0..TRIES {
            let now = self.now();
            let before = self.find_pacing(workspace, account, now).await?;
            let after = pacing::step(&before, &defaults(&before.site)?, event(&before), now)
                .map_err(paced(now, &before))?;
            if after == before {
                return shown(after, now);
            }
            let events = by.map(|caller| pacing_event(&after, caller)).into_iter().collect();
            let change = Change { pacing: vec![after.clone()], events, ..Change::default() };
            match self.store.commit(change, now).await {
                Ok(()) => return shown(after, now),
                Err(StoreError::Stale) => tracing::debug!(%account, "changed meanwhile; deciding anew"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contention())
    }

    /// Adds to a change of a publication what it means for its account: a permit counts from now on, or is given back; a
    /// failure stops the whole account for a while. Refuses a permit that the account's rules do not allow.
    pub(super) async fn pace_publication(
        &self,
        change: &mut Change,
        before: &Publication,
        now: Timestamp,
    ) -> Result<()> {
        let intent = change.intents.iter().find(|intent| intent.id == before.intent.id);
        let mut events = Vec::new();
        match (before.intent.state, intent.map(|intent| intent.state), &before.intent.permit) {
            (state, Some(publish::State::Armed), _) if state != publish::State::Armed => {
                events.push(Event::Use);
            }
            (state, Some(publish::State::NotClicked), Some(permit)) if state.holds_account() => {
                events.push(Event::Return(permit.armed_at));
            }
            _ => {}
        }
        let job = change.jobs.iter().find(|job| job.id == before.job.id);
        events.extend(job.and_then(|after| cool_down(&before.job, after)));
        self.pace_with(change, before.posting.workspace, before.posting.account, events, now).await
    }

    /// The same for a sign-in or a look, which count and cool down only.
    pub(super) async fn pace_job(&self, change: &mut Change, before: &Job, now: Timestamp) -> Result<()> {
        let job = change.jobs.iter().find(|job| job.id == before.id);
        let events = job.and_then(|after| cool_down(before, after)).into_iter().collect();
        self.pace_with(change, before.workspace, before.account, events, now).await
    }

    async fn pace_with(
        &self,
        change: &mut Change,
        workspace: WorkspaceId,
        account: AccountId,
        events: Vec<Event>,
        now: Timestamp,
    ) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let before = self.find_pacing(workspace, account, now).await?;
        let defaults = defaults(&before.site)?;
        let mut after = before.clone();
        for event in events {
            // A return is applied to the rows as they were: the intent is still armed in them.
            after = pacing::step(&after, &defaults, event, now).map_err(paced(now, &before))?;
        }
        // Where publications are counted, the row's version is what makes two decisions follow each other.
        let counted = pacing::rules(&before, &defaults).counts_publications();
        let unchanged = Pacing { uses: before.uses.clone(), ..after.clone() } == before;
        if counted || !unchanged {
            change.pacing.push(after);
        }
        Ok(())
    }

    /// Moves sign-ins and looks that would run too soon after others.
    pub(super) async fn space(&self, change: &mut Change, now: Timestamp) -> Result<()> {
        for job in change.new_jobs.iter_mut().chain(&mut change.jobs) {
            let action = match job.kind {
                job::Kind::Login => Action::Login,
                job::Kind::Reconcile => Action::Look,
                job::Kind::Publish => continue,
            };
            if job.state != job::State::Queued {
                continue;
            }
            let pacing = self.find_pacing(job.workspace, job.account, now).await?;
            let per_hour = pacing::rules(&pacing, &defaults(&pacing.site)?).per_hour_of(action);
            if per_hour == 0 {
                continue;
            }
            let ready = job.run_after.max(now);
            let runs = self.store.list_run_starts(job.account, job.kind, ready - HOUR).await?;
            job.run_after = pacing::next_run(per_hour, &runs, ready).max(job.run_after);
        }
        Ok(())
    }

    async fn find_pacing(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Pacing> {
        let found = self.store.find_pacing(workspace, account, now).await?;
        found.ok_or_else(|| Error::not_found(Reason::AccountNotFound, "account", account))
    }
}

/// The rules of a site's accounts without a policy of their own.
pub(super) fn defaults(site: &Site) -> Result<Rules> {
    let found = catalogue::site(site.as_str()).map_err(|problem| Error::new(Reason::SiteUnknown, problem))?;
    Ok(found.pack.rules())
}

fn shown(pacing: Pacing, now: Timestamp) -> Result<Shown> {
    let defaults = defaults(&pacing.site)?;
    let rules = pacing::rules(&pacing, &defaults);
    let wait = pacing::wait(&pacing, &defaults, now);
    Ok(Shown { pacing, rules, wait, now })
}

/// The cool-down that a run's failure begins.
fn cool_down(before: &Job, after: &Job) -> Option<Event> {
    let runs = |state| matches!(state, job::State::Leased | job::State::Running | job::State::Parked);
    let ended = runs(before.state) && !runs(after.state);
    after.failure.as_ref().filter(|_| ended).and_then(pacing::cooling)
}

fn merged(own: Policy, set: Policy) -> Policy {
    let Policy {
        per_hour,
        per_day,
        min_gap,
        logins_per_hour,
        looks_per_hour,
        quiet_hours,
        time_zone,
        new_days,
        new_per_day,
    } = set;
    Policy {
        per_hour: per_hour.or(own.per_hour),
        per_day: per_day.or(own.per_day),
        min_gap: min_gap.or(own.min_gap),
        logins_per_hour: logins_per_hour.or(own.logins_per_hour),
        looks_per_hour: looks_per_hour.or(own.looks_per_hour),
        quiet_hours: quiet_hours.or(own.quiet_hours),
        time_zone: time_zone.or(own.time_zone),
        new_days: new_days.or(own.new_days),
        new_per_day: new_per_day.or(own.new_per_day),
    }
}

fn pacing_event(after: &Pacing, by: &Caller) -> NewEvent {
    NewEvent {
        workspace: after.workspace,
        kind: event::Kind::AccountChanged,
        subject: Subject { account: Some(after.account), ..Subject::default() },
        data: json!({
            "pacing": after.own,
            "paused": after.paused_at.is_some(),
            "cool_down": after.cool_down.as_ref().map(|cool_down| cool_down.class.name()),
            "by": by.user.to_string(),
        }),
    }
}

/// The error for a permit that is not allowed yet.
fn paced(now: Timestamp, pacing: &Pacing) -> impl Fn(Rejected) -> Error + use<> {
    let (site, own) = (pacing.site.clone(), pacing.own.clone());
    move |rejected| match &rejected {
        Rejected::Paused => {
            Error::new(Reason::Paced, "the account is paused; nothing is published until it is resumed")
        }
        Rejected::Wait(wait) => {
            let zone = defaults(&site)
                .map_or_else(|_| pacing::Zone::utc(), |defaults| own.over(&defaults).time_zone);
            let message = format!("not yet: the publication waits for {}", wait.sentence(&zone, now));
            Error::new(Reason::Paced, message).retry_after(wait.until.since(now))
        }
    }
}
