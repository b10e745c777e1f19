//! What there is to set, with its defaults. `example.toml` beside this file says the same to operators.

pub(crate) mod budgets;
mod evolving;
mod policies;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use kairos_bedrock::client::Timeouts;
use kairos_bedrock::pool::Pool;
use kairos_store::ledger::Bounds as LedgerBounds;
use serde::{Deserialize, Serialize};

use self::budgets::{AlertSettings, Budget, BudgetSettings};
use self::evolving::{EvaluatorSettings, MutatorSettings};
pub(crate) use self::evolving::{HttpSettings, ModelSettings};
use self::policies::{GuardSettings, Healing, ObserverSettings, PolicySettings, PromptSettings, PrompterSettings};
use super::values::{Seconds, SecretText};

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
    pub(crate) budgets: Vec<BudgetSettings>,
    pub(crate) alerts: AlertSettings,
    pub(crate) limits: Limits,
    pub(crate) ledger: LedgerSettings,
    pub(crate) jobs: JobSettings,
    pub(crate) records: RecordSettings,
    pub(crate) upstream: Upstream,
    pub(crate) healing: Healing,
    pub(crate) guard: GuardSettings,
    pub(crate) prompts: PromptSettings,
    pub(crate) prompter: PrompterSettings,
    pub(crate) observer: ObserverSettings,
    pub(crate) evaluator: EvaluatorSettings,
    pub(crate) mutator: MutatorSettings,
    pub(crate) models: Models,
    pub(crate) profiles: ProfileSettings,
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
    /// Calls that one request for embeddings may make, one after the other.
    pub(crate) embedding_calls: usize,
    /// Numbers of all vectors that one answer to it holds.
    pub(crate) embedding_numbers: usize,
    /// Records of requests that are kept for `/v1/requests/{id}`.
    pub(crate) records: usize,
    /// Requests and tokens a minute.
    pub(crate) rates: Vec<RateSettings>,
    /// How often a written token counts in them, by model; else as the catalogue says.
    pub(crate) burndown: BTreeMap<String, u32>,
    /// Requests that may wait for one of them.
    pub(crate) rate_waiting: usize,
    /// How long each waits.
    pub(crate) rate_wait_seconds: Seconds,
    /// Limits that are followed at a time, those of each key apart.
    pub(crate) rate_windows: usize,
}

/// What may go through in a minute.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct RateSettings {
    /// What people and metrics call it.
    pub(crate) name: String,
    /// The key that it covers; none: all.
    pub(crate) key: Option<String>,
    /// The model that it covers; none: all.
    pub(crate) model: Option<String>,
    /// Whether each key has all of it for itself.
    #[serde(default)]
    pub(crate) each_key: bool,
    pub(crate) requests_per_minute: Option<u64>,
    /// Tokens, as Bedrock counts them against a quota.
    pub(crate) tokens_per_minute: Option<u64>,
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

/// Jobs: Bedrock's asynchronous invocations.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct JobSettings {
    /// Jobs that may be open.
    pub(crate) open: usize,
    /// Jobs that each key may have open.
    pub(crate) open_each_key: usize,
    /// Seconds from a job's start to the first look whether it has ended.
    pub(crate) look_seconds: u64,
    /// Hours after which a job is given up that was not seen to end.
    pub(crate) hours: u64,
    /// Days after their start for which jobs that have ended are kept.
    pub(crate) kept_days: u64,
    /// Jobs that have ended and are kept of each key, at most.
    pub(crate) kept: usize,
    /// Beginnings of the S3 URIs that jobs may read from and write to; none: all.
    pub(crate) s3: Option<Vec<String>>,
}

impl Default for JobSettings {
    fn default() -> Self {
        let bounds = LedgerBounds::default();
        let (open, open_each_key) = (bounds.jobs, bounds.jobs_each_key);
        Self { open, open_each_key, look_seconds: 15, hours: 72, kept_days: 30, kept: 10_000, s3: None }
    }
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
    /// A file of own prices.
    pub(crate) prices: Option<PathBuf>,
    /// Versions of prices that are kept.
    pub(crate) kept_prices: usize,
    /// What happens to requests for what has no known price.
    pub(crate) unpriced: Unpriced,
}

/// Application inference profiles, whose ARNs Bedrock is asked about.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ProfileSettings {
    /// Profiles that are kept; 0: Bedrock is not asked.
    pub(crate) kept: usize,
    /// Questions in a minute, those of the gateway's own included: an eighth is for them.
    pub(crate) questions_per_minute: u32,
    /// For how long an ARN is refused without asking again.
    pub(crate) refused_seconds: Seconds,
    /// After which time Bedrock is asked again what a profile stands for.
    pub(crate) refresh_seconds: Seconds,
}

impl Default for ProfileSettings {
    fn default() -> Self {
        Self {
            kept: 256,
            questions_per_minute: 30,
            refused_seconds: Seconds::new(60.0),
            refresh_seconds: Seconds::new(86_400.0),
        }
    }
}

/// What happens to requests for what has no known price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unpriced {
    /// They are refused.
    #[default]
    Refuse,
    /// They are served, and their rows marked; what is charged is the dearest price of the family.
    Allow,
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
            budgets: Vec::new(),
            alerts: AlertSettings::default(),
            limits: Limits::default(),
            ledger: LedgerSettings::default(),
            jobs: JobSettings::default(),
            records: RecordSettings::default(),
            upstream: Upstream::default(),
            healing: Healing::default(),
            guard: GuardSettings::default(),
            prompts: PromptSettings::default(),
            prompter: PrompterSettings::default(),
            observer: ObserverSettings::default(),
            evaluator: EvaluatorSettings::default(),
            mutator: MutatorSettings::default(),
            models: Models::default(),
            profiles: ProfileSettings::default(),
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
        let rates = kairos_pipeline::rates::Bounds::default();
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
            embedding_calls: 64,
            embedding_numbers: 2_000_000,
            batch_concurrency: 10,
            records: 1_000,
            rates: Vec::new(),
            burndown: BTreeMap::new(),
            rate_waiting: rates.waiting,
            rate_wait_seconds: Seconds::of(rates.patience),
            rate_windows: rates.windows,
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

impl Default for Models {
    fn default() -> Self {
        Self {
            default: "auto".to_owned(),
            auto: None,
            fallback: Vec::new(),
            names: BTreeMap::new(),
            ended: EndedModels::default(),
            as_of: None,
            prices: None,
            kept_prices: 64,
            unpriced: Unpriced::default(),
        }
    }
}
