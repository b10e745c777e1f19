//! The configuration: `kairos.toml`, then the environment, then flags.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kairos_bedrock::client::{Pool, Timeouts};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::policy::MAX_OFFERS;
use kairos_pipeline::request::Secret;
use kairos_sandbox::capability::{Capability, Grants};
use kairos_sandbox::load::SLOTS;
use kairos_store::ledger::DailyLimits;
use serde::{Deserialize, Serialize, Serializer};

/// All settings. What is not set has the default that [`Config::default`] shows.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Config {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Where the ledger and compiled policies are kept.
    pub(crate) data: PathBuf,
    pub(crate) auth: Auth,
    pub(crate) budget: Budget,
    pub(crate) limits: Limits,
    pub(crate) upstream: Upstream,
    pub(crate) models: Models,
    pub(crate) policies: PolicySettings,
}

/// Who may call. Without a key, whoever is on this machine may.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Auth {
    /// A key for `Authorization: Bearer`.
    pub(crate) bearer_key: Option<SecretText>,
    /// A key pair for AWS's SDKs.
    pub(crate) sigv4: Option<KeyPair>,
}

/// A key pair.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct KeyPair {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: SecretText,
}

/// A secret in the configuration: read, never written.
#[derive(Clone, Debug)]
pub(crate) struct SecretText(pub(crate) Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What was given is not shown, whatever it was.
        match toml::Value::deserialize(deserializer) {
            Ok(toml::Value::String(text)) => Ok(Self(Secret::new(text))),
            Ok(_) | Err(_) => Err(serde::de::Error::custom("a text in quotes is expected")),
        }
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[secret]")
    }
}

/// What may be spent, by all callers together.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Budget {
    /// The most in a UTC day, in US dollars. What could pass it is refused. `BEDROCK_DAILY_COST_LIMIT`.
    pub(crate) daily_limit_usd: Option<Dollars>,
    /// Spending in a UTC day at which the operator is told, once. `BEDROCK_COST_ALERT_THRESHOLD`.
    pub(crate) alert_threshold_usd: Option<Dollars>,
}

/// An amount of money, written as text: a number of TOML would be rounded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Dollars(Picodollars);

impl Dollars {
    const EXPECTED: &str = "an amount of US dollars in quotes is expected, for example \"100.00\"";

    fn parse(text: &str) -> Option<Self> {
        Picodollars::parse_dollars(text).filter(|amount| i64::try_from(amount.0).is_ok()).map(Self)
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || serde::de::Error::custom(Self::EXPECTED);
        match toml::Value::deserialize(deserializer) {
            Ok(toml::Value::String(text)) => Self::parse(&text).ok_or_else(wrong),
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

/// Bounds of what callers can ask of the gateway.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Limits {
    /// Largest request body, in bytes. Bedrock's own limit is the default.
    pub(crate) body_bytes: usize,
    /// Largest head of a request, in bytes. It is looked at read by read: at twice as much at the
    /// latest, it is refused.
    pub(crate) header_bytes: usize,
    /// Most headers of a request.
    pub(crate) headers: usize,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Requests under way, those whose callers have left included.
    pub(crate) in_flight: usize,
    /// Bytes of all request bodies under way.
    pub(crate) buffered_bytes: usize,
    /// Time for a request's head to arrive.
    pub(crate) header_seconds: Seconds,
    /// Time without a byte within a request's body.
    pub(crate) body_seconds: Seconds,
    /// Time that a caller may take nothing of an answer.
    pub(crate) write_seconds: Seconds,
    /// Time for requests under way to end once the gateway is told to stop.
    pub(crate) drain_seconds: Seconds,
    /// Time after which a streaming caller who heard nothing is sent a sign of life.
    pub(crate) sign_of_life_seconds: Seconds,
    /// Most requests of one batch.
    pub(crate) batch_entries: usize,
    /// Requests of one batch that are under way at once.
    pub(crate) batch_concurrency: usize,
    /// Records of requests that are kept for `/v1/requests/{id}`.
    pub(crate) records: usize,
}

/// How Bedrock is called.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Upstream {
    /// The region. Else `AWS_BEDROCK_REGION`, then where AWS's tools look.
    pub(crate) region: Option<String>,
    /// Bounds both the first event of a stream and a whole answer. `BEDROCK_REQUEST_TIMEOUT`.
    pub(crate) request_seconds: Option<Seconds>,
    pub(crate) connect_seconds: Option<Seconds>,
    pub(crate) first_event_seconds: Option<Seconds>,
    pub(crate) between_events_seconds: Option<Seconds>,
    pub(crate) answer_seconds: Option<Seconds>,
    pub(crate) total_seconds: Option<Seconds>,
    pub(crate) idle_connections: Option<usize>,
    pub(crate) keep_alive_seconds: Option<Seconds>,
}

/// Which models there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Models {
    /// The model of requests that name none: a name of the catalogue, or `auto`. `BEDROCK_DEFAULT_MODEL`.
    pub(crate) default: String,
    /// The models offered for `auto`, instead of those that the catalogue marks.
    pub(crate) auto: Option<Vec<String>>,
    /// Tried in order after the plan of a request that any model may answer. `BEDROCK_FALLBACK_MODELS`,
    /// separated by commas.
    pub(crate) fallback: Vec<String>,
    /// Further names, and what they stand for. An ARN is called as it is.
    pub(crate) names: BTreeMap<String, String>,
    /// What happens to requests for a model that has ended.
    pub(crate) ended: EndedModels,
    /// The date for which models are active or not, instead of today.
    pub(crate) as_of: Option<jiff::civil::Date>,
}

