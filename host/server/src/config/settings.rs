//! What there is to set, with its defaults. `example.toml` beside this file says the same to operators.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kairos_bedrock::client::{Pool, Timeouts};
use kairos_pipeline::guard::OnFailure;
use kairos_pipeline::healers::BackoffBounds;
use kairos_pipeline::prompts::Bounds;
use kairos_pipeline::{HealingBounds, PromptingBounds};
use kairos_sandbox::canary::Rule;
use kairos_sandbox::capability::{Capability, Grants};
use kairos_sandbox::kv::SpaceBounds;
use kairos_sandbox::limits::Limits as SandboxLimits;
use kairos_sandbox::prompts;
use kairos_store::ledger::Bounds as LedgerBounds;
use serde::{Deserialize, Serialize};

use super::values::{Dollars, Seconds, SecretText};

/// All settings. What is not set has the default that [`Config::default`] shows.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Config {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Where the ledger and policies are kept.
    pub(crate) data: PathBuf,
    pub(crate) auth: Auth,
    pub(crate) budget: Budget,
    pub(crate) limits: Limits,
    pub(crate) ledger: LedgerSettings,
    pub(crate) records: RecordSettings,
    pub(crate) upstream: Upstream,
    pub(crate) healing: Healing,
    pub(crate) guard: GuardSettings,
    pub(crate) prompts: PromptSettings,
    pub(crate) prompter: PrompterSettings,
    pub(crate) observer: ObserverSettings,
    pub(crate) models: Models,
    pub(crate) policies: PolicySettings,
    pub(crate) metrics: MetricSettings,
}

/// Who may call. Without a key, whoever is on this machine may.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Auth {
    /// A key for `Authorization: Bearer`.
    pub(crate) bearer_key: Option<SecretText>,
    /// A key pair for AWS's SDKs.
    pub(crate) sigv4: Option<KeyPair>,
    /// Whether nobody is served without a key, on this machine neither, though there be no key yet.
    pub(crate) require_key: bool,
    /// What changes through `/admin` need; none: the gateway makes one, in the data folder.
    pub(crate) admin_token: Option<SecretText>,
}

/// A key pair.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct KeyPair {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: SecretText,
}

/// What may be spent, by all callers together.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Budget {
    /// The most in a UTC day, in US dollars. What could pass it is refused.
    pub(crate) daily_limit_usd: Option<Dollars>,
    /// Spending in a UTC day at which the operator is told, once.
    pub(crate) alert_threshold_usd: Option<Dollars>,
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
    /// Time without a byte within a request's body; all of it may take ten times as long.
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

/// Bounds of the ledger.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct LedgerSettings {
    /// How long a reservation waits for a commit.
    pub(crate) wait_seconds: Seconds,
    /// Rows that may wait for a commit; an attempt claims two.
    pub(crate) queued_rows: usize,
    /// Pairs of key and model that are kept in memory.
    pub(crate) pairs: usize,
}

/// What is kept on disk of requests that have ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct RecordSettings {
    /// Whether anything is.
    pub(crate) enabled: bool,
    /// Whether what was said is kept.
    pub(crate) content: RecordedContent,
    /// How many days a record is kept.
    pub(crate) days: u64,
    /// Most bytes of the file; the oldest records give way.
    pub(crate) bytes: u64,
    /// Records that may wait to be written.
    pub(crate) queue: usize,
    /// Bytes that they may take.
    pub(crate) queue_bytes: usize,
}

/// What is kept of what was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecordedContent {
    /// A digest under a key: whether two texts are equal can be told, and nothing else.
    #[default]
    None,
    /// The last user message and the system prompt, as far as the native guard lets them pass.
    Redacted,
    /// All of the last user message and of the system prompt.
    Full,
}

