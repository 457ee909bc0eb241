//! Hostile input for everything that decodes what comes from outside: no panic, bounded memory.
//!
//! To add a decoder: a test with a sample of each of its forms.

use std::hint::black_box;

use anyhow::{Context, Result};
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use tradepost_controller::identity::Identity;
use tradepost_controller::service::page::{Page, Query};
use tradepost_controller::session;
use tradepost_domain::id::AgentId;
use tradepost_domain::time::Timestamp;
use tradepost_proto::enrolment::EnrolmentString;
use tradepost_proto::v1;
use tradepost_recipe::catalogue;
use tradepost_recipe::catalogue::Site;
use tradepost_runtime::tls::pem;
use tradepost_testkit::fuzz::attack;
use v1::open_request::Frame as In;
use v1::open_response::Frame as Out;

fn run() -> v1::RunRef {
    v1::RunRef { job_id: uuid::Uuid::from_u128(1).to_string(), run_lease: 3 }
}

#[test]
fn frames_of_agents() -> Result<()> {
    let hello = v1::Hello {
        boot_id: uuid::Uuid::from_u128(7).to_string(),
        version: "0.1.0".into(),
        platform: "linux".into(),
        runs: vec![run()],
        slots: 2,
        join_counter: 9,
        ..v1::Hello::default()
    };
    let step = v1::Step {
        seq: 1,
        phase: v1::Phase::Prepare.into(),
        name: "title".into(),
        status: v1::StepStatus::Succeeded.into(),
        ..v1::Step::default()
    };
    let look = v1::LookReport {
        items: vec![v1::SeenItem { item_id: "1".into(), url: "http://127.0.0.1/1".into(), matches: true }],
        whole: true,
        total: 1,
        page: Some(v1::ReadPage { item_id: "1".into(), read_back: Vec::new(), recipe: "r 1".into() }),
        evidence: Vec::new(),
    };
    let failure = v1::Failure {
        class: "internal".into(),
        step: "s".into(),
        message: "m".into(),
        ..v1::Failure::default()
    };
    let outcomes = [v1::run_ended::Outcome::Look(look), v1::run_ended::Outcome::Failed(failure)];
    let mut frames = vec![
        In::Hello(hello),
        In::Heartbeat(v1::Heartbeat { runs: vec![run()] }),
        In::Acknowledge(v1::Acknowledge { run: Some(run()) }),
        In::Refuse(v1::Refuse { run: Some(run()), reason: "full".into() }),
        In::Step(v1::StepReport { run: Some(run()), step: Some(step) }),
    ];
    frames.extend(
        outcomes.map(|outcome| In::RunEnded(v1::RunEnded { run: Some(run()), outcome: Some(outcome) })),
    );
    let samples: Vec<_> =
        frames.into_iter().map(|frame| v1::OpenRequest { frame: Some(frame) }.encode_to_vec()).collect();
    let agent = AgentId(uuid::Uuid::from_u128(9));
    for sample in &samples {
        let message = v1::OpenRequest::decode(sample.as_slice())?;
        assert!(session::convert::frame(agent, message).is_ok());
    }
    attack("frames of agents", 1, &samples, |input| {
        if let Ok(message) = v1::OpenRequest::decode(input) {
            drop(session::convert::frame(agent, message));
        }
    })
}

#[test]
fn frames_of_controllers() -> Result<()> {
    let account = v1::SiteAccount {
        id: uuid::Uuid::from_u128(2).to_string(),
        name: "shop".into(),
        site: "sandbox".into(),
        site_url: "http://127.0.0.1:9/".into(),
        sign_in_name: String::new(),
        currency_code: "EUR".into(),
    };
    let photo = v1::TaskPhoto {
        sha256: "0".repeat(64),
        file_name: "a.jpg".into(),
        media_type: "image/jpeg".into(),
        size_bytes: 5,
    };
    let publish = v1::PublishTask {
        posting_id: uuid::Uuid::from_u128(3).to_string(),
        intent_id: uuid::Uuid::from_u128(4).to_string(),
        generation: 1,
        content: Some(crate::system::content()),
        photos: vec![photo],
        ..v1::PublishTask::default()
    };
    let dispatch = v1::Dispatch {
        run: Some(run()),
        kind: v1::JobKind::Publish.into(),
        attempt: 1,
        account: Some(account),
        recipes: vec![v1::RecipeText { name: "publish".into(), yaml: "a: 1".into() }],
        publish: Some(publish),
        ..v1::Dispatch::default()
    };
    let frames = [
        Out::Welcome(v1::Welcome { session_epoch: 1, ..v1::Welcome::default() }),
        Out::Dispatch(Box::new(dispatch)),
        Out::Cancel(v1::Cancel { run: Some(run()) }),
        Out::GoAway(v1::GoAway { reason: "drain".into(), ..v1::GoAway::default() }),
        Out::Trust(v1::Trust { digest: "d".into(), ..v1::Trust::default() }),
    ];
    let samples: Vec<_> =
        frames.map(|frame| v1::OpenResponse { frame: Some(frame) }.encode_to_vec()).to_vec();
    attack("frames of controllers", 2, &samples, |input| {
        if let Ok(message) = v1::OpenResponse::decode(input) {
            drop(tradepost_agent::session::convert::inbound(message));
        }
    })
}

