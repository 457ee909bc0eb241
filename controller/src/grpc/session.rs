//! AgentSessionService.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};
use tradepost_domain::field::Violations;
use tradepost_proto::v1::agent_session_service_server::AgentSessionService;
use tradepost_proto::{convert, v1};

use super::{Api, calling_agent, checked, chunks, status};
use crate::service::{Error, Reason};
use crate::session::connection::Connection;
use crate::session::registry::OUTBOUND;

#[async_trait]
impl AgentSessionService for Api {
    type OpenStream = ReceiverStream<Result<v1::OpenResponse, Status>>;
    type FetchPhotoStream = Pin<Box<dyn Stream<Item = Result<v1::FetchPhotoResponse, Status>> + Send>>;

    async fn open(
        &self,
        request: Request<Streaming<v1::OpenRequest>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let agent = calling_agent(&request)?;
        let shutdown = self.tasks.shutdown_token();
        if shutdown.is_cancelled() {
            return Err(status::from(
                Error::new(Reason::ShuttingDown, "the controller is shutting down")
                    .retry_after(std::time::Duration::from_secs(1)),
            ));
        }
        let (frames, receiver) = mpsc::channel(OUTBOUND);
        let identity = Arc::clone(&self.identity);
        let connection = Connection {
            core: self.core.clone(),
            sessions: self.sessions.clone(),
            agent,
            trust: Arc::new(move || identity.digest()),
            frames,
            end: shutdown.child_token(),
            status: status::from,
        };
        self.tasks.spawn("agent-stream", connection.serve(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_photo(
        &self,
        request: Request<v1::FetchPhotoRequest>,
    ) -> Result<Response<Self::FetchPhotoStream>, Status> {
        let agent = calling_agent(&request)?;
        let v1::FetchPhotoRequest { job_id, sha256 } = request.into_inner();
        let mut violations = Violations::new();
        let job = convert::id(&mut violations, "job_id", &job_id);
        let hash = convert::id(&mut violations, "sha256", &sha256);
        let (job, hash) = checked(violations, job.zip(hash))?;
        let content = self.core.photo_for_job(agent, job, hash).await.map_err(status::from)?;
        Ok(Response::new(Box::pin(chunks::send(content, |chunk| v1::FetchPhotoResponse { chunk }))))
    }
}
