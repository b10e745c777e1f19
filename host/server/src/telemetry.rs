//! The log and the metrics.

use std::io::IsTerminal as _;
use std::sync::Arc;

use kairos_dialects::Usage;
use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::record::{Observer, Record};
use kairos_sandbox::host::PolicyHost;
use kairos_sandbox::wasm::MetricValue;
use metrics::{Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait to be written; more are dropped, rather than holding requests up.
const QUEUED_LINES: usize = 16_384;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log, on standard error. Lines are written until the guard is dropped.
pub(crate) fn start_log(format: Option<LogFormat>) -> WorkerGuard {
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUED_LINES).lossy(true).finish(std::io::stderr());
    let filter = EnvFilter::try_from_env("KAIROS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let log = tracing_subscriber::fmt().with_writer(writer).with_env_filter(filter).with_ansi(terminal);
    // Whoever has set a log up already keeps it.
    let _ = match format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    guard
}

/// Metrics, in Prometheus's text format.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// Seconds; from an answer out of memory to a long generation.
const RESPONSE_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

const METADATA: Metadata<'static> = Metadata::new("kairos", Level::INFO, None);

/// The label of requests that no model answered.
const NO_MODEL: &str = "none";

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // Buckets are above 0 and ascend: there is nothing to refuse.
        let recorder = match builder.set_buckets(&RESPONSE_BUCKETS) {
            Ok(builder) => builder.build_recorder(),
            Err(_) => PrometheusBuilder::new().build_recorder(),
        };
        let describe = |name: &'static str, what: &'static str, kind: u8| match kind {
            0 => recorder.describe_counter(name.into(), None, what.into()),
            1 => recorder.describe_gauge(name.into(), None, what.into()),
            _ => recorder.describe_histogram(name.into(), None, what.into()),
        };
        for (name, kind, what) in [
            ("bedrock_requests_total", 0, "Requests, by the model that answered and how they ended."),
            ("bedrock_response_time_seconds", 2, "Time from a request's arrival to the end of its answer."),
            ("kairos_attempts_total", 0, "Calls of models, by how they ended."),
            ("kairos_tokens_total", 0, "Tokens consumed, by kind."),
            ("kairos_policy_faults_total", 0, "Calls of policies that failed, by kind."),
            ("kairos_policy_loads_total", 0, "Policy files that were read, by result."),
            ("kairos_policy_quarantined_total", 0, "Policies that were taken out of service after failing."),
            ("kairos_policy_generation", 1, "Grows by one whenever another policy serves."),
            ("kairos_policy_info", 1, "The policy that serves."),
            ("kairos_requests_in_flight", 1, "Requests under way, those whose callers have left included."),
            ("kairos_ledger_open_usd", 1, "Worst cases of attempts under way."),
            ("kairos_ledger_open_rows", 1, "Attempts under way that may cost money."),
            ("kairos_ledger_charged_usd", 1, "All that was ever charged, as far as a float can say it."),
            ("kairos_ledger_estimated_usd", 1, "The part of it that is estimated."),
            ("kairos_budget_remaining_usd", 1, "What is left of the day's limit, open reservations counted as spent."),
        ] {
            describe(name, what, kind);
        }
        Self { handle: recorder.handle(), recorder }
    }

    fn count(&self, name: &'static str, labels: Vec<Label>, value: u64) {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA).increment(value);
    }

    fn total(&self, name: &'static str, labels: Vec<Label>, value: u64) {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA).absolute(value);
    }

    fn gauge(&self, name: &'static str, labels: Vec<Label>, value: f64) {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA).set(value);
    }

    /// Folds what was measured since into the histograms: until then it is kept as it came.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// All metrics as text. What is kept elsewhere is read now.
    pub(crate) fn render(&self, gateway: &Gateway, policies: &PolicyHost) -> String {
        use std::sync::atomic::Ordering::Relaxed;
        let counters = policies.counters();
        for (result, count) in [("loaded", &counters.loaded), ("refused", &counters.refused)] {
            self.total("kairos_policy_loads_total", vec![Label::new("result", result)], count.load(Relaxed));
        }
        self.total("kairos_policy_quarantined_total", Vec::new(), counters.quarantined.load(Relaxed));
        self.gauge("kairos_policy_generation", Vec::new(), counters.generation.load(Relaxed) as f64);
        self.gauge("kairos_requests_in_flight", Vec::new(), gateway.load.requests() as f64);
        let totals = gateway.ledger.totals();
        self.gauge("kairos_ledger_open_usd", Vec::new(), totals.open as f64 / 1e12);
        self.gauge("kairos_ledger_open_rows", Vec::new(), totals.open_rows as f64);
        self.gauge("kairos_ledger_charged_usd", Vec::new(), totals.charged as f64 / 1e12);
        self.gauge("kairos_ledger_estimated_usd", Vec::new(), totals.estimated as f64 / 1e12);
        if let Some(budget) = gateway.ledger.budget((gateway.clock)()) {
            self.gauge("kairos_budget_remaining_usd", Vec::new(), budget.remaining.0 as f64 / 1e12);
        }
        let mut text = self.handle.render();
        if let Some(generation) = policies.current() {
            write_plugin(&generation, &mut text);
        }
        // Written by hand: a label that changes with every file must not stay behind in a registry.
        let status = policies.status();
        text.push_str("# HELP kairos_policy_info The policy that serves.\n# TYPE kairos_policy_info gauge\n");
        text.push_str(&format!(
            "kairos_policy_info{{slot=\"router\",policy=\"{}\",engine=\"{}\"}} 1\n",
            status.policy, status.engine
        ));
        text
    }
}

