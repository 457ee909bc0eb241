//! The connection to the controller: the only user of tonic and of the generated messages.
//!
//! Every call carries the token, a deadline and, when spans are exported, the W3C trace context. Calls that may be
//! repeated without harm are repeated while the controller is unavailable. A session is refreshed by itself ([`keeper`]),
//! and a person at a terminal is asked for a fresh proof where a call needs one.
//!
//! To add a call: a method in `calls`, its message's conversion in `convert`.

mod audit;
mod calls;
mod convert;
mod credentials;
mod feed;
mod keeper;
mod people;
mod status;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tradepost_runtime::backoff::Backoff;
use tradepost_runtime::clock::{Clock, SystemClock};
use tradepost_runtime::ids::Ids;
use tradepost_runtime::telemetry;
use tradepost_runtime::tls::{self, Connector};
use url::Url;

pub(crate) use self::audit::{AuditEnd, AuditFilter, AuditPart};
pub(crate) use self::calls::{DeadLetters, Listed, Remedy};
pub(crate) use self::feed::{Feed, Next};
use self::keeper::Keeper;
pub(crate) use self::people::Login;
use crate::config::{Credential, Settings};
use crate::error::{Error, Exit, Result};
use crate::prompt;

/// How often a call is tried while the controller is unavailable.
const TRIES: u32 = 5;

/// Whether a call may be sent again when its answer got lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Harmless,
    Never,
}

/// What calls carry.
#[derive(Debug, Clone)]
enum Authorization {
    None,
    Token(MetadataValue<Ascii>),
    Session(Arc<Keeper>),
}

/// Names the workspace that a call works in.
const WORKSPACE: &str = "tradepost-workspace";

/// A connection to one controller. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Channel,
    authorization: Authorization,
    workspace: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    ids: Ids,
    origin: status::Origin,
}

