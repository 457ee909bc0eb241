//! Spans from the real exporter arrive at the collector, with their parents across "processes".

use std::time::Duration;

use tradepost_runtime::telemetry::{self, LogFormat, Options};
use tradepost_testkit::Collector;

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_spans_two_processes_and_is_flushed_when_the_guard_drops() {
    let collector = Collector::start().await.unwrap();
    let start = |service_name| {
        let options = Options {
            log_format: LogFormat::Json,
            otlp_endpoint: Some(collector.endpoint()),
            trace_filter: "it=info".to_owned(),
            ..Options::new(service_name)
        };
        telemetry::build(&options, std::io::sink, false).unwrap()
    };
    let (client, client_guard) = start("client");
    let (server, server_guard) = start("server");

    let (sent, trace_id) = tracing::dispatcher::with_default(&client, || {
        tracing::info_span!("ask")
            .in_scope(|| (telemetry::current_traceparent().unwrap(), telemetry::current_trace_id().unwrap()))
    });
    tracing::dispatcher::with_default(&server, || {
        let span = tracing::info_span!("answer");
        let headers = http::HeaderMap::from_iter([(
            http::HeaderName::from_static(telemetry::TRACEPARENT),
            sent.parse().unwrap(),
        )]);
        telemetry::extract(&span, &headers);
        span.in_scope(|| assert_eq!(telemetry::current_trace_id().unwrap(), trace_id));
    });
    drop((client_guard, server_guard));

    let deadline = Duration::from_secs(10);
    let ask = collector.wait_for("ask", deadline, |span| span.name == "ask").await.unwrap();
    let answer = collector.wait_for("answer", deadline, |span| span.name == "answer").await.unwrap();
    assert_eq!((ask.service.as_str(), answer.service.as_str()), ("client", "server"));
    assert_eq!(answer.trace_id, ask.trace_id);
    assert_eq!(answer.parent_span_id, Some(ask.span_id));
    assert_eq!(ask.parent_span_id, None);
}
