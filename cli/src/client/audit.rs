//! Calls about the audit log.

use std::time::SystemTime;

use tonic::Streaming;
use tradepost_domain::audit::Link;
use tradepost_proto::v1;
use tradepost_proto::v1::audit_service_client::AuditServiceClient;

use super::calls::{Listed, call, listed};
use super::{Client, Repeat, convert, status};
use crate::error::{Error, Result};
use crate::model;

/// Which entries.
#[derive(Debug, Default)]
pub(crate) struct AuditFilter {
    pub(crate) actor_id: String,
    pub(crate) method: String,
    pub(crate) target_id: String,
    pub(crate) since: Option<SystemTime>,
    pub(crate) until: Option<SystemTime>,
}

/// A piece of the whole log.
pub(crate) enum AuditPart {
    Links(Vec<Link>),
    End(AuditEnd),
}

/// What stands at the end.
#[derive(Debug, Clone)]
pub(crate) struct AuditEnd {
    /// A signed checkpoint of what was sent, a line of JSON.
    pub(crate) checkpoint: String,
    /// Entries that have no place yet, and are not among those sent.
    pub(crate) waiting: u64,
    pub(crate) waiting_since: Option<model::Time>,
}

/// The whole log as it comes.
pub(crate) enum AuditStream {
    Own(Streaming<v1::StreamAuditEntriesResponse>),
    System(Streaming<v1::StreamSystemAuditEntriesResponse>),
}

impl Client {
    /// Newest first; of all chains for `system`.
    pub(crate) async fn list_audit_entries(
        &self,
        system: bool,
        filter: &AuditFilter,
        limit: usize,
    ) -> Result<Listed<model::AuditEntry>> {
        listed(limit, async |page_size, page_token| {
            let AuditFilter { actor_id, method, target_id, since, until } = filter;
            let filter = Some(v1::AuditFilter {
                actor_id: actor_id.clone(),
                method: method.clone(),
                target_id: target_id.clone(),
                since: since.map(Into::into),
                until: until.map(Into::into),
            });
            let (entries, next) = if system {
                let chain = String::new();
                let request = v1::ListSystemAuditEntriesRequest { page_size, page_token, filter, chain };
                let answer = call!(self, Harmless, AuditServiceClient.list_system_audit_entries(request))?;
                (answer.entries, answer.next_page_token)
            } else {
                let request = v1::ListAuditEntriesRequest { page_size, page_token, filter };
                let answer = call!(self, Harmless, AuditServiceClient.list_audit_entries(request))?;
                (answer.entries, answer.next_page_token)
            };
            Ok((entries.into_iter().map(convert::audit_entry).collect(), next))
        })
        .await
    }

    /// The whole log, from its beginning.
    pub(crate) async fn stream_audit_entries(&self, system: bool) -> Result<AuditStream> {
        if system {
            let request = v1::StreamSystemAuditEntriesRequest { chain: String::new() };
            call!(self, Harmless, AuditServiceClient.stream_system_audit_entries(request))
                .map(AuditStream::System)
        } else {
            let request = v1::StreamAuditEntriesRequest {};
            call!(self, Harmless, AuditServiceClient.stream_audit_entries(request)).map(AuditStream::Own)
        }
    }

    /// The next piece; none behind the end.
    pub(crate) async fn next_audit_part(&self, stream: &mut AuditStream) -> Result<Option<AuditPart>> {
        let next = async {
            Ok(match stream {
                AuditStream::Own(stream) => stream.message().await?.map(|part| (part.entries, part.end)),
                AuditStream::System(stream) => stream.message().await?.map(|part| (part.entries, part.end)),
            })
        };
        let next = match tokio::time::timeout(self.timeout, next).await {
            Ok(Ok(next)) => next,
            Ok(Err(error)) => return Err(status::error(&self.origin, &error)),
            Err(_) => return Err(status::no_answer(&self.origin, self.timeout)),
        };
        let Some((entries, end)) = next else { return Ok(None) };
        if let Some(v1::AuditEnd { checkpoint, waiting, waiting_since }) = end {
            let waiting_since = convert::time(waiting_since);
            return Ok(Some(AuditPart::End(AuditEnd { checkpoint, waiting, waiting_since })));
        }
        let links: std::result::Result<Vec<Link>, _> = entries.into_iter().map(Link::try_from).collect();
        links
            .map(|links| Some(AuditPart::Links(links)))
            .map_err(|error| Error::failed(format!("the controller sent something else: {error}")))
    }

    /// A signed word about the log's end, a line of JSON.
    pub(crate) async fn audit_checkpoint(&self, system: bool) -> Result<String> {
        if system {
            let request = v1::GetSystemAuditCheckpointRequest {};
            call!(self, Harmless, AuditServiceClient.get_system_audit_checkpoint(request))
                .map(|answer| answer.checkpoint)
        } else {
            let request = v1::GetAuditCheckpointRequest {};
            call!(self, Harmless, AuditServiceClient.get_audit_checkpoint(request))
                .map(|answer| answer.checkpoint)
        }
    }
}
