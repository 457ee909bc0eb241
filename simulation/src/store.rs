//! A controller's way to the database: every call waits before and after it takes effect, may fail with its effect unknown, and
//! is where a controller may die.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tradepost_domain::account::{Account, WhenAbsent};
use tradepost_domain::agent::Agent;
use tradepost_domain::event::Event;
use tradepost_domain::fleet::{Fleet, FleetEpoch};
use tradepost_domain::id::{
    AccountId, AgentId, ContentHash, EvidenceId, IntentId, JobId, ListingId, PermitId, PhotoId, PostingId,
    RunLease, SessionEpoch, Version, WorkspaceId,
};
use tradepost_domain::job::{self, Job};
use tradepost_domain::listing::{Content, Listing};
use tradepost_domain::pacing::Pacing;
use tradepost_domain::photo::Photo;
use tradepost_domain::posting::{Posting, Publication, Receipt};
use tradepost_domain::publish::{self, Intent};
use tradepost_domain::reconcile::LookRecord;
use tradepost_domain::standing::LockReason;
use tradepost_domain::time::Timestamp;
use tradepost_store::model::Model;
use tradepost_store::{
    Accounts, AgentIdentities, Agents, Attachment, Auth, Change, Claim, EpochGuard, Error, Events, Evidence,
    EvidenceFile, Fleets, Gather, Hint, JobFilter, Joining, Listings, Looks, NewAgent, NewEnrolmentToken,
    NewFleetEpoch, NewToken, NewUser, Owed, PageRequest, Photos, PostingFilter, Principal, Redeemed,
    Retention, Slice, Step, Store, StoredStep, WakeHints, Work,
};

use crate::plan::Bug;
use crate::world::{World, lock};

/// The database as one controller sees it.
#[derive(Debug)]
pub struct SlowStore {
    /// Everything.
    pub world: Arc<World>,
    /// Whose way it is.
    pub controller: usize,
}

/// Whether a call changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

type Answer<T> = Result<T, Error>;

fn unavailable() -> Error {
    Error::Unavailable("the connection to the database was lost".into())
}

impl SlowStore {
    fn model(&self) -> &Model {
        &self.world.store
    }

    /// One call: on its way, its effect, its answer on the way back.
    async fn call<T: Send>(
        &self,
        name: &'static str,
        kind: Kind,
        effect: impl Future<Output = Answer<T>> + Send,
    ) -> Answer<T> {
        let world = &self.world;
        self.way().await;
        self.perhaps_die(name).await;
        if self.is_cut() || world.fault("a store call fails before its effect", world.plan.store_fails) {
            return Err(unavailable());
        }
        let done = effect.await;
        self.way().await;
        if kind == Kind::Write {
            if done.is_ok() {
                lock(&world.ledger).see(world, name);
            }
            self.perhaps_die(name).await;
            let lost = self.is_cut() || world.fault("the answer of a write is lost", world.plan.store_fails);
            if lost && done.is_ok() {
                return Err(unavailable());
            }
        }
        done
    }

    async fn way(&self) {
        let exec = &self.world.exec;
        let slow = self.world.fault("a store call takes seconds", self.world.plan.store_slow);
        let most = if slow { Duration::from_secs(8) } else { Duration::from_millis(2) };
        exec.sleep(exec.between(Duration::from_micros(50), most)).await;
    }

    fn is_cut(&self) -> bool {
        self.world.controllers[self.controller].is_cut_off()
    }

    async fn perhaps_die(&self, name: &'static str) {
        let world = &self.world;
        if world.fault("a controller dies at a store call", world.plan.dies_at_store) {
            world.say(|| format!("controller {}: dies at {name}", self.controller));
            world.controllers[self.controller].crash(world);
            std::future::pending::<()>().await;
        }
    }
}

/// Methods that go through as they are.
macro_rules! through {
    ($noun:ident { $($kind:ident $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)* $({ $($own:tt)* })? }) => {
        #[async_trait]
        impl $noun for SlowStore {
            $(async fn $name(&self, $($arg: $ty),*) -> Answer<$out> {
                self.call(stringify!($name), Kind::$kind, self.model().$name($($arg),*)).await
            })*
            $($($own)*)?
        }
    };
}

/// Gathered reads are many calls here: more places at which others may come in between.
impl Gather for SlowStore {}

through! { Auth {
    Write add_user_token(user: NewUser, token: NewToken, now: Timestamp) -> (Principal, bool);
} }

