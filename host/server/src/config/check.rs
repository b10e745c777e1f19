//! What values may be, and which contradict each other.

use std::ops::RangeInclusive;

use kairos_dialects::bedrock::jobs::is_place;
use kairos_pipeline::policy::{MAX_OFFERS, MOST_WAIT_MS};
use kairos_sandbox::capability::Capability;
use kairos_sandbox::load::SLOTS;
use kairos_sandbox::trust::MOST_KEYS;

use super::settings::Config;
use crate::alerts::region_of;
use crate::outside::{Host, MOST_HOSTS};

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The setting, as in kairos.toml.
    pub(crate) setting: &'static str,
    /// What is wrong, and what to do.
    pub(crate) what: String,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Everything that is wrong with a configuration.
pub(crate) fn check(config: &Config) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (setting, value, range) in numbers(config) {
        if !range.contains(&value) {
            let what = format!("{value} is out of range: it may be from {} to {}", range.start(), range.end());
            wrong.push(Wrong { setting, what });
        }
    }
    for (setting, value, range) in parts(config) {
        if !range.contains(&value) {
            let what = format!("{value} is out of range: it may be from {} to {}", range.start(), range.end());
            wrong.push(Wrong { setting, what });
        }
    }
    money(config, &mut wrong);
    waits(config, &mut wrong);
    keys(config, &mut wrong);
    names(config, &mut wrong);
    rates(config, &mut wrong);
    signers(config, &mut wrong);
    hosts(config, &mut wrong);
    places(config, &mut wrong);
    wrong
}

