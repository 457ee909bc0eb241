//! What a posting waits for: everything that bears on it is loaded here, the sentence is the domain's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tradepost_domain::agent::Agent;
use tradepost_domain::id::{AccountId, AgentId, PostingId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::pacing::{self, Pacing, Rules, Zone};
use tradepost_domain::posting::{Posting, State};
use tradepost_domain::publish;
use tradepost_domain::time::Timestamp;
use tradepost_domain::waiting::{Situation, Wait, at_first, explain};
use tradepost_store::{Ground, PageRequest, PostingFilter};

use super::core::{Caller, Core};
use super::error::{Error, Reason, Result};
use super::pacing::defaults;

/// A posting with the answer to "why is it not there yet?".
#[derive(Debug, Clone)]
pub struct Explained {
    /// The posting.
    pub posting: Posting,
    /// Its publish job.
    pub job: Job,
    /// What it waits for; none when it runs or has ended.
    pub wait: Option<Wait>,
    /// The zone of the account, in which the sentence tells times.
    pub zone: Zone,
    /// Jobs of the account that go first.
    pub ahead: u32,
}

/// What several postings have in common.
#[derive(Default)]
struct Known {
    agents: HashMap<AgentId, (Option<Agent>, usize)>,
    accounts: HashMap<AccountId, OfAccount>,
}

struct OfAccount {
    pacing: Pacing,
    defaults: Rules,
    run: Option<Job>,
    /// Two are enough: at least one of them is another posting.
    unsettled: Vec<PostingId>,
}

impl Core {
    /// The postings with what each waits for.
    pub async fn waiting_for(&self, postings: Vec<Posting>) -> Result<Vec<(Posting, Option<Wait>)>> {
        let mut known = Known::default();
        let mut answered = Vec::with_capacity(postings.len());
        for posting in postings {
            let wait = match posting.state {
                State::Published | State::Failed | State::Cancelled => None,
                _ => self.explained(&posting, &mut known).await?.and_then(|explained| explained.wait),
            };
            answered.push((posting, wait));
        }
        Ok(answered)
    }

    /// What a posting that is about to be made waits for, told from what its making was decided on.
    pub(super) fn at_first(&self, ground: &Ground) -> Option<Wait> {
        Some(at_first(ground.agent.as_ref(), ground.unsettled, self.now()))
    }

    /// Why a posting is not published yet.
    pub async fn explain_posting(&self, caller: &Caller, id: PostingId) -> Result<Explained> {
        let posting = self.posting(caller, id).await?;
        let explained = self.explained(&posting, &mut Known::default()).await?;
        explained.ok_or_else(|| Error::not_found(Reason::PostingNotFound, "posting", id))
    }

    async fn explained(&self, posting: &Posting, known: &mut Known) -> Result<Option<Explained>> {
        let Some(publication) = self.store.find_publication(posting.workspace, posting.id).await? else {
            return Ok(None);
        };
        let now = self.now();
        let job = publication.job.clone();
        let (agent, agent_runs) = match known.agents.entry(job.agent) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(self.agent_at_work(job.agent).await?),
        };
        let account = match known.accounts.entry(posting.account) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(self.of_account(posting, now).await?),
        };
        let queued = job.state == job::State::Queued;
        let ahead = if queued { self.store.count_ahead(&job, now).await? } else { 0 };
        let look = match publication.intent.state {
            publish::State::Unknown => self.store.find_open_look(publication.intent.id).await?,
            _ => None,
        };
        let situation = Situation {
            publication: &publication,
            agent: agent.as_ref(),
            agent_runs: *agent_runs,
            pacing: &account.pacing,
            defaults: &account.defaults,
            ahead,
            account_run: account.run.as_ref(),
            unsettled: account.unsettled.iter().find(|other| **other != posting.id).copied(),
            look: look.as_ref(),
        };
        let wait = explain(&situation, now);
        let zone = pacing::rules(&account.pacing, &account.defaults).time_zone;
        Ok(Some(Explained { posting: publication.posting, job, wait, zone, ahead }))
    }

    async fn agent_at_work(&self, id: AgentId) -> Result<(Option<Agent>, usize)> {
        let Some(agent) = self.store.find_agent(id).await? else { return Ok((None, 0)) };
        let runs = self.store.list_agent_runs(id).await?;
        let busy = runs.iter().filter(|run| matches!(run.state, job::State::Leased | job::State::Running));
        Ok((Some(agent), busy.count()))
    }

    async fn of_account(&self, posting: &Posting, now: Timestamp) -> Result<OfAccount> {
        let (workspace, account) = (posting.workspace, posting.account);
        let pacing = self.store.find_pacing(workspace, account, now).await?;
        let pacing = pacing.ok_or_else(|| Error::not_found(Reason::AccountNotFound, "account", account))?;
        // A posting of the same account whose click's fate is open: until it is known, nothing else is published there.
        let filter = PostingFilter { state: Some(State::Uncertain), account: Some(account) };
        let page = PageRequest { limit: 2, after: None };
        let unsettled = self.store.list_postings(workspace, filter, page).await?;
        Ok(OfAccount {
            defaults: defaults(&pacing.site)?,
            pacing,
            run: self.store.find_account_run(account).await?,
            unsettled: unsettled.rows.iter().map(|posting| posting.id).collect(),
        })
    }
}
