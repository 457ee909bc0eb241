//! Renewal, return, copies, revocation.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, KeyPair, SanType};
use sqlx::{Connection, Executor};
use tradepost_agent::identity::{Identity, IdentityStore};
use tradepost_domain::standing::RETURN_URI;
use tradepost_domain::time::Timestamp;
use tradepost_proto::v1;
use tradepost_runtime::clock::Clock;
use tradepost_runtime::tls;
use tradepost_testkit::{ManualClock, TestDatabase, wait};
use v1::agent_identity_service_client::AgentIdentityServiceClient;
use v1::enrolment_service_client::EnrolmentServiceClient;

use super::{DAY, Pc, approve, copy, ends, enrolled, presence, revoke, system_clock, told};
use crate::agent::Agent;
use crate::system::{DEADLINE, System, reason};

/// A PC sleeps for `days`; within the limit it is back without a person, beyond it a person approves.
async fn sleeps(database: TestDatabase, days: u32, needs_person: bool) -> Result<()> {
    let system = System::start_on(database).await?;
    let user = system.user().await?;
    let folder = tempfile::tempdir()?;
    enrolled(&user, folder.path()).await?;
    let before = Pc::start(folder.path(), system_clock(&system))?;
    drop(before.attaches().await?);
    let first = before.keeper.identity().certificate_chain;
    drop(before);

    system.clock.advance(DAY * days);
    let user = wait::until("the controller's fresh certificate", DEADLINE, || async {
        system.user().await.map_err(|error| error.to_string())
    })
    .await?;
    let after = Pc::start(folder.path(), system_clock(&system))?;
    if needs_person {
        assert_eq!(after.is_refused().await?, "AGENT_NEEDS_APPROVAL");
        let waits = (v1::Presence::NeedsApproval, String::from("away"));
        assert_eq!(presence(&user, &after.id()).await?, waits);
        assert_eq!(told(&user, "agent.locked").await?, 1);
        approve(&user, &after.id()).await?;
    }
    let _stream = after.attaches().await?;
    assert_eq!(presence(&user, &after.id()).await?.0, v1::Presence::Online);
    assert_ne!(after.keeper.identity().certificate_chain, first);
    assert_eq!(told(&user, "agent.returned").await?, 1);
    // The new certificate is the stored one: another start needs no return.
    let stored = IdentityStore::new(folder.path()).load()?.0;
    assert_eq!(stored, after.keeper.identity());
    Ok(())
}

#[tokio::test]
async fn an_agent_is_back_by_itself_after_two_days() -> Result<()> {
    sleeps(TestDatabase::sqlite()?, 2, false).await
}

#[tokio::test]
async fn an_agent_is_back_by_itself_after_thirty_days() -> Result<()> {
    sleeps(TestDatabase::sqlite()?, 30, false).await
}

#[tokio::test]
async fn an_agent_is_back_by_itself_after_ninety_days_on_both_engines() -> Result<()> {
    sleeps(TestDatabase::sqlite()?, 90, false).await?;
    sleeps(TestDatabase::empty_postgres().await?, 90, false).await
}

#[tokio::test]
async fn an_agent_away_for_ninety_one_days_waits_for_approval_on_both_engines() -> Result<()> {
    sleeps(TestDatabase::sqlite()?, 91, true).await?;
    sleeps(TestDatabase::empty_postgres().await?, 91, true).await
}

#[tokio::test]
async fn a_clock_that_is_wrong_by_days_keeps_no_agent_out() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let now = system.clock.now();
    for clock in [ManualClock::new(now + DAY * 5), ManualClock::new(now - DAY * 5)] {
        let folder = tempfile::tempdir()?;
        enrolled(&user, folder.path()).await?;
        // Enrolment went by the right clock; the agent is started with the wrong one.
        let pc = Pc::start(folder.path(), clock.clone())?;
        drop(pc.attaches().await?);
        clock.advance(DAY * 2);
        system.clock.advance(DAY * 2);
        let pc = Pc::start(folder.path(), clock.clone())?;
        drop(pc.attaches().await?);
        // By now its certificate came by its own clock, and is renewed in its time.
        assert!(pc.keeper.identity().lasts(clock.now()).is_some());
        clock.advance(Duration::from_secs(15 * 3600));
        system.clock.advance(Duration::from_secs(15 * 3600));
        assert_eq!(pc.keeper.due_in(), Duration::ZERO);
        pc.keeper.renew().await?;
        assert!(pc.keeper.due_in() > Duration::from_secs(9 * 3600));
    }
    Ok(())
}