/// Every number that is no time, with what it may be. The upper bounds are what this machine's
/// memory or the kernel could not give anyway: a larger number is a slip of the hand.
fn numbers(config: &Config) -> Vec<(&'static str, u64, RangeInclusive<u64>)> {
    let Config {
        limits,
        ledger,
        jobs,
        records,
        upstream,
        healing,
        prompts,
        prompter,
        observer,
        evaluator,
        mutator,
        policies,
        ..
    } = config;
    let mut numbers = vec![
        ("limits.body_bytes", limits.body_bytes as u64, 1..=GIB),
        // Hyper takes no smaller buffer.
        ("limits.header_bytes", limits.header_bytes as u64, 8_192..=16 * MIB),
        ("limits.headers", limits.headers as u64, 16..=10_000),
        ("limits.connections", limits.connections as u64, 1..=1_000_000),
        ("limits.in_flight", limits.in_flight as u64, 1..=1_000_000),
        ("limits.buffered_bytes", limits.buffered_bytes as u64, 1..=1024 * GIB),
        ("limits.embedding_calls", limits.embedding_calls as u64, 1..=2_048),
        ("limits.embedding_numbers", limits.embedding_numbers as u64, 3_072..=100_000_000),
        ("limits.batch_entries", limits.batch_entries as u64, 1..=10_000),
        ("limits.batch_concurrency", limits.batch_concurrency as u64, 1..=1_000),
        ("limits.records", limits.records as u64, 1..=10_000_000),
        ("limits.rate_waiting", limits.rate_waiting as u64, 0..=100_000),
        ("limits.rate_windows", limits.rate_windows as u64, 1..=1_000_000),
        // An attempt claims two.
        ("ledger.queued_rows", ledger.queued_rows as u64, 4..=16_777_216),
        ("ledger.pairs", ledger.pairs as u64, 1..=16_777_216),
        // Each holds a place in the queue, for the row of its end.
        ("jobs.open", jobs.open as u64, 1..=(ledger.queued_rows as u64 / 4).max(1)),
        ("jobs.open_each_key", jobs.open_each_key as u64, 1..=1_000_000),
        ("jobs.look_seconds", jobs.look_seconds, 1..=3_600),
        ("jobs.hours", jobs.hours, 1..=144),
        ("jobs.kept_days", jobs.kept_days, 7..=3_650),
        ("jobs.kept", jobs.kept as u64, 1..=10_000_000),
        ("alerts.outbox", config.alerts.outbox as u64, 1..=1_000_000),
        ("records.days", records.days, 1..=3_650),
        ("records.bytes", records.bytes, MIB..=1024 * GIB),
        ("records.queue", records.queue as u64, 16..=1_000_000),
        ("records.queue_bytes", records.queue_bytes as u64, MIB..=16 * GIB),
        ("models.kept_prices", config.models.kept_prices as u64, 1..=10_000),
        ("profiles.kept", config.profiles.kept as u64, 0..=10_000),
        ("profiles.questions_per_minute", config.profiles.questions_per_minute.into(), 1..=10_000),
        ("upstream.idle_connections", upstream.idle_connections as u64, 0..=100_000),
        ("upstream.waiting_requests", upstream.waiting_requests as u64, 0..=1_000_000),
        ("healing.attempts", healing.attempts.into(), 1..=100),
        ("healing.retries", healing.retries.into(), 0..=100),
        ("prompts.templates", prompts.templates as u64, 0..=10_000),
        ("prompts.versions", prompts.versions as u64, 1..=1_000),
        ("prompts.file_bytes", prompts.file_bytes, 1..=16 * MIB),
        ("prompts.value_bytes", prompts.value_bytes as u64, 1..=16 * MIB),
        ("prompts.rendered_bytes", prompts.rendered_bytes as u64, 1..=16 * MIB),
        ("prompter.added_bytes", prompter.added_bytes as u64, 0..=GIB),
        ("observer.queue", observer.queue as u64, 1..=1_000_000),
        ("observer.remembered", observer.remembered as u64, 0..=1_000_000),
        ("observer.deadline_ms", observer.deadline_ms, 1..=60_000),
        ("evaluator.deadline_ms", evaluator.deadline_ms, 1..=600_000),
        ("evaluator.case_bytes", evaluator.case_bytes as u64, 1..=64 * MIB),
        ("evaluator.cases", evaluator.cases as u64, 1..=10_000_000),
        ("mutator.deadline_ms", mutator.deadline_ms, 1..=600_000),
        ("mutator.proposals", mutator.proposals as u64, 1..=256),
        ("mutator.text_bytes", mutator.text_bytes as u64, 1..=16 * MIB),
        ("policies.http.calls", policies.http.calls.into(), 1..=1_000),
        ("policies.http.bytes", policies.http.bytes as u64, 1..=64 * MIB),
        ("policies.http.run_calls", policies.http.run_calls.into(), 1..=1_000_000),
        ("policies.model.calls", policies.model.calls.into(), 1..=1_000),
        ("policies.model.bytes", policies.model.bytes as u64, 1..=16 * MIB),
        ("policies.model.run_calls", policies.model.run_calls.into(), 1..=1_000_000),
        ("policies.kv.keys", policies.kv.keys as u64, 1..=1_000_000),
        ("policies.kv.bytes", policies.kv.bytes as u64, 1_024..=GIB),
        ("policies.deadline_ms", policies.deadline_ms, 1..=10_000),
        ("policies.init_deadline_ms", policies.init_deadline_ms, 1..=60_000),
        ("policies.memory_bytes", policies.memory_bytes as u64, MIB..=4 * GIB),
        ("policies.interpreter_memory_bytes", policies.interpreter_memory_bytes as u64, MIB..=4 * GIB),
        // Threads that run policies have 8 MiB.
        ("policies.stack_bytes", policies.stack_bytes as u64, 16_384..=2 * MIB),
        ("policies.handover_bytes", policies.handover_bytes as u64, 65_536..=256 * MIB),
        ("policies.handles", policies.handles as u64, 8..=65_536),
        ("policies.calls_per_instance", policies.calls_per_instance.into(), 1..=u32::MAX.into()),
        ("policies.component_bytes", policies.component_bytes, 1..=GIB),
        ("policies.script_bytes", policies.script_bytes, 1..=16 * MIB),
        ("policies.test_bytes", policies.test_bytes, 1..=16 * MIB),
        ("policies.tests", policies.tests as u64, 1..=100_000),
        ("policies.script_operations", policies.script_operations, 1_000..=1_000_000_000),
        ("policies.faults", policies.faults as u64, 1..=1_000),
        ("policies.purity_sample", policies.purity_sample, 1..=u64::MAX),
        ("policies.previous_generations", policies.previous_generations as u64, 0..=16),
        ("policies.kept_versions", policies.kept_versions, 1..=100_000),
        ("policies.kept_bytes", policies.kept_bytes, MIB..=1024 * GIB),
        ("policies.canary.learned", policies.canary.learned, 20..=100_000),
        ("policies.canary.step", policies.canary.step, 1..=1_000_000),
    ];
    if let Some(concurrent) = upstream.concurrent_requests {
        numbers.push(("upstream.concurrent_requests", concurrent as u64, 1..=1_000_000));
    }
    if let Some(instances) = policies.instances {
        numbers.push(("policies.instances", instances.into(), 8..=10_000));
    }
    numbers
}

