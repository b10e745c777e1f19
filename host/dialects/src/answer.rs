//! Answers and stream events, as far as other dialects need them.
//!
//! Bedrock's own callers get Bedrock's bytes; what is read here is what the other dialects say, and
//! what pricing needs.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::outline::ServiceTier;
use crate::usage::Usage;

/// Why a model stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It had said all.
    EndTurn,
    /// It calls a tool.
    ToolUse,
    /// The output limit was reached.
    MaxTokens,
    /// A stop sequence came.
    StopSequence,
    /// A guardrail spoke instead.
    GuardrailIntervened,
    /// The provider's filter held the answer back.
    ContentFiltered,
    /// What the model made did not parse.
    MalformedModelOutput,
    /// A tool call of the model did not parse.
    MalformedToolUse,
    /// The context window was full.
    ModelContextWindowExceeded,
    /// A reason that this version does not know.
    Other(Box<str>),
}

impl StopReason {
    /// Reads Converse's name of it.
    pub fn from_converse(name: &str) -> Self {
        match name {
            "end_turn" => Self::EndTurn,
            "tool_use" => Self::ToolUse,
            "max_tokens" => Self::MaxTokens,
            "stop_sequence" => Self::StopSequence,
            "guardrail_intervened" => Self::GuardrailIntervened,
            "content_filtered" => Self::ContentFiltered,
            "malformed_model_output" => Self::MalformedModelOutput,
            "malformed_tool_use" => Self::MalformedToolUse,
            "model_context_window_exceeded" => Self::ModelContextWindowExceeded,
            other => Self::Other(other.into()),
        }
    }

    /// Converse's name of it.
    pub fn as_converse(&self) -> &str {
        match self {
            Self::EndTurn => "end_turn",
            Self::ToolUse => "tool_use",
            Self::MaxTokens => "max_tokens",
            Self::StopSequence => "stop_sequence",
            Self::GuardrailIntervened => "guardrail_intervened",
            Self::ContentFiltered => "content_filtered",
            Self::MalformedModelOutput => "malformed_model_output",
            Self::MalformedToolUse => "malformed_tool_use",
            Self::ModelContextWindowExceeded => "model_context_window_exceeded",
            Self::Other(name) => name,
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Text and tool calls, in order. Blocks of other kinds are not here.
    pub blocks: Vec<AnswerBlock<'a>>,
    /// Why the model stopped.
    pub stop_reason: StopReason,
    /// What the call consumed and how it was served.
    pub served: Served,
}

/// A block of an answer.
#[derive(Debug)]
pub enum AnswerBlock<'a> {
    /// Text, that of citations included.
    Text(Cow<'a, str>),
    /// A call of a tool.
    ToolUse {
        /// Pairs the call with its result.
        id: Cow<'a, str>,
        /// The tool.
        name: Cow<'a, str>,
        /// Its arguments.
        input: &'a RawValue,
    },
}

/// What a call consumed, and how it was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// None where the answer does not say.
    pub usage: Option<Usage>,
    /// Where the answer does not say it for certain, the least that it was; `usage` is the most then.
    pub at_least: Option<Box<Usage>>,
    /// The service tier that was used, where the answer says.
    pub tier: Option<ServiceTier>,
    /// Why the price of how it was served is not known, where it is not.
    pub unpriced: Option<&'static str>,
    /// The model that a prompt router chose: the one that is billed.
    pub invoked_model: Option<String>,
}

/// An event of a stream.
#[derive(Debug, PartialEq)]
pub enum Event<'a> {
    /// The answer begins. Not content.
    MessageStart,
    /// A block begins that calls a tool.
    ToolStart {
        /// The block.
        block: u32,
        /// Pairs the call with its result.
        id: Cow<'a, str>,
        /// The tool.
        name: Cow<'a, str>,
    },
    /// More text of a block.
    Text {
        /// The block.
        block: u32,
        /// The text.
        text: Cow<'a, str>,
    },
    /// More of a tool call's arguments, as JSON text.
    ToolInput {
        /// The block.
        block: u32,
        /// A fragment of JSON.
        json: Cow<'a, str>,
    },
    /// A block ends.
    BlockStop {
        /// The block.
        block: u32,
    },
    /// The model stopped.
    MessageStop(StopReason),
    /// What the call consumed: the last event.
    Metadata(Served),
    /// Content of a kind that the other dialects do not have (reasoning, citations), or an event
    /// that this version does not know.
    Other {
        /// Whether it is content, so that the answer has begun.
        content: bool,
    },
}
