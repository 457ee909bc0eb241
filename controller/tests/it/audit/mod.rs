//! The audit log: every method that changes something writes one entry in the transaction of the change.

mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use anyhow::{Context, Result, ensure};
use prost_reflect::DescriptorPool;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use tradepost_controller::app::{self, Opener};
use tradepost_controller::grpc::methods;
use tradepost_domain::audit::{Chain, RESTORED};
use tradepost_proto::v1;
use tradepost_testkit::{TestDatabase, wait};
use v1::agent_service_client::AgentServiceClient;
use v1::audit_service_client::AuditServiceClient;
use v1::listing_service_client::ListingServiceClient;

use crate::agent::Agent;
use crate::person::{PASSWORD, Person, fresh_address, from, login};
use crate::system::{DEADLINE, System, reason};

/// The lock that whoever seals holds: with it, entries stay where their transactions put them.
const CHAINS: i64 = 0x61_75_64_69_74;

/// Methods that change nothing, by names that do not say so.
const CHANGES_NOTHING: &[&str] = &["EnrolmentService/BeginReturn"];

/// Effects that leave no row behind that their transaction wrote.
const DELETES_ALONE: &[&str] = &["SecondFactorService/RemoveSecondFactor"];

enum Conn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Looks into the log from beside the controller.
struct Ledger {
    conn: Conn,
    told: BTreeSet<&'static str>,
}

impl Ledger {
    async fn open(system: &System) -> Result<Self> {
        let url = system.database.url();
        let conn = if url.starts_with("sqlite") {
            Conn::Sqlite(SqliteConnection::connect(url).await?)
        } else {
            let mut conn = PgConnection::connect(url).await?;
            sqlx::query("SELECT pg_advisory_lock($1)").bind(CHAINS).execute(&mut conn).await?;
            Conn::Postgres(conn)
        };
        Ok(Self { conn, told: BTreeSet::new() })
    }

    async fn execute(&mut self, sql: &str) -> Result<()> {
        let sql = AssertSqlSafe(sql.to_owned());
        match &mut self.conn {
            Conn::Sqlite(conn) => sqlx::raw_sql(sql).execute(conn).await.map(|_| ())?,
            Conn::Postgres(conn) => sqlx::raw_sql(sql).execute(conn).await.map(|_| ())?,
        }
        Ok(())
    }

    /// The methods of all entries, how often each was told.
    async fn methods(&mut self) -> Result<BTreeMap<String, usize>> {
        const ALL: &str = "SELECT method FROM audit_waiting UNION ALL SELECT method FROM audit_links";
        let methods: Vec<String> = match &mut self.conn {
            Conn::Sqlite(conn) => sqlx::query_scalar(ALL).fetch_all(conn).await?,
            Conn::Postgres(conn) => sqlx::query_scalar(ALL).fetch_all(conn).await?,
        };
        let mut counted = BTreeMap::new();
        for method in methods {
            *counted.entry(method).or_default() += 1;
        }
        Ok(counted)
    }

    /// What a call told: the methods of the new entries.
    async fn during<T, E>(&mut self, call: impl Future<Output = Result<T, E>>) -> Result<(T, Vec<String>)>
    where
        anyhow::Error: From<E>,
    {
        let before = self.methods().await?;
        let done = call.await?;
        let mut new = Vec::new();
        for (method, count) in self.methods().await? {
            let more = count - before.get(&method).copied().unwrap_or_default();
            new.extend(std::iter::repeat_n(method, more));
        }
        Ok((done, new))
    }

