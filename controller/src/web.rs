//! Plain HTTP on the api listener: is the process alive, can it serve; and the headers that browsers get.

use axum::Router;
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use tokio_util::sync::CancellationToken;

use crate::certificates;
use crate::service::Core;

#[derive(Clone)]
struct Health {
    core: Core,
    certificates: certificates::Health,
    draining: CancellationToken,
}

/// What browsers are told with every answer of the api listener. A gRPC client does not look at them.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; \
             connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Adds the headers to every answer of `router`.
pub fn with_headers(router: Router) -> Router {
    router.layer(map_response(async |mut response: Response| {
        for (name, value) in HEADERS {
            response.headers_mut().entry(name).or_insert(value);
        }
        response
    }))
}

/// `/healthz`: the process lives. `/readyz`: it is not draining, its certificates are good and its database answers.
pub fn router(core: Core, certificates: certificates::Health, draining: CancellationToken) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Health { core, certificates, draining })
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if let Some(problem) = health.certificates.problem(health.core.now()) {
        // The details are the operator's, not every caller's.
        tracing::warn!(problem, "not ready");
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the certificate of this listener needs a person; see the log\n",
        );
    }
    match health.core.store.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}
