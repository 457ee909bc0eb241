//! Metrics in the text format of Prometheus.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use crate::tasks::Tasks;

/// Upper bounds of histograms in seconds: from a local call to a slow browser step.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// How often idle histograms are compacted when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// What the `metrics` macros of this process have recorded.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// Makes this process record what the `metrics` macros say; fails when it does so already. Histograms called
/// `*_seconds` get buckets from a millisecond to a minute.
pub fn install_metrics() -> Result<Metrics, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    Ok(Metrics { handle })
}

/// Serves `metrics` at `http://<address>/metrics` until `tasks` shut down, and returns the bound address (port 0 takes a
/// free one). There is no authentication: `address` should be loopback or a closed network.
pub async fn metrics_server(
    address: SocketAddr,
    metrics: Metrics,
    tasks: &Tasks,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let upkeep = metrics.clone();
    let shutdown = tasks.shutdown_token();
    tasks.spawn("metrics-upkeep", async move {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => upkeep.handle.run_upkeep(),
            }
        }
    });
    let router = Router::new().route(
        "/metrics",
        get(move || async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()) }),
    );
    let shutdown = tasks.shutdown_token().cancelled_owned();
    tasks.spawn("metrics-server", async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(shutdown).await {
            tracing::error!(%error, "the metrics server ended");
        }
    });
    Ok(bound)
}

// === impl Metrics ===

impl Metrics {
    /// Everything recorded, in the text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}
