//! An agent without Chrome: it does what the test says, over real mutual TLS.

use anyhow::{Context, Result, bail};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tradepost_domain::fleet::Knowledge;
use tradepost_domain::publish::baseline_hash;
use tradepost_proto::enrolment::EnrolmentString;
use tradepost_proto::v1;
use tradepost_runtime::tls::{self, ClientIdentity};
use v1::agent_session_service_client::AgentSessionServiceClient;
use v1::enrolment_service_client::EnrolmentServiceClient;
use v1::open_request::Frame as In;
use v1::open_response::Frame as Out;
use v1::publish_permit_service_client::PublishPermitServiceClient;
use v1::settle_publication_request::Outcome;

use crate::system::{DEADLINE, System, User};

/// An enrolled agent.
pub(crate) struct Agent {
    pub(crate) id: String,
    chain_pem: String,
    pub(crate) key: KeyPair,
}

/// One stream of it.
pub(crate) struct Stream {
    pub(crate) epoch: i64,
    pub(crate) channel: Channel,
    frames: mpsc::Sender<v1::OpenRequest>,
    answers: Streaming<v1::OpenResponse>,
}

pub(crate) const BASELINE: [&str; 2] = ["11", "12"];

/// What a stream's first frame says.
struct Said<'a> {
    runs: &'a [v1::RunRef],
    knowledge: Knowledge,
    boot: u128,
    join_counter: i64,
}

impl Agent {
    pub(crate) async fn enrol(system: &System, user: &User) -> Result<Self> {
        let text = user.invite().await?;
        Self::redeem(system, &text, KeyPair::generate()?).await
    }

    pub(crate) async fn redeem(system: &System, text: &str, key: KeyPair) -> Result<Self> {
        let EnrolmentString { address, secret, .. } = text.parse()?;
        let csr_pem = CertificateParams::default().serialize_request(&key)?.pem()?;
        let request = v1::EnrolRequest {
            token: secret,
            csr_pem,
            name: "pc".into(),
            platform: "linux x86_64".into(),
            version: "0.1.0".into(),
        };
        let channel = system.channel(&address, None).await?;
        let answer = EnrolmentServiceClient::new(channel).enrol(request).await?.into_inner();
        anyhow::ensure!(answer.agents_address == system.agents && answer.root_pem == system.root_pem);
        Ok(Self { id: answer.agent_id, chain_pem: answer.certificate_chain_pem, key })
    }

    pub(crate) fn identity(&self) -> Result<ClientIdentity> {
        Ok(ClientIdentity {
            chain: tls::pem::certificates(self.chain_pem.as_bytes(), "chain")?,
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der())),
        })
    }

    /// Opens a stream that tells of `runs`, and waits for Welcome.
    pub(crate) async fn attach(&self, system: &System, runs: &[v1::RunRef]) -> Result<Stream> {
        Ok(self.greet(system, runs, Knowledge::fresh()).await?.0)
    }

    /// The same with what the agent's journal knows; returns the welcome, too.
    pub(crate) async fn greet(
        &self,
        system: &System,
        runs: &[v1::RunRef],
        knowledge: Knowledge,
    ) -> Result<(Stream, v1::Welcome)> {
        self.open(system, &system.agents, Said { runs, knowledge, boot: 7, join_counter: 0 }).await
    }

    /// Opens a stream at another controller.
    pub(crate) async fn attach_at(&self, system: &System, address: &str) -> Result<Stream> {
        let said = Said { runs: &[], knowledge: Knowledge::fresh(), boot: 7, join_counter: 0 };
        Ok(self.open(system, address, said).await?.0)
    }

    /// Opens one by process number `boot` that shows a join counter.
    pub(crate) async fn attach_as(&self, system: &System, boot: u128, counter: i64) -> Result<Stream> {
        let said = Said { runs: &[], knowledge: Knowledge::fresh(), boot, join_counter: counter };
        Ok(self.open(system, &system.agents, said).await?.0)
    }

    async fn open(&self, system: &System, address: &str, said: Said<'_>) -> Result<(Stream, v1::Welcome)> {
        let Said { runs, knowledge, boot, join_counter } = said;
        let channel = system.channel(address, Some(self.identity()?)).await?;
        let (frames, outgoing) = mpsc::channel(64);
        let hello = v1::Hello {
            boot_id: uuid::Uuid::from_u128(boot).to_string(),
            version: "0.1.0".into(),
            platform: "linux x86_64".into(),
            runs: runs.to_vec(),
            slots: 2,
            knowledge: Some(knowledge.into()),
            join_counter,
        };
        frames.send(v1::OpenRequest { frame: Some(In::Hello(hello)) }).await?;
        let mut client = AgentSessionServiceClient::new(channel.clone());
        // The deadline of the channel is for unary calls; streams last.
        let answers = client.open(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut stream = Stream { epoch: 0, channel, frames, answers };
        match stream.next().await? {
            Out::Welcome(welcome) => {
                stream.epoch = welcome.session_epoch;
                Ok((stream, welcome))
            }
            other => bail!("expected Welcome, got {other:?}"),
        }
    }
}

