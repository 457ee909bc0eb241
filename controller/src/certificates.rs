//! The certificates of both listeners: put together, looked at again, replaced without touching an open connection.
//!
//! Every two seconds, and at once on SIGHUP, the authority's folder and the files of `api.certificate_file` and
//! `api.key_file` are looked at. What has changed is taken up from the next connection on; what cannot be used leaves the
//! last good one in place and turns readiness red, as does a certificate that ends soon.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tradepost_domain::standing::ENROLMENT_NAME;
use tradepost_domain::time::Timestamp;
use tradepost_runtime::tasks::Tasks;
use tradepost_runtime::tls::{
    self, Certificates, ClientAuth, Protocols, ReloadingServerConfig, TlsClock, pem, trust,
};

use crate::config::Config;
use crate::identity::{self, Identity};
use crate::metric;
use crate::service::Core;
use crate::session::Sessions;

/// The folder and the files are looked at this often.
const LOOK: Duration = Duration::from_secs(2);
/// Our own certificates are made anew this often.
const RENEW: Duration = Duration::from_secs(24 * 3600);
/// A certificate of one's own that ends within this time is told in the log, once a day.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);
/// One that ends within this time makes the controller unready.
const RED_BEFORE: Duration = Duration::from_secs(24 * 3600);
/// Attached agents renew within this time after the authority has changed.
const RENEW_SPREAD: Duration = Duration::from_secs(20);

/// Why a listener's certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// By the authority.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// By a file or by TLS.
    #[error("TLS: {0}")]
    Tls(#[from] tls::Error),
    /// One of the two files is not configured.
    #[error("api.certificate_file and api.key_file go together; set both or neither")]
    Half,
    /// The certificate of one's own is no use.
    #[error("{}: the certificate has ended; put a new one there, it is taken up by itself", .0.display())]
    Ended(PathBuf),
}

/// A certificate of one's own on the api listener.
#[derive(Debug, Clone)]
struct Own {
    certificate: PathBuf,
    key: PathBuf,
}

/// Whether the listeners' certificates are good; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<HealthState>>,
}

#[derive(Debug, Default)]
struct HealthState {
    problem: Option<String>,
    ends_at: Option<Timestamp>,
}

/// Makes and remakes the certificates.
pub struct Keeper {
    identity: Arc<Identity>,
    core: Core,
    names: Vec<String>,
    own: Option<Own>,
    health: Health,
}

/// The two listeners' configurations.
#[derive(Debug, Clone)]
pub struct Listening {
    /// For people and tools.
    pub api: ReloadingServerConfig,
    /// For agents.
    pub agents: ReloadingServerConfig,
}

impl Health {
    /// Why the controller should get no new callers at `now`; none while all is well.
    pub fn problem(&self, now: Timestamp) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ends_soon = state.ends_at.filter(|end| *end <= now + RED_BEFORE).map(|end| {
            if end <= now {
                String::from("the certificate of the api listener has ended")
            } else {
                format!(
                    "the certificate of the api listener ends in {} hours",
                    end.since(now).as_secs() / 3600
                )
            }
        });
        state.problem.clone().or(ends_soon)
    }

    fn set(&self, problem: Option<String>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).problem = problem;
    }

    fn ends(&self, at: Option<Timestamp>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ends_at = at;
    }
}

