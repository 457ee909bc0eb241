//! What cases have in common: tenants with agents, accounts, listings and publications.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tradepost_domain::account::{Account, Site, WhenAbsent};
use tradepost_domain::agent::Agent;
use tradepost_domain::event::{Kind, NewEvent, Subject};
use tradepost_domain::id::{
    AccountId, AgentId, BootId, ControllerId, EnrolmentTokenId, IntentId, JobId, ListingId, PostingId,
    RunLease, SessionEpoch, TokenId, UserId, Version, WorkspaceId,
};
use tradepost_domain::job::{self, Job};
use tradepost_domain::listing::{Condition, Content, Listing};
use tradepost_domain::money::Money;
use tradepost_domain::posting::{self, Posting, Publication};
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::time::Timestamp;
use uuid::Uuid;

use crate::{
    Attachment, Change, Claim, EpochGuard, NewAgent, NewEnrolmentToken, NewToken, NewUser, PageRequest,
    Redeemed, Role, Store,
};

/// When cases begin.
pub const START: Timestamp = Timestamp::from_micros(1_760_000_000_123_456);

/// A store, and ids for what is put into it.
#[derive(Clone)]
pub struct World {
    /// The store under test.
    pub store: Arc<dyn Store>,
    next: Arc<AtomicU64>,
}

/// One workspace with its user.
#[derive(Debug, Clone, Copy)]
pub struct Tenant {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its user.
    pub user: UserId,
}

/// A tenant with an attached agent and an account bound to it.
#[derive(Debug, Clone)]
pub struct Seller {
    /// The tenant.
    pub tenant: Tenant,
    /// The agent, attached once.
    pub agent: Agent,
    /// The account.
    pub account: Account,
}

/// `seconds` after [`START`].
#[must_use]
pub fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

/// The first page of `limit` rows.
#[must_use]
pub fn first(limit: u32) -> PageRequest {
    PageRequest { limit, after: None }
}

