//! What an observer is told of, and what it wants written: `events` and `observing` in the contract.

use std::sync::Arc;

use kairos_dialects::answer::StopReason;

use super::{FailureKind, Features, Offer, RequestInfo};
use crate::learned::{Change, MOST_KEY_BYTES, MOST_VALUE_BYTES, Reads};
use crate::request::RequestId;

/// Changes that one call of an observer may make.
pub const MOST_CHANGES: usize = 64;

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A request has ended.
    Ended,
    /// A caller has rated an answer.
    Rated,
}

impl EventKind {
    /// All, in the contract's order.
    pub const ALL: [Self; 2] = [Self::Ended, Self::Rated];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        ["ended", "rated"][self as usize]
    }
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract documents each")]
pub enum Outcome {
    Answered,
    Failed(FailureKind),
    Abandoned,
}

impl Outcome {
    /// The contract's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed(_) => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the contract documents each")]
pub enum Ending {
    Answered,
    Cached,
    Local,
    Cut,
    Failed,
    Refused,
    Blocked,
    ClientLeft,
    Other,
}

impl Ending {
    /// All, in the contract's order.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Cached,
        Self::Local,
        Self::Cut,
        Self::Failed,
        Self::Refused,
        Self::Blocked,
        Self::ClientLeft,
        Self::Other,
    ];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        ["answered", "cached", "local", "cut", "failed", "refused", "blocked", "client-left", "other"][self as usize]
    }
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the contract documents each")]
pub enum Stop {
    End,
    Length,
    StopText,
    ToolUse,
    Filtered,
    Other,
}

impl Stop {
    /// All, in the contract's order.
    pub const ALL: [Self; 6] = [Self::End, Self::Length, Self::StopText, Self::ToolUse, Self::Filtered, Self::Other];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        ["end", "length", "stop-text", "tool-use", "filtered", "other"][self as usize]
    }
}

impl From<&StopReason> for Stop {
    fn from(reason: &StopReason) -> Self {
        match reason {
            StopReason::EndTurn => Self::End,
            StopReason::MaxTokens | StopReason::ModelContextWindowExceeded => Self::Length,
            StopReason::StopSequence => Self::StopText,
            StopReason::ToolUse => Self::ToolUse,
            StopReason::GuardrailIntervened | StopReason::ContentFiltered => Self::Filtered,
            StopReason::MalformedModelOutput | StopReason::MalformedToolUse | StopReason::Other(_) => Self::Other,
        }
    }
}

/// One attempt of a request that has ended. See `attempt` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct SeenAttempt {
    pub model: u32,
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub retry_after_ms: Option<u32>,
    pub may_be_billed: bool,
    pub cost: u64,
    pub settled: bool,
    pub duration_ms: u32,
    pub waited_ms: u32,
    pub first_content_ms: Option<u32>,
    pub input_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    pub cache_read_tokens: Option<u32>,
    pub cache_write_tokens: Option<u32>,
    pub text_tokens: u32,
}

/// What a caller thinks of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rating {
    /// What was measured.
    pub metric: String,
    /// From 0 to 1.
    pub value: f64,
}

/// An event. See `event` in the contract.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Event {
    /// What of the request is not a number, without its content.
    pub request: Arc<RequestInfo>,
    pub kind: EventKind,
    pub features: Features,
    pub models: Vec<Offer>,
    pub policy: Arc<str>,
    pub reason: Option<u32>,
    pub first: Option<(u32, f64)>,
    pub attempts: Vec<SeenAttempt>,
    pub ending: Ending,
    pub stop: Option<Stop>,
    pub duration_ms: u32,
    pub began_at_ms: u64,
    pub rating: Option<Rating>,
}

/// All that an observer is called with.
#[derive(Clone, Copy, Debug)]
pub struct ObserveInput<'a> {
    /// What happened.
    pub event: &'a Arc<Event>,
    /// Its models, with the observer's own names marked.
    pub models: &'a [Offer],
    /// When it came to the gateway's notice, in milliseconds since 1970.
    pub at_ms: u64,
    /// Events that were left out since the last call.
    pub missed: u32,
    /// What was learned before.
    pub learned: &'a Arc<Reads>,
}

/// What a call of an observer wants written: each key once, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written(pub Vec<Change>);

impl Written {
    /// Says what is not valid about it, by `kv-write.wit`. Whoever runs the observer has seen to it.
    pub fn check(&self) -> Result<(), String> {
        if self.0.len() > MOST_CHANGES {
            return Err(format!("{} changes; {MOST_CHANGES} are allowed", self.0.len()));
        }
        for (key, value) in &self.0 {
            if !(1..=MOST_KEY_BYTES).contains(&key.len()) {
                return Err(format!("a key of {} bytes", key.len()));
            }
            if value.as_ref().is_some_and(|value| value.len() > MOST_VALUE_BYTES) {
                return Err(format!("a value of more than {MOST_VALUE_BYTES} bytes"));
            }
        }
        Ok(())
    }
}

/// Who is told of requests that have ended.
pub trait Watcher: Send + Sync {
    /// A request has ended. Never waits: what is too much is left out, and counted.
    fn ended(&self, id: RequestId, event: Event);
}
