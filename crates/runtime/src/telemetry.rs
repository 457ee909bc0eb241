//! Logs, traces and metrics of a process.
//!
//! Logs go to stderr. Spans are exported by OTLP when an endpoint is configured; without one there are no trace ids at
//! all, so that logs and frames never carry made-up ones. The [`Guard`] sends what is still buffered when it is dropped:
//! a main keeps it in a variable that outlives the program's `Result`, so that the error path flushes as well:
//!
//! ```no_run
//! # use std::process::ExitCode;
//! # use tradepost_runtime::telemetry;
//! fn main() -> ExitCode {
//!     let guard = match telemetry::init(&telemetry::Options::new("tradepost-agent")) {
//!         Ok(guard) => guard,
//!         Err(error) => {
//!             eprintln!("tradepost-agent: {error}");
//!             return ExitCode::FAILURE;
//!         }
//!     };
//!     let code = run();   // everything that can fail
//!     drop(guard);
//!     code
//! }
//! # fn run() -> ExitCode { ExitCode::SUCCESS }
//! ```
//!
//! To carry a trace to another process, send [`current_traceparent`] along and call [`set_parent`] on the span that
//! handles it there; [`inject`] and [`extract`] do so for HTTP headers (and gRPC metadata, which are the same).

mod prometheus;
mod trace_context;

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Dispatch;
use tracing_subscriber::filter::{EnvFilter, FilterExt, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Filter, Layer, SubscriberExt};

pub use self::prometheus::{Metrics, install_metrics, metrics_server};
pub use self::trace_context::{
    TRACEPARENT, current_trace_id, current_traceparent, extract, inject, set_parent, traceparent,
};

/// How long the exporter may take for one batch, and the flush at the end of the process.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The telemetry of one process.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `service.name` of exported spans, such as `tradepost-controller`.
    pub service_name: &'static str,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, in the syntax of `EnvFilter`: `info`, `warn,tradepost_agent=debug`.
    pub filter: String,
    /// Where spans are exported, such as `http://127.0.0.1:4317` (OTLP over gRPC); `None` exports nothing.
    pub otlp_endpoint: Option<String>,
    /// Which spans are exported, by the beginning of their target: `tradepost=info`.
    pub trace_filter: String,
    /// The share of new traces that is exported, from 0 to 1; a trace begun elsewhere follows its beginner's choice.
    pub sample_ratio: f64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One readable line each.
    Pretty,
    /// One JSON object each, with the fields of the spans around it.
    Json,
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not one.
    #[error("log filter {filter:?}: {problem}; write for example \"info\" or \"warn,tradepost_agent=debug\"")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The exporter could not be made.
    #[error("OTLP endpoint {endpoint:?}: {problem}; write for example \"http://127.0.0.1:4317\"")]
    Exporter {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The exporter's thread could not start.
    #[error("cannot start the thread of the span exporter: {0}")]
    Thread(#[source] std::io::Error),
    /// This process has telemetry already.
    #[error("telemetry was set up twice in this process")]
    Twice,
}

/// Sends buffered spans when dropped.
#[derive(Debug)]
#[must_use = "spans are flushed when the guard is dropped: keep it until the process ends"]
pub struct Guard {
    export: Option<Export>,
}

/// The exporter with a runtime of its own: it can flush when the program's runtime is busy, blocked or gone.
#[derive(Debug)]
struct Export {
    provider: SdkTracerProvider,
    runtime: Option<tokio::runtime::Runtime>,
}

/// Sets up the telemetry of this process; see [`Guard`] for its end.
pub fn init(options: &Options) -> Result<Guard, Error> {
    let (dispatch, guard) = build(options, std::io::stderr, std::io::stderr().is_terminal())?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| Error::Twice)?;
    Ok(guard)
}

/// The parts of [`init`], not yet installed, and with logs to `writer`: for tests, which install them for a scope
/// (`tracing::dispatcher::with_default`). `terminal` is what [`LogFormat::Auto`] and colours go by.
pub fn build<W>(options: &Options, writer: W, terminal: bool) -> Result<(Dispatch, Guard), Error>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&options.filter)
        .map_err(|error| Error::Filter { filter: options.filter.clone(), problem: error.to_string() })?;
    let json = match options.log_format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !terminal,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal && !json);
    let lines =
        if json { lines.json().flatten_event(true).with_current_span(false).boxed() } else { lines.boxed() };
    let export =
        options.otlp_endpoint.as_deref().map(|endpoint| Export::start(options, endpoint)).transpose()?;
    let spans = match &export {
        Some(export) => Some(export.layer(options)?),
        None => None,
    };
    let subscriber =
        tracing_subscriber::registry().with(lines.with_filter(filter.and(tactful()))).with(spans);
    Ok((Dispatch::new(subscriber), Guard { export }))
}

/// Libraries that write what they carry, header by header and body by body, when they are asked for details: passwords that
/// are typed in a browser, bearer tokens. Whatever the filter says, they are not heard below `info`.
const TALKATIVE: [&str; 7] =
    ["thirtyfour", "h2", "hyper", "hyper_util", "reqwest", "tower_http", "tungstenite"];

fn tactful<S>() -> impl Filter<S> + Send + Sync + 'static {
    tracing_subscriber::filter::filter_fn(|metadata: &tracing::Metadata<'_>| {
        let library = metadata.target().split("::").next().unwrap_or_default();
        *metadata.level() <= tracing::Level::INFO || !TALKATIVE.contains(&library)
    })
}

// === impl Options ===

impl Options {
    /// Information and worse on stderr, nothing exported.
    pub fn new(service_name: &'static str) -> Self {
        Self {
            service_name,
            log_format: LogFormat::Auto,
            filter: "info".to_owned(),
            otlp_endpoint: None,
            trace_filter: "tradepost=info".to_owned(),
            sample_ratio: 1.0,
        }
    }
}

// === impl Guard ===

impl Guard {
    /// Sends the spans buffered so far, and waits for it (5 s at most). Blocks.
    pub fn flush(&self) {
        if let Some(export) = &self.export
            && let Err(error) = export.provider.force_flush()
        {
            tracing::warn!(%error, "cannot export spans");
        }
    }
}

// === impl Export ===

impl Export {
    fn start(options: &Options, endpoint: &str) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("telemetry")
            .enable_all()
            .build()
            .map_err(Error::Thread)?;
        let exporter = {
            let _entered = runtime.enter();
            opentelemetry_otlp::SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .with_timeout(EXPORT_TIMEOUT)
                .build()
                .map_err(|error| Error::Exporter {
                    endpoint: endpoint.to_owned(),
                    problem: error.to_string(),
                })?
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.sample_ratio))))
            .with_resource(Resource::builder().with_service_name(options.service_name).build())
            .build();
        Ok(Self { provider, runtime: Some(runtime) })
    }

    fn layer<S>(&self, options: &Options) -> Result<impl Layer<S> + use<S>, Error>
    where
        S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    {
        let filter: Targets = options.trace_filter.parse().map_err(|error| Error::Filter {
            filter: options.trace_filter.clone(),
            problem: format!("{error}"),
        })?;
        let tracer = self.provider.tracer(options.service_name);
        Ok(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter))
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(EXPORT_TIMEOUT) {
            tracing::warn!(%error, "cannot export the last spans");
        }
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime inside another one panics; this does not wait, and nothing is left to wait for.
            runtime.shutdown_background();
        }
    }
}
