//! Keeps this agent's certificate fresh, and gets a new one when it has ended.
//!
//! - *Persist, prove, retire*: a new certificate is written beside the present one, proved by a connection that uses it, and
//!   only then takes its place. Killed at any point, the agent starts with one that works.
//! - *Return*: when the certificate has ended (the PC slept, its clock was wrong) the agent proves its key to the enrolment
//!   service instead, under the same trusted roots.
//! - *Trust*: with each certificate come the roots to trust from then on. A new one is taken only when a chain of signatures
//!   leads to it from one that is trusted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData, SigningKey};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tradepost_domain::id::AgentId;
use tradepost_domain::standing::{CERTIFICATE_LIFE, ENROLMENT_NAME};
use tradepost_proto::v1;
use tradepost_proto::v1::agent_identity_service_client::AgentIdentityServiceClient;
use tradepost_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use tradepost_runtime::clock::SharedClock;
use tradepost_runtime::credential::statement;
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tls::trust::vouched;
use tradepost_runtime::tls::{self, Connector, ReloadingClientConfig, TlsClock, pem};

use super::convert;
use super::link::{LinkError, LinkFault};
use super::remote::{Failed, endpoint, tried, within};
use crate::identity::{self, Identity, IdentityStore};

/// How long one call about certificates may take, its connection included.
const CALL: Duration = Duration::from_secs(15);
/// The clock is compared with the certificate's age this often: the PC may have slept.
const LOOK: Duration = Duration::from_secs(60);
/// Pause after a renewal that did not work.
const PAUSE: Duration = Duration::from_secs(60);
/// A return is tried this often at most when streams fail for reasons that are not known to be the certificate's.
const RETURN_PAUSE: Duration = Duration::from_secs(60);

/// The agent's identity while it runs.
pub struct Keeper {
    store: IdentityStore,
    key: SecretString,
    clock: SharedClock,
    ids: Ids,
    tls: ReloadingClientConfig,
    held: Mutex<Held>,
    /// One change at a time.
    busy: AsyncMutex<()>,
    wake: Notify,
}

struct Held {
    identity: Identity,
    /// What to go back to while `identity` is not proved.
    fallback: Option<Identity>,
    /// Where in the renewal's window this agent is.
    unit: f64,
    /// When the authority has changed and this agent's turn comes.
    moved: Option<Instant>,
    /// No renewal before this.
    paused_until: Option<Instant>,
    returned_at: Option<Instant>,
    failures: u32,
}