#[test]
fn enrolment_strings() -> Result<()> {
    let string = EnrolmentString { address: "[::1]:7443".into(), pin: [7; 32], secret: "s3cret".into() };
    attack("enrolment strings", 3, &[string.to_string().into_bytes()], |input| {
        drop(String::from_utf8_lossy(input).parse::<EnrolmentString>());
    })
}

#[test]
fn page_tokens() -> Result<()> {
    use tradepost_store::{Cursor, Slice};
    let cursors = [
        Cursor::Name("shop".into(), uuid::Uuid::from_u128(1)),
        Cursor::Newest(Timestamp::from_micros(5), uuid::Uuid::from_u128(2)),
    ];
    let samples =
        cursors.map(|cursor| Page::new("list", Slice { rows: vec![1], next: Some(cursor) }).next_token);
    assert!(samples.iter().all(|token| !token.is_empty()));
    attack("page tokens", 4, &samples.map(String::into_bytes), |input| {
        let token = String::from_utf8_lossy(input).into_owned();
        drop(Query { size: 0, token }.request("list"));
    })
}

#[test]
fn journals() -> Result<()> {
    use tradepost_agent::journal::{Journal, Record, RunKey, read};
    use tradepost_domain::id::{JobId, RunLease};
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("journal");
    let journal = Journal::open(&path)?;
    for lease in 1..4 {
        let run = RunKey { job: JobId(uuid::Uuid::from_u128(1)), lease: RunLease(lease) };
        journal.append(Record::RunEnded { run })?;
    }
    drop(journal);
    attack("journals", 5, &[std::fs::read(&path)?], |input| {
        drop(tradepost_agent::journal::State::of(read(input)));
    })
}

#[test]
fn recipes() -> Result<()> {
    let mut samples = Vec::new();
    for name in catalogue::site_names() {
        let site = catalogue::site(name).map_err(anyhow::Error::msg)?;
        samples.extend(site.texts().map(|(_, text)| text.as_bytes().to_vec()));
    }
    let pack = samples.first().context("a text")?.clone();
    // Reading YAML is slow: fewer inputs, each of them whole.
    attack("recipes", 6, &samples, |input| {
        let text = String::from_utf8_lossy(&input[..input.len().min(16 * 1024)]).into_owned();
        drop(Site::parse(&text, &[&text]));
        drop(Site::parse(&String::from_utf8_lossy(&pack), &[&text]));
    })
}

#[test]
fn requests_for_certificates_and_certificates() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let (identity, _) = Identity::load_or_create(&folder.path().join("identity"), now)?;
    let agent = AgentId(uuid::Uuid::from_u128(1));
    let key = KeyPair::generate()?;
    let csr = CertificateParams::new(vec!["spiffe://x/y".into()])?.serialize_request(&key)?;
    let chain = identity.sign_agent(&identity.read_request(&csr.pem()?)?, agent, now)?;
    attack(
        "requests and certificates as text",
        7,
        &[csr.pem()?.into_bytes(), chain.into_bytes()],
        |input| {
            let text = String::from_utf8_lossy(input);
            black_box(
                identity.read_request(&text).map(|request| identity.answered(agent, &request, now)).ok(),
            );
            drop(pem::certificates(input, "input"));
        },
    )?;
    let leaf = pem::certificates(identity.root_pem().as_bytes(), "root")?.remove(0);
    attack("certificates", 8, &[leaf.to_vec()], |input| {
        let certificate = input.to_vec().into();
        black_box(tradepost_controller::identity::agent_of(&certificate));
        black_box(tradepost_controller::identity::key_hash_of(&certificate));
        black_box(tradepost_runtime::tls::trust::validity(&certificate));
        let offered = [certificate];
        black_box(tradepost_runtime::tls::trust::vouched(&offered, &offered, &offered).ok());
    })
}
