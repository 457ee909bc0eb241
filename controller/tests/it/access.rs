//! Who gets in, and what they can reach.

use anyhow::Result;
use rcgen::KeyPair;
use tonic::Code;
use tradepost_controller::app::{App, Surroundings};
use tradepost_controller::config::Config;
use tradepost_controller::identity::Identity;
use tradepost_domain::id::{AgentId, ContentHash};
use tradepost_domain::time::Timestamp;
use tradepost_proto::v1;
use tradepost_runtime::clock::{Clock, SystemClock};
use tradepost_runtime::tls::{self, ClientIdentity};
use v1::agent_session_service_client::AgentSessionServiceClient;
use v1::auth_service_client::AuthServiceClient;
use v1::evidence_service_client::EvidenceServiceClient;
use v1::upload_evidence_request::Part;

use crate::agent::{Agent, confirmed, run, task};
use crate::system::{System, reason};

/// A certificate for some agent, by an authority of its own or with another time.
fn forged(folder: &std::path::Path, made_at: Timestamp) -> Result<ClientIdentity> {
    let (identity, _) = Identity::load_or_create(folder, SystemClock.now())?;
    let key = KeyPair::generate()?;
    let csr = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
    let chain =
        identity.sign_agent(&identity.read_request(&csr)?, AgentId(uuid::Uuid::from_u128(1)), made_at)?;
    Ok(ClientIdentity {
        chain: tls::pem::certificates(chain.as_bytes(), "chain")?,
        key: rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    })
}

#[tokio::test]
async fn agents_without_a_certificate_of_ours_are_refused_before_any_call() -> Result<()> {
    let system = System::start().await?;
    let theirs = tempfile::tempdir()?;
    let ours = system.identity_folder();
    let long_ago = Timestamp::from_micros(1_600_000_000_000_000);
    for (what, identity) in [
        ("none", None),
        ("another authority's", Some(forged(theirs.path(), SystemClock.now())?)),
        ("an expired one", Some(forged(&ours, long_ago)?)),
    ] {
        // With TLS 1.3 the refusal may come after the client's side of the handshake.
        let Ok(channel) = system.channel(&system.agents, identity).await else { continue };
        let request = v1::FetchPhotoRequest::default();
        let refused = AgentSessionServiceClient::new(channel).fetch_photo(request).await.expect_err(what);
        assert!(reason(&refused).is_empty(), "{what}: the call reached a handler: {refused:?}");
        assert!(
            matches!(refused.code(), Code::Unavailable | Code::Unknown | Code::Internal),
            "{what}: {refused:?}"
        );
    }
    let unknown = forged(&ours, SystemClock.now())?;
    let channel = system.channel(&system.agents, Some(unknown)).await?;
    let refused = AgentSessionServiceClient::new(channel).fetch_photo(v1::FetchPhotoRequest::default()).await;
    assert_eq!(reason(&refused.expect_err("no such agent")), "AGENT_UNKNOWN");
    Ok(())
}

#[tokio::test]
async fn one_agent_reaches_nothing_of_another() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let (ours, theirs) = (Agent::enrol(&system, &user).await?, Agent::enrol(&system, &user).await?);
    let account = user.account("shop", &ours.id).await?;
    let listing = user.listing("Drill").await?;
    let posting = user.post("p1", &listing.id, &account.id).await?;
    let mut stream = ours.attach(&system, &[]).await?;
    let dispatch = stream.dispatch().await?;
    stream.acknowledge(&run(&dispatch)).await?;
    stream.prepared(&dispatch).await?;
    let permit = stream.permit(&dispatch, "r1").await?;

    let intruder = theirs.attach(&system, &[]).await?;
    let refused = intruder.prepared(&dispatch).await.expect_err("not theirs");
    assert_eq!(reason(&refused), "INTENT_NOT_FOUND");
    assert_eq!(reason(&intruder.permit(&dispatch, "r2").await.expect_err("not theirs")), "INTENT_NOT_FOUND");
    let refused = intruder.settle(&dispatch, &permit, confirmed("1")).await.expect_err("not theirs");
    assert_eq!(reason(&refused), "INTENT_NOT_FOUND");
    let sha256 = &task(&dispatch).photos[0].sha256;
    let refused = intruder.fetch_photo(&run(&dispatch).job_id, sha256).await.expect_err("not theirs");
    assert_eq!(reason(&refused), "PHOTO_NOT_FOUND");
    let metadata = v1::EvidenceMetadata {
        run: dispatch.run.clone(),
        name: "a.png".into(),
        media_type: "image/png".into(),
        size_bytes: 1,
        sha256: ContentHash::of(b"x").to_string(),
    };
    let parts = || {
        [Part::Metadata(metadata.clone()), Part::Chunk(b"x".to_vec())]
            .map(|part| v1::UploadEvidenceRequest { part: Some(part) })
    };
    let mut uploads = EvidenceServiceClient::new(intruder.channel.clone());
    let refused = uploads.upload_evidence(tokio_stream::iter(parts())).await.expect_err("not theirs");
    assert_eq!(reason(&refused), "JOB_NOT_FOUND");
    let mut uploads = EvidenceServiceClient::new(stream.channel.clone());
    uploads.upload_evidence(tokio_stream::iter(parts())).await?;
    intruder.end(&run(&dispatch), crate::agent::failed("cancelled")).await?;
    assert_eq!(user.posting(&posting.id).await?.state(), v1::PostingState::Running);
    Ok(())
}