#[tokio::test]
async fn a_renewed_certificate_is_proved_before_the_older_one_is_given_up() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let folder = tempfile::tempdir()?;
    let store = enrolled(&user, folder.path()).await?;
    let pc = Pc::start(folder.path(), system_clock(&system))?;
    let mut stream = pc.attaches().await?;
    let (older, _) = store.load()?;
    pc.keeper.renew().await?;
    let (newer, _) = store.load()?;
    assert_ne!(older.certificate_chain, newer.certificate_chain);
    assert_eq!(store.find_next(&newer), None);
    // The stream that was open lives on.
    let quiet =
        tokio::time::timeout(Duration::from_millis(300), futures::StreamExt::next(&mut stream.inbound)).await;
    assert!(quiet.is_err(), "{quiet:?}");
    drop(stream);

    // Killed after the newer one was written: the next start proves it.
    store.store(&older)?;
    store.store_next(&newer)?;
    let pc = Pc::start(folder.path(), system_clock(&system))?;
    drop(pc.attaches().await?);
    assert_eq!(store.load()?.0, newer, "proved by a stream, it took the older one's place");
    assert_eq!(store.find_next(&newer), None);

    // One that does not work is given up for the older one.
    let strangers = tempfile::tempdir()?;
    let (theirs, _) =
        tradepost_controller::identity::Identity::load_or_create(strangers.path(), system.clock.now())?;
    let csr = CertificateParams::default()
        .serialize_request(&KeyPair::from_pem(&std::fs::read_to_string(
            folder.path().join("identity/key.pem"),
        )?)?)?
        .pem()?;
    let chain = theirs.sign_agent(&theirs.read_request(&csr)?, newer.agent, system.clock.now())?;
    store.store_next(&Identity { certificate_chain: chain, ..newer.clone() })?;
    let pc = Pc::start(folder.path(), system_clock(&system))?;
    drop(pc.attaches().await?);
    assert_eq!(pc.keeper.identity(), newer);
    assert_eq!(store.find_next(&newer), None);
    Ok(())
}

#[tokio::test]
async fn a_copied_data_directory_locks_both_until_a_person_approves() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let (ours, theirs) = (tempfile::tempdir()?, tempfile::tempdir()?);
    enrolled(&user, ours.path()).await?;
    let original = Pc::start(ours.path(), system_clock(&system))?;
    drop(original.attaches().await?);
    // Numbers that are lost on the way, and restarts, are no copies.
    original.keeper.count_join()?;
    let original = Pc::start(ours.path(), system_clock(&system))?;
    let mut live = original.attaches().await?;

    copy(ours.path(), theirs.path())?;
    let twin = Pc::start(theirs.path(), system_clock(&system))?;
    let _theirs = twin.attaches().await?;
    ends(&mut live).await?;
    assert_eq!(original.is_refused().await?, "AGENT_NEEDS_APPROVAL");
    assert_eq!(twin.is_refused().await?, "AGENT_NEEDS_APPROVAL");
    let waits = (v1::Presence::NeedsApproval, String::from("cloned"));
    assert_eq!(presence(&user, &original.id()).await?, waits);
    assert_eq!(told(&user, "agent.locked").await?, 1);
    let renewed = original.keeper.renew().await.expect_err("locked");
    assert_eq!(renewed.reason, "AGENT_NEEDS_APPROVAL");
    let returned = original.keeper.come_back().await.expect_err("locked");
    assert_eq!(returned.reason, "AGENT_NEEDS_APPROVAL");

    approve(&user, &original.id()).await?;
    drop(original.attaches().await?);
    drop(original.attaches().await?);
    Ok(())
}

#[tokio::test]
async fn a_controller_restored_from_a_backup_takes_no_agent_for_a_copy() -> Result<()> {
    let database = TestDatabase::sqlite()?;
    let file = database.path().context("a file")?;
    let mut system = System::start_on(database).await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    drop(agent.attach_as(&system, 7, 1).await?);
    system.stop().await?;
    let backup = std::fs::read(&file)?;
    system.resume().await?;
    for counter in 2..6 {
        drop(agent.attach_as(&system, 7, counter).await?);
    }
    system.stop().await?;
    std::fs::write(&file, backup)?;
    for rest in ["-wal", "-shm"] {
        let mut path = file.clone().into_os_string();
        path.push(rest);
        drop(std::fs::remove_file(path));
    }
    system.resume().await?;
    drop(agent.attach_as(&system, 7, 6).await?);
    drop(agent.attach_as(&system, 8, 7).await?);
    Ok(())
}