through! { Accounts {
    Write add_account(account: Account) -> Account;
    Read find_account(workspace: WorkspaceId, id: AccountId) -> Option<Account>;
    Read list_accounts(workspace: WorkspaceId, page: PageRequest) -> Slice<Account>;
    Write set_when_absent(workspace: WorkspaceId, id: AccountId, when_absent: WhenAbsent, version: Version, now: Timestamp) -> Account;
    Write bind_account(workspace: WorkspaceId, id: AccountId, agent: AgentId, version: Version, now: Timestamp) -> Account;
} }

through! { Listings {
    Write add_listing(listing: Listing) -> Listing;
    Read find_listing(workspace: WorkspaceId, id: ListingId) -> Option<Listing>;
    Read list_listings(workspace: WorkspaceId, page: PageRequest) -> Slice<Listing>;
    Write update_listing(workspace: WorkspaceId, id: ListingId, content: Content, version: Version, now: Timestamp) -> Listing;
    Write delete_listing(workspace: WorkspaceId, id: ListingId, now: Timestamp) -> ();
} }

through! { Photos {
    Write add_photo(photo: Photo, content: Vec<u8>) -> Photo;
    Read find_photo(workspace: WorkspaceId, id: PhotoId) -> Option<Photo>;
    Read find_photos(workspace: WorkspaceId, ids: &[PhotoId]) -> Vec<Photo>;
    Read photo_content(workspace: WorkspaceId, id: PhotoId) -> Option<Vec<u8>>;
    Read job_photo_content(workspace: WorkspaceId, job: JobId, hash: ContentHash) -> Option<Vec<u8>>;
} }

through! { Agents {
    Write add_enrolment_token(token: NewEnrolmentToken, now: Timestamp) -> ();
    Write redeem_enrolment_token(hash: [u8; 32], agent: NewAgent, now: Timestamp) -> Redeemed;
    Read find_agent(id: AgentId) -> Option<Agent>;
    Read list_agents(workspace: WorkspaceId, page: PageRequest) -> Slice<Agent>;
    Write attach_agent(attachment: Attachment, now: Timestamp) -> Agent;
    Write touch_agents(heard: &[(AgentId, SessionEpoch)], now: Timestamp) -> Vec<AgentId>;
    Write detach_agent(id: AgentId, epoch: SessionEpoch, now: Timestamp) -> ();
    Write revoke_agent(workspace: WorkspaceId, id: AgentId, now: Timestamp) -> Option<Agent>;
} }

through! { Fleets {
    Read fleet() -> Fleet;
    Read newest_numbers() -> (FleetEpoch, RunLease);
    Write begin_fleet_epoch(new: NewFleetEpoch, now: Timestamp) -> Fleet;
    Read find_owed(agent: AgentId) -> Option<Owed>;
    Read permit_states(permits: &[PermitId]) -> HashMap<PermitId, publish::State>;
    Write record_recount(agent: AgentId, epoch: FleetEpoch) -> ();
    Read list_unarmed_intents(agent: AgentId, account: Option<AccountId>, before: Timestamp, after: Option<IntentId>, limit: u32) -> Vec<(IntentId, WorkspaceId, PostingId)>;
    Read list_armed_before(epoch: FleetEpoch, agent: Option<AgentId>, report_by: Timestamp, limit: u32) -> Vec<Intent>;
} }

through! { AgentIdentities {
    Write accept_join(joining: Joining) -> ();
    Write suspect_join(joining: Joining) -> ();
    Write lock_agent(id: AgentId, why: LockReason, now: Timestamp) -> Option<Agent>;
    Write approve_agent(workspace: WorkspaceId, id: AgentId, now: Timestamp) -> Option<Agent>;
    Write answer_challenge(id: AgentId, made_at: Timestamp, now: Timestamp) -> ();
} }

through! { Looks {
    Read list_looks(workspace: WorkspaceId, posting: PostingId) -> Vec<LookRecord>;
} }

through! { Evidence {
    Write add_evidence(agent: AgentId, file: EvidenceFile, content: Vec<u8>) -> EvidenceFile;
    Read list_evidence(workspace: WorkspaceId, job: JobId) -> Vec<EvidenceFile>;
    Read evidence_content(workspace: WorkspaceId, id: EvidenceId) -> Option<(EvidenceFile, Vec<u8>)>;
} }

through! { Events {
    Read list_events(workspace: WorkspaceId, after: i64, posting: Option<PostingId>, limit: u32) -> Vec<Event>;
    Read first_event(workspace: WorkspaceId) -> i64;
    Read last_event(workspace: WorkspaceId) -> i64;
} }

through! { Retention {
    Read next_workspace(after: Option<WorkspaceId>) -> Option<WorkspaceId>;
    Write forget_events(workspace: WorkspaceId, before: Timestamp, limit: u32) -> u64;
    Write forget_steps(before: Timestamp, limit: u32) -> u64;
    Write forget_evidence(before: Timestamp, limit: u32) -> u64;
    Write forget_jobs(before: Timestamp, limit: u32) -> u64;
} }