    /// The call writes exactly one entry, of its own method, in the transaction of its effect.
    async fn tells<T, E>(
        &mut self,
        method: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T>
    where
        anyhow::Error: From<E>,
    {
        let (done, new) = self.during(call).await.with_context(|| method.to_owned())?;
        ensure!(new == [format!("tradepost.v1.{method}")], "{method} told {new:?}");
        self.is_one_with_its_effect(method).await?;
        self.told.insert(method);
        Ok(done)
    }

    /// The call changes nothing, and tells nothing.
    async fn tells_nothing<T, E>(&mut self, call: impl Future<Output = Result<T, E>>) -> Result<T>
    where
        anyhow::Error: From<E>,
    {
        let (done, new) = self.during(call).await?;
        ensure!(new.is_empty(), "told {new:?}");
        Ok(done)
    }

    /// PostgreSQL says which transaction wrote a row: the entry's wrote something else, too.
    async fn is_one_with_its_effect(&mut self, method: &str) -> Result<()> {
        let Conn::Postgres(conn) = &mut self.conn else { return Ok(()) };
        if DELETES_ALONE.contains(&method) {
            return Ok(());
        }
        let writer: String = sqlx::query_scalar(
            "SELECT CAST(xmin AS text) FROM audit_waiting WHERE method = $1 ORDER BY id DESC LIMIT 1",
        )
        .bind(format!("tradepost.v1.{method}"))
        .fetch_one(&mut *conn)
        .await?;
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT CAST(table_name AS text) FROM information_schema.tables
             WHERE table_schema = 'public' AND table_name NOT LIKE 'audit%'",
        )
        .fetch_all(&mut *conn)
        .await?;
        for table in tables {
            let sql = format!("SELECT count(*) FROM {table} WHERE CAST(xmin AS text) = '{writer}'");
            let rows: i64 = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *conn).await?.get(0);
            if rows > 0 {
                return Ok(());
            }
        }
        anyhow::bail!("{method}: the entry's transaction wrote nothing else")
    }
}

/// Every method of the API that has to be told, without the package.
fn audited() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(tradepost_proto::DESCRIPTORS).expect("descriptors");
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods
        .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
        .filter(|path| methods::rule(path).is_some_and(|(_, rule)| rule.audited))
        .map(|path| path.trim_start_matches("/tradepost.v1.").to_owned())
        .collect()
}

/// A call of a user with a client of that service.
macro_rules! ask {
    ($user:expr, $client:ident.$method:ident($message:expr)) => {{
        let (mut client, request) = ($client::new($user.channel.clone()), $user.request($message));
        async move { client.$method(request).await }
    }};
}
use ask;

#[tokio::test]
async fn every_method_that_changes_something_is_told_once_with_its_effect_on_postgresql() -> Result<()> {
    every_method_is_told(TestDatabase::empty_postgres().await?).await
}

#[tokio::test]
async fn every_method_that_changes_something_is_told_once_on_sqlite() -> Result<()> {
    every_method_is_told(TestDatabase::sqlite()?).await
}

async fn every_method_is_told(database: TestDatabase) -> Result<()> {
    let system = System::start_on(database).await?;
    let mut ledger = Ledger::open(&system).await?;
    let operator = system.user().await?;
    story::people(&system, &mut ledger, &operator).await?;
    story::workspaces(&system, &mut ledger).await?;
    let (agent, account) = story::agents(&system, &mut ledger, &operator).await?;
    let listings = story::catalogue(&mut ledger, &operator).await?;
    story::postings(&system, &mut ledger, &operator, (&agent, &account), &listings).await?;
    ledger
        .tells(
            "AgentService/RevokeAgent",
            ask!(operator, AgentServiceClient.revoke_agent(v1::RevokeAgentRequest { id: agent.id.clone() })),
        )
        .await?;
    ledger
        .tells_nothing(ask!(
            operator,
            AgentServiceClient.revoke_agent(v1::RevokeAgentRequest { id: agent.id.clone() })
        ))
        .await?;
    let mut missing = audited();
    missing.retain(|method| {
        !ledger.told.contains(method.as_str()) && !CHANGES_NOTHING.contains(&method.as_str())
    });
    assert!(
        missing.is_empty(),
        "methods that change something and are not called here, so that nobody knows whether they are told: {missing:?}"
    );
    assert!(ledger.told.len() > 50, "{:?}", ledger.told);
    Ok(())
}

