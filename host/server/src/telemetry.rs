//! What is told of requests: metrics, and a line of the log each.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use kairos_dialects::Usage;
use kairos_pipeline::budget::Spender;
use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::policy::FaultKind;
use kairos_pipeline::record::{Observer, PromptRecord, Record};
use kairos_sandbox::generation::Generation;
use kairos_sandbox::host::PolicyHost;
use kairos_sandbox::refusal::Reason;
use kairos_sandbox::reports::MetricValue;
use kairos_sandbox::slots::Slots;
use kairos_sandbox::status::{ROLLED_BACK, Role};
use metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::log::request;

/// Metrics, in Prometheus's text format.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    requests: Handles<(Arc<str>, &'static str), Counter>,
    attempts: Handles<(Arc<str>, &'static str), Counter>,
    unpriced: Handles<(Arc<str>, &'static str), Counter>,
    response_times: Handles<Arc<str>, Histogram>,
    tokens: Handles<Arc<str>, [Counter; 4]>,
    prompts: Handles<(Arc<str>, u32), Counter>,
    no_model: Arc<str>,
}

/// What counts, by its labels: finding it in the registry each time would cost a key made anew.
/// Holds as many as there are models and ways to end.
struct Handles<K, H>(RwLock<HashMap<K, H, foldhash::fast::RandomState>>);

impl<K: Eq + Hash, H: Clone> Handles<K, H> {
    fn get(&self, key: K, make: impl FnOnce(&K) -> H) -> H {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let made = make(&key);
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(made).clone()
    }
}

impl<K: Eq + Hash, H> Handles<K, H> {
    /// Whether what has this key is there, or fewer than so many others.
    fn has_room(&self, key: &K, most: usize) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.len() < most || known.contains_key(key)
    }
}

impl<K, H> Default for Handles<K, H> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

/// Seconds; from an answer out of memory to a long generation.
const RESPONSE_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

const METADATA: Metadata<'static> = Metadata::new("kairos", Level::INFO, None);