#[tokio::test]
async fn a_proof_counts_once_for_one_agent_one_key_and_one_server() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let (ours, theirs) = (Agent::enrol(&system, &user).await?, Agent::enrol(&system, &user).await?);
    let channel = system.channel(&system.api, None).await?;
    let mut client = EnrolmentServiceClient::new(channel);
    let root = tls::pem::certificates(system.root_pem.as_bytes(), "root")?;
    let pin = hex::encode(tls::fingerprint(&root[0]));
    let answer = |key: &KeyPair, challenge: &str, pin: &str| -> Result<String> {
        let mut params = CertificateParams::default();
        let name = format!("{RETURN_URI}{challenge}:{pin}");
        params.subject_alt_names = vec![SanType::URI(name.as_str().try_into()?)];
        Ok(params.serialize_request(key)?.pem()?)
    };
    let begin = v1::BeginReturnRequest { agent_id: ours.id.clone() };
    let challenge = client.begin_return(begin.clone()).await?.into_inner().challenge;
    let request =
        |agent_id: &str, csr_pem: String| v1::FinishReturnRequest { agent_id: agent_id.into(), csr_pem };

    let wrong = [
        (
            "another agent's challenge",
            request(&theirs.id, answer(&theirs.key, &challenge, &pin)?),
            "RETURN_CHALLENGE_INVALID",
        ),
        (
            "another server",
            request(&ours.id, answer(&ours.key, &challenge, &"0".repeat(64))?),
            "RETURN_CHALLENGE_INVALID",
        ),
        (
            "no challenge",
            request(&ours.id, CertificateParams::default().serialize_request(&ours.key)?.pem()?),
            "RETURN_CHALLENGE_INVALID",
        ),
        ("another key", request(&ours.id, answer(&theirs.key, &challenge, &pin)?), "AGENT_UNKNOWN"),
        ("no request", request(&ours.id, String::from("hello")), "INVALID_FIELDS"),
    ];
    for (what, request, expected) in wrong {
        let refused = client.finish_return(request).await.expect_err(what);
        assert_eq!(reason(&refused), expected, "{what}");
    }
    let good = request(&ours.id, answer(&ours.key, &challenge, &pin)?);
    let identity = client.finish_return(good.clone()).await?.into_inner().identity.context("an identity")?;
    assert!(identity.certificate_chain_pem.contains("BEGIN CERTIFICATE"));
    let replayed = client.finish_return(good).await.expect_err("replayed");
    assert_eq!(reason(&replayed), "RETURN_CHALLENGE_INVALID");
    let challenge = client.begin_return(begin).await?.into_inner().challenge;
    system.clock.advance(Duration::from_secs(121));
    let late = client.finish_return(request(&ours.id, answer(&ours.key, &challenge, &pin)?)).await;
    assert_eq!(reason(&late.expect_err("late")), "RETURN_CHALLENGE_INVALID");
    // Nobody learns which agents there are.
    let nobody = v1::BeginReturnRequest { agent_id: uuid::Uuid::from_u128(1).to_string() };
    assert!(!client.begin_return(nobody).await?.into_inner().challenge.is_empty());

    // A certificate is renewed for the agent's own key only.
    let channel = system.channel(&system.agents, Some(ours.identity()?)).await?;
    let csr_pem = CertificateParams::default().serialize_request(&theirs.key)?.pem()?;
    let refused = AgentIdentityServiceClient::new(channel)
        .renew_certificate(v1::RenewCertificateRequest { csr_pem })
        .await
        .expect_err("another key");
    assert_eq!(reason(&refused), "AGENT_UNKNOWN");
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_ours_for_another_key_is_refused() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    // What an authority that was once misused may have signed: the right id, somebody else's key.
    let (identity, _) = tradepost_controller::identity::Identity::load_or_create(
        &system.identity_folder(),
        system.clock.now(),
    )?;
    let key = KeyPair::generate()?;
    let csr = CertificateParams::default().serialize_request(&key)?.pem()?;
    let chain = identity.sign_agent(&identity.read_request(&csr)?, agent.id.parse()?, system.clock.now())?;
    let stolen = tls::ClientIdentity {
        chain: tls::pem::certificates(chain.as_bytes(), "chain")?,
        key: rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    };
    let channel = system.channel(&system.agents, Some(stolen)).await?;
    let refused = AgentIdentityServiceClient::new(channel)
        .prove_certificate(v1::ProveCertificateRequest {})
        .await
        .expect_err("not its key");
    assert_eq!(reason(&refused), "AGENT_UNKNOWN");
    // The right certificate with another key does not even shake hands.
    let mixed = tls::ClientIdentity {
        chain: agent.identity()?.chain,
        key: rustls_pki_types::PrivateKeyDer::Pkcs8(KeyPair::generate()?.serialize_der().into()),
    };
    let roots = tls::pem::roots(&tls::pem::certificates(system.root_pem.as_bytes(), "root")?)?;
    assert!(tls::client_config(roots.clone(), Some(mixed)).is_err(), "rustls itself refuses the pair");
    // A thief's own program does not: it signs the handshake with another key.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(KeyPair::generate()?.serialize_der().into());
    let key = provider.key_provider.load_private_key(key)?;
    let pair = rustls::sign::CertifiedKey::new(agent.identity()?.chain, key);
    let mut thief = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)));
    thief.alpn_protocols = vec![b"h2".to_vec()];
    thief.time_provider = Arc::new(tls::TlsClock(system.clock.clone()));
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", system.agents))?;
    // With TLS 1.3 the refusal may come after the client's side of the handshake.
    if let Ok(channel) = endpoint.connect_with_connector(tls::Connector::new(thief)).await {
        let refused = AgentIdentityServiceClient::new(channel)
            .prove_certificate(v1::ProveCertificateRequest {})
            .await
            .expect_err("a certificate without its key");
        assert_eq!(reason(&refused), "", "the call reached a handler: {refused:?}");
    }
    // The same call with the key goes through.
    let channel = system.channel(&system.agents, Some(agent.identity()?)).await?;
    AgentIdentityServiceClient::new(channel).prove_certificate(v1::ProveCertificateRequest {}).await?;
    Ok(())
}

