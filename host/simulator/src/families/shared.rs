//! What all native bodies share: chunks of a stream, invocation metrics, the guardrail's fields.
//!
//! It must not know any one family's body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::catalogue::Model;
use crate::conversation::{Block, Conversation, Turn};
use crate::converse::PIECE;
use crate::eventstream::{Message, frame};
use crate::generation::Generation;
use crate::reply::{Said, Stop};
use crate::script::{Frame, Frames, Part};
use crate::tokens;

/// What a family writes its answer from.
#[derive(Clone, Copy)]
pub(crate) struct Answered<'a> {
    pub(crate) generation: &'a Generation,
    pub(crate) model: &'a Model,
    pub(crate) conversation: &'a Conversation<'a>,
    pub(crate) request_id: &'a str,
}

impl Answered<'_> {
    /// The reply as `stop`, `length` and `tool_calls` of the OpenAI-like families.
    pub(super) fn finish_reason(&self) -> &'static str {
        match self.generation.reply.stop {
            Stop::EndTurn | Stop::Sequence | Stop::Guardrail => "stop",
            Stop::MaxTokens => "length",
            Stop::ToolUse => "tool_calls",
        }
    }

    /// Calls of tools: what ids are made from, name, and arguments as JSON.
    pub(super) fn calls(&self) -> impl Iterator<Item = (u64, &str, &str)> {
        self.generation.reply.blocks.iter().filter_map(|said| match said {
            Said::Tool { serial, name, input } => Some((*serial, name.as_str(), input.as_str())),
            _ => None,
        })
    }
}

/// All text of a message.
pub(super) fn text_of(turn: &Turn<'_>) -> String {
    let texts = turn.blocks.iter().filter_map(|block| match block {
        Block::Text(text) | Block::Guarded(text) => Some(&**text),
        _ => None,
    });
    texts.collect()
}

/// A frame with a native event in it.
pub(super) fn chunk(event: &Value) -> Bytes {
    let payload = json!({"bytes": STANDARD.encode(event.to_string())});
    frame(Message::Event("chunk"), payload.to_string().as_bytes())
}

/// Adds a text in pieces, each in the event that `event` makes of it and of the tokens up to its end.
pub(super) fn push_text(frames: &mut Frames, text: &str, mut event: impl FnMut(&str, u32) -> Value) {
    let mut so_far = 0u32;
    for (piece, tokens) in tokens::pieces(text, PIECE) {
        so_far = so_far.saturating_add(tokens);
        frames.push(Part::Content, chunk(&event(piece, so_far)), tokens);
    }
}

/// Ends a stream with an event that carries the guardrail's fields and AWS's own counts.
pub(super) fn finish(frames: Frames, answered: &Answered<'_>, mut last: Value) -> Vec<Frame> {
    add_guardrail(answered.generation, &mut last);
    let bare = chunk(&last);
    last["amazon-bedrock-invocationMetrics"] = metrics(answered);
    frames.finish(chunk(&last), Some(bare))
}

fn metrics(answered: &Answered<'_>) -> Value {
    let generation = answered.generation;
    let usage = generation.usage();
    let mut metrics = json!({
        "inputTokenCount": usage.input,
        "outputTokenCount": usage.output,
        "invocationLatency": generation.latency_ms(),
        "firstByteLatency": generation.first_byte_ms(),
    });
    if counts_cache(answered) {
        metrics["cacheReadInputTokenCount"] = json!(usage.cache_read);
        metrics["cacheWriteInputTokenCount"] = json!(usage.cache_write());
    }
    metrics
}

/// Whether AWS says how many tokens went by the prompt cache: where some did, and always for Nova.
pub(super) fn counts_cache(answered: &Answered<'_>) -> bool {
    let usage = answered.generation.usage();
    usage.cache_read > 0 || usage.cache_write() > 0 || answered.model.family == crate::catalogue::Family::Nova
}

/// Adds what a guardrail adds to any native body.
pub(super) fn add_guardrail(generation: &Generation, body: &mut Value) {
    if let Some(stepped_in) = generation.guarded {
        let action = if stepped_in { "INTERVENED" } else { "NONE" };
        body["amazon-bedrock-guardrailAction"] = json!(action);
    }
    if let Some(trace) = &generation.guard_trace {
        body["amazon-bedrock-trace"] = json!({"guardrail": trace});
    }
}