/// How Bedrock is called.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Upstream {
    /// The region; none: where AWS's tools look.
    pub(crate) region: Option<String>,
    /// Bounds making a connection, the first event of a stream and a whole answer, unless these have
    /// settings of their own.
    pub(crate) request_seconds: Option<Seconds>,
    pub(crate) connect_seconds: Option<Seconds>,
    pub(crate) first_event_seconds: Option<Seconds>,
    pub(crate) answer_seconds: Option<Seconds>,
    /// Time between the events of a stream.
    pub(crate) between_events_seconds: Seconds,
    /// Time to the end of a stream.
    pub(crate) total_seconds: Seconds,
    /// Time for which a stream's usage is waited for before its caller gets the end without it.
    pub(crate) late_usage_seconds: Seconds,
    /// Idle connections that are kept.
    pub(crate) idle_connections: usize,
    pub(crate) keep_alive_seconds: Seconds,
    /// Requests at once on each model; none: not limited.
    pub(crate) concurrent_requests: Option<usize>,
    /// Requests that may wait for each model.
    pub(crate) waiting_requests: usize,
    /// How long each waits.
    pub(crate) waiting_seconds: Seconds,
}

/// What follows a failed attempt, where no policy decides it, and what no policy can pass.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Healing {
    /// Attempts of a request, at most, whoever decides.
    pub(crate) attempts: u32,
    /// Time after a request's arrival in which a further attempt may begin, whoever decides.
    pub(crate) patience_seconds: Seconds,
    /// Repetitions on one model.
    pub(crate) retries: u32,
    /// The wait before the first is drawn below this; before each further one, below twice as much.
    pub(crate) first_wait_seconds: Seconds,
    /// No wait is longer, unless Bedrock asks for it.
    pub(crate) longest_wait_seconds: Seconds,
}

impl Healing {
    pub(crate) fn bounds(&self) -> HealingBounds {
        HealingBounds { attempts: self.attempts, patience: self.patience_seconds.duration() }
    }

    pub(crate) fn backoff(&self) -> BackoffBounds {
        let ms = |seconds: Seconds| u32::try_from(seconds.duration().as_millis()).unwrap_or(u32::MAX).max(1);
        BackoffBounds {
            retries: self.retries,
            base_ms: ms(self.first_wait_seconds),
            cap_ms: ms(self.longest_wait_seconds),
        }
    }
}

/// What of texts may pass, both ways.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct GuardSettings {
    /// Whether personal data and secrets are replaced.
    pub(crate) personal_data: bool,
    /// What becomes of a text whose guard fails.
    pub(crate) on_failure: OnFailed,
}

/// What becomes of a text whose guard fails, and of a request whose prompter does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnFailed {
    /// It does not pass.
    #[default]
    Block,
    /// It passes as it is.
    Pass,
}

impl GuardSettings {
    pub(crate) fn on_failure(&self) -> OnFailure {
        match self.on_failure {
            OnFailed::Block => OnFailure::Block,
            OnFailed::Pass => OnFailure::Pass,
        }
    }
}

/// How much of templates there may be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PromptSettings {
    /// Templates.
    pub(crate) templates: usize,
    /// Versions of each.
    pub(crate) versions: usize,
    /// Bytes of a file.
    pub(crate) file_bytes: u64,
    /// Bytes of a value that a caller gives.
    pub(crate) value_bytes: usize,
    /// Bytes of what a template comes to.
    pub(crate) rendered_bytes: usize,
}

impl PromptSettings {
    pub(crate) fn limits(&self) -> prompts::Limits {
        let Self { templates, versions, file_bytes, value_bytes, rendered_bytes } = *self;
        prompts::Limits { templates, versions, file_bytes, bounds: Bounds { value_bytes, rendered_bytes } }
    }
}

impl Default for PromptSettings {
    fn default() -> Self {
        let prompts::Limits { templates, versions, file_bytes, bounds } = prompts::Limits::default();
        let Bounds { value_bytes, rendered_bytes } = bounds;
        Self { templates, versions, file_bytes, value_bytes, rendered_bytes }
    }
}

/// How far a prompter may go.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PrompterSettings {
    /// What becomes of a request whose prompter fails, or cannot change it.
    pub(crate) on_failure: OnFailed,
    /// Bytes that a request may grow by.
    pub(crate) added_bytes: usize,
}

impl PrompterSettings {
    pub(crate) fn bounds(&self) -> PromptingBounds {
        PromptingBounds { blocks: self.on_failure == OnFailed::Block, added_bytes: self.added_bytes }
    }
}

impl Default for PrompterSettings {
    fn default() -> Self {
        Self { on_failure: OnFailed::Pass, added_bytes: PromptingBounds::default().added_bytes }
    }
}

