//! The trace context between processes, in the form of W3C Trace Context.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The name of the header, of the metadata key and of frame fields.
pub const TRACEPARENT: &str = "traceparent";

/// The context of the current span, such as `00-<trace id>-<span id>-01`; `None` when nothing is exported or no span is
/// open. Where the current span is too fine to be exported, the nearest one around it counts.
pub fn current_traceparent() -> Option<String> {
    format(&current())
}

/// The context of `span`, as [`current_traceparent`].
pub fn traceparent(span: &Span) -> Option<String> {
    format(&span.context())
}

/// The trace id of the current span (32 hex digits), for an answer that a person quotes to support.
pub fn current_trace_id() -> Option<String> {
    let context = current();
    let span = context.span();
    let span_context = span.span_context();
    span_context.is_valid().then(|| span_context.trace_id().to_string())
}

fn current() -> Context {
    let context = Span::current().context();
    // A span that the export filter leaves out has none of its own.
    if context.span().span_context().is_valid() { context } else { Context::current() }
}

fn format(context: &Context) -> Option<String> {
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes `span` a child of the sender's span. Call it before the span is entered for the first time. A malformed
/// `traceparent` is passed over: it comes from outside, and losing a link between traces is no reason to fail.
pub fn set_parent(span: &Span, traceparent: &str) {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    if context.span().span_context().is_valid() && span.set_parent(context).is_err() {
        tracing::trace!("no spans are exported here, or the span has begun already");
    }
}

/// Adds the current span's context to `headers`, when there is one.
pub fn inject(headers: &mut HeaderMap) {
    if let Some(value) = current_traceparent().and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Makes `span` a child of the span whose context `headers` carry, if they do; see [`set_parent`].
pub fn extract(span: &Span, headers: &HeaderMap) {
    if let Some(value) = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()) {
        set_parent(span, value);
    }
}
