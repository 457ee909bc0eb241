//! The link over mutual TLS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tradepost_domain::credential::Use;
use tradepost_domain::id::{ContentHash, JobId, PermitId};
use tradepost_domain::photo::BYTES_MAX;
use tradepost_domain::publish::PERMIT_TTL;
use tradepost_proto::v1;
use tradepost_proto::v1::agent_credential_service_client::AgentCredentialServiceClient;
use tradepost_proto::v1::agent_session_service_client::AgentSessionServiceClient;
use tradepost_proto::v1::publish_permit_service_client::PublishPermitServiceClient;
use tradepost_runtime::tls::Connector;

use super::convert;
use super::frame::{Hello, Outbound, RunKey};
use super::keeper::Keeper;
use super::link::{ControllerLink, EvidenceUpload, Granted, LinkError, LinkFault, PreparedReport, Stream};
use crate::credentials::sealed::Handed;
use crate::evidence;
use crate::journal::{Outcome, PermitRequest};

/// Frames waiting to be sent.
const OUTBOUND: usize = 256;
/// Longest wait for the answer to one call.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Longest transfer of a photo.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(120);
/// HTTP/2 ping, and how long its answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// The connection to the listener for agents. It is opened when needed, and again when it was lost.
#[derive(Debug, Clone)]
pub struct RemoteController {
    channel: Channel,
    keeper: Arc<Keeper>,
}

/// Why a call did not work.
pub(super) struct Failed {
    pub(super) error: LinkError,
    /// One side did not accept the other's certificate.
    pub(super) is_certificate: bool,
}

impl RemoteController {
    /// With the agent's identity, as `keeper` has it at each connection.
    pub fn new(keeper: Arc<Keeper>) -> Result<Self, LinkError> {
        let endpoint = endpoint(&keeper.identity().agents_address)?;
        let connector = Connector::reloading(keeper.tls());
        Ok(Self { channel: endpoint.connect_with_connector_lazy(connector), keeper })
    }
}

/// An endpoint for a connector that does TLS itself; so its scheme, which tonic goes by, is the plain one.
pub(super) fn endpoint(address: &str) -> Result<Endpoint, LinkError> {
    let wrong = |_| LinkError {
        fault: LinkFault::Refused,
        reason: String::new(),
        message: format!("{address:?} is no address of the form host:port"),
        retry_after: None,
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(wrong)?;
    let origin = format!("https://{address}").parse().map_err(|_| LinkError::unavailable("no address"))?;
    Ok(endpoint
        .origin(origin)
        .http2_keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .keep_alive_while_idle(true))
}

/// Gives up on a call that takes too long.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, LinkError> {
    tried(limit, call).await.map_err(|failed| failed.error)
}

/// The same, telling whether another certificate may help.
pub(super) async fn tried<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|status| Failed {
            error: link_error(&status),
            is_certificate: is_about_certificates(&status),
        }),
        Err(_) => Err(Failed {
            error: LinkError::unavailable(format!(
                "the controller did not answer within {} s",
                limit.as_secs()
            )),
            is_certificate: false,
        }),
    }
}

/// What a status means for the agent.
pub fn link_error(status: &Status) -> LinkError {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let fault = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => LinkFault::Identity,
        _ if matches!(reason.as_str(), "AGENT_REVOKED" | "AGENT_NEEDS_APPROVAL") => LinkFault::Identity,
        Code::Aborted
            if matches!(reason.as_str(), "" | "CONTENTION" | "JOIN_STALE" | "RETURN_CHALLENGE_INVALID") =>
        {
            LinkFault::Unavailable
        }
        Code::Aborted
        | Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Unimplemented => LinkFault::Refused,
        _ => LinkFault::Unavailable,
    };
    let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    LinkError { fault, reason, message: message(status), retry_after }
}

/// The status's words; for a connection that failed, the innermost cause.
fn message(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}