/// What the policy that serves reports. Written by hand: each generation counts from zero, and names
/// that a policy chose must not stay behind in a registry.
fn write_plugin(generation: &kairos_sandbox::generation::Generation, text: &mut String) {
    use std::fmt::Write as _;
    let plugin = &generation.identity().name;
    let (mut counters, mut gauges) = (String::new(), String::new());
    for (name, value) in generation.metrics().values() {
        let labels = format!("{{plugin=\"{plugin}\",name=\"{name}\"}}");
        // Writing to a string cannot fail.
        let _ = match value {
            MetricValue::Counter(count) => writeln!(counters, "kairos_plugin_counter_total{labels} {count}"),
            MetricValue::Gauge(gauge) => writeln!(gauges, "kairos_plugin_gauge{labels} {gauge}"),
        };
    }
    for (name, kind, what, lines) in [
        ("kairos_plugin_counter_total", "counter", "Counters that plugins report.", counters),
        ("kairos_plugin_gauge", "gauge", "Gauges that plugins report.", gauges),
    ] {
        if !lines.is_empty() {
            let _ = write!(text, "# HELP {name} {what}\n# TYPE {name} {kind}\n{lines}");
        }
    }
}

/// Writes log and metrics of requests.
pub(crate) struct Telemetry {
    pub(crate) metrics: Arc<Metrics>,
}

impl Observer for Telemetry {
    fn finished(&self, record: &Record) {
        self.measure(record);
        let decision = record.decision.as_ref();
        tracing::info!(
            target: "kairos::request",
            request_id = record.request_id,
            client_request_id = record.client_request_id,
            operation = record.operation,
            key = record.key.as_deref(),
            asked_model = record.asked_model,
            model = record.model.as_deref(),
            policy = decision.map(|decision| decision.policy.as_str()),
            reason = decision.and_then(|decision| decision.reason_name.as_deref()),
            task = record.task,
            attempts = record.attempts.len(),
            status = record.status,
            http_status = record.http_status,
            cost_usd = %record.cost_usd,
            cost_estimated = record.cost_estimated,
            duration_ms = record.duration_ms,
            first_byte_ms = record.first_byte_ms,
            warnings = (!record.warnings.is_empty()).then(|| record.warnings.join("; ")),
            "request"
        );
    }

    fn policy_failed(&self, _policy: &str, kind: &'static str, _message: &str) {
        self.metrics.count("kairos_policy_faults_total", vec![Label::new("kind", kind)], 1);
    }
}

impl Telemetry {
    fn measure(&self, record: &Record) {
        let metrics = &self.metrics;
        let model =
            |name: Option<&Arc<str>>| Label::new("model", name.map_or(NO_MODEL.to_owned(), |name| name.to_string()));
        let answered = record.attempts.last().filter(|attempt| attempt.status == "ok").map(|attempt| &attempt.model);
        let status = if record.status == "ok" { "success" } else { record.status };
        metrics.count("bedrock_requests_total", vec![model(answered), Label::new("status", status)], 1);
        let key = Key::from_parts("bedrock_response_time_seconds", vec![model(answered)]);
        metrics.recorder.register_histogram(&key, &METADATA).record(record.duration_ms / 1e3);
        for attempt in &record.attempts {
            let of = || model(Some(&attempt.model));
            metrics.count("kairos_attempts_total", vec![of(), Label::new("status", attempt.status)], 1);
            if let Some(usage) = attempt.usage {
                for (kind, tokens) in kinds(&usage).into_iter().filter(|(_, tokens)| *tokens > 0) {
                    metrics.count("kairos_tokens_total", vec![of(), Label::new("kind", kind)], tokens);
                }
            }
        }
    }
}

fn kinds(usage: &Usage) -> [(&'static str, u64); 4] {
    [
        ("input", usage.input),
        ("output", usage.output),
        ("cache_read", usage.cache_read),
        ("cache_write", usage.cache_write()),
    ]
}
