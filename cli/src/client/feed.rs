//! The event feed as a stream that outlives the controller it began on.

use std::time::Duration;

use tonic::Streaming;
use tradepost_proto::v1;
use tradepost_proto::v1::event_service_client::EventServiceClient;
use tradepost_runtime::backoff::Backoff;

use super::{Client, convert, status};
use crate::error::Result;
use crate::model::FeedItem;

/// Events of one posting, or all, after a cursor. The cursor moves with what was received, so that a new stream goes
/// on where the old one broke off.
#[derive(Debug)]
pub(crate) struct Feed {
    client: Client,
    posting_id: String,
    /// -1 until something was received from a feed that began with the present.
    after: i64,
    stream: Option<Streaming<v1::StreamEventsResponse>>,
    backoff: Backoff,
}

/// What the feed did next.
#[derive(Debug)]
pub(crate) enum Next {
    Item(FeedItem),
    /// The stream has begun, for the first time or again.
    Opened,
    /// The stream broke off; the feed tries again after the delay.
    Lost {
        delay: Duration,
    },
}

/// Longer than the controller's 15 seconds between signs of life.
const SILENCE: Duration = Duration::from_secs(40);

impl Feed {
    /// Events with a greater number than `after`; -1 means from now on.
    pub(crate) fn new(client: Client, posting_id: String, after: i64) -> Self {
        let backoff = client.backoff();
        Self { client, posting_id, after, stream: None, backoff }
    }

    /// The next thing that happens. Errors only when trying again cannot help. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Next> {
        let Some(stream) = &mut self.stream else { return self.open().await };
        let message = match tokio::time::timeout(SILENCE, stream.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) | Err(_) => return Ok(self.lost()),
            Ok(Err(error)) if status::is_passing(&error) => return Ok(self.lost()),
            Ok(Err(error)) => return Err(status::error(&self.client.origin, &error)),
        };
        self.backoff.reset();
        let v1::StreamEventsResponse { item } = message;
        let item = match item {
            Some(v1::stream_events_response::Item::Event(event)) => {
                FeedItem::Event(Box::new(convert::event(event)))
            }
            Some(v1::stream_events_response::Item::Heartbeat(v1::EventHeartbeat { seq })) => {
                FeedItem::Quiet(seq)
            }
            None => FeedItem::Quiet(self.after),
        };
        let seq = match &item {
            FeedItem::Event(event) => event.seq,
            FeedItem::Quiet(seq) => *seq,
        };
        self.after = self.after.max(seq);
        Ok(Next::Item(item))
    }

    async fn open(&mut self) -> Result<Next> {
        let message = v1::StreamEventsRequest { after: self.after, posting_id: self.posting_id.clone() };
        let mut service = EventServiceClient::new(self.client.channel.clone());
        let opening = service.stream_events(self.client.request(message, None).await?);
        match tokio::time::timeout(self.client.timeout, opening).await {
            Ok(Ok(answer)) => {
                self.stream = Some(answer.into_inner());
                Ok(Next::Opened)
            }
            Err(_) => Ok(self.lost()),
            Ok(Err(error)) if status::is_passing(&error) => Ok(self.lost()),
            Ok(Err(error)) => Err(status::error(&self.client.origin, &error)),
        }
    }

    /// Gives the stream up, because the controller did not answer another call; the feed begins again after the delay.
    pub(crate) fn break_off(&mut self) -> Duration {
        self.stream = None;
        self.backoff.next_delay()
    }

    fn lost(&mut self) -> Next {
        Next::Lost { delay: self.break_off() }
    }
}
