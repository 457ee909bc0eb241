//! Plain HTTP on the api listener: is the process alive, can it serve.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::service::Core;

#[derive(Clone)]
struct Health {
    core: Core,
    draining: CancellationToken,
}

/// `/healthz`: the process lives. `/readyz`: it is not draining and its database answers.
pub fn router(core: Core, draining: CancellationToken) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Health { core, draining })
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match health.core.store.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}
