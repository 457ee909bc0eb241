//! Logs, the absence of made-up trace ids, and metrics over HTTP.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tradepost_runtime::tasks::Tasks;
use tradepost_runtime::telemetry::{self, LogFormat, Options};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(options: &Options, terminal: bool) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let (dispatch, guard) = telemetry::build(options, move || writer.clone(), terminal).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        tracing::info_span!("post", posting = 7).in_scope(|| tracing::info!(step = "title", "step done"));
        tracing::debug!("not shown");
    });
    drop(guard);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn log_lines_are_json_off_the_terminal_and_readable_on_it() {
    let options = Options::new("tradepost-test");
    let json = logged(&options, false);
    assert_eq!(json.lines().count(), 1);
    assert!(json.starts_with('{') && json.contains(r#""message":"step done""#), "{json}");
    assert!(json.contains(r#""step":"title""#) && json.contains(r#""posting":7"#), "{json}");
    let pretty = logged(&Options { log_format: LogFormat::Pretty, ..options }, false);
    assert!(
        pretty.contains("step done") && !pretty.starts_with('{') && !pretty.contains('\u{1b}'),
        "{pretty}"
    );
}

#[test]
fn bad_filter_is_one_clear_line() {
    let options = Options { filter: "tradepost=loud".to_owned(), ..Options::new("tradepost-test") };
    let error = telemetry::build(&options, std::io::sink, false).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("log filter \"tradepost=loud\": ") && error.lines().count() == 1, "{error}");
}

#[test]
fn without_an_endpoint_there_are_no_trace_ids() {
    let (dispatch, _guard) = telemetry::build(&Options::new("tradepost-test"), std::io::sink, false).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        let span = tracing::info_span!("post");
        telemetry::set_parent(&span, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        span.in_scope(|| {
            assert_eq!(telemetry::current_traceparent(), None);
            assert_eq!(telemetry::current_trace_id(), None);
        });
    });
}

#[test]
fn unreachable_collector_delays_the_end_by_seconds_at_most() {
    let options = Options {
        otlp_endpoint: Some("http://127.0.0.1:9".to_owned()),
        trace_filter: "it=info".to_owned(),
        ..Options::new("tradepost-test")
    };
    let begin = tokio::time::Instant::now();
    logged(&options, false);
    assert!(begin.elapsed() < Duration::from_secs(12));
}

#[tokio::test]
async fn metrics_are_served_until_shutdown() {
    let metrics = telemetry::install_metrics().unwrap();
    let tasks = Tasks::new();
    let address = telemetry::metrics_server(([127, 0, 0, 1], 0).into(), metrics, &tasks).await.unwrap();
    metrics::counter!("tradepost_test_jobs_total", "kind" => "publish").increment(3);
    metrics::histogram!("tradepost_test_step_seconds").record(0.2);
    let url = format!("http://{address}/metrics");
    let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
    assert!(text.contains("tradepost_test_jobs_total{kind=\"publish\"} 3"), "{text}");
    assert!(text.contains("tradepost_test_step_seconds_bucket{le=\"0.25\"} 1"), "{text}");
    tasks.drain(Duration::from_secs(5)).await;
    assert!(reqwest::get(&url).await.is_err());
}