/// Versions of templates that are counted apart, since the start.
const MOST_PROMPTS: usize = 1_024;

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
            ("kairos_unpriced_attempts_total", 0, "Calls without a known price, by what became of their rows."),
            ("kairos_tokens_total", 0, "Tokens consumed, by kind."),
            ("kairos_prompt_requests_total", 0, "Requests that named a template."),
            ("kairos_policy_faults_total", 0, "Calls of policies that failed, by kind."),
            ("kairos_policy_loads_total", 0, "Policy files that were read, by result."),
            ("kairos_policy_refusals_total", 0, "Policy files that were refused, by reason."),
            ("kairos_policy_quarantined_total", 0, "Policies that were taken out of service after failing."),
            ("kairos_policy_recoveries_total", 0, "Policy files that served after a refusal or a quarantine."),
            ("kairos_policy_quarantined", 1, "Files that are not loaded until they change."),
            (
                "kairos_policy_outdated",
                1,
                "1 while the last file was refused or quarantined, and what was before it serves.",
            ),
            ("kairos_policy_probation", 1, "1 while the policy is called one call at a time, after one that hung."),
            ("kairos_plugin_dropped_total", 0, "What policies reported over their bounds."),
            ("kairos_policy_generation", 1, "Grows by one whenever another policy serves."),
            ("kairos_policy_info", 1, "The policies that serve, or are asked."),
            ("kairos_policy_rollbacks_total", 0, "Canaries that were rolled back by the gateway, by why."),
            ("kairos_policy_promotions_total", 0, "Canaries that were promoted by the gateway."),
            ("kairos_policy_canary_lost_total", 0, "Messages about requests of an experiment that were lost."),
            ("kairos_requests_in_flight", 1, "Requests under way, those whose callers have left included."),
            ("kairos_ledger_open_usd", 1, "Worst cases of attempts under way."),
            ("kairos_ledger_open_rows", 1, "Attempts under way that may cost money."),
            ("kairos_ledger_charged_usd", 1, "All that was ever charged, as far as a float can say it."),
            ("kairos_ledger_estimated_usd", 1, "The part of it that is estimated."),
            (
                "kairos_budget_remaining_usd",
                1,
                "The least that is left of the budgets of all callers, open reservations counted as spent.",
            ),
        ] {
            describe(name, what, kind);
        }
        Self {
            handle: recorder.handle(),
            recorder,
            requests: Handles::default(),
            attempts: Handles::default(),
            unpriced: Handles::default(),
            response_times: Handles::default(),
            tokens: Handles::default(),
            prompts: Handles::default(),
            no_model: NO_MODEL.into(),
        }
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    fn total(&self, name: &'static str, labels: Vec<Label>, value: u64) {
        self.counter(name, labels).absolute(value);
    }

    fn gauge(&self, name: &'static str, labels: Vec<Label>, value: f64) {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA).set(value);
    }

    /// Folds what was measured since into the histograms: until then it is kept as it came.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// What became of the policies of a slot.
    fn policies(&self, policies: &PolicyHost) {
        use std::sync::atomic::Ordering::Relaxed;
        let (counters, status) = (policies.counters(), policies.status());
        let slot = || vec![Label::new("slot", policies.slot())];
        let and = |name: &'static str, value: &'static str| {
            vec![Label::new("slot", policies.slot()), Label::new(name, value)]
        };
        let refused = || counters.refused.iter().map(|count| count.load(Relaxed));
        for (result, count) in [("loaded", counters.loaded.load(Relaxed)), ("refused", refused().sum())] {
            self.total("kairos_policy_loads_total", and("result", result), count);
        }
        for (reason, count) in Reason::ALL.iter().zip(refused()) {
            self.total("kairos_policy_refusals_total", and("reason", reason.name()), count);
        }
        for (kind, count) in FaultKind::ALL.iter().zip(&counters.faults) {
            self.total("kairos_policy_faults_total", and("kind", kind.name()), count.load(Relaxed));
        }
        self.total("kairos_policy_quarantined_total", slot(), counters.quarantined.load(Relaxed));
        self.total("kairos_policy_recoveries_total", slot(), counters.recovered.load(Relaxed));
        self.gauge("kairos_policy_generation", slot(), counters.generation.load(Relaxed) as f64);
        self.gauge("kairos_policy_quarantined", slot(), status.quarantined.len() as f64);
        self.gauge("kairos_policy_outdated", slot(), f64::from(u8::from(status.outdated)));
        self.gauge("kairos_policy_probation", slot(), f64::from(u8::from(status.on_probation)));
        if !policies.takes_experiments() {
            return;
        }
        for (why, count) in ROLLED_BACK.iter().zip(&counters.rolled_back) {
            self.total("kairos_policy_rollbacks_total", and("why", why), count.load(Relaxed));
        }
        self.total("kairos_policy_promotions_total", slot(), counters.promoted.load(Relaxed));
        self.total("kairos_policy_canary_lost_total", slot(), policies.lost());
    }

    /// All metrics as text. What is kept elsewhere is read now.
    pub(crate) fn render(&self, gateway: &Gateway, policies: &Slots) -> String {
        policies.all().for_each(|slot| self.policies(slot));
        let dropped = policies.dropped();
        for (what, count) in [("log", &dropped.log), ("metrics", &dropped.metrics), ("kv", &dropped.kv)] {
            let count = count.load(std::sync::atomic::Ordering::Relaxed);
            self.total("kairos_plugin_dropped_total", vec![Label::new("what", what)], count);
        }
        self.gauge("kairos_requests_in_flight", Vec::new(), gateway.load.requests() as f64);
        let totals = gateway.ledger.totals();
        self.gauge("kairos_ledger_open_usd", Vec::new(), totals.open as f64 / 1e12);
        self.gauge("kairos_ledger_open_rows", Vec::new(), totals.open_rows as f64);
        self.gauge("kairos_ledger_charged_usd", Vec::new(), totals.charged as f64 / 1e12);
        self.gauge("kairos_ledger_estimated_usd", Vec::new(), totals.estimated as f64 / 1e12);
        if let Some(budget) = gateway.ledger.budget(&Spender::default(), (gateway.clock)()) {
            self.gauge("kairos_budget_remaining_usd", Vec::new(), budget.remaining.0 as f64 / 1e12);
        }
        let mut text = self.handle.render();
        policies.all().filter(|slot| slot.takes_experiments()).for_each(|slot| write_beside(slot, &mut text));
        write_plugins(policies, &mut text);
        // Written by hand: a label that changes with every file must not stay behind in a registry.
        text.push_str(
            "# HELP kairos_policy_info The policies that serve, or are asked.\n# TYPE kairos_policy_info gauge\n",
        );
        for slot in policies.all() {
            let mut info = |role: &str, policy: &str, engine: &str| {
                let slot = slot.slot();
                let labels = format!("slot=\"{slot}\",role=\"{role}\",policy=\"{policy}\",engine=\"{engine}\"");
                text.push_str(&format!("kairos_policy_info{{{labels}}} 1\n"));
            };
            let status = slot.status();
            info("active", &status.policy, status.engine);
            for (role, generation) in slot.residents() {
                if matches!(role, Role::Canary | Role::Shadow) {
                    info(role.name(), generation.identity().label(), generation.engine_name());
                }
            }
        }
        text
    }
}