/// Entries of one chain, as the controller's own code reads them beside the running one.
async fn log_of(system: &System) -> Result<tradepost_controller::service::AuditLog> {
    Ok(app::open_audit_log(&system.config(), &system.surroundings(), Opener::Command).await?)
}

/// Waits until nothing waits for its place any more.
async fn settled(log: &tradepost_controller::service::AuditLog) -> Result<()> {
    wait::until("all entries to have their places", DEADLINE, || async {
        let waiting = log.waiting(None).await.map_err(|error| error.to_string())?;
        if waiting.count == 0 { Ok(()) } else { Err(format!("{waiting:?}")) }
    })
    .await
}

#[tokio::test]
async fn a_refusal_is_told_but_not_without_end() -> Result<()> {
    let system = System::start().await?;
    let owner = system.person("owner").await?;
    let invitation = owner.invite("viewer@example.com", v1::Role::Viewer).await?;
    let email = String::from("viewer@example.com");
    let message = v1::AcceptInvitationRequest { invitation, email: email.clone(), password: PASSWORD.into() };
    owner.auth().accept_invitation(from(&fresh_address(), message)).await?;
    let viewer = system.sign_in(&email, &fresh_address()).await?;
    for _ in 0..40 {
        let message = v1::DeleteListingRequest { id: uuid::Uuid::from_u128(1).to_string() };
        let refused = ask!(viewer, ListingServiceClient.delete_listing(message)).await.expect_err("a viewer");
        assert_eq!(reason(&refused), "ROLE_INSUFFICIENT");
        assert!(refused.metadata().get("tradepost-call").is_some(), "{refused:?}");
    }
    let wrong = login(&viewer.channel, &fresh_address(), &email, "not the password", "").await;
    assert_eq!(reason(&wrong.expect_err("wrong")), "SIGN_IN_FAILED");
    let log = log_of(&system).await?;
    settled(&log).await?;
    let workspace = owner.who().await?.workspace_id.parse()?;
    let links = log.links(Chain(Some(workspace)), 0).await?;
    let refused: Vec<_> = links.iter().filter(|link| link.entry.outcome == "refused").collect();
    assert_eq!(refused.len(), 30, "an hour's worth");
    let first = &refused[0].entry;
    assert_eq!((first.reason.as_str(), first.actor.as_str()), ("ROLE_INSUFFICIENT", "user"));
    assert_eq!(first.peer, viewer.address);
    let links = log.links(Chain::SYSTEM, 0).await?;
    let failed: Vec<_> = links.iter().filter(|link| link.entry.reason == "SIGN_IN_FAILED").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].entry.actor.as_str(), failed[0].entry.target.as_str()), ("anyone", ""));
    log.close().await;
    Ok(())
}

#[tokio::test]
async fn a_call_is_known_by_its_clients_id_and_owners_see_their_own_log_alone() -> Result<()> {
    let system = System::start().await?;
    let (ours, theirs) = (system.person("ours").await?, system.person("theirs").await?);
    let call = uuid::Uuid::from_u128(0x1234_5678);
    let message = v1::CreateInvitationRequest {
        role: v1::Role::Viewer.into(),
        request_id: crate::person::fresh_request(),
        ..Default::default()
    };
    let mut request = ours.request(message);
    request.metadata_mut().insert("tradepost-call", call.to_string().parse()?);
    let answer = ours.workspaces().create_invitation(request).await?;
    assert_eq!(answer.metadata().get("tradepost-call").context("it")?.to_str()?, call.to_string());
    let log = log_of(&system).await?;
    settled(&log).await?;
    let list = |who: &Person, method: &str| {
        let filter = Some(v1::AuditFilter { method: method.into(), ..Default::default() });
        ask!(
            who,
            AuditServiceClient
                .list_audit_entries(v1::ListAuditEntriesRequest { filter, ..Default::default() })
        )
    };
    let entries = list(&ours, "CreateInvitation").await?.into_inner().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].call_id.clone(), entries[0].seq > 0), (call.to_string(), true));
    assert_eq!(entries[0].details["role"], "viewer");
    assert!(list(&theirs, "CreateInvitation").await?.into_inner().entries.is_empty());
    let mut stream = ask!(ours, AuditServiceClient.stream_audit_entries(v1::StreamAuditEntriesRequest {}))
        .await?
        .into_inner();
    let workspace = ours.who().await?.workspace_id;
    let mut ended = None;
    while let Some(part) = stream.message().await? {
        assert!(part.entries.iter().all(|entry| entry.workspace_id == workspace));
        ended = part.end.or(ended);
    }
    assert!(ended.context("an end")?.checkpoint.contains(&workspace));
    let refused = ask!(
        ours,
        AuditServiceClient.list_system_audit_entries(v1::ListSystemAuditEntriesRequest::default())
    )
    .await;
    assert_eq!(reason(&refused.expect_err("no operator")), "ROLE_INSUFFICIENT");
    log.close().await;
    Ok(())
}