#[tokio::test]
async fn a_revoked_agent_is_cut_off_and_stays_out() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let mut stream = agent.attach(&system, &[]).await?;
    let request = user.request(v1::RevokeAgentRequest { id: agent.id.clone() });
    v1::agent_service_client::AgentServiceClient::new(user.channel.clone()).revoke_agent(request).await?;
    assert!(matches!(stream.next().await?, v1::open_response::Frame::GoAway(_)));
    let refused = stream.fetch_photo("x", "y").await.expect_err("revoked");
    assert_eq!(reason(&refused), "AGENT_REVOKED");
    Ok(())
}

#[tokio::test]
async fn an_enrolment_string_makes_one_agent_however_often_it_is_sent() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let text = user.invite().await?;
    let key = KeyPair::generate()?;
    let copy = KeyPair::from_pem(&key.serialize_pem())?;
    let first = Agent::redeem(&system, &text, key).await?;
    assert_eq!(Agent::redeem(&system, &text, copy).await?.id, first.id);
    assert!(Agent::redeem(&system, &text, KeyPair::generate()?).await.is_err());
    Ok(())
}

#[tokio::test]
async fn callers_without_a_token_and_strangers_see_nothing() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let account = user.account("shop", &agent.id).await?;
    let listing = user.listing("Drill").await?;
    let posting = user.post("p1", &listing.id, &account.id).await?;
    let refused = AuthServiceClient::new(user.channel.clone()).who_am_i(v1::WhoAmIRequest {}).await;
    assert_eq!(reason(&refused.expect_err("no token")), "TOKEN_MISSING");
    let stranger = system.stranger().await?;
    let request = stranger.request(v1::GetPostingRequest { id: posting.id.clone() });
    let refused = stranger.postings().get_posting(request).await.expect_err("another workspace");
    assert_eq!(reason(&refused), "POSTING_NOT_FOUND");
    let refused = stranger.post("p9", &listing.id, &account.id).await.expect_err("another workspace");
    assert_eq!(reason(&refused), "ACCOUNT_NOT_FOUND");
    Ok(())
}

#[tokio::test]
async fn a_controller_that_cannot_listen_leaves_no_authority_behind() -> Result<()> {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let folder = tempfile::tempdir()?;
    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    config.api.listen = ([127, 0, 0, 1], 0).into();
    config.agents.listen = taken.local_addr()?;
    let identity = config.identity_folder();
    let error =
        App::build(config, Surroundings::of_system()).await.expect_err("the port is taken").to_string();
    assert!(error.contains("choose another with --agents-listen"), "{error}");
    assert!(!identity.exists());
    Ok(())
}

#[tokio::test]
async fn oversized_truncated_and_foreign_frames_end_their_stream_and_nothing_else() -> Result<()> {
    use v1::open_request::Frame as In;
    let system = System::start().await?;
    let user = system.user().await?;
    let (honest, hostile) = (Agent::enrol(&system, &user).await?, Agent::enrol(&system, &user).await?);
    let live = honest.attach(&system, &[]).await?;
    let job = uuid::Uuid::from_u128(1).to_string();
    let run = |job_id: &str| Some(v1::RunRef { job_id: job_id.to_owned(), run_lease: 1 });
    for (what, frame) in [
        ("five megabytes", In::Refuse(v1::Refuse { run: run(&job), reason: "x".repeat(5 * 1024 * 1024) })),
        ("no id", In::Acknowledge(v1::Acknowledge { run: run("../../etc/passwd") })),
        ("no run", In::Acknowledge(v1::Acknowledge { run: None })),
        ("no outcome", In::RunEnded(v1::RunEnded { run: run(&job), outcome: None })),
        ("a second greeting", In::Hello(v1::Hello { boot_id: job.clone(), ..v1::Hello::default() })),
    ] {
        let mut stream = hostile.attach(&system, &[]).await?;
        stream.send(frame).await?;
        let refused = stream.next().await.expect_err(what);
        assert!(!refused.to_string().contains("no frame came"), "{what}: {refused:?}");
    }
    // Raw bytes that are no message, under the length that a frame claims.
    let channel = system.channel(&system.agents, Some(hostile.identity()?)).await?;
    let mut raw = tonic::client::Grpc::new(channel);
    raw.ready().await?;
    let path = "/tradepost.v1.AgentSessionService/Open".parse()?;
    let garbage = v1::FetchPhotoResponse { chunk: vec![0xff; 300] };
    let codec = tonic_prost::ProstCodec::<v1::FetchPhotoResponse, v1::OpenResponse>::default();
    let mut answers =
        raw.streaming(tonic::Request::new(tokio_stream::iter([garbage])), path, codec).await?.into_inner();
    assert!(answers.message().await.is_err(), "garbage was taken for a greeting");
    live.beat(&[]).await?;
    let still = live.fetch_photo(&job, &"0".repeat(64)).await.expect_err("no such photo");
    assert_eq!(reason(&still), "PHOTO_NOT_FOUND");
    Ok(())
}
