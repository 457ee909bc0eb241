//! A controller that tests script: the process edge behind `ControllerLink`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tradepost_agent::credentials::sealed::Handed;
use tradepost_agent::journal::{Outcome, PermitRequest, RunKey};
use tradepost_agent::session::frame::{Dispatch, Ending, Hello, Inbound, Outbound, SiteAccount};
use tradepost_agent::session::link::{
    ControllerLink, EvidenceUpload, Granted, LinkError, LinkFault, PreparedReport, Stream,
};
use tradepost_domain::credential::Use;
use tradepost_domain::fleet::FleetEpoch;
use tradepost_domain::id::{AccountId, ContentHash, JobId, PermitId, RunLease, SessionEpoch};
use tradepost_domain::job::Kind;
use tradepost_runtime::tasks::Tasks;
use uuid::Uuid;

/// What the controller has heard and how it answers.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) hellos: Vec<Hello>,
    pub(crate) said: Vec<Outbound>,
    pub(crate) prepared: Vec<PreparedReport>,
    pub(crate) asked: Vec<PermitRequest>,
    pub(crate) settled: Vec<(PermitId, Outcome)>,
    pub(crate) evidence: Vec<EvidenceUpload>,
    pub(crate) photos: BTreeMap<ContentHash, Vec<u8>>,
    /// So many permits are given without the agent hearing of it.
    pub(crate) lose_permits: u32,
    /// So many outcomes are not taken.
    pub(crate) lose_settlements: u32,
    /// So many streams cannot be opened.
    pub(crate) closed_doors: u32,
    /// Life of permits; 15 seconds when unset.
    pub(crate) ttl: Option<Duration>,
    /// The agent is revoked.
    pub(crate) revoked: bool,
    /// Permits are refused with this reason.
    pub(crate) deny: Option<String>,
    /// The life of the database.
    pub(crate) fleet_epoch: FleetEpoch,
    /// The database is an older copy.
    pub(crate) recount: bool,
    /// The key for credentials that the agent told.
    pub(crate) credential_key: Option<[u8; 32]>,
    /// What is handed out.
    pub(crate) credential: Option<Handed>,
    /// What became of it.
    pub(crate) used: Vec<(i64, Use)>,
    /// Runs that do not go on.
    pub(crate) given_up: Vec<RunKey>,
    to_agent: Option<mpsc::Sender<Result<Inbound, LinkError>>>,
}

/// The scripted controller.
pub(crate) struct Scripted {
    heard: Arc<Mutex<Heard>>,
    changed: watch::Sender<u64>,
    tasks: Tasks,
}

impl Scripted {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { heard: Arc::default(), changed: watch::Sender::new(0), tasks: Tasks::new() })
    }

    /// Looks at, or changes, the script.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        let value = look(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_modify(|n| *n += 1);
        value
    }

    /// Waits until `look` finds something.
    pub(crate) async fn wait<T>(&self, what: &str, mut look: impl FnMut(&Heard) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        let found = async {
            loop {
                if let Some(found) = look(&self.heard.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return found;
                }
                changes.changed().await.expect("the controller lives");
            }
        };
        match tokio::time::timeout(Duration::from_secs(90), found).await {
            Ok(found) => found,
            Err(_) => self.with(|heard| panic!("no {what}; the agent said {:#?}", heard.said)),
        }
    }

    /// Waits for the end of a run.
    pub(crate) async fn ending(&self, run: RunKey) -> Ending {
        self.wait("end of the run", |heard| {
            heard.said.iter().find_map(|frame| match frame {
                Outbound::Ended(ended, ending) if *ended == run => Some(ending.clone()),
                _ => None,
            })
        })
        .await
    }

    /// Says something over the present stream.
    pub(crate) async fn say(&self, frame: Inbound) {
        let to_agent = self.with(|heard| heard.to_agent.clone()).expect("a stream is open");
        to_agent.send(Ok(frame)).await.expect("the agent listens");
    }

    /// Greets the agent over its `n`th stream.
    pub(crate) async fn greet(&self, n: usize) -> Hello {
        let hello = self.wait("stream", |heard| heard.hellos.get(n - 1).cloned()).await;
        let epoch = SessionEpoch(i64::try_from(n).expect("small"));
        let (fleet, recount, given_up) =
            self.with(|heard| (heard.fleet_epoch, heard.recount, heard.given_up.clone()));
        let kept = hello.runs.iter().copied().filter(|run| !given_up.contains(run)).collect();
        let heartbeat = Duration::from_secs(5);
        self.say(Inbound::Welcome { epoch, heartbeat, fleet, recount, kept: Some(kept) }).await;
        hello
    }

    /// Cuts the present stream.
    pub(crate) fn cut(&self) {
        self.with(|heard| heard.to_agent = None);
    }

    fn note(&self, note: impl FnOnce(&mut Heard)) {
        self.with(note);
    }
}

