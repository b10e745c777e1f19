//! OpenAI's Chat Completions API, and its embeddings.
//!
//! What Kairos carries out is listed in [`request`]; every other parameter is refused by name.

pub mod answer;
pub mod embeddings;
pub mod error;
pub mod models;
pub mod request;
pub mod stream;

use crate::answer::StopReason;

/// OpenAI's name of a stop reason.
pub(crate) fn finish_reason(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::MaxTokens | StopReason::ModelContextWindowExceeded => "length",
        StopReason::ToolUse => "tool_calls",
        StopReason::GuardrailIntervened | StopReason::ContentFiltered => "content_filter",
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::MalformedModelOutput
        | StopReason::MalformedToolUse
        | StopReason::Other(_) => "stop",
    }
}