through! { Work {
        Write claim_jobs(claim: Claim, now: Timestamp) -> Vec<Job>;
        Write extend_leases(agent: AgentId, runs: &[(JobId, RunLease)], now: Timestamp) -> Vec<(JobId, RunLease)>;
        Write append_steps(agent: AgentId, job: JobId, run_lease: RunLease, steps: Vec<Step>, now: Timestamp) -> ();
        Read list_steps(workspace: WorkspaceId, job: JobId) -> Vec<StoredStep>;
        Read find_job(workspace: WorkspaceId, id: JobId) -> Option<Job>;
        Read find_agent_job(agent: AgentId, id: JobId) -> Option<Job>;
        Read list_jobs(workspace: WorkspaceId, filter: JobFilter, page: PageRequest) -> Slice<Job>;
        Read list_agent_runs(agent: AgentId) -> Vec<Job>;
        Read list_expired_leases(now: Timestamp, limit: u32) -> Vec<Job>;
        Read list_overdue_intents(now: Timestamp, limit: u32) -> Vec<Intent>;
        Read find_pacing(workspace: WorkspaceId, account: AccountId, now: Timestamp) -> Option<Pacing>;
        Read list_ended_windows(now: Timestamp, limit: u32) -> Vec<(WorkspaceId, AccountId)>;
        Read list_run_starts(account: AccountId, kind: job::Kind, since: Timestamp) -> Vec<Timestamp>;
        Read count_ahead(job: &Job, now: Timestamp) -> u32;
        Read find_account_run(account: AccountId) -> Option<Job>;
        Read find_open_login(account: AccountId) -> Option<Job>;
        Read find_open_look(intent: IntentId) -> Option<Job>;
        Read next_run_after(agents: &[AgentId], now: Timestamp) -> Option<Timestamp>;
        Read find_publication(workspace: WorkspaceId, id: PostingId) -> Option<Publication>;
        Read find_posting(workspace: WorkspaceId, id: PostingId) -> Option<Posting>;
        Read find_published_posting(workspace: WorkspaceId, listing: ListingId, account: AccountId) -> Option<Posting>;
        Read list_postings(workspace: WorkspaceId, filter: PostingFilter, page: PageRequest) -> Slice<Posting>;
        Read find_intent(id: IntentId) -> Option<Intent>;
        Read find_intent_by_permit(permit: PermitId) -> Option<Intent>;
        Read find_receipt(workspace: WorkspaceId, posting: PostingId) -> Option<Receipt>;
        Read count_jobs() -> Vec<(job::State, u64)>;
    {
        async fn commit(&self, change: Change, now: Timestamp) -> Answer<()> {
            let guard = change.guard;
            let change = self.spoiled(change);
            let effect = async {
                let older = self.is_older_stream(guard);
                let done = self.model().commit(change, now).await;
                if older && done.is_ok() {
                    self.world.violation(|| format!("I1: a write of an older stream took effect: {guard:?}"));
                }
                done
            };
            self.call("commit", Kind::Write, effect).await
        }
    }
} }

impl SlowStore {
    /// Whether a write on behalf of this stream must change nothing.
    fn is_older_stream(&self, guard: Option<EpochGuard>) -> bool {
        let Some(EpochGuard { agent, epoch }) = guard else { return false };
        self.model().look(|rows| rows.agents().any(|row| row.id == agent && row.epoch != epoch))
    }

    /// The change as a store with a bug would take it.
    fn spoiled(&self, mut change: Change) -> Change {
        if self.world.has(Bug::IgnoreEpochGuard) {
            change.guard = None;
        }
        if self.world.has(Bug::IgnoreVersions) {
            let rows = self.model().rows();
            for job in &mut change.jobs {
                let stored = rows.jobs.iter().find(|stored| stored.id == job.id);
                job.version = stored.map_or(job.version, |stored| stored.version);
            }
            for intent in &mut change.intents {
                let stored = rows.intents.iter().find(|stored| stored.id == intent.id);
                intent.version = stored.map_or(intent.version, |stored| stored.version);
            }
            for posting in &mut change.postings {
                let stored = rows.postings.iter().find(|stored| stored.id == posting.id);
                posting.version = stored.map_or(posting.version, |stored| stored.version);
            }
        }
        change
    }
}

impl WakeHints for SlowStore {
    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.model().hints()
    }
}

through! { Store {
    Write migrate() -> ();
    Read server_time() -> Timestamp;
    Read ping() -> ();
    {
        async fn close(&self) {}
    }
} }
