//! Pages, the API behind them, and the control API.

mod composer;
mod control;
mod listings;
mod pages;
mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;
use tradepost_domain::time::Timestamp;
use tradepost_runtime::clock::SharedClock;
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::Tasks;

use crate::assets::Assets;
use crate::hold::{Holds, When};
use crate::ledger;
use crate::photos::{MAX_BYTES, PhotoStore};
use crate::world::World;

/// Longest request.
const BODY_MAX: usize = MAX_BYTES + 64 * 1024;

/// What every handler has.
#[derive(Debug)]
pub(crate) struct Site {
    /// Behind one lock, which is held while a record goes to disk: the order of the ledger is the order of truth.
    pub(crate) world: Mutex<World>,
    pub(crate) photos: PhotoStore,
    pub(crate) clock: SharedClock,
    pub(crate) ids: Ids,
    pub(crate) assets: Assets,
    pub(crate) holds: Holds,
    /// Held requests, which outlive their connections.
    pub(crate) tasks: Tasks,
}

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

pub(crate) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .merge(pages::router())
        .merge(composer::router())
        .merge(listings::router())
        .route("/login", get(session::form).post(session::log_in))
        .route("/logout", post(session::log_out))
        .route("/assets/{build}/{name}", get(asset))
        .route("/media/{sha256}", get(photo))
        .route("/__ledger__", get(control::ledger))
        .route("/__control__", get(control::state).post(control::instruct))
        .fallback(pages::missing)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(site.clone(), hold))
        .layer(middleware::from_fn(guard))
        .layer(tower_http::trace::TraceLayer::new_for_http())
        .with_state(site)
}

/// Holds the request that was asked to be held.
async fn hold(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let Some(when) = site.holds.take(request.method().as_str(), request.uri().path()) else {
        return next.run(request).await;
    };
    let (head, body) = request.into_parts();
    // The whole of it, so that it can be carried out without its connection.
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        site.holds.release();
        return Failure::new(StatusCode::BAD_REQUEST, "the request was cut off").into_response();
    };
    let request = Request::from_parts(head, body.into());
    let held = Arc::clone(&site);
    let carried_out = site.tasks.spawn("held-request", async move {
        if when == When::Before {
            held.holds.released().await;
        }
        let response = next.run(request).await;
        if when == When::After {
            held.holds.released().await;
        }
        response
    });
    carried_out.await.unwrap_or_else(|error| Failure::internal(&error).into_response())
}

/// Refuses requests addressed to another name, and sets what every answer carries.
async fn guard(request: Request, next: Next) -> Response {
    // A page elsewhere that gives its own name this address must not reach the control API through a browser.
    let local = |host: &HeaderValue| {
        let host = host.to_str().unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        matches!(name, "127.0.0.1" | "localhost")
    };
    let mut response = if request.headers().get(header::HOST).is_some_and(local) {
        next.run(request).await
    } else {
        Failure::new(
            StatusCode::MISDIRECTED_REQUEST,
            "the practice marketplace answers to 127.0.0.1 and localhost only",
        )
        .into_response()
    };
    let headers = response.headers_mut();
    // Chromium sends a POST again by itself when a connection that it used before is cut: one request a connection.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn asset(
    State(site): State<Arc<Site>>,
    Path((build, name)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let Some((media, content)) = site.assets.file(&name).filter(|_| build == site.assets.build) else {
        return Err(Failure::new(StatusCode::NOT_FOUND, "no such file"));
    };
    let headers =
        [(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, content.to_owned()).into_response())
}

async fn photo(State(site): State<Arc<Site>>, Path(sha256): Path<String>) -> Result<Response, Failure> {
    let media = site.world().photo(&sha256).map(|photo| photo.media_type.clone());
    let content = tokio::task::spawn_blocking(move || site.photos.read(&sha256))
        .await
        .map_err(|error| Failure::internal(&error))?
        .map_err(|error| Failure::internal(&error))?;
    let (Some(media), Some(content)) = (media, content) else {
        return Err(Failure::new(StatusCode::NOT_FOUND, "no such photo"));
    };
    let cache = HeaderValue::from_static("public, max-age=31536000, immutable");
    let media = HeaderValue::from_str(&media).map_err(|error| Failure::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, cache)], content).into_response())
}

// === impl Site ===

impl Site {
    /// The state, locked. Never held across an await.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // A panic in a handler leaves the state as the last record made it.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A random number of `digits` decimal digits, the first not zero.
    pub(crate) fn number(&self, digits: u32) -> String {
        let mut bytes = [0_u8; 8];
        self.ids.fill(&mut bytes);
        let smallest = 10_u64.pow(digits - 1);
        (smallest + u64::from_le_bytes(bytes) % (9 * smallest)).to_string()
    }
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<ledger::Error> for Failure {
    fn from(error: ledger::Error) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default().to_string()
}
