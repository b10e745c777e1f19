//! What is known of a request and of the models on offer: numbers, and behind them what is not a number.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use kairos_dialects::{Needs, Outline};
use serde::{Deserialize, Serialize};

use super::{Complexity, Family, Priority, Route, Strengths, Task, exact};
use crate::guards::Pii;
use crate::learned::Reads;
use crate::request::Tags;

/// What the host knows of a request. See `features` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Features {
    pub task: Task,
    pub task_hinted: bool,
    pub complexity: Complexity,
    pub complexity_hinted: bool,
    pub estimated_tokens: u32,
    pub max_output_tokens: Option<u32>,
    pub max_latency_ms: Option<u32>,
    #[serde(with = "exact")]
    pub accuracy: f64,
    #[serde(with = "exact")]
    pub cost_sensitivity: f64,
    pub priority: Priority,
    pub needs: Needs,
    pub streaming: bool,
    pub turns: u32,
    pub text_bytes: u32,
    pub named: Option<u32>,
    pub budget_remaining: Option<u64>,
    #[serde(with = "exact")]
    pub budget_used: f64,
    pub budget_level: u32,
}

/// One model on offer. See `model` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Offer {
    pub names: u64,
    pub family: Family,
    pub route: Route,
    pub region: u32,
    pub legacy: bool,
    pub strengths: Strengths,
    pub capabilities: Needs,
    pub max_input_tokens: u32,
    pub max_output_tokens: u32,
    pub input_price: u64,
    pub output_price: u64,
    pub cache_read_price: Option<u64>,
    pub cache_write_5m_price: Option<u64>,
    pub cache_write_1h_price: Option<u64>,
    pub worst_case_cost: u64,
    pub latency_ms: u32,
    pub successes: u32,
    pub failures: u32,
    pub cached_tokens: u32,
    pub cooldown_ms: u32,
    pub in_flight: u32,
    pub quota_left: Option<u64>,
}

/// What of a request is not a number. See `request` in the contract.
#[derive(Debug)]
pub struct RequestInfo {
    /// What was said.
    pub content: Content,
    /// The caller's tags.
    pub tags: Tags,
    /// The label of `x-kairos-task`.
    pub task_label: Option<String>,
    /// The model as the caller wrote it.
    pub asked_model: String,
    /// Ids of the models offered.
    pub model_ids: Arc<[Arc<str>]>,
    /// Regions that models are offered in.
    pub regions: Vec<Arc<str>>,
    /// Which model answers for a name.
    pub names: Arc<dyn Names>,
    /// What was learned, as the request sees it.
    pub learned: Arc<Reads>,
}

/// What was said, and whether a policy wanted to know. What is decided without it can be decided again
/// without it.
#[derive(Debug, Default)]
pub struct Content {
    prompt: String,
    system: String,
    was_read: AtomicBool,
}

impl Content {
    /// The text of the last user message that has text, and that of the system prompt.
    pub fn new(prompt: String, system: String) -> Self {
        Self { prompt, system, was_read: AtomicBool::new(false) }
    }

    /// Text of the last user message that has text, for a policy.
    pub fn prompt(&self) -> &str {
        self.was_read.store(true, Ordering::Relaxed);
        &self.prompt
    }

    /// Text of the system prompt, for a policy.
    pub fn system(&self) -> &str {
        self.was_read.store(true, Ordering::Relaxed);
        &self.system
    }

    /// Both, for whoever keeps them.
    pub fn texts(&self) -> (&str, &str) {
        (&self.prompt, &self.system)
    }

    /// Both, as far as the native guard lets them pass.
    pub fn redacted(&self) -> (Cow<'_, str>, Cow<'_, str>) {
        // A text that is so long may have been cut, within a character too.
        let redacted = |text| Pii::redacted(text, str::len(text) + 4 > Outline::TEXT_LIMIT);
        (redacted(&self.prompt), redacted(&self.system))
    }

    /// Whether a policy read any of it.
    pub fn was_read(&self) -> bool {
        self.was_read.load(Ordering::Relaxed)
    }
}

/// Which model answers for a name.
pub trait Names: Send + Sync + std::fmt::Debug {
    /// The id of the active model that answers for `name`.
    fn answering(&self, name: &str) -> Option<Arc<str>>;
}

/// Nothing answers for any name.
#[derive(Debug)]
struct NoNames;

impl Names for NoNames {
    fn answering(&self, _: &str) -> Option<Arc<str>> {
        None
    }
}

/// The request of questions that are about none.
pub(crate) static NO_REQUEST: LazyLock<Arc<RequestInfo>> = LazyLock::new(|| {
    Arc::new(RequestInfo {
        content: Content::default(),
        tags: Arc::default(),
        task_label: None,
        asked_model: String::new(),
        model_ids: [].into(),
        regions: Vec::new(),
        names: Arc::new(NoNames),
        learned: Arc::default(),
    })
});

impl RequestInfo {
    /// The index of the offered model that answers for `name`.
    pub fn find(&self, name: &str) -> Option<u32> {
        let id = self.names.answering(name)?;
        self.model_ids.iter().position(|offered| *offered == id).and_then(|index| u32::try_from(index).ok())
    }
}