impl Stream {
    /// The next frame.
    pub(crate) async fn next(&mut self) -> Result<Out> {
        let message =
            tokio::time::timeout(DEADLINE, self.answers.message()).await.context("no frame came")??;
        message.context("the stream ended")?.frame.context("an empty frame")
    }

    /// The next dispatch.
    pub(crate) async fn dispatch(&mut self) -> Result<v1::Dispatch> {
        match self.next().await? {
            Out::Dispatch(dispatch) => Ok(*dispatch),
            other => bail!("expected Dispatch, got {other:?}"),
        }
    }

    pub(crate) async fn send(&self, frame: In) -> Result<()> {
        self.frames.send(v1::OpenRequest { frame: Some(frame) }).await.context("the stream ended")
    }

    pub(crate) async fn acknowledge(&self, run: &v1::RunRef) -> Result<()> {
        self.send(In::Acknowledge(v1::Acknowledge { run: Some(run.clone()) })).await
    }

    pub(crate) async fn beat(&self, runs: &[v1::RunRef]) -> Result<()> {
        self.send(In::Heartbeat(v1::Heartbeat { runs: runs.to_vec() })).await
    }

    pub(crate) async fn step(&self, run: &v1::RunRef, seq: u32, name: &str) -> Result<()> {
        let step = v1::Step {
            seq,
            phase: v1::Phase::Prepare.into(),
            name: name.into(),
            status: v1::StepStatus::Succeeded.into(),
            ..v1::Step::default()
        };
        self.send(In::Step(v1::StepReport { run: Some(run.clone()), step: Some(step) })).await
    }

    pub(crate) async fn end(&self, run: &v1::RunRef, outcome: v1::run_ended::Outcome) -> Result<()> {
        self.send(In::RunEnded(v1::RunEnded { run: Some(run.clone()), outcome: Some(outcome) })).await
    }

    pub(crate) fn permits(&self) -> PublishPermitServiceClient<Channel> {
        PublishPermitServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn prepared(&self, dispatch: &v1::Dispatch) -> Result<(), Status> {
        let request = v1::RecordPreparedRequest {
            run: dispatch.run.clone(),
            intent_id: task(dispatch).intent_id.clone(),
            session_epoch: self.epoch,
            baseline_item_ids: BASELINE.map(str::to_owned).into(),
            fingerprint: "f".into(),
        };
        self.permits().record_prepared(request).await.map(drop)
    }

    pub(crate) async fn permit(&self, dispatch: &v1::Dispatch, request: &str) -> Result<String, Status> {
        let request = v1::AcquirePublishPermitRequest {
            permit_request_id: request.into(),
            run: dispatch.run.clone(),
            intent_id: task(dispatch).intent_id.clone(),
            generation: task(dispatch).generation,
            session_epoch: self.epoch,
            baseline_sha256: baseline_hash(&BASELINE.map(str::to_owned)).to_string(),
            fingerprint: "f".into(),
        };
        Ok(self.permits().acquire_publish_permit(request).await?.into_inner().permit_id)
    }

    pub(crate) async fn settle(
        &self,
        dispatch: &v1::Dispatch,
        permit: &str,
        outcome: Outcome,
    ) -> Result<(), Status> {
        let request = v1::SettlePublicationRequest {
            intent_id: task(dispatch).intent_id.clone(),
            permit_id: permit.into(),
            run: dispatch.run.clone(),
            outcome: Some(outcome),
        };
        self.permits().settle_publication(request).await.map(drop)
    }

    pub(crate) async fn fetch_photo(&self, job: &str, sha256: &str) -> Result<Vec<u8>, Status> {
        let request = v1::FetchPhotoRequest { job_id: job.into(), sha256: sha256.into() };
        let mut chunks =
            AgentSessionServiceClient::new(self.channel.clone()).fetch_photo(request).await?.into_inner();
        let mut content = Vec::new();
        while let Some(v1::FetchPhotoResponse { chunk }) = chunks.message().await? {
            content.extend(chunk);
        }
        Ok(content)
    }
}

pub(crate) fn run(dispatch: &v1::Dispatch) -> v1::RunRef {
    dispatch.run.clone().expect("a dispatch names its run")
}

pub(crate) fn task(dispatch: &v1::Dispatch) -> &v1::PublishTask {
    dispatch.publish.as_ref().expect("a publish task")
}

pub(crate) fn confirmed(item: &str) -> Outcome {
    let item = v1::PublishedItem {
        item_id: item.into(),
        url: format!("http://127.0.0.1:9/item/{item}"),
        strategy: "id_in_url".into(),
    };
    let receipt =
        v1::Receipt { item: Some(item), baseline_count: 2, recipe: "r".into(), ..v1::Receipt::default() };
    Outcome::Confirmed(v1::Confirmed { receipt: Some(receipt) })
}

pub(crate) fn failed(class: &str) -> v1::run_ended::Outcome {
    v1::run_ended::Outcome::Failed(v1::Failure {
        class: class.into(),
        step: "s".into(),
        ..v1::Failure::default()
    })
}
