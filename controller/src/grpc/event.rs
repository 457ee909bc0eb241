//! EventService.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::field::Violations;
use tradepost_domain::id::PostingId;
use tradepost_proto::v1::event_service_server::EventService;
use tradepost_proto::v1::stream_events_response::Item;
use tradepost_proto::{convert, v1};
use tradepost_store::{Hint, Principal};

use super::{Api, caller, checked, status};
use crate::service::Core;

/// A stream without events says this often that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Hints may be lost: the feed is looked at this often in any case.
const POLL: Duration = Duration::from_secs(3);
/// Events of one look.
const BATCH: i32 = 200;

type Sender = mpsc::Sender<Result<v1::StreamEventsResponse, Status>>;

#[async_trait]
impl EventService for Api {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<v1::StreamEventsResponse, Status>> + Send>>;

    async fn stream_events(
        &self,
        request: Request<v1::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let caller = caller(&request)?;
        let v1::StreamEventsRequest { after, posting_id } = request.into_inner();
        let mut violations = Violations::new();
        let posting = convert::optional_id(&mut violations, "posting_id", &posting_id);
        let posting = checked(violations, Some(posting))?;
        // Hints are listened to before the first look, so that nothing falls between.
        let hints = self.core.store.hints();
        let seq = self.core.feed_start(&caller, after).await.map_err(status::from)?;
        let (sender, receiver) = mpsc::channel(64);
        let feed = Feed { core: self.core.clone(), caller, posting, seq, sender };
        let shutdown = self.tasks.shutdown_token();
        self.tasks.spawn("event-feed", async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = feed.run(hints) => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListEventsRequest { after, limit, posting_id } = request.into_inner();
        let mut violations = Violations::new();
        let posting = convert::optional_id(&mut violations, "posting_id", &posting_id);
        let posting = checked(violations, Some(posting))?;
        let after = self.core.feed_start(&caller, after.max(0)).await.map_err(status::from)?;
        let events = self.core.events(&caller, after, posting, limit).await.map_err(status::from)?;
        Ok(Response::new(v1::ListEventsResponse { events: events.into_iter().map(Into::into).collect() }))
    }
}

/// One reader of a feed.
struct Feed {
    core: Core,
    caller: Principal,
    posting: Option<PostingId>,
    seq: i64,
    sender: Sender,
}

impl Feed {
    /// Ends when the reader is gone.
    async fn run(mut self, mut hints: broadcast::Receiver<Hint>) {
        let mut silent_since = Instant::now();
        loop {
            match self.forward().await {
                Ok(true) => silent_since = Instant::now(),
                Ok(false) if silent_since.elapsed() >= HEARTBEAT => {
                    let beat = Item::Heartbeat(v1::EventHeartbeat { seq: self.seq });
                    if self.send(beat).await.is_err() {
                        return;
                    }
                    silent_since = Instant::now();
                }
                Ok(false) => {}
                Err(ended) => {
                    if let Some(status) = ended {
                        drop(self.sender.send(Err(status)).await);
                    }
                    return;
                }
            }
            tokio::select! {
                () = self.sender.closed() => return,
                () = self.grown(&mut hints) => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Sends what is new; says whether there was anything. The error is the end of the stream, with its status if any.
    async fn forward(&mut self) -> Result<bool, Option<Status>> {
        let mut any = false;
        loop {
            let events = self
                .core
                .events(&self.caller, self.seq, self.posting, BATCH)
                .await
                .map_err(|error| Some(status::from(error)))?;
            let full = events.len() == usize::try_from(BATCH).unwrap_or(usize::MAX);
            for event in events {
                self.seq = event.seq;
                any = true;
                self.send(Item::Event(event.into())).await.map_err(|()| None)?;
            }
            if !full {
                return Ok(any);
            }
        }
    }

    async fn send(&self, item: Item) -> Result<(), ()> {
        self.sender.send(Ok(v1::StreamEventsResponse { item: Some(item) })).await.map_err(drop)
    }

    async fn grown(&self, hints: &mut broadcast::Receiver<Hint>) {
        loop {
            match hints.recv().await {
                Ok(Hint::Feed(workspace)) if workspace == self.caller.workspace => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The store is closing; the poll goes on until the stream is ended.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