/// What happens to requests for a model that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EndedModels {
    /// Its successor answers.
    #[default]
    Resolve,
    /// They are refused, naming the successor.
    Refuse,
}

/// Policies and their bounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PolicySettings {
    /// The watched folder.
    pub(crate) folder: Option<PathBuf>,
    /// What policies may use.
    pub(crate) grants: Vec<String>,
    /// Configuration for policies, by slot.
    pub(crate) config: BTreeMap<String, toml::Table>,
    /// CPU time of one call.
    pub(crate) deadline_ms: u64,
    /// Memory of a compiled guest.
    pub(crate) memory_bytes: usize,
    /// Memory of a guest that brings an interpreter along.
    pub(crate) interpreter_memory_bytes: usize,
    /// Faults within a minute after which a policy is quarantined.
    pub(crate) faults: usize,
    /// One call in so many is repeated, to find policies that are not pure.
    pub(crate) purity_sample: u64,
}

/// A time in seconds; fractions are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Seconds(f64);

impl Seconds {
    pub(crate) const fn new(seconds: f64) -> Self {
        Self(seconds)
    }

    pub(crate) fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }

    fn checked(seconds: f64) -> Option<Self> {
        (seconds > 0.0 && seconds <= 86_400.0).then_some(Self(seconds))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Self::checked(seconds)
            .ok_or_else(|| serde::de::Error::custom("a time in seconds, above 0 and at most 86400, is expected"))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            data: PathBuf::from("kairos-data"),
            auth: Auth::default(),
            budget: Budget::default(),
            limits: Limits::default(),
            upstream: Upstream::default(),
            models: Models::default(),
            policies: PolicySettings::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 25_000_000,
            header_bytes: 64 * 1024,
            headers: 100,
            connections: 10_000,
            in_flight: 4_096,
            buffered_bytes: 512 * 1024 * 1024,
            header_seconds: Seconds::new(10.0),
            body_seconds: Seconds::new(30.0),
            write_seconds: Seconds::new(30.0),
            drain_seconds: Seconds::new(30.0),
            sign_of_life_seconds: Seconds::new(15.0),
            batch_entries: 100,
            batch_concurrency: 10,
            records: 4_000,
        }
    }
}

impl Default for Models {
    fn default() -> Self {
        Self {
            default: "auto".to_owned(),
            auto: None,
            fallback: Vec::new(),
            names: BTreeMap::new(),
            ended: EndedModels::default(),
            as_of: None,
        }
    }
}

impl Default for PolicySettings {
    fn default() -> Self {
        let limits = kairos_sandbox::limits::Limits::default();
        let granted = Grants::default();
        let names = Capability::ALL.into_iter().filter(|capability| granted.has(*capability));
        Self {
            folder: None,
            grants: names.map(|capability| capability.name().to_owned()).collect(),
            config: BTreeMap::new(),
            deadline_ms: u64::try_from(limits.deadline.as_millis()).unwrap_or(10),
            memory_bytes: limits.memory_bytes,
            interpreter_memory_bytes: limits.interpreter_memory_bytes,
            faults: limits.faults,
            purity_sample: limits.purity_sample,
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path}: the file cannot be read: {cause}")]
    Read { path: String, cause: std::io::Error },
    // Not the parser's own text: it shows the line, which may hold a key.
    #[error("{path}{}: {}", at.map_or(String::new(), |(line, column)| format!(":{line}:{column}")), message)]
    Form { path: String, at: Option<(usize, usize)>, message: String },
    #[error("{path}: there is no setting `{key}`{}", near.as_ref().map_or(String::new(), |near| format!("; did you mean `{near}`?")))]
    UnknownKey { path: String, key: String, near: Option<String> },
    #[error("{what}")]
    Value { what: String },
}

/// Flags that `serve` and `demo` share.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Flags {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Folder for what is kept
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of policies to watch: router.rhai or router.wasm
    #[arg(long, value_name = "DIR")]
    pub(crate) policies: Option<PathBuf>,
}