/// How what is tried compares. Written by hand: it begins anew with each experiment.
fn write_beside(policies: &PolicyHost, text: &mut String) {
    use std::fmt::Write as _;
    let slot = policies.slot();
    let mut lines = [const { String::new() }; 4];
    let [share, requests, difference, shadow] = &mut lines;
    let running = policies.experiments().into_iter().find(|report| report.verdict.is_none());
    // Writing to a string cannot fail.
    let now = running.as_ref().map_or(0.0, |report| report.share);
    let _ = writeln!(share, "kairos_policy_canary_share{{slot=\"{slot}\"}} {now}");
    for measure in running.iter().flat_map(|report| &report.measures) {
        let variable = measure.variable.name();
        for (arm, n) in [("baseline", measure.baseline_n), ("canary", measure.canary_n)] {
            let labels = format!("{{slot=\"{slot}\",variable=\"{variable}\",arm=\"{arm}\"}}");
            let _ = writeln!(requests, "kairos_policy_canary_requests{labels} {n}");
        }
        let looks = measure.difference.map(|difference| ("looks", difference));
        let known = [("low", measure.low), ("high", measure.high), ("tolerance", measure.tolerance)];
        for (bound, value) in looks.into_iter().chain(known) {
            let labels = format!("{{slot=\"{slot}\",variable=\"{variable}\",bound=\"{bound}\"}}");
            let _ = writeln!(difference, "kairos_policy_canary_difference{labels} {value}");
        }
    }
    if let Some(watch) = policies.shadow() {
        let compared = watch.compared();
        for (result, count) in [
            ("agreed", compared.agreed),
            ("differed", compared.differed),
            ("failed", compared.failed),
            ("not_asked", compared.not_asked),
        ] {
            let _ = writeln!(shadow, "kairos_policy_shadow_total{{slot=\"{slot}\",result=\"{result}\"}} {count}");
        }
    }
    for ((name, kind, what), lines) in BESIDE.into_iter().zip(&lines) {
        if !lines.is_empty() {
            let _ = write!(text, "# HELP {name} {what}\n# TYPE {name} {kind}\n{lines}");
        }
    }
}

/// The metrics of [`write_beside`], in its order.
const BESIDE: [(&str, &str, &str); 4] = [
    ("kairos_policy_canary_share", "gauge", "The share of requests that a canary decides; 0: there is none."),
    ("kairos_policy_canary_requests", "gauge", "Requests of the experiment under way that count, by arm."),
    (
        "kairos_policy_canary_difference",
        "gauge",
        "How much more a canary has: as it looks, at least, at most, tolerated. Parts of 1, milliseconds, US dollars.",
    ),
    ("kairos_policy_shadow_total", "counter", "Questions that a shadow was asked, by how it compares."),
];

/// What the policies that serve report. Written by hand: each generation counts from zero, and names
/// that a policy chose must not stay behind in a registry.
fn write_plugins(policies: &Slots, text: &mut String) {
    let (mut counters, mut gauges) = (String::new(), String::new());
    for slot in policies.all() {
        if let Some(generation) = slot.current() {
            write_plugin(slot.slot(), &generation, &mut counters, &mut gauges);
        }
    }
    for (name, kind, what, lines) in [
        ("kairos_plugin_counter_total", "counter", "Counters that plugins report.", counters),
        ("kairos_plugin_gauge", "gauge", "Gauges that plugins report.", gauges),
    ] {
        if !lines.is_empty() {
            text.push_str(&format!("# HELP {name} {what}\n# TYPE {name} {kind}\n{lines}"));
        }
    }
}