/// What an observer is told of.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ObserverSettings {
    /// Events that may wait for it.
    pub(crate) queue: usize,
    /// Requests that have ended and whose ratings it is told of.
    pub(crate) remembered: usize,
    /// CPU time of one call.
    pub(crate) deadline_ms: u64,
}

/// Which models there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Models {
    /// The model of requests that name none: a name of the catalogue, or `auto`.
    pub(crate) default: String,
    /// The models offered for `auto`, instead of those that the catalogue marks.
    pub(crate) auto: Option<Vec<String>>,
    /// Tried in order after the plan of a request that any model may answer.
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
    /// Whether a policy serves only with a signature by one of `keys`.
    pub(crate) require_signature: bool,
    /// Public keys whose signatures count, by name: in base64, or the path of a PEM file.
    pub(crate) keys: BTreeMap<String, String>,
    /// Configuration for policies, by slot.
    pub(crate) config: BTreeMap<String, toml::Table>,
    /// CPU time of one call.
    pub(crate) deadline_ms: u64,
    /// CPU time of making an instance ready.
    pub(crate) init_deadline_ms: u64,
    /// Memory of a compiled guest.
    pub(crate) memory_bytes: usize,
    /// Memory of a guest that brings an interpreter along.
    pub(crate) interpreter_memory_bytes: usize,
    /// Stack of a guest.
    pub(crate) stack_bytes: usize,
    /// What a guest may hand to the host in one call.
    pub(crate) handover_bytes: usize,
    /// Handles that a guest may hold.
    pub(crate) handles: usize,
    /// Instances at once, over all generations; none: three for each processor, and at least 64.
    pub(crate) instances: Option<u32>,
    /// Calls after which an instance is replaced.
    pub(crate) calls_per_instance: u32,
    /// Size of a component's file.
    pub(crate) component_bytes: u64,
    /// Size of a script's file.
    pub(crate) script_bytes: u64,
    /// Size of a policy's file of tests.
    pub(crate) test_bytes: u64,
    /// Tests of one policy.
    pub(crate) tests: usize,
    /// CPU time of all tests of a policy.
    pub(crate) test_seconds: Seconds,
    /// Operations of a script in one call.
    pub(crate) script_operations: u64,
    /// Faults within `fault_window_seconds` after which a policy is quarantined.
    pub(crate) faults: usize,
    pub(crate) fault_window_seconds: Seconds,
    /// One call in so many is repeated, to find policies that are not pure.
    pub(crate) purity_sample: u64,
    /// Generations that stay resident behind the one that serves.
    pub(crate) previous_generations: usize,
    pub(crate) kv: KvSettings,
    pub(crate) canary: CanarySettings,
}

/// What a space of what was learned may hold.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct KvSettings {
    /// Keys.
    pub(crate) keys: usize,
    /// Bytes of all keys and values.
    pub(crate) bytes: usize,
}

impl Default for KvSettings {
    fn default() -> Self {
        let SpaceBounds { keys, bytes } = SpaceBounds::default();
        Self { keys, bytes }
    }
}

/// What canaries are decided by. One under way keeps what it began with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct CanarySettings {
    /// The share of requests where none is named.
    pub(crate) share: f64,
    /// How many more requests may fail, of 1.
    pub(crate) errors: f64,
    /// How much slower it may be, of the baseline's mean.
    pub(crate) latency: f64,
    /// How much dearer it may be, likewise.
    pub(crate) cost: f64,
    /// How much worse it may be rated, of 1.
    pub(crate) quality: f64,
    /// The chance that is allowed of a wrong decision.
    pub(crate) alpha: f64,
    /// Requests of the baseline from which it is learned what is usual.
    pub(crate) learned: u64,
    /// Requests of the canary before its share grows.
    pub(crate) step: u64,
    /// Hours before which nothing is promoted.
    pub(crate) hours: f64,
}

impl CanarySettings {
    pub(crate) fn rule(&self) -> Rule {
        let Self { errors, latency, cost, quality, alpha, learned, step, hours, .. } = *self;
        Rule { errors, latency, cost, quality, alpha, learned, step, hours }
    }
}