#[async_trait]
impl ControllerLink for Scripted {
    async fn open(&self, hello: Hello) -> Result<Stream, LinkError> {
        if self.with(|heard| heard.revoked) {
            return Err(revoked());
        }
        let closed = self
            .with(|heard| heard.closed_doors.checked_sub(1).map(|left| heard.closed_doors = left).is_some());
        if closed {
            return Err(LinkError::unavailable("nobody is at home"));
        }
        let (to_agent, inbound) = mpsc::channel(16);
        let (outbound, mut said) = mpsc::channel(64);
        let (heard, changed) = (Arc::clone(&self.heard), self.changed.clone());
        self.tasks.spawn("hear", async move {
            while let Some(frame) = said.recv().await {
                heard.lock().unwrap_or_else(PoisonError::into_inner).said.push(frame);
                changed.send_modify(|n| *n += 1);
            }
        });
        self.note(|heard| {
            heard.hellos.push(hello);
            heard.to_agent = Some(to_agent);
        });
        Ok(Stream { outbound, inbound: ReceiverStream::new(inbound).boxed() })
    }

    async fn record_prepared(&self, report: PreparedReport) -> Result<(), LinkError> {
        self.note(|heard| heard.prepared.push(report));
        Ok(())
    }

    async fn acquire_permit(&self, request: &PermitRequest) -> Result<Granted, LinkError> {
        self.with(|heard| {
            heard.asked.push(request.clone());
            if heard.revoked {
                return Err(revoked());
            }
            if let Some(reason) = &heard.deny {
                let (reason, message) = (reason.clone(), String::from("not now"));
                return Err(LinkError { fault: LinkFault::Refused, reason, message, retry_after: None });
            }
            if let Some(left) = heard.lose_permits.checked_sub(1) {
                heard.lose_permits = left;
                return Err(LinkError::unavailable("the answer is lost"));
            }
            let permit = PermitId(request.request.parse().expect("a UUID"));
            Ok(Granted { permit, ttl: heard.ttl.unwrap_or(Duration::from_secs(15)) })
        })
    }

    async fn settle(&self, permit: PermitId, _: &PermitRequest, outcome: &Outcome) -> Result<(), LinkError> {
        self.with(|heard| {
            if heard.revoked {
                return Err(revoked());
            }
            if let Some(left) = heard.lose_settlements.checked_sub(1) {
                heard.lose_settlements = left;
                return Err(LinkError::unavailable("not now"));
            }
            heard.settled.push((permit, outcome.clone()));
            Ok(())
        })
    }

    async fn fetch_photo(&self, _: JobId, hash: ContentHash) -> Result<Vec<u8>, LinkError> {
        let found = self.with(|heard| heard.photos.get(&hash).cloned());
        found.ok_or_else(|| LinkError::unavailable("no such photo"))
    }

    async fn upload_evidence(&self, file: &EvidenceUpload) -> Result<(), LinkError> {
        self.note(|heard| heard.evidence.push(file.clone()));
        Ok(())
    }

    async fn tell_credential_key(&self, public_key: [u8; 32]) -> Result<(), LinkError> {
        self.note(|heard| heard.credential_key = Some(public_key));
        Ok(())
    }

    async fn fetch_credential(&self, _: RunKey) -> Result<Option<Handed>, LinkError> {
        Ok(self.with(|heard| heard.credential.clone()))
    }

    async fn report_credential_use(&self, _: RunKey, generation: i64, outcome: Use) -> Result<(), LinkError> {
        self.note(|heard| heard.used.push((generation, outcome)));
        Ok(())
    }
}

fn revoked() -> LinkError {
    LinkError {
        fault: LinkFault::Identity,
        reason: String::from("AGENT_REVOKED"),
        message: String::from("this agent is revoked; enrol it anew"),
        retry_after: None,
    }
}

/// Run `lease` of job `job`.
pub(crate) fn run(job: u128, lease: i64) -> RunKey {
    RunKey { job: JobId(Uuid::from_u128(job)), lease: RunLease(lease) }
}

/// A login job for account number `account`.
pub(crate) fn dispatch(run: RunKey, account: u128) -> Dispatch {
    Dispatch {
        run,
        kind: Kind::Login,
        attempt: 1,
        deadline: Duration::from_secs(120),
        traceparent: String::new(),
        account: SiteAccount {
            id: AccountId(Uuid::from_u128(account)),
            name: "shop".into(),
            site: "sandbox".into(),
            site_url: "http://127.0.0.1:9/".parse().expect("an address"),
            sign_in_name: None,
            currency: "GBP".parse().expect("known"),
        },
        recipes: Vec::new(),
        publish: None,
    }
}
