//! Claude's answer, whole.

use serde_json::{Value, json};

use super::super::shared::Answered;
use crate::catalogue::Model;
use crate::generation::Generation;
use crate::ids;
use crate::reply::Said;

/// Claude's name for itself: the id without vendor and Bedrock's version.
fn model_name(model: &Model) -> &str {
    let id = model.id.strip_prefix("anthropic.").unwrap_or(&model.id);
    match id.rsplit_once("-v") {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => id,
    }
}

pub(super) fn tool_use_id(serial: u64) -> String {
    ids::named("toolu_bdrk_", serial)
}

/// What a message says of itself; `message_start` of a stream is made from it too.
pub(crate) fn answer(answered: &Answered<'_>) -> Value {
    let generation = answered.generation;
    let content: Vec<Value> = generation.reply.blocks.iter().map(block).collect();
    json!({
        "id": format!("msg_bdrk_{}", answered.request_id.replace('-', "")),
        "type": "message",
        "role": "assistant",
        "model": model_name(answered.model),
        "content": content,
        "stop_reason": generation.reply.stop.name(),
        "stop_sequence": generation.reply.stop_sequence,
        "usage": usage(generation),
    })
}

pub(super) fn usage(generation: &Generation) -> Value {
    let usage = generation.usage();
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write(),
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output,
    })
}

fn block(said: &Said) -> Value {
    match said {
        Said::Text(text) => json!({"type": "text", "text": text}),
        Said::Reasoning { text, signature } => {
            json!({"type": "thinking", "thinking": text, "signature": signature.as_deref().unwrap_or_default()})
        }
        Said::Tool { serial, name, input } => {
            // Made by us, so it is JSON.
            let input: Value = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
            json!({"type": "tool_use", "id": tool_use_id(*serial), "name": name, "input": input})
        }
    }
}