impl Default for CanarySettings {
    fn default() -> Self {
        let Rule { errors, latency, cost, quality, alpha, learned, step, hours } = Rule::default();
        Self { share: 0.05, errors, latency, cost, quality, alpha, learned, step, hours }
    }
}

/// Whether and what is measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct MetricSettings {
    /// Whether metrics are collected, and served at `/metrics`.
    pub(crate) enabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            data: PathBuf::from("kairos-data"),
            auth: Auth::default(),
            budget: Budget::default(),
            limits: Limits::default(),
            ledger: LedgerSettings::default(),
            records: RecordSettings::default(),
            upstream: Upstream::default(),
            healing: Healing::default(),
            guard: GuardSettings::default(),
            prompts: PromptSettings::default(),
            prompter: PrompterSettings::default(),
            observer: ObserverSettings::default(),
            models: Models::default(),
            policies: PolicySettings::default(),
            metrics: MetricSettings::default(),
        }
    }
}

impl Default for MetricSettings {
    fn default() -> Self {
        Self { enabled: true }
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

impl Default for LedgerSettings {
    fn default() -> Self {
        let bounds = LedgerBounds::default();
        Self { wait_seconds: Seconds::of(bounds.wait), queued_rows: bounds.queued_rows, pairs: bounds.pairs }
    }
}

impl Default for RecordSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            content: RecordedContent::None,
            days: 7,
            bytes: 1 << 30,
            queue: 8_192,
            queue_bytes: 64 << 20,
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        let (timeouts, pool) = (Timeouts::default(), Pool::default());
        Self {
            region: None,
            request_seconds: None,
            connect_seconds: None,
            first_event_seconds: None,
            answer_seconds: None,
            between_events_seconds: Seconds::of(timeouts.between_events),
            total_seconds: Seconds::of(timeouts.total),
            late_usage_seconds: Seconds::new(2.0),
            idle_connections: pool.idle_connections,
            keep_alive_seconds: Seconds::of(pool.keep_alive),
            concurrent_requests: None,
            waiting_requests: 128,
            waiting_seconds: Seconds::new(10.0),
        }
    }
}

impl Default for Healing {
    fn default() -> Self {
        let (bounds, backoff) = (HealingBounds::default(), BackoffBounds::default());
        let ms = |ms: u32| Seconds::of(Duration::from_millis(ms.into()));
        Self {
            attempts: bounds.attempts,
            patience_seconds: Seconds::of(bounds.patience),
            retries: backoff.retries,
            first_wait_seconds: ms(backoff.base_ms),
            longest_wait_seconds: ms(backoff.cap_ms),
        }
    }
}

impl Default for ObserverSettings {
    fn default() -> Self {
        let limits = SandboxLimits::default();
        let deadline_ms = u64::try_from(limits.observer_deadline.as_millis()).unwrap_or(u64::MAX);
        Self { queue: limits.events, remembered: limits.remembered, deadline_ms }
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
        let limits = SandboxLimits::default();
        let granted = Grants::default();
        let names = Capability::ALL.into_iter().filter(|capability| granted.has(*capability));
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            folder: None,
            grants: names.map(|capability| capability.name().to_owned()).collect(),
            require_signature: false,
            keys: BTreeMap::new(),
            config: BTreeMap::new(),
            deadline_ms: ms(limits.deadline),
            init_deadline_ms: ms(limits.init_deadline),
            memory_bytes: limits.memory_bytes,
            interpreter_memory_bytes: limits.interpreter_memory_bytes,
            stack_bytes: limits.stack_bytes,
            handover_bytes: limits.handover_bytes,
            handles: limits.handles,
            instances: None,
            calls_per_instance: limits.calls_per_instance,
            component_bytes: limits.component_bytes,
            script_bytes: limits.script_bytes,
            test_bytes: limits.test_bytes,
            tests: limits.tests,
            test_seconds: Seconds::of(limits.test_time),
            script_operations: limits.script_operations,
            faults: limits.faults,
            fault_window_seconds: Seconds::of(limits.fault_window),
            purity_sample: limits.purity_sample,
            previous_generations: limits.previous_generations,
            kv: KvSettings::default(),
            canary: CanarySettings::default(),
        }
    }
}