impl RemoteController {
    async fn open_once(&self, hello: Hello) -> Result<Stream, Failed> {
        let join = self.keeper.count_join().map_err(|error| Failed { error, is_certificate: false })?;
        let (outbound, frames) = mpsc::channel::<Outbound>(OUTBOUND);
        let requests = futures::stream::iter([convert::hello(hello, join)])
            .chain(ReceiverStream::new(frames).map(convert::outbound));
        let mut client = AgentSessionServiceClient::new(self.channel.clone());
        let answer = tried(CALL_DEADLINE, client.open(requests)).await?;
        let keeper = Arc::clone(&self.keeper);
        let inbound = answer.into_inner().map(move |message| match message {
            Ok(message) => {
                keeper.overhear(&message);
                convert::inbound(message).map_err(|violations| LinkError {
                    fault: LinkFault::Unavailable,
                    reason: String::new(),
                    message: format!("the controller sent a frame that is wrong: {violations}"),
                    retry_after: None,
                })
            }
            Err(status) => Err(link_error(&status)),
        });
        // Frames that this version does not know are passed over.
        let inbound = inbound.try_filter_map(|frame| std::future::ready(Ok(frame))).boxed();
        Ok(Stream { outbound, inbound })
    }
}

/// Whether the connection failed because one side did not like the other's certificate. rustls wraps its errors in those of
/// the libraries above it, so its words are what is left to go by.
fn is_about_certificates(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let words = error.to_string();
        if words.contains("received fatal alert") || words.contains("invalid peer certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[async_trait]
impl ControllerLink for RemoteController {
    async fn open(&self, hello: Hello) -> Result<Stream, LinkError> {
        self.keeper.prepare().await?;
        match self.open_once(hello.clone()).await {
            Ok(stream) => Ok(stream),
            Err(Failed { error, is_certificate }) => {
                if error.is_passing() && self.keeper.mend(is_certificate).await? {
                    self.open_once(hello).await.map_err(|again| again.error)
                } else {
                    Err(error)
                }
            }
        }
    }

    async fn record_prepared(&self, report: PreparedReport) -> Result<(), LinkError> {
        let PreparedReport { run, intent, epoch, baseline, fingerprint } = report;
        let request = v1::RecordPreparedRequest {
            run: Some(convert::run_ref(run)),
            intent_id: intent.to_string(),
            session_epoch: epoch.0,
            baseline_item_ids: baseline,
            fingerprint,
        };
        let mut client = PublishPermitServiceClient::new(self.channel.clone());
        within(CALL_DEADLINE, client.record_prepared(request)).await.map(drop)
    }

    async fn acquire_permit(&self, request: &PermitRequest) -> Result<Granted, LinkError> {
        let PermitRequest { request, run, intent, generation, epoch, baseline_sha256, fingerprint } =
            request.clone();
        let message = v1::AcquirePublishPermitRequest {
            permit_request_id: request,
            run: Some(convert::run_ref(run)),
            intent_id: intent.to_string(),
            generation,
            session_epoch: epoch.0,
            baseline_sha256,
            fingerprint,
        };
        let mut client = PublishPermitServiceClient::new(self.channel.clone());
        let answer = within(CALL_DEADLINE, client.acquire_publish_permit(message)).await?;
        let v1::AcquirePublishPermitResponse { permit_id, ttl } = answer.into_inner();
        let permit: PermitId = permit_id
            .parse()
            .map_err(|_| LinkError::unavailable("the controller's answer holds no permit"))?;
        // A permit never lives longer here than the protocol says, whatever the answer holds.
        let ttl = convert::duration(ttl).unwrap_or_default().min(PERMIT_TTL);
        Ok(Granted { permit, ttl })
    }

    async fn settle(
        &self,
        permit: PermitId,
        request: &PermitRequest,
        outcome: &Outcome,
    ) -> Result<(), LinkError> {
        use v1::settle_publication_request::Outcome as Wire;
        let outcome = match outcome.clone() {
            Outcome::Confirmed(receipt) => {
                Wire::Confirmed(v1::Confirmed { receipt: Some((*receipt).into()) })
            }
            Outcome::NotClicked(reason) => Wire::NotClicked(v1::NotClicked { reason }),
            Outcome::Uncertain(reason) => Wire::Uncertain(v1::Uncertain { reason }),
        };
        let message = v1::SettlePublicationRequest {
            intent_id: request.intent.to_string(),
            permit_id: permit.to_string(),
            run: Some(convert::run_ref(request.run)),
            outcome: Some(outcome),
        };
        let mut client = PublishPermitServiceClient::new(self.channel.clone());
        within(CALL_DEADLINE, client.settle_publication(message)).await.map(drop)
    }

    async fn fetch_photo(&self, job: JobId, hash: ContentHash) -> Result<Vec<u8>, LinkError> {
        let request = v1::FetchPhotoRequest { job_id: job.to_string(), sha256: hash.to_string() };
        let mut client = AgentSessionServiceClient::new(self.channel.clone());
        let fetch = async {
            let mut chunks = client.fetch_photo(request).await?.into_inner();
            let mut content = Vec::new();
            while let Some(v1::FetchPhotoResponse { chunk }) = chunks.message().await? {
                if content.len() + chunk.len() > BYTES_MAX {
                    return Err(Status::out_of_range("the photo is longer than 20 MiB"));
                }
                content.extend_from_slice(&chunk);
            }
            Ok(content)
        };
        within(TRANSFER_DEADLINE, fetch).await
    }

    async fn upload_evidence(&self, file: &EvidenceUpload) -> Result<(), LinkError> {
        within(TRANSFER_DEADLINE, evidence::upload(self.channel.clone(), file)).await
    }

    async fn tell_credential_key(&self, public_key: [u8; 32]) -> Result<(), LinkError> {
        let (identity_key, signature) = self.keeper.sign_credential_key(&public_key)?;
        let request =
            v1::TellCredentialKeyRequest { public_key: public_key.to_vec(), identity_key, signature };
        let mut client = AgentCredentialServiceClient::new(self.channel.clone());
        within(CALL_DEADLINE, client.tell_credential_key(request)).await.map(drop)
    }

    async fn fetch_credential(&self, run: RunKey) -> Result<Option<Handed>, LinkError> {
        let request = v1::FetchCredentialRequest { run: Some(convert::run_ref(run)) };
        let mut client = AgentCredentialServiceClient::new(self.channel.clone());
        let answer = within(CALL_DEADLINE, client.fetch_credential(request)).await?.into_inner();
        let v1::FetchCredentialResponse { sealed, workspace_id, generation, key_id: _ } = answer;
        if sealed.is_empty() {
            return Ok(None);
        }
        let workspace = workspace_id
            .parse()
            .map_err(|_| LinkError::unavailable("the controller's answer holds no workspace"))?;
        Ok(Some(Handed { workspace, generation, sealed }))
    }

    async fn report_credential_use(
        &self,
        run: RunKey,
        generation: i64,
        outcome: Use,
    ) -> Result<(), LinkError> {
        let outcome = match outcome {
            Use::Accepted => v1::CredentialUse::Accepted,
            Use::Refused => v1::CredentialUse::Refused,
            Use::Unclear => return Ok(()),
        };
        let run = Some(convert::run_ref(run));
        let request = v1::ReportCredentialUseRequest { run, generation, outcome: outcome.into() };
        let mut client = AgentCredentialServiceClient::new(self.channel.clone());
        within(CALL_DEADLINE, client.report_credential_use(request)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn statuses_are_told_apart_by_what_helps() {
        let fault = |status: Status| link_error(&status).fault;
        assert_eq!(fault(Status::unavailable("gone")), LinkFault::Unavailable);
        assert_eq!(fault(Status::unauthenticated("who?")), LinkFault::Identity);
        assert_eq!(fault(Status::aborted("busy")), LinkFault::Unavailable);
        let with_reason = |code, reason: &str| {
            let details =
                ErrorDetails::with_error_info(reason, "tradepost", std::collections::HashMap::new());
            Status::with_error_details(code, "why", details)
        };
        let revoked = with_reason(Code::FailedPrecondition, "AGENT_REVOKED");
        assert_eq!(fault(revoked), LinkFault::Identity, "an outcome is kept, not given up");
        assert_eq!(fault(with_reason(Code::Aborted, "CONTENTION")), LinkFault::Unavailable);
        let stale = with_reason(Code::Aborted, "STALE_RUN");
        assert_eq!(link_error(&stale).reason, "STALE_RUN");
        assert_eq!(fault(stale), LinkFault::Refused);
    }
}