impl Client {
    /// Connects. The error says which of address, authority and network is at fault.
    pub(crate) async fn connect(settings: &Settings, timeout: Duration) -> Result<Self> {
        let origin = status::Origin {
            server: settings.server.clone(),
            ca_file: settings.ca_file.clone(),
            context: settings.context.clone(),
        };
        let endpoint = endpoint(&settings.server)?;
        let connector = connector(settings)?;
        let connecting = endpoint.connect_with_connector(connector);
        let channel = match tokio::time::timeout(timeout, connecting).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(status::connect_error(&origin, &error)),
            Err(_) => return Err(status::no_answer(&origin, timeout)),
        };
        let authorization = match &settings.credential {
            Credential::None => Authorization::None,
            Credential::Token(token) => Authorization::Token(bearer(token)?),
            Credential::Session(vault) => {
                Authorization::Session(Arc::new(Keeper::new(vault.clone(), channel.clone(), timeout)))
            }
        };
        let workspace = settings.workspace.as_deref().map(workspace_header).transpose()?;
        Ok(Self { channel, authorization, workspace, timeout, ids: Ids::from_system(), origin })
    }

    /// The controller's address.
    pub(crate) fn server(&self) -> &str {
        &self.origin.server
    }

    /// Delays between tries to reach a controller that went away.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(Duration::from_millis(400), Duration::from_secs(4), self.ids.clone())
    }

    /// A fresh name for one mutation.
    fn request_id(&self) -> String {
        self.ids.uuid(SystemClock.now()).to_string()
    }

    async fn request<T>(&self, message: T, timeout: Option<Duration>) -> Result<Request<T>> {
        let authorization = match &self.authorization {
            Authorization::None => None,
            Authorization::Token(token) => Some(token.clone()),
            Authorization::Session(keeper) => Some(bearer(&keeper.access(&self.origin).await?)?),
        };
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let Some(authorization) = authorization {
            metadata.insert("authorization", authorization);
        }
        if let Some(workspace) = &self.workspace {
            metadata.insert(WORKSPACE, workspace.clone());
        }
        if let Some(value) = telemetry::current_traceparent().and_then(|text| text.parse().ok()) {
            metadata.insert(telemetry::TRACEPARENT, value);
        }
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        Ok(request)
    }

    /// Makes one unary call within the deadline. A session that was ended early is refreshed once, and a fresh proof is
    /// asked for once, where there is somebody to ask.
    async fn call<Q, A, F>(
        &self,
        repeat: Repeat,
        message: Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A>
    where
        Q: Clone,
        F: Future<Output = std::result::Result<Response<A>, Status>>,
    {
        let (mut refreshed, mut proven) = (false, false);
        loop {
            let status = match self.attempt(repeat, &message, &send).await? {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            match (&self.authorization, status::reason(&status).as_deref()) {
                (Authorization::Session(keeper), Some("TOKEN_INVALID")) if !refreshed => {
                    refreshed = true;
                    keeper.refresh(&self.origin).await?;
                }
                (Authorization::Session(_), Some("STEP_UP_REQUIRED"))
                    if !proven && prompt::has_terminal() =>
                {
                    proven = true;
                    Box::pin(self.step_up()).await?;
                }
                _ => return Err(status::error(&self.origin, &status)),
            }
        }
    }

    /// One call, tried again while the controller is unavailable; the error is no answer in time.
    async fn attempt<Q, A, F>(
        &self,
        repeat: Repeat,
        message: &Q,
        send: &impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<std::result::Result<Response<A>, Status>>
    where
        Q: Clone,
        F: Future<Output = std::result::Result<Response<A>, Status>>,
    {
        let tries = async {
            let mut backoff =
                Backoff::new(Duration::from_millis(300), Duration::from_secs(3), self.ids.clone());
            let mut tried = 1;
            loop {
                let request = self.request(message.clone(), Some(self.timeout)).await?;
                let answer = send(self.channel.clone(), request).await;
                match answer {
                    Err(status)
                        if status.code() == Code::Unavailable
                            && repeat == Repeat::Harmless
                            && tried < TRIES =>
                    {
                        tracing::debug!(%status, tried, "unavailable; trying again");
                        tried += 1;
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                    answer => return Ok(answer),
                }
            }
        };
        match tokio::time::timeout(self.timeout, tries).await {
            Ok(answer) => answer,
            Err(_) => Err(status::no_answer(&self.origin, self.timeout)),
        }
    }
}

fn workspace_header(named: &str) -> Result<MetadataValue<Ascii>> {
    named.parse().map_err(|_| {
        Error::usage(format!("--workspace: {named:?} cannot be sent; name the workspace by its id"))
    })
}

fn endpoint(server: &str) -> Result<Endpoint> {
    let invalid =
        || Error::usage(format!("{server:?} is not an address; write for example https://127.0.0.1:7443"));
    let url = Url::parse(server).map_err(|_| invalid())?;
    let host = url.host_str().ok_or_else(invalid)?;
    let authority = format!("{host}:{}", url.port_or_known_default().unwrap_or(443));
    // TLS is the connector's: with an https address tonic would insist on doing it itself.
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|_| invalid())?;
    let origin = format!("https://{authority}").parse().map_err(|_| invalid())?;
    endpoint
        .origin(origin)
        .user_agent(format!("tradepost/{}", tradepost_runtime::build::VERSION))
        .map(|endpoint| {
            endpoint
                .http2_keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .keep_alive_while_idle(true)
        })
        .map_err(|error| Error::failed(format!("cannot set up the connection: {error}")))
}

fn connector(settings: &Settings) -> Result<Connector> {
    let origin = settings.ca_file.display().to_string();
    let connector = || {
        let certificates = tls::pem::certificates(&settings.ca_pem, &origin)?;
        let roots = tls::pem::roots(&certificates)?;
        Ok::<_, tls::Error>(Connector::new(tls::client_config(roots, None)?))
    };
    connector().map_err(|error| {
        Error::usage(format!("the authority's certificate does not work: {error}"))
            .hint("--ca-file takes the PEM file that the controller writes in its data directory")
    })
}

fn bearer(token: &SecretString) -> Result<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {}", token.expose_secret()).parse().map_err(|_| {
            Error::new(Exit::Denied, "the API token has characters that no token has")
                .hint("copy the token again, whole and in one line")
        })?;
    value.set_sensitive(true);
    Ok(value)
}