impl Keeper {
    /// For the listeners of `config`.
    pub fn new(identity: Arc<Identity>, core: Core, config: &Config) -> Result<Self, Error> {
        let own = match (&config.api.certificate_file, &config.api.key_file) {
            (Some(certificate), Some(key)) => {
                Some(Own { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            _ => return Err(Error::Half),
        };
        Ok(Self { identity, core, names: config.certificate_names(), own, health: Health::default() })
    }

    /// Whether the certificates are good.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// The first configurations; a certificate that is no use is an error here.
    pub fn listening(&self) -> Result<Listening, Error> {
        if let Some(own) = &self.own {
            let (chain, _) = own.read()?;
            let ended = ends_at(&chain).is_none_or(|end| end <= self.core.now());
            if ended {
                return Err(Error::Ended(own.certificate.clone()));
            }
        }
        Ok(Listening {
            api: ReloadingServerConfig::new(self.api()?),
            agents: ReloadingServerConfig::new(self.agents()?),
        })
    }

    fn api(&self) -> Result<rustls::ServerConfig, Error> {
        let (chain, key) = self.identity.server(&self.names, self.core.now())?;
        let certificates = match &self.own {
            None => {
                self.health.ends(ends_at(&chain));
                Certificates::new(chain, key)?
            }
            Some(own) => {
                let (own_chain, own_key) = own.read()?;
                self.health.ends(ends_at(&own_chain));
                Certificates::new(own_chain, own_key)?.with_named(ENROLMENT_NAME, chain, key)?
            }
        };
        Ok(self.on_our_clock(tls::server_config_with(
            certificates,
            Protocols::Tls12AndLater,
            ClientAuth::None,
        )?))
    }

    fn agents(&self) -> Result<rustls::ServerConfig, Error> {
        let (chain, key) = self.identity.server(&self.names, self.core.now())?;
        let auth = ClientAuth::required(self.identity.agent_roots()?);
        Ok(self.on_our_clock(tls::server_config(chain, key, Protocols::Tls13, auth)?))
    }

    fn on_our_clock(&self, mut config: rustls::ServerConfig) -> rustls::ServerConfig {
        config.time_provider = Arc::new(TlsClock(self.core.clock.clone()));
        config
    }

    /// Looks again and again until shutdown.
    pub async fn keep(self, listening: Listening, sessions: Sessions, tasks: Tasks) {
        let shutdown = tasks.shutdown_token();
        let mut hangup = Hangup::new();
        let mut files = self.own.as_ref().and_then(Own::stamp);
        let (mut made_at, mut warned_at) = (self.core.now(), None);
        let mut failing = false;
        loop {
            let asked = tokio::select! {
                () = shutdown.cancelled() => return,
                () = hangup.received() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            self.warn(&mut warned_at);
            let authority = self.identity.reload();
            let stamp = self.own.as_ref().and_then(Own::stamp);
            let changed = !matches!(authority, Ok(false)) || stamp != files;
            if !(asked || changed || failing || self.core.now().since(made_at) >= RENEW) {
                continue;
            }
            let moved = matches!(authority, Ok(true));
            let made = authority.map_err(Error::from).and_then(|_| Ok((self.api()?, self.agents()?)));
            match made {
                Ok((api, agents)) => {
                    listening.api.store(api);
                    listening.agents.store(agents);
                    self.health.set(None);
                    tracing::info!(
                        phase = self.identity.phase().name(),
                        "the listeners' certificates were made anew"
                    );
                    (made_at, files, failing) = (self.core.now(), stamp, false);
                    if moved {
                        sessions.tell_trust(&self.identity.digest(), RENEW_SPREAD);
                    }
                }
                Err(error) => {
                    if !failing {
                        tracing::error!(%error, "certificates cannot be taken up; the last good ones stay");
                    }
                    self.health.set(Some(error.to_string()));
                    failing = true;
                }
            }
        }
    }

    fn warn(&self, warned_at: &mut Option<Instant>) {
        let now = self.core.now();
        let end = self.health.state.lock().unwrap_or_else(PoisonError::into_inner).ends_at;
        let Some(end) = end else { return };
        metric::certificate_ends_in(end.since(now));
        let due = warned_at.is_none_or(|at| at.elapsed() >= RENEW);
        if end <= now + WARN_BEFORE && due {
            *warned_at = Some(Instant::now());
            let hours = end.since(now).as_secs() / 3600;
            tracing::warn!(
                hours,
                "the certificate of the api listener ends soon; put a new one into its file"
            );
        }
    }
}

impl Own {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), tls::Error> {
        Ok((pem::certificates_from_file(&self.certificate)?, pem::private_key_from_file(&self.key)?))
    }

    /// Changes with the files' content; none while they cannot be read.
    fn stamp(&self) -> Option<[u8; 32]> {
        let mut hash = Sha256::new();
        hash.update(std::fs::read(&self.certificate).ok()?);
        hash.update(std::fs::read(&self.key).ok()?);
        Some(hash.finalize().into())
    }
}

fn ends_at(chain: &[CertificateDer<'_>]) -> Option<Timestamp> {
    chain.first().and_then(trust::validity).map(|validity| validity.until)
}

/// SIGHUP, where there is such a thing.
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    fn new() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let signal = signal(SignalKind::hangup());
            if let Err(error) = &signal {
                tracing::warn!(%error, "SIGHUP is not listened to; changed certificates are found by looking");
            }
            Self { signal: signal.ok() }
        }
        #[cfg(not(unix))]
        Self {}
    }

    async fn received(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("own", &self.own).finish_non_exhaustive()
    }
}
