//! The same random operations on several stores: answers and rows must be the same after each of them.
//!
//! Operations are drawn from a seed and from what the first store holds; many are wrong on purpose: old versions, older streams,
//! rows that break a rule. To add one: a line in [`Fleet::operation`].

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tradepost_domain::account::Account;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::{
    AccountId, ContentHash, EvidenceId, IntentId, ListingId, PermitId, RunLease, SessionEpoch, Version,
};
use tradepost_domain::job::{self, Job};
use tradepost_domain::posting::{self, Publication, Receipt};
use tradepost_domain::publish::{self, PublishedItem, baseline_hash};
use tradepost_domain::time::Timestamp;

use super::world::{Seller, World, at, creation, first, update};
use crate::{
    Asked, ChangeReceipt, Claim, EpochGuard, Error, EvidenceFile, JobFilter, PageRequest, PostingFilter,
    Step, StepStatus, Store,
};

/// Sellers of the fleet, each with several accounts and listings.
const SELLERS: usize = 2;
const ACCOUNTS: usize = 3;
const LISTINGS: usize = 3;

/// A small generator (xorshift64*), so that a seed means the same everywhere.
#[derive(Debug)]
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let draw = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(draw).unwrap_or(0) % bound.max(1)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Result<&'a T> {
        all.get(self.below(all.len())).context("nothing to pick from")
    }
}

/// The stores under comparison, filled alike.
struct Fleet {
    names: Vec<&'static str>,
    worlds: Vec<World>,
    sellers: Vec<Seller>,
    accounts: Vec<Account>,
    listings: Vec<(usize, ListingId)>,
    draw: Draw,
    now: Timestamp,
    /// Publications as they once were.
    older: Vec<Publication>,
}

/// Applies `operations` random operations to each of `stores`, which are empty, and compares.
pub async fn compare(
    stores: Vec<(&'static str, Arc<dyn Store>)>,
    seed: u64,
    operations: usize,
) -> Result<()> {
    let mut fleet = Fleet::new(stores, seed).await?;
    for number in 0..operations {
        fleet.operation().await.with_context(|| format!("seed {seed}, operation {number}"))?;
        if number % 20 == 19 || number + 1 == operations {
            fleet.compare_rows().await.with_context(|| format!("seed {seed}, after operation {number}"))?;
        }
    }
    Ok(())
}

/// An answer as it is compared: errors by what they mean.
fn told<T: Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(Error::Conflict(conflict)) => format!("conflict {conflict:?}"),
        Err(Error::Stale) => String::from("stale"),
        Err(Error::Internal(_)) => String::from("internal"),
        Err(other) => format!("error {other:?}"),
    }
}

/// The same call on every store; its answers must be equal.
macro_rules! all {
    ($fleet:ident, $what:expr, |$store:ident| $call:expr) => {{
        let mut answers = Vec::new();
        for world in &$fleet.worlds {
            let $store = &world.store;
            answers.push(told($call.await));
        }
        $fleet.same(&$what, &answers)?;
    }};
}

