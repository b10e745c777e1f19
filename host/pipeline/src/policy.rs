//! What a policy sees, and what it answers: the internal types of the contract in `wit/`.
//!
//! Every world version is adapted to these. Nothing here knows how a policy is written.

mod answer;
mod evaluating;
pub(crate) mod exact;
mod guarding;
mod healing;
mod mutating;
mod observing;
mod outside;
mod prompting;
mod question;
mod serving;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

pub use kairos_dialects::Needs;
use kairos_dialects::Outline;
use serde::{Deserialize, Serialize};

use crate::guards::Pii;
use crate::learned::{Reads, Snapshot, SpaceId};

pub use self::answer::{CacheDirective, Candidate, Fault, FaultKind, Plan, PolicyError, Undecided, bounded, one_line};
pub(crate) use self::evaluating::said;
pub use self::evaluating::{
    Case, CaseEnding, CaseOutcome, Evaluator, MOST_METRICS, MOST_PART, MOST_REMARK, Measure, Metric, Score, ScoreInput,
    WHOLE_BELOW, part,
};
pub use self::guarding::{
    Direction, Guard, InspectInput, MOST_HELD, MOST_OPEN, MOST_REPLACED, MOST_SHOWN, MOST_STATE, Origin, Passage,
    Replacement, Verdict,
};
pub use self::healing::{
    Abilities, Action, FailedAttempt, FailureFacts, FailureKind, HealInput, Healer, MOST_HEALER_MODELS, MOST_WAIT_MS,
    Remedy, Wait,
};
pub use self::mutating::{
    Evidence, MOST_NOTES, MOST_WEAKNESSES, Mutator, MutatorBounds, ProposeInput, Summary, Weakness,
};
pub use self::observing::{
    Ending, Event, EventKind, MOST_CHANGES, ObserveInput, Outcome, Rating, SeenAttempt, Stop, Watcher, Written,
};
pub use self::outside::{
    Failing, HttpMethod, HttpRequest, HttpResponse, MOST_MESSAGES, MOST_REQUEST_HEADERS, MOST_RESPONSE_HEADERS,
    ModelRequest, ModelResponse, NOWHERE, Outside, OutsideError,
};
pub use self::prompting::{
    Draft, DraftMessage, DraftParameters, Edit, Edits, MOST_EXAMPLES, MOST_TEXT_EDITS, Piece, Place, PromptInput,
    Prompter, Shown, Speaker, SystemEdit, TextEdit,
};
pub use self::question::{Answer, Question, World};
pub use self::serving::{Arm, Assigned, Canary, Serving, Shadow, Went};

/// What a request is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Task {
    /// Anything else.
    #[default]
    General,
    /// Programming.
    Code,
    /// Complex reasoning.
    Reasoning,
    /// Analysis.
    Analysis,
    /// A decision.
    Decision,
    /// A strategy.
    Strategy,
    /// Resolving a conflict.
    Resolution,
    /// Sorting into classes.
    Classification,
    /// Taking facts out of a text.
    Extraction,
    /// Making a text shorter.
    Summarization,
    /// Another language.
    Translation,
    /// Writing.
    Generation,
    /// Chat.
    Conversation,
    /// A label of the caller's own.
    Other,
}

impl Task {
    /// All tasks, in the contract's order.
    pub const ALL: [Self; 14] = [
        Self::General,
        Self::Code,
        Self::Reasoning,
        Self::Analysis,
        Self::Decision,
        Self::Strategy,
        Self::Resolution,
        Self::Classification,
        Self::Extraction,
        Self::Summarization,
        Self::Translation,
        Self::Generation,
        Self::Conversation,
        Self::Other,
    ];

    /// The label that the header and the contract use.
    pub fn name(self) -> &'static str {
        [
            "general",
            "code",
            "reasoning",
            "analysis",
            "decision",
            "strategy",
            "resolution",
            "classification",
            "extraction",
            "summarization",
            "translation",
            "generation",
            "conversation",
            "other",
        ][self as usize]
    }

    /// The task of a label; a label that is not in the list is `Other`.
    pub fn from_label(label: &str) -> Self {
        Self::ALL.into_iter().find(|task| task.name() == label).unwrap_or(Self::Other)
    }
}

