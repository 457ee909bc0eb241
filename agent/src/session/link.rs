//! The seam to the controller.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tradepost_domain::credential::Use;
use tradepost_domain::id::{ContentHash, IntentId, JobId, PermitId, SessionEpoch};

use super::frame::{Hello, Inbound, Outbound, RunKey};
use crate::credentials::sealed::Handed;
use crate::journal::{Outcome, PermitRequest};

/// What the agent asks of a controller. Calls are tried once; callers decide about repetition.
#[async_trait]
pub trait ControllerLink: Send + Sync {
    /// Opens the stream with the first words.
    async fn open(&self, hello: Hello) -> Result<Stream, LinkError>;

    /// Saves baseline and fingerprint of a filled form.
    async fn record_prepared(&self, report: PreparedReport) -> Result<(), LinkError>;

    /// Asks for the permit; a repeat of the same request gives the same one.
    async fn acquire_permit(&self, request: &PermitRequest) -> Result<Granted, LinkError>;

    /// Reports what became of a permit.
    async fn settle(
        &self,
        permit: PermitId,
        request: &PermitRequest,
        outcome: &Outcome,
    ) -> Result<(), LinkError>;

    /// The content of a photo that the job needs, unchecked.
    async fn fetch_photo(&self, job: JobId, hash: ContentHash) -> Result<Vec<u8>, LinkError>;

    /// Stores one evidence file.
    async fn upload_evidence(&self, file: &EvidenceUpload) -> Result<(), LinkError>;

    /// Tells the key that sellers seal credentials to, signed by this agent.
    async fn tell_credential_key(&self, public_key: [u8; 32]) -> Result<(), LinkError>;

    /// The credential of the account that the run acts for, if there is one.
    async fn fetch_credential(&self, run: RunKey) -> Result<Option<Handed>, LinkError>;

    /// Tells what became of a sign-in with a credential.
    async fn report_credential_use(
        &self,
        run: RunKey,
        generation: i64,
        outcome: Use,
    ) -> Result<(), LinkError>;
}

/// An open stream. Dropping either half ends it.
pub struct Stream {
    /// To the controller; bounded.
    pub outbound: mpsc::Sender<Outbound>,
    /// From the controller; the last item says why it ended.
    pub inbound: BoxStream<'static, Result<Inbound, LinkError>>,
}

/// A filled form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedReport {
    /// The run that filled it.
    pub run: RunKey,
    /// The intent.
    pub intent: IntentId,
    /// The stream.
    pub epoch: SessionEpoch,
    /// Own listings before the click.
    pub baseline: Vec<String>,
    /// Hash of the form.
    pub fingerprint: String,
}

/// A permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Its id.
    pub permit: PermitId,
    /// Its life, counted from the first sending of the request.
    pub ttl: Duration,
}

/// One evidence file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceUpload {
    /// The run.
    pub run: RunKey,
    /// What it shows.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its content's hash.
    pub hash: ContentHash,
    /// The content.
    pub content: Vec<u8>,
}

/// What helps against an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkFault {
    /// The controller cannot be reached or cannot answer now; the same call may work later.
    Unavailable,
    /// The controller does not know or no longer accepts this agent.
    Identity,
    /// The controller has refused; repeating does not help.
    Refused,
}

/// Why a call did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LinkError {
    /// What helps.
    pub fault: LinkFault,
    /// The controller's stable reason, e.g. `ACCOUNT_BUSY`; empty when it gave none.
    pub reason: String,
    /// One line.
    pub message: String,
    /// When to try again, if the controller says so.
    pub retry_after: Option<Duration>,
}

impl LinkError {
    /// A fault of the way to the controller.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            fault: LinkFault::Unavailable,
            reason: String::new(),
            message: message.into(),
            retry_after: None,
        }
    }

    /// Whether the same call may work later.
    pub fn is_passing(&self) -> bool {
        self.fault == LinkFault::Unavailable
    }
}
