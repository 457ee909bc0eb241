//! An OTLP collector in the test's process: exporters send to [`Collector::endpoint`], tests read [`Collector::spans`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tradepost_runtime::tasks::Tasks;

use crate::wait;

/// A collector on a free port of 127.0.0.1, which keeps every span. It stops when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    received: Received,
    tasks: Tasks,
}

/// A span as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The `service.name` of the exporting process.
    pub service: String,
    /// The name of the span.
    pub name: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// The span this is a child of; `None` for the first of a trace.
    pub parent_span_id: Option<String>,
    /// Text attributes; values of other types are written as text.
    pub attributes: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default)]
struct Received {
    spans: Arc<Mutex<Vec<Span>>>,
}

// === impl Collector ===

impl Collector {
    /// Starts one.
    pub async fn start() -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot bind the collector")?;
        let address = listener.local_addr()?;
        let received = Received::default();
        let tasks = Tasks::new();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(received.clone()))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                tasks.shutdown_token().cancelled_owned(),
            );
        tasks.spawn("otlp-collector", server);
        Ok(Self { address, received, tasks })
    }

    /// What a process under test is given as its OTLP endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span so far, in the order of arrival.
    pub fn spans(&self) -> Vec<Span> {
        self.received.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a span that `wanted` accepts; fails with the names of those that came.
    pub async fn wait_for(
        &self,
        what: &str,
        deadline: Duration,
        wanted: impl Fn(&Span) -> bool,
    ) -> Result<Span> {
        wait::until(&format!("the span {what}"), deadline, || {
            let spans = self.spans();
            let found = spans.iter().find(|span| wanted(span)).cloned();
            let names =
                || spans.iter().map(|span| format!("{}/{}", span.service, span.name)).collect::<Vec<_>>();
            let state = found.ok_or_else(|| format!("{} spans: {}", spans.len(), names().join(", ")));
            async move { state }
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.tasks.begin_shutdown();
    }
}

// === impl Received ===

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut arrived = Vec::new();
        for resource_spans in request.into_inner().resource_spans {
            let service = resource_spans
                .resource
                .and_then(|resource| resource.attributes.into_iter().find(|pair| pair.key == "service.name"))
                .map(|pair| text(&pair))
                .unwrap_or_default();
            for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                arrived.push(Span {
                    service: service.clone(),
                    name: span.name,
                    trace_id: hex::encode(&span.trace_id),
                    span_id: hex::encode(&span.span_id),
                    parent_span_id: Some(hex::encode(&span.parent_span_id)).filter(|id| !id.is_empty()),
                    attributes: span.attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect(),
                });
            }
        }
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).append(&mut arrived);
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

fn text(pair: &KeyValue) -> String {
    match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}