/// How hard a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Complexity {
    /// Easy.
    Low,
    /// In between.
    #[default]
    Medium,
    /// Hard.
    High,
}

impl Complexity {
    /// All, in the contract's order.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The name that the header and the contract use.
    pub fn name(self) -> &'static str {
        ["low", "medium", "high"][self as usize]
    }
}

/// How soon a request matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Priority {
    /// It can wait.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Somebody waits.
    High,
    /// Before all others.
    Critical,
}

impl Priority {
    /// All, in the contract's order.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The name that the header and the contract use.
    pub fn name(self) -> &'static str {
        ["low", "normal", "high", "critical"][self as usize]
    }
}

/// Who made a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Family {
    Claude,
    Nova,
    Titan,
    Llama,
    Mistral,
    Jamba,
    Jurassic,
    Command,
    Deepseek,
    OpenAi,
    Qwen,
    Other,
}

impl Family {
    /// All, in the contract's order.
    pub const ALL: [Self; 12] = [
        Self::Claude,
        Self::Nova,
        Self::Titan,
        Self::Llama,
        Self::Mistral,
        Self::Jamba,
        Self::Jurassic,
        Self::Command,
        Self::Deepseek,
        Self::OpenAi,
        Self::Qwen,
        Self::Other,
    ];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        [
            "claude", "nova", "titan", "llama", "mistral", "jamba", "jurassic", "command", "deepseek", "openai",
            "qwen", "other",
        ][self as usize]
    }
}

/// Where a call is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Route {
    /// In the gateway's region.
    InRegion,
    /// By a geographic inference profile.
    Geo,
    /// By the global inference profile.
    Global,
    /// By something bought or defined in the account.
    Account,
}

impl Route {
    /// All, in the contract's order.
    pub const ALL: [Self; 4] = [Self::InRegion, Self::Geo, Self::Global, Self::Account];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        ["in-region", "geo", "global", "account"][self as usize]
    }
}

/// What a model is good at: one bit each, in the contract's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Strengths(pub u32);

impl Strengths {
    /// Reasoning.
    pub const REASONING: Self = Self(1 << 0);
    /// Speed.
    pub const SPEED: Self = Self(1 << 3);

    /// Names of the bits.
    pub const NAMES: [&'static str; 11] = [
        "reasoning",
        "code-analysis",
        "complex-decisions",
        "speed",
        "simple-tasks",
        "classification",
        "summarization",
        "content-generation",
        "long-context",
        "vision",
        "multilingual",
    ];

    /// Whether all of `other` is here.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of what is here.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| name)
    }
}

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
    pub tags: Vec<(String, String)>,
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
        tags: Vec::new(),
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

/// All that a router is asked with.
#[derive(Clone, Copy, Debug)]
pub struct RouteInput<'a> {
    /// What is not a number.
    pub request: &'a Arc<RequestInfo>,
    /// What the host knows of the request.
    pub features: &'a Features,
    /// The models on offer: 1 to [`MAX_OFFERS`].
    pub models: &'a [Offer],
}

/// Models that a policy is shown, at most.
pub const MAX_OFFERS: usize = 16;

/// Who a policy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file, in hexadecimal; the version for what is built in.
    pub digest: String,
    /// Names of its reasons.
    pub reasons: Vec<(u32, Arc<str>)>,
    /// Model names that it wants in [`Offer::names`].
    pub model_names: Vec<String>,
    /// Bytes that it may leave undecided of a text: of a guard.
    hold_back: usize,
    /// The space of what was learned that it reads, and writes where it is an observer.
    space: Option<SpaceId>,
    /// What it was loaded with: configuration and grants, as JSON.
    setting: Arc<str>,
    /// Name and digest, as they are shown.
    label: Arc<str>,
}