#[tokio::test]
async fn a_used_enrolment_string_in_other_hands_is_refused_and_told() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let text = user.invite().await?;
    Agent::redeem(&system, &text, KeyPair::generate()?).await?;
    assert!(Agent::redeem(&system, &text, KeyPair::generate()?).await.is_err());
    assert_eq!(told(&user, "agent.enrolment_refused").await?, 1);
    Ok(())
}

#[tokio::test]
async fn revocation_ends_streams_on_every_controller_even_when_its_hint_is_lost() -> Result<()> {
    let system = System::start_on(TestDatabase::empty_postgres().await?).await?;
    let user = system.user().await?;
    let (elsewhere, _end) = system.sibling().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let mut stream = agent.attach_at(&system, &elsewhere).await?;
    revoke(&user, &agent.id).await?;
    assert!(matches!(stream.next().await?, v1::open_response::Frame::GoAway(_)));

    // By hand in the database: nobody is notified, and the look of every few seconds finds it.
    let agent = Agent::enrol(&system, &user).await?;
    let mut stream = agent.attach_at(&system, &elsewhere).await?;
    let mut connection = sqlx::PgConnection::connect(system.database.url()).await?;
    let revoked = format!("update agents set revoked_at = now() where id = '{}'", agent.id);
    connection.execute(sqlx::AssertSqlSafe(revoked)).await?;
    assert!(matches!(stream.next().await?, v1::open_response::Frame::GoAway(_)));
    let refused = stream.fetch_photo("x", "y").await.expect_err("revoked");
    assert_eq!(reason(&refused), "AGENT_REVOKED");
    // A revoked key is not enrolled again under a new string.
    let copy = KeyPair::from_pem(&agent.key.serialize_pem())?;
    assert!(Agent::redeem(&system, &user.invite().await?, copy).await.is_err());
    Ok(())
}

/// Certificates live for a day, whatever else changes.
#[tokio::test]
async fn a_certificate_lives_for_a_day() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let validity = tls::trust::validity(&agent.identity()?.chain[0]).context("a certificate")?;
    let now = Timestamp::from_micros(system.clock.now().as_micros() / 1_000_000 * 1_000_000);
    assert_eq!(validity.until, now + DAY);
    Ok(())
}
