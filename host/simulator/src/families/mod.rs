//! InvokeModel's bodies: one file for each family, from its request to a conversation, and from a
//! generation to its answer, whole or as the chunks of a stream.
//!
//! It must not know HTTP. What a model cannot take is found out later, in `capability`.

mod chat;
mod claude;
mod cohere;
mod deepseek;
mod fields;
mod jamba;
mod jurassic;
mod llama;
mod mistral;
mod nova;
mod pieces;
mod shared;
mod template;
mod titan;

pub(crate) use pieces::answer as answer_pieces;
pub(crate) use shared::Answered;

use serde_json::Value;

use crate::catalogue::{Family, Model};
use crate::conversation::Conversation;
use crate::error::ApiError;
use crate::script::Frame;

/// From a body to a conversation.
pub(crate) fn read<'a>(model: &Model, body: &'a Value) -> Result<Conversation<'a>, ApiError> {
    match model.family {
        Family::Claude => claude::read(body),
        Family::Nova => nova::read(model, body),
        Family::Titan => titan::read(model, body),
        Family::Llama => llama::read(model, body),
        Family::MistralText | Family::MistralEither | Family::Mistral => mistral::read(model, body),
        Family::Jamba => jamba::read(model, body),
        Family::Jurassic => jurassic::read(model, body),
        Family::Cohere => cohere::read(model, body),
        Family::DeepSeekR1 | Family::DeepSeek => deepseek::read(model, body),
        Family::Pieces(_) => Err(no_chat()),
    }
}

/// What is said to who asks a model for a conversation that has none.
pub(crate) fn no_chat() -> ApiError {
    ApiError::validation(
        "This action doesn't support the model that you provided. Try again with a supported text or chat model.",
    )
}

/// The answer, whole.
pub(crate) fn answer(answered: &Answered<'_>) -> Value {
    let mut body = match answered.model.family {
        Family::Claude => claude::answer(answered),
        Family::Nova => nova::answer(answered),
        Family::Titan => titan::answer(answered),
        Family::Llama => llama::answer(answered),
        Family::MistralText | Family::MistralEither | Family::Mistral => mistral::answer(answered),
        Family::Jamba => jamba::answer(answered),
        Family::Jurassic => jurassic::answer(answered),
        Family::Cohere => cohere::answer(answered),
        Family::DeepSeekR1 | Family::DeepSeek => deepseek::answer(answered),
        // Never generated: it is refused before.
        Family::Pieces(_) => Value::Null,
    };
    shared::add_guardrail(answered.generation, &mut body);
    body
}

/// The answer, streamed: every frame, in order.
pub(crate) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    match answered.model.family {
        Family::Claude => claude::events(answered),
        Family::Nova => nova::events(answered),
        Family::Titan => titan::events(answered),
        Family::Llama => llama::events(answered),
        Family::MistralText | Family::MistralEither | Family::Mistral => mistral::events(answered),
        Family::Jamba => jamba::events(answered),
        Family::Jurassic => jurassic::events(answered),
        Family::Cohere => cohere::events(answered),
        Family::DeepSeekR1 | Family::DeepSeek => deepseek::events(answered),
        Family::Pieces(_) => Vec::new(),
    }
}

/// The counts that stand in headers beside a whole answer, by their names; none for AI21 and Cohere,
/// with whose answers AWS sends no counts.
pub(crate) fn header_counts(answered: &Answered<'_>) -> Vec<(&'static str, u64)> {
    if matches!(answered.model.family, Family::Jamba | Family::Jurassic | Family::Cohere) {
        return Vec::new();
    }
    let usage = answered.generation.usage();
    let mut counts = vec![
        ("x-amzn-bedrock-input-token-count", usage.input.into()),
        ("x-amzn-bedrock-output-token-count", usage.output.into()),
        ("x-amzn-bedrock-invocation-latency", answered.generation.latency_ms()),
    ];
    if shared::counts_cache(answered) {
        counts.push(("x-amzn-bedrock-cache-read-input-token-count", usage.cache_read.into()));
        counts.push(("x-amzn-bedrock-cache-write-input-token-count", usage.cache_write().into()));
    }
    counts
}

#[cfg(test)]
mod tests;
