//! AuditService.

use std::pin::Pin;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::audit::{Chain, Head};
use tradepost_domain::field::Violations;
use tradepost_proto::convert::time;
use tradepost_proto::v1::audit_service_server::AuditService;
use tradepost_proto::{convert, v1};
use tradepost_store::{AuditFilter, Listed, Waiting};

use super::{Api, caller, checked, status};
use crate::service::AuditLog;
use crate::service::error::Result as Served;
use crate::service::page::{Page, Query};

/// Messages that wait for a slow reader.
const AHEAD: usize = 4;

/// What an export is made of.
enum Part {
    Links(Vec<v1::AuditEntry>),
    End(v1::AuditEnd),
}

#[async_trait]
impl AuditService for Api {
    type StreamAuditEntriesStream =
        Pin<Box<dyn Stream<Item = Result<v1::StreamAuditEntriesResponse, Status>> + Send>>;
    type StreamSystemAuditEntriesStream =
        Pin<Box<dyn Stream<Item = Result<v1::StreamSystemAuditEntriesResponse, Status>> + Send>>;

    async fn list_audit_entries(
        &self,
        request: Request<v1::ListAuditEntriesRequest>,
    ) -> Result<Response<v1::ListAuditEntriesResponse>, Status> {
        let chain = Chain(Some(caller(&request)?.workspace));
        let v1::ListAuditEntriesRequest { page_size, page_token, filter } = request.into_inner();
        let mut violations = Violations::new();
        let filter = filter_of(&mut violations, filter.unwrap_or_default(), Some(chain));
        let filter = checked(violations, Some(filter))?;
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } = self.log.entries(filter, &query).await.map_err(status::from)?;
        let entries = rows.into_iter().map(wire).collect();
        Ok(Response::new(v1::ListAuditEntriesResponse { entries, next_page_token: next_token }))
    }

    async fn stream_audit_entries(
        &self,
        request: Request<v1::StreamAuditEntriesRequest>,
    ) -> Result<Response<Self::StreamAuditEntriesStream>, Status> {
        let chain = Chain(Some(caller(&request)?.workspace));
        let v1::StreamAuditEntriesRequest {} = request.into_inner();
        let stream = self.export(vec![chain], |part| match part {
            Part::Links(entries) => v1::StreamAuditEntriesResponse { entries, end: None },
            Part::End(end) => v1::StreamAuditEntriesResponse { entries: Vec::new(), end: Some(end) },
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_audit_checkpoint(
        &self,
        request: Request<v1::GetAuditCheckpointRequest>,
    ) -> Result<Response<v1::GetAuditCheckpointResponse>, Status> {
        let chain = Chain(Some(caller(&request)?.workspace));
        let v1::GetAuditCheckpointRequest {} = request.into_inner();
        let head = self.log.head(chain).await.map_err(status::from)?;
        let checkpoint = self.log.checkpoint(vec![head]).to_line();
        Ok(Response::new(v1::GetAuditCheckpointResponse { checkpoint }))
    }

    async fn list_system_audit_entries(
        &self,
        request: Request<v1::ListSystemAuditEntriesRequest>,
    ) -> Result<Response<v1::ListSystemAuditEntriesResponse>, Status> {
        let v1::ListSystemAuditEntriesRequest { page_size, page_token, filter, chain } = request.into_inner();
        let mut violations = Violations::new();
        let chain = convert::optional_id(&mut violations, "chain", &chain);
        let filter = filter_of(&mut violations, filter.unwrap_or_default(), chain);
        let filter = checked(violations, Some(filter))?;
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } = self.log.entries(filter, &query).await.map_err(status::from)?;
        let entries = rows.into_iter().map(wire).collect();
        Ok(Response::new(v1::ListSystemAuditEntriesResponse { entries, next_page_token: next_token }))
    }

    async fn stream_system_audit_entries(
        &self,
        request: Request<v1::StreamSystemAuditEntriesRequest>,
    ) -> Result<Response<Self::StreamSystemAuditEntriesStream>, Status> {
        let v1::StreamSystemAuditEntriesRequest { chain } = request.into_inner();
        let mut violations = Violations::new();
        let chain: Option<Chain> = convert::optional_id(&mut violations, "chain", &chain);
        let chains = if let Some(chain) = checked(violations, Some(chain))? {
            vec![chain]
        } else {
            let heads = self.log.heads().await.map_err(status::from)?;
            heads.into_iter().map(|head| head.chain).collect()
        };
        let stream = self.export(chains, |part| match part {
            Part::Links(entries) => v1::StreamSystemAuditEntriesResponse { entries, end: None },
            Part::End(end) => v1::StreamSystemAuditEntriesResponse { entries: Vec::new(), end: Some(end) },
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_system_audit_checkpoint(
        &self,
        request: Request<v1::GetSystemAuditCheckpointRequest>,
    ) -> Result<Response<v1::GetSystemAuditCheckpointResponse>, Status> {
        let v1::GetSystemAuditCheckpointRequest {} = request.into_inner();
        let heads = self.log.heads().await.map_err(status::from)?;
        let checkpoint = self.log.checkpoint(heads).to_line();
        Ok(Response::new(v1::GetSystemAuditCheckpointResponse { checkpoint }))
    }
}

impl Api {
    /// The links of the chains, and a checkpoint of just those. A page is read while the one before it is sent.
    fn export<M: Send + 'static>(
        &self,
        chains: Vec<Chain>,
        message: fn(Part) -> M,
    ) -> ReceiverStream<Result<M, Status>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (log, shutdown) = (self.log.clone(), self.tasks.shutdown_token());
        self.tasks.spawn("audit-export", async move {
            let sent = tokio::select! {
                () = shutdown.cancelled() => return,
                sent = send_chains(&log, chains, &sender, message) => sent,
            };
            if let Err(error) = sent {
                // A failed send: the reader has gone away.
                drop(sender.send(Err(status::from(error))).await);
            }
        });
        ReceiverStream::new(receiver)
    }
}

async fn send_chains<M>(
    log: &AuditLog,
    chains: Vec<Chain>,
    sender: &mpsc::Sender<Result<M, Status>>,
    message: fn(Part) -> M,
) -> Served<()> {
    let one = match chains.as_slice() {
        [chain] => Some(*chain),
        _ => None,
    };
    let mut heads = Vec::with_capacity(chains.len());
    for chain in chains {
        match send_chain(log, chain, sender, message).await? {
            Some(head) => heads.push(head),
            None => return Ok(()),
        }
    }
    let Waiting { count, oldest } = log.waiting(one).await?;
    let end = v1::AuditEnd {
        checkpoint: log.checkpoint(heads).to_line(),
        waiting: count,
        waiting_since: oldest.map(time::to_wire),
    };
    drop(sender.send(Ok(message(Part::End(end)))).await);
    Ok(())
}

/// Sends a chain up to where it ends; none when the reader has gone away.
async fn send_chain<M>(
    log: &AuditLog,
    chain: Chain,
    sender: &mpsc::Sender<Result<M, Status>>,
    message: fn(Part) -> M,
) -> Served<Option<Head>> {
    let mut after = i64::MIN;
    let mut links = log.links(chain, after).await?;
    loop {
        let Some(last) = links.last() else {
            let head = log.head(chain).await?;
            // What got its place since is sent, too, so that the checkpoint speaks of what was sent.
            links = log.links(chain, after).await?;
            if links.is_empty() {
                return Ok(Some(head));
            }
            continue;
        };
        after = last.seq;
        let part = message(Part::Links(links.into_iter().map(Into::into).collect()));
        let (sent, next) = tokio::join!(sender.send(Ok(part)), log.links(chain, after));
        if sent.is_err() {
            return Ok(None);
        }
        links = next?;
    }
}

fn wire(listed: Listed) -> v1::AuditEntry {
    let Listed { seq, hash, entry } = listed;
    v1::AuditEntry {
        seq: seq.unwrap_or_default(),
        hash: hash.map(|hash| hash.0.to_vec()).unwrap_or_default(),
        ..entry.into()
    }
}

fn filter_of(violations: &mut Violations, filter: v1::AuditFilter, chain: Option<Chain>) -> AuditFilter {
    let v1::AuditFilter { actor_id, method, target_id, since, until } = filter;
    AuditFilter {
        chain,
        actor: convert::optional_id(violations, "filter.actor_id", &actor_id),
        method: (!method.is_empty()).then_some(method),
        target: convert::optional_id(violations, "filter.target_id", &target_id),
        since: since.map(time::from_wire),
        until: until.map(time::from_wire),
    }
}
