//! Ends streams whose caller may no longer have them: the token is looked at every few seconds.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;

use super::methods::{Access, Rule};
use super::{layers, status};
use crate::service::People;
use crate::service::error::Kind;

/// With the two seconds that a token is remembered for, what ended elsewhere ends here within four.
const LOOK: Duration = Duration::from_secs(2);

/// The body of a stream, with what may end it.
struct Watched {
    body: Body,
    ended: Option<Pin<Box<dyn Future<Output = Status> + Send>>>,
}

/// Lets the stream end when its token does.
pub(super) fn stream(
    response: Response,
    people: People,
    rule: &'static Rule,
    token: String,
    chosen: Option<String>,
) -> Response {
    if !rule.streams || !matches!(rule.access, Access::Role(_) | Access::User) {
        return response;
    }
    let ended = Box::pin(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            let admitted = match people.authenticate(&token, chosen.as_deref()).await {
                // What was proven when the stream began need not be proven again.
                Ok(bearer) => people.authorise(&bearer, &layers::need(rule, false)),
                Err(error) => Err(error),
            };
            match admitted {
                Err(error)
                    if matches!(
                        error.kind(),
                        Kind::Unauthenticated | Kind::PermissionDenied | Kind::NotFound
                    ) =>
                {
                    return status::from(error);
                }
                // The database is away, say: the stream has its own ways to notice.
                Ok(()) | Err(_) => {}
            }
        }
    });
    response.map(|body| Body::new(Watched { body, ended: Some(ended) }))
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(ended) = &mut self.ended else { return Poll::Ready(None) };
        if let Poll::Ready(status) = ended.as_mut().poll(context) {
            self.ended = None;
            self.body = Body::empty();
            let mut trailers = http::HeaderMap::new();
            return Poll::Ready(match status.add_header(&mut trailers) {
                Ok(()) => Some(Ok(Frame::trailers(trailers))),
                Err(status) => Some(Err(axum::Error::new(status))),
            });
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