impl Fleet {
    async fn new(stores: Vec<(&'static str, Arc<dyn Store>)>, seed: u64) -> Result<Self> {
        let names = stores.iter().map(|(name, _)| *name).collect();
        let worlds: Vec<World> = stores.into_iter().map(|(_, store)| World::new(store)).collect();
        let mut filled = Vec::new();
        for world in &worlds {
            let (mut sellers, mut accounts, mut listings) = (Vec::new(), Vec::new(), Vec::new());
            for number in 0..SELLERS {
                let seller = world.seller().await?;
                accounts.push(seller.account.clone());
                for _ in 1..ACCOUNTS {
                    accounts.push(world.account(seller.tenant, seller.agent.id).await?);
                }
                for _ in 0..LISTINGS {
                    listings.push((number, world.listing(seller.tenant).await?.id));
                }
                sellers.push(seller);
            }
            filled.push((sellers, accounts, listings));
        }
        let (sellers, accounts, listings) = filled.swap_remove(0);
        let draw = Draw(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        Ok(Self { names, worlds, sellers, accounts, listings, draw, now: at(10), older: Vec::new() })
    }

    fn same(&self, what: &str, answers: &[String]) -> Result<()> {
        for (name, answer) in self.names.iter().zip(answers) {
            ensure!(*answer == answers[0], "{what}\n{}: {}\n{name}: {answer}", self.names[0], answers[0]);
        }
        Ok(())
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.worlds[0].store
    }

    async fn publications(&self) -> Result<Vec<Publication>> {
        let mut all = Vec::new();
        for seller in &self.sellers {
            let workspace = seller.tenant.workspace;
            let page = self.store().list_postings(workspace, PostingFilter::default(), first(1000)).await?;
            for posting in page.rows {
                all.extend(self.store().find_publication(workspace, posting.id).await?);
            }
        }
        Ok(all)
    }

    async fn operation(&mut self) -> Result<()> {
        self.now = self.now + Duration::from_millis(u64::try_from(self.draw.below(12_000))?);
        match self.draw.below(20) {
            0..4 => self.create().await,
            4..7 => self.claim().await,
            7..13 => self.event().await,
            13 | 14 => self.spoiled().await,
            15 => self.streams().await,
            16 => self.runs().await,
            17 => self.catalogue().await,
            18 => self.kept().await,
            _ => self.reads().await,
        }
    }

    async fn create(&mut self) -> Result<()> {
        let (owner, listing) = *self.draw.pick(&self.listings)?;
        // Now and then an account of somebody else, which no rule of the tables forbids.
        let account = self.draw.pick(&self.accounts)?.clone();
        let agent = self.sellers[owner].agent.id;
        let ids = self.worlds[0].clone();
        let mut publication = ids.new_publication(&account, agent, listing);
        publication.posting.workspace = self.sellers[owner].tenant.workspace;
        publication.job.workspace = publication.posting.workspace;
        publication.intent.workspace = publication.posting.workspace;
        publication.job.created_at = self.now;
        publication.posting.created_at = self.now;
        publication.job.priority = [0, 0, 5, -5][self.draw.below(4)];
        publication.job.run_after = self.now + Duration::from_secs(u64::try_from(self.draw.below(20))?);
        let (change, now) = (creation(&publication), self.now);
        all!(self, format!("create {publication:?}"), |store| store.commit(change.clone(), now));
        Ok(())
    }

    async fn claim(&mut self) -> Result<()> {
        let mut agents = Vec::new();
        for seller in &self.sellers {
            let Some(agent) = self.store().find_agent(seller.agent.id).await? else { continue };
            let older = self.draw.chance(10);
            let epoch = SessionEpoch(agent.epoch.0 - i64::from(older));
            agents.push((agent.id, epoch, u32::try_from(self.draw.below(4))?));
        }
        let (claim, now) = (Claim { agents, limit: 100 }, self.now);
        all!(self, format!("claim {claim:?}"), |store| store.claim_jobs(claim.clone(), now));
        Ok(())
    }

    /// One that fits the publication more often than not.
    fn any_event(&mut self, publication: &Publication) -> posting::Event {
        let (job, intent) = (&publication.job, &publication.intent);
        let lease = job.run_lease.unwrap_or(RunLease(1));
        let baseline = vec![String::from("a"), String::from("b")];
        let permit = intent.permit.as_ref().map_or(PermitId(self.worlds[0].id()), |permit| permit.id);
        let item = PublishedItem {
            item_id: format!("{}", self.draw.below(4)),
            url: String::from("https://market.example.com/"),
            strategy: String::from("test"),
        };
        let class = FailureClass::ALL[self.draw.below(FailureClass::ALL.len())];
        let reason = || String::from("why");
        match self.draw.below(15) {
            0..2 => job::Event::Acknowledge(lease).into(),
            2 => job::Event::Refuse(lease).into(),
            3 => {
                let failure = Failure::new(class, "step", "words");
                job::Event::Fail { run_lease: lease, failure, jitter: 0.5 }.into()
            }
            4 => job::Event::LeaseExpired.into(),
            5 => job::Event::AgentBack.into(),
            6 => job::Event::RequestCancel.into(),
            7 => posting::Event::Retry,
            8 => publish::Event::Prepared { run_lease: lease, baseline, fingerprint: reason() }.into(),
            9 | 10 => publish::Event::Arm {
                permit,
                request: reason(),
                run_lease: lease,
                epoch: SessionEpoch(1),
                baseline_hash: baseline_hash(&intent.baseline),
                fingerprint: intent.fingerprint.clone(),
            }
            .into(),
            11 => publish::Event::Confirm { permit, item }.into(),
            12 => publish::Event::NotClicked { permit, reason: reason() }.into(),
            13 => publish::Event::Uncertain { permit, reason: reason() }.into(),
            _ => [
                publish::Event::ReportOverdue,
                publish::Event::Found(item.clone()),
                publish::Event::ProvenAbsent,
                publish::Event::FoundSeveral(reason()),
                publish::Event::ResolvedPublished(item),
                publish::Event::ResolvedNotPublished,
            ][self.draw.below(6)]
            .clone()
            .into(),
        }
    }

    async fn event(&mut self) -> Result<()> {
        let publications = self.publications().await?;
        let Ok(present) = self.draw.pick(&publications).cloned() else { return Ok(()) };
        // Sometimes decided on what was true a while ago.
        let publication = match self.older.is_empty() || self.draw.chance(85) {
            true => present,
            false => self.draw.pick(&self.older)?.clone(),
        };
        self.older.push(publication.clone());
        let event = self.any_event(&publication);
        let fresh = IntentId(self.worlds[0].id());
        let Ok((next, effects)) = posting::step(&publication, event.clone(), fresh, self.now) else {
            return Ok(());
        };
        let mut change = update(&next);
        for effect in effects {
            if let posting::Effect::NewGeneration { ended, fresh } = effect {
                change.new_intents.push(*fresh);
                change.intents = vec![*ended];
            }
        }
        if let Some(item) = next.intent.item.clone()
            && self.draw.chance(80)
        {
            change.receipt = Some(self.receipt(&next, item));
        }
        if self.draw.chance(30) {
            let seller = self.draw.pick(&self.sellers)?;
            let epoch = SessionEpoch(1 + i64::from(self.draw.0 % 2 == 0));
            change.guard = Some(EpochGuard { agent: seller.agent.id, epoch });
        }
        let now = self.now;
        all!(self, format!("{event:?} on {publication:?}"), |store| store.commit(change.clone(), now));
        Ok(())
    }

    fn receipt(&self, publication: &Publication, item: PublishedItem) -> ChangeReceipt {
        let receipt = Receipt {
            item,
            baseline_count: 2,
            read_back: Vec::new(),
            evidence: Vec::new(),
            recipe: format!("at {}", self.now),
            agent: publication.job.agent,
            prepare_ms: 1,
            confirm_ms: 2,
            trail: posting::Trail::default(),
        };
        let (workspace, posting) = (publication.posting.workspace, publication.posting.id);
        ChangeReceipt { workspace, posting, intent: publication.intent.id, receipt }
    }

    /// Rows as no service would write them.
    async fn spoiled(&mut self) -> Result<()> {
        let publications = self.publications().await?;
        let Ok(mut publication) = self.draw.pick(&publications).cloned() else { return Ok(()) };
        match self.draw.below(7) {
            0 => publication.posting.state = posting::State::ALL[self.draw.below(7)],
            1 => publication.intent.state = publish::State::ALL[self.draw.below(9)],
            2 => publication.job.state = job::State::ALL[self.draw.below(9)],
            3 => publication.job.lease_until = Some(self.now),
            4 => publication.posting.version = Version(7),
            5 => publication.intent.item = self.draw.pick(&publications)?.intent.item.clone(),
            _ => publication.posting.job = self.draw.pick(&publications)?.posting.job,
        }
        let (change, now) = (update(&publication), self.now);
        all!(self, format!("spoiled {publication:?}"), |store| store.commit(change.clone(), now));
        Ok(())
    }

    async fn streams(&mut self) -> Result<()> {
        let (agent, now) = (self.draw.pick(&self.sellers)?.agent.clone(), self.now);
        let epoch = SessionEpoch(1 + i64::try_from(self.draw.below(3))?);
        match self.draw.below(3) {
            0 => {
                let attachment = crate::Attachment {
                    agent: agent.id,
                    boot: agent.boot.context("attached once")?,
                    controller: agent.controller.context("attached once")?,
                    platform: String::from("other"),
                    program_version: String::from("2"),
                    known_epoch: SessionEpoch(i64::try_from(self.draw.below(4))?),
                };
                all!(self, "attach", |store| store.attach_agent(attachment.clone(), now));
            }
            1 => all!(self, "touch", |store| store.touch_agents(&[(agent.id, epoch)], now)),
            _ => all!(self, "detach", |store| store.detach_agent(agent.id, epoch, now)),
        }
        Ok(())
    }

    async fn runs(&mut self) -> Result<()> {
        let (agent, now) = (self.draw.pick(&self.sellers)?.agent.id, self.now);
        let runs = self.store().list_agent_runs(agent).await?;
        let told: Vec<_> = runs.iter().filter_map(|job| Some((job.id, job.run_lease?))).collect();
        all!(self, format!("extend {told:?}"), |store| store.extend_leases(agent, &told, now));
        let Ok(&(job, lease)) = self.draw.pick(&told) else { return Ok(()) };
        let lease = RunLease(lease.0 - i64::from(self.draw.chance(20)));
        let steps: Vec<Step> = (0..self.draw.below(4))
            .map(|_| Step {
                seq: u32::try_from(self.draw.below(6)).unwrap_or(0),
                phase: String::from("prepare"),
                name: String::from("title"),
                status: StepStatus::Succeeded,
                detail: String::new(),
                duration: Some(Duration::from_micros(1_500)),
                index: 1,
                total: 2,
            })
            .collect();
        all!(self, format!("steps {steps:?}"), |store| store.append_steps(
            agent,
            job,
            lease,
            steps.clone(),
            now
        ));
        Ok(())
    }

    async fn catalogue(&mut self) -> Result<()> {
        let now = self.now;
        let account = self.draw.pick(&self.accounts)?.clone();
        let seller = self.draw.pick(&self.sellers)?.clone();
        let (owner, listing) = *self.draw.pick(&self.listings)?;
        let workspace = self.sellers[owner].tenant.workspace;
        match self.draw.below(4) {
            0 => {
                let version = Version(1 + i64::try_from(self.draw.below(3))?);
                all!(self, "bind", |store| store.bind_account(
                    account.workspace,
                    account.id,
                    seller.agent.id,
                    version,
                    now
                ));
            }
            1 if self.draw.chance(20) => {
                all!(self, "delete", |store| store.delete_listing(workspace, listing, now));
            }
            2 => {
                let again = Account { id: AccountId(self.worlds[0].id()), ..account };
                all!(self, "same name", |store| store.add_account(again.clone()));
            }
            _ => {
                let Some(stored) = self.store().find_listing(workspace, listing).await? else {
                    return Ok(());
                };
                let mut content = stored.content.clone();
                content.title = format!("title at {now}");
                let version = Version(stored.version.0 - i64::from(self.draw.chance(20)));
                all!(self, "change", |store| store.update_listing(
                    workspace,
                    listing,
                    content.clone(),
                    version,
                    now
                ));
            }
        }
        Ok(())
    }

    /// Evidence.
    async fn kept(&mut self) -> Result<()> {
        let publications = self.publications().await?;
        let Ok(publication) = self.draw.pick(&publications).cloned() else { return Ok(()) };
        let job = publication.job;
        let lease = RunLease(job.run_lease.map_or(1, |lease| lease.0) + i64::from(self.draw.chance(20)));
        let content = format!("picture {}", self.draw.below(3)).into_bytes();
        let file = EvidenceFile {
            id: EvidenceId(self.worlds[0].id()),
            workspace: job.workspace,
            job: job.id,
            run_lease: lease,
            name: String::from("a.png"),
            media_type: String::from("image/png"),
            bytes: content.len() as u64,
            content: ContentHash::of(&content),
            created_at: self.now,
        };
        all!(self, format!("keep {file:?}"), |store| store.add_evidence(
            job.agent,
            file.clone(),
            content.clone()
        ));
        all!(self, "evidence", |store| store.list_evidence(job.workspace, job.id));
        Ok(())
    }

    async fn reads(&mut self) -> Result<()> {
        let (seller, now) = (self.draw.pick(&self.sellers)?.clone(), self.now);
        let (workspace, agent) = (seller.tenant.workspace, seller.agent.id);
        let account = self.draw.chance(50).then_some(self.draw.pick(&self.accounts)?.id);
        let state = self.draw.chance(50).then_some(job::State::ALL[self.draw.below(9)]);
        let limit = u32::try_from(1 + self.draw.below(5))?;
        let mut page = PageRequest { limit, after: None };
        loop {
            let filter = JobFilter { state, account, dead_letters: false };
            all!(self, format!("jobs {filter:?}"), |store| store.list_jobs(workspace, filter, page.clone()));
            let listed = self.store().list_jobs(workspace, filter, page.clone()).await?;
            let Some(next) = listed.next else { break };
            page.after = Some(next);
        }
        let state = self.draw.chance(50).then_some(posting::State::ALL[self.draw.below(7)]);
        let filter = PostingFilter { state, account };
        all!(self, "postings", |store| store.list_postings(workspace, filter, first(1000)));
        all!(self, "runs", |store| store.list_agent_runs(agent));
        all!(self, "next", |store| store.next_run_after(&[agent], now));
        all!(self, "expired", |store| async {
            let mut jobs = store.list_expired_leases(now, 1000).await?;
            jobs.sort_by_key(|job| job.id);
            Ok::<_, Error>(jobs)
        });
        all!(self, "overdue", |store| async {
            let mut intents = store.list_overdue_intents(now, 1000).await?;
            intents.sort_by_key(|intent| intent.id);
            Ok::<_, Error>(intents)
        });
        all!(self, "counts", |store| async {
            let mut counts = store.count_jobs().await?;
            counts.sort_by_key(|(state, _)| state.name());
            Ok::<_, Error>(counts)
        });
        self.gathered(&seller).await
    }

    async fn gathered(&mut self, seller: &Seller) -> Result<()> {
        let publications = self.publications().await?;
        let Ok(publication) = self.draw.pick(&publications).cloned() else { return Ok(()) };
        let Publication { posting, job, intent } = publication;
        let asked = Asked {
            workspace: seller.tenant.workspace,
            posting: posting.id,
            listing: posting.listing,
            account: posting.account,
        };
        all!(self, "grounds", |store| store.find_grounds(&[asked]));
        let jobs: Vec<Job> = vec![job.clone()];
        all!(self, "supplies", |store| store.find_supplies(&jobs));
        all!(self, "run", |store| store.find_run(job.agent, job.id));
        all!(self, "steps", |store| store.list_steps(job.workspace, job.id));
        all!(self, "receipt", |store| store.find_receipt(posting.workspace, posting.id));
        all!(self, "published", |store| store.find_published_posting(
            posting.workspace,
            posting.listing,
            posting.account
        ));
        if let Some(permit) = intent.permit {
            all!(self, "permit", |store| store.find_intent_by_permit(permit.id));
        }
        Ok(())
    }

    /// Every row, and every event.
    async fn compare_rows(&mut self) -> Result<()> {
        for seller in self.sellers.clone() {
            let workspace = seller.tenant.workspace;
            all!(self, "all jobs", |store| store.list_jobs(workspace, JobFilter::default(), first(1000)));
            all!(self, "agent", |store| store.find_agent(seller.agent.id));
            all!(self, "accounts", |store| store.list_accounts(workspace, first(1000)));
            all!(self, "listings", |store| store.list_listings(workspace, first(1000)));
            all!(self, "events", |store| store.list_events(workspace, 0, None, 10_000));
            let filter = PostingFilter::default();
            all!(self, "all postings", |store| store.list_postings(workspace, filter, first(1000)));
        }
        for publication in self.publications().await? {
            let posting = publication.posting;
            all!(self, "publication", |store| store.find_publication(posting.workspace, posting.id));
        }
        Ok(())
    }
}