impl Config {
    /// Reads the file, the environment and the flags, in this order; the last wins.
    pub(crate) fn read(flags: &Flags, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut config = match &flags.config {
            Some(path) => Self::from_file(path)?,
            None if Path::new("kairos.toml").exists() => Self::from_file(Path::new("kairos.toml"))?,
            None => Self::default(),
        };
        config.apply_environment(variable)?;
        if let Some(listen) = flags.listen {
            config.listen = listen;
        }
        if let Some(data) = &flags.data {
            config.data.clone_from(data);
        }
        if flags.policies.is_some() {
            config.policies.folder.clone_from(&flags.policies);
        }
        config.check()?;
        Ok(config)
    }

    fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: shown.clone(), cause })?;
        Self::from_text(&text, &shown)
    }

    fn from_text(text: &str, path: &str) -> Result<Self, ConfigError> {
        let form = |cause: toml::de::Error| {
            let before = cause.span().and_then(|span| text.get(..span.start));
            let at = before.map(|before| {
                let line = before.rsplit('\n').next().unwrap_or_default();
                (before.matches('\n').count() + 1, line.chars().count() + 1)
            });
            ConfigError::Form { path: path.to_owned(), at, message: cause.message().to_owned() }
        };
        let mut unknown = None;
        let reader = toml::Deserializer::parse(text).map_err(form)?;
        let config = serde_ignored::deserialize(reader, |key| {
            unknown.get_or_insert_with(|| key.to_string().replace(".?", ""));
        });
        let config: Self = config.map_err(form)?;
        match unknown {
            None => Ok(config),
            Some(key) => {
                let near = nearest(&key);
                Err(ConfigError::UnknownKey { path: path.to_owned(), key, near })
            }
        }
    }

    fn apply_environment(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        let name = "BEDROCK_REQUEST_TIMEOUT";
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            let seconds = value.parse().ok().and_then(Seconds::checked);
            let seconds = seconds.ok_or_else(|| ConfigError::Value {
                what: format!("{name}={value:?} is not a time in seconds, above 0 and at most 86400"),
            })?;
            self.upstream.request_seconds = Some(seconds);
        }
        if let Some(value) = variable("BEDROCK_DEFAULT_MODEL").filter(|value| !value.is_empty()) {
            self.models.default = value;
        }
        if let Some(value) = variable("BEDROCK_FALLBACK_MODELS").filter(|value| !value.is_empty()) {
            let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
            self.models.fallback = names.map(str::to_owned).collect();
        }
        for (name, amount) in [
            ("BEDROCK_DAILY_COST_LIMIT", &mut self.budget.daily_limit_usd),
            ("BEDROCK_COST_ALERT_THRESHOLD", &mut self.budget.alert_threshold_usd),
        ] {
            if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
                let what = || format!("{name}={value:?} is not an amount of US dollars, as 100.00 is");
                *amount = Some(Dollars::parse(&value).ok_or_else(|| ConfigError::Value { what: what() })?);
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |what: String| Err(ConfigError::Value { what });
        if let Some(unknown) = self.policies.grants.iter().find(|name| Capability::from_name(name).is_none()) {
            let known: Vec<_> = Capability::ALL.into_iter().map(Capability::name).collect();
            return wrong(format!(
                "policies.grants: there is no capability {unknown:?}; there are {}",
                known.join(", ")
            ));
        }
        if let (Some(limit), Some(alert)) = (self.budget.daily_limit_usd, self.budget.alert_threshold_usd)
            && alert.0 > limit.0
        {
            return wrong(format!(
                "budget.alert_threshold_usd: {} is above the daily limit of {}: it would never be passed",
                alert.0, limit.0
            ));
        }
        if let Some(unknown) = self.policies.config.keys().find(|slot| !SLOTS.contains(&slot.as_str())) {
            return wrong(format!("policies.config: there is no slot {unknown:?}; there are {}", SLOTS.join(", ")));
        }
        if self.models.fallback.len() > MAX_OFFERS {
            return wrong(format!("models.fallback: at most {MAX_OFFERS} models can be tried"));
        }
        if self.auth.bearer_key.as_ref().is_some_and(|key| key.0.expose().len() < 16) {
            return wrong("auth.bearer_key: a key of at least 16 characters is needed".to_owned());
        }
        if self
            .auth
            .sigv4
            .as_ref()
            .is_some_and(|pair| pair.access_key_id.is_empty() || pair.secret_access_key.0.expose().len() < 16)
        {
            return wrong("auth.sigv4: an id, and a secret of at least 16 characters, are needed".to_owned());
        }
        for (name, zero) in [
            ("limits.body_bytes", self.limits.body_bytes == 0),
            ("limits.connections", self.limits.connections == 0 || self.limits.connections > 1_000_000),
            ("limits.in_flight", self.limits.in_flight == 0),
            ("limits.batch_entries", !(1..=10_000).contains(&self.limits.batch_entries)),
            ("limits.batch_concurrency", !(1..=1_000).contains(&self.limits.batch_concurrency)),
            ("limits.header_bytes", self.limits.header_bytes < 8192),
            ("policies.deadline_ms", self.policies.deadline_ms == 0 || self.policies.deadline_ms > 10_000),
            ("policies.memory_bytes", self.policies.memory_bytes < 1024 * 1024),
        ] {
            if zero {
                return wrong(format!("{name} is too small, or out of range"));
            }
        }
        if !self.has_keys() && !self.listen.ip().is_loopback() {
            return wrong(format!(
                "{} can be reached from other machines, and no key is configured: everybody could spend your money. \
                 Set `bearer_key = \"…\"` under [auth] in kairos.toml (at least 16 characters; `openssl rand -hex 32` makes one), \
                 or listen on 127.0.0.1",
                self.listen
            ));
        }
        Ok(())
    }

    /// Whether callers need a key.
    pub(crate) fn has_keys(&self) -> bool {
        self.auth.bearer_key.is_some() || self.auth.sigv4.is_some()
    }

    /// Bounds of batches.
    pub(crate) fn batch_limits(&self) -> kairos_pipeline::batch::Limits {
        kairos_pipeline::batch::Limits {
            entries: self.limits.batch_entries,
            concurrency: self.limits.batch_concurrency,
            patience: self.limits.write_seconds.duration(),
        }
    }

    /// How long calls to Bedrock may take.
    pub(crate) fn timeouts(&self) -> Timeouts {
        let set = &self.upstream;
        let defaults = Timeouts::default();
        let or = |seconds: Option<Seconds>, default: Duration| seconds.map_or(default, Seconds::duration);
        let request = set.request_seconds;
        let total = or(set.total_seconds, defaults.total);
        Timeouts {
            connect: or(set.connect_seconds.or(request), defaults.connect),
            first_event: or(set.first_event_seconds.or(request), defaults.first_event),
            between_events: or(set.between_events_seconds, defaults.between_events),
            answer: or(set.answer_seconds.or(request), total),
            total,
        }
    }

    /// Connections that are kept.
    pub(crate) fn pool(&self) -> Pool {
        let defaults = Pool::default();
        Pool {
            idle_connections: self.upstream.idle_connections.unwrap_or(defaults.idle_connections),
            keep_alive: self.upstream.keep_alive_seconds.map_or(defaults.keep_alive, Seconds::duration),
        }
    }

    /// Limits of a day's spending.
    pub(crate) fn daily_limits(&self) -> DailyLimits {
        let amount = |dollars: Option<Dollars>| dollars.map(|dollars| dollars.0.0);
        DailyLimits { limit: amount(self.budget.daily_limit_usd), alert: amount(self.budget.alert_threshold_usd) }
    }

    /// Bounds of policies.
    pub(crate) fn policy_limits(&self) -> kairos_sandbox::limits::Limits {
        kairos_sandbox::limits::Limits {
            deadline: Duration::from_millis(self.policies.deadline_ms),
            memory_bytes: self.policies.memory_bytes,
            interpreter_memory_bytes: self.policies.interpreter_memory_bytes,
            faults: self.policies.faults,
            purity_sample: self.policies.purity_sample,
            ..kairos_sandbox::limits::Limits::default()
        }
    }

    /// What policies may use.
    pub(crate) fn grants(&self) -> Grants {
        Grants::of(self.policies.grants.iter().filter_map(|name| Capability::from_name(name)))
    }
}

