//! What a simulator is told when it starts.
//!
//! It must not know how any of it is used.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::faults::Fault;
use crate::pace::Pace;

/// The API key that is accepted by default.
pub const DEFAULT_API_KEY: &str = "kairos-simulator-key";

/// A pair of keys that may sign requests.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The access key id.
    pub id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token that has to come with it, if the keys are temporary.
    pub session_token: Option<String>,
}

impl AccessKey {
    /// The two pairs that AWS's documentation uses, which are nobody's.
    #[must_use]
    pub fn documented() -> Vec<Self> {
        [
            ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ]
        .map(|(id, secret)| Self { id: id.into(), secret: secret.into(), session_token: None })
        .into()
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A guardrail that blocks words, standing in for one made in the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guardrail {
    /// The identifier requests name it by; every version of it is the same.
    pub id: String,
    /// Text that holds one of these, in any case, is blocked.
    pub blocked_words: Vec<String>,
    /// The answer to an input that is blocked.
    pub input_message: String,
    /// The answer in place of an output that is blocked.
    pub output_message: String,
}

impl Default for Guardrail {
    fn default() -> Self {
        Self {
            id: "sim-guardrail".into(),
            blocked_words: vec!["forbidden-topic".into()],
            input_message: "Sorry, the model cannot answer this question.".into(),
            output_message: "Sorry, the model's answer was blocked.".into(),
        }
    }
}

/// What time it is, for signatures and the prompt cache.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::from_fn(Timestamp::now)
    }

    /// A clock that always says the same.
    #[must_use]
    pub fn fixed(at: Timestamp) -> Self {
        Self::from_fn(move || at)
    }

    /// A clock of the caller's making.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Everything that can be set. Start from [`Config::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The day whose models and prices hold.
    pub as_of: Date,
    /// Keys that may sign requests.
    pub keys: Vec<AccessKey>,
    /// Bedrock API keys, which come as bearer tokens.
    pub api_keys: Vec<String>,
    /// How fast models answer.
    pub pace: Pace,
    /// Faults from the beginning; they can be changed while running.
    pub faults: Vec<Fault>,
    /// The time, for the window of a signature and the life of a cached prompt.
    pub clock: Clock,
    /// Guardrails that requests can name.
    pub guardrails: Vec<Guardrail>,
    /// Application inference profiles: from ARN to the model or profile id each stands for.
    pub application_profiles: BTreeMap<String, String>,
    /// Whether bare ids of models that AWS only serves through inference profiles are refused, as AWS
    /// does. Without, they are served and charged in the caller's region.
    pub require_profiles: bool,
    /// How long a job lasts, where nobody ends it before.
    pub job_lasts: Duration,
    /// Rows of the bill that are kept; older ones stay in its totals only.
    pub bill_rows: usize,
    /// Cached prompts that are kept, over all models.
    pub cached_prompts: usize,
    /// Connections that are served at a time; more wait to be accepted.
    pub max_connections: usize,
    /// How long requests may take to finish once the server is told to stop.
    pub drain: Duration,
}

impl Config {
    /// The defaults, for the models and prices of a day.
    ///
    /// There is no default day: a test that took today's would fail when a model ends.
    #[must_use]
    pub fn new(as_of: Date) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            as_of,
            keys: AccessKey::documented(),
            api_keys: vec![DEFAULT_API_KEY.into()],
            pace: Pace::Instant,
            faults: Vec::new(),
            clock: Clock::system(),
            guardrails: vec![Guardrail::default()],
            application_profiles: BTreeMap::new(),
            require_profiles: true,
            job_lasts: Duration::from_secs(20),
            bill_rows: 1_000_000,
            cached_prompts: 16_384,
            max_connections: 4_096,
            drain: Duration::from_secs(5),
        }
    }
}