fn write_plugin(slot: &str, generation: &Generation, counters: &mut String, gauges: &mut String) {
    let plugin = &generation.identity().name;
    for (name, value) in generation.reports().metrics() {
        let labels = format!("{{slot=\"{slot}\",plugin=\"{plugin}\",name=\"{name}\"}}");
        match value {
            MetricValue::Counter(count) => {
                counters.push_str(&format!("kairos_plugin_counter_total{labels} {count}\n"));
            }
            MetricValue::Gauge(gauge) => gauges.push_str(&format!("kairos_plugin_gauge{labels} {gauge}\n")),
        }
    }
}

/// Writes log and metrics of requests.
pub(crate) struct Telemetry {
    /// None: nothing is measured.
    metrics: Option<Arc<Metrics>>,
}

impl Observer for Telemetry {
    fn finished(&self, record: &Arc<Record>) {
        if let Some(metrics) = &self.metrics {
            metrics.measure(record);
        }
        request::tell(record);
    }
}

impl Telemetry {
    pub(crate) fn new(metrics: Option<Arc<Metrics>>) -> Self {
        Self { metrics }
    }
}

impl Metrics {
    fn measure(&self, record: &Record) {
        let metrics = self;
        let answered = record.attempts.last().filter(|attempt| attempt.status == "ok").map(|attempt| &attempt.model);
        let answered = answered.unwrap_or(&metrics.no_model);
        let status = if record.status == "ok" { "success" } else { record.status };
        metrics.ended(&metrics.requests, "bedrock_requests_total", answered, status);
        let times = metrics.response_times.get(Arc::clone(answered), |model| {
            let key = Key::from_parts("bedrock_response_time_seconds", vec![Label::new("model", model.to_string())]);
            metrics.recorder.register_histogram(&key, &METADATA)
        });
        times.record(record.duration_ms / 1e3);
        if let Some(prompt) = &record.prompt {
            metrics.named(prompt);
        }
        for attempt in &record.attempts {
            metrics.ended(&metrics.attempts, "kairos_attempts_total", &attempt.model, attempt.status);
            if attempt.unpriced {
                metrics.ended(&metrics.unpriced, "kairos_unpriced_attempts_total", &attempt.model, attempt.ledger);
            }
            let Some(usage) = &attempt.usage else { continue };
            let counters = metrics.tokens.get(Arc::clone(&attempt.model), |model| {
                TOKENS.map(|kind| {
                    let labels = vec![Label::new("model", model.to_string()), Label::new("kind", kind)];
                    metrics.counter("kairos_tokens_total", labels)
                })
            });
            for (counter, tokens) in counters.iter().zip(tokens(usage)) {
                counter.increment(tokens);
            }
        }
    }

    /// Counts a request that named a template. What was loaded after very many others counts with such.
    fn named(&self, prompt: &PromptRecord) {
        let key = (Arc::clone(&prompt.name), prompt.version);
        let (name, version) = if self.prompts.has_room(&key, MOST_PROMPTS) { key } else { ("other".into(), 0) };
        let counter = self.prompts.get((name, version), |(name, version)| {
            let labels = vec![Label::new("prompt", name.to_string()), Label::new("version", version.to_string())];
            self.counter("kairos_prompt_requests_total", labels)
        });
        counter.increment(1);
    }

    /// Counts something that ended in some way, for a model.
    fn ended(
        &self,
        handles: &Handles<(Arc<str>, &'static str), Counter>,
        name: &'static str,
        model: &Arc<str>,
        status: &'static str,
    ) {
        let counter = handles.get((Arc::clone(model), status), |(model, status)| {
            self.counter(name, vec![Label::new("model", model.to_string()), Label::new("status", *status)])
        });
        counter.increment(1);
    }
}

/// Kinds of tokens, in the order of [`tokens`].
const TOKENS: [&str; 4] = ["input", "output", "cache_read", "cache_write"];

fn tokens(usage: &Usage) -> [u64; 4] {
    [usage.input, usage.output, usage.cache_read, usage.cache_write()]
}