/// The setting whose name is nearest to `key`.
fn nearest(key: &str) -> Option<String> {
    let mut known = Vec::new();
    if let Ok(all) = serde_json::to_value(Config::default()) {
        collect("", &all, &mut known);
    }
    known.extend(["auth.sigv4.access_key_id", "auth.sigv4.secret_access_key"].map(str::to_owned));
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let score =
        |known: &String| strsim::jaro_winkler(known, key).max(strsim::jaro_winkler(&last(known), &last(key)) * 0.99);
    known
        .into_iter()
        .map(|name| (score(&name), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn collect(prefix: &str, value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                collect(&path, value, into);
            }
        }
        _ => into.push(prefix.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let read = Config::from_text(text, "kairos.toml").and_then(|config| config.check().map(|()| config));
        read.unwrap_err().to_string()
    }

    #[test]
    fn a_whole_file() {
        let config = Config::from_text(
            r#"
            listen = "127.0.0.1:9000"
            [auth]
            bearer_key = "0123456789abcdef"
            sigv4 = { access_key_id = "AKIAKAIROS", secret_access_key = "0123456789abcdef" }
            [limits]
            body_bytes = 1000
            write_seconds = 0.5
            [upstream]
            region = "eu-west-1"
            request_seconds = 5
            [models]
            auto = ["nova-lite"]
            ended = "refuse"
            as_of = "2026-11-23"
            names = { cheap = "nova-micro" }
            [policies]
            grants = ["log", "content"]
            [policies.config.router]
            threshold = 3
            "#,
            "kairos.toml",
        )
        .unwrap();
        config.check().unwrap();
        assert_eq!(config.timeouts().first_event, Duration::from_secs(5));
        assert_eq!(config.timeouts().answer, Duration::from_secs(5));
        assert_eq!(config.limits.write_seconds.duration(), Duration::from_millis(500));
        assert!(config.grants().has(Capability::Content) && !config.grants().has(Capability::Kv));
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
        assert!(!serde_json::to_string(&config).unwrap().contains("0123456789abcdef"));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_meant() {
        insta::assert_snapshot!(refusal("[limits]\nbdy_bytes = 1"), @"kairos.toml: there is no setting `limits.bdy_bytes`; did you mean `limits.body_bytes`?");
        insta::assert_snapshot!(refusal("lisen = 1"), @"kairos.toml: there is no setting `lisen`; did you mean `listen`?");
        insta::assert_snapshot!(refusal("[upstream]\nrequest_seconds = 0"), @"kairos.toml:2:19: a time in seconds, above 0 and at most 86400, is expected");
        insta::assert_snapshot!(refusal("[policies.config.ruoter]\nx = 1"), @"policies.config: there is no slot \"ruoter\"; there are router");
        insta::assert_snapshot!(refusal("[limits]\nconnections = 4611686018427387904"), @"limits.connections is too small, or out of range");
        insta::assert_snapshot!(refusal("[budget]\ndaily_limit_usd = 10"), @r#"kairos.toml:2:19: an amount of US dollars in quotes is expected, for example "100.00""#);
        insta::assert_snapshot!(refusal("[budget]\ndaily_limit_usd = \"1e3\""), @r#"kairos.toml:2:19: an amount of US dollars in quotes is expected, for example "100.00""#);
        insta::assert_snapshot!(refusal("[budget]\ndaily_limit_usd = \"10\"\nalert_threshold_usd = \"20\""), @"budget.alert_threshold_usd: 20 is above the daily limit of 10: it would never be passed");
        for secret in ["sk-live-0123456789abcdef", "1234567890123456789"] {
            assert!(!refusal(&format!("[auth]\nbearer_key = {secret}")).contains(secret));
        }
        insta::assert_snapshot!(refusal("[policies]\ngrants = [\"http\"]"), @r#"policies.grants: there is no capability "http"; there are log, metrics, kv, content"#);
        insta::assert_snapshot!(refusal("[auth]\nbearer_key = \"short\""), @"auth.bearer_key: a key of at least 16 characters is needed");
        insta::assert_snapshot!(refusal("listen = \"0.0.0.0:8000\""), @r#"0.0.0.0:8000 can be reached from other machines, and no key is configured: everybody could spend your money. Set `bearer_key = "…"` under [auth] in kairos.toml (at least 16 characters; `openssl rand -hex 32` makes one), or listen on 127.0.0.1"#);
    }
}