/// Every number that is a part of something, with what it may be. Below the least, no number of requests
/// would show it.
fn parts(config: &Config) -> [(&'static str, f64, RangeInclusive<f64>); 7] {
    let canary = &config.policies.canary;
    [
        ("policies.canary.share", canary.share, 0.001..=0.5),
        ("policies.canary.errors", canary.errors, 0.0..=0.5),
        ("policies.canary.latency", canary.latency, 0.0..=10.0),
        ("policies.canary.cost", canary.cost, 0.0..=10.0),
        ("policies.canary.quality", canary.quality, 0.0..=0.5),
        ("policies.canary.alpha", canary.alpha, 0.0001..=0.2),
        ("policies.canary.hours", canary.hours, 0.0..=8_760.0),
    ]
}

fn money(config: &Config, wrong: &mut Vec<Wrong>) {
    if let (Some(limit), Some(alert)) = (config.budget.daily_limit_usd, config.budget.alert_threshold_usd)
        && alert.0 > limit.0
    {
        let what = format!("{} is above the daily limit of {}: it would never be passed", alert.0, limit.0);
        wrong.push(Wrong { setting: "budget.alert_threshold_usd", what });
    }
    let alerts = &config.alerts;
    let is_url = |url: &str| {
        let uri = url.parse::<http::Uri>().ok();
        uri.is_some_and(|uri| uri.authority().is_some() && ["http", "https"].map(Some).contains(&uri.scheme_str()))
    };
    if alerts.webhook_url.as_ref().is_some_and(|url| !is_url(url.0.expose())) {
        wrong.push(Wrong {
            setting: "alerts.webhook_url",
            what: "an address is expected: https://HOST/PATH".to_owned(),
        });
    }
    if alerts.sns.as_deref().is_some_and(|arn| region_of(arn).is_none()) {
        let what = "the ARN of a topic is expected: arn:aws:sns:REGION:ACCOUNT:NAME".to_owned();
        wrong.push(Wrong { setting: "alerts.sns", what });
    }
    if alerts.webhook_secret.as_ref().is_some_and(|secret| secret.0.expose().len() < 16) {
        let what = "a secret of at least 16 characters is needed".to_owned();
        wrong.push(Wrong { setting: "alerts.webhook_secret", what });
    }
    // Which models there are is known once the region is.
    let found = config.budget_rules(|_| true, |model| Ok(model.to_owned())).err().unwrap_or_default();
    wrong.extend(found.into_iter().map(|what| Wrong { setting: "budgets", what }));
}

fn waits(config: &Config, wrong: &mut Vec<Wrong>) {
    let backoff = config.healing.backoff();
    if backoff.cap_ms > MOST_WAIT_MS {
        let what = format!("{} s is out of range: no wait is longer than {MOST_WAIT_MS} ms", backoff.cap_ms / 1_000);
        wrong.push(Wrong { setting: "healing.longest_wait_seconds", what });
    }
    if backoff.base_ms > backoff.cap_ms {
        let what = "it is longer than `longest_wait_seconds`".to_owned();
        wrong.push(Wrong { setting: "healing.first_wait_seconds", what });
    }
}

fn keys(config: &Config, wrong: &mut Vec<Wrong>) {
    let mut add = |setting, what: &str| wrong.push(Wrong { setting, what: what.to_owned() });
    if config.auth.bearer_key.as_ref().is_some_and(|key| key.0.expose().len() < 16) {
        add("auth.bearer_key", "a key of at least 16 characters is needed");
    }
    let pair = config.auth.sigv4.as_ref();
    if pair.is_some_and(|pair| pair.access_key_id.is_empty() || pair.secret_access_key.0.expose().len() < 16) {
        add("auth.sigv4", "an id, and a secret of at least 16 characters, are needed");
    }
    if config.auth.admin_token.as_ref().is_some_and(|token| token.0.expose().len() < 16) {
        add("auth.admin_token", "a token of at least 16 characters is needed");
    }
    if !config.requires_key() && !config.listen.ip().is_loopback() {
        let what = format!(
            "{} can be reached from other machines, and no key is configured: everybody could spend your money. \
             Set `bearer_key = \"…\"` under [auth] in kairos.toml (at least 16 characters; `openssl rand -hex 32` makes one), \
             or `require_key = true` and make keys with `kairos key create`, or listen on 127.0.0.1",
            config.listen
        );
        add("listen", &what);
    }
}

/// Services that policies may call.
fn hosts(config: &Config, wrong: &mut Vec<Wrong>) {
    let http = &config.policies.http;
    for (setting, hosts) in [("policies.http.hosts", &http.hosts), ("policies.http.local_hosts", &http.local_hosts)] {
        if hosts.len() > MOST_HOSTS {
            let what = format!("{} hosts are more than the {MOST_HOSTS} that may be listed", hosts.len());
            wrong.push(Wrong { setting, what });
        }
        if let Some(error) = hosts.iter().find_map(|host| Host::read(host).err()) {
            wrong.push(Wrong { setting, what: error });
        }
    }
}

/// Places in S3 that may be listed.
const MOST_PLACES: usize = 1_000;

/// Where in S3 jobs may read and write.
fn places(config: &Config, wrong: &mut Vec<Wrong>) {
    let places = config.jobs.s3.as_deref().unwrap_or_default();
    let what = if places.len() > MOST_PLACES {
        format!("{} places are more than the {MOST_PLACES} that may be listed", places.len())
    } else if let Some(place) = places.iter().find(|place| !is_place(place)) {
        format!("{place:?} is no place in S3: s3://BUCKET/ or s3://BUCKET/FOLDER/ is one, with the slash at its end")
    } else {
        return;
    };
    wrong.push(Wrong { setting: "jobs.s3", what });
}

/// Limits that may be set.
const MOST_RATES: usize = 64;
/// The most of requests or tokens that a minute's limit may let through: more is a slip of the hand.
pub(crate) const MOST_A_MINUTE: u64 = 1_000_000_000_000;

/// The most that a written token may count: more is a slip of the hand.
const MOST_BURNDOWN: u32 = 1_000;

/// What may go through in a minute. Whether there is such a model is seen when the gateway is put together.
fn rates(config: &Config, wrong: &mut Vec<Wrong>) {
    let mut add = |what: String| wrong.push(Wrong { setting: "limits.rates", what });
    let rates = &config.limits.rates;
    if rates.len() > MOST_RATES {
        add(format!("{} limits are more than the {MOST_RATES} that may be set", rates.len()));
    }
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let burndown = &config.limits.burndown;
    if let Some((name, figure)) = burndown.iter().find(|(_, figure)| !(1..=MOST_BURNDOWN).contains(*figure)) {
        let name = super::shortened(name);
        add(format!("`burndown` of {name:?}: {figure} is out of range: it may be from 1 to {MOST_BURNDOWN}"));
    }
    for (place, rate) in rates.iter().enumerate() {
        let name = super::shortened(&rate.name);
        if !(1..=64).contains(&rate.name.len()) || !rate.name.chars().all(is_plain) || rate.name == "key" {
            add(format!(
                "{name:?} is no name of a limit: 1 to 64 characters a–z, 0–9, `-`, `_` and `.` are, but for \"key\""
            ));
        } else if rates[..place].iter().any(|other| other.name == rate.name) {
            add(format!("{name:?} is the name of two limits"));
        }
        let amounts = [rate.requests_per_minute, rate.tokens_per_minute];
        if amounts == [None, None] {
            add(format!("{name:?} limits nothing: set `requests_per_minute`, `tokens_per_minute` or both"));
        }
        if let Some(amount) = amounts.into_iter().flatten().find(|amount| !(1..=MOST_A_MINUTE).contains(amount)) {
            add(format!("{name:?}: {amount} is out of range: it may be from 1 to {MOST_A_MINUTE}"));
        }
        if rate.each_key && rate.key.is_some() {
            add(format!("{name:?} is for one key, and for each key apart: leave out `key` or `each_key`"));
        }
    }
}

/// Keys that sign policies. Whether they are keys is seen when they are read.
fn signers(config: &Config, wrong: &mut Vec<Wrong>) {
    let mut add = |setting, what: String| wrong.push(Wrong { setting, what });
    let keys = &config.policies.keys;
    if config.policies.require_signature && keys.is_empty() {
        let what = "no key is pinned under [policies.keys]: every policy would be refused. \
                    `kairos policy keygen KEYFILE` makes a pair of keys";
        add("policies.require_signature", what.to_owned());
    }
    if keys.len() > MOST_KEYS {
        add("policies.keys", format!("{} keys are more than the {MOST_KEYS} that may be pinned", keys.len()));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if let Some(name) = keys.keys().find(|name| !(1..=64).contains(&name.len()) || !name.chars().all(is_plain)) {
        let name = super::shortened(name);
        add(
            "policies.keys",
            format!("{name:?} is no name of a key: 1 to 64 letters, digits, `-`, `_` and `.` are one"),
        );
    }
}

fn names(config: &Config, wrong: &mut Vec<Wrong>) {
    let mut add = |setting, what: String| wrong.push(Wrong { setting, what });
    if let Some(unknown) = config.policies.grants.iter().find(|name| Capability::from_name(name).is_none()) {
        let known: Vec<_> = Capability::ALL.into_iter().map(Capability::name).collect();
        add("policies.grants", format!("there is no capability {unknown:?}; there are {}", known.join(", ")));
    }
    if let Some(unknown) = config.policies.config.keys().find(|slot| !SLOTS.contains(&slot.as_str())) {
        add("policies.config", format!("there is no slot {unknown:?}; there are {}", SLOTS.join(", ")));
    }
    let models = &config.models;
    if models.default.is_empty() {
        add("models.default", "the name of a model, or \"auto\", is needed".to_owned());
    }
    if models.fallback.len() > MAX_OFFERS {
        add(
            "models.fallback",
            format!("{} models are more than the {MAX_OFFERS} that are tried", models.fallback.len()),
        );
    }
}