impl World {
    /// An empty one.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, next: Arc::new(AtomicU64::new(1)) }
    }

    /// A number that no one else gets.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// An id that nothing else has.
    #[must_use]
    pub fn id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.number()) << 16)
    }

    /// 32 bytes that nothing else has.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&self.number().to_be_bytes());
        hash
    }

    /// A new workspace with a user.
    pub async fn tenant(&self) -> Result<Tenant> {
        let number = self.number();
        let user = NewUser {
            id: UserId(self.id()),
            email: format!("seller{number}@example.com"),
            role: Role::Owner,
            workspace: WorkspaceId(self.id()),
            workspace_name: format!("shop {number}"),
        };
        let token = NewToken {
            id: TokenId(self.id()),
            name: String::from("test"),
            hash: self.hash(),
            expires_at: None,
        };
        let (principal, _) = self.store.add_user_token(user, token, START).await?;
        Ok(Tenant { workspace: principal.workspace, user: principal.user })
    }

    /// An invitation that ends ten minutes after [`START`]; returns the hash of its secret.
    pub async fn invitation(&self, tenant: Tenant) -> Result<[u8; 32]> {
        let hash = self.hash();
        let token = NewEnrolmentToken {
            id: EnrolmentTokenId(self.id()),
            workspace: tenant.workspace,
            created_by: tenant.user,
            hash,
            expires_at: at(600),
        };
        self.store.add_enrolment_token(token, START).await?;
        Ok(hash)
    }

    /// What an agent with this key tells of itself.
    #[must_use]
    pub fn new_agent(&self, key: &str) -> NewAgent {
        NewAgent {
            id: AgentId(self.id()),
            name: format!("pc {key}"),
            key_hash: key.to_owned(),
            platform: String::from("linux x86_64"),
            program_version: String::from("0.1.0"),
        }
    }

    /// An enrolled agent with one stream.
    pub async fn agent(&self, tenant: Tenant) -> Result<Agent> {
        let hash = self.invitation(tenant).await?;
        let new = self.new_agent(&format!("key-{}", self.number()));
        match self.store.redeem_enrolment_token(hash, new, START).await? {
            Redeemed::Agent(agent) => self.attach(agent.id).await,
            other => bail!("enrolment gave {other:?}"),
        }
    }

    /// Begins a stream.
    pub async fn attach(&self, agent: AgentId) -> Result<Agent> {
        let attachment = Attachment {
            agent,
            boot: BootId(self.id()),
            controller: ControllerId(self.id()),
            platform: String::from("linux x86_64"),
            program_version: String::from("0.1.1"),
            known_epoch: SessionEpoch(0),
        };
        Ok(self.store.attach_agent(attachment, START).await?)
    }

    /// An account that is not stored.
    pub fn new_account(&self, tenant: Tenant, agent: Option<AgentId>) -> Result<Account> {
        Ok(Account {
            id: AccountId(self.id()),
            workspace: tenant.workspace,
            name: format!("account {:04}", self.number()),
            site: Site::parse("sandbox").map_err(anyhow::Error::msg)?,
            site_url: "https://market.example.com/".parse()?,
            sign_in_name: Some(String::from("Ada")),
            currency: "EUR".parse()?,
            agent,
            when_absent: WhenAbsent::Ask,
            created_at: START,
            version: Version(1),
        })
    }

    /// A stored account.
    pub async fn account(&self, tenant: Tenant, agent: AgentId) -> Result<Account> {
        Ok(self.store.add_account(self.new_account(tenant, Some(agent))?).await?)
    }

    /// A listing that is not stored.
    pub fn new_listing(&self, tenant: Tenant, created_at: Timestamp) -> Result<Listing> {
        Ok(Listing {
            id: ListingId(self.id()),
            workspace: tenant.workspace,
            content: Content {
                title: String::from("Chair, Größe M 🪑"),
                description: String::from("Two lines\nof text"),
                price: Money::from_minor(2550, "EUR".parse()?)?,
                category: String::from("Home > Furniture"),
                condition: Condition::LikeNew,
                location: String::from("Berlin"),
                sku: String::from("C-1"),
                attributes: BTreeMap::from([(String::from("brand"), String::from("Thonet"))]),
                photos: Vec::new(),
            },
            created_at,
            updated_at: created_at,
            version: Version(1),
        })
    }

    /// A stored listing.
    pub async fn listing(&self, tenant: Tenant) -> Result<Listing> {
        Ok(self.store.add_listing(self.new_listing(tenant, START)?).await?)
    }

    /// A seller with everything needed to post.
    pub async fn seller(&self) -> Result<Seller> {
        let tenant = self.tenant().await?;
        let agent = self.agent(tenant).await?;
        let account = self.account(tenant, agent.id).await?;
        Ok(Seller { tenant, agent, account })
    }

    /// A publication of `listing` that is not stored.
    #[must_use]
    pub fn new_publication(&self, account: &Account, agent: AgentId, listing: ListingId) -> Publication {
        let (posting, intent) = (PostingId(self.id()), IntentId(self.id()));
        let job = Job { posting: Some(posting), intent: Some(intent), ..self.new_job(account, agent) };
        Publication {
            posting: Posting {
                id: posting,
                workspace: account.workspace,
                listing,
                account: account.id,
                generation: 1,
                state: posting::State::Queued,
                job: job.id,
                intent,
                item: None,
                failure: None,
                created_at: START,
                updated_at: START,
                version: Version(1),
            },
            intent: Intent {
                id: intent,
                workspace: account.workspace,
                posting,
                account: account.id,
                generation: 1,
                state: publish::State::Preparing,
                baseline: Vec::new(),
                fingerprint: String::new(),
                permit: None,
                item: None,
                reason: None,
                looks: publish::Looks::default(),
                created_at: START,
                updated_at: START,
                version: Version(1),
            },
            job,
        }
    }

    /// A queued publish job without a posting that is not stored.
    #[must_use]
    pub fn new_job(&self, account: &Account, agent: AgentId) -> Job {
        Job {
            id: JobId(self.id()),
            workspace: account.workspace,
            kind: job::Kind::Publish,
            agent,
            account: account.id,
            posting: None,
            intent: None,
            state: job::State::Queued,
            priority: 0,
            attempt: 0,
            run_lease: None,
            lease_until: None,
            run_started_at: None,
            run_after: START,
            cancel_requested: false,
            failure: None,
            discarded_at: None,
            trace_context: Some(String::from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
            created_at: START,
            updated_at: START,
            version: Version(1),
        }
    }

    /// A stored publication of a fresh listing.
    pub async fn publication(&self, seller: &Seller) -> Result<Publication> {
        let listing = self.listing(seller.tenant).await?;
        let publication = self.new_publication(&seller.account, seller.agent.id, listing.id);
        self.store.commit(creation(&publication), START).await?;
        Ok(publication)
    }

    /// The publication as it is stored.
    pub async fn reload(&self, publication: &Publication) -> Result<Publication> {
        self.store
            .find_publication(publication.posting.workspace, publication.posting.id)
            .await?
            .context("the publication is gone")
    }

    /// Applies an event by the domain's rules and stores what follows.
    pub async fn step(
        &self,
        publication: &Publication,
        event: posting::Event,
        now: Timestamp,
    ) -> Result<Publication> {
        let (next, _) = posting::step(publication, event, IntentId(self.id()), now)?;
        self.store.commit(update(&next), now).await?;
        self.reload(publication).await
    }

    /// Claims for one agent on its present stream.
    pub async fn claim(&self, agent: &Agent, slots: u32, now: Timestamp) -> Result<Vec<Job>> {
        let claim = Claim { agents: vec![(agent.id, agent.epoch, slots)], limit: 100 };
        Ok(self.store.claim_jobs(claim, now).await?)
    }

    /// A stored publication whose job is claimed and acknowledged.
    pub async fn running(&self, seller: &Seller, now: Timestamp) -> Result<(Publication, RunLease)> {
        let publication = self.publication(seller).await?;
        self.claim(&seller.agent, 100, now).await?;
        let claimed = self.reload(&publication).await?;
        let lease = claimed.job.run_lease.context("the job was not claimed")?;
        let acknowledged = posting::Event::Job(job::Event::Acknowledge(lease));
        Ok((self.step(&claimed, acknowledged, now).await?, lease))
    }
}