impl Keeper {
    /// The identity on this PC. One that was written but not proved before the last end is tried first.
    pub fn open(store: IdentityStore, clock: SharedClock, ids: Ids) -> Result<Self, OpenError> {
        let (present, key) = store.load()?;
        let next = store.find_next(&present).and_then(|next| {
            let usable = next.agent == present.agent && next.tls(&key).is_ok();
            usable.then_some(next)
        });
        let (identity, fallback) = match next {
            Some(next) => (next, Some(present)),
            None => (present, None),
        };
        let tls = ReloadingClientConfig::new(timed(identity.tls(&key)?, &clock));
        let unit = ids.unit();
        let held = Held {
            identity,
            fallback,
            unit,
            moved: None,
            paused_until: None,
            returned_at: None,
            failures: 0,
        };
        Ok(Self {
            store,
            key,
            clock,
            ids,
            tls,
            held: Mutex::new(held),
            busy: AsyncMutex::default(),
            wake: Notify::new(),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The present identity.
    pub fn identity(&self) -> Identity {
        self.with(|held| held.identity.clone())
    }

    /// The agent's id.
    pub fn agent(&self) -> AgentId {
        self.with(|held| held.identity.agent)
    }

    /// What connections to the agents listener use.
    pub fn tls(&self) -> ReloadingClientConfig {
        self.tls.clone()
    }

    /// Counts one more try to attach.
    pub fn count_join(&self) -> Result<i64, LinkError> {
        self.store.count_join().map_err(|error| LinkError::unavailable(error.to_string()))
    }

    /// Before a stream is opened: a certificate that has ended is replaced first.
    pub async fn prepare(&self) -> Result<(), LinkError> {
        let now = self.clock.now();
        if self.with(|held| held.identity.lasts(now)).is_some() {
            return Ok(());
        }
        tracing::info!("the certificate has ended; proving the key to the controller for a new one");
        self.come_back().await
    }

    /// A stream could not be opened. Says whether it is worth another try at once, with another certificate.
    pub async fn mend(&self, is_certificate: bool) -> Result<bool, LinkError> {
        let now = Instant::now();
        let (fallback, due) = self.with(|held| {
            held.failures = held.failures.saturating_add(1);
            let rested = held.returned_at.is_none_or(|at| now.duration_since(at) >= RETURN_PAUSE);
            (held.fallback.take(), is_certificate || (held.failures >= 3 && rested))
        });
        if !due {
            self.with(|held| held.fallback = fallback);
            return Ok(false);
        }
        if let Some(fallback) = fallback.filter(|older| older.lasts(self.clock.now()).is_some()) {
            tracing::warn!("the newer certificate is not accepted; going back to the one before");
            self.install(fallback)?;
            self.store.drop_next().map_err(|error| LinkError::unavailable(error.to_string()))?;
            return Ok(true);
        }
        self.with(|held| held.returned_at = Some(now));
        match self.come_back().await {
            Ok(()) => Ok(true),
            // The way to the enrolment service may be closed while the other is only slow.
            Err(error) if error.is_passing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the controller says about its authority over the stream.
    pub fn overhear(&self, message: &v1::OpenResponse) {
        match &message.frame {
            Some(v1::open_response::Frame::Welcome(welcome)) => {
                self.welcomed();
                self.compare(&welcome.trust_digest, Duration::ZERO);
            }
            Some(v1::open_response::Frame::Trust(v1::Trust { digest, spread })) => {
                self.compare(digest, convert::duration(*spread).unwrap_or_default());
            }
            _ => {}
        }
    }

    /// A connection has proved the certificate in use.
    fn welcomed(&self) {
        let proved = self.with(|held| {
            held.failures = 0;
            held.fallback.take().map(|_| held.identity.clone())
        });
        if let Some(identity) = proved
            && let Err(error) = self.store.promote(&identity)
        {
            tracing::warn!(%error, "the proved certificate is not stored; it is tried again at the next start");
        }
    }

    fn compare(&self, digest: &str, spread: Duration) {
        if digest.is_empty() {
            return;
        }
        let turn = Instant::now() + spread.mul_f64(self.ids.unit());
        self.with(|held| {
            if held.identity.trust_digest == digest {
                held.moved = None;
            } else {
                held.moved = Some(turn);
                held.paused_until = None;
            }
        });
        self.wake.notify_one();
    }

    /// How long until the certificate is to be renewed.
    pub fn due_in(&self) -> Duration {
        let (now, wall) = (Instant::now(), self.clock.now());
        self.with(|held| {
            let by_age = held.identity.renew_at(wall, held.unit).since(wall);
            let by_move = held.moved.map(|at| at.saturating_duration_since(now));
            let paused = held.paused_until.map(|until| until.saturating_duration_since(now));
            by_age.min(by_move.unwrap_or(Duration::MAX)).max(paused.unwrap_or_default())
        })
    }

    /// Renews the certificate when it is time, until shutdown.
    pub async fn keep(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let due = self.due_in();
            if due.is_zero() {
                let renewed = tokio::select! {
                    () = shutdown.cancelled() => return,
                    renewed = self.renew() => renewed,
                };
                if let Err(error) = renewed {
                    let pause = PAUSE.mul_f64(0.5 + self.ids.unit());
                    self.with(|held| held.paused_until = Some(Instant::now() + pause));
                    tracing::warn!(%error, ?pause, "the certificate was not renewed; trying again");
                }
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(due.min(LOOK)) => {}
            }
        }
    }

    /// A new certificate by the present one; by proof of the key where that is not accepted any more, as when a rotation of
    /// trust was finished while a stream of before stayed open.
    pub async fn renew(&self) -> Result<(), LinkError> {
        match self.renew_by_certificate().await {
            Ok(()) => Ok(()),
            Err(Failed { error, is_certificate: true }) if error.is_passing() => {
                tracing::info!(%error, "the certificate is not accepted; proving the key to the controller for a new one");
                self.come_back().await
            }
            Err(Failed { error, .. }) => Err(error),
        }
    }

    async fn renew_by_certificate(&self) -> Result<(), Failed> {
        let _busy = self.busy.lock().await;
        let own = |error| Failed { error, is_certificate: false };
        let (address, config) = self.with(|held| (held.identity.agents_address.clone(), self.tls.load()));
        let key = self.key().map_err(own)?;
        let csr_pem = identity::signing_request(&key).map_err(|error| own(unusable(error)))?;
        let answer = tried(CALL, async {
            let channel = connect(&address, Connector::new(config)).await?;
            let request = v1::RenewCertificateRequest { csr_pem };
            AgentIdentityServiceClient::new(channel).renew_certificate(request).await
        });
        let v1::RenewCertificateResponse { identity } = answer.await?.into_inner();
        self.adopt(identity).await.map_err(own)?;
        tracing::info!("the certificate was renewed");
        Ok(())
    }

    /// A new certificate by proof of the key.
    pub async fn come_back(&self) -> Result<(), LinkError> {
        let _busy = self.busy.lock().await;
        let present = self.identity();
        let roots = present.roots().map_err(unusable)?;
        let pin = roots.first().map(tls::fingerprint).ok_or_else(|| unusable("no root certificate"))?;
        let config = tls::client_config(pem::roots(&roots).map_err(unusable)?, None).map_err(unusable)?;
        let name = ENROLMENT_NAME.try_into().map_err(unusable)?;
        let connector = Connector::new(timed(config, &self.clock)).with_server_name(name);
        let agent_id = present.agent.to_string();
        let key = self.key()?;
        let answer = within(CALL, async {
            let channel = connect(&present.enrolled_at, connector).await?;
            let mut client = EnrolmentServiceClient::new(channel);
            let request = v1::BeginReturnRequest { agent_id: agent_id.clone() };
            let v1::BeginReturnResponse { challenge } = client.begin_return(request).await?.into_inner();
            let csr_pem = identity::return_request(&key, &challenge, &pin)
                .map_err(|error| tonic::Status::internal(error.to_string()))?;
            client.finish_return(v1::FinishReturnRequest { agent_id, csr_pem }).await
        });
        let v1::FinishReturnResponse { identity } = answer.await?.into_inner();
        self.adopt(identity).await?;
        tracing::info!("the controller has given this agent a new certificate");
        Ok(())
    }

    /// Persist, prove, retire.
    async fn adopt(&self, issued: Option<v1::IssuedIdentity>) -> Result<(), LinkError> {
        let issued = issued.ok_or_else(|| unusable("the answer holds no certificate"))?;
        let present = self.identity();
        let next = following(&present, issued, &self.clock)?;
        let config = timed(next.tls(&self.key).map_err(unusable)?, &self.clock);
        let disk = |error: identity::Error| LinkError::unavailable(error.to_string());
        self.store.store_next(&next).map_err(disk)?;
        let proved = within(CALL, async {
            let channel = connect(&next.agents_address, Connector::new(config.clone())).await?;
            AgentIdentityServiceClient::new(channel).prove_certificate(v1::ProveCertificateRequest {}).await
        });
        match proved.await {
            Ok(_) => {}
            // Perhaps it works later: the next start tries it.
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => {
                self.store.drop_next().map_err(disk)?;
                return Err(error);
            }
        }
        self.store.promote(&next).map_err(disk)?;
        self.tls.store(config);
        self.with(|held| {
            if held.identity.agents_address != next.agents_address {
                tracing::warn!(
                    address = next.agents_address,
                    "the controller's address for agents has changed; it is used from the next start on"
                );
            }
            held.identity = next;
            held.fallback = None;
            held.unit = self.ids.unit();
            held.moved = None;
            held.paused_until = None;
        });
        Ok(())
    }

    fn install(&self, identity: Identity) -> Result<(), LinkError> {
        let config = timed(identity.tls(&self.key).map_err(unusable)?, &self.clock);
        self.tls.store(config);
        self.with(|held| held.identity = identity);
        Ok(())
    }

    /// The identity's public key (SubjectPublicKeyInfo), and its signature over this agent's key for credentials.
    pub fn sign_credential_key(&self, public_key: &[u8; 32]) -> Result<(Vec<u8>, Vec<u8>), LinkError> {
        let key = self.key()?;
        let signature = key.sign(&statement(self.agent(), public_key)).map_err(unusable)?;
        Ok((key.subject_public_key_info(), signature))
    }

    fn key(&self) -> Result<KeyPair, LinkError> {
        KeyPair::from_pem(self.key.expose_secret()).map_err(unusable)
    }
}

/// Why the identity on this PC cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// By what is stored.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// By TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// The identity that follows the present one, if its roots do.
fn following(
    present: &Identity,
    issued: v1::IssuedIdentity,
    clock: &SharedClock,
) -> Result<Identity, LinkError> {
    let v1::IssuedIdentity {
        certificate_chain_pem,
        roots_pem,
        bridges_pem,
        agents_address,
        api_address,
        life,
        trust_digest,
    } = issued;
    let offered = pem::certificates(roots_pem.as_bytes(), "the controller's roots").map_err(unusable)?;
    let bridges = match bridges_pem.trim() {
        "" => Vec::new(),
        text => pem::certificates(text.as_bytes(), "the controller's bridges").map_err(unusable)?,
    };
    vouched(&present.roots().map_err(unusable)?, &offered, &bridges).map_err(unusable)?;
    let life = convert::duration(life).unwrap_or(CERTIFICATE_LIFE);
    Ok(Identity {
        agent: present.agent,
        name: present.name.clone(),
        agents_address,
        enrolled_at: api_address,
        certificate_chain: certificate_chain_pem,
        root: roots_pem,
        issued_at: Some(clock.now()),
        life_seconds: life.as_secs(),
        trust_digest,
    })
}

fn timed(mut config: rustls::ClientConfig, clock: &SharedClock) -> rustls::ClientConfig {
    config.time_provider = Arc::new(TlsClock(clock.clone()));
    config
}

async fn connect(address: &str, connector: Connector) -> Result<Channel, tonic::Status> {
    let endpoint = endpoint(address).map_err(|error| tonic::Status::unavailable(error.message))?;
    endpoint
        .connect_with_connector(connector)
        .await
        .map_err(|error| tonic::Status::from_error(Box::new(error)))
}

/// What the controller sent, or what is stored here, is no use.
fn unusable(problem: impl std::fmt::Display) -> LinkError {
    LinkError {
        fault: LinkFault::Refused,
        reason: String::new(),
        message: format!("the certificate cannot be used: {problem}"),
        retry_after: None,
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("agent", &self.agent()).finish_non_exhaustive()
    }
}