impl Identity {
    /// Who a policy of this name and digest is.
    pub fn new(
        name: impl Into<String>,
        digest: impl Into<String>,
        reasons: Vec<(u32, Arc<str>)>,
        model_names: Vec<String>,
    ) -> Self {
        let (name, digest) = (name.into(), digest.into());
        let label = format!("{name}@{digest}").into();
        Self { name, digest, reasons, model_names, hold_back: 0, space: None, setting: "{}".into(), label }
    }

    /// The same, loaded with this configuration and these grants, as JSON.
    pub fn loaded_with(self, setting: impl Into<Arc<str>>) -> Self {
        Self { setting: setting.into(), ..self }
    }

    /// The same of a guard that may leave so many bytes of a text undecided, up to [`MOST_HELD`].
    pub fn holding(self, hold_back: usize) -> Self {
        Self { hold_back, ..self }
    }

    /// The same of one that reads this space of what was learned, and writes it where it is an observer.
    pub fn learning(self, space: Option<SpaceId>) -> Self {
        Self { space, ..self }
    }

    /// The space of what was learned that it reads.
    pub fn space(&self) -> Option<&SpaceId> {
        self.space.as_ref()
    }

    /// Bytes that it may leave undecided of a text: 0 where it is no guard.
    pub fn hold_back(&self) -> usize {
        self.hold_back
    }

    /// What it was loaded with: configuration and grants, as JSON.
    pub fn setting(&self) -> &Arc<str> {
        &self.setting
    }

    /// `name@digest`.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// The name of a reason.
    pub fn reason(&self, code: u32) -> Option<&Arc<str>> {
        self.reasons.iter().find(|(known, _)| *known == code).map(|(_, name)| name)
    }
}

/// Something that decides which models answer a request.
///
/// Synchronous and bounded: an implementation answers within its deadline, whatever its policy does.
pub trait Router: Send + Sync {
    /// Who decides.
    fn identity(&self) -> &Identity;

    /// Decides. The plan is checked by the caller.
    fn route(&self, input: RouteInput<'_>) -> Result<Plan, PolicyError>;
}

/// Where the policies that serve come from.
pub trait Policies: Send + Sync {
    /// What serves now. A request asks once, and keeps what it got.
    fn serving(&self) -> Arc<Serving>;

    /// The healer that serves now. A request asks once, and keeps what it got.
    fn healer(&self) -> Arc<dyn Healer>;

    /// The guard that serves now; none: nothing is in its slot. A request asks once, and keeps what it got
    /// for its answer.
    fn guard(&self) -> Option<Arc<dyn Guard>>;

    /// The prompter that serves now; none: nothing is in its slot.
    fn prompter(&self) -> Option<Arc<dyn Prompter>>;
    /// Who is told of requests that have ended; none: nothing is in the observer's slot. A request asks once.
    fn observer(&self) -> Option<Arc<dyn Watcher>>;

    /// What was learned so far. A request asks once, and keeps what it got.
    fn learned(&self) -> Arc<Snapshot>;

    /// Says that a policy of this world failed. Whoever keeps the policies decides what follows.
    fn failed(&self, world: World, policy: &Identity, fault: &Fault);

    /// A number for a request that is given to an arm: no other of this run has it.
    fn ticket(&self) -> u64;

    /// A request was given to an arm. Told before it is decided.
    fn assigned(&self, assigned: &Assigned);

    /// Such a request has ended.
    fn ended(&self, assigned: &Assigned, went: Went);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::models::Catalogue;

    /// A request of which nothing is known.
    pub(crate) fn request_info() -> Arc<RequestInfo> {
        Arc::new(RequestInfo {
            content: Content::default(),
            tags: Vec::new(),
            task_label: None,
            asked_model: "auto".to_owned(),
            model_ids: [].into(),
            regions: Vec::new(),
            names: Arc::new(Catalogue::default()),
            learned: Arc::default(),
        })
    }
}