/// A controller that ends between effect and sealing loses nothing: the entry waits, and the next one seals it.
#[tokio::test]
async fn chains_go_on_over_restarts_and_two_controllers_seal_one_log() -> Result<()> {
    let mut system = System::start_on(TestDatabase::empty_postgres().await?).await?;
    let owner = system.person("owner").await?;
    let (_, end) = system.sibling().await?;
    for n in 0..20 {
        owner.invite(&format!("guest-{n}@example.com"), v1::Role::Viewer).await?;
    }
    drop(end);
    system.stop().await?;
    system.resume().await?;
    let log = log_of(&system).await?;
    settled(&log).await?;
    let workspace = Chain(Some(owner_workspace(&system, &owner).await?));
    for chain in [workspace, Chain::SYSTEM] {
        let verdict = log.verify(chain, Vec::new()).await?;
        assert!(verdict.is_whole(), "{verdict:?}");
        assert!(verdict.read >= if chain == workspace { 20 } else { 2 }, "{verdict:?}");
    }
    log.close().await;
    Ok(())
}

async fn owner_workspace(system: &System, owner: &Person) -> Result<tradepost_domain::id::WorkspaceId> {
    let channel = system.channel(&system.api, None).await?;
    let moved = Person { channel, address: owner.address.clone(), tokens: owner.tokens.clone() };
    Ok(moved.who().await?.workspace_id.parse()?)
}

#[tokio::test]
async fn a_restored_backup_is_told_in_every_chain_and_explains_what_checkpoints_know_besides() -> Result<()> {
    let mut system = System::start().await?;
    let owner = system.person("owner").await?;
    let backup = system.back_up().await?;
    let moved = system.sign_in("owner@example.com", &fresh_address()).await?;
    for n in 0..5 {
        moved.invite(&format!("guest-{n}@example.com"), v1::Role::Viewer).await?;
    }
    // What the memory beside the identity knows a database by are events.
    Agent::enrol(&system, &system.user().await?).await?;
    // Ending takes a checkpoint; the memory beside the identity recognises the older copy.
    system.put_back(backup, crate::system::Memory::Kept).await?;
    let report =
        tradepost_controller::verify::verify(&system.config(), &system.surroundings(), &[], None).await?;
    assert!(report.checkpoints > 0);
    let workspace = Chain(Some(owner_workspace(&system, &owner).await?));
    for chain in [workspace, Chain::SYSTEM] {
        let log = log_of(&system).await?;
        settled(&log).await?;
        let links = log.links(chain, 0).await?;
        assert!(links.iter().any(|link| link.entry.method == RESTORED), "{chain}: {links:?}");
        log.close().await;
    }
    let report =
        tradepost_controller::verify::verify(&system.config(), &system.surroundings(), &[], None).await?;
    let verdict = report.verdicts.iter().find(|verdict| verdict.chain == workspace).context("its verdict")?;
    assert!(verdict.is_whole(), "{verdict:?}");
    assert_eq!(verdict.restores.len(), 1);
    assert!(verdict.restores[0].had.is_some_and(|had| had > verdict.restores[0].kept), "{verdict:?}");
    Ok(())
}