impl Seller {
    /// The guard of its agent's stream.
    #[must_use]
    pub fn guard(&self) -> EpochGuard {
        EpochGuard { agent: self.agent.id, epoch: self.agent.epoch }
    }
}

/// Stores a new publication, with an event.
#[must_use]
pub fn creation(publication: &Publication) -> Change {
    Change {
        new_jobs: vec![publication.job.clone()],
        new_intents: vec![publication.intent.clone()],
        new_postings: vec![publication.posting.clone()],
        events: vec![event(&publication.posting, Kind::PostingCreated)],
        ..Change::default()
    }
}

/// Writes a changed publication, with an event.
#[must_use]
pub fn update(publication: &Publication) -> Change {
    Change {
        jobs: vec![publication.job.clone()],
        intents: vec![publication.intent.clone()],
        postings: vec![publication.posting.clone()],
        events: vec![event(&publication.posting, Kind::PostingChanged)],
        ..Change::default()
    }
}

/// An event about a posting.
#[must_use]
pub fn event(posting: &Posting, kind: Kind) -> NewEvent {
    NewEvent {
        workspace: posting.workspace,
        kind,
        subject: Subject {
            posting: Some(posting.id),
            job: Some(posting.job),
            account: Some(posting.account),
            listing: Some(posting.listing),
            agent: None,
        },
        data: serde_json::json!({ "state": posting.state.name(), "nested": { "list": [1, 2.5, null] } }),
    }
}
