//! Marketplace accounts.

use tradepost_domain::account::{Account, NewAccount, WhenAbsent};
use tradepost_domain::agent::Agent;
use tradepost_domain::audit::{Detail, Target};
use tradepost_domain::id::{AccountId, AgentId, JobId, RequestId, Version};
use tradepost_domain::job::{self, Job};
use tradepost_recipe::catalogue;
use tradepost_runtime::telemetry;
use tradepost_store::{Change, Conflict, Error as StoreError, audit};

use super::core::{Caller, Core, TRIES};
use super::error::{Error, Reason, Result};
use super::pacing::defaults;
use super::page::{Page, Query};
use super::posting::unbound;
use super::work::job_event;

const LIST: &str = "accounts";

impl Core {
    /// Adds an account. The same request gives the same account.
    pub async fn create_account(
        &self,
        caller: &Caller,
        request: &RequestId,
        new: NewAccount,
    ) -> Result<Account> {
        let id = AccountId::of_request(caller.workspace, request);
        if let Some(made) = self.store.find_account(caller.workspace, id).await? {
            return Ok(made);
        }
        catalogue::site(new.site.as_str()).map_err(|problem| Error::field("site", problem))?;
        if let Some(agent) = new.agent {
            self.usable_agent(caller, agent).await?;
        }
        let NewAccount { name, site, site_url, sign_in_name, currency, agent } = new;
        let account = Account {
            id,
            workspace: caller.workspace,
            name,
            site,
            site_url,
            sign_in_name,
            currency,
            agent,
            when_absent: WhenAbsent::Ask,
            created_at: self.now(),
            version: Version(1),
        };
        audit::about(Target::Account, account.id.0);
        let account = self.store.add_account(account).await?;
        if defaults(&account.site)?.quiet_hours.is_some() {
            self.roll_window(account.workspace, account.id).await?;
        }
        Ok(account)
    }

    /// One account.
    pub async fn account(&self, caller: &Caller, id: AccountId) -> Result<Account> {
        let found = self.store.find_account(caller.workspace, id).await?;
        found.ok_or_else(|| Error::not_found(Reason::AccountNotFound, "account", id))
    }

    /// By name.
    pub async fn accounts(&self, caller: &Caller, query: &Query) -> Result<Page<Account>> {
        let slice = self.store.list_accounts(caller.workspace, query.request(LIST)?).await?;
        Ok(Page::new(LIST, slice))
    }

    /// Binds an account to an agent; at `version` if given.
    pub async fn bind_account(
        &self,
        caller: &Caller,
        id: AccountId,
        agent: AgentId,
        version: Option<Version>,
    ) -> Result<Account> {
        self.usable_agent(caller, agent).await?;
        audit::about(Target::Account, id.0);
        audit::detail(Detail::Agent, agent);
        for _ in 0..TRIES {
            let account = self.account(caller, id).await?;
            let at = version.unwrap_or(account.version);
            if let Some(earlier) = account.agent.filter(|earlier| *earlier != agent) {
                audit::aside(self.leaves_agent(earlier, id)).await?;
            }
            match self.store.bind_account(caller.workspace, id, agent, at, self.now()).await {
                Err(StoreError::Stale) if version.is_some() => {
                    let message = "the account was changed since you read it; read it again";
                    return Err(Error::new(Reason::EtagStale, message));
                }
                Err(StoreError::Stale) => {}
                bound => return Ok(bound?),
            }
        }
        Err(Error::contention())
    }

    /// Settles what happens to listings of the account that are proven absent; at `version` if given.
    pub async fn update_account(
        &self,
        caller: &Caller,
        id: AccountId,
        when_absent: Option<WhenAbsent>,
        version: Option<Version>,
    ) -> Result<Account> {
        for _ in 0..TRIES {
            let account = self.account(caller, id).await?;
            let Some(wanted) = when_absent else { return Ok(account) };
            audit::about(Target::Account, id.0);
            audit::detail(Detail::To, if wanted == WhenAbsent::Ask { "ask" } else { "post_again" });
            let at = version.unwrap_or(account.version);
            match self.store.set_when_absent(caller.workspace, id, wanted, at, self.now()).await {
                Err(StoreError::Stale) if version.is_some() => {
                    let message = "the account was changed since you read it; read it again";
                    return Err(Error::new(Reason::EtagStale, message));
                }
                Err(StoreError::Stale) => {}
                changed => return Ok(changed?),
            }
        }
        Err(Error::contention())
    }

    /// Starts a job that has the account signed in. The same request gives the same job, and while one is open, so does
    /// every other request; one that waits for a person goes on.
    pub async fn login_account(&self, caller: &Caller, request: &RequestId, id: AccountId) -> Result<JobId> {
        let account = self.account(caller, id).await?;
        let agent = account.agent.ok_or_else(|| unbound(&account))?;
        let made = JobId::of_request(caller.workspace, request);
        if self.store.find_job(caller.workspace, made).await?.is_some() {
            return Ok(made);
        }
        audit::about(Target::Account, id.0);
        if let Some(open) = self.open_login(id).await? {
            return Ok(open);
        }
        let now = self.now();
        let job = Job {
            id: made,
            workspace: caller.workspace,
            kind: job::Kind::Login,
            agent,
            account: account.id,
            posting: None,
            intent: None,
            state: job::State::Queued,
            // A person waits in front of it.
            priority: 100,
            attempt: 0,
            run_lease: None,
            lease_until: None,
            run_started_at: None,
            run_after: now,
            cancel_requested: false,
            failure: None,
            discarded_at: None,
            trace_context: telemetry::current_traceparent(),
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let id = job.id;
        let mut change = Change { events: vec![job_event(&job)], new_jobs: vec![job], ..Change::default() };
        self.space(&mut change, now).await?;
        match self.store.commit(change, now).await {
            // Somebody else asked at the same time.
            Err(StoreError::Conflict(Conflict::LoginOpen)) => {
                self.open_login(account.id).await?.ok_or_else(Error::contention)
            }
            Err(StoreError::Conflict(Conflict::Id))
                if self.store.find_job(caller.workspace, id).await?.is_some() =>
            {
                Ok(id)
            }
            stored => Ok(stored.map(|()| id)?),
        }
    }

    /// The account's sign-in that has not ended, if there is one; it goes on if it waited for a person.
    async fn open_login(&self, account: AccountId) -> Result<Option<JobId>> {
        let Some(open) = self.store.find_open_login(account).await? else { return Ok(None) };
        if open.state == job::State::NeedsHuman {
            match self.apply(&open, job::Event::Resume).await {
                Err(error) if error.reason != Reason::WrongState => return Err(error),
                _ => {}
            }
        }
        Ok(Some(open.id))
    }

    /// An agent of the workspace that is not revoked.
    async fn usable_agent(&self, caller: &Caller, id: AgentId) -> Result<Agent> {
        let agent = self.agent(caller, id).await?;
        if agent.revoked_at.is_some() {
            let message = format!("the agent {:?} is revoked; enrol it anew or use another one", agent.name);
            return Err(Error::new(Reason::AgentRevoked, message));
        }
        Ok(agent)
    }
}
