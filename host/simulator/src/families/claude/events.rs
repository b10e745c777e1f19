//! Claude's stream, each event a chunk of InvokeModelWithResponseStream.

use serde_json::{Value, json};

use super::super::shared::{Answered, chunk, finish};
use super::answer::{answer, tool_use_id, usage};
use crate::conversation::PER_TOOL_USE;
use crate::converse::{PIECE, arguments};
use crate::reply::Said;
use crate::script::{Frame, Frames, Part};
use crate::tokens;

/// All frames, in order.
pub(crate) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    let generation = answered.generation;
    let mut frames = Frames::new(generation.reply.tokens);
    let mut message = answer(answered);
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    message["stop_sequence"] = Value::Null;
    message["usage"]["output_tokens"] = json!(1.min(generation.usage().output));
    frames.push(Part::Structure, chunk(&json!({"type": "message_start", "message": message})), 0);
    for (index, said) in generation.reply.blocks.iter().enumerate() {
        block(&mut frames, index, said);
        let stop = json!({"type": "content_block_stop", "index": index});
        frames.push(Part::Structure, chunk(&stop), 0);
    }
    let delta = json!({
        "type": "message_delta",
        "delta": {
            "stop_reason": generation.reply.stop.name(),
            "stop_sequence": generation.reply.stop_sequence,
        },
        "usage": {"output_tokens": usage(generation)["output_tokens"]},
    });
    frames.push(Part::Structure, chunk(&delta), 0);
    finish(frames, answered, json!({"type": "message_stop"}))
}

fn block(frames: &mut Frames, index: usize, said: &Said) {
    let (empty, tokens) = match said {
        Said::Text(_) => (json!({"type": "text", "text": ""}), 0),
        Said::Reasoning { .. } => (json!({"type": "thinking", "thinking": "", "signature": ""}), 0),
        Said::Tool { serial, name, .. } => (
            json!({"type": "tool_use", "id": tool_use_id(*serial), "name": name, "input": {}}),
            PER_TOOL_USE.saturating_add(tokens::count(name)),
        ),
    };
    let start = json!({"type": "content_block_start", "index": index, "content_block": empty});
    frames.push(Part::Structure, chunk(&start), tokens);
    if index == 0 {
        frames.push(Part::Structure, chunk(&json!({"type": "ping"})), 0);
    }
    let mut delta = |kind: &str, key: &str, text: &str, tokens: u32| {
        let delta = json!({
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": kind, key: text},
        });
        frames.push(Part::Content, chunk(&delta), tokens);
    };
    match said {
        Said::Text(text) => {
            for (piece, tokens) in tokens::pieces(text, PIECE) {
                delta("text_delta", "text", piece, tokens);
            }
        }
        Said::Reasoning { text, signature } => {
            for (piece, tokens) in tokens::pieces(text, PIECE) {
                delta("thinking_delta", "thinking", piece, tokens);
            }
            delta("signature_delta", "signature", signature.as_deref().unwrap_or_default(), 0);
        }
        Said::Tool { input, .. } => {
            for (piece, tokens) in arguments(input) {
                delta("input_json_delta", "partial_json", piece, tokens);
            }
        }
    }
}
